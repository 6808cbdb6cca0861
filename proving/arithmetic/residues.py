"""Vectors of residues as ring elements, for running field programs over NumPy arrays."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from proving.arithmetic.modulus import P

_MODULUS = np.uint64(P)


def reduced(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Returns values mod P, any uint64.

    NumPy divides by one scalar with vector instructions but takes remainders one by one: measured at half
    the time of `%`.
    """
    quotients = values // _MODULUS
    quotients *= _MODULUS
    np.subtract(values, quotients, out=quotients)
    return quotients


def sums(a: NDArray[np.uint32], b: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Adds canonical residues without wider numbers: the wrong one of two candidates wraps and is the greater."""
    total = a + b
    return np.minimum(total, total - np.uint32(P), out=total)


def differences(a: NDArray[np.uint32], b: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Subtracts canonical residues, likewise."""
    difference = a - b
    return np.minimum(difference, difference + np.uint32(P), out=difference)


def invert_residues(values: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Inverts (n,) residues, all with one inversion: products of halves up, quotients down.

    Zero maps to zero.
    """
    given = values.astype(np.uint64)
    zero = given == 0
    levels = [np.where(zero, np.uint64(1), given)]
    while len(levels[-1]) > 1:
        below = levels[-1]
        if len(below) % 2:
            below = levels[-1] = np.append(below, np.uint64(1))
        half = len(below) // 2
        levels.append(reduced(below[:half] * below[half:]))
    inverse = np.array([pow(int(value), -1, P) for value in levels.pop()], dtype=np.uint64)
    for level in reversed(levels):
        first, second = np.split(level, 2)
        above = inverse[: len(first)]  # without the padding of an odd level
        inverse = reduced(np.concatenate([above * second, above * first]))
    found = inverse[: len(given)]
    found[zero] = 0
    return found.astype(np.uint32)


class Residues:
    """A vector of residues in uint64: sums of two and products stay below 2^63."""

    __slots__ = ("residues",)

    def __init__(self, residues: NDArray[np.uint64]) -> None:
        self.residues = residues

    def _lift(self, other: Residues | int) -> NDArray[np.uint64] | np.uint64:
        return np.uint64(other % P) if isinstance(other, int) else other.residues

    def __add__(self, other: Residues | int) -> Residues:
        return Residues(reduced(self.residues + self._lift(other)))

    def __radd__(self, other: int) -> Residues:
        return self + other

    def __sub__(self, other: Residues | int) -> Residues:
        return Residues(reduced(self.residues + _MODULUS - self._lift(other)))

    def __rsub__(self, other: int) -> Residues:
        return Residues(np.full_like(self.residues, other % P)) - self

    def __mul__(self, other: Residues | int) -> Residues:
        return Residues(reduced(self.residues * self._lift(other)))

    def __rmul__(self, other: int) -> Residues:
        return self * other
