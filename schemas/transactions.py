"""Transactions as users sign them: kinds, records and canonical bytes.

The signed bytes are the body; its SHA-256 is the transaction's digest. The signature is no part of the
digest, so a second valid signature over the same body is the same transaction.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import IntEnum

from schemas.units import (
    ADDRESS_BYTES,
    AMOUNT_LIMIT,
    FEE_LIMIT,
    INDEX_LIMIT,
    PUBLIC_KEY_BYTES,
    SIGNATURE_BYTES,
)
from schemas.wire import Reader, Writer

BODY_VERSION = 1
"""First byte of every body."""

SIGNATURE_CONTEXT = b"ecliptica/transaction/v1"
"""Context string of a user's ML-DSA-44 signature over a body."""


class TransactionKind(IntEnum):
    """What a transaction does; the numbers are fixed for good and stand in the proven list.

    SETTLE is a block's own closing entry, INBOUND what another shard sent: neither is signed by anybody
    or read off the wire. Kinds from SHIELD to STAKE are reserved: their numbers are taken, admission
    answers `kind_not_supported`.
    """

    TRANSFER = 1
    REGISTER = 2
    ISSUE = 3
    SETTLE = 4
    SHIELD = 5
    UNSHIELD = 6
    PRIVATE = 7
    MAX_PRIVACY = 8
    STAKE = 9
    OUTBOUND = 10
    INBOUND = 11


SUPPORTED_KINDS = (
    TransactionKind.TRANSFER,
    TransactionKind.REGISTER,
    TransactionKind.ISSUE,
    TransactionKind.OUTBOUND,
)
"""Kinds that a user may sign today."""

LINKED_KINDS = (TransactionKind.OUTBOUND, TransactionKind.INBOUND)
"""Kinds that name another shard."""

BODY_BYTES = 36
"""Length of a body that names neither a key nor another shard."""

PEER_BYTES = 2
"""Bytes of another shard's number at the end of a body."""

REGISTER_BODY_BYTES = BODY_BYTES + ADDRESS_BYTES + PUBLIC_KEY_BYTES
"""Length of a registration's body."""

SIGNED_BYTES_LIMIT = REGISTER_BODY_BYTES + SIGNATURE_BYTES
"""The longest signed transaction."""


def signed_bytes(kind: int) -> int:
    """Returns the length of a signed transaction of a supported kind."""
    if kind == TransactionKind.REGISTER:
        return REGISTER_BODY_BYTES + SIGNATURE_BYTES
    return BODY_BYTES + (PEER_BYTES if kind == TransactionKind.OUTBOUND else 0) + SIGNATURE_BYTES


@dataclass(frozen=True, slots=True)
class Transaction:
    """A transaction's body.

    Attributes:
        kind: What it does.
        chain: Chain number, against replay on another chain.
        shard: Shard whose ledger executes it.
        sender: Account index that pays and signs; the reserve cell 0 for ISSUE. INBOUND: on shard `peer`.
        recipient: Account index that receives; 0 in REGISTER, where the ledger assigns the next index.
            OUTBOUND: on shard `peer`.
        amount: Units of 1e-9 ECLIPT, < 2^60; 0 in REGISTER.
        fee: Units of 1e-6 ECLIPT, < 2^30, paid by the sender on top of the amount.
        nonce: Number of transactions the sender has sent before this one.
        expiry: Last slot in which it is valid.
        address: REGISTER: 20 bytes of the new account; otherwise empty.
        public_key: REGISTER: 1312 bytes of its ML-DSA-44 key; otherwise empty.
        peer: The other shard: OUTBOUND goes to it, INBOUND comes from it; otherwise 0.
    """

    kind: TransactionKind
    chain: int
    shard: int
    sender: int
    recipient: int
    amount: int
    fee: int
    nonce: int
    expiry: int
    address: bytes = b""
    public_key: bytes = b""
    peer: int = 0

    def body(self) -> bytes:
        """Returns the canonical bytes that are signed.

        Raises:
            ParameterError: A field is outside its width or has the wrong length.
        """
        writer = Writer().u8(BODY_VERSION).u8(self.kind).u16(self.shard).u32(self.chain)
        writer.u32(self.sender).u32(self.recipient).u64(self.amount)
        writer.u32(self.fee).u32(self.nonce).u32(self.expiry)
        registers = self.kind is TransactionKind.REGISTER
        writer.fixed(self.address, ADDRESS_BYTES if registers else 0)
        writer.fixed(self.public_key, PUBLIC_KEY_BYTES if registers else 0)
        if self.kind in LINKED_KINDS:
            writer.u16(self.peer)
        return writer.finish()

    def digest(self) -> bytes:
        """Returns the transaction's identity: SHA-256 of its body, 32 bytes."""
        return hashlib.sha256(self.body()).digest()


@dataclass(frozen=True, slots=True)
class SignedTransaction:
    """A transaction with its sender's signature.

    Attributes:
        transaction: The body.
        signature: 2420 bytes of ML-DSA-44 over the body with `SIGNATURE_CONTEXT`.
    """

    transaction: Transaction
    signature: bytes

    def encode(self) -> bytes:
        """Returns body and signature, one after the other.

        Raises:
            ParameterError: A field is outside its width or has the wrong length.
        """
        writer = Writer()
        body = self.transaction.body()
        writer.fixed(body, len(body)).fixed(self.signature, SIGNATURE_BYTES)
        return writer.finish()


def _read_body(reader: Reader) -> Transaction:
    version = reader.u8("version")
    if version != BODY_VERSION:
        raise reader.fail("version", f"expected {BODY_VERSION}, got {version}")
    number = reader.u8("kind")
    if number not in SUPPORTED_KINDS:
        known = number in set(TransactionKind)
        raise reader.fail("kind", f"{number} is {'not supported' if known else 'unknown'}")
    kind = TransactionKind(number)
    shard = reader.u16("shard")
    chain = reader.u32("chain")
    sender = reader.u32("sender", INDEX_LIMIT)
    recipient = reader.u32("recipient", INDEX_LIMIT)
    amount = reader.u64("amount", AMOUNT_LIMIT)
    fee = reader.u32("fee", FEE_LIMIT)
    nonce = reader.u32("nonce", INDEX_LIMIT)
    expiry = reader.u32("expiry", INDEX_LIMIT)
    address = public_key = b""
    peer = reader.u16("peer") if kind is TransactionKind.OUTBOUND else 0
    if kind is TransactionKind.REGISTER:
        if recipient:
            raise reader.fail("registration", "a registration names no recipient")
        if amount:
            raise reader.fail("registration", "a registration moves no amount")
        address = reader.fixed("address", ADDRESS_BYTES)
        public_key = reader.fixed("public_key", PUBLIC_KEY_BYTES)
    return Transaction(
        kind, chain, shard, sender, recipient, amount, fee, nonce, expiry, address, public_key, peer
    )


def decode_body(data: bytes) -> Transaction:
    """Reads a body; inverse of `Transaction.body`.

    Raises:
        WireError: The bytes are not the canonical form of a supported transaction. `where` names the
            field: `transaction.kind` for an unknown or unsupported kind, `transaction.amount` and
            `transaction.fee` for values past their limits.
    """
    reader = Reader(data, "transaction")
    transaction = _read_body(reader)
    reader.finish()
    return transaction


def decode_signed(data: bytes) -> SignedTransaction:
    """Reads a signed transaction; inverse of `SignedTransaction.encode`.

    Raises:
        WireError: The bytes are not the canonical form of a supported signed transaction.
    """
    reader = Reader(data, "transaction")
    transaction = _read_body(reader)
    signature = reader.fixed("signature", SIGNATURE_BYTES)
    reader.finish()
    return SignedTransaction(transaction, signature)
