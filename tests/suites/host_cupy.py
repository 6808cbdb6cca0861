"""The part of CuPy that `CupyDevice` calls, over ordinary memory and kernels compiled for this machine.

It stands for a driver and a GPU, not for our code: everything that `CupyDevice` does - pieces of transfers, addresses,
types of arguments, errors - runs as it would on one. Names and behaviour are those of CuPy 14's documentation.
"""

from __future__ import annotations

import ctypes
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from proving.backends.cuda_kernels import KERNELS

TOTAL_BYTES = 2**26


class RuntimeFailure(RuntimeError):
    """Stands for `CUDARuntimeError`."""


class DriverFailure(RuntimeError):
    """Stands for `CUDADriverError`."""


class OutOfMemory(MemoryError):
    """Stands for `OutOfMemoryError`."""


class Memory:
    """Bytes of the device, full of ones."""

    def __init__(self, pool: Pool, size: int) -> None:
        self.pool, self.bytes = pool, np.full(size + 16, 255, dtype=np.uint8)
        pool.used += size
        self.size = size

    def __del__(self) -> None:
        self.pool.used -= self.size


class Pointer:
    """A place in memory."""

    def __init__(self, memory: Memory, offset: int = 0) -> None:
        self.memory, self.offset = memory, offset

    @property
    def ptr(self) -> int:
        base = self.memory.bytes.ctypes.data
        return base + -base % 16 + self.offset

    def __add__(self, offset: int) -> Pointer:
        return Pointer(self.memory, self.offset + offset)

    def copy_from_host_async(self, mem: int, size: int, stream: Stream) -> None:
        self._move(self.ptr, mem, size, stream)

    def copy_to_host_async(self, mem: int, size: int, stream: Stream) -> None:
        self._move(mem, self.ptr, size, stream)

    def _move(self, target: int, source: int, size: int, stream: Stream) -> None:
        assert self.offset + size <= self.memory.size
        stream.pending.append((target, source, size))


class Stream:
    """Copies nothing before it is waited for, as late as a stream may."""

    def __init__(self) -> None:
        self.pending: list[tuple[int, int, int]] = []

    def synchronize(self) -> None:
        for copy in self.pending:
            ctypes.memmove(*copy)
        self.pending.clear()


class Pool:
    """Hands out memory up to a limit."""

    def __init__(self) -> None:
        self.used, self.limit = 0, TOTAL_BYTES

    def set_limit(self, *, fraction: float) -> None:
        self.limit = int(TOTAL_BYTES * fraction)

    def malloc(self, size: int) -> Pointer:
        if self.used + size > self.limit:
            raise OutOfMemory(f"{size} bytes")
        return Pointer(Memory(self, size))


def pinned_memory(size: int) -> Any:
    """Returns memory of the host with a `ptr`, at least of a size, as CuPy's pool does."""

    class Pinned(ctypes.c_uint8 * (size + 512)):  # type: ignore[misc]
        @property
        def ptr(self) -> int:
            return ctypes.addressof(self)

    return Pinned()


class HostCupy(SimpleNamespace):
    """The module `cupy`.

    Attributes:
        launches_left: Launches after which the device is lost.
    """

    def __init__(self, library: Path) -> None:
        self.library = ctypes.CDLL(str(library))
        self.launches_left = 10**9
        about = {"name": b"Host", "major": 9, "minor": 0, "multiProcessorCount": 1}
        super().__init__(
            __version__="14.2.0",
            cuda=SimpleNamespace(
                runtime=SimpleNamespace(
                    CUDARuntimeError=RuntimeFailure,
                    getDeviceCount=lambda: 1,
                    getDeviceProperties=lambda _: about | {"totalGlobalMem": TOTAL_BYTES},
                    driverGetVersion=lambda: 12080,
                    runtimeGetVersion=lambda: 12090,
                ),
                driver=SimpleNamespace(CUDADriverError=DriverFailure),
                memory=SimpleNamespace(OutOfMemoryError=OutOfMemory),
                function=SimpleNamespace(Module=lambda: Module(self)),
                Device=lambda _: SimpleNamespace(compute_capability="90"),
                MemoryPool=Pool,
                Stream=SimpleNamespace(null=Stream()),
                alloc_pinned_memory=pinned_memory,
            ),
        )


class Module:
    """Loads a cubin for its names, and runs the host's code in its place."""

    def __init__(self, cupy: HostCupy) -> None:
        self.cupy, self.cubin = cupy, b""

    def load(self, cubin: bytes) -> None:
        self.cubin = cubin

    def get_function(self, name: str) -> Any:
        if name.encode() not in self.cubin:
            raise DriverFailure(f"CUDA_ERROR_NOT_FOUND: {name}")
        kinds = [np.uint32 if size == 4 else np.uint64 for size in KERNELS[name].word_bytes]

        def run(grid: tuple[int, int], block: tuple[int], args: list[Any], shared: int = 0) -> None:
            self.cupy.launches_left -= 1
            if self.cupy.launches_left < 0:
                raise DriverFailure("CUDA_ERROR_ILLEGAL_ADDRESS")
            assert not self.cupy.cuda.Stream.null.pending
            assert [type(value) for value in args] == kinds
            assert shared <= 48 * 1024
            numbers: list[Any] = [ctypes.c_uint32(value) for value in (*grid, *block)]
            for kind, value in zip(kinds, args, strict=True):
                numbers.append(
                    (ctypes.c_uint32 if kind is np.uint32 else ctypes.c_uint64)(int(value))
                )
            getattr(self.cupy.library, f"launch_{name}")(*numbers)

        return run
