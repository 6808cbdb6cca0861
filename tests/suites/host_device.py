"""A device without a GPU: the CUDA module compiled for this machine's processor and run block by block.

The source is the one that NVRTC compiles. A header gives CUDA's words a meaning for one core: a region of a kernel
becomes a loop over the threads of a block, so a barrier is the end of a loop. Running the threads of every region
backwards as well shows kernels in which one thread reads what another writes in the same region.
"""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proving.arithmetic.poseidon2 import NumpyHasher
from proving.backends.cuda import CudaBackend
from proving.backends.cuda_kernels import KERNELS, module_source
from proving.backends.cuda_source import BLOCK_THREADS, Kernel
from proving.backends.port import FieldArray

SHARED_BYTES = 48 * 1024

HEADER = f"""\
#include <cstdint>
#define __global__
#define __device__
#define __constant__ static const
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(count)
struct int4 {{ int x, y, z, w; }};
struct Place {{ unsigned x, y; }};
static Place blockIdx, blockDim, gridDim;
alignas(16) static unsigned shared[{SHARED_BYTES // 4}];
static inline unsigned __umulhi(unsigned a, unsigned b) {{ return (uint64_t)a * b >> 32; }}
static inline unsigned __brev(unsigned value) {{
  unsigned result = 0;
  for (int bit = 0; bit < 32; ++bit) result |= (value >> bit & 1) << (31 - bit);
  return result;
}}
static inline void atomicMin(unsigned* place, unsigned value) {{ if (value < *place) *place = value; }}
#ifdef BACKWARDS
#define THREADS(t) for (u32 t = blockDim.x; t-- > 0;)
#else
#define THREADS(t) for (u32 t = 0; t < blockDim.x; ++t)
#endif
#define PHASE(t) THREADS(t)
#define SHARED
"""

LAUNCHER = """\
extern "C" void launch_{name}(u32 x, u32 y, u32 threads, {parameters}) {{
  gridDim = {{x, y}};
  blockDim = {{threads, 1}};
  for (u32 row = 0; row < y; ++row)
    for (u32 column = 0; column < x; ++column) {{
      blockIdx = {{column, row}};
      {name}({names});
    }}
}}
"""


def compiler() -> str | None:
    """Returns a C++ compiler of this machine, or None."""
    return next(
        (found for name in ("g++", "clang++", "c++") if (found := shutil.which(name))), None
    )


def build(folder: Path, *, backwards: bool = False) -> Path:
    """Compiles the module for the host.

    Raises:
        subprocess.CalledProcessError: The source is no C++ for this compiler.
    """
    launchers = [
        LAUNCHER.format(
            name=kernel.name,
            parameters=", ".join(kernel.parameters),
            names=", ".join(parameter.split()[-1] for parameter in kernel.parameters),
        )
        for kernel in KERNELS.values()
    ]
    source, library = folder / "module.cpp", folder / "module.so"
    source.write_text("\n".join([HEADER, module_source(), *launchers]), encoding="utf-8")
    command = [compiler() or "c++", "-std=c++17", "-O2", "-w", "-shared", "-fPIC", str(source)]
    command += ["-o", str(library), *(["-DBACKWARDS"] if backwards else [])]
    subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603
    return library


class HostBuffer:
    """Words of ordinary memory; starts out full of ones, so that nothing relies on zeros."""

    def __init__(self, device: HostDevice, words: NDArray[np.uint32]) -> None:
        self.device, self.words = device, words

    @property
    def address(self) -> int:
        return self.words.ctypes.data

    def fetch(self, first: int, count: int) -> FieldArray:
        assert first + count <= len(self.words)
        self.device.downloaded += 4 * count
        return self.words[first : first + count].copy()


class HostDevice:
    """Runs the kernels of a library made by `build`, one block after another.

    Attributes:
        library: The compiled module.
        uploaded: Bytes that went to the device.
        downloaded: Bytes that came back.
        launched: Names of the kernels that ran.
    """

    def __init__(self, library: Path) -> None:
        self.library = library
        self._functions = ctypes.CDLL(str(library))
        self.uploaded = self.downloaded = 0
        self.launched: set[str] = set()

    def describe(self) -> str:
        return "this processor, one core"

    def finish(self) -> None:
        """A launch returns when it is done."""

    def allocate(self, words: int) -> HostBuffer:
        return HostBuffer(self, np.full(words, 2**32 - 1, dtype=np.uint32))

    def upload(self, values: NDArray[Any]) -> HostBuffer:
        assert values.flags.c_contiguous
        self.uploaded += values.nbytes
        return HostBuffer(self, np.frombuffer(values.tobytes(), dtype=np.uint32).copy())

    def launch(
        self,
        kernel: Kernel,
        blocks: tuple[int, int],
        arguments: Sequence[int],
        *,
        threads: int = BLOCK_THREADS,
        shared_bytes: int = 0,
    ) -> None:
        assert shared_bytes <= SHARED_BYTES
        assert threads <= BLOCK_THREADS
        assert min(blocks) > 0
        kinds = [ctypes.c_uint32 if size == 4 else ctypes.c_uint64 for size in kernel.word_bytes]
        given = [kind(value) for kind, value in zip(kinds, arguments, strict=True)]
        self.launched.add(kernel.name)
        getattr(self._functions, f"launch_{kernel.name}")(
            *(ctypes.c_uint32(value) for value in (*blocks, threads)), *given
        )


class HostCudaBackend(CudaBackend):
    """The CUDA backend on this machine's processor."""

    def __init__(self, device: HostDevice) -> None:
        super().__init__(device, NumpyHasher())
        self.device = device

    @property
    def name(self) -> str:
        return "cuda on the host"
