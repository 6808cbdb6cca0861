"""CUDA C of the number-theoretic transform, and the passes that a length is cut into.

A pass of radix R is Stockham's: with l = the points already transformed together and m = n / (R l),

    out[b, k, c] = sum_a w_R^(a k) w_(R l)^(a c) in[a, b, c],   a, k < R, b < m, c < l,

natural order in and out. A block takes a tile of neighbouring (b, c), so that loads are runs of memory, and does the
R-point transforms in shared memory, eight points of a transform per thread at a time.

The coset of n 2^k points is 2^k cosets of n; their number is the innermost index of every buffer between passes, so
that the last pass writes natural order. All roots come from two tables of 4,096: w^i and w^(4096 i), w of order 2^24.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from proving.arithmetic.modulus import TWO_ADICITY, P
from proving.arithmetic.ntt import geometric, root_of_unity
from proving.backends.cuda_source import RADIX, Kernel

LOG_TABLE = TWO_ADICITY // 2
"""Two tables of 2^12 powers reach every exponent below 2^24."""

LARGEST_LOG_RADIX = 8
"""256-point transforms in shared memory: 2^16 points take two passes over memory, 2^24 three."""

LOG_TILE_POINTS = 13
"""Points of a block: 2^13 residues, 33 KiB with the padding, below the 48 KiB that every device grants."""

LARGEST_LOG_TILE = 7
"""Neighbouring transforms of a block, at most 128."""

FUNCTIONS = f"""\
INLINE u32 power_of(const u32* table, u32 exponent) {{
  return multiply(table[exponent & {2**LOG_TABLE - 1}], table[{2**LOG_TABLE} + (exponent >> {LOG_TABLE})]);
}}

INLINE u32 root_power(const u32* roots, u32 exponent, u32 inverse) {{
  return power_of(roots, inverse ? ({2**TWO_ADICITY} - exponent) & {2**TWO_ADICITY - 1} : exponent);
}}

INLINE u32 reversed_bits(u32 value, u32 bits) {{ return bits ? __brev(value) >> (32 - bits) : 0; }}

// Stages s .. s + stages - 1 of the transforms in a tile: 2^stages points, 2^s apart, in registers.
template <int stages>
INLINE void butterflies(u32* tile, u32 pitch, u32 low, u32 high, u32 s, const u32* roots, u32 inverse) {{
  u32 v[1 << stages];
  u32 base = (high << (s + stages)) + low;
#pragma unroll
  for (int q = 0; q < 1 << stages; ++q) v[q] = tile[(base + ((u32)q << s)) * pitch];
#pragma unroll
  for (int u = 0; u < stages; ++u) {{
#pragma unroll
    for (int q = 0; q < 1 << stages; ++q) {{
      if (q & (1 << u)) continue;
      u32 exponent = (((u32)(q & ((1 << u) - 1)) << s) + low) << ({LOG_TABLE} - s - u - 1);
      if (inverse) exponent = ({2**LOG_TABLE} - exponent) & {2**LOG_TABLE - 1};
      u32 other = multiply(v[q | (1 << u)], roots[{2**LOG_TABLE} + exponent]);
      v[q | (1 << u)] = subtract(v[q], other);
      v[q] = add(v[q], other);
    }}
  }}
#pragma unroll
  for (int q = 0; q < 1 << stages; ++q) tile[(base + ((u32)q << s)) * pitch] = v[q];
}}
"""

TRANSFORM_PASS = Kernel(
    "transform_pass",
    (
        "const u32* source",
        "u32* target",
        "const u32* roots",
        "const u32* shifts",
        "u32 log_length",
        "u32 log_radix",
        "u32 log_done",
        "u32 log_cosets",
        "u32 log_tile",
        "u32 inverse",
        "u32 scale",
        "u64 entries",
    ),
    f"""\
  SHARED;
  const u32 tile = 1u << log_tile, pitch = tile + 1, points = 1u << (log_radix + log_tile);
  const u32 log_rest = log_length - log_radix;
  const u64 first = (u64)blockIdx.x << log_tile;
  PHASE(t) {{
    for (u32 i = t; i < points; i += blockDim.x) {{
      u32 a = i >> log_tile, e = i & (tile - 1), value = 0;
      u64 entry = first + e;
      if (entry < entries) {{
        u32 coset = (u32)entry & ((1u << log_cosets) - 1);
        u32 rest = (u32)(entry >> log_cosets) & ((1u << log_rest) - 1);
        u64 column = entry >> (log_cosets + log_rest);
        u32 position = (a << log_rest) + rest;
        u64 place = (column << log_length) + position;
        if (log_done) {{
          u32 exponent = (a * (rest & ((1u << log_done) - 1))) << ({TWO_ADICITY} - log_radix - log_done);
          value = multiply(source[(place << log_cosets) + coset], root_power(roots, exponent, inverse));
        }} else if (shifts) {{
          u32 exponent = (coset * position) << ({TWO_ADICITY} - log_length - log_cosets);
          u32 factor = multiply(power_of(shifts, position), power_of(roots, exponent));
          value = multiply(source[place], factor);
        }} else {{
          value = source[place];
        }}
      }}
      shared[reversed_bits(a, log_radix) * pitch + e] = value;
    }}
  }}
  for (u32 s = 0; s < log_radix;) {{
    u32 stages = log_radix - s < 3 ? log_radix - s : 3;
    PHASE(t) {{
      for (u32 i = t; i < points >> stages; i += blockDim.x) {{
        u32* own = shared + (i & (tile - 1));
        u32 low = (i >> log_tile) & ((1u << s) - 1), high = i >> (log_tile + s);
        if (stages == 3) butterflies<3>(own, pitch, low, high, s, roots, inverse);
        else if (stages == 2) butterflies<2>(own, pitch, low, high, s, roots, inverse);
        else butterflies<1>(own, pitch, low, high, s, roots, inverse);
      }}
    }}
    s += stages;
  }}
  const u32 run = smaller(log_tile, log_cosets + log_done);
  PHASE(t) {{
    for (u32 i = t; i < points; i += blockDim.x) {{
      u32 k = (i >> run) & ((1u << log_radix) - 1);
      u32 e = ((i >> (run + log_radix)) << run) | (i & ((1u << run) - 1));
      u64 entry = first + e;
      if (entry < entries) {{
        u32 coset = (u32)entry & ((1u << log_cosets) - 1);
        u32 rest = (u32)(entry >> log_cosets) & ((1u << log_rest) - 1);
        u64 column = entry >> (log_cosets + log_rest);
        u32 c = rest & ((1u << log_done) - 1), b = rest >> log_done;
        u32 position = (((b << log_radix) + k) << log_done) + c;
        u32 value = shared[k * pitch + e];
        if (scale) value = multiply(value, scale);
        target[(((column << log_length) + position) << log_cosets) + coset] = value;
      }}
    }}
  }}
""",
)
"""One pass over `entries` transforms: columns * n / R * cosets.

source: (columns, n) for the first pass (log_done = 0), (columns, n, cosets) after it. shifts: powers of the coset's
shift, or null for the subgroup. scale: factor of every output in Montgomery form, 0 for one.
"""

KERNELS = (TRANSFORM_PASS,)


@dataclass(frozen=True, slots=True)
class Pass:
    """One pass of a plan.

    Attributes:
        log_radix: Stages done in shared memory.
        log_done: Stages done before.
        log_tile: Neighbouring transforms of a block.
    """

    log_radix: int
    log_done: int
    log_tile: int

    @property
    def shared_bytes(self) -> int:
        """Shared memory of a block."""
        return 4 * (1 << self.log_radix) * ((1 << self.log_tile) + 1)


def passes(log_length: int) -> tuple[Pass, ...]:
    """Cuts 2^log_length points into passes of nearly equal radix."""
    count = max(1, -(-log_length // LARGEST_LOG_RADIX))
    plan: list[Pass] = []
    done = 0
    for number in range(count):
        radix = (log_length - done + count - number - 1) // (count - number)
        plan.append(Pass(radix, done, min(LARGEST_LOG_TILE, LOG_TILE_POINTS - radix)))
        done += radix
    return tuple(plan)


def power_table(base: int) -> NDArray[np.uint32]:
    """Returns base^i and base^(4096 i) for i < 4096 in Montgomery form, (8192,) uint32."""
    size = 2**LOG_TABLE
    low = geometric(RADIX % P, base, size)
    return np.concatenate([low, geometric(RADIX % P, pow(base, size, P), size)])


def root_table() -> NDArray[np.uint32]:
    """Returns the power table of the generator of the subgroup of order 2^24."""
    return power_table(root_of_unity(TWO_ADICITY))
