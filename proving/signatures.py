"""ML-DSA-44 signatures: batches to a bitmap of verdicts, key pairs from seeds, and the backend in use.

Every input that is not a signature of the message gives False: wrong lengths, a hint out of order, a
response over the norm bound, another context. Only a caller's mistake raises.
Source: FIPS 204.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from proving.signature_backends import reference
from proving.signature_backends.liboqs import LiboqsBackend
from proving.signature_backends.reference import (
    MAX_CONTEXT_BYTES,
    PUBLIC_KEY_BYTES,
    SEED_BYTES,
    SIGNATURE_BYTES,
)
from proving.signature_backends.stock import StockBackend, load_private_key
from schemas.errors import EnvironmentMissing, InvariantError, ParameterError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey

BACKENDS = ("liboqs", "cryptography", "reference")
"""Names of the backends, in the order in which `auto` takes the first that is present."""

BACKEND_VARIABLE = "ECLIPTICA_SIGNATURES"
"""Environment variable that names the backend of `verify_many`; `auto` when unset."""

PARALLEL_THRESHOLD = 32
"""Signatures: below it (4 ms of work) starting threads costs more than it saves."""

MAX_THREADS = 8
"""Threads of one call, so that a batch does not take a whole server from its neighbours."""


class SignatureBackend(Protocol):
    """One implementation of verification; inputs of right lengths only."""

    @property
    def name(self) -> str:
        """Stable name, one of `BACKENDS`."""

    def verify(self, public_key: bytes, message: bytes, signature: bytes, context: bytes) -> bool:
        """Whether `signature` is one of `message` in `context` under `public_key`."""

    def version(self) -> str:
        """Library and version, for `doctor`."""


class ReferenceBackend:
    """Plain Python: about 10 ms per signature, for checks and where nothing else is installed."""

    name = "reference"

    def verify(self, public_key: bytes, message: bytes, signature: bytes, context: bytes) -> bool:
        """Whether the signature holds."""
        return reference.verify(public_key, message, signature, context)

    def version(self) -> str:
        """Describes the implementation."""
        return "FIPS 204 in plain Python"


@dataclass(frozen=True, slots=True)
class BackendStatus:
    """What `doctor` shows about one backend.

    Attributes:
        name: One of `BACKENDS`.
        available: Whether it can be used here.
        in_use: Whether `verify_many` uses it.
        detail: Version, or why it is absent.
    """

    name: str
    available: bool
    in_use: bool
    detail: str


@dataclass(frozen=True, slots=True)
class KeyPair:
    """An ML-DSA-44 key pair.

    Attributes:
        public_key: 1312 bytes.
        seed: 32 bytes that determine the pair; secret, not shown by `repr`.
    """

    public_key: bytes
    seed: bytes = field(repr=False)
    _private: MLDSA44PrivateKey = field(repr=False, compare=False)

    @classmethod
    def from_seed(cls, seed: bytes) -> KeyPair:
        """Returns the key pair of a 32-byte seed; 0.16 ms.

        Raises:
            ParameterError: The seed is not 32 bytes.
        """
        if len(seed) != SEED_BYTES:
            raise ParameterError(f"an ML-DSA-44 seed is {SEED_BYTES} bytes, got {len(seed)}")
        private = load_private_key(bytes(seed))
        return cls(private.public_key().public_bytes_raw(), bytes(seed), private)

    def sign(self, message: bytes, context: bytes) -> bytes:
        """Returns a hedged signature of 2420 bytes, different on each call; 0.6 ms.

        Raises:
            ParameterError: The context is longer than 255 bytes.
        """
        if len(context) > MAX_CONTEXT_BYTES:
            raise ParameterError(f"a context has at most {MAX_CONTEXT_BYTES} bytes")
        return self._private.sign(message, context)

    def sign_deterministic(self, message: bytes, context: bytes) -> bytes:
        """Returns the one signature of FIPS 204's deterministic variant; 20-150 ms in plain Python.

        Raises:
            ParameterError: The context is longer than 255 bytes.
        """
        return reference.sign(self.seed, message, context)

    def __reduce__(self) -> tuple[object, tuple[bytes]]:
        return KeyPair.from_seed, (self.seed,)


def open_signatures(name: str = "auto") -> SignatureBackend:
    """Opens a backend by name; `auto` is the first of `BACKENDS` whose library is present.

    A backend is used only after it has judged one good and one bad signature rightly.

    Raises:
        ParameterError: There is no such backend.
        EnvironmentMissing: The named backend's library is not installed.
    """
    if name == "auto":
        return _open_checked(available_backends()[0])
    if name not in BACKENDS:
        raise ParameterError(f"there is no signature backend {name!r}", f"one of auto, {BACKENDS}")
    return _open_checked(name)


def available_backends() -> tuple[str, ...]:
    """Returns the names of the backends that can be used here, best first."""
    return tuple(name for name in BACKENDS if not isinstance(_probe(name), str))


def backend_report() -> tuple[BackendStatus, ...]:
    """Returns every backend with its version or the reason of its absence, and which is in use."""
    used = default_backend().name
    statuses = []
    for name in BACKENDS:
        found = _probe(name)
        available = not isinstance(found, str)
        detail = found if isinstance(found, str) else found.version()
        statuses.append(BackendStatus(name, available, name == used, detail))
    return tuple(statuses)


def default_backend() -> SignatureBackend:
    """Returns the backend that `verify_many` uses: the one the environment names, else `auto`.

    Raises:
        ParameterError: The environment names no backend.
        EnvironmentMissing: It names one that is not installed.
    """
    return open_signatures(os.environ.get(BACKEND_VARIABLE, "auto"))


def verify_many(
    keys: Sequence[bytes],
    messages: Sequence[bytes],
    signatures: Sequence[bytes],
    context: bytes,
    backend: SignatureBackend | None = None,
) -> NDArray[np.bool_]:
    """Verifies a batch; 118 us per signature and core with `cryptography`.

    Args:
        keys: Public keys; 1312 bytes each when valid.
        messages: As many messages.
        signatures: As many signatures; 2420 bytes each when valid.
        context: Domain of all of them; over 255 bytes nothing verifies.
        backend: From `open_signatures`; the default backend if None.

    Returns:
        (len(keys),) bool, True where the signature is valid.

    Raises:
        ParameterError: The lists differ in length.
    """
    count = len(keys)
    if not count == len(messages) == len(signatures):
        raise ParameterError(
            f"{count} keys, {len(messages)} messages and {len(signatures)} signatures"
        )
    chosen = backend or default_backend()
    verdicts = np.zeros(count, dtype=np.bool_)
    if len(context) > MAX_CONTEXT_BYTES:
        return verdicts

    def check(rows: range) -> None:
        for row in rows:
            key, signature = keys[row], signatures[row]
            if len(key) == PUBLIC_KEY_BYTES and len(signature) == SIGNATURE_BYTES:
                verdicts[row] = chosen.verify(
                    bytes(key), bytes(messages[row]), bytes(signature), bytes(context)
                )

    threads = _thread_count() if count >= PARALLEL_THRESHOLD else 1
    if threads == 1:
        check(range(count))
    else:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(check, (range(first, count, threads) for first in range(threads))))
    return verdicts


def _thread_count() -> int:
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(usable or 1, MAX_THREADS)


@cache
def _probe(name: str) -> SignatureBackend | str:
    """The backend, or why it is absent."""
    try:
        if name == "liboqs":
            return LiboqsBackend()
    except EnvironmentMissing as error:
        return str(error)
    return StockBackend() if name == "cryptography" else ReferenceBackend()


@cache
def _open_checked(name: str) -> SignatureBackend:
    found = _probe(name)
    if isinstance(found, str):
        raise EnvironmentMissing(
            f"signature backend {name}: {found}", f"available: {', '.join(available_backends())}"
        )
    pair, context = KeyPair.from_seed(bytes(range(SEED_BYTES))), b"ecliptica self-check"
    signature = pair.sign(b"good", context)
    verdicts = [
        found.verify(pair.public_key, message, signature, context) for message in (b"good", b"bad")
    ]
    if verdicts != [True, False]:
        raise InvariantError(
            f"signature backend {name} ({found.version()}) failed its self-check: {verdicts}"
        )
    return found
