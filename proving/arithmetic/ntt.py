"""The number-theoretic transform over KoalaBear: roots of unity and transforms of many columns.

A transform of n = rows * width points is done in four steps: transforms down the columns of the
(rows, width) matrix, one multiplication by powers of the root, a transpose, transforms down again. Every
NumPy call then runs over at least sqrt(n) neighbours, and a batch of columns stays in the cache.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from proving.arithmetic.modulus import GENERATOR, TWO_ADICITY, P
from proving.arithmetic.residues import reduced
from schemas.errors import ParameterError

BATCH_ELEMENTS = 2**15
"""Residues transformed together: 256 KiB of uint64; one column if it is longer."""

_MODULUS = np.uint64(P)


def root_of_unity(log_size: int) -> int:
    """Returns the generator w of the subgroup of order 2^log_size; roots of halves are squares.

    Raises:
        ParameterError: log_size is above the field's two-adicity.
    """
    if not 0 <= log_size <= TWO_ADICITY:
        raise ParameterError(f"no subgroup of order 2^{log_size}")
    return pow(GENERATOR, (P - 1) >> log_size, P)


def geometric(first: int, ratio: int, count: int) -> NDArray[np.uint32]:
    """Returns first * ratio^i for i < count, (count,) uint32; doubling keeps it vectorised."""
    values = np.array([first % P], dtype=np.uint64)
    while len(values) < count:
        step = np.uint64(pow(ratio, len(values), P))
        values = np.concatenate([values, reduced(values * step)])
    return values[:count].astype(np.uint32)


def transform(columns: NDArray[np.uint32], *, inverse: bool = False) -> NDArray[np.uint32]:
    """Transforms each of (c, n) columns, n a power of two: natural order in, natural order out.

    Args:
        columns: Canonical residues.
        inverse: Values on the subgroup to coefficients, instead of coefficients to values.

    Raises:
        ParameterError: n is no power of two or above 2^24.
    """
    count, size = columns.shape
    if size < 1 or size & (size - 1):
        raise ParameterError(f"no transform of {size} points")
    twiddles = _twiddles(size.bit_length() - 1, inverse)
    out = np.empty((count, size), dtype=np.uint32)
    batch = max(1, BATCH_ELEMENTS // size)
    for start in range(0, count, batch):
        part = slice(start, start + batch)
        out[part] = _transform_batch(columns[part].astype(np.uint64), twiddles, inverse)
    return out


@lru_cache(maxsize=16)
def _twiddles(log_size: int, inverse: bool) -> NDArray[np.uint64]:
    """Returns w^(i j) for the four-step split of a transform, over n in the inverse one: (rows, width)."""
    root = root_of_unity(log_size)
    scale = 1
    if inverse:
        root, scale = pow(root, -1, P), pow(2**log_size, -1, P)
    rows, width = 2 ** (log_size // 2), 2 ** (log_size - log_size // 2)
    return np.stack([geometric(scale, pow(root, i, P), width) for i in range(rows)]).astype(
        np.uint64
    )


def _transform_batch(
    columns: NDArray[np.uint64], twiddles: NDArray[np.uint64], inverse: bool
) -> NDArray[np.uint64]:
    """Transforms (b, n) residues; x[j1 * width + j2] goes to X[k2 * rows + k1]."""
    count = len(columns)
    rows, width = twiddles.shape
    first = _transform_down(columns.reshape(count, rows, width), inverse)
    first *= twiddles
    turned = np.ascontiguousarray(reduced(first).transpose(0, 2, 1))
    return reduced(_transform_down(turned, inverse)).reshape(count, -1)


def _transform_down(values: NDArray[np.uint64], inverse: bool) -> NDArray[np.uint64]:
    """Transforms (b, m, width) residues along the middle axis; returns a new array, values < 4 P.

    Stockham's order: stage by stage, parts of length l double, and no index is ever bit-reversed. A
    stage adds P to the bound of what it does not multiply; 4 P times a twiddle stays below 2^64, so every
    third stage reduces.
    """
    count, size, width = values.shape
    current = values.copy() if size == 1 else values
    bound, length = 1, 1
    while length < size:
        halves = current.reshape(count, 2, size // (2 * length), length, width)
        even, odd = halves[:, 0], halves[:, 1]
        if length > 1:
            odd = reduced(odd * _stage_roots(length, inverse)[:, None])
            if bound == 4:
                even, bound = reduced(even), 1
        following = np.empty((count, size // (2 * length), 2, length, width), dtype=np.uint64)
        np.add(even, odd, out=following[:, :, 0])
        np.subtract(even + _MODULUS, odd, out=following[:, :, 1])
        current = following.reshape(count, size, width)
        bound, length = bound + 1, 2 * length
    return current


@lru_cache(maxsize=16)
def _stage_roots(length: int, inverse: bool) -> NDArray[np.uint64]:
    """Returns the first half of the roots of unity of order 2 * length: (length,)."""
    root = root_of_unity(length.bit_length())
    return geometric(1, pow(root, -1, P) if inverse else root, length).astype(np.uint64)
