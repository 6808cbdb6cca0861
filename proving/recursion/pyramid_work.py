"""The work of one node of the pyramid as canonical bytes: proofs below it in, one proof out.

Five kinds of node: a lift of segments, a join of spans, an epoch of shards, a day of runs, and its wrapping for light
clients. What a node will say follows from what its children say, so it is known before anything is proven.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from proving.arithmetic.modulus import WORD
from proving.backends.port import Backend, Hasher
from proving.prover import OnPhase
from proving.recursion.day import DAY_SLOTS
from proving.recursion.epoch import EPOCH_SLOTS
from proving.recursion.global_proofs import (
    EpochChildren,
    GlobalProof,
    prove_day,
    prove_epoch,
    verify_run,
)
from proving.recursion.global_span import GlobalSpan, join_runs, merge_shards
from proving.recursion.join import JOIN_SLOTS
from proving.recursion.lift import LIFT_SLOTS
from proving.recursion.shard_part import LinkHeads, ShardPart
from proving.recursion.span import Span, join_spans, lift_spans, read_span_bytes
from proving.recursion.span_proofs import SpanProof, prove_join, prove_lift, verify_span
from proving.recursion.wrap_proofs import prove_wrap, verify_wrap
from proving.segment_proofs import verify_segment
from proving.stark.soundness import MINIMUM_PROVEN_BITS
from proving.verifier import VerifiedStatement
from schemas.errors import WireError
from schemas.run import RUN_BYTES
from schemas.statement import read_boundary
from schemas.units import INDEX_LIMIT, SHARD_LIMIT, WORD_BYTES
from schemas.wire import Reader, Writer

WORK_VERSION = 1
"""First byte of the bytes."""

PROOF_LIMIT = 2**23
"""No proof is longer, bytes."""

STATEMENT_LIMIT = 2**12
"""No statement is longer, bytes."""

Said = Span | GlobalSpan
"""What a node says."""


@dataclass(frozen=True, slots=True)
class LiftWork:
    """Segments' proofs to lift, 1 .. `LIFT_SLOTS`."""

    proofs: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class JoinWork:
    """Spans to join, 1 .. `JOIN_SLOTS`."""

    children: tuple[SpanProof, ...]


@dataclass(frozen=True, slots=True)
class EpochWork:
    """What all shards did."""

    children: EpochChildren


@dataclass(frozen=True, slots=True)
class DayWork:
    """Runs to join, 1 .. `DAY_SLOTS`."""

    children: tuple[GlobalProof, ...]


@dataclass(frozen=True, slots=True)
class WrapWork:
    """A day's proof to be made small for light clients."""

    child: GlobalProof


Work = LiftWork | JoinWork | EpochWork | DayWork | WrapWork

_NUMBERS: dict[type[Work], int] = {
    LiftWork: 1,
    JoinWork: 2,
    EpochWork: 3,
    DayWork: 4,
    WrapWork: 5,
}


def said_bytes(said: Said) -> bytes:
    """Returns what a node says as canonical bytes: its elements, little-endian, four bytes each."""
    return np.array(said.elements(), dtype="<u4").tobytes()


def said_digest(said: Said, hasher: Hasher) -> bytes:
    """Returns the word that stands for it, 32 bytes."""
    return np.array(said.digest(hasher), dtype="<u4").tobytes()


def read_said(data: bytes) -> Said:
    """Reads what `said_bytes` wrote; a run is 5 words and a span 24.

    Raises:
        WireError: The bytes are neither.
    """
    reader = Reader(data, "said")
    said = GlobalSpan.read(reader) if len(data) == RUN_BYTES else read_span_bytes(reader)
    reader.finish()
    return said


def verify_said(
    said: Said,
    proof: bytes,
    hasher: Hasher,
    minimum_bits: int = MINIMUM_PROVEN_BITS,
    *,
    is_wrapped: bool = False,
) -> VerifiedStatement:
    """Verifies that a proof shows what a node says; a run's proof may be the one for light clients.

    Raises:
        ProofError: It does not.
    """
    if is_wrapped and isinstance(said, GlobalSpan):
        return verify_wrap(GlobalProof(said, proof), hasher, minimum_bits)
    if isinstance(said, Span):
        return verify_span(SpanProof(said, proof), hasher, minimum_bits)
    return verify_run(GlobalProof(said, proof), hasher, minimum_bits)


def say(work: Work, hasher: Hasher) -> Said:
    """Returns what the node says.

    Raises:
        ParameterError: The children do not fit together, by name.
        ProofError: A segment's proof does not hold.
    """
    if isinstance(work, LiftWork):
        return lift_spans([verify_segment(proof, hasher)[0] for proof in work.proofs], hasher)
    if isinstance(work, JoinWork):
        return join_spans([child.span for child in work.children], hasher)
    if isinstance(work, WrapWork):
        return work.child.run
    if isinstance(work, DayWork):
        return join_runs([child.run for child in work.children], hasher)
    children = work.children
    return merge_shards(
        children.parts,
        children.windows,
        chain=children.chain,
        validators=children.validators,
        hasher=hasher,
    )


def prove_work(work: Work, backend: Backend, on_phase: OnPhase | None = None) -> tuple[Said, bytes]:
    """Proves a node; returns what it says and the proof.

    Raises:
        ParameterError: The children do not fit together, by name.
        ProofError: A child's proof does not hold.
    """
    if isinstance(work, LiftWork):
        lift = prove_lift(work.proofs, backend, on_phase)
        return lift.span, lift.data
    if isinstance(work, JoinWork):
        join = prove_join(work.children, backend, on_phase)
        return join.span, join.data
    if isinstance(work, WrapWork):
        wrapped = prove_wrap(work.child, backend, on_phase)
        return wrapped.run, wrapped.data
    if isinstance(work, DayWork):
        day = prove_day(work.children, backend, on_phase)
        return day.run, day.data
    epoch = prove_epoch(work.children, backend, on_phase)
    return epoch.run, epoch.data


def encode_work(work: Work) -> bytes:
    """Returns the canonical bytes."""
    writer = Writer().u8(WORK_VERSION).u8(_NUMBERS[type(work)])
    if isinstance(work, LiftWork):
        writer.u8(len(work.proofs))
        for proof in work.proofs:
            writer.sized(proof)
    elif isinstance(work, EpochWork):
        _write_epoch(writer, work.children)
    else:
        children = (work.child,) if isinstance(work, WrapWork) else work.children
        claims = [
            (child.span if isinstance(child, SpanProof) else child.run, child.data)
            for child in children
        ]
        writer.u8(len(claims))
        for said, proof in claims:
            writer.sized(said_bytes(said)).sized(proof)
    return writer.finish()


def decode_work(data: bytes) -> Work:
    """Reads what `encode_work` wrote.

    Raises:
        WireError: The bytes are not that.
    """
    reader = Reader(data, "work")
    if reader.u8("version") != WORK_VERSION:
        raise reader.fail("version", f"expected {WORK_VERSION}")
    number = reader.u8("kind")
    work: Work
    if number == _NUMBERS[LiftWork]:
        count = reader.u8("proofs", LIFT_SLOTS + 1)
        work = LiftWork(tuple(reader.sized("proof", PROOF_LIMIT) for _ in range(count)))
    elif number == _NUMBERS[JoinWork]:
        spans = [_read_claim(reader) for _ in range(reader.u8("children", JOIN_SLOTS + 1))]
        work = JoinWork(tuple(SpanProof(_as_span(said), proof) for said, proof in spans))
    elif number == _NUMBERS[DayWork]:
        runs = [_read_claim(reader) for _ in range(reader.u8("children", DAY_SLOTS + 1))]
        work = DayWork(tuple(GlobalProof(_as_run(said), proof) for said, proof in runs))
    elif number == _NUMBERS[WrapWork]:
        reader.u8("children", 2)
        said, proof = _read_claim(reader)
        work = WrapWork(GlobalProof(_as_run(said), proof))
    elif number == _NUMBERS[EpochWork]:
        work = EpochWork(_read_epoch(reader))
    else:
        raise reader.fail("kind", f"there is no node of kind {number}")
    reader.finish()
    return work


def _read_claim(reader: Reader) -> tuple[Said, bytes]:
    said = read_said(reader.sized("said", STATEMENT_LIMIT))
    return said, reader.sized("proof", PROOF_LIMIT)


def _as_span(said: Said) -> Span:
    if not isinstance(said, Span):
        raise WireError("work.said", "a join takes spans of one shard")
    return said


def _as_run(said: Said) -> GlobalSpan:
    if not isinstance(said, GlobalSpan):
        raise WireError("work.said", "a day takes runs of all shards")
    return said


def _write_epoch(writer: Writer, children: EpochChildren) -> None:
    windows = children.windows
    writer.u32(children.chain).u32(windows.start).u32(windows.stop)
    writer.fixed(np.array(children.validators, dtype="<u4").tobytes(), WORD_BYTES)
    writer.u8(len(children.parts))
    for part, claim in zip(children.parts, children.claims(), strict=True):
        part.at.write(writer)
        for heads in (part.sent, part.received, part.received_after):
            for head in heads:
                writer.fixed(head, WORD_BYTES)
        _write_optional(writer, claim)
    _write_optional(writer, children.filler)


def _write_optional(writer: Writer, claim: SpanProof | None) -> None:
    writer.u8(claim is not None)
    if claim is not None:
        writer.sized(said_bytes(claim.span)).sized(claim.data)


def _read_epoch(reader: Reader) -> EpochChildren:
    chain = reader.u32("chain", INDEX_LIMIT)
    windows = range(reader.u32("first", INDEX_LIMIT), reader.u32("end", INDEX_LIMIT))
    word = np.frombuffer(reader.word("validators"), dtype="<u4").tolist()
    count = reader.u8("shards", min(EPOCH_SLOTS + 1, SHARD_LIMIT))
    parts: list[ShardPart] = []
    proofs: list[bytes | None] = []
    for _ in range(count):
        at = read_boundary(reader, "at")
        sent, received, after = (_read_heads(reader, count) for _ in range(3))
        claim = _read_optional(reader)
        span, proof = (None, None) if claim is None else (claim.span, claim.data)
        parts.append(ShardPart(span, at, sent, received, after))
        proofs.append(proof)
    return EpochChildren(
        chain, windows, _as_word(word), tuple(parts), tuple(proofs), _read_optional(reader)
    )


def _as_word(elements: Sequence[int]) -> tuple[int, ...]:
    return tuple(int(element) for element in elements[:WORD])


def _read_heads(reader: Reader, count: int) -> LinkHeads:
    return tuple(reader.word("head") for _ in range(count))


def _read_optional(reader: Reader) -> SpanProof | None:
    if not reader.u8("is_there", 2):
        return None
    said, proof = _read_claim(reader)
    return SpanProof(_as_span(said), proof)
