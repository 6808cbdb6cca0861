"""A shard's final blocks and transactions as records, made by executing them; everything follows from a seed."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from operators.block_payload import TransactionReference, encode_payload
from operators.consensus_keys import CommitteeVerifier, ValidatorSigner
from operators.consensus_messages import encode_certificate
from operators.consensus_votes import Committee
from operators.final_headers import block_row
from operators.stage import Input
from proving.arithmetic.poseidon2 import NumpyHasher
from proving.ledger.rules import LedgerParameters
from proving.ledger.state import Ledger, genesis_ledger
from proving.signatures import KeyPair
from schemas.block import (
    Block,
    BlockHeader,
    Certificate,
    Phase,
    ValidatorSet,
    block_ballot,
    genesis_hash,
)
from schemas.tables import BLOCKS, TRANSACTIONS, Table, encode
from schemas.transactions import Transaction, TransactionKind
from schemas.units import PUBLIC_KEY_BYTES, SIGNATURE_BYTES

CHAIN, SHARD = 7, 0
SLOTS_PER_WINDOW = 4
HASHER = NumpyHasher()
VALIDATOR = KeyPair.from_seed(bytes(32))
VALIDATORS = ValidatorSet((VALIDATOR.public_key,))
COMMITTEE = Committee(CHAIN, SHARD, 0, VALIDATORS)
VERIFIER = CommitteeVerifier(VALIDATORS)


def window_of(slot: int) -> int:
    return slot // SLOTS_PER_WINDOW


def first_ledger() -> Ledger:
    key = bytes([1]) * PUBLIC_KEY_BYTES
    return genesis_ledger(LedgerParameters(CHAIN, SHARD), HASHER, key)


def certificate_of(
    header: BlockHeader, payload: bytes, pair: KeyPair = VALIDATOR, phase: Phase = Phase.FINALIZE
) -> bytes:
    """Returns the certificate of the committee of one, or of whoever signs in its place."""
    ballot = block_ballot(Block(header, payload), phase)
    signature = ValidatorSigner(pair).sign(ballot.signed_bytes(COMMITTEE.validators))
    return encode_certificate(Certificate(ballot, ((0, signature),)))


def register(name: int, nonce: int) -> Transaction:
    key = name.to_bytes(PUBLIC_KEY_BYTES, "little")
    address = name.to_bytes(20, "little")
    return Transaction(
        TransactionKind.REGISTER, CHAIN, SHARD, 0, 0, 0, 0, nonce, 30000, address, key
    )


def issue(recipient: int, amount: int, nonce: int) -> Transaction:
    return Transaction(TransactionKind.ISSUE, CHAIN, SHARD, 0, recipient, amount, 0, nonce, 30000)


def transfer(sender: int, recipient: int, amount: int, nonce: int) -> Transaction:
    return Transaction(
        TransactionKind.TRANSFER, CHAIN, SHARD, sender, recipient, amount, 1000, nonce, 30000
    )


def record(topic: str, table: Table, rows: Sequence[dict[str, object]], offset: int) -> Input:
    batch = table.batch(rows)
    _, body = encode(table, batch)
    return Input(topic, 0, offset, 1000 + offset, table.fingerprint, body, batch)


@dataclass
class History:
    """Blocks over a ledger; each block's transactions are one record of their own."""

    ledger: Ledger = field(default_factory=first_ledger)
    tip: bytes = genesis_hash(CHAIN, SHARD)
    headers: list[BlockHeader] = field(default_factory=list)
    blocks: list[Input] = field(default_factory=list)
    transactions: list[Input] = field(default_factory=list)

    def add(self, slot: int, transactions: Sequence[Transaction]) -> None:
        references = []
        if transactions:
            references = self._submit(transactions)
        height = len(self.headers) + 1
        effects = self.ledger.execute_block(transactions, height, slot, window_of(slot))
        assert effects.rejected == ()
        payload = encode_payload(references)
        header = BlockHeader(
            chain=CHAIN,
            shard=SHARD,
            epoch=0,
            height=height,
            slot=slot,
            view=height,
            parent_view=height - 1,
            parent_hash=self.tip,
            payload_hash=hashlib.sha256(payload).digest(),
            post_state_root=effects.state_root,
            transactions_root=effects.transactions_root,
            transaction_count=len(transactions),
            proposer=0,
        )
        self.tip = header.block_hash()
        self.headers.append(header)
        self.blocks.append(self._block_record(header, payload, len(self.blocks)))

    def _submit(self, transactions: Sequence[Transaction]) -> list[TransactionReference]:
        offset = len(self.transactions)
        rows: list[dict[str, object]] = [
            {"body": t.body(), "signature": bytes(SIGNATURE_BYTES), "submitted_millis": 5}
            for t in transactions
        ]
        self.transactions.append(record(f"tx.{SHARD}", TRANSACTIONS, rows, offset))
        return [TransactionReference(offset, row, t.digest()) for row, t in enumerate(transactions)]

    def _block_record(self, header: BlockHeader, payload: bytes, offset: int) -> Input:
        row = block_row(header, payload, certificate_of(header, payload))
        return record(f"blocks.{SHARD}", BLOCKS, [row], offset)


@functools.cache
def small_history() -> History:
    """Windows 0 and 2 with transactions, 3 empty, and a block of window 5 that closes the last."""
    history = History()
    history.add(0, [register(2 + i, i) for i in range(3)])
    history.add(2, [issue(16 + i, 10**12, 3 + i) for i in range(3)])
    history.add(9, [transfer(16, 17, 1000, 0), transfer(17, 18, 5, 0)])
    history.add(10, [transfer(16, 17, 1, 1 + i) for i in range(70)])
    history.add(11, [transfer(18, 16, 7, 0)])
    history.add(13, [])
    history.add(21, [])
    return history
