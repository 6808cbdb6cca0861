"""Challenge-field arithmetic on arrays of int64 residues, one element a row."""

from __future__ import annotations

from functools import cache

import numpy as np

from proving.arithmetic.modulus import EXTENSION_DEGREE, EXTENSION_TAIL, P
from proving.recursion.arrays import Integers
from proving.stark.challenge_field import columns_of, inverses, rejoin


def multiply_rows(a: Integers, b: Integers) -> Integers:
    """Multiplies (n, 5) elements row by row.

    The 25 products are reduced before they are added with weights of at most 2, so sums stay below 2^37.
    """
    products = (a[:, :, None] * b[:, None, :] % P).reshape(len(a), EXTENSION_DEGREE**2)
    result: Integers = products @ _fold_matrix() % P
    return result


def invert_rows(a: Integers) -> Integers:
    """Inverts (n, 5) nonzero elements."""
    return rejoin(inverses(columns_of(a.astype(np.uint32)))).astype(np.int64)


@cache
def _fold_matrix() -> Integers:
    """Returns the (25, 5) matrix that takes the products of coordinates i and j to the coordinates of X^(i+j)."""
    tail = [weight - P if weight > P // 2 else weight for weight in EXTENSION_TAIL]
    powers = np.zeros((2 * EXTENSION_DEGREE - 1, EXTENSION_DEGREE), dtype=np.int64)
    powers[:EXTENSION_DEGREE] = np.eye(EXTENSION_DEGREE, dtype=np.int64)
    for power in range(EXTENSION_DEGREE, len(powers)):
        for low, weight in enumerate(tail):
            powers[power] += weight * powers[power - EXTENSION_DEGREE + low]
    places = np.add.outer(np.arange(EXTENSION_DEGREE), np.arange(EXTENSION_DEGREE))
    return powers[places].reshape(-1, EXTENSION_DEGREE)
