"""What a prover needs for one segment: the statement, its transactions and the old cells with their paths.

A witness is canonical bytes, so that a worker in another process needs nothing else. It is complete: the
trace is a function of it. It is untrusted: a wrong one makes no proof.
"""

from __future__ import annotations

from dataclasses import dataclass

from schemas.statement import TOUCHED_ARRAYS, SegmentStatement, decode_statement
from schemas.transactions import LINKED_KINDS, SUPPORTED_KINDS, Transaction, TransactionKind
from schemas.units import (
    AMOUNT_LIMIT,
    FEE_LIMIT,
    INDEX_LIMIT,
    LINK_ARRAYS,
    WORD_BYTES,
    Array,
)
from schemas.wire import Reader, Writer

WITNESS_VERSION = 2
"""First byte of a witness."""

STATEMENT_BYTES_LIMIT = 1 << 12
"""No statement preimage is longer."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One transaction of a segment, or a block's closing entry.

    Attributes:
        slot: Slot of its block.
        transaction: The body without address and key, or None for SETTLE.
        address_word: REGISTER: word of the address; otherwise empty.
        key_digest: REGISTER: word of the public key; otherwise empty.
    """

    slot: int
    transaction: Transaction | None
    address_word: bytes = b""
    key_digest: bytes = b""


@dataclass(frozen=True, slots=True)
class SegmentWitness:
    """Everything that a segment's trace is made of.

    Attributes:
        statement: What will be proven.
        entries: Transactions in order.
        accounts: (index, word) of every account cell the segment touches, before it, ascending.
        links: (array, shard, word) of every link it touches, before it, ascending.
        siblings: Multiproof siblings of every array of `TOUCHED_ARRAYS`; of one that the segment does not
            touch, the two words below its root.
    """

    statement: SegmentStatement
    entries: tuple[Entry, ...]
    accounts: tuple[tuple[int, bytes], ...]
    links: tuple[tuple[Array, int, bytes], ...]
    siblings: tuple[tuple[bytes, ...], ...]

    def encode(self) -> bytes:
        """Returns canonical bytes."""
        writer = Writer().u8(WITNESS_VERSION).sized(self.statement.preimage())
        writer.u32(len(self.entries))
        for entry in self.entries:
            _write_entry(writer, entry)
        writer.u32(len(self.accounts))
        for index, word in self.accounts:
            writer.u32(index).fixed(word, WORD_BYTES)
        writer.u32(len(self.links))
        for array, peer, word in self.links:
            writer.u8(array).u16(peer).fixed(word, WORD_BYTES)
        for words in self.siblings:
            writer.u32(len(words))
            for word in words:
                writer.fixed(word, WORD_BYTES)
        return writer.finish()


def _write_entry(writer: Writer, entry: Entry) -> None:
    transaction = entry.transaction
    if transaction is None:
        writer.u8(TransactionKind.SETTLE).u32(entry.slot)
        return
    writer.u8(transaction.kind).u32(entry.slot).u32(transaction.sender).u32(transaction.recipient)
    writer.u64(transaction.amount).u32(transaction.fee).u32(transaction.nonce)
    writer.u32(transaction.expiry)
    if transaction.kind in LINKED_KINDS:
        writer.u16(transaction.peer)
    if transaction.kind is TransactionKind.REGISTER:
        writer.fixed(entry.address_word, WORD_BYTES).fixed(entry.key_digest, WORD_BYTES)


def _read_entry(reader: Reader, chain: int, shard: int) -> Entry:
    number = reader.u8("entry.kind")
    slot = reader.u32("entry.slot", INDEX_LIMIT)
    if number == TransactionKind.SETTLE:
        return Entry(slot, None)
    if number not in (*SUPPORTED_KINDS, TransactionKind.INBOUND):
        raise reader.fail("entry.kind", f"{number} is no supported kind")
    kind = TransactionKind(number)
    sender = reader.u32("entry.sender", INDEX_LIMIT)
    recipient = reader.u32("entry.recipient", INDEX_LIMIT)
    amount = reader.u64("entry.amount", AMOUNT_LIMIT)
    fee = reader.u32("entry.fee", FEE_LIMIT)
    nonce = reader.u32("entry.nonce", INDEX_LIMIT)
    expiry = reader.u32("entry.expiry", INDEX_LIMIT)
    peer = reader.u16("entry.peer") if kind in LINKED_KINDS else 0
    body = Transaction(
        kind, chain, shard, sender, recipient, amount, fee, nonce, expiry, b"", b"", peer
    )
    if kind is not TransactionKind.REGISTER:
        return Entry(slot, body)
    return Entry(slot, body, reader.word("entry.address"), reader.word("entry.key"))


def decode_witness(data: bytes) -> SegmentWitness:
    """Reads a witness; inverse of `SegmentWitness.encode`.

    Raises:
        WireError: The bytes are not the canonical form of a witness.
    """
    reader = Reader(data, "witness")
    version = reader.u8("version")
    if version != WITNESS_VERSION:
        raise reader.fail("version", f"expected {WITNESS_VERSION}, got {version}")
    statement = decode_statement(reader.sized("statement", STATEMENT_BYTES_LIMIT))
    entries = tuple(
        _read_entry(reader, statement.chain, statement.shard)
        for _ in range(reader.u32("entries", INDEX_LIMIT))
    )
    accounts = tuple(
        (reader.u32("account.index", INDEX_LIMIT), reader.word("account.word"))
        for _ in range(reader.u32("accounts", INDEX_LIMIT))
    )
    links = tuple(_read_link(reader) for _ in range(reader.u32("links", INDEX_LIMIT)))
    siblings = tuple(
        tuple(reader.word("sibling") for _ in range(reader.u32("siblings", INDEX_LIMIT)))
        for _ in TOUCHED_ARRAYS
    )
    reader.finish()
    return SegmentWitness(statement, entries, accounts, links, siblings)


def _read_link(reader: Reader) -> tuple[Array, int, bytes]:
    number = reader.u8("link.array")
    if number not in LINK_ARRAYS:
        raise reader.fail("link.array", f"{number} is no array of links")
    return Array(number), reader.u16("link.peer"), reader.word("link.word")
