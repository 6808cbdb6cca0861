"""Compiles the CUDA module with NVRTC, which needs neither a GPU nor a driver nor a compiler on the machine."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any

from proving.backends.cuda_kernels import module_source
from schemas.errors import EnvironmentMissing, InvariantError

INSTALL_HINT = "install the extra: pip install 'ecliptica[gpu]'"

_OPTIONS = ("-std=c++17", "--ptxas-options=-v")


@dataclass(frozen=True, slots=True)
class CompiledModule:
    """The module for one architecture.

    Attributes:
        cubin: What a driver loads.
        log: The assembler's report: registers, stack and spills of every kernel.
    """

    cubin: bytes
    log: str


@cache
def compile_module(architecture: str) -> CompiledModule:
    """Compiles every kernel, in one to two seconds the first time.

    Args:
        architecture: Such as `sm_90`.

    Raises:
        EnvironmentMissing: NVRTC is not installed, or does not know the architecture.
        InvariantError: It refuses the source, which is the same everywhere: a defect.
    """
    nvrtc = _library()
    program = nvrtc.createProgram(module_source(), "ecliptica.cu", (), ())
    try:
        nvrtc.compileProgram(program, (f"-arch={architecture}", *_OPTIONS))
        return CompiledModule(nvrtc.getCUBIN(program), nvrtc.getProgramLog(program))
    except nvrtc.NVRTCError as error:
        log = nvrtc.getProgramLog(program)
        if "-arch" in log or "INVALID_OPTION" in str(error):
            raise EnvironmentMissing(
                f"NVRTC {nvrtc.getVersion()} does not compile for {architecture}",
                "use a GPU of compute capability 8.0 or newer, or a newer NVRTC",
            ) from error
        raise InvariantError(f"the CUDA module does not compile: {log}") from error
    finally:
        nvrtc.destroyProgram(program)


def _library() -> Any:
    """Returns CuPy's binding of NVRTC.

    Raises:
        EnvironmentMissing: CuPy, or the library itself, is not installed.
    """
    try:
        nvrtc = import_module("cupy_backends.cuda.libs.nvrtc")
        nvrtc.getVersion()
    except (ImportError, RuntimeError) as error:
        raise EnvironmentMissing(f"NVRTC is not here: {error}", INSTALL_HINT) from error
    return nvrtc
