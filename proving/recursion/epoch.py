"""EPOCH: one recursive proof for a run of whole windows of all shards of a chain.

Every slot has a shard's span, or a shard that made no block and stays where it was. Slots past the last shard are
absent. Source: proving/recursion/README.md "Epoch".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from proving.arithmetic.modulus import EXTENSION_DEGREE, WORD, P
from proving.recursion.builder import CircuitBuilder
from proving.recursion.children import ChildInputs, child_inputs, constant_key, verify_trusted
from proving.recursion.epoch_links import LinkInputs, link_inputs, require_delivered
from proving.recursion.global_circuit import GlobalWords, fold_words, row_hash, selected
from proving.recursion.programs import KEY_WORD, PAYEE_WORD, PUBLIC_USES, STATEMENT_WORD
from proving.recursion.span import empty_list_root
from proving.recursion.span_circuit import (
    AFTER,
    BEFORE,
    OPEN_BLOCK,
    SEQUENCE,
    SPAN_ELEMENTS,
    Chooser,
    SpanCells,
    digest_of,
    read_bit,
    read_span,
    require_bits,
    require_same_word,
)
from proving.recursion.sponge import Sponge
from proving.recursion.tape import Element, Tape, Word
from proving.stark.key import VerifyingKey
from schemas.statement import BOUNDARY_ELEMENTS, NUM_COUNTERS
from schemas.units import ARRAY_DEPTH, WINDOW_GAP_BITS, Array, word_elements

EPOCH_SLOTS = 8
"""Shards of an epoch: as many verifications as fit its rows."""


@dataclass(frozen=True, slots=True)
class ShardInputs:
    """Where the inputs about one shard lie.

    Attributes:
        child: Proof of its span.
        span: The span; of a shard without a block, any one whose two boundaries are where it stays.
        present: A bit: the chain has this shard.
        active: A bit: the shard made a block.
    """

    child: ChildInputs
    span: range
    present: range
    active: range


@dataclass(frozen=True, slots=True)
class EpochInputs:
    """Where the inputs of an epoch lie.

    Attributes:
        shards: One for each slot.
        links: Openings of the links.
        head: Chain, number of shards, first window, end; five positions each.
        validators: Word of the validators in charge.
    """

    shards: tuple[ShardInputs, ...]
    links: LinkInputs
    head: range
    validators: range


def epoch_inputs(keys: Sequence[VerifyingKey]) -> EpochInputs:
    """Lays out the inputs of an epoch of spans whose proofs have these keys."""
    shards: list[ShardInputs] = []
    place = 0
    for _ in range(EPOCH_SLOTS):
        child = child_inputs(keys[0], len(keys), place)
        span = range(child.stop, child.stop + SPAN_ELEMENTS)
        present = range(span.stop, span.stop + EXTENSION_DEGREE)
        active = range(present.stop, present.stop + EXTENSION_DEGREE)
        shards.append(ShardInputs(child, span, present, active))
        place = active.stop
    links = link_inputs(EPOCH_SLOTS, place)
    head = range(links.stop, links.stop + 4 * EXTENSION_DEGREE)
    return EpochInputs(tuple(shards), links, head, range(head.stop, head.stop + WORD))


def epoch_tape(*keys: VerifyingKey) -> Tape:
    """Writes the program; its inputs are those of `epoch_inputs`.

    Args:
        keys: Of spans' proofs, the join's last; constants of the circuit.
    """
    inputs = epoch_inputs(keys)
    builder = CircuitBuilder(len(PUBLIC_USES), inputs.validators.stop)
    for word in (KEY_WORD, PAYEE_WORD):
        builder.cells_of(builder.public_word(word))  # read once, as every recursive proof does
    head, _ = builder.input_elements(inputs.head, with_words=False)
    chain, number_of_shards, first, end = head
    before = after = history = builder.constant_word()
    roots: list[list[Word]] = []
    present: list[Element] = []
    for slot, places in enumerate(inputs.shards):
        span, words = _verify(builder, keys, slot, places, head)
        roots.append([words[_root(BEFORE, Array.OUT)], words[_root(BEFORE, Array.INB)]])
        roots[-1].append(words[_root(AFTER, Array.INB)])
        here = span.present
        if slot:
            what = f"slot {slot} is present"
            builder.require(what, (1, 0, 0, 0, 0), here, present[-1], equals=here)
        else:
            builder.require_equal("slot 0 is present", here, builder.constant(1))
        present.append(here)
        folded = (
            fold_words(builder, before, _state(builder, words, BEFORE)),
            fold_words(builder, after, _reopened(builder, span.cells, words)),
            fold_words(builder, history, _history(builder, words, span.active)),
        )
        before, after, history = (
            selected(builder, here, new, old)
            for new, old in zip(folded, (before, after, history), strict=True)
        )
    total = present[0]
    for bit in present[1:]:
        total = builder.combine((0, 1, 1, 0, 0), total, bit)
    builder.require_equal("the number of shards", number_of_shards, total)
    require_delivered(builder, inputs.links, roots, present)
    validators = Sponge.given(builder, inputs.validators).shown()
    for what, value in (("the first window", first), ("the end", end)):
        require_bits(builder, what, value, ARRAY_DEPTH)
    beyond = builder.combine((0, 1, P - 1, 0, P - 1), end, first)  # end - first - 1
    require_bits(builder, "the end comes after the first window", beyond, WINDOW_GAP_BITS)
    place = builder.word_of([chain, number_of_shards, first, end])
    claim = GlobalWords(place, validators, before, after, history).digest(builder)
    require_same_word(builder, "the statement", claim, builder.public_word(STATEMENT_WORD))
    return builder.tape


@dataclass(frozen=True, slots=True)
class _Shard:
    """A slot's span and its two bits."""

    cells: SpanCells
    present: Element
    active: Element


def _verify(
    builder: CircuitBuilder,
    keys: Sequence[VerifyingKey],
    slot: int,
    places: ShardInputs,
    head: Sequence[Element],
) -> tuple[_Shard, Sequence[Word]]:
    """Claims everything about one shard by itself; returns its span and the span's words."""
    chain, number_of_shards, first, end = head
    *lifts, join = keys
    trusted = [constant_key(builder, key) for key in lifts]
    trusted.append(constant_key(builder, join, names_itself=True))
    statement = verify_trusted(builder, keys[0], places.child, trusted=trusted, slot=slot)
    span, words = read_span(builder, places.span)
    present = read_bit(builder, places.present, f"slot {slot} is present")
    active = read_bit(builder, places.active, f"slot {slot} is active")
    builder.require(f"slot {slot} is active", (1, 0, 0, 0, 0), active, present, equals=active)
    zero = builder.constant(0)
    works = Chooser(builder, active)
    works.all_equal(
        f"the span of slot {slot}", builder.cells_of(digest_of(builder, words)), statement
    )
    works.require_equal(f"slot {slot} begins a window", span.first[1], zero)
    past = builder.combine((0, 1, P - 1, 0, P - 1), end, span.last[0])
    for distance in (builder.combine((0, 1, P - 1, 0, 0), span.first[0], first), past):
        inside = builder.combine((1, 0, 0, 0, 0), active, distance)
        require_bits(builder, f"the windows of slot {slot}", inside, WINDOW_GAP_BITS)
    exists = Chooser(builder, present)
    exists.all_equal(
        f"the owner of slot {slot}", span.owner, [chain, builder.constant(slot), number_of_shards]
    )
    empty = [builder.constant(element) for element in word_elements(empty_list_root())]
    begins, ends = f"slot {slot} begins inside a window", f"slot {slot} ends inside a block"
    for counter in (SEQUENCE, *OPEN_BLOCK):
        exists.require_equal(begins, span.before[counter], zero)
    for array in (Array.TXS, Array.CLM):
        start = NUM_COUNTERS + WORD * (array - 1)
        exists.all_equal(begins, span.before[start : start + WORD], empty)
    for counter in OPEN_BLOCK:
        exists.require_equal(ends, span.after[counter], zero)
    idle = Chooser(builder, builder.combine((0, 1, P - 1, 0, 0), present, active))
    idle.all_equal(f"slot {slot} moves without a block", span.after, span.before)
    return _Shard(span, present, active), words


def _root(boundary: int, array: Array) -> int:
    """Returns which word of a span is a root: the boundary's counters are one word, the roots follow."""
    return boundary // WORD + array


def _state(builder: CircuitBuilder, words: Sequence[Word], boundary: int) -> Word:
    """Returns the word that stands for a boundary."""
    start = boundary // WORD
    return row_hash(builder, words[start : start + BOUNDARY_ELEMENTS // WORD])


def _reopened(builder: CircuitBuilder, span: SpanCells, words: Sequence[Word]) -> Word:
    """Returns the word that stands for where the next window begins after a span."""
    counters = list(span.after[:NUM_COUNTERS])
    counters[SEQUENCE] = builder.constant(0)
    empty = builder.constant_word(*word_elements(empty_list_root()))
    start = AFTER // WORD
    following = [*words[start : start + BOUNDARY_ELEMENTS // WORD]]
    following[0] = builder.word_of(counters)
    following[Array.TXS] = following[Array.CLM] = empty
    return row_hash(builder, following)


def _history(builder: CircuitBuilder, words: Sequence[Word], active: Element) -> Word:
    """Returns the history of a shard with its last window closed; zeros if it made no block."""
    nothing = builder.constant_word()
    closed = row_hash(builder, [words[-1], words[_root(AFTER, Array.TXS)], nothing])
    return selected(builder, active, closed, nothing)
