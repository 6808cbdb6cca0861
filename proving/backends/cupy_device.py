"""An NVIDIA GPU behind the `Device` port, through CuPy: memory pool, pinned transfers, launches.

Everything goes to one stream, so the order of the calls is the order of the work, and memory that is given back may
be handed out again at once. The first visible GPU is used; `CUDA_VISIBLE_DEVICES` chooses.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proving.backends.cuda import CudaBackend
from proving.backends.cuda_kernels import KERNELS
from proving.backends.cuda_source import BLOCK_THREADS, Kernel
from proving.backends.device import WORD_BYTES
from proving.backends.nvrtc import INSTALL_HINT, compile_module
from proving.backends.port import FieldArray
from proving.errors import DeviceFailed
from schemas.errors import EnvironmentMissing

log = logging.getLogger(__name__)

STAGING_BYTES = 2**26
"""Pinned memory of the host that every transfer passes through."""

DEFAULT_MEMORY_PERCENT = 90
"""Of the GPU's memory; what is left serves the driver and the module."""


class GpuBuffer:
    """A block of the pool, given back when this object is gone."""

    def __init__(self, device: CupyDevice, pointer: Any) -> None:
        """Wraps a CuPy memory pointer of a device."""
        self._device, self._pointer = device, pointer

    @property
    def address(self) -> int:
        """See `Buffer`."""
        return int(self._pointer.ptr)

    def fetch(self, first: int, count: int) -> FieldArray:
        """See `Buffer`."""
        return self._device.fetch(self._pointer + WORD_BYTES * first, count)


class CupyDevice:
    """The first visible GPU."""

    def __init__(self, memory_percent: int = DEFAULT_MEMORY_PERCENT) -> None:
        """Compiles the module for the GPU and loads it.

        Args:
            memory_percent: Share of the GPU's memory that this process may take.

        Raises:
            EnvironmentMissing: There is no usable GPU, driver, CuPy or NVRTC.
        """
        self._cupy = require_gpu()
        cuda = self._cupy.cuda
        self._failures = (
            *(cuda.runtime.CUDARuntimeError, cuda.driver.CUDADriverError),
            cuda.memory.OutOfMemoryError,
        )
        with self._guarded("opening the GPU"):
            architecture = f"sm_{cuda.Device(0).compute_capability}"
            self._pool = cuda.MemoryPool()
            self._pool.set_limit(fraction=memory_percent / 100)
            self._staging = cuda.alloc_pinned_memory(STAGING_BYTES)
            self._pinned = np.frombuffer(self._staging, dtype=np.uint8, count=STAGING_BYTES)
            self._stream = cuda.Stream.null
        module = compile_module(architecture)
        with self._guarded("loading the kernels"):
            self._module = cuda.function.Module()
            self._module.load(module.cubin)
            self._functions = {name: self._module.get_function(name) for name in KERNELS}
        log.info("proofs run on %s", self.describe())

    def describe(self) -> str:
        """See `Device`."""
        with self._guarded("telling its name"):
            return _description(self._cupy)

    def finish(self) -> None:
        """See `Device`."""
        with self._guarded("working"):
            self._stream.synchronize()

    def allocate(self, words: int) -> GpuBuffer:
        """See `Device`."""
        with self._guarded(f"taking {words} words"):
            return GpuBuffer(self, self._pool.malloc(max(1, words) * WORD_BYTES))

    def upload(self, values: NDArray[Any]) -> GpuBuffer:
        """See `Device`."""
        flat = values.reshape(-1).view(np.uint8)
        with self._guarded(f"sending {flat.size} bytes"):
            pointer = self._pool.malloc(max(1, flat.size))
            for start in range(0, flat.size, STAGING_BYTES):
                part = flat[start : start + STAGING_BYTES]
                self._pinned[: part.size] = part
                (pointer + start).copy_from_host_async(self._staging.ptr, part.size, self._stream)
                self._stream.synchronize()
        return GpuBuffer(self, pointer)

    def fetch(self, pointer: Any, count: int) -> FieldArray:
        """Waits for what was started and returns words from a place on."""
        found = np.empty(count, dtype=np.uint32)
        flat = found.view(np.uint8)
        with self._guarded(f"fetching {flat.size} bytes"):
            for start in range(0, flat.size, STAGING_BYTES):
                part = flat[start : start + STAGING_BYTES]
                (pointer + start).copy_to_host_async(self._staging.ptr, part.size, self._stream)
                self._stream.synchronize()
                part[:] = self._pinned[: part.size]
        return found

    def launch(
        self,
        kernel: Kernel,
        blocks: tuple[int, int],
        arguments: Sequence[int],
        *,
        threads: int = BLOCK_THREADS,
        shared_bytes: int = 0,
    ) -> None:
        """See `Device`."""
        given = [
            np.uint32(value) if size == WORD_BYTES else np.uint64(value % 2**64)
            for size, value in zip(kernel.word_bytes, arguments, strict=True)
        ]
        with self._guarded(f"starting {kernel.name}"):
            self._functions[kernel.name](blocks, (threads,), given, shared_bytes)

    @contextmanager
    def _guarded(self, action: str) -> Iterator[None]:
        """Turns what CUDA says into an error of the project.

        Raises:
            DeviceFailed: A call failed, out of memory included.
        """
        try:
            yield
        except self._failures as error:
            raise DeviceFailed(
                f"the GPU failed while {action}: {error}",
                "a restarted worker takes the job again; `ecliptica doctor` shows the GPU",
            ) from error


def require_gpu() -> Any:
    """Returns CuPy, if there is a GPU that it can use.

    Raises:
        EnvironmentMissing: CuPy, a driver or a GPU is absent.
    """
    hint = f"{INSTALL_HINT}, and an NVIDIA driver; or choose the backend cpu"
    try:
        cupy = import_module("cupy")
    except ImportError as error:
        raise EnvironmentMissing(f"CuPy is not here: {error}", hint) from error
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        raise EnvironmentMissing(f"there is no usable GPU: {error}", hint) from error
    if not count:
        raise EnvironmentMissing("there is no GPU", hint)
    return cupy


def gpu_description() -> str:
    """Returns the first visible GPU with its driver.

    Raises:
        EnvironmentMissing: There is none that can be used.
    """
    cupy = require_gpu()
    try:
        return _description(cupy)
    except cupy.cuda.runtime.CUDARuntimeError as error:
        raise EnvironmentMissing(f"the GPU does not answer: {error}") from error


def open_cuda(memory_percent: int = DEFAULT_MEMORY_PERCENT) -> CudaBackend:
    """Returns the backend on the first visible GPU; a transcript is hashed by the processor beside it.

    Raises:
        EnvironmentMissing: There is none that can be used.
    """
    device = CupyDevice(memory_percent)
    from proving.backends.cpu import CpuBackend  # noqa: PLC0415  - loads LLVM

    return CudaBackend(device, CpuBackend())


def _description(cupy: Any) -> str:
    runtime = cupy.cuda.runtime
    about = runtime.getDeviceProperties(0)
    driver, library = runtime.driverGetVersion(), runtime.runtimeGetVersion()
    return (
        f"{about['name'].decode()} (compute capability {about['major']}.{about['minor']}, "
        f"{about['multiProcessorCount']} multiprocessors, {about['totalGlobalMem'] / 2**30:.0f} GiB), "
        f"driver for CUDA {_version(driver)}, runtime {_version(library)}, CuPy {cupy.__version__}"
    )


def _version(number: int) -> str:
    return f"{number // 1000}.{number % 1000 // 10}"
