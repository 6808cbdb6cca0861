"""Long programs, run by compiled code that reads them as instructions: nothing to compile per program.

A block of points goes through all instructions before the next block begins, so that the values in use stay in a
core's second-level cache: a value holds a slot from the instruction that makes it to the last that reads it.
Values in slots are in Montgomery form.
"""

from __future__ import annotations

import ctypes
from enum import IntEnum
from functools import cache
from typing import Any

import numpy as np
from llvmlite import ir
from numpy.typing import NDArray

from proving.arithmetic.modulus import P
from proving.arithmetic.program import Op, Program
from proving.backends.lanes import I32, I64, RADIX, Lanes, Loop
from proving.backends.machine_code import MachineCode
from proving.backends.port import FieldArray
from proving.backends.transforms import aligned_array

VECTORS_PER_BLOCK = 8
"""Vectors an instruction works on: enough to hide its dispatch."""

INTERPRET = "interpret"
_POINTER, _SIZE = ctypes.c_void_p, ctypes.c_int64
_FIELDS = 4


class Code(IntEnum):
    """Instructions (code, target, a, b); targets and operands are slots unless said otherwise."""

    LOAD = 0
    """a is a row of the inputs."""
    CONSTANT = 1
    """a is a residue in Montgomery form."""
    ADD = 2
    SUB = 3
    MUL = 4
    STORE = 5
    """target is a row of the outputs."""


_ARITHMETIC = {Op.ADD: Code.ADD, Op.SUB: Code.SUB, Op.MUL: Code.MUL}


class _Assembler:
    """Gives values slots; inputs and constants are loaded where they are first read."""

    def __init__(self, program: Program) -> None:
        self._nodes = program.nodes
        self._uses = [0] * len(program.nodes)
        for op, a, b in program.nodes:
            if op in _ARITHMETIC:
                self._uses[a] += 1
                self._uses[b] += 1
        for node in program.outputs:
            self._uses[node] += 1
        self._slots: dict[int, int] = {}
        self._free: list[int] = []
        self.slots = 0
        self.instructions: list[tuple[int, int, int, int]] = []
        outputs: dict[int, list[int]] = {}
        for row, node in enumerate(program.outputs):
            outputs.setdefault(node, []).append(row)
        for node, (op, a, b) in enumerate(program.nodes):
            if op in _ARITHMETIC:
                left, right = self._read(a), self._read(b)
                self._release(a)
                self._release(b)
                self.instructions.append((_ARITHMETIC[op], self._take(node), left, right))
            for row in outputs.get(node, ()):
                self.instructions.append((Code.STORE, row, self._read(node), 0))
                self._release(node)

    def _read(self, node: int) -> int:
        slot = self._slots.get(node)
        if slot is None:
            op, value, _ = self._nodes[node]
            slot = self._take(node)
            if op is Op.INPUT:
                self.instructions.append((Code.LOAD, slot, value, 0))
            else:
                self.instructions.append((Code.CONSTANT, slot, value * RADIX % P, 0))
        return slot

    def _take(self, node: int) -> int:
        if not self._free:
            self._free.append(self.slots)
            self.slots += 1
        slot = self._slots[node] = self._free.pop()
        return slot

    def _release(self, node: int) -> None:
        self._uses[node] -= 1
        if not self._uses[node]:
            self._free.append(self._slots.pop(node))


class InterpretedProgram:
    """A program as instructions."""

    def __init__(self, program: Program, lanes: int) -> None:
        """Assembles the program for vectors of so many lanes."""
        assembler = _Assembler(program)
        self._block = block_points(lanes)
        self._slots = assembler.slots
        self._instructions: NDArray[np.int32] = np.array(
            assembler.instructions, dtype=np.int32
        ).reshape(-1, _FIELDS)
        self._call: Any = _interpreter(lanes).function(
            INTERPRET, _POINTER, _SIZE, _POINTER, _POINTER, _SIZE, _POINTER, _SIZE, _SIZE
        )

    def apply(self, table: FieldArray, out: FieldArray, start: int, end: int) -> None:
        """Maps points start to end, multiples of the block, of (k, n) inputs to (m, n) outputs."""
        scratch = aligned_array(max(1, self._slots), self._block)
        self._call(
            self._instructions.ctypes.data,
            len(self._instructions),
            table.ctypes.data,
            out.ctypes.data,
            table.shape[1],
            scratch.ctypes.data,
            start,
            end,
        )


def block_points(lanes: int) -> int:
    """Returns how many points go through the instructions together."""
    return VECTORS_PER_BLOCK * lanes


def interpreter_module(lanes: int) -> str:
    """Returns the IR of `interpret(instructions, count, inputs, outputs, size, slots, start, end)`."""
    module = ir.Module(INTERPRET)
    pointer = I32.as_pointer()
    kinds = [pointer, I64, pointer, pointer, I64, pointer, I64, I64]
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), kinds), INTERPRET)
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    instructions, count, start, end = (function.args[i] for i in (0, 1, 6, 7))
    with (
        Loop(builder, start, end, block_points(lanes)) as index,
        Loop(builder, _number(0), count, 1) as number,
    ):
        place = builder.mul(number, _number(_FIELDS))
        fields = [
            builder.load(builder.gep(instructions, [builder.add(place, _number(i))]))
            for i in range(_FIELDS)
        ]
        following = function.append_basic_block("following")
        choice = builder.switch(fields[0], following)
        for code in Code:
            choice.add_case(ir.Constant(I32, int(code)), function.append_basic_block(code.name))
            builder.position_at_end(function.blocks[-1])
            _emit(builder, Lanes(builder, lanes), code, fields[1:], index)
            builder.branch(following)
        builder.position_at_end(following)
    builder.ret_void()
    return str(module)


def _emit(builder: Any, vector: Lanes, code: Code, fields: list[Any], index: Any) -> None:
    """Emits one instruction over a block of points."""
    inputs, outputs, size, slots = builder.function.args[2:6]
    block = _number(block_points(vector.count))
    target, a, b = (builder.zext(field, I64) for field in fields)
    for part in range(VECTORS_PER_BLOCK):
        shift = _number(part * vector.count)

        def slot(number: Any, shift: Any = shift) -> Any:
            return builder.add(builder.mul(number, block), shift)

        def row(number: Any, shift: Any = shift) -> Any:
            return builder.add(builder.mul(number, size), builder.add(index, shift))

        if code is Code.STORE:
            value = vector.leave(vector.load(slots, slot(a)))
            vector.store(value, outputs, row(target))
            continue
        if code is Code.LOAD:
            value = vector.enter(vector.load(inputs, row(a)))
        elif code is Code.CONSTANT:
            value = vector.repeated(fields[1])
        else:
            left, right = vector.load(slots, slot(a)), vector.load(slots, slot(b))
            operation = {Code.ADD: vector.add, Code.SUB: vector.sub, Code.MUL: vector.mul}[code]
            value = operation(left, right)
        vector.store(value, slots, slot(target))


@cache
def _interpreter(lanes: int) -> MachineCode:
    return MachineCode(interpreter_module(lanes))


def _number(value: int) -> Any:
    return ir.Constant(I64, value)
