"""CUDA C: the parts that every kernel shares, and the kernel as a value.

A kernel is written in regions. `THREADS(t)` runs its body once per thread of a block; `PHASE(t)` does so and ends
in a barrier, so that what one phase writes to shared memory the next may read. A compiler for the host turns both
into loops over a block, which makes every kernel executable, bit for bit, on a machine without a GPU.

Residues in memory are canonical. Products are Montgomery's: `multiply(a, b)` is a b / 2^32, so a canonical value
times a factor in Montgomery form stays canonical, and only what is multiplied by itself is entered and left.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from proving.arithmetic.modulus import P
from proving.arithmetic.residues import reduced

RADIX = 2**32
"""Of Montgomery's form."""

BLOCK_THREADS = 256
"""Threads of a block, at most; every kernel is compiled for so many."""

PRELUDE = f"""\
typedef unsigned int u32;
typedef unsigned long long u64;
typedef long long i64;

#ifndef THREADS
#define THREADS(t) for (u32 t = threadIdx.x, once = 1; once; once = 0)
#define PHASE(t) for (u32 t = threadIdx.x, once = 1; once; once = 0, __syncthreads())
#define SHARED extern __shared__ u32 shared[]
#endif
#define KERNEL extern "C" __global__ void __launch_bounds__({BLOCK_THREADS})
#define INLINE static __device__ __forceinline__

#define MODULUS {P}u
#define MODULUS_INVERSE {pow(P, -1, RADIX)}u
#define RADIX_SQUARED {RADIX * RADIX % P}u
#define HALF_RANGE {P * RADIX}ull

INLINE u32 smaller(u32 a, u32 b) {{ return a < b ? a : b; }}

// Residues below MODULUS: a wrapped difference is the larger number.
INLINE u32 add(u32 a, u32 b) {{ u32 sum = a + b; return smaller(sum, sum - MODULUS); }}
INLINE u32 subtract(u32 a, u32 b) {{ u32 rest = a - b; return smaller(rest, rest + MODULUS); }}

// total / 2^32 for totals below MODULUS * 2^32.
INLINE u32 reduce(u64 total) {{
  u32 quotient = (u32)total * MODULUS_INVERSE;
  u32 rest = (u32)(total >> 32) - __umulhi(quotient, MODULUS);
  return smaller(rest, rest + MODULUS);
}}

INLINE u32 multiply(u32 a, u32 b) {{ return reduce((u64)a * b); }}
INLINE u32 enter(u32 a) {{ return multiply(a, RADIX_SQUARED); }}
INLINE u32 leave(u32 a) {{ return reduce(a); }}

// total + a b, kept below MODULUS * 2^32, which is above 2^62.9, so that nothing wraps.
INLINE u64 accumulate(u64 total, u32 a, u32 b) {{
  u64 sum = total + (u64)a * b;
  u64 less = sum - HALF_RANGE;
  return less < sum ? less : sum;
}}

INLINE u32 thread_number(u32 t) {{ return blockIdx.x * blockDim.x + t; }}
"""


@dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel of the module.

    Attributes:
        name: Unique in the module.
        parameters: C declarations such as `const u32* columns`; pointers, `u32`, `u64` or `i64`.
        body: C statements.
    """

    name: str
    parameters: tuple[str, ...]
    body: str

    @property
    def text(self) -> str:
        """The definition in CUDA C."""
        return f"KERNEL {self.name}({', '.join(self.parameters)}) {{\n{self.body}}}\n"

    @property
    def word_bytes(self) -> tuple[int, ...]:
        """Bytes of each parameter: 4 or 8."""
        return tuple(4 if parameter.startswith("u32 ") else 8 for parameter in self.parameters)


def entered(value: int) -> int:
    """Returns a residue in Montgomery form."""
    return value * RADIX % P


def entered_residues(residues: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Returns residues in Montgomery form."""
    return reduced(residues.astype(np.uint64) * np.uint64(RADIX)).astype(np.uint32)
