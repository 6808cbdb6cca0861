"""Poseidon2 hashes for a light client: tree nodes, rows of words, and the word that a day's statement ends in.

Twins of `proving.ledger.permutation.compress`, `proving.commitments.merkle.hash_opened_rows` and
`proving.recursion.global_span.GlobalSpan.digest`, a permutation at a time in plain integers: about 0.2 ms each.
"""

from __future__ import annotations

from collections.abc import Sequence

from proving.arithmetic.modulus import PERMUTATION_WIDTH, WORD, P
from proving.arithmetic.poseidon2_integers import permute_integers
from schemas.run import RunStatement, WordElements

ZEROS: WordElements = (0,) * WORD
"""The word that folds begin with."""

GLOBAL_SPAN_LABEL, STATEMENT_LABEL = 28, 25
"""Labels of `proving.stark.transcript` for a run's elements and for the word drawn after them."""


def compress(left: WordElements, right: WordElements) -> WordElements:
    """Returns C(left, right), a node of a tree."""
    shown = permute_integers([*left, *right])
    return tuple((a + b) % P for a, b in zip(shown, left, strict=False))


def hash_words(*words: WordElements) -> WordElements:
    """Returns the row hash of words; their number is in the capacity, so rows of other lengths share no hash."""
    state = [0] * (PERMUTATION_WIDTH - 1) + [WORD * len(words)]
    for word in words:
        state = permute_integers([*word, *state[WORD:]])
    return tuple(state[:WORD])


def statement_word(run: RunStatement) -> WordElements:
    """Returns the word that a proof about a run names: the duplex sponge over its elements."""
    elements = run.elements()
    state = _block([0] * PERMUTATION_WIDTH, [GLOBAL_SPAN_LABEL, len(elements)])
    for start in range(0, len(elements), WORD):
        state = _block(state, elements[start : start + WORD])
    return tuple(_block(state, [STATEMENT_LABEL, WORD])[:WORD])


def _block(state: Sequence[int], elements: Sequence[int]) -> list[int]:
    return permute_integers([*elements, *[0] * (WORD - len(elements)), *state[WORD:]])
