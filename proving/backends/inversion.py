"""Inversion in the challenge field as field programs.

The inverse of a is the product of its other conjugates, a^(P + P^2 + P^3 + P^4), over its norm, which is in
the base field.
"""

from __future__ import annotations

from functools import cache

from proving.arithmetic.modulus import EXTENSION_DEGREE
from proving.arithmetic.program import Program, Symbol, trace_program
from proving.stark.challenge_field import frobenius_images
from proving.stark.coordinates import multiply, scale


@cache
def conjugates_program() -> Program:
    """Returns the program from a to the product of its other conjugates, five coordinates, and its norm."""

    def body(element: list[Symbol]) -> list[Symbol]:
        conjugates, norm = _conjugates(element)
        return [*conjugates, norm]

    return trace_program("conjugates", EXTENSION_DEGREE, body)


@cache
def inverse_program() -> Program:
    """Returns the program from a to its inverse, five coordinates, and its norm; zero goes to zero."""

    def body(element: list[Symbol]) -> list[Symbol]:
        conjugates, norm = _conjugates(element)
        return [*scale(conjugates, inverse_power(norm)), norm]

    return trace_program("inverse", EXTENSION_DEGREE, body)


def inverse_power(value: Symbol) -> Symbol:
    """Returns value^(P - 2): the inverse, and zero for zero.

    In binary P - 2 is six ones, a zero and 24 ones: four more runs of six ones after the zero.
    """
    two = _squared(value, 1) * value
    three = _squared(two, 1) * value
    six = _squared(three, 3) * three
    result = _squared(six, 1)
    for _ in range(4):
        result = _squared(result, 6) * six
    return result


def _squared(value: Symbol, times: int) -> Symbol:
    for _ in range(times):
        value = value * value
    return value


def _conjugates(element: list[Symbol]) -> tuple[list[Symbol], Symbol]:
    """With f the Frobenius map, g = f(a) f(f(a)) and f(f(g)) are the two halves of the product."""
    once = _frobenius(element)
    half = multiply(once, _frobenius(once))
    conjugates = multiply(half, _frobenius(_frobenius(half)))
    return conjugates, multiply(element, conjugates)[0]


def _frobenius(element: list[Symbol]) -> list[Symbol]:
    sums: list[Symbol] = []
    for k in range(EXTENSION_DEGREE):
        terms = [
            x * image[k] for x, image in zip(element, frobenius_images(), strict=True) if image[k]
        ]
        total = terms[0]
        for term in terms[1:]:
            total = total + term
        sums.append(total)
    return sums
