"""Arithmetic in the challenge field F_P[X] / (X^5 + X^2 - 1), elements as tuples of five residues.

Products are reduced; sums are not, so an element's coordinates may be negative or above P until it is reduced.
Python's integers have any length, so nothing overflows. Source: proving/README.md "Field and extension".
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

P = 2**31 - 2**24 + 1
"""The KoalaBear prime."""

TWO_ADICITY = 24
"""2^24 divides P - 1."""

GENERATOR = 3
"""Generates the multiplicative group; the shift of the evaluation coset."""

DEGREE = 5

Element = tuple[int, int, int, int, int]

ZERO: Element = (0, 0, 0, 0, 0)
ONE: Element = (1, 0, 0, 0, 0)


def root_of_unity(log_size: int) -> int:
    """Returns the generator of the subgroup of 2^log_size residues."""
    return pow(GENERATOR, (P - 1) >> log_size, P)


def multiply(a: Element, b: Element) -> Element:
    """Returns the reduced product."""
    a0, a1, a2, a3, a4 = a
    b0, b1, b2, b3, b4 = b
    c5 = a1 * b4 + a2 * b3 + a3 * b2 + a4 * b1
    c6 = a2 * b4 + a3 * b3 + a4 * b2
    c7 = a3 * b4 + a4 * b3
    c8 = a4 * b4
    return (
        (a0 * b0 + c5 - c8) % P,
        (a0 * b1 + a1 * b0 + c6) % P,
        (a0 * b2 + a1 * b1 + a2 * b0 - c5 + c7 + c8) % P,
        (a0 * b3 + a1 * b2 + a2 * b1 + a3 * b0 - c6 + c8) % P,
        (a0 * b4 + a1 * b3 + a2 * b2 + a3 * b1 + a4 * b0 - c7) % P,
    )


def add(a: Element, b: Element) -> Element:
    """Returns the sum, not reduced."""
    a0, a1, a2, a3, a4 = a
    b0, b1, b2, b3, b4 = b
    return (a0 + b0, a1 + b1, a2 + b2, a3 + b3, a4 + b4)


def subtract(a: Element, b: Element) -> Element:
    """Returns the difference, not reduced."""
    a0, a1, a2, a3, a4 = a
    b0, b1, b2, b3, b4 = b
    return (a0 - b0, a1 - b1, a2 - b2, a3 - b3, a4 - b4)


def scale(a: Element, factor: int) -> Element:
    """Returns the product with a base element, not reduced."""
    a0, a1, a2, a3, a4 = a
    return (a0 * factor, a1 * factor, a2 * factor, a3 * factor, a4 * factor)


def reduce(a: Element) -> Element:
    """Returns the canonical form."""
    a0, a1, a2, a3, a4 = a
    return (a0 % P, a1 % P, a2 % P, a3 % P, a4 % P)


def power(base: Element, exponent: int) -> Element:
    """Returns a non-negative power."""
    result = ONE
    while exponent:
        if exponent & 1:
            result = multiply(result, base)
        base = multiply(base, base)
        exponent >>= 1
    return result


def powers(base: Element, count: int) -> list[Element]:
    """Returns base^0, ..., base^(count - 1)."""
    found = [ONE]
    for _ in range(count - 1):
        found.append(multiply(found[-1], base))
    return found[:count]


@cache
def _conjugates_of_basis() -> tuple[Element, ...]:
    """Returns (X^k)^P for each k: raising to the power P is linear."""
    raised = power((0, 1, 0, 0, 0), P)
    return tuple(powers(raised, DEGREE))


def _conjugate(a: Element) -> Element:
    """Returns a^P."""
    total = ZERO
    for coordinate, image in zip(a, _conjugates_of_basis(), strict=True):
        total = add(total, scale(image, coordinate))
    return reduce(total)


def inverse(a: Element) -> Element:
    """Returns the inverse: the product of the four conjugates over the norm.

    Raises:
        ZeroDivisionError: The element is zero.
    """
    if not any(reduce(a)):
        raise ZeroDivisionError("zero has no inverse")
    first = _conjugate(a)
    pair = multiply(first, _conjugate(first))  # a^(P + P^2)
    four = multiply(pair, _conjugate(_conjugate(pair)))
    norm = multiply(a, four)[0]
    return reduce(scale(four, pow(norm, -1, P)))


def inverses(elements: Sequence[Element]) -> list[Element]:
    """Inverts elements with one inversion and three products each.

    Raises:
        ZeroDivisionError: One of them is zero.
    """
    before = [ONE]
    for element in elements:
        before.append(multiply(before[-1], element))
    carry = inverse(before.pop())
    found: list[Element] = []
    while before:
        found.append(multiply(carry, before.pop()))
        carry = multiply(carry, elements[len(before)])
    return found[::-1]
