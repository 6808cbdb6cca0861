"""DAY: one recursive proof for up to eight adjacent runs of all shards: epochs, or such proofs again.

Nothing in it knows what a day is: the windows are in the statement, and who reads it compares them. Source:
proving/recursion/README.md "Day".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from proving.arithmetic.modulus import EXTENSION_DEGREE, WORD
from proving.recursion.builder import CircuitBuilder
from proving.recursion.children import (
    ChildInputs,
    TrustedKey,
    child_inputs,
    constant_key,
    own_key,
    verify_trusted,
)
from proving.recursion.global_circuit import (
    GLOBAL_ELEMENTS,
    GlobalWords,
    fold_words,
    selected,
)
from proving.recursion.programs import PAYEE_WORD, PUBLIC_USES, STATEMENT_WORD
from proving.recursion.span_circuit import Chooser, read_bit, require_same_word
from proving.recursion.tape import Element, Tape
from proving.stark.key import VerifyingKey

DAY_SLOTS = 8
"""Children of one proof: as many verifications as fit its rows."""

DAY_NUMBER = 20
"""Number of the kind; its circuit knows its own."""


@dataclass(frozen=True, slots=True)
class RunInputs:
    """Where the inputs of one slot lie.

    Attributes:
        child: The proof, and which key it is of.
        run: The run that it is about.
        switch: A bit: the slot takes part; the first slot always does.
    """

    child: ChildInputs
    run: range
    switch: range


@dataclass(frozen=True, slots=True)
class _Run:
    """A run's words, and their cells."""

    words: GlobalWords
    place: Sequence[Element]
    validators: Sequence[Element]
    before: Sequence[Element]
    after: Sequence[Element]


def day_inputs(epoch_key: VerifyingKey) -> list[RunInputs]:
    """Lays out the inputs of a proof that joins epochs of this key, and proofs of its own kind."""
    slots: list[RunInputs] = []
    place = 0
    for _ in range(DAY_SLOTS):
        child = child_inputs(epoch_key, 2, place)
        run = range(child.stop, child.stop + GLOBAL_ELEMENTS)
        switch = range(run.stop, run.stop + EXTENSION_DEGREE)
        slots.append(RunInputs(child, run, switch))
        place = switch.stop
    return slots


def day_tape(epoch_key: VerifyingKey) -> Tape:
    """Writes the program; its inputs are those of `day_inputs`.

    Args:
        epoch_key: A constant of the circuit.
    """
    slots = day_inputs(epoch_key)
    builder = CircuitBuilder(len(PUBLIC_USES), slots[-1].switch.stop)
    builder.cells_of(builder.public_word(PAYEE_WORD))  # read once, as every recursive proof does
    trusted = [constant_key(builder, epoch_key), own_key(builder, DAY_NUMBER)]
    run = _verify(builder, epoch_key, slots[0], 0, trusted)
    previous = builder.constant(1)
    for number, slot in enumerate(slots[1:], start=1):
        following = _verify(builder, epoch_key, slot, number, trusted)
        what = f"the switch of slot {number}"
        switch = read_bit(builder, slot.switch, what)
        builder.require(what, (1, 0, 0, 0, 0), switch, previous, equals=switch)
        run = _prolong(builder, run, following, switch, number)
        previous = switch
    statement = builder.public_word(STATEMENT_WORD)
    require_same_word(builder, "the statement", run.words.digest(builder), statement)
    return builder.tape


def _verify(
    builder: CircuitBuilder,
    key: VerifyingKey,
    slot: RunInputs,
    number: int,
    trusted: Sequence[TrustedKey],
) -> _Run:
    """Claims that a slot holds a proof of a trusted key about its run, and returns the run."""
    statement = verify_trusted(builder, key, slot.child, trusted=trusted, slot=number)
    elements, words = builder.input_elements(slot.run, with_words=True)
    cells = [part for element in elements for part in builder.split(element)]
    parts = [cells[start : start + WORD] for start in range(0, GLOBAL_ELEMENTS, WORD)]
    run = _Run(GlobalWords(*words), *parts[:4])
    found = builder.cells_of(run.words.digest(builder))
    for mine, theirs in zip(found, statement, strict=True):
        builder.require_equal(f"the run of slot {number}", mine, theirs)
    return run


def _prolong(builder: CircuitBuilder, left: _Run, right: _Run, switch: Element, slot: int) -> _Run:
    """Claims that a run follows another, if the switch is on, and returns the longer one."""
    on = Chooser(builder, switch)
    on.all_equal(f"the chain of slot {slot}", right.place[:2], left.place[:2])
    on.all_equal(f"the validators of slot {slot}", right.validators, left.validators)
    on.require_equal(f"the windows of slot {slot}", right.place[2], left.place[3])
    on.all_equal(f"slot {slot} follows", right.before, left.after)
    (end,) = on.choose([right.place[3]], [left.place[3]])
    after = on.choose(right.after, left.after)
    folded = fold_words(builder, left.words.history, right.words.history)
    place = [*left.place[:3], end, *[builder.constant(0)] * 4]
    words = replace(
        left.words,
        place=builder.word_of(place),
        after=builder.word_of(after),
        history=selected(builder, switch, folded, left.words.history),
    )
    return replace(left, words=words, place=place, after=after)
