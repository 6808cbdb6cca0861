"""LIFT: one recursive proof for up to five small segments of a window.

Every slot verifies a segment's proof. A slot that is not needed repeats an earlier proof and is switched off:
its verification holds all the same, and its statement takes no part. Source: proving/recursion/README.md "Lift".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from proving.arithmetic.modulus import EXTENSION_DEGREE, WORD, P
from proving.recursion.air import RecursionAir
from proving.recursion.builder import CircuitBuilder
from proving.recursion.execution import Execution
from proving.recursion.sections import ProofPositions
from proving.recursion.tape import Element, Word
from proving.recursion.transcript import TranscriptCircuit
from proving.recursion.verifier_circuit import VerifiedChild, verify_child
from proving.recursion.wiring import Wiring, wire
from proving.stark.key import VerifyingKey
from proving.stark.transcript import Label
from schemas.statement import (
    AFTER_OFFSET,
    BEFORE_OFFSET,
    BOUNDARY_ELEMENTS,
    NUM_COUNTERS,
    NUM_PUBLICS,
    UNTOUCHED_ARRAYS,
)

STATEMENT_WORD, KEY_WORD, PAYEE_WORD = range(3)
"""The public words of every recursive proof: statement, the recursion's own key, payee."""

PUBLIC_USES = (1, 0, 1)
"""How often a lift reads each of them; its segments are of another key, so it does not read its own."""

LIFT_SLOTS = 5
"""Segments that one lift takes: as many verifications as fit its rows."""

LIFT_LOG_HEIGHT = 16
"""Rows of the circuit: five verifications leave 1 % of them empty."""

SWITCH_ELEMENTS = EXTENSION_DEGREE
"""Inputs of one switch: an element, of which the claims leave 0 or 1."""

SEGMENT_PLACE, PAYEE_PLACE = 3, NUM_PUBLICS - WORD
"""Public inputs of a segment: its number in the window, and the last word."""


@dataclass(frozen=True, slots=True)
class LiftCircuit:
    """The program.

    Attributes:
        builder: Holds the tape.
        slots: Segments it takes.
        body_size: Elements of one segment's proof; input i * body_size begins slot i.
        children: What the circuit knows of each slot's proof.
    """

    builder: CircuitBuilder
    slots: int
    body_size: int
    children: tuple[VerifiedChild, ...]


def write_lift(key: VerifyingKey, slots: int) -> LiftCircuit:
    """Writes the program.

    Args:
        key: Of the segments; a constant of the circuit.
        slots: Segments it takes at most.
    """
    size = ProofPositions(key, 0).size
    starts = [slots * size + SWITCH_ELEMENTS * number for number in range(slots - 1)]
    switches = [range(start, start + SWITCH_ELEMENTS) for start in starts]
    builder = CircuitBuilder(len(PUBLIC_USES), slots * size + SWITCH_ELEMENTS * len(switches))
    children = tuple(verify_child(builder, key, size * slot) for slot in range(slots))
    _Linker(builder, children, switches).link()
    return LiftCircuit(builder, slots, size, children)


class _Linker:
    """Claims that the slots that are on follow each other, and names their span."""

    def __init__(
        self,
        builder: CircuitBuilder,
        children: Sequence[VerifiedChild],
        switches: Sequence[Sequence[int]],
    ) -> None:
        self._builder = builder
        self._children = children
        self._switches = switches

    def link(self) -> None:
        """Writes all claims."""
        builder = self._builder
        payee = builder.cells_of(builder.public_word(PAYEE_WORD))
        for slot, child in enumerate(self._children):
            self._keep_untouched(slot, child)
            for named, wanted in zip(child.publics[PAYEE_PLACE:], payee, strict=True):
                builder.require_equal(f"the payee of slot {slot}", named, wanted)
        first = self._children[0].publics
        after = first[AFTER_OFFSET : AFTER_OFFSET + BOUNDARY_ELEMENTS]
        last_segment, previous = first[SEGMENT_PLACE], builder.constant(1)
        for slot, child in enumerate(self._children[1:], start=1):
            switch = self._switch(slot, previous)
            mine = child.publics
            before = mine[BEFORE_OFFSET : BEFORE_OFFSET + BOUNDARY_ELEMENTS]
            expected = [*first[:SEGMENT_PLACE], *after]
            for a, b in zip([*mine[:SEGMENT_PLACE], *before], expected, strict=True):
                self._require_if(switch, f"slot {slot} follows", a, b)
            following = builder.combine((0, 1, 0, 0, 1), last_segment)
            self._require_if(switch, f"the number of slot {slot}", mine[SEGMENT_PLACE], following)
            ends = mine[AFTER_OFFSET : AFTER_OFFSET + BOUNDARY_ELEMENTS]
            after = [self._choose(switch, a, b) for a, b in zip(ends, after, strict=True)]
            last_segment = builder.combine((0, 1, 1, 0, 0), last_segment, switch)
            previous = switch
        self._name(first, last_segment, after)

    def _switch(self, slot: int, previous: Element) -> Element:
        """Reads whether a slot is on: a bit, and only after slots that are."""
        builder = self._builder
        (read,), _ = builder.input_elements(self._switches[slot - 1], with_words=False)
        what = f"the switch of slot {slot}"
        builder.require(what, (1, 0, 0, 0, 0), read, read, equals=read)
        builder.require(what, (1, 0, 0, 0, 0), read, previous, equals=read)
        return read

    def _keep_untouched(self, slot: int, child: VerifiedChild) -> None:
        """Claims that arrays that no step writes keep their roots, as the native verifier checks."""
        for array in UNTOUCHED_ARRAYS:
            place = NUM_COUNTERS + WORD * (array - 1)
            for k in range(WORD):
                before = child.publics[BEFORE_OFFSET + place + k]
                after = child.publics[AFTER_OFFSET + place + k]
                self._builder.require_equal(f"{array.name} of slot {slot}", after, before)

    def _require_if(self, switch: Element, what: str, a: Element, b: Element) -> None:
        difference = self._builder.combine((0, 1, P - 1, 0, 0), a, b)
        zero = self._builder.constant(0)
        self._builder.require(what, (1, 0, 0, 0, 0), switch, difference, equals=zero)

    def _choose(self, switch: Element, on: Element, off: Element) -> Element:
        difference = self._builder.combine((0, 1, P - 1, 0, 0), on, off)
        return self._builder.combine((1, 0, 0, 1, 0), switch, difference, off)

    def _name(self, first: Sequence[Element], last_segment: Element, after: list[Element]) -> None:
        """Claims that the statement word is the digest of the span."""
        builder = self._builder
        zero = builder.constant(0)
        cells = [*first[:AFTER_OFFSET], last_segment, *[zero] * (WORD // 2 - 1), *after]
        words = [builder.word_of(cells[k : k + WORD]) for k in range(0, len(cells), WORD)]
        transcript = TranscriptCircuit(builder)
        transcript.absorb(Label.SPAN, len(cells), words)
        digest = transcript.word(Label.STATEMENT_DIGEST)
        require_same_words(builder, "the statement", digest, builder.public_word(STATEMENT_WORD))


def require_same_words(builder: CircuitBuilder, what: str, a: Word, b: Word) -> None:
    """Claims that two words are equal."""
    for left, right in zip(builder.cells_of(a), builder.cells_of(b), strict=True):
        builder.require_equal(what, left, right)


@dataclass(frozen=True, slots=True, eq=False)
class LiftProgram:
    """A lift's program, laid out and ready to be run."""

    circuit: LiftCircuit
    wiring: Wiring
    execution: Execution


_programs: dict[tuple[int, ...], LiftProgram] = {}
"""By digest of the segments' key."""


def lift_program(key: VerifyingKey) -> LiftProgram:
    """Returns the program for segments of a key, written once per process; two seconds."""
    if key.digest not in _programs:
        circuit = write_lift(key, LIFT_SLOTS)
        tape = circuit.builder.tape
        _programs[key.digest] = LiftProgram(circuit, wire(tape, LIFT_LOG_HEIGHT), Execution(tape))
    return _programs[key.digest]


def lift_air(segment_key: Callable[[], VerifyingKey]) -> RecursionAir:
    """Returns the circuit of a lift; the key of the segments is asked for when the wiring is."""
    return RecursionAir(
        f"lift-s-{LIFT_SLOTS}",
        LIFT_LOG_HEIGHT,
        PUBLIC_USES,
        lambda: lift_program(segment_key()).wiring,
    )
