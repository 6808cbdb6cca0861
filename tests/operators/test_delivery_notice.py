"""Admission credits what a certified block took from other shards, once, and believes nobody else."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from operators.admission import Admission
from operators.admission_view import AdmissionView
from operators.block_payload import LinkEntry, encode_payload, sent_entries
from operators.consensus_keys import ValidatorSigner
from operators.consensus_messages import encode_certificate
from operators.consensus_votes import Committee
from operators.delivery_notice import notices_of
from operators.final_headers import block_row
from operators.shard_start import FIRST_EPOCH
from operators.stage import Input, Output
from pipelines.account_keys import issuer_pair, seed_key
from pipelines.forge import Forge, Signed, index_of, sign
from proving.ledger.words import returned_by
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
from schemas.config import AdmissionConfig
from schemas.genesis import Genesis, encode_key
from schemas.rejection import RejectionReason
from schemas.tables import BLOCKS, TRANSACTIONS, Table, encode
from schemas.units import ZERO_WORD

SEED, NOW, SLOT = 3, 1_000_000, 11
CHAIN, SHARD, PEER = 3, 0, 1
EXPIRY = SLOT + 1_000
VALIDATOR, STRANGER = (KeyPair.from_seed(bytes([name]) * 32) for name in (1, 2))
ALICE, BOB = (KeyPair.from_seed(seed_key(SEED, name)) for name in (b"alice", b"bob"))
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
STAGE = Admission(GENESIS, SHARD, AdmissionConfig())
PAID = 5_000_000
ENTRY = LinkEntry(PEER, index_of(7), index_of(0), PAID, 4)
BACK = sent_entries([returned_by(ENTRY.inbound(CHAIN, SHARD))])
Rows = list[dict[str, Any]]


def blocks(
    *contents: bytes, certified: Sequence[int] = (-1,), pair: KeyPair = VALIDATOR, at: int = 9
) -> Rows:
    """Returns rows of blocks that follow each other; those not `certified` carry the next certificate."""
    parent, headers = genesis_hash(CHAIN, SHARD), []
    for height, content in enumerate(contents, at):
        header = BlockHeader(
            CHAIN, SHARD, FIRST_EPOCH, height, height, height, height - 1, parent,
            hashlib.sha256(content).digest(), ZERO_WORD, ZERO_WORD, 1, 0,
        )  # fmt: skip
        headers.append(header)
        parent = header.block_hash()
    places = {place % len(contents) for place in certified}
    rows, certificate = [], b""
    for place, (header, content) in reversed(list(enumerate(zip(headers, contents, strict=True)))):
        if place in places:
            ballot = block_ballot(Block(header, content), Phase.FINALIZE)
            signature = ValidatorSigner(pair).sign(ballot.signed_bytes(COMMITTEE.validators))
            certificate = encode_certificate(Certificate(ballot, ((0, signature),)))
        rows.append(block_row(header, content, certificate))
    return rows[::-1]


DELIVERY = encode_payload([], [ENTRY])
EMPTY = encode_payload([])


@dataclass
class Desk:
    """Admission of a shard on which Alice and Bob have accounts and nothing else."""

    state: AdmissionView = field(default_factory=STAGE.initial)

    def __post_init__(self) -> None:
        assert not self.send(
            FORGE.register(0, b"a" * 20, ALICE.public_key),
            FORGE.register(1, b"b" * 20, BOB.public_key),
        )

    @property
    def balance(self) -> int:
        return self.state.account(index_of(0)).balance

    def send(self, *signed: Signed) -> list[str]:
        rows = [{"body": s.body, "signature": s.signature, "submitted_millis": 0} for s in signed]
        return self.take(TRANSACTIONS, rows)

    def take(self, table: Table, rows: Sequence[Mapping[str, Any]]) -> list[str]:
        """Takes a record, through a snapshot; returns why something of it was refused."""
        _, body = encode(table, table.batch(rows))
        batch = table.batch(rows) if table is TRANSACTIONS else None
        place = self.state.next_offset
        record = Input(f"tx.{SHARD}", 0, place, NOW, table.fingerprint, body, batch, "schema: ")
        state, outputs = STAGE.step(self.state, [record], NOW)
        self.state = STAGE.restore(STAGE.snapshot(state))
        assert self.state == state
        return [row["reason"] for row in rows_of(outputs, "rejected")]


def rows_of(outputs: list[Output], topic: str) -> list[Any]:
    return [row for output in outputs if output.topic == topic for row in output.rows]


def payment(nonce: int = 0) -> Signed:
    base = FORGE.transfer(0, 1, PAID - 1_000_000, nonce)
    return sign(ALICE, replace(base, fee=1000))


def test_what_another_shard_paid_can_be_spent_after_the_notice_and_not_before() -> None:
    desk = Desk()
    assert desk.send(payment()) == [RejectionReason.OVERDRAFT]
    assert desk.take(BLOCKS, blocks(DELIVERY)) == []
    assert desk.balance == PAID
    assert desk.send(payment()) == []


def test_a_notice_counts_once_and_in_any_order() -> None:
    desk = Desk()
    early, late = blocks(DELIVERY, at=5), blocks(DELIVERY, at=9)
    for rows in (late, early, late, early):
        assert desk.take(BLOCKS, rows) == []
    assert desk.balance == 2 * PAID


def test_what_went_back_is_not_credited() -> None:
    desk = Desk()
    assert desk.take(BLOCKS, blocks(encode_payload([], [ENTRY], BACK))) == []
    assert desk.balance == 0


def test_a_certificate_speaks_for_the_blocks_before_it() -> None:
    desk = Desk()
    assert desk.take(BLOCKS, blocks(DELIVERY, EMPTY)) == []
    assert desk.balance == PAID


def test_notices_are_the_runs_with_a_delivery() -> None:
    rows = blocks(EMPTY, DELIVERY, EMPTY, EMPTY, certified=(0, 2, 3))
    assert list(notices_of(rows)) == [rows[1:3]]
    assert list(notices_of(blocks(EMPTY))) == []


def another_amount(rows: Rows) -> Rows:
    return [rows[0] | {"payload": encode_payload([], [replace(ENTRY, amount=PAID + 1)])}]


def another_phase(rows: Rows) -> Rows:
    block = Block(header_from_bytes(rows[0]["header"]), rows[0]["payload"])
    ballot = block_ballot(block, Phase.NOTARIZE)
    signature = ValidatorSigner(VALIDATOR).sign(ballot.signed_bytes(COMMITTEE.validators))
    return [rows[0] | {"certificate": encode_certificate(Certificate(ballot, ((0, signature),)))}]


FORGERIES: dict[str, Callable[[], Rows]] = {
    "by a stranger": lambda: blocks(DELIVERY, pair=STRANGER),
    "another amount": lambda: another_amount(blocks(DELIVERY)),
    "not final": lambda: another_phase(blocks(DELIVERY)),
    "no certificate of its own": lambda: blocks(DELIVERY, EMPTY)[:1],
    "a gap": lambda: blocks(DELIVERY, EMPTY, EMPTY)[::2],
    "no block": list,
    "no header": lambda: [blocks(DELIVERY)[0] | {"header": b"noise"}],
    "no certificate": lambda: [blocks(DELIVERY)[0] | {"certificate": b"noise"}],
    "more after the certificate": lambda: blocks(DELIVERY) + blocks(DELIVERY, EMPTY, EMPTY)[1:2],
}


@pytest.mark.parametrize("forgery", sorted(FORGERIES))
def test_a_forged_notice_is_refused_by_name_and_pays_nothing(forgery: str) -> None:
    desk = Desk()
    assert desk.take(BLOCKS, FORGERIES[forgery]()) == [RejectionReason.FORGED_NOTICE]
    assert desk.balance == 0
    assert desk.take(BLOCKS, blocks(DELIVERY)) == []
    assert desk.balance == PAID
