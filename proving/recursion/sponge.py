"""Chains of permutations: a transcript, or the hash of a row with its Merkle path behind it."""

from __future__ import annotations

from collections.abc import Sequence

from proving.recursion.builder import CircuitBuilder
from proving.recursion.tape import NOTHING, Element, Permutation, Step, Word
from schemas.errors import InvariantError


class Sponge:
    """A chain of rows of the permutation lane: a transcript, or the hash of a row and its Merkle path."""

    def __init__(self, builder: CircuitBuilder, width: int = 0) -> None:
        """Starts on a state of zeros whose last element is `width`."""
        self._builder = builder
        self._chain = builder.new_chain()
        self._width = width

    @classmethod
    def given(cls, builder: CircuitBuilder, positions: Sequence[int]) -> Sponge:
        """Starts on a row that shows a word of the input, eight positions.

        Nothing ties the row's state, and the permutation is a bijection: so it can show any word, and is that
        word's one writer.
        """
        sponge = cls(builder)
        places = tuple(positions)
        sponge._add(
            Permutation(Step.GIVEN, NOTHING, 0, places, NOTHING, NOTHING, 0, NOTHING, False, 0)
        )
        return sponge

    def absorb(self, word: Word, *, tree: int = 0, position: int = NOTHING) -> None:
        """Overwrites the rate and permutes; with a tree, the word is also offered as an entry of its cap."""
        step = Step.ABSORB if self._chain else Step.FRESH
        level = self._builder.level_of_words((word,))
        self._add(
            Permutation(step, word, self._width, (), NOTHING, NOTHING, tree, position, False, level)
        )

    def absorb_given(
        self, positions: Sequence[int], *, tree: int = 0, position: int = NOTHING
    ) -> None:
        """Absorbs a word of the input, eight positions, that nothing else in the circuit reads."""
        step = Step.ABSORB if self._chain else Step.FRESH
        places = tuple(positions)
        self._add(
            Permutation(
                step, NOTHING, self._width, places, NOTHING, NOTHING, tree, position, False, 0
            )
        )

    def shown(self) -> Word:
        """Returns the first word of the state after the last permutation."""
        last = self._last()
        if last.shown == NOTHING:
            last.shown = self._builder.new_word(last.level)
        return Word(last.shown)

    def climb(self, index: Element, paths: Sequence[Sequence[int]], tree: int) -> None:
        """Claims that the digest shown lies under a cap.

        Args:
            index: Which leaf; a base element below 2^(depth + log_cap), which the caller has claimed.
            paths: Input positions of the siblings, leaf first, eight each.
            tree: Tree whose cap the circuit offers.
        """
        self._last().rest = index
        level = self._builder.level_of((index,))
        for siblings in paths:
            self._add(
                Permutation(
                    Step.CLIMB,
                    NOTHING,
                    0,
                    tuple(siblings),
                    NOTHING,
                    NOTHING,
                    0,
                    NOTHING,
                    False,
                    level,
                )
            )
        end = self._last()
        end.tree, end.meets_cap = tree, True

    def _last(self) -> Permutation:
        if not self._chain:
            raise InvariantError("nothing was absorbed yet")
        return self._chain[-1]

    def _add(self, row: Permutation) -> None:
        if self._chain:
            row.level = max(row.level, self._chain[-1].level + 1)
        self._chain.append(row)
