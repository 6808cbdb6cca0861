"""A desk of admission for tests: transactions and certified blocks in, letters out, always through a snapshot."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from operators.admission import Admission
from operators.block_payload import LinkEntry, TransactionReference, encode_payload
from operators.bounded_admission import AdmissionPlace, BoundedAdmission, open_admission
from operators.consensus_keys import ValidatorSigner
from operators.consensus_messages import encode_certificate
from operators.consensus_votes import Committee
from operators.event_log import Record
from operators.final_headers import block_row
from operators.held_transactions import read_transactions
from operators.log_memory import MemoryLog, MemoryStore
from operators.shard_start import FIRST_EPOCH
from operators.stage import Input, Output
from pipelines.account_keys import issuer_pair, seed_key
from pipelines.forge import Forge, Signed, index_of, sign
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
from schemas.config import AdmissionConfig, profile_configuration
from schemas.genesis import Genesis, encode_key
from schemas.tables import BLOCKS, TRANSACTIONS, Table, encode
from schemas.topics import all_topics
from schemas.units import ZERO_WORD

SEED, NOW, SLOT = 3, 1_000_000, 11
CHAIN, SHARD, PEER = 3, 0, 1
EXPIRY = SLOT + 1_000
VALIDATOR, STRANGER = (KeyPair.from_seed(bytes([name]) * 32) for name in (1, 2))
ALICE, BOB, CAROL = (KeyPair.from_seed(seed_key(SEED, name)) for name in (b"a", b"b", b"c"))
GENESIS = Genesis(
    chain=CHAIN,
    shards=2,
    slot_micros=1_000_000,
    slots_per_window=4,
    windows_per_epoch=2,
    start_millis=NOW - SLOT * 1_000,
    issuer=encode_key(issuer_pair(SEED).public_key),
    validators=(encode_key(VALIDATOR.public_key),),
)
COMMITTEE = Committee(CHAIN, SHARD, FIRST_EPOCH, ValidatorSet(GENESIS.validator_keys))
FORGE = Forge(CHAIN, SHARD, SEED, EXPIRY)
SHORT = Forge(CHAIN, SHARD, SEED, SLOT + 9)
FEE = 1_000
FEE_UNITS = FEE * 1_000
FUNDS = 900_000_000
PAID = 5_000_000
ENTRY = LinkEntry(PEER, index_of(7), index_of(1), PAID, 4)
Rows = list[dict[str, Any]]
Place = tuple[int, int]


def row_of(header: BlockHeader, content: bytes, pair: KeyPair = VALIDATOR) -> dict[str, Any]:
    ballot = block_ballot(Block(header, content), Phase.FINALIZE)
    signature = ValidatorSigner(pair).sign(ballot.signed_bytes(COMMITTEE.validators))
    certificate = encode_certificate(Certificate(ballot, ((0, signature),)))
    return block_row(header, content, certificate)


@dataclass
class Desk:
    """Admission of a shard, record by record, and what blocks can be made of."""

    stage: Admission = field(default_factory=lambda: Admission(GENESIS, SHARD, AdmissionConfig()))
    sent: dict[Place, Signed] = field(default_factory=dict)
    records: dict[int, Input] = field(default_factory=dict)
    height: int = 0
    tip: bytes = genesis_hash(CHAIN, SHARD)

    def __post_init__(self) -> None:
        self.stage = replace(self.stage, fetch=self.records.get)
        self.state = self.stage.initial()

    def balance(self, number: int) -> int:
        return self.state.ahead.account(index_of(number)).balance

    def send(self, *signed: Signed) -> list[str]:
        """Takes a record of transactions; returns why some were refused."""
        rows = [{"body": s.body, "signature": s.signature, "submitted_millis": 0} for s in signed]
        offset, batch = self.state.next_offset, TRANSACTIONS.batch(rows)
        self.sent |= {(offset, row): one for row, one in enumerate(signed)}
        fingerprint = TRANSACTIONS.fingerprint
        record = Input(f"tx.{SHARD}", 0, offset, NOW, fingerprint, b"", batch)
        self.records[offset] = record
        return [row["reason"] for row in rows_of(self.take(record), "rejected")]

    def final(self, *places: Place, slot: int = SLOT, received: Sequence[LinkEntry] = ()) -> None:
        """Takes a certified block of what was sent."""
        self.tell(self.block(*places, slot=slot, received=received))

    def block(
        self, *places: Place, slot: int = SLOT, received: Sequence[LinkEntry] = ()
    ) -> dict[str, Any]:
        references = [
            TransactionReference(*place, hashlib.sha256(self.sent[place].body).digest())
            for place in places
        ]
        return row_of(*self.content(encode_payload(references, received), slot))

    def content(self, content: bytes, slot: int = SLOT) -> tuple[BlockHeader, bytes]:
        header = BlockHeader(
            CHAIN, SHARD, FIRST_EPOCH, self.height + 1, slot, self.height + 1, self.height, self.tip,
            hashlib.sha256(content).digest(), ZERO_WORD, ZERO_WORD, 1, 0,
        )  # fmt: skip
        return header, content

    def tell(self, row: Mapping[str, Any]) -> None:
        """Takes a record of one row of `blocks.<shard>`."""
        batch = BLOCKS.batch([row])
        record = Input(
            f"blocks.{SHARD}", 0, self.state.blocks_end, NOW, BLOCKS.fingerprint, b"", batch
        )
        assert self.take(record) == []
        self.height, self.tip = self.state.height, self.state.headers.tip

    def take(self, record: Input) -> list[Output]:
        """Takes a record, and goes on from a snapshot."""
        state, outputs = self.stage.step(self.state, [record], NOW)
        self.state = self.stage.restore(self.stage.snapshot(state))
        assert self.state == state
        return outputs


OPENING = (
    FORGE.register(0, b"a" * 20, ALICE.public_key),
    FORGE.register(1, b"b" * 20, BOB.public_key),
    FORGE.issue(2, 0, FUNDS),
)
OPENED: tuple[Place, ...] = ((0, 0), (0, 1), (0, 2))


def rows_of(outputs: list[Output], topic: str) -> list[Any]:
    return [row for output in outputs if output.topic == topic for row in output.rows]


def paid(amount: int, nonce: int = 0, pair: KeyPair = ALICE, **fields: Any) -> Signed:
    sender, recipient = (1, 0) if pair is BOB else (0, 1)
    body = replace(FORGE.transfer(sender, recipient, amount, nonce), fee=FEE, **fields)
    return sign(pair, body)


def opened_desk() -> Desk:
    """Returns a desk where Alice and Bob have final accounts, and Alice has funds."""
    opened = Desk()
    assert opened.send(*OPENING) == []
    opened.final(*OPENED)
    assert not opened.state.pending
    return opened


class World:
    """A log with a desk beside it that is told the same."""

    def __init__(self) -> None:
        self.log = MemoryLog("memory://world", MemoryStore(now_millis=lambda: NOW))
        self.log.create_topics(dict.fromkeys(all_topics(GENESIS.shards), 1))
        self.desk = Desk()

    def put(self, *signed: Signed) -> None:
        """Appends a record of transactions."""
        rows = [{"body": s.body, "signature": s.signature, "submitted_millis": 0} for s in signed]
        self.append("tx.0", TRANSACTIONS, rows)
        self.desk.send(*signed)

    def finish(self, *places: Place, slot: int = SLOT) -> None:
        """Appends a certified block."""
        row = self.desk.block(*places, slot=slot)
        self.append("blocks.0", BLOCKS, [row])
        self.desk.tell(row)

    def append(self, topic: str, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
        """Appends a record of rows."""
        headers, body = encode(table, table.batch(rows))
        self.log.append(topic, [Record(body, headers)])

    def open(self, directory: Path) -> BoundedAdmission:
        """Starts an admission from a directory."""
        configuration = profile_configuration("local")
        fetch = partial(read_transactions, self.log, SHARD)
        stage = Admission(GENESIS, SHARD, AdmissionConfig(), fetch=fetch)
        directory.mkdir(exist_ok=True)
        return open_admission(stage, AdmissionPlace(self.log, directory, CHAIN), configuration)


def pump(admission: BoundedAdmission) -> None:
    """Lets it take all that is there."""
    while admission.pump(NOW):
        pass
