"""Challenge-field elements as five coordinates over any ring that a field program accepts.

A program computes in the base field only, so challenges enter it as coordinates. Multiplication reduces by
X^5 = 1 - X^2. The same functions serve traced graphs, arrays and integers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from proving.arithmetic.modulus import EXTENSION_DEGREE, EXTENSION_TAIL, P
from proving.arithmetic.program import Ring

R = TypeVar("R", bound=Ring)


def add(a: Sequence[R], b: Sequence[R]) -> list[R]:
    """Adds coordinate by coordinate."""
    return [x + y for x, y in zip(a, b, strict=True)]


def subtract(a: Sequence[R], b: Sequence[R]) -> list[R]:
    """Subtracts coordinate by coordinate."""
    return [x - y for x, y in zip(a, b, strict=True)]


def scale(a: Sequence[R], factor: R | int) -> list[R]:
    """Multiplies by an element of the base ring."""
    return [x * factor for x in a]


def multiply(a: Sequence[R], b: Sequence[R]) -> list[R]:
    """Multiplies two elements: 25 products, then X^5 is replaced by the field's tail."""
    product: list[R | None] = [None] * (2 * EXTENSION_DEGREE - 1)
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            product[i + j] = _plus(product[i + j], x * y)
    for high in range(2 * EXTENSION_DEGREE - 2, EXTENSION_DEGREE - 1, -1):
        carried = product[high]
        if carried is None:
            continue
        for low, weight in enumerate(EXTENSION_TAIL):
            place = high - EXTENSION_DEGREE + low
            current = product[place]
            if weight == 1:
                product[place] = _plus(current, carried)
            elif weight == P - 1 and current is not None:
                product[place] = current - carried
            elif weight:
                product[place] = _plus(current, carried * weight)
    return [value for value in product[:EXTENSION_DEGREE] if value is not None]


def _plus(a: R | None, b: R) -> R:
    return b if a is None else a + b
