"""LIFT: one recursive proof for up to six small segments of a window, or for one large one.

Every slot verifies a segment's proof. A slot that is not needed repeats an earlier proof and is switched off:
its verification holds all the same, and its statement takes no part. Source: proving/recursion/README.md "Lift".
"""

from __future__ import annotations

from proving.arithmetic.modulus import EXTENSION_DEGREE, WORD
from proving.recursion.builder import CircuitBuilder
from proving.recursion.programs import KEY_WORD, PAYEE_WORD, PUBLIC_USES, STATEMENT_WORD
from proving.recursion.sections import ProofPositions
from proving.recursion.span_circuit import SpanCells, prolong, read_bit, require_same_word
from proving.recursion.tape import Tape
from proving.recursion.verifier_circuit import VerifiedChild, verify_child
from proving.stark.key import VerifyingKey
from schemas.statement import (
    AFTER_OFFSET,
    BEFORE_OFFSET,
    BOUNDARY_ELEMENTS,
    NUM_COUNTERS,
    NUM_PUBLICS,
    UNTOUCHED_ARRAYS,
)

LIFT_SLOTS, LARGE_LIFT_SLOTS = 6, 1
"""Small and large segments that one lift takes: as many verifications as fit its rows."""

WINDOW_PLACE, PAYEE_PLACE = 3, NUM_PUBLICS - WORD
"""Public inputs of a segment: its window, before which its owner and after which its number lie; the last word."""


def lift_tape(key: VerifyingKey) -> Tape:
    """Writes the program about small segments; see `_tape`."""
    return _tape(key, LIFT_SLOTS)


def large_lift_tape(key: VerifyingKey) -> Tape:
    """Writes the program about large segments; see `_tape`."""
    return _tape(key, LARGE_LIFT_SLOTS)


def _tape(key: VerifyingKey, slots: int) -> Tape:
    """Writes the program.

    Its inputs are the bodies of the slots' proofs and then, for every slot but the first, a switch and whether the
    segment goes on in the window of the one before.

    Args:
        key: Of the segments; a constant of the circuit.
        slots: How many it takes.
    """
    size = ProofPositions(key, 0).size
    first = slots * size
    builder = CircuitBuilder(len(PUBLIC_USES), first + 2 * EXTENSION_DEGREE * (slots - 1))
    children = [verify_child(builder, key, size * slot) for slot in range(slots)]
    builder.cells_of(builder.public_word(KEY_WORD))  # read once, as every recursive proof does
    payee = builder.cells_of(builder.public_word(PAYEE_WORD))
    for slot, child in enumerate(children):
        _keep_untouched(builder, slot, child)
        for named, wanted in zip(child.publics[PAYEE_PLACE:], payee, strict=True):
            builder.require_equal(f"the payee of slot {slot}", named, wanted)
    span, previous = _span_of(builder, children[0]), builder.constant(1)
    for slot, child in enumerate(children[1:], start=1):
        start = first + 2 * EXTENSION_DEGREE * (slot - 1)
        middle, stop = start + EXTENSION_DEGREE, start + 2 * EXTENSION_DEGREE
        what = f"the switch of slot {slot}"
        switch = read_bit(builder, range(start, middle), what)
        builder.require(what, (1, 0, 0, 0, 0), switch, previous, equals=switch)
        same_window = read_bit(builder, range(middle, stop), f"the window bit of slot {slot}")
        right = _span_of(builder, child)
        span = prolong(builder, span, right, switch=switch, same_window=same_window, slot=slot)
        previous = switch
    statement = builder.public_word(STATEMENT_WORD)
    require_same_word(builder, "the statement", span.digest(builder), statement)
    return builder.tape


def _span_of(builder: CircuitBuilder, child: VerifiedChild) -> SpanCells:
    """Returns the span of one segment."""
    publics = child.publics
    place = publics[WINDOW_PLACE:BEFORE_OFFSET]
    return SpanCells(
        owner=publics[:WINDOW_PLACE],
        first=place,
        last=place,
        before=publics[BEFORE_OFFSET : BEFORE_OFFSET + BOUNDARY_ELEMENTS],
        after=publics[AFTER_OFFSET : AFTER_OFFSET + BOUNDARY_ELEMENTS],
        history=[builder.constant(0)] * WORD,
    )


def _keep_untouched(builder: CircuitBuilder, slot: int, child: VerifiedChild) -> None:
    """Claims that arrays that no step writes keep their roots, as the native verifier checks."""
    for array in UNTOUCHED_ARRAYS:
        place = NUM_COUNTERS + WORD * (array - 1)
        for k in range(WORD):
            before = child.publics[BEFORE_OFFSET + place + k]
            after = child.publics[AFTER_OFFSET + place + k]
            builder.require_equal(f"{array.name} of slot {slot}", after, before)
