"""Proofs of spans of segments: segment proofs in, one proof out; a proof and its span in, a verdict out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from proving.arithmetic.modulus import WORD
from proving.backends.port import Backend, FieldArray, Hasher
from proving.errors import ProofRejected, ProvingError, RejectionReason
from proving.kinds import proving_key, verifying_key
from proving.prover import OnPhase, StarkProof, prove_stark
from proving.recursion.lift import (
    LIFT_SLOTS,
    PAYEE_WORD,
    STATEMENT_WORD,
    SWITCH_ELEMENTS,
    lift_program,
)
from proving.recursion.span import Span, span_of
from proving.recursion.trace import fill_trace
from proving.segment_proofs import SEGMENT_KIND, verify_segment
from proving.stark.encoding import HEADER_BYTES
from proving.stark.soundness import MINIMUM_PROVEN_BITS
from proving.verifier import AcceptancePolicy, KeyRing, VerifiedStatement, verify
from schemas.errors import ParameterError
from schemas.statement import NUM_PUBLICS
from schemas.units import ZERO_WORD, word_elements

LIFT_KIND = "lift_s"
"""Kind of a proof about small segments."""


@dataclass(frozen=True, slots=True)
class Lifted:
    """A proof about a span.

    Attributes:
        span: What it says.
        proof: The proof.
    """

    span: Span
    proof: StarkProof


def lift_inputs(proofs: Sequence[bytes]) -> FieldArray:
    """Returns the circuit's private inputs: bodies of proofs, and the switches of the slots after the first.

    Args:
        proofs: One to `LIFT_SLOTS` proofs of the segment kind; the last one fills the slots left.
    """
    filled = [*proofs, *[proofs[-1]] * (LIFT_SLOTS - len(proofs))]
    bodies = [np.frombuffer(proof, dtype="<u4", offset=HEADER_BYTES) for proof in filled]
    switches = np.zeros((LIFT_SLOTS - 1, SWITCH_ELEMENTS), dtype=np.uint32)
    switches[: len(proofs) - 1, 0] = 1
    return np.concatenate([*bodies, switches.reshape(-1)]).astype(np.uint32)


def prove_lift(
    proofs: Sequence[bytes], backend: Backend, on_phase: OnPhase | None = None
) -> Lifted:
    """Proves that verified segments follow each other.

    Args:
        proofs: Proofs of consecutive segments of one window, at most `LIFT_SLOTS`, with one payee.
        backend: Does the arithmetic.
        on_phase: Called after each phase.

    Raises:
        ParameterError: There are too few or too many, or they do not follow each other, by name.
        ProofError: One of them does not verify.
        ProvingError: Their payees differ.
    """
    if not 1 <= len(proofs) <= LIFT_SLOTS:
        raise ParameterError(f"a lift takes 1..{LIFT_SLOTS} segments, got {len(proofs)}")
    verified = [verify_segment(proof, backend, kinds=(SEGMENT_KIND,)) for proof in proofs]
    span = span_of([statement for statement, _ in verified])
    payees = {verdict.publics[NUM_PUBLICS - WORD :] for _, verdict in verified}
    if len(payees) > 1:
        raise ProvingError("the segments name different payees")
    publics = lift_publics(span, payees.pop(), backend)
    program = lift_program(verifying_key(SEGMENT_KIND, backend))
    words = np.array(publics, dtype=np.uint32).reshape(-1, WORD)
    values = program.execution.run(words, lift_inputs(proofs), backend)
    program.execution.check(values)
    trace = fill_trace(program.execution, program.wiring, values, backend)
    key = proving_key(LIFT_KIND, backend)
    return Lifted(span, prove_stark(key, publics, trace, backend, on_phase))


def lift_publics(span: Span, payee: Sequence[int], hasher: Hasher) -> list[int]:
    """Returns the public inputs of a lift: digest of the span, no key of its own, payee."""
    return [*span.digest(hasher), *word_elements(ZERO_WORD), *payee]


def verify_lift(
    span: Span, proof: bytes, hasher: Hasher, minimum_bits: int = MINIMUM_PROVEN_BITS
) -> VerifiedStatement:
    """Verifies that a proof is about a span.

    Args:
        span: What it is said to show; its own rules are the caller's to check.
        proof: Any bytes.
        hasher: Poseidon2.
        minimum_bits: Proven bits that the proof must have.

    Raises:
        ProofMalformed: The bytes are no proof of a lift.
        ProofRejected: They are, of something that does not hold, of another span, or with too few bits.
    """
    keys = KeyRing.of([verifying_key(LIFT_KIND, hasher)])
    verdict = verify(proof, AcceptancePolicy(keys, hasher, minimum_bits))
    stated = verdict.publics[WORD * STATEMENT_WORD : WORD * (STATEMENT_WORD + 1)]
    wanted = span.digest(hasher)
    if stated != wanted:
        raise ProofRejected(RejectionReason.STATEMENT_MISMATCH, "publics/statement", wanted, stated)
    return verdict


def payee_of(verdict: VerifiedStatement) -> tuple[int, ...]:
    """Returns the payee word of a recursive proof."""
    return verdict.publics[WORD * PAYEE_WORD : WORD * (PAYEE_WORD + 1)]
