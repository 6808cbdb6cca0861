"""Assembles field programs into the instructions of the vector machine.

The machine holds blocks of points in numbered slots. A program becomes a list of instructions: inputs are
loaded before their first use, outputs leave as soon as they are known, and a slot is free again after its
last use, so that few slots are live and they stay in a core's cache. What depends on integers only (constants,
public inputs, challenges) is computed once, not per point, and read as a scalar.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from proving.arithmetic.modulus import EXTENSION_DEGREE, P
from proving.arithmetic.program import Op, Program

Instructions = NDArray[np.int32]
"""(k, 4): code, first field, second field, third field; unused fields are zero."""

SUMS = EXTENSION_DEGREE
"""Slots 0 to 4 hold weighted sums, or weights; programs use those above."""


class Code(IntEnum):
    """Instruction codes; `t` is the slot written, `a` and `b` slots read, `s` a scalar's index."""

    LOAD = 0
    """t, input: the input's points, entered into Montgomery form; zero past the end."""
    LOAD_RAW = 1
    """t, input: the same without a change of form."""
    ADD = 2
    """t, a, b."""
    SUB = 3
    """t, a, b: a - b."""
    MUL = 4
    """t, a, b."""
    ADD_SCALAR = 5
    """t, a, s."""
    SUB_FROM_SCALAR = 6
    """t, a, s: s - a."""
    MUL_SCALAR = 7
    """t, a, s."""
    SET = 8
    """t, s."""
    STORE = 9
    """row, a: leaves Montgomery form and writes the points to a row of the output."""
    ACCUMULATE = 10
    """a, s: adds a times the scalars s .. s + 4 to slots 0 .. 4."""
    DOT = 11
    """a, d: adds a times slots 0 .. 4, summed over vectors, to the vectors d .. d + 4 of the output."""


@dataclass(frozen=True, slots=True)
class Assembly:
    """A program for the machine.

    The machine's scalars are, in order: zero, `scalars`, then five per weight.

    Attributes:
        code: Instructions.
        slots: Slots used.
        num_rows: Rows of the output.
        scalars: Nodes whose residues are scalars; -1 - n stands for minus the residue of node n.
        known: The nodes that depend on integers only, as (node, op, a, b) in order.
    """

    code: Instructions
    slots: int
    num_rows: int
    scalars: tuple[int, ...] = ()
    known: tuple[tuple[int, Op, int, int], ...] = ()

    def residues(self, integers: Mapping[int, int]) -> list[int]:
        """Returns the residues of `scalars`.

        Args:
            integers: Inputs that are one integer for all points, by index.
        """
        values: dict[int, int] = {}
        for node, op, a, b in self.known:
            if op is Op.CONSTANT:
                values[node] = a
            elif op is Op.INPUT:
                values[node] = integers[a] % P
            elif op is Op.MUL:
                values[node] = values[a] * values[b] % P
            else:
                values[node] = (values[a] + (values[b] if op is Op.ADD else -values[b])) % P
        return [values[node] if node >= 0 else -values[-1 - node] % P for node in self.scalars]


def assemble(program: Program, integers: frozenset[int], *, weighted: bool) -> Assembly:
    """Assembles a program.

    Args:
        program: What to run.
        integers: Inputs that are one integer for all points.
        weighted: Sum the outputs with extension weights, five rows, instead of storing each.
    """
    return _Assembler(program, integers, weighted=weighted).assemble()


def combination_code(count: int) -> Assembly:
    """Returns the weighted sum of `count` inputs, not entered: the sum is over 2^32 unless the weights are not."""
    code = [(Code.SET, slot, 0, 0) for slot in range(SUMS)]
    for column in range(count):
        code.append((Code.LOAD_RAW, SUMS, column, 0))
        code.append((Code.ACCUMULATE, SUMS, 1 + SUMS * column, 0))
    code += [(Code.STORE, slot, slot, 0) for slot in range(SUMS)]
    return Assembly(_instructions(code), SUMS + 1, SUMS)


def inner_product_code(count: int) -> Assembly:
    """Returns the sums over points of `count` inputs times each of the five inputs that follow them."""
    code = [(Code.LOAD, slot, count + slot, 0) for slot in range(SUMS)]
    for column in range(count):
        code.append((Code.LOAD_RAW, SUMS, column, 0))
        code.append((Code.DOT, SUMS, SUMS * column, 0))
    return Assembly(_instructions(code), SUMS + 1, SUMS * count)


class _Assembler:
    """State of one assembly."""

    def __init__(self, program: Program, integers: frozenset[int], *, weighted: bool) -> None:
        self._nodes, self._weighted = program.nodes, weighted
        self._num_outputs = len(program.outputs)
        self._rows: dict[int, list[int]] = {}
        for row, node in enumerate(program.outputs):
            self._rows.setdefault(node, []).append(row)
        self._known = _integer_nodes(program, integers)
        self._last = _last_readers(program)
        self._code: list[tuple[int, int, int, int]] = []
        self._slot: dict[int, int] = {}
        self._free: list[int] = []
        self._slots = SUMS
        self._scalars: dict[int, int] = {}

    def assemble(self) -> Assembly:
        """Emits what depends on points, then the outputs that nothing computes."""
        if self._weighted:
            self._code += [(Code.SET, slot, 0, 0) for slot in range(SUMS)]
        for node, (op, _, _) in enumerate(self._nodes):
            if node not in self._known and op is not Op.INPUT:
                self._emit(node)
        for node in list(self._rows):
            self._operand(node)
            self._free.append(self._slot.pop(node))
        if self._weighted:
            self._code += [(Code.STORE, slot, slot, 0) for slot in range(SUMS)]
        code = _instructions(self._code)
        weights = code[:, 0] == Code.ACCUMULATE
        code[weights, 2] = 1 + len(self._scalars) + SUMS * code[weights, 2]
        known = tuple((node, *self._nodes[node]) for node in sorted(self._known))
        rows = SUMS if self._weighted else self._num_outputs
        return Assembly(code, self._slots, rows, tuple(self._scalars), known)

    def _emit(self, node: int) -> None:
        op, a, b = self._nodes[node]
        code, left, right = self._fields(op, a, b)
        for operand in {a, b} - self._known:
            if self._last[operand] == node:
                self._free.append(self._slot.pop(operand))
        target = self._slot[node] = self._take()
        self._code.append((code, target, left, right))
        self._leave(node)
        if node not in self._last:
            self._free.append(self._slot.pop(node))

    def _fields(self, op: Op, a: int, b: int) -> tuple[Code, int, int]:
        if a not in self._known and b not in self._known:
            code = {Op.ADD: Code.ADD, Op.SUB: Code.SUB}.get(op, Code.MUL)
            return code, self._operand(a), self._operand(b)
        points, scalar = (b, a) if a in self._known else (a, b)
        place = self._operand(points)
        if op is Op.MUL:
            return Code.MUL_SCALAR, place, self._scalar(scalar)
        if op is Op.ADD:
            return Code.ADD_SCALAR, place, self._scalar(scalar)
        if scalar == a:
            return Code.SUB_FROM_SCALAR, place, self._scalar(scalar)
        return Code.ADD_SCALAR, place, self._scalar(-1 - scalar)

    def _operand(self, node: int) -> int:
        """Returns the slot of a node; an input is loaded, and an integer spread, when first asked for."""
        if node not in self._slot:
            slot = self._slot[node] = self._take()
            if node in self._known:
                self._code.append((Code.SET, slot, self._scalar(node), 0))
            else:
                self._code.append((Code.LOAD, slot, self._nodes[node][1], 0))
            self._leave(node)
        return self._slot[node]

    def _leave(self, node: int) -> None:
        """Lets a node go to the outputs that it is, once."""
        for row in self._rows.pop(node, ()):
            if self._weighted:
                self._code.append((Code.ACCUMULATE, self._slot[node], row, 0))
            else:
                self._code.append((Code.STORE, row, self._slot[node], 0))

    def _take(self) -> int:
        if self._free:
            return self._free.pop()
        self._slots += 1
        return self._slots - 1

    def _scalar(self, node: int) -> int:
        return self._scalars.setdefault(node, 1 + len(self._scalars))


def _instructions(code: Sequence[tuple[int, int, int, int]]) -> Instructions:
    return np.array(code, dtype=np.int32).reshape(-1, 4)


def _integer_nodes(program: Program, integers: frozenset[int]) -> set[int]:
    known = {
        node
        for node, (op, a, _) in enumerate(program.nodes)
        if op is Op.CONSTANT or (op is Op.INPUT and a in integers)
    }
    for node, (op, a, b) in enumerate(program.nodes):
        if op is not Op.INPUT and op is not Op.CONSTANT and a in known and b in known:
            known.add(node)
    return known


def _last_readers(program: Program) -> dict[int, int]:
    last: dict[int, int] = {}
    for node, (op, a, b) in enumerate(program.nodes):
        if op in (Op.ADD, Op.SUB, Op.MUL):
            last[a] = last[b] = node
    return last
