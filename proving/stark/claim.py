"""What the prover's own openings say about its constraints, computed on a backend.

The verifier evaluates the constraint program on challenges (`proving.stark.protocol`). A challenge is a
polynomial in X of degree below five, so every constraint, of degree d in the opened values, is a polynomial in
X of degree 4 d at most, which its values at 4 d + 1 base points determine. At base points the program runs as it
does for the quotient; only the result is taken modulo X^5 + X^2 - 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from proving.arithmetic.modulus import EXTENSION_DEGREE, P
from proving.backends.port import Backend, FieldArray
from proving.stark.air import MAX_CONSTRAINT_DEGREE
from proving.stark.challenge_field import Extension, powers, stack
from proving.stark.protocol import LookupValues, OpenedValues, selectors_at
from proving.stark.system import ConstraintSystem

TOTAL_DEGREE = MAX_CONSTRAINT_DEGREE + 1
"""A constraint's row degree does not count the transition selector, which multiplies it once."""

NUM_POINTS = TOTAL_DEGREE * (EXTENSION_DEGREE - 1) + 1
"""Base points 0, 1, ... at which constraints are evaluated."""


def claimed_constraints(
    backend: Backend,
    system: ConstraintSystem,
    opened: OpenedValues,
    publics: Sequence[int],
    lookup: LookupValues | None,
    *,
    challenge: Extension,
    point: Extension,
) -> Extension:
    """Returns sum_i challenge^i * constraint_i at the point, as the verifier computes it.

    Args:
        backend: Runs the constraint program.
        system: The circuit.
        opened: Column values at the point.
        publics: Canonical public inputs.
        lookup: Challenges and share, None without lookups.
        challenge: Combines the constraints.
        point: Where the columns were opened.
    """
    columns = [
        *opened.fixed,
        *opened.main,
        *opened.main_next,
        *opened.lookup,
        *opened.lookup_next,
    ]
    selectors = selectors_at(point, system.log_height)
    values = _at_base_points([*columns, *selectors])
    scalars: list[int] = lookup.inputs() if lookup else []
    inputs = [*values[: len(columns)], *publics, *values[len(columns) :], *scalars]
    weights = stack(powers(challenge, len(system.names)))
    sums = backend.combine_outputs(system.program, inputs, NUM_POINTS, weights)
    total = Extension.of(0)
    for k, row in enumerate(sums.tolist()):
        basis = Extension(tuple(int(j == k) for j in range(EXTENSION_DEGREE)))
        total = total + basis * _interpolated(row)
    return total


def _at_base_points(elements: Sequence[Extension]) -> FieldArray:
    """Evaluates elements as polynomials in X at the base points: (n, points)."""
    rows = stack(elements).astype(np.uint64)
    values = np.zeros((len(rows), NUM_POINTS), dtype=np.uint64)
    points = np.arange(NUM_POINTS, dtype=np.uint64)
    for coordinate in reversed(range(EXTENSION_DEGREE)):  # Horner's rule, below 2^36
        values = (values * points + rows[:, coordinate : coordinate + 1]) % np.uint64(P)
    return values.astype(np.uint32)


def _interpolated(values: Sequence[int]) -> Extension:
    """Returns the polynomial through values at 0, 1, ..., at X in the challenge field.

    Newton's form: the k-th divided difference is the k-th difference over k!.
    """
    differences, current = [values[0]], list(values)
    for order in range(1, len(values)):
        scale = pow(order, -1, P)
        current = [(b - a) * scale % P for a, b in pairwise(current)]
        differences.append(current[0])
    variable = Extension((0, 1, 0, 0, 0))
    total = Extension.of(0)
    for order in reversed(range(len(values))):
        total = total * (variable - order) + differences[order]
    return total
