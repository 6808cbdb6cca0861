"""The verifier's steps for one proof under one key, in transcript order.

Shapes, lengths and parameters are the key's. After decoding, every step either returns or raises
`ProofRejected`; the bytes can reach no other outcome, and the work is the same for every proof of a key.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from proving.arithmetic.ntt import root_of_unity
from proving.backends.port import FieldArray, Hasher
from proving.commitments.domains import points_at
from proving.commitments.fri import check_layers, check_paths
from proving.errors import ProofRejected, RejectionReason
from proving.stark.air import PublicMessage
from proving.stark.challenge_field import (
    Extension,
    Residues,
    columns_of,
    lifted,
    product,
    rejoin,
    stack,
    weighted_rows,
)
from proving.stark.coordinates import add, subtract
from proving.stark.encoding import decode_proof
from proving.stark.extension_rows import inner_product, invert_rows
from proving.stark.key import VerifyingKey
from proving.stark.logup import check_public_messages
from proving.stark.protocol import (
    LookupValues,
    OpenedValues,
    batching_weights,
    combined_constraints,
    draw_lookup_values,
    open_transcript,
    opened_values,
    point_in_domain,
    quotient_side,
)
from proving.stark.transcript import Label, NotUniform, Transcript, TranscriptEvent
from schemas.errors import ParameterError


@dataclass(frozen=True, slots=True)
class StarkVerdict:
    """An accepted proof.

    Attributes:
        publics: Its public inputs.
        events: The transcript as the verifier heard it.
    """

    publics: tuple[int, ...]
    events: tuple[TranscriptEvent, ...]


def verify_stark(
    key: VerifyingKey,
    publics: Sequence[int] | None,
    proof: bytes,
    hasher: Hasher,
    *,
    heard: list[TranscriptEvent] | None = None,
) -> StarkVerdict:
    """Accepts a proof under a key or raises.

    Args:
        key: The verifying key.
        publics: Public inputs the proof must have; None takes those it states.
        proof: Any bytes.
        hasher: Poseidon2.
        heard: Receives the transcript as it goes on, so that it can be read of a refused proof too.

    Raises:
        ProofMalformed: The bytes are no proof under this key.
        ProofRejected: They are, of something that does not hold.
    """
    sections = decode_proof(key, proof)
    stated = _statement(key, publics, sections)
    transcript = open_transcript(key, stated, hasher)
    if heard is not None:
        heard += transcript.events
        transcript.events = heard
    lookup = _hear_lookups(key, stated, sections, transcript)
    challenge = Extension(transcript.challenge(Label.CONSTRAINT_CHALLENGE))
    transcript.absorb(Label.QUOTIENT_CAP, sections["quotient_cap"])
    _check_work(
        transcript, sections, "point_nonce", Label.POINT_GRINDING, key.parameters.deep_pow_bits
    )
    point = Extension(transcript.challenge(Label.POINT))
    require_point_outside(point, key)
    opened = opened_values(sections)
    transcript.absorb(Label.OPENINGS, stack([*opened.at_point(), *opened.at_next()]))
    _check_identity(key, opened, stated, lookup, challenge=challenge, point=point)
    bits = key.parameters.batching_pow_bits
    _check_work(transcript, sections, "batching_nonce", Label.BATCHING_GRINDING, bits)
    batching = Extension(transcript.challenge(Label.BATCHING_CHALLENGE))
    folding = _hear_layers(key, sections, transcript)
    bits = key.parameters.query_pow_bits
    _check_work(transcript, sections, "query_nonce", Label.QUERY_GRINDING, bits)
    count = key.parameters.num_queries
    indices = hear_indices(transcript, count, key.log_size)
    _check_rows(key, sections, indices, hasher)
    values = _batched_at(key, sections, opened, indices, challenge=batching, point=point)
    check_layers(
        hasher,
        sections,
        key.schedule,
        folding,
        indices=indices,
        values=values,
        digests=key.parameters.digests,
    )
    return StarkVerdict(stated, tuple(transcript.events))


def require_point_outside(point: Extension, key: VerifyingKey) -> None:
    """Refuses an out-of-domain point that lies in a domain, where quotients would divide by zero.

    Raises:
        ProofRejected: It does (probability below 2^-120 for a drawn point).
    """
    if point_in_domain(point, key):
        reason = RejectionReason.POINT_IN_DOMAIN
        raise ProofRejected(reason, "openings", "a point outside", point.coordinates)


def lookup_values(
    key: VerifyingKey, messages: Sequence[PublicMessage], transcript: Transcript
) -> LookupValues:
    """Draws the lookup challenges and sums the verifier's own messages.

    Raises:
        ProofRejected: A denominator vanishes (probability below 2^-130).
    """
    try:
        return draw_lookup_values(key.system, messages, transcript)
    except ZeroDivisionError as error:
        reason = RejectionReason.LOOKUP_DENOMINATOR_ZERO
        raise ProofRejected(reason, "public messages", "nonzero", 0) from error


def _statement(
    key: VerifyingKey, publics: Sequence[int] | None, sections: Mapping[str, FieldArray]
) -> tuple[int, ...]:
    stated = tuple(sections["publics"].tolist()) if "publics" in sections else ()
    if publics is not None and tuple(publics) != stated:
        reason = RejectionReason.STATEMENT_MISMATCH
        raise ProofRejected(reason, "publics", list(publics), list(stated))
    return stated


def _hear_lookups(
    key: VerifyingKey,
    publics: tuple[int, ...],
    sections: Mapping[str, FieldArray],
    transcript: Transcript,
) -> LookupValues | None:
    """Absorbs main and lookup caps; the verifier's own messages are computed here."""
    try:
        messages = key.air.public_messages(publics)
    except ParameterError as error:
        reason = RejectionReason.BAD_STATEMENT
        raise ProofRejected(reason, "publics", "a statement of the circuit", error) from error
    problem = check_public_messages(messages, key.system.buses)
    if problem:
        raise ProofRejected(
            RejectionReason.BAD_STATEMENT, "publics", "the circuit's buses", problem
        )
    transcript.absorb(Label.MAIN_CAP, sections["main_cap"])
    if not key.system.num_groups:
        return None
    bits = key.parameters.lookup_pow_bits
    _check_work(transcript, sections, "lookup_nonce", Label.LOOKUP_GRINDING, bits)
    values = lookup_values(key, messages, transcript)
    transcript.absorb(Label.LOOKUP_CAP, sections["lookup_cap"])
    return values


def hear_indices(transcript: Transcript, count: int, log_size: int) -> FieldArray:
    """Draws the query indices, (count,).

    Raises:
        ProofRejected: One was drawn from the residue P - 1 (probability below count / 2^30).
    """
    try:
        return transcript.indices(Label.QUERY_INDICES, count, log_size)
    except NotUniform as error:
        reason = RejectionReason.INDEX_NOT_UNIFORM
        raise ProofRejected(reason, "query indices", "residues below P - 1", error) from error


def _check_work(
    transcript: Transcript,
    sections: Mapping[str, FieldArray],
    section: str,
    label: Label,
    bits: int,
) -> None:
    if not bits:
        return
    nonce = int(sections[section][0])
    if not transcript.check_nonce(label, bits, nonce):
        raise ProofRejected(RejectionReason.PROOF_OF_WORK, section, f"{bits} zero bits", nonce)


def _check_identity(
    key: VerifyingKey,
    opened: OpenedValues,
    publics: tuple[int, ...],
    lookup: LookupValues | None,
    *,
    challenge: Extension,
    point: Extension,
) -> None:
    left = combined_constraints(key, opened, publics, lookup, challenge=challenge, point=point)
    right = quotient_side(key, opened, point)
    if left != right:
        reason = RejectionReason.CONSTRAINTS_NOT_SATISFIED
        raise ProofRejected(reason, "openings", left.coordinates, right.coordinates)


def _hear_layers(
    key: VerifyingKey, sections: Mapping[str, FieldArray], transcript: Transcript
) -> list[Extension]:
    challenges: list[Extension] = []
    bits = key.parameters.commit_pow_bits
    for number in range(len(key.schedule)):
        transcript.absorb(Label.LAYER_CAP, sections[f"layer{number}_cap"])
        _check_work(transcript, sections, f"layer{number}_nonce", Label.FOLDING_GRINDING, bits)
        challenges.append(Extension(transcript.challenge(Label.FOLDING_CHALLENGE)))
    transcript.absorb(Label.FINAL_POLYNOMIAL, sections["final_polynomial"])
    return challenges


def _check_rows(
    key: VerifyingKey, sections: Mapping[str, FieldArray], indices: FieldArray, hasher: Hasher
) -> None:
    for name in key.widths:
        cap = key.preprocessed_cap if name == "fixed" else sections[f"{name}_cap"]
        rows, paths = sections[f"{name}_rows"], sections.get(f"{name}_paths")
        check_paths(
            hasher,
            rows,
            paths,
            indices=indices,
            cap=cap,
            where=f"{name} columns",
            digests=key.parameters.digests,
        )


def _batched_at(
    key: VerifyingKey,
    sections: Mapping[str, FieldArray],
    opened: OpenedValues,
    indices: FieldArray,
    *,
    challenge: Extension,
    point: Extension,
) -> FieldArray:
    """Returns what the first FRI layer must hold at the (q,) indices, from the opened rows: (q, 5)."""
    here, following = opened.at_point(), opened.at_next()
    weights, next_weights = batching_weights(key, challenge)
    rows = np.concatenate([sections[f"{name}_rows"] for name in key.widths], axis=1)
    points = points_at(indices, key.log_size, key.log_size)
    result = _divided(rows, weights, here, points, point)
    if following:
        successor = point * root_of_unity(key.log_height)
        layout = key.system.layout
        next_rows = sections["main_rows"][:, : layout.main_next]
        if layout.lookup_next:
            running = sections["lookup_rows"][:, : layout.lookup_next]
            next_rows = np.concatenate([next_rows, running], axis=1)
        result = add(result, _divided(next_rows, next_weights, following, points, successor))
    return rejoin(result)


def _divided(
    rows: FieldArray,
    weights: FieldArray,
    values: list[Extension],
    points: FieldArray,
    point: Extension,
) -> list[Residues]:
    """Returns sum_j weight_j (row_j - value_j) / (x - point) for each query."""
    value = inner_product(weights, stack(values))
    numerator = subtract(weighted_rows(rows, weights), lifted(value))
    x = [Residues.of(points), *(Residues.of(np.zeros_like(points)) for _ in range(4))]
    bottoms = invert_rows(rejoin(subtract(x, lifted(point)))).astype(np.uint32)
    return product(numerator, columns_of(bottoms))
