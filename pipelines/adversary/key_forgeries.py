"""Forgeries of which key a child's proof is of: other keys, choices that are no bits, foreign names of a key."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from pipelines.adversary.statement_forgeries import Attempt, StatementInputs, left_of
from pipelines.adversary.statement_part import Claim, StatementPart
from proving.arithmetic.modulus import WORD, P
from proving.backends.port import FieldArray, Hasher
from proving.kinds import verifying_key
from proving.recursion.children import ChildInputs
from proving.recursion.execution import Values
from proving.recursion.programs import KEY_WORD
from proving.recursion.recursive_proofs import self_named


@dataclass(frozen=True, slots=True)
class KeyedSlot:
    """What a forger of keys changes in a slot.

    Attributes:
        number: Of the slot.
        places: Where the child and its key lie.
        trusted: Kinds of the slot's trusted keys, in the order of the choices.
    """

    number: int
    places: ChildInputs
    trusted: tuple[str, ...]

    def fill(self, inputs: FieldArray, chosen: int, hasher: Hasher) -> None:
        """Writes the key of one of the trusted kinds, which the proof names as it must."""
        name = self.trusted[chosen]
        key, body = verifying_key(name, hasher), self.places.body.start
        inputs[self.places.cap.start : self.places.cap.stop] = key.preprocessed_cap.reshape(-1)
        inputs[body + WORD * KEY_WORD : body + WORD * (KEY_WORD + 1)] = self_named(name, hasher)
        for number, place in enumerate(self.places.choices, start=1):
            inputs[place.start] = number == chosen


def key_forgeries(
    slot: KeyedSlot,
    honest: StatementInputs,
    part: StatementPart,
    hasher: Hasher,
    *,
    own: bool = True,
) -> Iterator[Attempt]:
    """Yields forgeries of the claims about the key of a slot.

    Args:
        slot: The slot.
        honest: Inputs that the circuit accepts, with the first trusted key in all slots.
        part: The program.
        hasher: Poseidon2.
        own: Whether the last trusted key is the circuit's own, a public word.
    """
    body, number = slot.places.body.start, slot.number
    for k in range(WORD):
        yield Attempt(
            f"slot {number}: a proof that names a foreign key as its own",
            (Claim(f"the vk_self of slot {number}", k),),
            honest,
            late={body + WORD * KEY_WORD + k: 1},
        )
    if len(slot.trusted) > 2:
        yield _hidden_choice(slot, honest, hasher)
    if not own:
        return
    last = len(slot.trusted) - 1
    for k in range(WORD):
        given = honest.copy()
        slot.fill(given.inputs, last, hasher)
        given.publics[KEY_WORD, k] = (int(given.publics[KEY_WORD, k]) + 1) % P
        given.inputs[body + WORD * KEY_WORD : body + WORD * (KEY_WORD + 1)] = given.publics[
            KEY_WORD
        ]
        yield Attempt(
            f"slot {number}: a proof of another key",
            (Claim(f"the key of slot {number}", k),),
            given,
        )
    given = honest.copy()
    slot.fill(given.inputs, 0, hasher)
    given.inputs[slot.places.choices[-1].start] = 2
    yield Attempt(
        f"slot {number}: a choice of two trusts a key between two keys",
        (Claim(f"choice {last} of slot {number}", 0),),
        given,
        adapt=partial(_between_keys, slot, part, hasher),
    )


def _hidden_choice(slot: KeyedSlot, honest: StatementInputs, hasher: Hasher) -> Attempt:
    """The first choice is no bit, and a later choice makes it idle."""
    given = honest.copy()
    slot.fill(given.inputs, len(slot.trusted) - 1, hasher)
    given.inputs[slot.places.choices[0].start] = 2
    what = f"choice 1 of slot {slot.number}"
    return Attempt(
        f"slot {slot.number}: a choice of two, hidden by another", (Claim(what, 0),), given
    )


def _between_keys(
    slot: KeyedSlot, part: StatementPart, hasher: Hasher, given: StatementInputs, values: Values
) -> None:
    """Makes the public word such that twice the own key less the first one is the digest that the circuit computes."""
    digest = left_of(part, values, f"the key of slot {slot.number}")
    first = verifying_key(slot.trusted[0], hasher).digest
    half = (P + 1) // 2
    own = [(one + other) * half % P for one, other in zip(digest, first, strict=True)]
    given.publics[KEY_WORD] = own
    body = slot.places.body.start + WORD * KEY_WORD
    names = self_named(slot.trusted[0], hasher)
    given.inputs[body : body + WORD] = [
        (2 * one - other) % P for one, other in zip(own, names, strict=True)
    ]
