"""Field programs on elements of the challenge field, many operations at once.

A verifier evaluates a circuit's constraints at one point, thousands of operations on five coordinates each. What
depends on lower levels of the graph alone is one array operation, so the time goes by the depth of the graph more
than by its size.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from proving.arithmetic.modulus import EXTENSION_DEGREE, P
from proving.arithmetic.program import Op, Program
from proving.backends.port import FieldArray
from proving.stark.extension_rows import Integers, multiply_rows
from schemas.errors import ParameterError

Places = NDArray[np.intp]


class ExtensionProgram:
    """A program ordered by levels; `evaluate` runs it."""

    def __init__(self, program: Program) -> None:
        self.program = program
        levels = _levels(program)
        order = sorted(
            range(len(levels)), key=lambda node: (levels[node], program.nodes[node][0], node)
        )
        places = np.empty(len(order), dtype=np.intp)
        places[order] = np.arange(len(order))
        self._outputs = places[list(program.outputs)]
        self._steps: list[tuple[Op, slice, Places, Places]] = []
        nodes = np.array([program.nodes[node] for node in order], dtype=np.int64).reshape(-1, 3)
        groups = np.array([levels[node] for node in order]) * len(Op) + nodes[:, 0]
        starts = np.flatnonzero(np.diff(groups, prepend=-1))
        self._leaves = np.zeros((len(order), EXTENSION_DEGREE), dtype=np.int64)
        for start, end in zip(starts, [*starts[1:], len(order)], strict=True):
            op, group = Op(nodes[start, 0]), slice(start, end)
            a, b = nodes[group, 1], nodes[group, 2]
            if op is Op.INPUT:
                self._inputs, self._numbers = group, a
            elif op is Op.CONSTANT:
                self._leaves[group, 0] = a
            else:
                self._steps.append((op, group, places[a], places[b]))

    def evaluate(self, inputs: FieldArray) -> Integers:
        """Runs the program.

        Args:
            inputs: (inputs, 5) canonical coordinates.

        Returns:
            (outputs, 5), canonical.

        Raises:
            ParameterError: The number of inputs is another.
        """
        if inputs.shape != (self.program.num_inputs, EXTENSION_DEGREE):
            raise ParameterError(
                f"{self.program.name} takes {self.program.num_inputs} inputs, got {len(inputs)}"
            )
        values = self._leaves.copy()
        if len(inputs):
            values[self._inputs] = inputs[self._numbers]
        for op, group, a, b in self._steps:
            left, right = values[a], values[b]
            if op is Op.MUL:
                values[group] = multiply_rows(left, right)
            else:
                values[group] = (left + right if op is Op.ADD else left - right) % P
        result: Integers = values[self._outputs]
        return result


@cache
def extension_program(program: Program) -> ExtensionProgram:
    """Returns a program ordered by levels, made once."""
    return ExtensionProgram(program)


def _levels(program: Program) -> list[int]:
    """Returns each node's distance from the leaves, inputs and constants."""
    levels: list[int] = []
    for op, a, b in program.nodes:
        is_leaf = op in (Op.INPUT, Op.CONSTANT)
        levels.append(0 if is_leaf else 1 + max(levels[a], levels[b]))
    return levels
