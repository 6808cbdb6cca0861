"""Challenges as numbers: scalars of the degree-5 extension, and arrays of residues that form a ring.

The verifier computes with these; they need nothing but numpy, and no operation depends on a backend.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from proving.arithmetic.modulus import EXTENSION_DEGREE, P
from proving.backends.port import FieldArray
from proving.stark.coordinates import multiply
from schemas.errors import InvariantError

_MODULUS = np.uint64(P)


@dataclass(frozen=True, slots=True)
class Extension:
    """An element of the challenge field.

    Attributes:
        coordinates: Five canonical residues, lowest power first.
    """

    coordinates: tuple[int, ...]

    @staticmethod
    def of(value: int) -> Extension:
        """Lifts an integer."""
        return Extension((value % P, *(0,) * (EXTENSION_DEGREE - 1)))

    def __add__(self, other: Extension | int) -> Extension:
        if isinstance(other, int):
            return Extension(((self.coordinates[0] + other) % P, *self.coordinates[1:]))
        return Extension(
            tuple((a + b) % P for a, b in zip(self.coordinates, other.coordinates, strict=True))
        )

    def __radd__(self, other: int) -> Extension:
        return self + other

    def __sub__(self, other: Extension | int) -> Extension:
        if isinstance(other, int):
            return self + -other
        return Extension(
            tuple((a - b) % P for a, b in zip(self.coordinates, other.coordinates, strict=True))
        )

    def __rsub__(self, other: int) -> Extension:
        return Extension.of(other) - self

    def __mul__(self, other: Extension | int) -> Extension:
        if isinstance(other, int):
            return Extension(tuple(a * other % P for a in self.coordinates))
        a0, a1, a2, a3, a4 = self.coordinates
        b0, b1, b2, b3, b4 = other.coordinates
        c5 = a1 * b4 + a2 * b3 + a3 * b2 + a4 * b1
        c6 = a2 * b4 + a3 * b3 + a4 * b2
        c7 = a3 * b4 + a4 * b3
        c8 = a4 * b4
        return Extension(
            (
                (a0 * b0 + c5 - c8) % P,
                (a0 * b1 + a1 * b0 + c6) % P,
                (a0 * b2 + a1 * b1 + a2 * b0 - c5 + c7 + c8) % P,
                (a0 * b3 + a1 * b2 + a2 * b1 + a3 * b0 - c6 + c8) % P,
                (a0 * b4 + a1 * b3 + a2 * b2 + a3 * b1 + a4 * b0 - c7) % P,
            )
        )

    def __rmul__(self, other: int) -> Extension:
        return self * other

    def power(self, exponent: int) -> Extension:
        """Returns the element to a non-negative power."""
        result, base = Extension.of(1), self
        while exponent:
            if exponent & 1:
                result = result * base
            base = base * base
            exponent >>= 1
        return result

    def inverse(self) -> Extension:
        """Returns the inverse: the product of the four conjugates over the norm.

        Raises:
            ZeroDivisionError: The element is zero.
        """
        if not any(self.coordinates):
            raise ZeroDivisionError("zero has no inverse")
        conjugates = self.power(P + P**2 + P**3 + P**4)
        norm = (self * conjugates).coordinates
        if any(norm[1:]):
            raise InvariantError("the norm of a challenge left the base field")
        return conjugates * pow(norm[0], -1, P)


def powers(base: Extension, count: int) -> Iterator[Extension]:
    """Yields base^0, base^1, ..., base^(count - 1)."""
    current = Extension.of(1)
    for _ in range(count):
        yield current
        current = current * base


def stack(elements: Iterable[Extension]) -> FieldArray:
    """Returns elements as an (n, 5) array."""
    rows = [element.coordinates for element in elements]
    return np.array(rows, dtype=np.uint32).reshape(-1, EXTENSION_DEGREE)


def unstack(array: FieldArray) -> list[Extension]:
    """Returns the rows of an (n, 5) array as elements."""
    return [Extension(tuple(row)) for row in array.tolist()]


class Residues:
    """An array of residues that field programs can be evaluated on.

    Attributes:
        values: uint64, canonical.
    """

    __slots__ = ("values",)

    def __init__(self, values: NDArray[np.uint64]) -> None:
        self.values = values

    @staticmethod
    def of(array: FieldArray | int) -> Residues:
        """Wraps canonical residues."""
        return Residues(np.asarray(array).astype(np.uint64))

    def __add__(self, other: Residues | int) -> Residues:
        return Residues((self.values + _values(other)) % _MODULUS)

    def __radd__(self, other: int) -> Residues:
        return self + other

    def __sub__(self, other: Residues | int) -> Residues:
        return Residues((self.values + _MODULUS - _values(other)) % _MODULUS)

    def __rsub__(self, other: int) -> Residues:
        return Residues((_values(other) + _MODULUS - self.values) % _MODULUS)

    def __mul__(self, other: Residues | int) -> Residues:
        return Residues(self.values * _values(other) % _MODULUS)

    def __rmul__(self, other: int) -> Residues:
        return self * other


def columns_of(array: FieldArray) -> list[Residues]:
    """Splits the last axis of (..., 5) into coordinates."""
    return [Residues.of(array[..., k]) for k in range(EXTENSION_DEGREE)]


def lifted(element: Extension) -> list[Residues]:
    """Returns a scalar as coordinates that broadcast against arrays."""
    return [Residues.of(value) for value in element.coordinates]


@cache
def frobenius_images() -> tuple[tuple[int, ...], ...]:
    """Returns the coordinates of X^(k P) for k below the degree: where x -> x^P takes the powers of X."""
    variable = Extension((0, 1, 0, 0, 0))
    return tuple(tuple(variable.power(k * P).coordinates) for k in range(EXTENSION_DEGREE))


def rejoin(elements: Sequence[Residues]) -> FieldArray:
    """Returns coordinates as a (..., 5) uint32 array."""
    parts = np.broadcast_arrays(*(element.values for element in elements))
    return np.stack(parts, axis=-1).astype(np.uint32)


def product(a: Sequence[Residues], b: Sequence[Residues]) -> list[Residues]:
    """Multiplies element by element."""
    return multiply(a, b)


def weighted_rows(rows: FieldArray, weights: FieldArray) -> list[Residues]:
    """Returns sum_j rows[:, j] * weights[j] as coordinates: (q, c) base rows, (c, 5) weights.

    Products are below 2^62 and reduced before they are added, so c < 2^33 cannot overflow.
    """
    wide = rows.astype(np.uint64)
    totals: list[Residues] = []
    for k in range(EXTENSION_DEGREE):
        terms = wide * weights[:, k].astype(np.uint64) % _MODULUS
        totals.append(Residues(terms.sum(axis=1, dtype=np.uint64) % _MODULUS))
    return totals


def _values(other: Residues | int) -> NDArray[np.uint64] | np.uint64:
    return other.values if isinstance(other, Residues) else np.uint64(other % P)
