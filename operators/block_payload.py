"""The payload of a shard's block: references to transactions on `tx.<shard>`, in execution order.

A reference names a row of a record and the digest of its body, so that a block of a thousand transactions is
44 KB and the raw transactions travel once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from schemas.errors import WireError
from schemas.units import BLOCK_TRANSACTIONS_LIMIT
from schemas.wire import Reader, Writer

PAYLOAD_VERSION = 1
"""First byte of a payload."""

DIGEST_BYTES = 32
_REFERENCE_BYTES = 8 + 4 + DIGEST_BYTES


@dataclass(frozen=True, slots=True, order=True)
class TransactionReference:
    """Where a transaction lies.

    Attributes:
        offset: Offset of its record on `tx.<shard>`.
        row: Row within the record.
        digest: SHA-256 of its body.
    """

    offset: int
    row: int
    digest: bytes


def encode_payload(references: Sequence[TransactionReference]) -> bytes:
    """Returns canonical bytes.

    Raises:
        ParameterError: A number does not fit, or a digest is not 32 bytes.
    """
    writer = Writer().u8(PAYLOAD_VERSION).u32(len(references))
    for reference in references:
        writer.u64(reference.offset).u32(reference.row).fixed(reference.digest, DIGEST_BYTES)
    return writer.finish()


def decode_payload(payload: bytes) -> tuple[TransactionReference, ...]:
    """Reads a payload; inverse of `encode_payload`.

    Raises:
        WireError: The bytes are not canonical, or hold more references than a block may, or one place twice.
    """
    reader = Reader(payload, "payload")
    if reader.u8("version") != PAYLOAD_VERSION:
        raise reader.fail("version", f"expected {PAYLOAD_VERSION}")
    count = reader.u32("count", BLOCK_TRANSACTIONS_LIMIT)
    if len(payload) != 5 + count * _REFERENCE_BYTES:
        raise WireError("payload", f"{len(payload)} bytes do not hold {count} references")
    references = tuple(
        TransactionReference(
            reader.u64("offset"), reader.u32("row"), reader.fixed("digest", DIGEST_BYTES)
        )
        for _ in range(count)
    )
    reader.finish()
    if len({(entry.offset, entry.row) for entry in references}) != count:
        raise WireError("payload", "refers to one place twice")
    return references
