"""Compiles LLVM IR for the CPU at hand and keeps the object code on disk.

A file is named by a hash of the IR, of LLVM's version and of the CPU with its features, so another machine or a
new version compiles anew. Files appear by a rename: processes that compile at the same time do each other no harm,
and a file that cannot be read or written only costs time.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import os
from functools import cache
from pathlib import Path
from typing import Any

import llvmlite
from llvmlite import binding as llvm

CACHE_VARIABLE = "ECLIPTICA_CACHE"
"""Directory for object code; without it the user's cache directory."""

OPTIMISATION = 2
DIGEST_BYTES = 32


class MachineCode:
    """Compiled functions of one module; they live as long as this object.

    Attributes:
        is_cached: Whether the object code was on disk.
    """

    def __init__(self, source: str) -> None:
        """Compiles IR, or loads what was compiled before."""
        machine = target_machine()
        path = cache_folder() / f"{_name(source, machine)}.o"
        code = _read(path)
        self.is_cached = code is not None
        if code is None:
            code = _compile(source, machine)
            _write(path, code)
        self._engine: Any = llvm.create_mcjit_compiler(llvm.parse_assembly(""), target_machine())
        self._engine.add_object_file(llvm.ObjectFileRef.from_data(code))
        self._engine.finalize_object()

    def function(self, name: str, *kinds: type) -> Any:
        """Returns a function without a result, called with the given ctypes."""
        address = self._engine.get_function_address(name)
        return ctypes.CFUNCTYPE(None, *kinds)(address)


def vector_lanes() -> int:
    """Returns how many 32-bit lanes the widest vectors of this CPU have."""
    features = llvm.get_host_cpu_features()
    if features.get("avx512f") and features.get("avx512dq"):
        return 16
    return 8 if features.get("avx2") else 4


def product_constraint(lanes: int) -> str | None:
    """Returns the operands of `vpmuldq` on so many 32-bit lanes, None without such registers."""
    features = llvm.get_host_cpu_features()
    if features.get("avx512vl") and lanes <= 16:
        return "=v,v,v"
    return "=x,x,x" if features.get("avx2") and lanes <= 8 else None


def cache_folder() -> Path:
    """Returns where object code is kept."""
    named = os.environ.get(CACHE_VARIABLE)
    if named:
        return Path(named)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "ecliptica"


@cache
def _initialise() -> None:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    llvm.initialize_native_asmparser()


def target_machine() -> Any:
    """Returns a new description of the CPU at hand, for LLVM."""
    _initialise()
    features = llvm.get_host_cpu_features()
    target = llvm.Target.from_default_triple()
    return target.create_target_machine(
        cpu=llvm.get_host_cpu_name(), features=features.flatten(), opt=OPTIMISATION, jit=True
    )


def _compile(source: str, machine: Any) -> bytes:
    module = llvm.parse_assembly(source)
    module.verify()
    options = llvm.create_pipeline_tuning_options(speed_level=OPTIMISATION)
    builder = llvm.create_pass_builder(machine, options)
    builder.getModulePassManager().run(module, builder)
    code: bytes = machine.emit_object(module)
    return code


def _name(source: str, machine: Any) -> str:
    features = llvm.get_host_cpu_features().flatten()
    about = (llvmlite.__version__, machine.triple, llvm.get_host_cpu_name(), features, source)
    return hashlib.sha256("\0".join(about).encode()).hexdigest()[:40]


def _read(path: Path) -> bytes | None:
    """Returns the code of a file, or None if there is none or it is damaged."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    digest, code = data[:DIGEST_BYTES], data[DIGEST_BYTES:]
    return code if hashlib.sha256(code).digest() == digest else None


def _write(path: Path, code: bytes) -> None:
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with contextlib.suppress(OSError):  # without a cache every start compiles
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        draft.write_bytes(hashlib.sha256(code).digest() + code)
        draft.replace(path)
