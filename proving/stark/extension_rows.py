"""Challenge-field arithmetic on arrays of int64 residues, one element a row."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from proving.arithmetic.modulus import EXTENSION_DEGREE, EXTENSION_TAIL, P
from proving.arithmetic.residues import invert_residues
from proving.backends.port import FieldArray
from proving.stark.challenge_field import Extension, frobenius_images

Integers = NDArray[np.int64]


def multiply_rows(a: Integers, b: Integers) -> Integers:
    """Multiplies (n, 5) elements row by row.

    The 25 products are reduced before they are added with weights of at most 2, so sums stay below 2^37.
    """
    products = (a[:, :, None] * b[:, None, :] % P).reshape(len(a), EXTENSION_DEGREE**2)
    result: Integers = products @ _fold_matrix() % P
    return result


def invert_rows(a: FieldArray | Integers) -> Integers:
    """Inverts (n, 5) elements: the other conjugates' product over the norm, as `proving.backends.inversion` does.

    Raises:
        ZeroDivisionError: One of them is zero.
    """
    rows = np.asarray(a, dtype=np.int64)
    once = _frobenius(rows)
    half = multiply_rows(once, _frobenius(once))
    conjugates = multiply_rows(half, _frobenius(_frobenius(half)))
    norms = multiply_rows(rows, conjugates)[:, 0].astype(np.uint32)
    if not norms.all():
        raise ZeroDivisionError("zero has no inverse")
    inverse: Integers = conjugates * invert_residues(norms).astype(np.int64)[:, None] % P
    return inverse


def _frobenius(a: Integers) -> Integers:
    images = np.array(frobenius_images(), dtype=np.int64)
    raised: Integers = (a[:, :, None] * images % P).sum(axis=1) % P
    return raised


def power_rows(base: Extension, count: int) -> Integers:
    """Returns base^0, base^1, ..., base^(count - 1) as (count, 5), each round of products as long as all before."""
    rows = np.array([Extension.of(1).coordinates], dtype=np.int64)
    step = base
    while len(rows) < count:
        scaled = multiply_rows(rows, np.array([step.coordinates], dtype=np.int64))
        rows = np.concatenate([rows, scaled])
        step = step * step
    return rows[:count]


def inner_product(a: FieldArray | Integers, b: FieldArray | Integers) -> Extension:
    """Returns the sum of the products of two (n, 5) arrays of elements, row by row."""
    products = multiply_rows(np.asarray(a, dtype=np.int64), np.asarray(b, dtype=np.int64))
    return Extension(tuple((products.sum(axis=0) % P).tolist()))


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
