"""Sums over rows that carry an accumulator: cells weighted with powers, and polynomials at a point."""

from __future__ import annotations

from collections.abc import Sequence

from proving.arithmetic.modulus import WORD
from proving.recursion.builder import CircuitBuilder
from proving.recursion.layout import COEFFICIENT_SLOTS
from proving.recursion.tape import NOTHING, Element, Evaluation, Reduction, Word


def reduce_inputs(
    builder: CircuitBuilder, positions: Sequence[int], powers: Sequence[Element]
) -> tuple[list[Word], Element]:
    """Reads a row of base elements and sums them weighted: sum_j g^j row_j.

    Args:
        builder: The circuit in the making.
        positions: Inputs; the last word is filled up with zeros, which nothing claims to be zeros.
        powers: g, g^2, g^3, g^4.

    Returns:
        The row as words, and the sum.
    """
    padded = (*positions, *[builder.tape.num_inputs] * (-len(positions) % WORD))
    words = [builder.new_word(0) for _ in range(len(padded) // WORD)]
    parts = [padded[start : start + WORD] for start in range(0, len(padded), WORD)]
    return words, _reduce(builder, words, parts, powers, builder.level_of(powers))


def reduce_words(
    builder: CircuitBuilder, words: Sequence[Word], powers: Sequence[Element]
) -> Element:
    """Returns the sum of g^j cell_j over known words."""
    level = max(builder.level_of(powers), builder.level_of_words(words))
    return _reduce(builder, words, [()] * len(words), powers, level)


def _reduce(
    builder: CircuitBuilder,
    words: Sequence[Word],
    positions: Sequence[tuple[int, ...]],
    powers: Sequence[Element],
    level: int,
) -> Element:
    one, two, three, four = powers
    last = len(words) - 1
    total = builder.new_element(level + last)
    chain = [
        Reduction(
            word,
            places,
            (one, two, three, four),
            total if number == 0 else NOTHING,
            number < last,
            level + last - number,
        )
        for number, (word, places) in enumerate(zip(words, positions, strict=True))
    ]
    builder.tape.reductions.append(chain)
    return total


def evaluate_polynomial(
    builder: CircuitBuilder, coefficients: Sequence[Element], variable: Element
) -> Element:
    """Returns the value of a polynomial, lowest coefficient first, four to a row."""
    if not coefficients:
        return builder.constant(0)
    zero = builder.constant(0)
    square = builder.combine((1, 0, 0, 0, 0), variable, variable)
    step = len(COEFFICIENT_SLOTS)
    filled = [*coefficients, *[zero] * (-len(coefficients) % step)]
    rows = [tuple(filled[start : start + step]) for start in range(0, len(filled), step)]
    levels: list[int] = []
    for row in reversed(rows):
        known = builder.level_of((*row, variable, square))
        levels.append(max(known, levels[-1] + 1) if levels else known)
    total = builder.new_element(levels[-1])
    last = len(rows) - 1
    chain = [
        Evaluation(
            row,
            variable,
            square,
            total if number == 0 else NOTHING,
            number < last,
            levels[last - number],
        )
        for number, row in enumerate(rows)
    ]
    builder.tape.evaluations.append(chain)
    return total
