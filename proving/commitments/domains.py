"""Evaluation domains: the cosets that FRI folds down through, in natural order."""

from __future__ import annotations

import numpy as np

from proving.arithmetic.modulus import GENERATOR, P
from proving.arithmetic.ntt import geometric, root_of_unity
from proving.backends.port import FieldArray


def coset_shift(log_size: int, log_full_size: int) -> int:
    """Returns the shift of a FRI layer of 2^log_size points below a first one of 2^log_full_size."""
    return pow(GENERATOR, 2 ** (log_full_size - log_size), P)


def points_at(indices: FieldArray, log_size: int, log_full_size: int) -> FieldArray:
    """Returns the points of a layer at (q,) indices, without the others."""
    root, shift = root_of_unity(log_size), coset_shift(log_size, log_full_size)
    values = [shift * pow(root, index, P) % P for index in indices.tolist()]
    return np.array(values, dtype=np.uint32)


def coset_points(log_size: int, log_full_size: int) -> FieldArray:
    """Returns the points of a layer in natural order."""
    return geometric(coset_shift(log_size, log_full_size), root_of_unity(log_size), 2**log_size)
