"""CUDA C of the Poseidon2 permutation and of the kernels around it: hashing, compressing, grinding.

A thread holds a whole state in sixteen registers. Neighbouring threads take neighbouring rows of a column-major
matrix, so their loads are one transaction. The rounds are loops; a round is unrolled.
"""

from __future__ import annotations

from collections.abc import Sequence

from proving.arithmetic.modulus import PERMUTATION_WIDTH, TWO_ADICITY, WORD, P
from proving.arithmetic.poseidon2_integers import (
    EXTERNAL_CONSTANTS,
    INTERNAL_CONSTANTS,
    INTERNAL_DIAGONAL,
)
from proving.backends.cuda_source import RADIX, Kernel

LARGEST_MULTIPLE = 4
"""Multiples up to this one are sums."""

ODD_PART = (P - 1) >> TWO_ADICITY
"""P - 1 is this times 2^24: why division by a power of two needs one product of 32 bits."""


def _table(values: Sequence[int]) -> str:
    return "{" + ", ".join(f"{value * RADIX % P}u" for value in values) + "}"


def _scaled(factor: int, value: str) -> tuple[str, str]:
    """Returns an operation, `add` or `subtract`, and what it takes: together the product factor * value."""
    for sign, size in (("add", factor), ("subtract", P - factor)):
        if size <= LARGEST_MULTIPLE:
            terms = value
            for _ in range(size - 1):
                terms = f"add({terms}, {value})"
            return sign, terms if size else "0u"
        shift = next((k for k in range(1, TWO_ADICITY + 1) if size * 2**k % P == 1), 0)
        if shift:
            return sign, f"shifted<{shift}>({value})"
    return "add", f"multiply({value}, {factor * RADIX % P}u)"


def _internal_rows() -> str:
    lines = []
    for place, factor in enumerate(INTERNAL_DIAGONAL):
        operation, term = _scaled(factor, f"s[{place}]")
        lines.append(f"    s[{place}] = {operation}(total, {term});\n")
    return "".join(lines)


FUNCTIONS = f"""\
__constant__ u32 EXTERNAL[{len(EXTERNAL_CONSTANTS)}][16] = {{
{",".join(chr(10) + _table(row) for row in EXTERNAL_CONSTANTS)}}};
__constant__ u32 INTERNAL[{len(INTERNAL_CONSTANTS)}] = {_table(INTERNAL_CONSTANTS)};

// a / 2^k: the low bits l are l - l MODULUS = -l {ODD_PART} 2^{TWO_ADICITY} modulo MODULUS, which 2^k divides.
template <int k> INLINE u32 shifted(u32 a) {{
  return subtract(a >> k, (a & ((1u << k) - 1)) * ({ODD_PART}u << ({TWO_ADICITY} - k)));
}}

INLINE u32 cube(u32 a) {{ return multiply(multiply(a, a), a); }}

INLINE void external_layer(u32* s) {{
#pragma unroll
  for (int block = 0; block < 16; block += 4) {{
    u32 a = s[block], b = s[block + 1], c = s[block + 2], d = s[block + 3];
    u32 first = add(a, b), second = add(c, d), total = add(first, second);
    u32 with_b = add(total, b), with_d = add(total, d);
    s[block] = add(with_b, first);
    s[block + 1] = add(with_b, add(c, c));
    s[block + 2] = add(with_d, second);
    s[block + 3] = add(with_d, add(a, a));
  }}
#pragma unroll
  for (int j = 0; j < 4; ++j) {{
    u32 sum = add(add(s[j], s[4 + j]), add(s[8 + j], s[12 + j]));
#pragma unroll
    for (int block = 0; block < 16; block += 4) s[block + j] = add(s[block + j], sum);
  }}
}}

INLINE void full_rounds(u32* s, int start) {{
#pragma unroll 1
  for (int round = start; round < start + {len(EXTERNAL_CONSTANTS) // 2}; ++round) {{
#pragma unroll
    for (int j = 0; j < 16; ++j) s[j] = cube(add(s[j], EXTERNAL[round][j]));
    external_layer(s);
  }}
}}

INLINE void permute(u32* s) {{
  external_layer(s);
  full_rounds(s, 0);
#pragma unroll 1
  for (int round = 0; round < {len(INTERNAL_CONSTANTS)}; ++round) {{
    s[0] = cube(add(s[0], INTERNAL[round]));
    u32 left = add(add(add(s[0], s[1]), add(s[2], s[3])), add(add(s[4], s[5]), add(s[6], s[7])));
    u32 right =
        add(add(add(s[8], s[9]), add(s[10], s[11])), add(add(s[12], s[13]), add(s[14], s[15])));
    u32 total = add(left, right);
{_internal_rows()}  }}
  full_rounds(s, {len(EXTERNAL_CONSTANTS) // 2});
}}
"""

PERMUTE_ROWS = Kernel(
    "permute_rows",
    ("const u32* states", "u32 count", "u32* target"),
    f"""\
  THREADS(t) {{
    u32 row = thread_number(t);
    if (row < count) {{
      u32 s[16];
      u64 place = (u64)row * {PERMUTATION_WIDTH};
#pragma unroll
      for (int j = 0; j < 16; ++j) s[j] = enter(states[place + j]);
      permute(s);
#pragma unroll
      for (int j = 0; j < 16; ++j) target[place + j] = leave(s[j]);
    }}
  }}
""",
)
"""Permutes (count, 16) states."""

HASH_ROWS = Kernel(
    "hash_rows",
    ("const u32* columns", "u64 pitch", "u32 width", "u32 count", "u32* digests"),
    f"""\
  THREADS(t) {{
    u32 row = thread_number(t);
    if (row < count) {{
      u32 s[16];
#pragma unroll
      for (int j = 0; j < 15; ++j) s[j] = 0;
      s[15] = enter(width);
      for (u32 start = 0; start < width; start += {WORD}) {{
#pragma unroll
        for (u32 j = 0; j < {WORD}; ++j)
          s[j] = start + j < width ? enter(columns[(start + j) * pitch + row]) : 0;
        permute(s);
      }}
#pragma unroll
      for (int j = 0; j < {WORD}; ++j) digests[(u64)row * {WORD} + j] = leave(s[j]);
    }}
  }}
""",
)
"""Hashes the rows of (width, count) columns, `pitch` residues apart, to (count, 8) digests."""

COMPRESS_PAIRS = Kernel(
    "compress_pairs",
    ("const u32* digests", "u32 count", "u32* parents"),
    f"""\
  THREADS(t) {{
    u32 pair = thread_number(t);
    if (pair < count) {{
      u32 s[16];
      u64 place = (u64)pair * {PERMUTATION_WIDTH};
#pragma unroll
      for (int j = 0; j < 16; ++j) s[j] = enter(digests[place + j]);
      permute(s);
#pragma unroll
      for (int j = 0; j < {WORD}; ++j)
        parents[(u64)pair * {WORD} + j] = add(leave(s[j]), digests[place + j]);
    }}
  }}
""",
)
"""Compresses (2 count, 8) digests to (count, 8)."""

GRIND = Kernel(
    "grind",
    ("const u32* state", "u32 position", "u32 mask", "u32 start", "u32 count", "u32* least"),
    """\
  THREADS(t) {
    u32 number = thread_number(t);
    if (number < count) {
      u32 s[16];
#pragma unroll
      for (u32 j = 0; j < 16; ++j) s[j] = enter(j == position ? start + number : state[j]);
      permute(s);
      if ((leave(s[0]) & mask) == 0) atomicMin(least, start + number);
    }
  }
""",
)
"""Tries nonces start .. start + count - 1; the least that passes goes to `least`."""

KERNELS = (PERMUTE_ROWS, HASH_ROWS, COMPRESS_PAIRS, GRIND)
