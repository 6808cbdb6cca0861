"""Proofs of ledger segments: a witness in, a proof out; a proof in, what it says about the ledger out."""

from __future__ import annotations

import time

from proving.backends.port import Backend, Hasher
from proving.errors import ProvingError
from proving.kinds import proving_key, verifying_key
from proving.ledger.air import LedgerAir
from proving.ledger.blame import name_failure
from proving.ledger.layout import Layout
from proving.ledger.permutation import hash_bytes
from proving.ledger.trace import build_trace, check_statement
from proving.ledger.witness import SegmentWitness
from proving.prover import OnPhase, PhaseSpan, StarkProof, prove_stark
from proving.stark.soundness import MINIMUM_PROVEN_BITS
from proving.verifier import AcceptancePolicy, KeyRing, VerifiedStatement, verify
from schemas.errors import InvariantError
from schemas.statement import Boundary, SegmentStatement
from schemas.units import STATE_ARRAYS, WORD_BYTES, ZERO_WORD
from schemas.wire import Writer

SEGMENT_KIND = "segment_s"
"""Kind of every segment proof made today."""


def segment_layout() -> Layout:
    """Returns the shape of the circuit that segments are cut for."""
    return LedgerAir().layout


def prove_segment(
    witness: SegmentWitness,
    backend: Backend,
    on_phase: OnPhase | None = None,
    *,
    payee: bytes = ZERO_WORD,
) -> StarkProof:
    """Proves a segment.

    Args:
        witness: From `proving.ledger.segments.cut_window` with `segment_layout`.
        backend: Does the arithmetic.
        on_phase: Called after each phase; the first is `witness`, the making of the trace.
        payee: Word that binds the proof to prover, job and epoch.

    Raises:
        ProvingError: The witness does not show its statement, or does not fit the circuit.
    """
    key = proving_key(SEGMENT_KIND, backend)
    air = key.verifying_key.air
    if not isinstance(air, LedgerAir):
        raise InvariantError(f"{SEGMENT_KIND} is no circuit of the ledger")
    started = time.perf_counter()
    trace, publics = build_trace(air, witness, backend, payee)
    if on_phase is not None:
        on_phase(PhaseSpan("witness", time.perf_counter() - started, int(trace.size)))
    try:
        return prove_stark(key, publics, trace, backend, on_phase)
    except ProvingError as error:
        failure = name_failure(air, trace, publics, backend)
        if failure is None:
            raise
        raise ProvingError(f"the witness does not satisfy the circuit: {failure}") from error


def verify_segment(
    proof: bytes, hasher: Hasher, minimum_bits: int = MINIMUM_PROVEN_BITS
) -> tuple[SegmentStatement, VerifiedStatement]:
    """Verifies a segment's proof and every rule on its statement that the circuit leaves to the verifier.

    Args:
        proof: Any bytes.
        hasher: Poseidon2.
        minimum_bits: Proven bits that the proof must have.

    Returns:
        What the proof says about the ledger, and the proof system's verdict.

    Raises:
        ProofMalformed: The bytes are no segment proof.
        ProofRejected: They are, of something that does not hold, or with too few bits.
    """
    keys = KeyRing.of([verifying_key(SEGMENT_KIND, hasher)])
    verdict = verify(proof, AcceptancePolicy(keys, hasher, minimum_bits))
    return check_statement(verdict.publics, hasher), verdict


def boundary_state_root(boundary: Boundary, hasher: Hasher) -> bytes:
    """Returns the state root of a boundary, as a block header's `post_state_root` says it.

    The same word as `proving.ledger.state.Ledger.state_root` of a ledger that stands there.
    """
    writer = Writer()
    for array in STATE_ARRAYS:
        writer.fixed(boundary.root(array), WORD_BYTES)
    return hash_bytes(hasher, "state", writer.u32(boundary.keys).finish())
