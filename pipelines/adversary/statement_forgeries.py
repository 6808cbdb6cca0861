"""A forgery of a statement of the pyramid, and what became of it: refused by name, accepted once its check is gone.

The forger has every freedom: children that say what he likes, all private inputs, and public words that repeat what
the circuit computes. So what is left broken is the check that the forgery is about.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from pipelines.adversary.statement_part import Claim, StatementPart
from proving.arithmetic.modulus import WORD, P
from proving.backends.port import FieldArray, Hasher
from proving.errors import ProofError, ProvingError
from proving.recursion.execution import Values
from proving.recursion.programs import KEY_WORD, PAYEE_WORD, STATEMENT_WORD
from schemas.errors import ParameterError, WireError

STATEMENT = "the statement"
"""Label of the claim that binds the public statement."""

Native = Callable[[], object]
"""Asks the native twin about the same forgery; raises its refusal."""

Make = Callable[[], "StatementInputs"]
"""Makes inputs when they are needed."""

Late = Mapping[int, int]
"""Input position -> what is added to it when everything else fits."""


@dataclass(slots=True)
class StatementInputs:
    """Inputs of a program with what its public words say.

    Attributes:
        inputs: (n,) private inputs.
        publics: (3, 8) public words.
        said: Label of a claim about what a child says -> where the child's statement lies; the forger's children say
            what is needed.
    """

    inputs: FieldArray
    publics: FieldArray
    said: Mapping[str, int]

    def copy(self) -> StatementInputs:
        """Returns others that may be changed."""
        return StatementInputs(self.inputs.copy(), self.publics.copy(), self.said)


@dataclass(frozen=True, slots=True)
class Attempt:
    """A forgery before it is tried.

    Attributes:
        name: What is forged.
        targets: The claims that it is about: all of them must be broken, and nothing else.
        make: Makes the inputs; children's and own statement are still to be made to fit.
        native: Asks the native twin, if there is one.
        names: What the native twin's refusal must contain.
        late: Changes of inputs after that.
        late_publics: Changes of public words after that, by (word, element).
        adapt: Changes inputs by the values of a first run.
    """

    name: str
    targets: tuple[Claim, ...]
    make: Make
    native: Native | None = None
    names: str = ""
    late: Late = field(default_factory=dict)
    late_publics: Mapping[tuple[int, int], int] = field(default_factory=dict)
    adapt: Callable[[StatementInputs, Values], None] | None = None


def other_digests(honest: Make) -> Iterator[Attempt]:
    """Yields public statements that are not the digest of what the program has read, an element each."""
    for k in range(WORD):
        yield Attempt(
            "the statement names another digest",
            (Claim(STATEMENT, k),),
            honest,
            late_publics={(STATEMENT_WORD, k): 1},
        )


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a forgery.

    Attributes:
        name: Of the forgery.
        targets: The claims that it is about.
        broken: The claims of the circuit that refuse it.
        accepted: Whether the circuit without the targets accepts it.
        native: The native twin's refusal; empty if it accepts, None if there is no twin.
        names: What that must contain.
    """

    name: str
    targets: frozenset[Claim]
    broken: frozenset[Claim]
    accepted: bool
    native: str | None
    names: str

    @property
    def is_refused(self) -> bool:
        """Whether the circuit, and the native twin if there is one, refuse it by name."""
        named = self.native is None or (bool(self.native) and self.names in self.native)
        return bool(self.broken) and named

    @property
    def holds(self) -> bool:
        """Whether it breaks what it is about and nothing else, by name, and passes once that is gone."""
        return self.is_refused and self.broken == self.targets and self.accepted


def judge(part: StatementPart, attempt: Attempt, hasher: Hasher) -> Outcome:
    """Tries a forgery on the statement's part of a program, whole and without the claims that it is about."""
    given = fitted(part, attempt, hasher)
    values = part.run(
        given.publics, given.inputs, hasher
    )  # claims write nothing: the weaker program's too
    broken = part.broken(values)
    targets = frozenset(attempt.targets)
    accepted = not part.without(targets).problems(values)
    native = None if attempt.native is None else refusal_of(attempt.native)
    return Outcome(attempt.name, targets, broken, accepted, native, attempt.names)


def fitted(part: StatementPart, attempt: Attempt, hasher: Hasher) -> StatementInputs:
    """Returns a forgery's inputs with statements that fit."""
    given = attempt.make().copy()
    if attempt.adapt is not None:
        attempt.adapt(given, part.run(given.publics, given.inputs, hasher))
    values = part.run(given.publics, given.inputs, hasher)
    for label, start in given.said.items():
        given.inputs[start : start + WORD] = left_of(part, values, label)
    given.publics[STATEMENT_WORD] = left_of(part, values, STATEMENT)
    for position, delta in attempt.late.items():
        given.inputs[position] = (int(given.inputs[position]) + delta) % P
    for (word, element), delta in attempt.late_publics.items():
        given.publics[word, element] = (int(given.publics[word, element]) + delta) % P
    return given


def left_of(part: StatementPart, values: Values, label: str) -> list[int]:
    """Returns what the eight claims of a label compare, the side that the circuit computes."""
    found: list[int] = []
    for number in range(WORD):
        _, record = part.claims[Claim(label, number)]
        address = part.tape.multiply_adds[record].slots[0]
        found.append(int(values.elements[address, 0]))
    return found


def refusal_of(native: Native) -> str:
    """Returns a native twin's refusal; empty if there is none. Anything but a named refusal is let through."""
    try:
        native()
    except (ParameterError, ProofError, ProvingError, WireError) as error:
        return str(error)
    return ""


def refuse(problem: str | None) -> None:
    """Raises a problem that a native twin returns.

    Raises:
        ParameterError: There is one.
    """
    if problem is not None:
        raise ParameterError(problem)


def blank_publics(own_key: Sequence[int]) -> FieldArray:
    """Returns public words with a payee that is nobody's child's, and what a proof of the kind names as `vk_self`."""
    publics: FieldArray = np.zeros((3, WORD), dtype=np.uint32)
    publics[KEY_WORD] = own_key
    publics[PAYEE_WORD] = range(901, 901 + WORD)
    return publics


def word_claims(what: str, start: int = 0) -> tuple[Claim, ...]:
    """Returns eight claims of a label."""
    return tuple(Claim(what, number) for number in range(start, start + WORD))
