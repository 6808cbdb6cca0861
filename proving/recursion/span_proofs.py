"""Proofs of spans: segment proofs or span proofs in, one proof out; a proof and its span in, a verdict out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from proving.arithmetic.modulus import EXTENSION_DEGREE, WORD
from proving.backends.port import Backend, FieldArray, Hasher
from proving.errors import ProofRejected, ProvingError, RejectionReason
from proving.kinds import proving_key, verifying_key
from proving.prover import OnPhase, prove_stark
from proving.recursion.join import JOIN_SLOTS, SlotInputs, join_tape, slot_inputs
from proving.recursion.lift import LIFT_SLOTS, lift_tape
from proving.recursion.programs import (
    KEY_WORD,
    PAYEE_WORD,
    STATEMENT_WORD,
    program_about,
)
from proving.recursion.span import Span, join_spans, lift_spans, opens_window, span_problem
from proving.segment_proofs import SEGMENT_KIND, verify_segment
from proving.stark.encoding import HEADER_BYTES, read_header
from proving.stark.soundness import MINIMUM_PROVEN_BITS
from proving.verifier import AcceptancePolicy, KeyRing, VerifiedStatement, verify
from schemas.errors import ParameterError
from schemas.statement import NUM_PUBLICS
from schemas.units import ZERO_WORD, word_elements

LIFT_KIND, JOIN_KIND = "lift_s", "join"
"""Kinds of proof about spans."""

NO_KEY = tuple(word_elements(ZERO_WORD))
"""What a lift names as its own key: none of its children is of its kind."""


@dataclass(frozen=True, slots=True)
class SpanProof:
    """A proof about a span.

    Attributes:
        span: What it says.
        data: The proof's bytes.
    """

    span: Span
    data: bytes


def prove_lift(
    proofs: Sequence[bytes], backend: Backend, on_phase: OnPhase | None = None
) -> SpanProof:
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
    span = lift_spans([statement for statement, _ in verified])
    payee = _one_payee([verdict.publics[NUM_PUBLICS - WORD :] for _, verdict in verified])
    publics = span_publics(span, NO_KEY, payee, backend)
    program = program_about(LIFT_KIND, lift_tape, verifying_key(SEGMENT_KIND, backend))
    values = program.values(publics, lift_inputs(proofs), backend)
    trace = program.trace(values, backend)
    key = proving_key(LIFT_KIND, backend)
    return SpanProof(span, prove_stark(key, publics, trace, backend, on_phase).data)


def prove_join(
    children: Sequence[SpanProof], backend: Backend, on_phase: OnPhase | None = None
) -> SpanProof:
    """Proves that verified spans follow each other.

    Args:
        children: Lifts or joins of adjacent spans, at most `JOIN_SLOTS`, with one payee.
        backend: Does the arithmetic.
        on_phase: Called after each phase.

    Raises:
        ParameterError: There are too few or too many, or they do not follow each other, by name.
        ProofError: One of them does not verify.
        ProvingError: Their payees differ.
    """
    if not 1 <= len(children) <= JOIN_SLOTS:
        raise ParameterError(f"a join takes 1..{JOIN_SLOTS} proofs, got {len(children)}")
    verdicts = [verify_span(child, backend) for child in children]
    span = join_spans([child.span for child in children], backend)
    payee = _one_payee([_word(verdict, PAYEE_WORD) for verdict in verdicts])
    own_key = verifying_key(JOIN_KIND, backend).digest
    publics = span_publics(span, own_key, payee, backend)
    program = program_about(JOIN_KIND, join_tape, verifying_key(LIFT_KIND, backend))
    values = program.values(publics, join_inputs(children, backend), backend)
    trace = program.trace(values, backend)
    key = proving_key(JOIN_KIND, backend)
    return SpanProof(span, prove_stark(key, publics, trace, backend, on_phase).data)


def verify_span(
    claim: SpanProof, hasher: Hasher, minimum_bits: int = MINIMUM_PROVEN_BITS
) -> VerifiedStatement:
    """Verifies that a proof, a lift or a join, is about a span.

    Args:
        claim: Any bytes, and the span that they are said to show.
        hasher: Poseidon2.
        minimum_bits: Proven bits that the proof must have.

    Raises:
        ProofMalformed: The bytes are no proof about a span.
        ProofRejected: They are, of something that does not hold, of another span, or with too few bits; or
            the span breaks a rule that the circuits leave to its reader.
    """
    problem = span_problem(claim.span, hasher)
    if problem is not None:
        raise ProofRejected(RejectionReason.BAD_STATEMENT, "span", "a span in order", problem)
    keys = {name: verifying_key(name, hasher) for name in (LIFT_KIND, JOIN_KIND)}
    ring = KeyRing.of(keys.values())
    verdict = verify(claim.data, AcceptancePolicy(ring, hasher, minimum_bits))
    is_join = verdict.kind == keys[JOIN_KIND].kind
    own_key = keys[JOIN_KIND].digest if is_join else NO_KEY
    for place, wanted, name in (
        (KEY_WORD, own_key, "vk_self"),
        (STATEMENT_WORD, claim.span.digest(hasher), "statement"),
    ):
        stated = _word(verdict, place)
        if stated != wanted:
            reason = RejectionReason.STATEMENT_MISMATCH
            raise ProofRejected(reason, f"publics/{name}", wanted, stated)
    return verdict


def payee_of(verdict: VerifiedStatement) -> tuple[int, ...]:
    """Returns the payee word of a proof about a span."""
    return _word(verdict, PAYEE_WORD)


def span_publics(
    span: Span, own_key: Sequence[int], payee: Sequence[int], hasher: Hasher
) -> list[int]:
    """Returns the public inputs of a proof about a span: digest, `vk_self`, payee."""
    return [*span.digest(hasher), *own_key, *payee]


def lift_inputs(proofs: Sequence[bytes]) -> FieldArray:
    """Returns the private inputs of a lift: bodies of proofs, and the switches of the slots after the first.

    Args:
        proofs: One to `LIFT_SLOTS` proofs of the segment kind; the last one fills the slots left.
    """
    filled = [*proofs, *[proofs[-1]] * (LIFT_SLOTS - len(proofs))]
    switches = np.zeros((LIFT_SLOTS - 1, EXTENSION_DEGREE), dtype=np.uint32)
    switches[: len(proofs) - 1, 0] = 1
    return np.concatenate([*(_body(proof) for proof in filled), switches.reshape(-1)])


def join_inputs(children: Sequence[SpanProof], hasher: Hasher) -> FieldArray:
    """Returns the private inputs of a join, by `slot_inputs`; the last child fills the slots left."""
    slots = slot_inputs(verifying_key(LIFT_KIND, hasher))
    inputs = np.zeros(slots[-1].same_window.stop, dtype=np.uint32)
    filled = [*children, *[children[-1]] * (JOIN_SLOTS - len(children))]
    for number, (slot, child) in enumerate(zip(slots, filled, strict=True)):
        _fill_slot(inputs, slot, child, hasher)
        inputs[slot.switch.start] = 0 < number < len(children)
        before = filled[number - 1].span
        inputs[slot.same_window.start] = number > 0 and not opens_window(before, child.span)
    return inputs


def _fill_slot(inputs: FieldArray, slot: SlotInputs, child: SpanProof, hasher: Hasher) -> None:
    join_key, lift_key = (verifying_key(name, hasher) for name in (JOIN_KIND, LIFT_KIND))
    is_join = read_header(child.data).kind == join_key.kind
    key = join_key if is_join else lift_key
    inputs[slot.body.start : slot.body.stop] = _body(child.data)
    inputs[slot.cap.start : slot.cap.stop] = key.preprocessed_cap.reshape(-1)
    inputs[slot.span.start : slot.span.stop] = child.span.elements()
    inputs[slot.is_join.start] = is_join


def _body(proof: bytes) -> FieldArray:
    return np.frombuffer(proof, dtype="<u4", offset=HEADER_BYTES).astype(np.uint32)


def _one_payee(payees: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    if len(set(payees)) > 1:
        raise ProvingError("the children name different payees")
    return payees[0]


def _word(verdict: VerifiedStatement, place: int) -> tuple[int, ...]:
    return verdict.publics[WORD * place : WORD * (place + 1)]
