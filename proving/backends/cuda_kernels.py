"""CUDA C of the remaining kernels, and the module of all.

`run_code` is the vector machine of `bytecode` with a thread per point: all threads of a warp decode the same
instruction, and a point's slots lie a block's width apart in shared memory, so that neither the jumps nor the slots
conflict. Programs are data: nothing is compiled when a circuit changes.
"""

from __future__ import annotations

from proving.arithmetic.modulus import EXTENSION_DEGREE
from proving.backends import cuda_permutation, cuda_transforms
from proving.backends.bytecode import Code
from proving.backends.cuda_source import PRELUDE, Kernel

_OPERATIONS = {
    Code.LOAD: "SLOT(at.y) = enter(inputs[at.z][(i64)point * strides[at.z]]);",
    Code.ADD: "SLOT(at.y) = add(SLOT(at.z), SLOT(at.w));",
    Code.SUB: "SLOT(at.y) = subtract(SLOT(at.z), SLOT(at.w));",
    Code.MUL: "SLOT(at.y) = multiply(SLOT(at.z), SLOT(at.w));",
    Code.ADD_SCALAR: "SLOT(at.y) = add(SLOT(at.z), scalars[at.w]);",
    Code.SUB_FROM_SCALAR: "SLOT(at.y) = subtract(scalars[at.w], SLOT(at.z));",
    Code.MUL_SCALAR: "SLOT(at.y) = multiply(SLOT(at.z), scalars[at.w]);",
    Code.SET: "SLOT(at.y) = scalars[at.z];",
    Code.STORE: "target[(u64)at.y * pitch + point] = leave(SLOT(at.z));",
    Code.ACCUMULATE: f"u32 value = SLOT(at.y); for (int k = 0; k < {EXTENSION_DEGREE}; ++k) "
    "SLOT(k) = add(SLOT(k), multiply(value, scalars[at.z + k]));",
}
"""What an instruction does, one per code that `bytecode.assemble` emits."""

_CASES = "".join(
    f"          case {int(code)}: {{ {text} break; }}\n" for code, text in _OPERATIONS.items()
)

RUN_CODE = Kernel(
    "run_code",
    (
        "const int4* code",
        "u32 length",
        "const u32* const* inputs",
        "const i64* strides",
        "const u32* scalars",
        "u32* scratch",
        "u32* target",
        "u64 pitch",
        "u32 size",
    ),
    f"""\
  SHARED;
#define SLOT(k) slots[(u32)(k) * width]
  THREADS(t) {{
    const u32 together = gridDim.x * blockDim.x;
    const u32 width = scratch ? together : blockDim.x;
    u32* slots = scratch ? scratch + thread_number(t) : shared + t;
    for (u32 point = thread_number(t); point < size; point += together) {{
      for (u32 i = 0; i < length; ++i) {{
        const int4 at = code[i];
        switch (at.x) {{
{_CASES}        }}
      }}
    }}
  }}
#undef SLOT
""",
)
"""Runs instructions on `size` points. inputs, strides: per input its first point, and the distance of points in
residues. scratch: room for the slots of all threads of the grid, or null when they fit in shared memory."""

COMBINE = Kernel(
    "combine",
    (
        "const u32* columns",
        "u64 pitch",
        "u32 count",
        "const u32* weights",
        "u32 size",
        "u32* target",
    ),
    """\
  THREADS(t) {
    u32 point = thread_number(t);
    if (point < size) {
      u64 total[5] = {0, 0, 0, 0, 0};
      for (u32 column = 0; column < count; ++column) {
        u32 value = columns[column * pitch + point];
#pragma unroll
        for (int k = 0; k < 5; ++k) total[k] = accumulate(total[k], value, weights[5 * column + k]);
      }
#pragma unroll
      for (int k = 0; k < 5; ++k) target[(u64)k * size + point] = enter(reduce(total[k]));
    }
  }
""",
)
"""Sums (count, size) columns times (count, 5) weights: (5, size)."""

INNER_PRODUCTS = Kernel(
    "inner_products",
    ("const u32* columns", "u64 pitch", "u32 size", "const u32* weights", "u32* parts"),
    """\
  SHARED;
  const u32 column = blockIdx.x, chunk = blockIdx.y;
  PHASE(t) {
    u64 total[5] = {0, 0, 0, 0, 0};
    for (u32 point = chunk * blockDim.x + t; point < size; point += gridDim.y * blockDim.x) {
      u32 value = columns[column * pitch + point];
#pragma unroll
      for (int k = 0; k < 5; ++k)
        total[k] = accumulate(total[k], value, weights[(u64)k * size + point]);
    }
#pragma unroll
    for (int k = 0; k < 5; ++k) shared[k * blockDim.x + t] = enter(reduce(total[k]));
  }
  for (u32 half = blockDim.x / 2; half; half /= 2) {
    PHASE(t) {
      if (t < half)
        for (int k = 0; k < 5; ++k) {
          u32* place = shared + k * blockDim.x + t;
          place[0] = add(place[0], place[half]);
        }
    }
  }
  THREADS(t) {
    if (t < 5) parts[((u64)chunk * gridDim.x + column) * 5 + t] = shared[t * blockDim.x];
  }
""",
)
"""Sums over points of columns times (5, size) weights, a block per column and chunk: (chunks, columns, 5)."""

SUM_PARTS = Kernel(
    "sum_parts",
    ("const u32* parts", "u32 chunks", "u32 size", "u32* target"),
    """\
  THREADS(t) {
    u32 place = thread_number(t);
    if (place < size) {
      u32 total = 0;
      for (u32 chunk = 0; chunk < chunks; ++chunk) total = add(total, parts[(u64)chunk * size + place]);
      target[place] = total;
    }
  }
""",
)
"""Sums (chunks, size) residues over the chunks."""

FIND_ZERO = Kernel(
    "find_zero",
    ("const u32* values", "u32 size", "u32* least"),
    """\
  THREADS(t) {
    u32 place = thread_number(t);
    if (place < size && values[place] == 0) atomicMin(least, place);
  }
""",
)
"""Leaves the first place of a zero in `least`, which must start above every place."""

COLLECT = Kernel(
    "collect",
    ("const u32* const* rows", "u32 count", "i64 stride", "u32 size", "u32 turn", "u32* target"),
    """\
  THREADS(t) {
    u32 place = thread_number(t);
    if (place < size) {
      u32 from = place < turn ? place + (size - turn) : place - turn;
      for (u32 row = blockIdx.y; row < count; row += gridDim.y)
        target[(u64)row * size + place] = rows[row][(i64)from * stride];
    }
  }
""",
)
"""Copies rows from anywhere to (count, size), turned right by `turn` < size places."""

PICK = Kernel(
    "pick",
    (
        "const u32* source",
        "i64 row_stride",
        "i64 stride",
        "u32 count",
        "const u32* places",
        "u32 size",
        "u32* target",
    ),
    """\
  THREADS(t) {
    u32 number = thread_number(t);
    if (number < size) {
      i64 from = (i64)places[number] * stride;
      for (u32 row = blockIdx.y; row < count; row += gridDim.y)
        target[(u64)row * size + number] = source[(i64)row * row_stride + from];
    }
  }
""",
)
"""Copies chosen places of every row to (count, size)."""

KERNELS: dict[str, Kernel] = {
    kernel.name: kernel
    for kernel in (
        *cuda_permutation.KERNELS,
        *cuda_transforms.KERNELS,
        RUN_CODE,
        COMBINE,
        INNER_PRODUCTS,
        SUM_PARTS,
        FIND_ZERO,
        COLLECT,
        PICK,
    )
}
"""Every kernel, by name."""


def module_source() -> str:
    """Returns the whole module in CUDA C; the same on every machine."""
    functions = (PRELUDE, cuda_permutation.FUNCTIONS, cuda_transforms.FUNCTIONS)
    return "\n".join([*functions, *(kernel.text for kernel in KERNELS.values())])
