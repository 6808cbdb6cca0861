"""JOIN: one recursive proof for up to six recursive proofs whose spans follow each other.

A child is a lift or a join; a join verifies its own kind, whose key cannot be a constant of its circuit: it is
the public word `vk_self`, which every child that is a join must name as well. Whoever verifies a join compares
the word with the join's key. Source: proving/recursion/README.md "Join".
"""

from __future__ import annotations

from dataclasses import dataclass

from proving.arithmetic.modulus import EXTENSION_DEGREE, WORD
from proving.recursion.builder import CircuitBuilder
from proving.recursion.programs import KEY_WORD, PAYEE_WORD, PUBLIC_USES, STATEMENT_WORD
from proving.recursion.sections import ProofPositions
from proving.recursion.span_circuit import (
    SPAN_ELEMENTS,
    Chooser,
    SpanCells,
    prolong,
    read_bit,
    read_span,
    require_same_word,
)
from proving.recursion.tape import Element, Tape
from proving.recursion.verifier_circuit import OpenKey, verify_child
from proving.stark.key import VerifyingKey

JOIN_SLOTS = 6
"""Children of one join: as many verifications as fit its rows."""

JOIN_NUMBER = 17
"""Number of the kind; a join's circuit knows its own."""


@dataclass(frozen=True, slots=True)
class SlotInputs:
    """Where the inputs of one slot lie.

    Attributes:
        body: Body of the proof.
        cap: Cap of the key's preprocessed columns.
        span: The span that the proof is about.
        is_join: A bit: the child is a join, not a lift.
        switch: A bit: the slot takes part; the first slot always does.
        same_window: A bit: the span goes on in the window in which the one before ends.
    """

    body: range
    cap: range
    span: range
    is_join: range
    switch: range
    same_window: range


def slot_inputs(key: VerifyingKey) -> list[SlotInputs]:
    """Lays out the inputs of a join of proofs whose keys have the constraint system of `key`."""
    sizes = (
        ProofPositions(key, 0).size,
        key.preprocessed_cap.size,
        SPAN_ELEMENTS,
        *[EXTENSION_DEGREE] * 3,
    )
    slots: list[SlotInputs] = []
    place = 0
    for _ in range(JOIN_SLOTS):
        parts: list[range] = []
        for size in sizes:
            parts.append(range(place, place + size))
            place += size
        slots.append(SlotInputs(*parts))
    return slots


def join_tape(lift_key: VerifyingKey) -> Tape:
    """Writes the program; its inputs are those of `slot_inputs`.

    Args:
        lift_key: Key of lifts; a constant of the circuit.
    """
    slots = slot_inputs(lift_key)
    builder = CircuitBuilder(len(PUBLIC_USES), slots[-1].same_window.stop)
    own_key = builder.cells_of(builder.public_word(KEY_WORD))
    payee = builder.cells_of(builder.public_word(PAYEE_WORD))
    children = _Children(builder, lift_key, own_key, payee)
    span, previous = children.verify(slots[0], 0), builder.constant(1)
    for number, slot in enumerate(slots[1:], start=1):
        child = children.verify(slot, number)
        what = f"the switch of slot {number}"
        switch = read_bit(builder, slot.switch, what)
        builder.require(what, (1, 0, 0, 0, 0), switch, previous, equals=switch)
        same_window = read_bit(builder, slot.same_window, f"the window bit of slot {number}")
        span = prolong(builder, span, child, switch=switch, same_window=same_window, slot=number)
        previous = switch
    statement = builder.public_word(STATEMENT_WORD)
    require_same_word(builder, "the statement", span.digest(builder), statement)
    return builder.tape


@dataclass(frozen=True, slots=True)
class _Children:
    """Verifies what the slots hold, under keys that the join trusts."""

    builder: CircuitBuilder
    lift_key: VerifyingKey
    own_key: list[Element]
    payee: list[Element]

    def verify(self, slot: SlotInputs, number: int) -> SpanCells:
        """Claims that a slot holds a proof of a trusted key about its span, and returns the span."""
        builder, lift = self.builder, self.lift_key
        is_join = read_bit(builder, slot.is_join, f"the kind of slot {number}")
        kind = builder.combine((0, JOIN_NUMBER - lift.kind, 0, 0, lift.kind), is_join)
        child = verify_child(builder, lift, slot.body.start, OpenKey(kind, slot.cap))
        joined = Chooser(builder, is_join)
        of_lifts = [builder.constant(element) for element in lift.digest]
        trusted = joined.choose(self.own_key, of_lifts)
        words = [child.publics[start : start + WORD] for start in range(0, 3 * WORD, WORD)]
        joined.all_equal(f"vk_self of slot {number}", words[KEY_WORD], self.own_key)
        span, digest = read_span(builder, slot.span)
        for what, found, wanted in (
            ("key", builder.cells_of(child.key_digest), trusted),
            ("payee", words[PAYEE_WORD], self.payee),
            ("span", builder.cells_of(digest), words[STATEMENT_WORD]),
        ):
            for mine, theirs in zip(found, wanted, strict=True):
                builder.require_equal(f"the {what} of slot {number}", mine, theirs)
        return span
