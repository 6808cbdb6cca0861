"""One Poseidon2 permutation as constraints and as trace columns: the permutation lane's inside.

Every S-box output but those of the last full round has a column, so that each constraint is one cube of a
linear form. The sixteen outputs are returned as expressions of degree 3.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from proving.arithmetic.poseidon2_integers import (
    EXTERNAL_CONSTANTS,
    INTERNAL_CONSTANTS,
    cube,
    external_layer,
    internal_layer,
)
from proving.arithmetic.program import Symbol
from proving.arithmetic.residues import Residues
from proving.stark.air import FieldArray, Row


def constrain_permutation(
    row: Row, state: Sequence[Symbol], boxes: Sequence[Symbol]
) -> list[Symbol]:
    """Claims that the boxes are those of a permutation of the state and returns its sixteen outputs.

    Args:
        row: Where the claims go.
        state: Sixteen elements before.
        boxes: `STORED_BOXES` S-box outputs, round after round.
    """
    stored = iter(boxes)
    current = external_layer(list(state))
    half, last = len(EXTERNAL_CONSTANTS) // 2, len(EXTERNAL_CONSTANTS) - 1
    for index, constants in enumerate(EXTERNAL_CONSTANTS):
        if index == half:
            for number, constant in enumerate(INTERNAL_CONSTANTS):
                column = next(stored)
                row.zero(f"partial{number}", column - cube(current[0] + constant))
                current = internal_layer([column, *current[1:]])
        cubes = [cube(value + constant) for value, constant in zip(current, constants, strict=True)]
        if index < last:
            for j, wanted in enumerate(cubes):
                column = next(stored)
                row.zero(f"full{index}[{j}]", column - wanted)
                cubes[j] = column
        current = external_layer(cubes)
    return current


def box_columns(states: FieldArray) -> FieldArray:
    """Returns the S-box outputs that the lane stores.

    Args:
        states: (n, 16) canonical residues.

    Returns:
        (STORED_BOXES, n) uint32.
    """
    columns: list[Residues] = []
    current = external_layer([Residues(column.astype(np.uint64)) for column in states.T])
    half = len(EXTERNAL_CONSTANTS) // 2
    for index, constants in enumerate(EXTERNAL_CONSTANTS[:-1]):
        if index == half:
            current = _partial_rounds(current, columns)
        cubes = [cube(value + constant) for value, constant in zip(current, constants, strict=True)]
        columns += cubes
        current = external_layer(cubes)
    return np.stack([column.residues for column in columns]).astype(np.uint32)


def _partial_rounds(state: list[Residues], columns: list[Residues]) -> list[Residues]:
    for constant in INTERNAL_CONSTANTS:
        boxed = cube(state[0] + constant)
        columns.append(boxed)
        state = internal_layer([boxed, *state[1:]])
    return state
