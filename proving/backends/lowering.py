"""Lowers the permutation and the sponge to LLVM IR over vectors of lanes, in Montgomery form.

A lane stands for its residue times 2^32 mod P, so that products of lanes are lanes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llvmlite import ir

from proving.arithmetic.modulus import PERMUTATION_WIDTH, TWO_ADICITY, WORD, P
from proving.arithmetic.poseidon2_integers import (
    EXTERNAL_CONSTANTS,
    INTERNAL_CONSTANTS,
    INTERNAL_DIAGONAL,
)
from proving.backends.lanes import I32, I64, Lanes, Loop

LARGEST_REPEATED = 4
"""Multiples up to this are sums."""

CUBES_TOGETHER = 2
"""Cubes of a round that are emitted in turns: 1 is as fast on AVX2, 4 and 8 are 2 and 9 % slower for want of registers."""

VECTORS_TOGETHER = 16
"""Vectors of rows hashed together: 1 KiB of a column, and states of 16 KiB, a third of a first-level cache."""

PERMUTE_COLUMNS = "permute_columns"
HASH_ROWS = "hash_rows"


def permutation_module(lanes: int) -> str:
    """Returns the IR of `permute_columns` and `hash_rows`.

    permute_columns(state, size, start, end): permutes (16, size) canonical residues in place, column by column.
    hash_rows(columns, count, size, state, start, end): the sponge over the rows of (count, size); the first eight
    rows of the (16, size) state are the digests.
    Columns or rows from start to end, multiples of `lanes`, are worked on.
    """
    module = ir.Module("poseidon2")
    permute = _permutation(module, lanes)
    _permute_columns(module, lanes, permute)
    _hash_rows(module, lanes, permute)
    return str(module)


def _at(builder: Any, row: int, size: Any, index: Any) -> Any:
    return builder.add(builder.mul(ir.Constant(I64, row), size), index)


def _permutation(module: Any, lanes: int) -> Any:
    """A function that permutes sixteen vectors in memory, in Montgomery form."""
    kind = ir.VectorType(I32, lanes).as_pointer()
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [kind]), "permute_lanes")
    function.linkage = "internal"
    function.attributes.add("noinline")
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    vector = Lanes(builder, lanes)
    places = [
        builder.gep(function.args[0], [ir.Constant(I64, j)]) for j in range(PERMUTATION_WIDTH)
    ]
    state = [builder.alloca(vector.kind) for _ in places]
    _keep(vector, state, _external_layer(vector, list(map(builder.load, places))))
    half = len(EXTERNAL_CONSTANTS) // 2
    _external_rounds(vector, state, EXTERNAL_CONSTANTS[:half])
    _internal_rounds(vector, state)
    _external_rounds(vector, state, EXTERNAL_CONSTANTS[half:])
    for place, value in zip(places, map(builder.load, state), strict=True):
        builder.store(value, place)
    builder.ret_void()
    return function


def _keep(vector: Lanes, state: list[Any], values: list[Any]) -> None:
    for place, value in zip(state, values, strict=True):
        vector.builder.store(value, place)


def _external_rounds(vector: Lanes, state: list[Any], constants: Sequence[Sequence[int]]) -> None:
    """Emits rounds as a loop: unrolled, the permutation is larger than a cache of instructions."""
    builder = vector.builder
    table = vector.table([value for row in constants for value in row])
    end = ir.Constant(I64, PERMUTATION_WIDTH * len(constants))
    with Loop(builder, ir.Constant(I64, 0), end, PERMUTATION_WIDTH) as first:
        cubes: list[Any] = []
        for start in range(0, PERMUTATION_WIDTH, CUBES_TOGETHER):
            rows = range(start, start + CUBES_TOGETHER)
            entries = [
                vector.entry(table, builder.add(first, ir.Constant(I64, row))) for row in rows
            ]
            cubes += vector.cubes_of_sums([builder.load(state[row]) for row in rows], entries)
        _keep(vector, state, _external_layer(vector, cubes))


def _internal_rounds(vector: Lanes, state: list[Any]) -> None:
    builder = vector.builder
    table = vector.table(INTERNAL_CONSTANTS)
    end = ir.Constant(I64, len(INTERNAL_CONSTANTS))
    with Loop(builder, ir.Constant(I64, 0), end, 1) as index:
        current = list(map(builder.load, state))
        current[:1] = vector.cubes_of_sums(current[:1], [vector.entry(table, index)])
        _keep(vector, state, _internal_layer(vector, current))


def _external_layer(vector: Lanes, state: list[Any]) -> list[Any]:
    """Multiplies by circ(2 M4, M4, M4, M4), M4 = circ(2, 3, 1, 1)."""
    add = vector.add
    out: list[Any] = []
    for block in range(0, PERMUTATION_WIDTH, 4):
        a, b, c, d = state[block : block + 4]
        first, second = add(a, b), add(c, d)
        total = add(first, second)
        left, right = add(total, b), add(total, d)
        out += [add(left, first), add(left, add(c, c)), add(right, second), add(right, add(a, a))]
    sums = [add(add(out[j], out[4 + j]), add(out[8 + j], out[12 + j])) for j in range(4)]
    return [add(value, sums[j % 4]) for j, value in enumerate(out)]


def _internal_layer(vector: Lanes, state: list[Any]) -> list[Any]:
    """Multiplies by ones + diagonal; the sum of the others does not wait for element 0's cube."""
    others = state[1:]
    while len(others) > 1:
        pairs = zip(others[::2], others[1::2], strict=False)
        odd = others[-1:] if len(others) % 2 else []
        others = [*odd, *(vector.add(a, b) for a, b in pairs)]
    total = vector.add(others[0], state[0])
    return [
        _plus_multiple(vector, total, value, factor)
        for value, factor in zip(state, INTERNAL_DIAGONAL, strict=True)
    ]


def _plus_multiple(vector: Lanes, total: Any, value: Any, factor: int) -> Any:
    """Emits total + factor * value, for factors that are small or small fractions by additions and shifts."""
    for sign, combine in ((1, vector.add), (-1, vector.sub)):
        size = sign * factor % P
        if size <= LARGEST_REPEATED:
            repeated = value if size % 2 else vector.add(value, value)
            if size > 2:
                double = repeated if size % 2 == 0 else vector.add(value, value)
                repeated = vector.add(repeated, double)
            return combine(total, repeated)
        for times in range(1, TWO_ADICITY + 1):
            if (size << times) % P == 1:
                return combine(total, vector.halved(value, times))
    return vector.add(total, vector.mul(value, vector.constant(factor)))


def _permute_columns(module: Any, lanes: int, permute: Any) -> None:
    function = ir.Function(
        module, ir.FunctionType(ir.VoidType(), [I32.as_pointer(), I64, I64, I64]), PERMUTE_COLUMNS
    )
    data, size, start, end = function.args
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    vector = Lanes(builder, lanes)
    state = builder.alloca(vector.kind, ir.Constant(I64, PERMUTATION_WIDTH))
    with Loop(builder, start, end, lanes) as index:
        for row in range(PERMUTATION_WIDTH):
            loaded = vector.load(data, _at(builder, row, size, index))
            builder.store(vector.enter(loaded), builder.gep(state, [ir.Constant(I64, row)]))
        builder.call(permute, [state])
        for row in range(PERMUTATION_WIDTH):
            value = builder.load(builder.gep(state, [ir.Constant(I64, row)]))
            vector.store(vector.leave(value), data, _at(builder, row, size, index))
    builder.ret_void()


def _hash_rows(module: Any, lanes: int, permute: Any) -> None:
    """Emits `hash_rows`; a few vectors of neighbouring rows go through the columns together.

    Columns lie far apart, each on a page of its own; neighbours share a page, so fewer of them are looked up.
    """
    pointer = I32.as_pointer()
    function = ir.Function(
        module,
        ir.FunctionType(ir.VoidType(), [pointer, I64, I64, pointer, I64, I64]),
        HASH_ROWS,
    )
    columns, count, size, target, start, end = function.args
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    vector = Lanes(builder, lanes)
    step, zero = ir.Constant(I64, lanes * VECTORS_TOGETHER), ir.Constant(I64, 0)
    states = builder.alloca(vector.kind, ir.Constant(I64, PERMUTATION_WIDTH * VECTORS_TOGETHER))

    def state_of(offset: Any) -> list[Any]:
        """Returns the places of the sixteen vectors that are `offset` rows after the first."""
        first = builder.mul(
            builder.udiv(offset, ir.Constant(I64, lanes)), ir.Constant(I64, PERMUTATION_WIDTH)
        )
        return [
            builder.gep(states, [builder.add(first, ir.Constant(I64, row))])
            for row in range(PERMUTATION_WIDTH)
        ]

    with Loop(builder, start, end, lanes * VECTORS_TOGETHER) as base:
        left = builder.sub(end, base)
        rows = builder.select(builder.icmp_unsigned("<", left, step), left, step)
        with Loop(builder, zero, rows, lanes) as offset:
            index = builder.add(base, offset)
            for row, place in enumerate(state_of(offset)):  # the last, the count, is the caller's
                loaded = vector.load(target, _at(builder, row, size, index))
                builder.store(vector.enter(loaded), place)
        with Loop(builder, zero, count, WORD) as first, Loop(builder, zero, rows, lanes) as offset:
            index, places = builder.add(base, offset), state_of(offset)
            _absorb(vector, (columns, count, size), first, index, places)
            builder.call(permute, [places[0]])
        with Loop(builder, zero, rows, lanes) as offset:
            index = builder.add(base, offset)
            for row, place in enumerate(state_of(offset)[:WORD]):
                value = vector.leave(builder.load(place))
                vector.store(value, target, _at(builder, row, size, index))
    builder.ret_void()


def _absorb(
    vector: Lanes, matrix: tuple[Any, Any, Any], first: Any, index: Any, places: list[Any]
) -> None:
    """Replaces the first eight elements of a state by columns, by zeros where there are none left."""
    builder = vector.builder
    columns, count, size = matrix
    left = builder.sub(count, first)
    for row in range(WORD):
        present = builder.icmp_unsigned("<", ir.Constant(I64, row), left)
        with builder.if_else(present) as (then, otherwise):
            with then:
                column = builder.add(first, ir.Constant(I64, row))
                offset = builder.add(builder.mul(column, size), index)
                builder.store(vector.enter(vector.load(columns, offset)), places[row])
            with otherwise:
                builder.store(vector.constant(0), places[row])
