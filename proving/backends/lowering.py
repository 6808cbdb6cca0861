"""Lowers field programs to LLVM IR over vectors of lanes, in Montgomery form.

A lane holds a residue below P times 2^32 mod P. The product of two lanes is reduced by one multiplication with
the inverse of P (Montgomery 1985, "Modular multiplication without trial division"): the high half of the product
minus the high half of m * P, where m is the low half of the product times 1/P mod 2^32; P is added when that is
negative. Sums and differences are corrected by an unsigned minimum, since the wrong candidate wraps past 2^31.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from proving.arithmetic.modulus import PERMUTATION_WIDTH, WORD, P
from proving.arithmetic.poseidon2 import permutation_program
from proving.arithmetic.program import Op, Program

I32, I64 = ir.IntType(32), ir.IntType(64)
RADIX = 2**32
INVERSE = pow(P, -1, RADIX)
SQUARED_RADIX = RADIX * RADIX % P
ALIGN = 4
"""Columns begin anywhere a 32-bit number may."""

PERMUTE_COLUMNS = "permute_columns"
HASH_ROWS = "hash_rows"


class Lanes:
    """Emits arithmetic on vectors of `count` residues into a block.

    Attributes:
        kind: The vector type.
        builder: Where instructions go.
    """

    def __init__(self, builder: Any, count: int) -> None:
        self.builder = builder
        self.count = count
        self.kind = ir.VectorType(I32, count)
        self._wide = ir.VectorType(I64, count)
        module = builder.module
        name = f"llvm.umin.v{count}i32"
        known = module.globals.get(name)
        signature = ir.FunctionType(self.kind, [self.kind, self.kind])
        self._minimum = known or ir.Function(module, signature, name)

    def splat(self, value: int) -> Any:
        """Returns a constant in every lane."""
        return ir.Constant(self.kind, [ir.Constant(I32, value % RADIX)] * self.count)

    def constant(self, residue: int) -> Any:
        """Returns a residue, in Montgomery form, in every lane."""
        return self.splat(residue * RADIX % P)

    def add(self, a: Any, b: Any) -> Any:
        """Adds lanes."""
        total = self.builder.add(a, b)
        return self._least(total, self.builder.sub(total, self.splat(P)))

    def sub(self, a: Any, b: Any) -> Any:
        """Subtracts lanes."""
        difference = self.builder.sub(a, b)
        return self._least(difference, self.builder.add(difference, self.splat(P)))

    def mul(self, a: Any, b: Any) -> Any:
        """Multiplies lanes."""
        builder = self.builder
        product = builder.mul(builder.zext(a, self._wide), builder.zext(b, self._wide))
        low = builder.mul(builder.trunc(product, self.kind), self.splat(INVERSE))
        wide_p = ir.Constant(self._wide, [ir.Constant(I64, P)] * self.count)
        correction = builder.mul(builder.zext(low, self._wide), wide_p)
        difference = builder.sub(self._high(product), self._high(correction))
        return self._least(difference, builder.add(difference, self.splat(P)))

    def enter(self, canonical: Any) -> Any:
        """Turns canonical residues into Montgomery form."""
        return self.mul(canonical, self.splat(SQUARED_RADIX))

    def leave(self, lanes: Any) -> Any:
        """Turns Montgomery form into canonical residues."""
        return self.mul(lanes, self.splat(1))

    def program(self, program: Program, inputs: list[Any]) -> list[Any]:
        """Emits a program and returns its outputs."""
        values: list[Any] = []
        for op, a, b in program.nodes:
            if op is Op.INPUT:
                values.append(inputs[a])
            elif op is Op.CONSTANT:
                values.append(self.constant(a))
            elif op is Op.ADD:
                values.append(self.add(values[a], values[b]))
            elif op is Op.SUB:
                values.append(self.sub(values[a], values[b]))
            else:
                values.append(self.mul(values[a], values[b]))
        return [values[node] for node in program.outputs]

    def load(self, base: Any, offset: Any) -> Any:
        """Loads `count` neighbours from an element offset."""
        place = self.builder.gep(base, [offset])
        pointer = self.builder.bitcast(place, self.kind.as_pointer())
        return self.builder.load(pointer, align=ALIGN)

    def store(self, lanes: Any, base: Any, offset: Any) -> None:
        """Stores `count` neighbours at an element offset."""
        place = self.builder.gep(base, [offset])
        pointer = self.builder.bitcast(place, self.kind.as_pointer())
        self.builder.store(lanes, pointer, align=ALIGN)

    def _high(self, wide: Any) -> Any:
        shift = ir.Constant(self._wide, [ir.Constant(I64, 32)] * self.count)
        return self.builder.trunc(self.builder.lshr(wide, shift), self.kind)

    def _least(self, a: Any, b: Any) -> Any:
        return self.builder.call(self._minimum, [a, b])


class Loop:
    """A counted loop `for (index = start; index < end; index += step)`; use it with `with`."""

    def __init__(self, builder: Any, start: Any, end: Any, step: int) -> None:
        self._builder, self._start, self._end, self._step = builder, start, end, step

    def __enter__(self) -> Any:
        builder = self._builder
        function = builder.function
        before = builder.block
        self._head = function.append_basic_block("head")
        body = function.append_basic_block("body")
        self._after = function.append_basic_block("after")
        builder.branch(self._head)
        builder.position_at_end(self._head)
        self.index = builder.phi(I64)
        self.index.add_incoming(self._start, before)
        builder.cbranch(builder.icmp_unsigned("<", self.index, self._end), body, self._after)
        builder.position_at_end(body)
        return self.index

    def __exit__(self, *_: object) -> None:
        builder = self._builder
        following = builder.add(self.index, ir.Constant(I64, self._step))
        self.index.add_incoming(following, builder.block)
        builder.branch(self._head)
        builder.position_at_end(self._after)


def permutation_module(lanes: int) -> str:
    """Returns the IR of `permute_columns` and `hash_rows`.

    permute_columns(state, size): permutes (16, size) canonical residues in place, column by column.
    hash_rows(columns, count, size, state): the sponge over the rows of (count, size); the first eight rows of the
    (16, size) state are the digests. `size` is a multiple of `lanes`.
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
    places = [builder.gep(function.args[0], [ir.Constant(I64, j)]) for j in range(16)]
    inputs = [builder.load(place) for place in places]
    for place, value in zip(places, vector.program(permutation_program(), inputs), strict=True):
        builder.store(value, place)
    builder.ret_void()
    return function


def _permute_columns(module: Any, lanes: int, permute: Any) -> None:
    function = ir.Function(
        module, ir.FunctionType(ir.VoidType(), [I32.as_pointer(), I64]), PERMUTE_COLUMNS
    )
    data, size = function.args
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    vector = Lanes(builder, lanes)
    state = builder.alloca(vector.kind, ir.Constant(I64, PERMUTATION_WIDTH))
    with Loop(builder, ir.Constant(I64, 0), size, lanes) as index:
        for row in range(PERMUTATION_WIDTH):
            loaded = vector.load(data, _at(builder, row, size, index))
            builder.store(vector.enter(loaded), builder.gep(state, [ir.Constant(I64, row)]))
        builder.call(permute, [state])
        for row in range(PERMUTATION_WIDTH):
            value = builder.load(builder.gep(state, [ir.Constant(I64, row)]))
            vector.store(vector.leave(value), data, _at(builder, row, size, index))
    builder.ret_void()


def _hash_rows(module: Any, lanes: int, permute: Any) -> None:
    pointer = I32.as_pointer()
    function = ir.Function(
        module, ir.FunctionType(ir.VoidType(), [pointer, I64, I64, pointer]), HASH_ROWS
    )
    columns, count, size, target = function.args
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    vector = Lanes(builder, lanes)
    state = builder.alloca(vector.kind, ir.Constant(I64, PERMUTATION_WIDTH))
    places = [builder.gep(state, [ir.Constant(I64, j)]) for j in range(PERMUTATION_WIDTH)]
    zero = ir.Constant(I64, 0)
    with Loop(builder, zero, size, lanes) as index:
        for row in range(PERMUTATION_WIDTH):  # the last element, the count, is set by the caller
            loaded = vector.load(target, _at(builder, row, size, index))
            builder.store(vector.enter(loaded), places[row])
        with Loop(builder, zero, count, WORD) as first:
            left = builder.sub(count, first)
            for row in range(WORD):
                present = builder.icmp_unsigned("<", ir.Constant(I64, row), left)
                with builder.if_then(present):
                    column = builder.add(first, ir.Constant(I64, row))
                    offset = builder.add(builder.mul(column, size), index)
                    builder.store(vector.enter(vector.load(columns, offset)), places[row])
            builder.call(permute, [state])
        for row in range(WORD):
            value = builder.load(places[row])
            vector.store(vector.leave(value), target, _at(builder, row, size, index))
    builder.ret_void()
