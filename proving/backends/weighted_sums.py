"""Compiled weighted sums of columns and of points; weights are extension elements in Montgomery form."""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

from llvmlite import ir

from proving.arithmetic.modulus import EXTENSION_DEGREE
from proving.backends.lanes import I32, I64, Lanes, Loop
from proving.backends.machine_code import MachineCode

COMBINE, INNER = "combine", "inner_products"
_POINTER, _SIZE = ctypes.c_void_p, ctypes.c_int64


class WeightedSums:
    """Two kernels over canonical (count, size) columns.

    Attributes:
        combine: combine(columns, count, size, weights, out, start, end): out[k, i] is the sum over j of
            weights[j, k] * columns[j, i], for points from start to end, multiples of the lanes; weights are
            (count, 5), out is (5, size).
        inner: inner(columns, size, weights, out, start, end): out[j, k, lane] is the sum over points i of that lane
            of columns[j, i] * weights[k, i], for columns j from start to end; weights are (5, size).
    """

    def __init__(self, lanes: int) -> None:
        """Compiles the kernels for vectors of so many lanes."""
        code = _code(lanes)
        self.combine: Any = code.function(
            COMBINE, _POINTER, _SIZE, _SIZE, _POINTER, _POINTER, _SIZE, _SIZE
        )
        self.inner: Any = code.function(INNER, _POINTER, _SIZE, _POINTER, _POINTER, _SIZE, _SIZE)


@cache
def _code(lanes: int) -> MachineCode:
    module = ir.Module("weighted_sums")
    _combine(module, lanes)
    _inner(module, lanes)
    return MachineCode(str(module))


class _Sums:
    """Five vectors that start at zero and grow; LLVM keeps them in registers."""

    def __init__(self, builder: Any, vector: Lanes) -> None:
        self._builder, self._vector = builder, vector
        with builder.goto_entry_block():
            self._places = [builder.alloca(vector.kind) for _ in range(EXTENSION_DEGREE)]

    def clear(self) -> None:
        for place in self._places:
            self._builder.store(self._vector.splat(0), place)

    def add_product(self, k: int, a: Any, b: Any) -> None:
        total = self._vector.add(self._builder.load(self._places[k]), self._vector.mul(a, b))
        self._builder.store(total, self._places[k])

    def values(self) -> list[Any]:
        return [self._builder.load(place) for place in self._places]


def _combine(module: Any, lanes: int) -> None:
    pointer = I32.as_pointer()
    kinds = [pointer, I64, I64, pointer, pointer, I64, I64]
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), kinds), COMBINE)
    columns, count, size, weights, out, start, end = function.args
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    vector = Lanes(builder, lanes)
    sums = _Sums(builder, vector)
    with Loop(builder, start, end, lanes) as index:
        sums.clear()
        with Loop(builder, _number(0), count, 1) as column:
            offset = builder.add(builder.mul(column, size), index)
            values = vector.load(columns, offset)
            first = builder.mul(column, _number(EXTENSION_DEGREE))
            for k in range(EXTENSION_DEGREE):
                weight = builder.load(builder.gep(weights, [builder.add(first, _number(k))]))
                sums.add_product(k, values, vector.repeated(weight))
        for k, total in enumerate(sums.values()):
            vector.store(total, out, builder.add(builder.mul(_number(k), size), index))
    builder.ret_void()


def _inner(module: Any, lanes: int) -> None:
    pointer = I32.as_pointer()
    kinds = [pointer, I64, pointer, pointer, I64, I64]
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), kinds), INNER)
    columns, size, weights, out, start, end = function.args
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    vector = Lanes(builder, lanes)
    sums = _Sums(builder, vector)
    with Loop(builder, start, end, 1) as column:
        sums.clear()
        first = builder.mul(column, size)
        with Loop(builder, _number(0), size, lanes) as index:
            values = vector.load(columns, builder.add(first, index))
            for k in range(EXTENSION_DEGREE):
                offset = builder.add(builder.mul(_number(k), size), index)
                sums.add_product(k, values, vector.load(weights, offset))
        target = builder.mul(column, _number(EXTENSION_DEGREE * lanes))
        for k, total in enumerate(sums.values()):
            vector.store(total, out, builder.add(target, _number(k * lanes)))
    builder.ret_void()


def _number(value: int) -> Any:
    return ir.Constant(I64, value)
