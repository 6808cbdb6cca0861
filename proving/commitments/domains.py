"""Evaluation domains: subgroups of two-power order and their cosets, in natural order."""

from __future__ import annotations

import numpy as np

from proving.arithmetic.modulus import GENERATOR, TWO_ADICITY, P
from proving.backends.port import FieldArray
from schemas.errors import ParameterError


def root_of_unity(log_size: int) -> int:
    """Returns the generator w of the subgroup of order 2^log_size; roots of halves are squares.

    Raises:
        ParameterError: log_size is above the field's two-adicity.
    """
    if not 0 <= log_size <= TWO_ADICITY:
        raise ParameterError(f"no subgroup of order 2^{log_size}")
    return pow(GENERATOR, (P - 1) >> log_size, P)


def coset_shift(log_size: int, log_full_size: int) -> int:
    """Returns the shift of a FRI layer of 2^log_size points below a first one of 2^log_full_size."""
    return pow(GENERATOR, 2 ** (log_full_size - log_size), P)


def geometric(first: int, ratio: int, count: int) -> FieldArray:
    """Returns first * ratio^i for i < count, (count,) uint32; doubling keeps it vectorised."""
    values = np.array([first % P], dtype=np.uint64)
    while len(values) < count:
        step = np.uint64(pow(ratio, len(values), P))
        values = np.concatenate([values, values * step % np.uint64(P)])
    return values[:count].astype(np.uint32)


def coset_points(log_size: int, log_full_size: int) -> FieldArray:
    """Returns the points of a layer in natural order."""
    return geometric(coset_shift(log_size, log_full_size), root_of_unity(log_size), 2**log_size)


def invert_residues(values: FieldArray) -> FieldArray:
    """Inverts nonzero residues by Fermat's theorem, all at once; zero maps to zero."""
    result = np.ones_like(values, dtype=np.uint64)
    base = values.astype(np.uint64)
    exponent = P - 2
    while exponent:
        if exponent & 1:
            result = result * base % np.uint64(P)
        base = base * base % np.uint64(P)
        exponent >>= 1
    return result.astype(np.uint32)
