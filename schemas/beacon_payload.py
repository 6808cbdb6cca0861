"""The payload of a beacon block: which proofs on the log it accepts, window by window, and which run of all shards.

A run's statement stands in the payload, so whoever has the payload of a final block needs no log to know what the
validators have accepted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from schemas.errors import WireError
from schemas.run import RUN_BYTES, RunStatement
from schemas.units import INDEX_LIMIT
from schemas.wire import Reader, Writer

PAYLOAD_VERSION = 2

MAX_WINDOWS = 64
"""Windows that one block may accept."""

MAX_SEGMENTS = 1024
"""Segment proofs that one block may accept; checking one takes about 0.2 s."""

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
    """

    windows: tuple[WindowAcceptance, ...]
    run: RunAcceptance | None = None

    @property
    def count(self) -> int:
        """Number of proofs."""
        return sum(len(window.proofs) for window in self.windows) + (self.run is not None)


def encode_acceptances(
    windows: Sequence[WindowAcceptance], run: RunAcceptance | None = None
) -> bytes:
    """Returns the canonical payload.

    Raises:
        ParameterError: A number does not fit its field.
    """
    writer = Writer().u8(PAYLOAD_VERSION).u16(len(windows))
    for window in windows:
        writer.u32(window.shard).u32(window.window).u16(len(window.proofs))
        for proof in window.proofs:
            _write_reference(writer, proof)
    writer.u8(run is not None)
    if run is not None:
        writer.fixed(run.run.to_bytes(), RUN_BYTES)
        _write_reference(writer, run.proof)
    return writer.finish()


def decode_acceptances(payload: bytes) -> Acceptances:
    """Inverse of `encode_acceptances`.

    Raises:
        WireError: The bytes are not canonical, or name too much or no proof for a window.
    """
    reader = Reader(payload, "beacon")
    if reader.u8("version") != PAYLOAD_VERSION:
        raise reader.fail("version", f"expected {PAYLOAD_VERSION}")
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
    reader.finish()
    return Acceptances(tuple(windows), run)


def accepted_root(parent: bytes, payload: bytes) -> bytes:
    """Returns the root after a block: SHA-256 over the root before and the payload's hash."""
    digest = hashlib.sha256(payload).digest()
    return hashlib.sha256(b"ecliptica/beacon/1" + parent + digest).digest()


def _write_reference(writer: Writer, proof: ProofReference) -> None:
    writer.u64(proof.offset).u32(proof.row).fixed(proof.sha256, DIGEST_BYTES)


def _read_reference(reader: Reader) -> ProofReference:
    offset, row = reader.u64("offset", 2**63), reader.u32("row", 2**31)
    return ProofReference(offset, row, reader.fixed("sha256", DIGEST_BYTES))
