"""Vectors of residues as ring elements, for running field programs over NumPy arrays."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from proving.arithmetic.modulus import P


class Residues:
    """A vector of residues in uint64: sums of two and products stay below 2^63."""

    __slots__ = ("residues",)

    def __init__(self, residues: NDArray[np.uint64]) -> None:
        self.residues = residues

    def _lift(self, other: Residues | int) -> NDArray[np.uint64] | np.uint64:
        return np.uint64(other % P) if isinstance(other, int) else other.residues

    def __add__(self, other: Residues | int) -> Residues:
        return Residues((self.residues + self._lift(other)) % np.uint64(P))

    def __radd__(self, other: int) -> Residues:
        return self + other

    def __sub__(self, other: Residues | int) -> Residues:
        return Residues((self.residues + np.uint64(P) - self._lift(other)) % np.uint64(P))

    def __rsub__(self, other: int) -> Residues:
        return Residues(np.full_like(self.residues, other % P)) - self

    def __mul__(self, other: Residues | int) -> Residues:
        return Residues((self.residues * self._lift(other)) % np.uint64(P))

    def __rmul__(self, other: int) -> Residues:
        return self * other
