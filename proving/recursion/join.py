"""JOIN: one recursive proof for up to eight recursive proofs whose spans follow each other.

A child is a lift or a join. Whoever verifies a join compares `vk_self` with the join's key. Source:
proving/recursion/README.md "Join".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from proving.arithmetic.modulus import EXTENSION_DEGREE
from proving.recursion.builder import CircuitBuilder
from proving.recursion.children import (
    ChildInputs,
    TrustedKey,
    child_inputs,
    constant_key,
    own_key,
    verify_trusted,
)
from proving.recursion.programs import PAYEE_WORD, PUBLIC_USES, STATEMENT_WORD
from proving.recursion.span_circuit import (
    SPAN_ELEMENTS,
    SpanCells,
    digest_of,
    prolong,
    read_bit,
    read_span,
    require_same_word,
)
from proving.recursion.tape import Tape
from proving.stark.key import VerifyingKey

JOIN_SLOTS = 8
"""Children of one join: as many verifications as fit its rows."""

JOIN_NUMBER = 17
"""Number of the kind; a join's circuit knows its own."""


@dataclass(frozen=True, slots=True)
class SlotInputs:
    """Where the inputs of one slot lie.

    Attributes:
        child: The proof, and which key it is of.
        span: The span that it is about.
        switch: A bit: the slot takes part; the first slot always does.
        same_window: A bit: the span goes on in the window in which the one before ends.
    """

    child: ChildInputs
    span: range
    switch: range
    same_window: range


def slot_inputs(lift_keys: Sequence[VerifyingKey]) -> list[SlotInputs]:
    """Lays out the inputs of a join of proofs under these keys and its own."""
    slots: list[SlotInputs] = []
    place = 0
    for _ in range(JOIN_SLOTS):
        child = child_inputs(lift_keys[0], len(lift_keys) + 1, place)
        span = range(child.stop, child.stop + SPAN_ELEMENTS)
        switch = range(span.stop, span.stop + EXTENSION_DEGREE)
        same_window = range(switch.stop, switch.stop + EXTENSION_DEGREE)
        slots.append(SlotInputs(child, span, switch, same_window))
        place = same_window.stop
    return slots


def join_tape(*lift_keys: VerifyingKey) -> Tape:
    """Writes the program; its inputs are those of `slot_inputs`.

    Args:
        lift_keys: Keys of lifts; constants of the circuit.
    """
    slots = slot_inputs(lift_keys)
    builder = CircuitBuilder(len(PUBLIC_USES), slots[-1].same_window.stop)
    builder.cells_of(builder.public_word(PAYEE_WORD))  # read once, as every recursive proof does
    lifts = [constant_key(builder, key) for key in lift_keys]
    trusted = [*lifts, own_key(builder, JOIN_NUMBER)]
    span, previous = _verify(builder, lift_keys[0], slots[0], 0, trusted), builder.constant(1)
    for number, slot in enumerate(slots[1:], start=1):
        child = _verify(builder, lift_keys[0], slot, number, trusted)
        what = f"the switch of slot {number}"
        switch = read_bit(builder, slot.switch, what)
        builder.require(what, (1, 0, 0, 0, 0), switch, previous, equals=switch)
        same_window = read_bit(builder, slot.same_window, f"the window bit of slot {number}")
        span = prolong(builder, span, child, switch=switch, same_window=same_window, slot=number)
        previous = switch
    statement = builder.public_word(STATEMENT_WORD)
    require_same_word(builder, "the statement", span.digest(builder), statement)
    return builder.tape


def _verify(
    builder: CircuitBuilder,
    key: VerifyingKey,
    slot: SlotInputs,
    number: int,
    trusted: Sequence[TrustedKey],
) -> SpanCells:
    """Claims that a slot holds a proof of a trusted key about its span, and returns the span."""
    statement = verify_trusted(builder, key, slot.child, trusted=trusted, slot=number)
    span, words = read_span(builder, slot.span)
    found = builder.cells_of(digest_of(builder, words))
    for mine, theirs in zip(found, statement, strict=True):
        builder.require_equal(f"the span of slot {number}", mine, theirs)
    return span
