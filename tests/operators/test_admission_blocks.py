"""Admission judges above final blocks: what no block can hold any more is taken back, what blocks pay is there."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from operators.admission import Admission
from operators.block_payload import LinkEntry, TransactionReference, encode_payload
from operators.bounded_admission import AdmissionPlace, BoundedAdmission, open_admission
from operators.consensus_keys import ValidatorSigner
from operators.consensus_messages import encode_certificate
from operators.consensus_votes import Committee
from operators.event_log import EventLog, Record
from operators.final_headers import block_row
from operators.held_transactions import read_transactions
from operators.log_memory import MemoryLog, MemoryStore
from operators.shard_start import FIRST_EPOCH
from operators.stage import Input, Output
from operators.topic_view import TopicView
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
    header_from_bytes,
)
from schemas.config import AdmissionConfig, profile_configuration
from schemas.errors import InvariantError
from schemas.genesis import Genesis, encode_key
from schemas.rejection import RejectionReason
from schemas.tables import ADMITTED, BLOCKS, TRANSACTIONS, encode
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
        if state.headers.first_open is None:
            assert self.state == state
        return outputs


OPENING = (
    FORGE.register(0, b"a" * 20, ALICE.public_key),
    FORGE.register(1, b"b" * 20, BOB.public_key),
    FORGE.issue(2, 0, FUNDS),
)
OPENED: tuple[Place, ...] = ((0, 0), (0, 1), (0, 2))


@pytest.fixture
def desk() -> Desk:
    """Alice and Bob have final accounts, and Alice has funds."""
    opened = Desk()
    assert opened.send(*OPENING) == []
    opened.final(*OPENED)
    assert not opened.state.pending
    return opened


def rows_of(outputs: list[Output], topic: str) -> list[Any]:
    return [row for output in outputs if output.topic == topic for row in output.rows]


def paid(amount: int, nonce: int = 0, pair: KeyPair = ALICE, **fields: Any) -> Signed:
    sender, recipient = (1, 0) if pair is BOB else (0, 1)
    body = replace(FORGE.transfer(sender, recipient, amount, nonce), fee=FEE, **fields)
    return sign(pair, body)


def test_an_account_goes_on_when_what_it_sent_has_expired(desk: Desk) -> None:
    """It must not wait for ever behind a transaction that no block can hold."""
    assert desk.send(paid(1, expiry=SLOT + 9), paid(2, 1)) == []
    assert desk.send(paid(3)) == [RejectionReason.NONCE_REPLAY]
    desk.final(slot=SLOT + 10)
    assert not desk.state.pending
    assert (desk.balance(0), desk.balance(1)) == (FUNDS, 0)
    assert desk.send(paid(3)) == []
    assert desk.balance(1) == 3


def test_what_was_paid_with_what_expired_waits_and_takes_effect_no_more(desk: Desk) -> None:
    assert desk.send(paid(PAID, expiry=SLOT + 9)) == []
    assert desk.send(paid(PAID // 2, pair=BOB)) == []
    desk.final(slot=SLOT + 10)
    assert list(desk.state.pending) == [(2, 0)]
    assert (desk.balance(0), desk.balance(1)) == (FUNDS, 0)
    assert desk.send(paid(PAID)) == []
    assert desk.send(paid(1, pair=BOB)) == []
    desk.final((3, 0), (2, 0), slot=SLOT + 11)
    assert not desk.state.pending, "the second payment of that nonce has lost"
    assert desk.balance(1) == PAID - PAID // 2 - FEE_UNITS


def test_what_waits_is_executed_once_it_is_final(desk: Desk) -> None:
    assert desk.send(paid(7), paid(8, 1), paid(9, 2)) == []
    before = desk.balance(0)
    desk.final((1, 0), (1, 1))
    assert list(desk.state.pending) == [(1, 2)]
    assert (desk.balance(0), desk.balance(1)) == (before, 24)
    assert desk.state.final.account(index_of(1)).balance == 15


def test_a_number_that_went_to_another_account_is_signed_for_by_its_key(desk: Desk) -> None:
    """Carol's account has number 3, until the registration before hers expires and she has number 2."""
    assert desk.send(SHORT.register(3, b"x" * 20, STRANGER.public_key)) == []
    assert desk.send(FORGE.register(4, b"c" * 20, CAROL.public_key)) == []
    assert desk.state.key_of(index_of(3)) == CAROL.public_key
    desk.final(slot=SLOT + 10)
    assert desk.state.ahead.num_keys == index_of(2)
    assert desk.send(FORGE.register(3, b"c" * 20, CAROL.public_key)) == []
    assert desk.state.key_of(index_of(2)) == CAROL.public_key


def test_a_key_that_changes_within_a_batch_is_asked_for_again(desk: Desk) -> None:
    """Signatures are verified for the whole batch before; blocks in it may give a number to another."""
    assert desk.send(SHORT.register(3, b"x" * 20, STRANGER.public_key)) == []
    foreign = sign(STRANGER, replace(FORGE.transfer(2, 0, 1, 0), fee=FEE))
    rows = [
        {"body": s.body, "signature": s.signature, "submitted_millis": 0}
        for s in (FORGE.register(3, b"c" * 20, CAROL.public_key), foreign)
    ]
    block = BLOCKS.batch([desk.block(slot=SLOT + 10)])
    records = [
        Input(f"blocks.{SHARD}", 0, desk.state.blocks_end, NOW, BLOCKS.fingerprint, b"", block),
        Input(f"tx.{SHARD}", 0, 2, NOW, TRANSACTIONS.fingerprint, b"", TRANSACTIONS.batch(rows)),
    ]
    state, outputs = desk.stage.step(desk.state, records, NOW)
    assert state.key_of(index_of(2)) == CAROL.public_key
    assert [row["reason"] for row in rows_of(outputs, "rejected")] == [
        RejectionReason.BAD_SIGNATURE
    ]


def test_an_account_that_is_gone_is_unknown_and_not_badly_signed_for(desk: Desk) -> None:
    assert desk.send(SHORT.register(3, b"c" * 20, CAROL.public_key)) == []
    desk.final(slot=SLOT + 10)
    payment = sign(CAROL, replace(FORGE.transfer(2, 0, 1, 0), fee=FEE))
    assert desk.send(payment) == [RejectionReason.UNKNOWN_ACCOUNT]


def test_what_expired_on_the_way_is_refused(desk: Desk) -> None:
    """It was stored in time, but blocks are beyond it: none can hold it."""
    desk.final(slot=SLOT + 10)
    assert desk.send(paid(1, expiry=SLOT + 9)) == [RejectionReason.EXPIRED]
    assert desk.send(paid(1)) == []


def test_what_another_shard_paid_can_be_spent_after_the_block_and_not_before(desk: Desk) -> None:
    payment = paid(PAID - FEE_UNITS, pair=BOB)
    assert desk.send(payment) == [RejectionReason.OVERDRAFT]
    desk.final(received=[ENTRY])
    assert desk.balance(1) == PAID
    assert desk.send(payment) == []
    assert desk.balance(1) == 0


def test_what_went_back_is_not_credited(desk: Desk) -> None:
    desk.final(received=[replace(ENTRY, recipient=index_of(9))])
    assert (desk.balance(1), desk.balance(9)) == (0, 0)


def test_a_block_may_hold_what_was_refused(desk: Desk) -> None:
    """A corrupt leader takes what is on the log; what is valid in its block is final, whatever admission said."""
    assert desk.send(paid(1, expiry=SLOT + 2)) == [RejectionReason.EXPIRED]
    desk.final((1, 0))
    assert desk.balance(1) == 1
    assert desk.send(paid(5, 1)) == []


def test_a_block_of_what_the_log_lacks_ends_the_stage(desk: Desk) -> None:
    desk.sent[7, 0] = paid(1)
    with pytest.raises(InvariantError, match="7/0, which the log lacks"):
        desk.final((7, 0))


def test_a_block_that_does_not_execute_ends_the_stage(desk: Desk) -> None:
    assert desk.send(paid(FUNDS)) == [RejectionReason.OVERDRAFT]
    with pytest.raises(InvariantError, match="block 2 is final and does not execute: overdraft"):
        desk.final((1, 0))


def test_final_blocks_may_know_a_lower_fee(desk: Desk) -> None:
    """The least fee stands in each process's configuration; one that was raised must not stop at older blocks."""
    limits = AdmissionConfig(min_fee_micros=2 * FEE)
    assert desk.send(paid(1)) == []
    desk.stage = replace(desk.stage, limits=limits)
    assert desk.send(paid(1, 1)) == [RejectionReason.FEE_TOO_LOW]
    desk.final((1, 0), (2, 0))
    assert desk.balance(1) == 2


def test_a_block_waits_for_the_certificate_of_a_descendant(desk: Desk) -> None:
    row = desk.block(received=[ENTRY])
    header = header_from_bytes(row["header"])
    desk.height, desk.tip = header.height, header.block_hash()
    late = desk.block()
    early = row | {"certificate": late["certificate"]}
    at = desk.state.blocks_end
    desk.tell(early)
    assert (desk.balance(1), desk.state.blocks_end) == (0, at), "a start takes it again"
    records = [
        Input(f"blocks.{SHARD}", 0, at + n, NOW, BLOCKS.fingerprint, b"", BLOCKS.batch([one]))
        for n, one in enumerate((early, late))
    ]
    desk.stage.step(desk.state, records, NOW)
    assert (desk.balance(1), desk.state.blocks_end) == (PAID, at + 2)


def stranger(desk: Desk) -> dict[str, Any]:
    return row_of(*desk.content(encode_payload([], [ENTRY])), STRANGER)


FORGERIES: dict[str, Callable[[Desk], dict[str, Any]]] = {
    "by a stranger": stranger,
    "another amount": lambda desk: (
        desk.block(received=[ENTRY])
        | {"payload": encode_payload([], [replace(ENTRY, amount=PAID + 1)])}
    ),
    "no header": lambda desk: desk.block(received=[ENTRY]) | {"header": b"noise"},
    "no certificate": lambda desk: desk.block(received=[ENTRY]) | {"certificate": b"noise"},
}


@pytest.mark.parametrize("forgery", sorted(FORGERIES))
def test_a_forged_block_pays_nothing_and_hides_no_true_one(forgery: str, desk: Desk) -> None:
    desk.tell(FORGERIES[forgery](desk))
    assert desk.balance(1) == 0
    desk.final(received=[ENTRY])
    assert desk.balance(1) == PAID


def test_a_start_judges_every_record_by_the_blocks_of_the_first_time(tmp_path: Path) -> None:
    """Without its snapshot and with more blocks on the log than there were, the same state results."""
    log = MemoryLog("memory://start", MemoryStore(now_millis=lambda: NOW))
    log.create_topics(dict.fromkeys(all_topics(2), 1))
    desk = Desk()

    def put(*signed: Signed) -> None:
        rows = [{"body": s.body, "signature": s.signature, "submitted_millis": 0} for s in signed]
        headers, body = encode(TRANSACTIONS, TRANSACTIONS.batch(rows))
        log.append("tx.0", [Record(body, headers)])
        desk.send(*signed)

    def finish(*places: Place, slot: int = SLOT) -> None:
        row = desk.block(*places, slot=slot)
        headers, body = encode(BLOCKS, BLOCKS.batch([row]))
        log.append("blocks.0", [Record(body, headers)])
        desk.tell(row)

    first = open_on(log, tmp_path / "first")
    put(*OPENING)
    pump(first)
    finish(*OPENED)
    put(paid(1, expiry=SLOT + 9), paid(2, 1))
    pump(first)
    put(paid(3))  # refused: the nonce is taken
    pump(first)
    finish(slot=SLOT + 10)
    put(paid(4))  # and now it is not
    pump(first)
    finish((3, 0), slot=SLOT + 11)
    again = open_on(log, tmp_path / "again")
    verdicts = [row["verdicts"] for row in TopicView(log).rows("admitted.0", ADMITTED)]
    assert verdicts == [b"\7", b"\3", b"\0", b"\1"]
    assert again.driver.state == first.driver.state
    assert first.driver.state.height == 2
    pump(again)
    put(paid(5, 1))
    pump(again)
    assert again.driver.state == desk.state


def open_on(log: EventLog, directory: Path) -> BoundedAdmission:
    def fetch(offset: int) -> Input | None:
        return read_transactions(log, SHARD, offset)

    configuration = profile_configuration("local")
    stage = Admission(GENESIS, SHARD, AdmissionConfig(), fetch=fetch)
    directory.mkdir()
    return open_admission(stage, AdmissionPlace(log, directory, CHAIN), configuration)


def pump(admission: BoundedAdmission) -> None:
    while admission.pump(NOW):
        pass
