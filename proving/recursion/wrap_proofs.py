"""Proofs that end a day: a proof about a run in, a proof of the same run for light clients out; and verdicts."""

from __future__ import annotations

from collections.abc import Sequence

from proving.backends.port import Backend, Hasher
from proving.prover import OnPhase
from proving.recursion.children import NO_KEY
from proving.recursion.global_proofs import GlobalProof
from proving.recursion.recursive_proofs import (
    body_of,
    prove_recursive,
    recursive_publics,
    verify_recursive,
)
from proving.recursion.wrap import WRAP_KIND, WRAPPED_KIND
from proving.stark.soundness import MINIMUM_PROVEN_BITS
from proving.verifier import VerifiedStatement


def prove_wrap(
    claim: GlobalProof,
    backend: Backend,
    on_phase: OnPhase | None = None,
    *,
    payee: Sequence[int] = NO_KEY,
) -> GlobalProof:
    """Proves a run again for light clients.

    Args:
        claim: A proof of the kind `WRAPPED_KIND` and its run.
        backend: Does the arithmetic.
        on_phase: Called after each phase.
        payee: Word of who is paid for it.

    Raises:
        ProofError: The proof does not verify, is of another kind, or of another run.
        ProvingError: There is not enough memory.
    """
    statement = claim.run.digest(backend)
    verify_recursive(claim.data, statement, (WRAPPED_KIND,), backend)
    publics = recursive_publics(WRAP_KIND, statement, payee, backend)
    data = prove_recursive(WRAP_KIND, publics, body_of(claim.data), backend, on_phase)
    return GlobalProof(claim.run, data)


def verify_wrap(
    claim: GlobalProof, hasher: Hasher, minimum_bits: int = MINIMUM_PROVEN_BITS
) -> VerifiedStatement:
    """Verifies that a proof for light clients is about a run.

    Args:
        claim: Any bytes, and the run that they are said to show.
        hasher: Poseidon2, which names the run; the proof itself is made with SHA-256.
        minimum_bits: Proven bits that the proof must have.

    Raises:
        ProofMalformed: The bytes are no such proof.
        ProofRejected: They are, of something that does not hold, of another run, or with too few bits.
    """
    digest = claim.run.digest(hasher)
    return verify_recursive(claim.data, digest, (WRAP_KIND,), hasher, minimum_bits)
