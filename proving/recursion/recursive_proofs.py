"""What proofs of all recursive kinds share: their public words, how one is made, and how one is checked."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from proving.arithmetic.modulus import WORD
from proving.backends.port import Backend, FieldArray, Hasher
from proving.errors import ProofRejected, RejectionReason
from proving.kinds import (
    SELF_RECURSIVE,
    kind_numbered,
    proving_key,
    recursive_program,
    verifying_key,
)
from proving.prover import OnPhase, prove_stark
from proving.recursion.children import NO_KEY, ChildInputs
from proving.recursion.programs import KEY_WORD, PAYEE_WORD, STATEMENT_WORD
from proving.stark.encoding import HEADER_BYTES, read_header
from proving.stark.soundness import MINIMUM_PROVEN_BITS
from proving.verifier import AcceptancePolicy, KeyRing, VerifiedStatement, verify


def recursive_publics(
    kind: str, statement: Sequence[int], payee: Sequence[int], hasher: Hasher
) -> list[int]:
    """Returns the public inputs of a proof of a recursive kind: statement, `vk_self`, payee."""
    return [*statement, *self_named(kind, hasher), *payee]


def self_named(kind: str, hasher: Hasher) -> tuple[int, ...]:
    """Returns what a proof of a kind must name as `vk_self`."""
    return verifying_key(kind, hasher).digest if kind in SELF_RECURSIVE else NO_KEY


def prove_recursive(
    kind: str,
    publics: Sequence[int],
    inputs: FieldArray,
    backend: Backend,
    on_phase: OnPhase | None = None,
) -> bytes:
    """Runs the program of a kind and proves the run.

    Args:
        kind: Name of a recursive kind.
        publics: From `recursive_publics`.
        inputs: (n,) private inputs of its program.
        backend: Does the arithmetic.
        on_phase: Called after each phase.

    Raises:
        ProvingError: A claim does not hold, by its name.
    """
    program = recursive_program(kind, backend)
    trace = program.trace(program.values(publics, inputs, backend), backend)
    return prove_stark(proving_key(kind, backend), publics, trace, backend, on_phase).data


def verify_recursive(
    proof: bytes,
    statement: Sequence[int],
    kinds: Sequence[str],
    hasher: Hasher,
    minimum_bits: int = MINIMUM_PROVEN_BITS,
) -> VerifiedStatement:
    """Verifies that a proof of one of some kinds is about a statement.

    Raises:
        ProofMalformed: The bytes are no proof of these kinds.
        ProofRejected: They are, of something that does not hold, of another statement, or with too few bits.
    """
    verdict = verify_kinds(proof, kinds, hasher, minimum_bits)
    _require_word(verdict.publics, STATEMENT_WORD, tuple(statement), "statement")
    return verdict


def verify_kinds(
    proof: bytes,
    kinds: Sequence[str],
    hasher: Hasher,
    minimum_bits: int = MINIMUM_PROVEN_BITS,
) -> VerifiedStatement:
    """Verifies a proof of one of some recursive kinds; what its statement word stands for is the caller's to know.

    Raises:
        ProofMalformed: The bytes are no proof of these kinds.
        ProofRejected: They are, of something that does not hold, or with too few bits.
    """
    ring = KeyRing.of(verifying_key(name, hasher) for name in kinds)
    verdict = verify(proof, AcceptancePolicy(ring, hasher, minimum_bits))
    check_self_named(kind_numbered(verdict.kind).name, verdict.publics, hasher)
    return verdict


def check_self_named(kind: str, publics: Sequence[int], hasher: Hasher) -> None:
    """Checks what a circuit leaves to whoever verifies its proofs: that they name the key that they must.

    Raises:
        ProofRejected: They name another.
    """
    _require_word(publics, KEY_WORD, self_named(kind, hasher), "vk_self")


def _require_word(publics: Sequence[int], place: int, wanted: tuple[int, ...], name: str) -> None:
    stated = tuple(publics[WORD * place : WORD * (place + 1)])
    if stated != wanted:
        reason = RejectionReason.STATEMENT_MISMATCH
        raise ProofRejected(reason, f"publics/{name}", wanted, stated)


def payee_of(verdict: VerifiedStatement) -> tuple[int, ...]:
    """Returns the payee word of a proof of a recursive kind."""
    return public_word_of(verdict, PAYEE_WORD)


def public_word_of(verdict: VerifiedStatement, place: int) -> tuple[int, ...]:
    """Returns one of the public words of a proof of a recursive kind."""
    return verdict.publics[WORD * place : WORD * (place + 1)]


def fill_child(
    inputs: FieldArray, places: ChildInputs, proof: bytes, *, trusted: Sequence[str], hasher: Hasher
) -> None:
    """Writes a proof, its key's cap and which of the trusted kinds it is into the inputs of a circuit."""
    name = kind_numbered(read_header(proof).kind).name
    cap = verifying_key(name, hasher).preprocessed_cap
    inputs[places.body.start : places.body.stop] = body_of(proof)
    inputs[places.cap.start : places.cap.stop] = cap.reshape(-1)
    for candidate, place in zip(trusted[1:], places.choices, strict=True):
        inputs[place.start] = candidate == name


def body_of(proof: bytes) -> FieldArray:
    """Returns a proof's elements, what a circuit reads of it."""
    return np.frombuffer(proof, dtype="<u4", offset=HEADER_BYTES).astype(np.uint32)
