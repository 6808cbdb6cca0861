"""Spans inside a circuit: their cells, their digest, and what it means that one follows another.

The twin of `proving.recursion.span`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from proving.arithmetic.modulus import EXTENSION_DEGREE, WORD, P
from proving.recursion.builder import CircuitBuilder
from proving.recursion.layout import ROW_BITS
from proving.recursion.span import empty_list_root
from proving.recursion.sponge import Sponge
from proving.recursion.tape import Element, Word
from proving.recursion.transcript import TranscriptCircuit
from proving.stark.transcript import Label
from schemas.statement import BOUNDARY_ELEMENTS, FEE_SUM_LIMBS, NUM_COUNTERS
from schemas.units import ARRAY_DEPTH, WINDOW_GAP_BITS, Array, word_elements

OWNER, FIRST, LAST = 3, 5, 7
"""Chain, shard and number of shards; then first window and segment; then last window and segment; a zero follows."""

BEFORE, AFTER = WORD, WORD + BOUNDARY_ELEMENTS
"""Where the boundaries begin; whole words, as the history after them."""

SPAN_ELEMENTS = AFTER + BOUNDARY_ELEMENTS + WORD
"""Elements of a span, in whole words: 192."""

SEQUENCE, OPEN_BLOCK = 2, range(4, 5 + FEE_SUM_LIMBS)
"""Counters of a boundary: words in the window's list; transactions and fees of the open block."""


@dataclass(frozen=True, slots=True)
class SpanCells:
    """A span's elements in a circuit, all base elements.

    Attributes:
        owner: Chain, shard and number of shards.
        first: First window and segment.
        last: Last window and segment.
        before: Boundary before.
        after: Boundary after.
        history: Eight elements.
    """

    owner: Sequence[Element]
    first: Sequence[Element]
    last: Sequence[Element]
    before: Sequence[Element]
    after: Sequence[Element]
    history: Sequence[Element]

    def digest(self, builder: CircuitBuilder) -> Word:
        """Computes the statement word."""
        cells = [*self.owner, *self.first, *self.last, builder.constant(0)]
        cells += [*self.before, *self.after, *self.history]
        words = [builder.word_of(cells[k : k + WORD]) for k in range(0, len(cells), WORD)]
        return digest_of(builder, words)


def digest_of(builder: CircuitBuilder, words: Sequence[Word]) -> Word:
    """Computes the statement word of a span's words."""
    transcript = TranscriptCircuit(builder)
    transcript.absorb(Label.SPAN, SPAN_ELEMENTS, words)
    return transcript.word(Label.STATEMENT_DIGEST)


def read_span(
    builder: CircuitBuilder, positions: Sequence[int]
) -> tuple[SpanCells, Sequence[Word]]:
    """Reads a span from the input; returns its cells, and the same as words."""
    zero = builder.tape.num_inputs
    filled = [*positions, *[zero] * (-len(positions) % EXTENSION_DEGREE)]
    elements, words = builder.input_elements(filled, with_words=True)
    cells = [part for element in elements for part in builder.split(element)]
    tail = AFTER + BOUNDARY_ELEMENTS
    span = SpanCells(
        owner=cells[:OWNER],
        first=cells[OWNER:FIRST],
        last=cells[FIRST:LAST],
        before=cells[BEFORE:AFTER],
        after=cells[AFTER:tail],
        history=cells[tail:SPAN_ELEMENTS],
    )
    return span, words[: SPAN_ELEMENTS // WORD]


class Chooser:
    """Claims and choices that hold only where a switch, a bit, is on."""

    def __init__(self, builder: CircuitBuilder, switch: Element) -> None:
        self._builder = builder
        self._switch = switch

    def require_equal(self, what: str, a: Element, b: Element) -> None:
        """Claims a = b if the switch is on."""
        zero = self._builder.constant(0)
        weights = (1, 0, 0, 0, 0)
        self._builder.require(what, weights, a, self._switch, c=b, cross=P - 1, equals=zero)

    def all_equal(self, what: str, a: Sequence[Element], b: Sequence[Element]) -> None:
        """Claims a = b element by element if the switch is on."""
        for left, right in zip(a, b, strict=True):
            self.require_equal(what, left, right)

    def choose(self, on: Sequence[Element], off: Sequence[Element]) -> list[Element]:
        """Returns the first elements if the switch is on, else the others."""
        return [
            self._builder.combine((1, 0, 0, 1, 0), a, self._switch, b, cross=P - 1)
            for a, b in zip(on, off, strict=True)
        ]


def require_same_word(builder: CircuitBuilder, what: str, a: Word, b: Word) -> None:
    """Claims that two words are equal."""
    for left, right in zip(builder.cells_of(a), builder.cells_of(b), strict=True):
        builder.require_equal(what, left, right)


def read_bit(builder: CircuitBuilder, positions: Sequence[int], what: str) -> Element:
    """Reads a bit from the input, five positions."""
    (bit,), _ = builder.input_elements(positions, with_words=False)
    builder.require(what, (1, 0, 0, 0, 0), bit, bit, equals=bit)
    return bit


def prolong(
    builder: CircuitBuilder,
    left: SpanCells,
    right: SpanCells,
    *,
    switch: Element,
    same_window: Element,
    slot: int,
) -> SpanCells:
    """Claims that a span follows another, if the switch is on, and returns the longer one.

    Args:
        builder: The circuit.
        left: What there is so far.
        right: What follows.
        switch: A bit; off leaves `left` as it is.
        same_window: A bit: `right` goes on in the window in which `left` ends.
        slot: For the names of the claims.
    """
    on = Chooser(builder, switch)
    on.all_equal(f"owner of slot {slot}", right.owner, left.owner)
    opens = builder.combine((P - 1, 1, 0, 0, 0), switch, same_window)
    zero = builder.constant(0)
    gap = builder.combine((0, 1, P - 1, 0, 0), right.first[0], left.last[0])
    stays = builder.combine((1, 0, 0, 0, 0), same_window, gap)
    on.require_equal(f"slot {slot} stays in its window", stays, zero)
    beyond = builder.combine((1, P - 1, 0, 0, 0), opens, gap)  # gap - 1 where a window opens
    require_bits(builder, f"slot {slot} opens a later window", beyond, WINDOW_GAP_BITS)
    opened = builder.combine((1, 0, 0, 0, 0), opens, right.first[0])
    require_bits(builder, f"slot {slot} opens a window in range", opened, ARRAY_DEPTH)
    number = builder.combine((1, 1, 0, 0, 0), same_window, left.last[1])
    on.require_equal(f"the number of slot {slot}", right.first[1], number)
    expected = _expected_start(builder, left.after, same_window)
    on.all_equal(f"slot {slot} follows", right.before, expected)
    opening = Chooser(builder, opens)
    for counter in OPEN_BLOCK:
        opening.require_equal(
            f"slot {slot} opens a window inside a block", left.after[counter], zero
        )
    root = NUM_COUNTERS + WORD * (Array.TXS - 1)
    closed = opening.choose(left.after[root : root + WORD], [zero] * WORD)
    folded = _fold(builder, left.history, closed, right.history)
    return replace(
        left,
        last=on.choose(right.last, left.last),
        history=on.choose(folded, left.history),
        after=on.choose(right.after, left.after),
    )


def require_bits(builder: CircuitBuilder, what: str, value: Element, count: int) -> None:
    """Claims that a base element is below 2^count; six bits are a row, so count is a multiple of six."""
    for _ in range(count // ROW_BITS):
        _, value = builder.low_bits(value)
    builder.require_equal(what, value, builder.constant(0))


def _expected_start(
    builder: CircuitBuilder, after: Sequence[Element], same_window: Element
) -> list[Element]:
    """Returns where the next span begins: where this one ended, or with a new window's empty lists."""
    expected = list(after)
    stays = Chooser(builder, same_window)
    expected[SEQUENCE] = stays.choose([after[SEQUENCE]], [builder.constant(0)])[0]
    empty = [builder.constant(element) for element in word_elements(empty_list_root())]
    for array in (Array.TXS, Array.CLM):
        start = NUM_COUNTERS + WORD * (array - 1)
        expected[start : start + WORD] = stays.choose(after[start : start + WORD], empty)
    return expected


def _fold(
    builder: CircuitBuilder,
    left: Sequence[Element],
    closed: Sequence[Element],
    right: Sequence[Element],
) -> list[Element]:
    """Returns the history of two spans."""
    sponge = Sponge(builder, 3 * WORD)
    for cells in (left, closed, right):
        sponge.absorb(builder.word_of(cells))
    return builder.cells_of(sponge.shown())
