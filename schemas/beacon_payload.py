"""The payload of a beacon block: which proofs on the log it accepts, which run of all shards, and evidence that it punishes.

Proofs are named window by window. A run's statement and evidence stand in the payload as they are, so whoever has the
payload of a final block needs no log to know what the validators have accepted and whom they have punished.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from schemas.block import MAX_EVIDENCE_BYTES
from schemas.errors import WireError
from schemas.run import RUN_BYTES, RunStatement
from schemas.units import INDEX_LIMIT
from schemas.wire import Reader, Writer

PAYLOAD_VERSION = 2
"""Of a payload without evidence, which older versions read too."""

EVIDENCE_VERSION = 3
"""Of a payload with evidence."""

MAX_WINDOWS = 64
"""Windows that one block may accept."""

MAX_SEGMENTS = 1024
"""Segment proofs that one block may accept; checking one takes about 0.2 s."""

MAX_EVIDENCE = 16
"""Pieces of evidence in one block: 81 KB, and two signatures to check for each."""

DIGEST_BYTES = 32


@dataclass(frozen=True, slots=True)
class ProofReference:
    """One proof on the topic `proofs`.

    Attributes:
        offset: Offset of its record, < 2^63.
        row: Row in the record.
        sha256: SHA-256 of the proof's bytes.
    """

    offset: int
    row: int
    sha256: bytes


@dataclass(frozen=True, slots=True)
class WindowAcceptance:
    """All proofs of one window.

    Attributes:
        shard: Shard.
        window: Window number.
        proofs: One per segment, in order.
    """

    shard: int
    window: int
    proofs: tuple[ProofReference, ...]


@dataclass(frozen=True, slots=True)
class RunAcceptance:
    """A proof about a run of all shards.

    Attributes:
        run: What it shows.
        proof: Where it is.
    """

    run: RunStatement
    proof: ProofReference


@dataclass(frozen=True, slots=True)
class Acceptances:
    """What a block accepts.

    Attributes:
        windows: Proven windows, in the order in which they are judged.
        run: At most one run, judged after the windows; a proof of one costs up to 0.25 s to check.
        evidence: Evidence of equivocation as `consensus_messages.encode_evidence` writes it, each judged by the state
            that the one before leaves; at most `MAX_EVIDENCE`. What the bytes say is not looked at here.
    """

    windows: tuple[WindowAcceptance, ...]
    run: RunAcceptance | None = None
    evidence: tuple[bytes, ...] = ()

    @property
    def count(self) -> int:
        """Number of proofs and pieces of evidence."""
        proofs = sum(len(window.proofs) for window in self.windows) + (self.run is not None)
        return proofs + len(self.evidence)


def encode_acceptances(
    windows: Sequence[WindowAcceptance],
    run: RunAcceptance | None = None,
    evidence: Sequence[bytes] = (),
) -> bytes:
    """Returns the canonical payload: of version 2 without evidence and of version 3 with some.

    Raises:
        ParameterError: A number does not fit its field.
    """
    version = EVIDENCE_VERSION if evidence else PAYLOAD_VERSION
    writer = Writer().u8(version).u16(len(windows))
    for window in windows:
        writer.u32(window.shard).u32(window.window).u16(len(window.proofs))
        for proof in window.proofs:
            _write_reference(writer, proof)
    writer.u8(run is not None)
    if run is not None:
        writer.fixed(run.run.to_bytes(), RUN_BYTES)
        _write_reference(writer, run.proof)
    if evidence:
        writer.u8(len(evidence))
        for piece in evidence:
            writer.sized(piece)
    return writer.finish()


def decode_acceptances(payload: bytes) -> Acceptances:
    """Inverse of `encode_acceptances`.

    Raises:
        WireError: The bytes are not canonical, name too much or no proof for a window, or hold too much evidence.
    """
    reader = Reader(payload, "beacon")
    version = reader.u8("version")
    if version not in {PAYLOAD_VERSION, EVIDENCE_VERSION}:
        raise reader.fail("version", f"expected {PAYLOAD_VERSION} or {EVIDENCE_VERSION}")
    windows = []
    left = MAX_SEGMENTS
    for _ in range(reader.u16("windows", MAX_WINDOWS + 1)):
        shard, window = reader.u32("shard", INDEX_LIMIT), reader.u32("window", INDEX_LIMIT)
        count = reader.u16("proofs", left + 1)
        if count == 0:
            raise WireError("beacon.proofs", "a window without proofs is not accepted")
        left -= count
        proofs = tuple(_read_reference(reader) for _ in range(count))
        windows.append(WindowAcceptance(shard, window, proofs))
    run = None
    if reader.u8("runs", 2):
        statement = RunStatement.read(reader)
        run = RunAcceptance(statement, _read_reference(reader))
    evidence: tuple[bytes, ...] = ()
    if version == EVIDENCE_VERSION:
        count = reader.u8("evidence", MAX_EVIDENCE + 1)
        if count == 0:
            raise reader.fail("evidence", "there is none")
        evidence = tuple(reader.sized("evidence", MAX_EVIDENCE_BYTES) for _ in range(count))
    reader.finish()
    return Acceptances(tuple(windows), run, evidence)


def accepted_root(parent: bytes, payload: bytes, fraud: bytes | None = None) -> bytes:
    """Returns the root after a block: SHA-256 over the root before, the payload's hash and the state of fraud.

    Args:
        parent: Root before, 32 bytes.
        payload: The block's payload.
        fraud: Digest of the state of fraud after the block, 32 bytes; None on a chain without bonds, whose roots
            do not have it.
    """
    digest = hashlib.sha256(payload).digest()
    if fraud is None:
        return hashlib.sha256(b"ecliptica/beacon/1" + parent + digest).digest()
    return hashlib.sha256(b"ecliptica/beacon/2" + parent + digest + fraud).digest()


def _write_reference(writer: Writer, proof: ProofReference) -> None:
    writer.u64(proof.offset).u32(proof.row).fixed(proof.sha256, DIGEST_BYTES)


def _read_reference(reader: Reader) -> ProofReference:
    offset, row = reader.u64("offset", 2**63), reader.u32("row", 2**31)
    return ProofReference(offset, row, reader.fixed("sha256", DIGEST_BYTES))
