"""Field programs over NumPy arrays with reductions put off for as long as 64 bits hold the values.

A plan knows, for every node, the largest value it can have. Additions and subtractions of residues need
no reduction; a product needs its factors small enough to fit; only what is multiplied or returned is
reduced. Arrays are dropped after their last use.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from proving.arithmetic.modulus import P
from proving.arithmetic.program import Op, Program
from proving.arithmetic.residues import reduced

LARGEST = 2**64 - 1
"""No intermediate value exceeds an unsigned 64-bit integer."""

Value = NDArray[np.uint64] | int


@dataclass(frozen=True, slots=True)
class Step:
    """One node's work.

    Attributes:
        op: Kind of the node.
        a: First operand, constant or input index, as in the program.
        b: Second operand.
        reduced: Operands (or the node itself) to reduce first, for good.
        offset: Multiple of P added before a subtraction, at least the largest subtrahend.
        last_used: Nodes that no later step reads.
    """

    op: Op
    a: int
    b: int
    reduced: tuple[int, ...]
    offset: int
    last_used: tuple[int, ...]


@dataclass(slots=True)
class _Bounds:
    """The largest value of every node so far."""

    largest: list[int] = field(default_factory=list)

    def fit(self, a: int, b: int, op: Op) -> tuple[tuple[int, ...], int, int]:
        """Returns what to reduce so that the result fits, the offset, and the result's bound."""
        chosen: list[int] = []
        while True:
            left, right = self.largest[a], self.largest[b]
            offset = -(-right // P) * P if op is Op.SUB else 0
            bound = left * right if op is Op.MUL else left + (offset or right)
            if bound <= LARGEST:
                return tuple(chosen), offset, bound
            larger = a if left >= right else b
            chosen.append(larger)
            self.largest[larger] = P - 1


@dataclass(frozen=True, slots=True)
class Plan:
    """A program with its reductions decided."""

    steps: tuple[Step, ...]
    outputs: tuple[int, ...]
    reduced_outputs: frozenset[int]

    def evaluate(self, inputs: Sequence[Value]) -> list[Value]:
        """Runs the program on canonical residues: arrays of one length, or integers for all points."""
        values: list[Value] = []
        for step in self.steps:
            for node in step.reduced:
                values[node] = _reduced(values[node])
            if step.op is Op.INPUT:
                values.append(inputs[step.a])
            elif step.op is Op.CONSTANT:
                values.append(step.a)
            else:
                values.append(_combined(step, values[step.a], values[step.b]))
            for node in step.last_used:
                values[node] = 0
        for node in self.reduced_outputs:
            values[node] = _reduced(values[node])
        return [values[node] for node in self.outputs]


def plan_program(program: Program) -> Plan:
    """Decides where a program reduces."""
    last = _last_uses(program)
    bounds = _Bounds()
    steps: list[Step] = []
    for node, (op, a, b) in enumerate(program.nodes):
        chosen: tuple[int, ...] = ()
        offset = 0
        if op is Op.INPUT:
            bound = P - 1
        elif op is Op.CONSTANT:
            bound = a
        else:
            chosen, offset, bound = bounds.fit(a, b, op)
        bounds.largest.append(bound)
        steps.append(Step(op, a, b, chosen, offset, last.get(node, ())))
    wide = frozenset(node for node in program.outputs if bounds.largest[node] >= P)
    return Plan(tuple(steps), program.outputs, wide)


def _last_uses(program: Program) -> dict[int, tuple[int, ...]]:
    """Returns, for each step, the nodes that it is the last to read."""
    reader: dict[int, int] = {}
    for node, (op, a, b) in enumerate(program.nodes):
        if op in (Op.ADD, Op.SUB, Op.MUL):
            reader[a] = reader[b] = node
    ends: dict[int, tuple[int, ...]] = {}
    for node, last in reader.items():
        if node not in program.outputs:
            ends[last] = (*ends.get(last, ()), node)
    return ends


def _reduced(value: Value) -> Value:
    return value % P if isinstance(value, int) else reduced(value)


def _combined(step: Step, a: Value, b: Value) -> Value:
    if isinstance(a, int) and isinstance(b, int):
        return {Op.ADD: a + b, Op.SUB: a + step.offset - b}.get(step.op, a * b)
    left, right = np.asarray(a, dtype=np.uint64), np.asarray(b, dtype=np.uint64)
    result: NDArray[np.uint64]
    if step.op is Op.ADD:
        result = np.add(left, right)
    elif step.op is Op.SUB:
        result = np.subtract(left + np.uint64(step.offset), right)
    else:
        result = np.multiply(left, right)
    return result
