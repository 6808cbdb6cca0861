"""The inverse of the Poseidon2 permutation, in plain integers: which state leads to a given one.

A circuit uses it to let a row show any word. Source: as `poseidon2`; the layers' matrices are inverted here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

from proving.arithmetic.modulus import PERMUTATION_WIDTH, P
from proving.arithmetic.poseidon2_integers import (
    EXTERNAL_CONSTANTS,
    INTERNAL_CONSTANTS,
    external_layer,
    internal_layer,
)

CUBE_ROOT = (2 * (P - 1) + 1) // 3
"""x^CUBE_ROOT cubed is x: 3 divides 2 (P - 1) + 1."""

Matrix = tuple[tuple[int, ...], ...]


def unpermute_integers(state: Sequence[int]) -> list[int]:
    """Returns the sixteen residues that the permutation turns into `state`."""
    external, internal = _inverse(external_layer), _inverse(internal_layer)
    current = [value % P for value in state]
    half = len(EXTERNAL_CONSTANTS) // 2
    for index, constants in reversed(list(enumerate(EXTERNAL_CONSTANTS))):
        current = _applied(external, current)
        current = [
            (pow(value, CUBE_ROOT, P) - added) % P
            for value, added in zip(current, constants, strict=True)
        ]
        if index == half:
            for constant in reversed(INTERNAL_CONSTANTS):
                current = _applied(internal, current)
                current[0] = (pow(current[0], CUBE_ROOT, P) - constant) % P
    return _applied(external, current)


def _applied(matrix: Matrix, vector: Sequence[int]) -> list[int]:
    return [
        sum(entry * value for entry, value in zip(row, vector, strict=True)) % P for row in matrix
    ]


@cache
def _inverse(layer: Callable[[Sequence[int]], list[int]]) -> Matrix:
    """Inverts a linear layer by Gauss-Jordan elimination."""
    size = PERMUTATION_WIDTH
    units = [[int(row == column) for column in range(size)] for row in range(size)]
    columns = [layer(unit) for unit in units]
    rows = [[columns[j][i] % P for j in range(size)] + units[i] for i in range(size)]
    for pivot in range(size):
        found = next(row for row in range(pivot, size) if rows[row][pivot])
        rows[pivot], rows[found] = rows[found], rows[pivot]
        scale = pow(rows[pivot][pivot], P - 2, P)
        rows[pivot] = [value * scale % P for value in rows[pivot]]
        for row in range(size):
            if row != pivot and rows[row][pivot]:
                factor = rows[row][pivot]
                pairs = zip(rows[row], rows[pivot], strict=True)
                rows[row] = [(mine - factor * theirs) % P for mine, theirs in pairs]
    return tuple(tuple(row[size:]) for row in rows)
