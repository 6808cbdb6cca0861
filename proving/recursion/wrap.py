"""SHRINK and WRAP: the same statement again, in a proof that is smaller and then in one that needs no Poseidon2.

Both run one program: it verifies one proof under a key that is a constant, and passes statement and payee on. SHRINK
takes the proof that a day ends with and leaves one with fewer rows; WRAP takes that and is made with SHA-256. Source:
proving/recursion/README.md "Shrink and wrap".
"""

from __future__ import annotations

from collections.abc import Sequence

from proving.arithmetic.modulus import WORD
from proving.recursion.builder import CircuitBuilder
from proving.recursion.programs import KEY_WORD, PAYEE_WORD, PUBLIC_USES, STATEMENT_WORD
from proving.recursion.sections import ProofPositions
from proving.recursion.tape import Tape
from proving.recursion.verifier_circuit import verify_child
from proving.stark.key import VerifyingKey

WRAPPED_KIND = "join"
"""Kind of the proofs that a day ends with; any recursive kind that names its own key in `vk_self` will do."""

SHRINK_KIND, WRAP_KIND = "shrink", "wrap"
"""Kinds of the two steps."""

SHRINK_NUMBER, WRAP_NUMBER = 22, 21

SHRINK_LOG_HEIGHT, WRAP_LOG_HEIGHT = 14, 13
"""Base-2 logarithms of the rows: the fewest that a verification of the child fills."""

NO_KEY = (0,) * WORD
"""What a program that verifies no proof of its own kind names as its key."""


def shrink_tape(key: VerifyingKey) -> Tape:
    """Writes SHRINK; the child's `vk_self` must be the child's own key."""
    return _pass_on(key, key.digest)


def wrap_tape(key: VerifyingKey) -> Tape:
    """Writes WRAP; its child, a shrink, names no key."""
    return _pass_on(key, NO_KEY)


def _pass_on(key: VerifyingKey, own_key: Sequence[int]) -> Tape:
    """Writes the program; its input is the body of one proof.

    Args:
        key: Of the child; a constant of the circuit.
        own_key: What the child must name as `vk_self`.
    """
    builder = CircuitBuilder(len(PUBLIC_USES), ProofPositions(key, 0).size)
    child = verify_child(builder, key, 0)
    named = [child.publics[start : start + WORD] for start in range(0, 3 * WORD, WORD)]
    public = [builder.cells_of(builder.public_word(place)) for place in range(len(PUBLIC_USES))]
    constants = [builder.constant(element) for element in own_key]
    nothing = [builder.constant(element) for element in NO_KEY]
    for what, found, wanted in (
        ("the child's vk_self", named[KEY_WORD], constants),
        ("vk_self", public[KEY_WORD], nothing),
        ("the statement", public[STATEMENT_WORD], named[STATEMENT_WORD]),
        ("the payee", public[PAYEE_WORD], named[PAYEE_WORD]),
    ):
        for left, right in zip(found, wanted, strict=True):
            builder.require_equal(what, left, right)
    return builder.tape
