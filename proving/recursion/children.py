"""Children of a recursive proof: a proof of one of several trusted keys in a slot of a circuit.

All recursive kinds have one constraint system and differ in their preprocessed columns, so one program verifies
any of them: kind and cap of those columns are inputs, and the digest computed from them must be a trusted one.
Source: proving/recursion/README.md "Children".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from proving.arithmetic.modulus import EXTENSION_DEGREE, WORD
from proving.recursion.builder import CircuitBuilder
from proving.recursion.programs import KEY_WORD, STATEMENT_WORD
from proving.recursion.sections import ProofPositions
from proving.recursion.span_circuit import Chooser, read_bit
from proving.recursion.tape import Element
from proving.recursion.verifier_circuit import OpenKey, verify_child
from proving.stark.key import VerifyingKey
from schemas.units import ZERO_WORD, word_elements

NO_KEY = tuple(word_elements(ZERO_WORD))
"""What a proof names as `vk_self` if none of its children is of its own kind."""


@dataclass(frozen=True, slots=True)
class ChildInputs:
    """Where the inputs about one child lie.

    Attributes:
        body: Body of the proof.
        cap: Cap of the key's preprocessed columns.
        choices: A bit for every trusted key but the first: the proof is of this key. The last one that is on counts.
    """

    body: range
    cap: range
    choices: tuple[range, ...]

    @property
    def stop(self) -> int:
        """The first position after them."""
        return self.choices[-1].stop if self.choices else self.cap.stop


@dataclass(frozen=True, slots=True)
class TrustedKey:
    """A key whose proofs a slot takes.

    Attributes:
        kind: Number of the kind.
        digest: Eight elements.
        names: What its proofs must name as `vk_self`, eight elements.
    """

    kind: int
    digest: Sequence[Element]
    names: Sequence[Element]


def child_inputs(key: VerifyingKey, num_trusted: int, start: int) -> ChildInputs:
    """Lays out the inputs of one child.

    Args:
        key: Any key with the constraint system of the trusted ones.
        num_trusted: How many keys are trusted.
        start: First position.
    """
    body = range(start, start + ProofPositions(key, start).size)
    cap = range(body.stop, body.stop + key.preprocessed_cap.size)
    stops = range(cap.stop, cap.stop + EXTENSION_DEGREE * num_trusted, EXTENSION_DEGREE)
    return ChildInputs(body, cap, tuple(range(a, b) for a, b in pairwise(stops)))


def constant_key(
    builder: CircuitBuilder, key: VerifyingKey, *, names_itself: bool = False
) -> TrustedKey:
    """Returns a key that is a constant of the circuit."""
    digest = [builder.constant(element) for element in key.digest]
    nothing = [builder.constant(element) for element in NO_KEY]
    return TrustedKey(key.kind, digest, digest if names_itself else nothing)


def own_key(builder: CircuitBuilder, number: int) -> TrustedKey:
    """Returns the key of the circuit itself: the public word `vk_self`, which its proofs must name as well."""
    digest = builder.cells_of(builder.public_word(KEY_WORD))
    return TrustedKey(number, digest, digest)


def verify_trusted(
    builder: CircuitBuilder,
    key: VerifyingKey,
    inputs: ChildInputs,
    *,
    trusted: Sequence[TrustedKey],
    slot: int,
) -> Sequence[Element]:
    """Claims that a slot holds a proof of a trusted key, and returns the statement that it is about.

    Args:
        builder: The circuit.
        key: Any key with the constraint system of the trusted ones.
        inputs: From `child_inputs`.
        trusted: The keys, in the order of the choices.
        slot: For the names of the claims.

    Returns:
        Eight base elements. Nothing is claimed about the payee: every proof names its own.
    """
    first = trusted[0]
    wanted = [builder.constant(first.kind), *first.digest, *first.names]
    for number, (candidate, place) in enumerate(
        zip(trusted[1:], inputs.choices, strict=True), start=1
    ):
        on = Chooser(builder, read_bit(builder, place, f"choice {number} of slot {slot}"))
        mine = [builder.constant(candidate.kind), *candidate.digest, *candidate.names]
        wanted = on.choose(mine, wanted)
    child = verify_child(builder, key, inputs.body.start, OpenKey(wanted[0], inputs.cap))
    for what, found, expected in (
        ("key", builder.cells_of(child.key_digest), wanted[1 : 1 + WORD]),
        ("vk_self", child.publics[WORD * KEY_WORD : WORD * (KEY_WORD + 1)], wanted[1 + WORD :]),
    ):
        for given, right in zip(found, expected, strict=True):
            builder.require_equal(f"the {what} of slot {slot}", given, right)
    return child.publics[WORD * STATEMENT_WORD : WORD * (STATEMENT_WORD + 1)]
