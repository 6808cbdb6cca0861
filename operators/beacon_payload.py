"""The payload of a beacon block: which proofs on the log it accepts, window by window."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from schemas.errors import WireError
from schemas.units import INDEX_LIMIT
from schemas.wire import Reader, Writer

PAYLOAD_VERSION = 1

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


def encode_acceptances(windows: Sequence[WindowAcceptance]) -> bytes:
    """Returns the canonical payload.

    Raises:
        ParameterError: A number does not fit its field.
    """
    writer = Writer().u8(PAYLOAD_VERSION).u16(len(windows))
    for window in windows:
        writer.u32(window.shard).u32(window.window).u16(len(window.proofs))
        for proof in window.proofs:
            writer.u64(proof.offset).u32(proof.row).fixed(proof.sha256, DIGEST_BYTES)
    return writer.finish()


def decode_acceptances(payload: bytes) -> tuple[WindowAcceptance, ...]:
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
    reader.finish()
    return tuple(windows)


def accepted_root(parent: bytes, payload: bytes) -> bytes:
    """Returns the root after a block: SHA-256 over the root before and the payload's hash."""
    digest = hashlib.sha256(payload).digest()
    return hashlib.sha256(b"ecliptica/beacon/1" + parent + digest).digest()


def _read_reference(reader: Reader) -> ProofReference:
    offset, row = reader.u64("offset", 2**63), reader.u32("row", 2**31)
    return ProofReference(offset, row, reader.fixed("sha256", DIGEST_BYTES))
