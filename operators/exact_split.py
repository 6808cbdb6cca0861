"""Money divided without a remainder: parts by weight that sum to the whole, and nothing rounded twice."""

from __future__ import annotations

from collections.abc import Sequence

from schemas.economics import PERMILLE
from schemas.errors import ParameterError


def split(total: int, weights: Sequence[int]) -> tuple[int, ...]:
    """Divides units by weight with largest remainders; ties go to the earlier entry.

    Each part differs by less than one unit from its exact share, and no part exceeds its weight when `total` does not
    exceed the sum of weights. With amounts below 2^60 and weights below 2^64 every product is below 2^124.

    Args:
        total: Units, >= 0.
        weights: >= 0 each.

    Returns:
        As many parts as weights; they sum to `total`.

    Raises:
        ParameterError: A negative number, or units and nobody to have them.
    """
    whole = sum(weights)
    if total < 0 or min(weights, default=0) < 0 or (total and not whole):
        raise ParameterError(f"{total} units cannot be divided by weights {list(weights)[:8]}")
    if not total:
        return (0,) * len(weights)
    parts = [total * weight // whole for weight in weights]
    order = sorted(
        range(len(weights)), key=lambda place: (-(total * weights[place] % whole), place)
    )
    for place in order[: total - sum(parts)]:
        parts[place] += 1
    return tuple(parts)


def share(total: int, permille: int) -> int:
    """Returns so many thousandths of units, rounded down."""
    return total * permille // PERMILLE
