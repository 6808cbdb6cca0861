"""ML-DSA-44 from the shared library of Open Quantum Safe, called through ctypes.

The Python package of liboqs downloads and compiles the library when it is imported without one, so it is
not used: the library is loaded from where it is installed, or the backend is absent.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from schemas.errors import EnvironmentMissing

PATH_VARIABLE = "OQS_INSTALL_PATH"
"""Where liboqs is installed; the variable that its own Python package reads."""

_LIBRARY_NAMES = {"darwin": ("liboqs.dylib",), "win32": ("oqs.dll", "liboqs.dll")}
_ALGORITHM = b"ML-DSA-44"
_SUCCESS = 0


def candidate_paths(environment: Mapping[str, str], home: Path) -> list[str]:
    """Returns what to give to the dynamic loader, in order.

    Only the named installation is tried when `OQS_INSTALL_PATH` is set, so that a wrong path is an error
    and not another library.
    """
    names = _LIBRARY_NAMES.get(sys.platform, ("liboqs.so",))
    install = environment.get(PATH_VARIABLE)
    roots = [Path(install)] if install else [home / "_oqs"]
    places = [
        str(root / folder / name)
        for root in roots
        for folder in ("lib", "lib64", "bin")
        for name in names
    ]
    return places if install else [*places, *names]


def _load_library() -> tuple[ctypes.CDLL, str]:
    try:
        home = Path.home()
    except RuntimeError:
        home = Path("/nonexistent")
    tried = candidate_paths(os.environ, home)
    for place in tried:
        try:
            return ctypes.CDLL(place), place
        except OSError:
            continue
    raise EnvironmentMissing(
        f"the liboqs library is not installed (tried {', '.join(tried)})",
        f"install liboqs 0.12 or newer and set {PATH_VARIABLE} to its folder",
    )


class LiboqsBackend:
    """Verification through liboqs; ctypes releases the interpreter lock during the call.

    Raises:
        EnvironmentMissing: No library, or one without ML-DSA-44 and context strings.
    """

    name = "liboqs"

    def __init__(self) -> None:
        self._library, self._place = _load_library()
        text, size = ctypes.c_char_p, ctypes.c_size_t
        try:
            self._library.OQS_init.restype = None
            self._library.OQS_version.restype = text
            self._library.OQS_SIG_new.argtypes = [text]
            self._library.OQS_SIG_new.restype = ctypes.c_void_p
            self._verify = self._library.OQS_SIG_verify_with_ctx_str
        except AttributeError as error:
            raise EnvironmentMissing(
                f"{self._place} is too old: {error}", "install liboqs 0.12 or newer"
            ) from error
        self._verify.argtypes = [ctypes.c_void_p, text, size, text, size, text, size, text]
        self._verify.restype = ctypes.c_int
        self._library.OQS_init()
        self._algorithm = self._library.OQS_SIG_new(_ALGORITHM)
        if not self._algorithm:
            raise EnvironmentMissing(f"{self._place} was built without ML-DSA-44")

    def verify(self, public_key: bytes, message: bytes, signature: bytes, context: bytes) -> bool:
        """Whether the signature holds; lengths were checked by the caller."""
        status: int = self._verify(
            self._algorithm,
            message,
            len(message),
            signature,
            len(signature),
            context,
            len(context),
            public_key,
        )
        return status == _SUCCESS

    def version(self) -> str:
        """Version and place of the library."""
        return f"liboqs {self._library.OQS_version().decode()} ({self._place})"
