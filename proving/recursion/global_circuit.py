"""Runs of all shards inside a circuit: their words, their digest, and folds of words.

The twin of `proving.recursion.global_span`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from proving.arithmetic.modulus import WORD
from proving.recursion.builder import CircuitBuilder
from proving.recursion.span_circuit import Chooser
from proving.recursion.sponge import Sponge
from proving.recursion.tape import Element, Word
from proving.recursion.transcript import TranscriptCircuit
from proving.stark.transcript import Label

GLOBAL_ELEMENTS = 5 * WORD
"""Elements of a run of all shards, in whole words: place, validators, state before and after, history."""


@dataclass(frozen=True, slots=True)
class GlobalWords:
    """A run's words in a circuit.

    Attributes:
        place: Chain, number of shards, first window, end, and four zeros.
        validators: Who is in charge.
        before: State of the chain before.
        after: State after.
        history: Folded transaction lists.
    """

    place: Word
    validators: Word
    before: Word
    after: Word
    history: Word

    def digest(self, builder: CircuitBuilder) -> Word:
        """Computes the statement word."""
        words = [self.place, self.validators, self.before, self.after, self.history]
        transcript = TranscriptCircuit(builder)
        transcript.absorb(Label.GLOBAL_SPAN, GLOBAL_ELEMENTS, words)
        return transcript.word(Label.STATEMENT_DIGEST)


def row_hash(builder: CircuitBuilder, words: Sequence[Word]) -> Word:
    """Returns the row hash of words."""
    sponge = Sponge(builder, WORD * len(words))
    for word in words:
        sponge.absorb(word)
    return sponge.shown()


def fold_words(builder: CircuitBuilder, left: Word, right: Word) -> Word:
    """Returns the row hash of two words."""
    return row_hash(builder, [left, right])


def selected(builder: CircuitBuilder, bit: Element, on: Word, off: Word) -> Word:
    """Returns the first word if a bit is on, else the other."""
    cells = Chooser(builder, bit).choose(builder.cells_of(on), builder.cells_of(off))
    return builder.word_of(cells)
