"""Compiled number-theoretic transforms: one kind per length, number of cosets, root and scale."""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

import numpy as np

from proving.arithmetic.modulus import P
from proving.arithmetic.ntt import root_of_unity
from proving.backends.machine_code import MachineCode
from proving.backends.port import FieldArray
from proving.backends.transform_lowering import (
    TRANSFORM,
    TransformShape,
    transform_factors,
    transform_module,
)

ALIGNMENT = 64
"""Bytes of the widest vectors; aligned, none crosses two lines of the cache."""

_POINTER, _SIZE = ctypes.c_void_p, ctypes.c_int64


class CompiledTransform:
    """One transform of many columns, exact; its constants are shared by threads.

    Attributes:
        points: Values per column.
    """

    def __init__(self, shape: TransformShape, root: int, scale: tuple[int, int]) -> None:
        """Compiles the transform.

        Args:
            shape: Sizes; `shape.is_vectorised` holds.
            root: Of order n: coefficients to values, or its inverse.
            scale: (first, ratio): coefficient k is multiplied by first * ratio^k.
        """
        self.points = shape.points
        self._factors = transform_factors(shape, root, scale)
        self._code = _transform_code(shape)
        self._call: Any = self._code.function(
            TRANSFORM, _POINTER, _SIZE, _POINTER, _POINTER, _POINTER
        )

    def apply(self, columns: FieldArray, target: FieldArray) -> None:
        """Transforms contiguous (c, n) columns into (c, points) values."""
        scratch = aligned_array(1, self.points)
        self._call(
            columns.ctypes.data,
            len(columns),
            target.ctypes.data,
            scratch.ctypes.data,
            self._factors.ctypes.data,
        )


def interpolation(log_size: int, lanes: int) -> CompiledTransform | None:
    """Returns the inverse transform over the subgroup of 2^log_size, None if it is too short for vectors."""
    shape = TransformShape(log_size, 1, lanes)
    if not shape.is_vectorised:
        return None
    scale = (pow(shape.length, -1, P), 1)
    return CompiledTransform(shape, pow(root_of_unity(log_size), -1, P), scale)


def coset_evaluation(
    log_length: int, log_size: int, shift: int, lanes: int
) -> CompiledTransform | None:
    """Returns the evaluation of 2^log_length coefficients on shift * <w>, None if too short for vectors."""
    shape = TransformShape(log_length, 2 ** (log_size - log_length), lanes)
    if not shape.is_vectorised:
        return None
    return CompiledTransform(shape, root_of_unity(log_length), (1, shift))


def aligned_array(count: int, size: int) -> FieldArray:
    """Returns an empty (count, size) array that begins at a line of the cache."""
    wide = np.empty(4 * count * size + ALIGNMENT, dtype=np.uint8)
    start = -wide.ctypes.data % ALIGNMENT
    return wide[start : start + 4 * count * size].view(np.uint32).reshape(count, size)


@cache
def _transform_code(shape: TransformShape) -> MachineCode:
    return MachineCode(transform_module(shape))
