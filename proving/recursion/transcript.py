"""The Fiat-Shamir transcript as a circuit: the twin of `proving.stark.transcript`, block for block."""

from __future__ import annotations

from collections.abc import Sequence

from proving.arithmetic.modulus import EXTENSION_DEGREE, WORD
from proving.recursion.builder import CircuitBuilder
from proving.recursion.sponge import Sponge
from proving.recursion.tape import Element, Word
from proving.stark.transcript import NONCE_POSITION, Label


class TranscriptCircuit:
    """A sponge that hears what a native transcript hears."""

    def __init__(self, builder: CircuitBuilder) -> None:
        self._builder = builder
        self._sponge = Sponge(builder)

    def absorb(self, label: Label, count: int, words: Sequence[Word]) -> None:
        """Absorbs a message of `count` elements that lie in whole words.

        Args:
            label: Its label.
            count: Elements without the filling.
            words: The message; the cells past `count` must be claimed to be zero by the caller.
        """
        self._sponge.absorb(self._builder.constant_word(label, count))
        for word in words:
            self._sponge.absorb(word)

    def absorb_cap(self, label: Label, positions: Sequence[int], tree: int) -> None:
        """Absorbs words of the input, which nothing else reads, and offers them as the cap of a tree."""
        self._sponge.absorb(self._builder.constant_word(label, len(positions)))
        for start in range(0, len(positions), WORD):
            word = positions[start : start + WORD]
            self._sponge.absorb_given(word, tree=tree, position=start // WORD)

    def absorb_constants(self, label: Label, values: Sequence[int]) -> None:
        """Absorbs a message that every proof of the circuit shares."""
        words = [
            self._builder.constant_word(*values[start : start + WORD])
            for start in range(0, len(values), WORD)
        ]
        self.absorb(label, len(values), words)

    def challenge(self, label: Label) -> Element:
        """Draws an element."""
        self._sponge.absorb(self._builder.constant_word(label, EXTENSION_DEGREE))
        return self._builder.unpack([self._sponge.shown()])[0]

    def word(self, label: Label) -> Word:
        """Draws a word."""
        self._sponge.absorb(self._builder.constant_word(label, WORD))
        return self._sponge.shown()

    def residues(self, label: Label, count: int) -> list[Element]:
        """Draws what query indices are made of: `count` base elements."""
        self._sponge.absorb(self._builder.constant_word(label, count))
        drawn: list[Element] = []
        while True:
            word = self._sponge.shown()
            drawn += self._builder.cells_of(word)
            if len(drawn) >= count:
                return drawn[:count]
            self._sponge.absorb(word)

    def after_nonce(self, label: Label, bits: int, nonce: Element) -> Element:
        """Absorbs a nonce, a base element, and returns the element whose low bits must be zero."""
        builder = self._builder
        unit = builder.constant(*(int(k == NONCE_POSITION) for k in range(EXTENSION_DEGREE)))
        head = builder.combine((1, 0, 0, 1, 0), nonce, unit, builder.constant(label, bits))
        self._sponge.absorb(builder.pack([head])[0])
        return builder.split(builder.unpack([self._sponge.shown()])[0])[0]
