"""The payload of a shard's block: what it takes from other shards, its own transactions, what it sends.

What other shards have sent comes first, source by source; then the block's own transactions, as references to
`tx.<shard>`: a row of a record and the digest of its body, so that a block of a thousand is 44 KB and the raw
transactions travel once. What executing both has put on links to other shards is repeated in full, so that a
receiving shard needs nothing of the sender but its certified blocks.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from schemas.errors import WireError
from schemas.transactions import Transaction, TransactionKind
from schemas.units import AMOUNT_LIMIT, BLOCK_TRANSACTIONS_LIMIT, INDEX_LIMIT
from schemas.wire import Reader, Writer

PAYLOAD_VERSION = 2
"""First byte of a payload."""

DIGEST_BYTES = 32


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


@dataclass(frozen=True, slots=True, order=True)
class LinkEntry:
    """A word on the link between two shards, as the block of one of them holds it.

    Attributes:
        peer: The other shard: where the word comes from, or where it goes.
        sender: Account that paid, on the sending shard.
        recipient: Account that is paid, on the receiving shard.
        amount: Units of 1e-9 ECLIPT.
        nonce: The sender's nonce of the transaction that sent it.
    """

    peer: int
    sender: int
    recipient: int
    amount: int
    nonce: int

    def inbound(self, chain: int, shard: int) -> Transaction:
        """Returns what `shard` executes for an entry that comes from `peer`."""
        return Transaction(
            TransactionKind.INBOUND,
            chain,
            shard,
            self.sender,
            self.recipient,
            self.amount,
            fee=0,
            nonce=self.nonce,
            expiry=0,
            peer=self.peer,
        )


@dataclass(frozen=True, slots=True)
class Payload:
    """What a block holds.

    Attributes:
        received: What it takes from other shards and executes first; sources rise.
        references: Its own transactions, in execution order.
        sent: What executing both has put on links to other shards, in order.
    """

    received: tuple[LinkEntry, ...]
    references: tuple[TransactionReference, ...]
    sent: tuple[LinkEntry, ...]

    def inbound(self, chain: int, shard: int) -> list[Transaction]:
        """Returns what the shard executes before the block's own transactions."""
        return [entry.inbound(chain, shard) for entry in self.received]


def sent_entries(sent: Iterable[Transaction]) -> tuple[LinkEntry, ...]:
    """Returns what a block says about the transactions that its execution gives other shards to execute."""
    return tuple(
        LinkEntry(one.shard, one.sender, one.recipient, one.amount, one.nonce) for one in sent
    )


def encode_payload(
    references: Sequence[TransactionReference],
    received: Sequence[LinkEntry] = (),
    sent: Sequence[LinkEntry] = (),
) -> bytes:
    """Returns canonical bytes.

    Raises:
        ParameterError: A number does not fit, or a digest is not 32 bytes.
    """
    writer = Writer().u8(PAYLOAD_VERSION)
    _write_entries(writer, received)
    writer.u32(len(references))
    for reference in references:
        writer.u64(reference.offset).u32(reference.row).fixed(reference.digest, DIGEST_BYTES)
    _write_entries(writer, sent)
    return writer.finish()


def decode_payload(payload: bytes) -> Payload:
    """Reads a payload; inverse of `encode_payload`.

    Raises:
        WireError: The bytes are not canonical, or hold more entries than a block may, or one place twice, or
            sources that do not rise.
    """
    reader = Reader(payload, "payload")
    if reader.u8("version") != PAYLOAD_VERSION:
        raise reader.fail("version", f"expected {PAYLOAD_VERSION}")
    received = _read_entries(reader, "received")
    count = reader.u32("count", BLOCK_TRANSACTIONS_LIMIT)
    references = tuple(
        TransactionReference(
            reader.u64("offset"), reader.u32("row"), reader.fixed("digest", DIGEST_BYTES)
        )
        for _ in range(count)
    )
    sent = _read_entries(reader, "sent")
    reader.finish()
    if len({(entry.offset, entry.row) for entry in references}) != count:
        raise WireError("payload", "refers to one place twice")
    sources = [entry.peer for entry in received]
    if sources != sorted(sources):
        raise WireError("payload.received", "its sources do not rise")
    return Payload(received, references, sent)


def _write_entries(writer: Writer, entries: Sequence[LinkEntry]) -> None:
    writer.u32(len(entries))
    for entry in entries:
        writer.u16(entry.peer).u32(entry.sender).u32(entry.recipient)
        writer.u64(entry.amount).u32(entry.nonce)


def _read_entries(reader: Reader, name: str) -> tuple[LinkEntry, ...]:
    return tuple(
        LinkEntry(
            reader.u16(name),
            reader.u32(name, INDEX_LIMIT),
            reader.u32(name, INDEX_LIMIT),
            reader.u64(name, AMOUNT_LIMIT),
            reader.u32(name, INDEX_LIMIT),
        )
        for _ in range(reader.u32(name, BLOCK_TRANSACTIONS_LIMIT))
    )
