"""WRAP: what the proof of a day says again, in a proof that is small and needs no Poseidon2.

It verifies one proof under a key that is a constant, says what that proof says, and is made with SHA-256. Source:
proving/recursion/README.md "Wrap".
"""

from __future__ import annotations

from proving.arithmetic.modulus import WORD
from proving.recursion.builder import CircuitBuilder
from proving.recursion.children import NO_KEY, constant_key
from proving.recursion.programs import KEY_WORD, PAYEE_WORD, PUBLIC_USES, STATEMENT_WORD
from proving.recursion.sections import ProofPositions
from proving.recursion.tape import Tape
from proving.recursion.verifier_circuit import verify_child
from proving.stark.key import VerifyingKey

WRAPPED_KIND, WRAP_KIND = "day", "wrap"
"""The kind of proof that is wrapped, which takes proofs of its own kind and so names its key; and the kind made of it."""

WRAP_NUMBER = 21
"""Number of the kind."""

WRAP_LOG_HEIGHT = 13
"""Base-2 logarithm of the rows: the fewest that the verification fits in."""


def wrap_tape(key: VerifyingKey) -> Tape:
    """Writes the program; its input is the body of one proof.

    Args:
        key: Of `WRAPPED_KIND`; a constant of the circuit.
    """
    builder = CircuitBuilder(len(PUBLIC_USES), ProofPositions(key, 0).size)
    builder.cells_of(builder.public_word(PAYEE_WORD))  # read once, as every recursive proof does
    trusted = constant_key(builder, key, names_itself=True)
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
