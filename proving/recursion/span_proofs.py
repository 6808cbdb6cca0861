"""Proofs of spans: segment proofs or span proofs in, one proof out; a proof and its span in, a verdict out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from proving.arithmetic.modulus import EXTENSION_DEGREE, WORD
from proving.backends.port import Backend, FieldArray, Hasher
from proving.errors import ProofRejected, ProvingError, RejectionReason
from proving.kinds import PROGRAMS, kind_named, verifying_key
from proving.prover import OnPhase
from proving.recursion.children import NO_KEY
from proving.recursion.join import JOIN_SLOTS, slot_inputs
from proving.recursion.lift import LARGE_LIFT_SLOTS, LIFT_SLOTS, WINDOW_PLACE
from proving.recursion.recursive_proofs import (
    body_of,
    fill_child,
    prove_recursive,
    recursive_publics,
    verify_recursive,
)
from proving.recursion.span import Span, join_spans, lift_spans, opens_window, span_problem
from proving.segment_proofs import LARGE_SEGMENT_KIND, SEGMENT_KIND, verify_segment
from proving.stark.encoding import read_header
from proving.stark.soundness import MINIMUM_PROVEN_BITS
from proving.verifier import VerifiedStatement
from schemas.errors import ParameterError
from schemas.statement import NUM_PUBLICS

LIFT_KIND, LARGE_LIFT_KIND, JOIN_KIND = "lift_s", "lift_l", "join"
SPAN_KINDS = (LIFT_KIND, LARGE_LIFT_KIND, JOIN_KIND)
"""Kinds of proof about spans."""

LIFTS = {
    SEGMENT_KIND: (LIFT_KIND, LIFT_SLOTS),
    LARGE_SEGMENT_KIND: (LARGE_LIFT_KIND, LARGE_LIFT_SLOTS),
}
"""Kind of the segments -> kind of their lift, and how many it takes."""


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
        proofs: Proofs of consecutive segments, over windows too, with one payee: at most `LIFT_SLOTS` small ones or
            `LARGE_LIFT_SLOTS` large ones.
        backend: Does the arithmetic.
        on_phase: Called after each phase.

    Raises:
        ParameterError: There are too few or too many, or they do not follow each other, by name.
        ProofError: One of them does not verify, or is of another kind than the first.
        ProvingError: Their payees differ.
    """
    segment, kind, slots = _lift_of(proofs)
    verified = [verify_segment(proof, backend, kinds=(segment,)) for proof in proofs]
    span = lift_spans([statement for statement, _ in verified], backend)
    payee = _one_payee([verdict.publics[NUM_PUBLICS - WORD :] for _, verdict in verified])
    publics = recursive_publics(kind, span.digest(backend), payee, backend)
    inputs = lift_inputs(proofs, slots)
    return SpanProof(span, prove_recursive(kind, publics, inputs, backend, on_phase))


def _lift_of(proofs: Sequence[bytes]) -> tuple[str, str, int]:
    """Returns the kind of the segments, of their lift, and its slots; the first proof names the kind.

    Raises:
        ParameterError: There are too few or too many.
    """
    if not proofs:
        raise ParameterError("a lift takes at least one segment")
    large = read_header(proofs[0]).kind == kind_named(LARGE_SEGMENT_KIND).number
    segment = LARGE_SEGMENT_KIND if large else SEGMENT_KIND
    kind, slots = LIFTS[segment]
    if len(proofs) > slots:
        raise ParameterError(f"{kind} takes 1..{slots} segments, got {len(proofs)}")
    return segment, kind, slots


def prove_join(
    children: Sequence[SpanProof],
    backend: Backend,
    on_phase: OnPhase | None = None,
    *,
    payee: Sequence[int] = NO_KEY,
) -> SpanProof:
    """Proves that verified spans follow each other.

    Args:
        children: Lifts or joins of adjacent spans, at most `JOIN_SLOTS`.
        backend: Does the arithmetic.
        on_phase: Called after each phase.
        payee: Word of who is paid for this join.

    Raises:
        ParameterError: There are too few or too many, or they do not follow each other, by name.
        ProofError: One of them does not verify.
    """
    if not 1 <= len(children) <= JOIN_SLOTS:
        raise ParameterError(f"a join takes 1..{JOIN_SLOTS} proofs, got {len(children)}")
    for child in children:
        verify_span(child, backend)
    span = join_spans([child.span for child in children], backend)
    publics = recursive_publics(JOIN_KIND, span.digest(backend), payee, backend)
    inputs = join_inputs(children, backend)
    return SpanProof(span, prove_recursive(JOIN_KIND, publics, inputs, backend, on_phase))


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
    statement = claim.span.digest(hasher)
    return verify_recursive(claim.data, statement, SPAN_KINDS, hasher, minimum_bits)


def lift_inputs(proofs: Sequence[bytes], slots: int) -> FieldArray:
    """Returns the private inputs of a lift: bodies of proofs, then two bits for every slot after the first.

    Args:
        proofs: As many proofs of one kind of segment or fewer; the last one fills the slots left.
        slots: Segments that the lift takes.
    """
    bodies = [body_of(proof) for proof in (*proofs, *[proofs[-1]] * (slots - len(proofs)))]
    bits = np.zeros((slots - 1, 2, EXTENSION_DEGREE), dtype=np.uint32)
    bits[: len(proofs) - 1, 0, 0] = 1
    windows = [body[WINDOW_PLACE] for body in bodies]
    bits[:, 1, 0] = [after == before for before, after in pairwise(windows)]
    return np.concatenate([*bodies, bits.reshape(-1)])


def join_inputs(children: Sequence[SpanProof], hasher: Hasher) -> FieldArray:
    """Returns the private inputs of a join, by `slot_inputs`; the last child fills the slots left."""
    _, lifts = PROGRAMS[JOIN_KIND]
    slots = slot_inputs([verifying_key(name, hasher) for name in lifts])
    inputs = np.zeros(slots[-1].same_window.stop, dtype=np.uint32)
    filled = [*children, *[children[-1]] * (JOIN_SLOTS - len(children))]
    for number, (slot, child) in enumerate(zip(slots, filled, strict=True)):
        fill_child(inputs, slot.child, child.data, trusted=(*lifts, JOIN_KIND), hasher=hasher)
        inputs[slot.span.start : slot.span.stop] = child.span.elements()
        inputs[slot.switch.start] = 0 < number < len(children)
        before = filled[number - 1].span
        inputs[slot.same_window.start] = number > 0 and not opens_window(before, child.span)
    return inputs


def _one_payee(payees: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    if len(set(payees)) > 1:
        raise ProvingError("the children name different payees")
    return payees[0]
