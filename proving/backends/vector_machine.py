"""The vector machine: a compiled loop that runs `bytecode` over blocks of points.

One function serves programs of any length, so that a circuit of ten thousand operations starts as fast as one
of ten. An instruction works on a whole block, four vectors at a time, which hides both the latency of products
and the cost of the jump that chose it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir

from proving.backends.bytecode import SUMS, Code
from proving.backends.lanes import I32, I64, Lanes, Loop

RUN_CODE = "run_code"
UNROLLED = 4
"""Vectors that an instruction takes at a time; a block is a multiple of so many."""

_ARGUMENTS = (
    "code",
    "length",
    "inputs",
    "strides",
    "scalars",
    "slots",
    "block",
    "target",
    "pitch",
    "start",
    "end",
)


def machine_module(lanes: int) -> str:
    """Returns the IR of `run_code`.

    run_code(code, length, inputs, strides, scalars, slots, block, target, pitch, start, end):
        code, length: Instructions of four 32-bit fields.
        inputs, strides: Per input, the address of its first point and the points' distance in bytes.
        scalars: In Montgomery form.
        slots: Room for the slots, `block` points each.
        block: Points taken together, a multiple of 4 * lanes.
        target, pitch: Output rows, `pitch` residues each. `STORE` writes whole blocks of a last part in
            vectors: the pitch is at least `end` rounded up to a vector.
        start, end: Points to run; start is a multiple of `lanes`.
    """
    return _Machine(lanes).text()


class _Machine:
    """Emits the function; `self.vector` emits at the builder's place."""

    def __init__(self, lanes: int) -> None:
        self._module = ir.Module("machine")
        self._lanes = lanes
        word, wide = I32.as_pointer(), I64.as_pointer()
        kinds = [word, I64, wide, wide, word, word, I64, word, I64, I64, I64]
        signature = ir.FunctionType(ir.VoidType(), kinds)
        function = ir.Function(self._module, signature, RUN_CODE)
        self._arguments = dict(zip(_ARGUMENTS, function.args, strict=True))
        self._builder = ir.IRBuilder(function.append_basic_block("entry"))
        self.vector = Lanes(self._builder, lanes)
        self._totals = [self._builder.alloca(self.vector.kind) for _ in range(SUMS)]
        self._fields: list[Any] = []
        self._first: Any = None
        self._count: Any = None

    def text(self) -> str:
        """Returns the module."""
        builder, given = self._builder, self._arguments
        zero = _number(0)
        span = builder.sub(given["end"], given["start"])
        blocks = builder.udiv(
            builder.add(span, builder.sub(given["block"], _number(1))), given["block"]
        )
        with Loop(builder, zero, blocks, 1) as number:
            self._first = builder.add(given["start"], builder.mul(number, given["block"]))
            left = builder.sub(given["end"], self._first)
            whole = builder.icmp_unsigned("<", given["block"], left)
            self._count = builder.select(whole, given["block"], left)
            with Loop(builder, zero, given["length"], 1) as index:
                self._dispatch(index)
        builder.ret_void()
        return str(self._module)

    def _dispatch(self, index: Any) -> None:
        builder = self._builder
        place = builder.mul(index, _number(4))
        code, *fields = (
            builder.load(builder.gep(self._arguments["code"], [builder.add(place, _number(k))]))
            for k in range(4)
        )
        self._fields = [builder.sext(field, I64) for field in fields]
        after = builder.function.append_basic_block("next")
        unknown = builder.function.append_basic_block("unknown")
        switch = builder.switch(code, unknown)
        builder.position_at_end(unknown)
        builder.unreachable()
        for number, emit in self._instructions().items():
            body = builder.function.append_basic_block(number.name.lower())
            switch.add_case(ir.Constant(I32, int(number)), body)
            builder.position_at_end(body)
            emit()
            builder.branch(after)
        builder.position_at_end(after)

    def _instructions(self) -> dict[Code, Callable[[], None]]:
        vector = self.vector
        return {
            Code.LOAD: lambda: self._load(entered=True),
            Code.LOAD_RAW: lambda: self._load(entered=False),
            Code.ADD: lambda: self._binary(vector.add),
            Code.SUB: lambda: self._binary(vector.sub),
            Code.MUL: lambda: self._binary(vector.mul),
            Code.ADD_SCALAR: lambda: self._with_scalar(vector.add),
            Code.SUB_FROM_SCALAR: lambda: self._with_scalar(lambda a, s: vector.sub(s, a)),
            Code.MUL_SCALAR: lambda: self._with_scalar(vector.mul),
            Code.SET: self._set,
            Code.STORE: self._store,
            Code.ACCUMULATE: self._accumulate,
            Code.DOT: self._dot,
        }

    def _binary(self, operate: Callable[[Any, Any], Any]) -> None:
        target, left, right = (self._slot(field) for field in self._fields)
        self._each(lambda at: operate(self._read(left, at), self._read(right, at)), target)

    def _with_scalar(self, operate: Callable[[Any, Any], Any]) -> None:
        target, left = self._slot(self._fields[0]), self._slot(self._fields[1])
        scalar = self._spread(self._fields[2])
        self._each(lambda at: operate(self._read(left, at), scalar), target)

    def _set(self) -> None:
        scalar = self._spread(self._fields[1])
        self._each(lambda _: scalar, self._slot(self._fields[0]))

    def _load(self, *, entered: bool) -> None:
        """Copies an input's points into a slot, zeros after the last, then changes their form."""
        builder, given = self._builder, self._arguments
        target, number = self._slot(self._fields[0]), self._fields[1]
        address = builder.load(builder.gep(given["inputs"], [number]))
        stride = builder.load(builder.gep(given["strides"], [number]))
        first = builder.add(address, builder.mul(stride, self._first))
        near = builder.icmp_signed("==", stride, _number(4))
        full = builder.icmp_unsigned("==", self._count, given["block"])
        with builder.if_else(builder.and_(near, full)) as (together, apart):
            with together:
                source = builder.inttoptr(first, I32.as_pointer())
                self._each(lambda at: self.vector.load(source, at), target)
            with apart:
                with Loop(builder, _number(0), self._count, 1) as index:
                    at = builder.add(first, builder.mul(stride, index))
                    value = builder.load(builder.inttoptr(at, I32.as_pointer()), align=4)
                    builder.store(value, builder.gep(target, [index]), align=4)
                with Loop(builder, self._count, given["block"], 1) as index:
                    builder.store(ir.Constant(I32, 0), builder.gep(target, [index]), align=4)
        if entered:
            self._each(lambda at: self.vector.enter(self._read(target, at)), target)

    def _store(self) -> None:
        builder, given = self._builder, self._arguments
        row, source = self._fields[0], self._slot(self._fields[1])
        offset = builder.add(builder.mul(row, given["pitch"]), self._first)
        target = builder.gep(given["target"], [offset])
        with Loop(builder, _number(0), self._count, self._lanes) as at:
            self.vector.store(self.vector.leave(self._read(source, at)), target, at)

    def _accumulate(self) -> None:
        builder, vector = self._builder, self.vector
        source, first = self._slot(self._fields[0]), self._fields[1]
        sums = [self._slot(_number(k)) for k in range(SUMS)]
        weights = [self._spread(builder.add(first, _number(k))) for k in range(SUMS)]
        with Loop(builder, _number(0), self._arguments["block"], self._lanes) as at:
            value = self._read(source, at)
            for total, weight in zip(sums, weights, strict=True):
                vector.store(
                    vector.add(self._read(total, at), vector.mul(value, weight)), total, at
                )

    def _dot(self) -> None:
        builder, vector = self._builder, self.vector
        source = self._slot(self._fields[0])
        first = builder.mul(self._fields[1], _number(self._lanes))
        weights = [self._slot(_number(k)) for k in range(SUMS)]
        places = [builder.add(first, _number(k * self._lanes)) for k in range(SUMS)]
        target = self._arguments["target"]
        for total, place in zip(self._totals, places, strict=True):
            builder.store(vector.load(target, place), total)
        with Loop(builder, _number(0), self._arguments["block"], self._lanes) as at:
            value = self._read(source, at)
            for total, weight in zip(self._totals, weights, strict=True):
                product = vector.mul(value, self._read(weight, at))
                builder.store(vector.add(builder.load(total), product), total)
        for total, place in zip(self._totals, places, strict=True):
            vector.store(builder.load(total), target, place)

    def _each(self, make: Callable[[Any], Any], target: Any) -> None:
        """Fills a slot, four vectors at a time."""
        builder = self._builder
        step = UNROLLED * self._lanes
        with Loop(builder, _number(0), self._arguments["block"], step) as index:
            places = [builder.add(index, _number(k * self._lanes)) for k in range(UNROLLED)]
            made = [make(place) for place in places]
            for place, value in zip(places, made, strict=True):
                self.vector.store(value, target, place)

    def _slot(self, number: Any) -> Any:
        offset = self._builder.mul(number, self._arguments["block"])
        return self._builder.gep(self._arguments["slots"], [offset])

    def _read(self, slot: Any, at: Any) -> Any:
        return self.vector.load(slot, at)

    def _spread(self, scalar: Any) -> Any:
        builder = self._builder
        value = builder.load(builder.gep(self._arguments["scalars"], [scalar]))
        empty = ir.Constant(self.vector.kind, ir.Undefined)
        single = builder.insert_element(empty, value, ir.Constant(I32, 0))
        mask = ir.Constant(ir.VectorType(I32, self._lanes), [ir.Constant(I32, 0)] * self._lanes)
        return builder.shuffle_vector(single, empty, mask)


def _number(value: int) -> Any:
    return ir.Constant(I64, value)
