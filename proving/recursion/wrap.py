"""SHRINK and WRAP: the same statement again, in a proof that is smaller and then in one that needs no Poseidon2.

Both run one program: it verifies one proof under a key that is a constant, and says what that proof says. SHRINK takes
the proof that a day ends with and leaves one with fewer rows; WRAP takes that and is made with SHA-256. Source:
proving/recursion/README.md "Shrink and wrap".
"""

from __future__ import annotations

from proving.arithmetic.modulus import WORD
from proving.recursion.builder import CircuitBuilder
from proving.recursion.children import NO_KEY, TrustedKey, constant_key
from proving.recursion.programs import KEY_WORD, PAYEE_WORD, PUBLIC_USES, STATEMENT_WORD
from proving.recursion.sections import ProofPositions
from proving.recursion.tape import Tape
from proving.recursion.verifier_circuit import verify_child
from proving.stark.key import VerifyingKey

WRAPPED_KIND = "day"
"""Kind of the proofs that are wrapped; it takes proofs of its own kind, so they name its key as `vk_self`."""

SHRINK_KIND, WRAP_KIND = "shrink", "wrap"
"""Kinds of the two steps."""

SHRINK_NUMBER, WRAP_NUMBER = 22, 21
"""Their numbers."""

SHRINK_LOG_HEIGHT, WRAP_LOG_HEIGHT = 13, 13
"""Base-2 logarithms of the rows: the fewest that a verification of the child fits in."""


def shrink_tape(key: VerifyingKey) -> Tape:
    """Writes SHRINK; the key is that of `WRAPPED_KIND`, a constant of the circuit."""
    return _say_again(key, names_itself=True)


def wrap_tape(key: VerifyingKey) -> Tape:
    """Writes WRAP; the key is that of SHRINK, a constant of the circuit."""
    return _say_again(key, names_itself=False)


def _say_again(key: VerifyingKey, *, names_itself: bool) -> Tape:
    """Writes the program; its input is the body of one proof.

    Args:
        key: Of the child.
        names_itself: Whether the child must name its own key as `vk_self`, or none.
    """
    builder = CircuitBuilder(len(PUBLIC_USES), ProofPositions(key, 0).size)
    builder.cells_of(builder.public_word(PAYEE_WORD))  # read once, as every recursive proof does
    trusted: TrustedKey = constant_key(builder, key, names_itself=names_itself)
    child = verify_child(builder, key, 0)
    named = [child.publics[start : start + WORD] for start in range(0, 3 * WORD, WORD)]
    statement, own_key = (
        builder.cells_of(builder.public_word(place)) for place in (STATEMENT_WORD, KEY_WORD)
    )
    nothing = [builder.constant(element) for element in NO_KEY]
    for what, found, wanted in (
        ("the child's vk_self", named[KEY_WORD], trusted.names),
        ("vk_self", own_key, nothing),
        ("the statement", statement, named[STATEMENT_WORD]),
    ):
        for left, right in zip(found, wanted, strict=True):
            builder.require_equal(what, left, right)
    return builder.tape
