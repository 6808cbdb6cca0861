"""Proofs that end a day: the last proof of a span in, a proof for light clients out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from proving.arithmetic.modulus import WORD
from proving.backends.port import Backend, Hasher
from proving.errors import ProofRejected, RejectionReason
from proving.kinds import kind_named, proving_key, verifying_key
from proving.prover import OnPhase, prove_stark
from proving.recursion.programs import KEY_WORD, PAYEE_WORD, STATEMENT_WORD, program_about
from proving.recursion.tape import Tape
from proving.recursion.wrap import (
    NO_KEY,
    SHRINK_KIND,
    WRAP_KIND,
    WRAPPED_KIND,
    shrink_tape,
    wrap_tape,
)
from proving.stark.encoding import HEADER_BYTES
from proving.stark.key import VerifyingKey
from proving.stark.soundness import MINIMUM_PROVEN_BITS
from proving.verifier import AcceptancePolicy, KeyRing, VerifiedStatement, verify


def prove_shrink(proof: bytes, backend: Backend, on_phase: OnPhase | None = None) -> bytes:
    """Proves the statement of a day's last proof again, in fewer rows.

    Args:
        proof: Of the kind `WRAPPED_KIND`.
        backend: Does the arithmetic.
        on_phase: Called after each phase.

    Raises:
        ProofError: It does not verify, or names another `vk_self` than its own key.
    """
    child = verifying_key(WRAPPED_KIND, backend)
    return _pass_on(proof, SHRINK_KIND, shrink_tape, child, child.digest, backend, on_phase)


def prove_wrap(proof: bytes, backend: Backend, on_phase: OnPhase | None = None) -> bytes:
    """Proves the statement of a shrink for light clients.

    Args:
        proof: From `prove_shrink`.
        backend: Does the arithmetic.
        on_phase: Called after each phase.

    Raises:
        ProofError: It does not verify.
        ProvingError: There is not enough memory.
    """
    child = verifying_key(SHRINK_KIND, backend)
    return _pass_on(proof, WRAP_KIND, wrap_tape, child, NO_KEY, backend, on_phase)


def verify_wrap(
    proof: bytes, hasher: Hasher, minimum_bits: int = MINIMUM_PROVEN_BITS
) -> VerifiedStatement:
    """Verifies a proof that ends a day; its publics are statement, zeros, payee.

    Raises:
        ProofMalformed: The bytes are no such proof.
        ProofRejected: They are, of something that does not hold, or with too few bits.
    """
    ring = KeyRing.of([verifying_key(WRAP_KIND, hasher)])
    return verify(proof, AcceptancePolicy(ring, hasher, minimum_bits))


def _pass_on(
    proof: bytes,
    name: str,
    write: Callable[[VerifyingKey], Tape],
    child: VerifyingKey,
    own_key: tuple[int, ...],
    backend: Backend,
    on_phase: OnPhase | None,
) -> bytes:
    verdict = verify(proof, AcceptancePolicy(KeyRing.of([child]), backend))
    statement, named, payee = (
        verdict.publics[WORD * place : WORD * (place + 1)]
        for place in (STATEMENT_WORD, KEY_WORD, PAYEE_WORD)
    )
    if named != own_key:
        reason = RejectionReason.STATEMENT_MISMATCH
        raise ProofRejected(reason, "publics/vk_self", own_key, named)
    publics = [*statement, *NO_KEY, *payee]
    key = proving_key(name, backend)
    program = program_about(name, write, child, kind_named(name).make_air().log_height)
    body = np.frombuffer(proof, dtype="<u4", offset=HEADER_BYTES).astype(np.uint32)
    trace = program.trace(program.values(publics, body, backend), backend)
    return prove_stark(key, publics, trace, backend, on_phase).data
