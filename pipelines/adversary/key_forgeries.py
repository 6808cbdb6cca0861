"""Forgeries of which key a child's proof is of: other keys, choices that are no bits, foreign names of a key."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from pipelines.adversary.statement_forgeries import (
    Attempt,
    Make,
    StatementInputs,
    left_of,
    word_claims,
)
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
    honest: Make,
    part: StatementPart,
    hasher: Hasher,
    *,
    own: bool = True,
) -> Iterator[Attempt]:
    """Yields forgeries of the claims about the key of a slot.

    Args:
        slot: The slot.
        honest: Makes inputs that the circuit accepts, with the first trusted key in all slots.
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
        yield Attempt(
            f"slot {number}: a choice of two, hidden by another",
            (Claim(f"choice 1 of slot {number}", 0),),
            partial(_hidden_choice, slot, honest, hasher),
        )
    if not own:
        yield Attempt(
            f"slot {number}: a choice of two trusts a key between two keys, which no digest is",
            (
                Claim(f"choice {len(slot.trusted) - 1} of slot {number}", 0),
                *word_claims(f"the key of slot {number}"),
            ),
            partial(_double_choice, slot, honest, hasher),
            adapt=partial(_name_between_keys, slot, hasher),
        )
        return
    for k in range(WORD):
        make = partial(_own_key, slot, honest, hasher, k)
        claim = Claim(f"the key of slot {number}", k)
        yield Attempt(f"slot {number}: a proof of another key", (claim,), make)
    yield Attempt(
        f"slot {number}: a choice of two trusts a key between two keys",
        (Claim(f"choice {len(slot.trusted) - 1} of slot {number}", 0),),
        partial(_double_choice, slot, honest, hasher),
        adapt=partial(_between_keys, slot, part, hasher),
    )


def _own_key(slot: KeyedSlot, honest: Make, hasher: Hasher, element: int) -> StatementInputs:
    """A proof of the circuit's own kind, whose key is not the one that the public word names."""
    given, word = honest().copy(), slot.places.body.start + WORD * KEY_WORD
    slot.fill(given.inputs, len(slot.trusted) - 1, hasher)
    given.publics[KEY_WORD, element] = (int(given.publics[KEY_WORD, element]) + 1) % P
    given.inputs[word : word + WORD] = given.publics[KEY_WORD]
    return given


def _double_choice(slot: KeyedSlot, honest: Make, hasher: Hasher) -> StatementInputs:
    given = honest().copy()
    slot.fill(given.inputs, 0, hasher)
    given.inputs[slot.places.choices[-1].start] = 2
    return given


def _hidden_choice(slot: KeyedSlot, honest: Make, hasher: Hasher) -> StatementInputs:
    """The first choice is no bit, and a later choice makes it idle."""
    given = honest().copy()
    slot.fill(given.inputs, len(slot.trusted) - 1, hasher)
    given.inputs[slot.places.choices[0].start] = 2
    return given


def _between_keys(
    slot: KeyedSlot, part: StatementPart, hasher: Hasher, given: StatementInputs, values: Values
) -> None:
    """Makes the public word such that twice the own key less the first one is the digest that the circuit computes."""
    digest = left_of(part, values, f"the key of slot {slot.number}")
    first = verifying_key(slot.trusted[0], hasher).digest
    half = (P + 1) // 2
    own = [(one + other) * half % P for one, other in zip(digest, first, strict=True)]
    given.publics[KEY_WORD] = own
    _name_between(slot, own, given, hasher)


def _name_between_keys(
    slot: KeyedSlot, hasher: Hasher, given: StatementInputs, values: Values
) -> None:
    """Names what such a choice asks a proof to name."""
    _name_between(slot, self_named(slot.trusted[-1], hasher), given, hasher)


def _name_between(
    slot: KeyedSlot, last: Sequence[int], given: StatementInputs, hasher: Hasher
) -> None:
    start = slot.places.body.start + WORD * KEY_WORD
    names = self_named(slot.trusted[0], hasher)
    given.inputs[start : start + WORD] = [
        (2 * one - other) % P for one, other in zip(last, names, strict=True)
    ]
