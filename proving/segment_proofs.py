"""Proofs of ledger segments: a witness in, a proof out; a proof in, what it says about the ledger out."""

from __future__ import annotations

import time
from collections.abc import Iterable

from proving.backends.port import Backend, Hasher
from proving.errors import ProvingError
from proving.kinds import kind_named, proving_key, registered_kinds, verifying_key
from proving.ledger.air import LedgerAir
from proving.ledger.blame import name_failure
from proving.ledger.layout import Layout
from proving.ledger.permutation import hash_bytes
from proving.ledger.planning import LargeShape
from proving.ledger.trace import build_trace, check_statement
from proving.ledger.trace_nodes import compiled_columns
from proving.ledger.witness import SegmentWitness
from proving.prover import OnPhase, PhaseSpan, StarkProof, prove_stark
from proving.stark.air import Air
from proving.stark.soundness import MINIMUM_PROVEN_BITS
from proving.verifier import AcceptancePolicy, KeyRing, VerifiedStatement, verify
from schemas.errors import InvariantError
from schemas.statement import Boundary, SegmentStatement
from schemas.units import STATE_ARRAYS, WORD_BYTES, ZERO_WORD
from schemas.wire import Writer

SEGMENT_KIND = "segment_s"
"""Kind of the segments of little load."""

LARGE_SEGMENT_KIND = "segment_l"
"""Kind of the segments of windows, or rests of windows, with much load."""

SEGMENT_KINDS = (SEGMENT_KIND, LARGE_SEGMENT_KIND)
"""Kinds of proof that show a segment."""

SMALL_SEGMENTS = 32
"""Small segments that cost as much as a large one, rounded up; see proving/ledger/README.md, "Two shapes"."""


def segment_layout() -> Layout:
    """Returns the shape of the circuit that segments are cut for when the load is little."""
    return LedgerAir().layout


def large_shape() -> LargeShape:
    """Returns the circuit for much load, and when it is the cheaper one."""
    kind = kind_named(LARGE_SEGMENT_KIND)
    return LargeShape(kind.number, _ledger_air(kind.make_air(), kind.name).layout, SMALL_SEGMENTS)


def prove_segment(
    witness: SegmentWitness,
    backend: Backend,
    on_phase: OnPhase | None = None,
    *,
    payee: bytes = ZERO_WORD,
) -> StarkProof:
    """Proves a segment.

    Args:
        witness: From `proving.ledger.segments.cut_window` with `segment_layout` and perhaps `large_shape`.
        backend: Does the arithmetic.
        on_phase: Called after each phase; the first is `witness`, the making of the trace.
        payee: Word that binds the proof to prover, job and epoch.

    Raises:
        ProvingError: The witness does not show its statement, names no kind of segment, or does not fit the
            circuit.
    """
    kind = registered_kinds().by_number.get(witness.kind)
    if kind is None or kind.name not in SEGMENT_KINDS:
        raise ProvingError(f"a witness for kind {witness.kind}, which proves no segments")
    key = proving_key(kind.name, backend)
    air = _ledger_air(key.verifying_key.air, kind.name)
    started = time.perf_counter()
    trace, publics = build_trace(air, witness, backend, payee, columns_of=compiled_columns(backend))
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
    proof: bytes,
    hasher: Hasher,
    minimum_bits: int = MINIMUM_PROVEN_BITS,
    kinds: Iterable[str] = SEGMENT_KINDS,
) -> tuple[SegmentStatement, VerifiedStatement]:
    """Verifies a segment's proof and every rule on its statement that the circuit leaves to the verifier.

    Args:
        proof: Any bytes.
        hasher: Poseidon2.
        minimum_bits: Proven bits that the proof must have.
        kinds: Kinds that are accepted. The proof names one of their keys; everything about its shape comes
            from that key.

    Returns:
        What the proof says about the ledger, and the proof system's verdict.

    Raises:
        ProofMalformed: The bytes are no segment proof.
        ProofRejected: They are, of something that does not hold, or with too few bits.
    """
    keys = KeyRing.of(verifying_key(kind, hasher) for kind in kinds)
    verdict = verify(proof, AcceptancePolicy(keys, hasher, minimum_bits))
    return check_statement(verdict.publics, hasher), verdict


def _ledger_air(air: Air, name: str) -> LedgerAir:
    if not isinstance(air, LedgerAir):
        raise InvariantError(f"{name} is no circuit of the ledger")
    return air


def boundary_state_root(boundary: Boundary, hasher: Hasher) -> bytes:
    """Returns the state root of a boundary, as a block header's `post_state_root` says it.

    The same word as `proving.ledger.state.Ledger.state_root` of a ledger that stands there.
    """
    writer = Writer()
    for array in STATE_ARRAYS:
        writer.fixed(boundary.root(array), WORD_BYTES)
    return hash_bytes(hasher, "state", writer.u32(boundary.keys).finish())
