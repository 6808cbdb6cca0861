"""Each check of the Public tier refuses by its own reason, and the dead letter keeps the original bytes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from operators.admission import MAX_ROWS, Admission
from operators.admission_view import Accounts, AdmissionView
from operators.event_log import StoredRecord
from operators.record_input import input_of
from operators.stage import Input, Output
from pipelines.account_keys import issuer_pair, seed_key
from pipelines.forge import Forge, Signed, index_of, sign
from proving.signatures import KeyPair
from schemas.config import AdmissionConfig
from schemas.genesis import Genesis, encode_key
from schemas.rejection import RejectionReason
from schemas.tables import SCHEMA_HEADER, TRANSACTIONS, SchemaRegistry, encode
from schemas.transactions import Transaction, TransactionKind
from schemas.units import (
    AMOUNT_LIMIT,
    FEE_LIMIT,
    INDEX_LIMIT,
    SPAN_LIMIT,
    ReservedCell,
)

SEED = 3
NOW = 1_000_000
SLOT = 11
EXPIRY = SLOT + 1_000
FUNDS = 10**12
ALICE, BOB = (KeyPair.from_seed(seed_key(SEED, name)) for name in (b"alice", b"bob"))
ADDRESSES = (b"a" * 20, b"b" * 20)
GENESIS = Genesis(
    chain=3,
    shards=1,
    slot_micros=1_000_000,
    slots_per_window=4,
    windows_per_epoch=2,
    start_millis=NOW - SLOT * 1_000,
    issuer=encode_key(issuer_pair(SEED).public_key),
    validators=(encode_key(issuer_pair(SEED).public_key),),
)
FORGE = Forge(GENESIS.chain, 0, SEED, EXPIRY)
TRANSFER = FORGE.transfer(0, 1, 5, 0)
STAGE = Admission(GENESIS, 0, AdmissionConfig())


@dataclass
class Desk:
    """The stage with its state, fed record by record."""

    state: AdmissionView = field(default_factory=STAGE.initial)
    registry: SchemaRegistry = field(default_factory=SchemaRegistry)
    outputs: list[Output] = field(default_factory=list)

    def record(self, *signed: Signed) -> Input:
        rows = [
            {"body": one.body, "signature": one.signature, "submitted_millis": NOW}
            for one in signed
        ]
        headers, body = encode(TRANSACTIONS, TRANSACTIONS.batch(rows))
        return self.stored(body, headers)

    def stored(self, body: bytes, headers: Any) -> Input:
        place = self.state.next_offset
        return input_of(
            StoredRecord("tx.0", 0, place, NOW, body, headers), TRANSACTIONS, self.registry
        )

    def take(self, record: Input) -> list[Output]:
        self.state, outputs = STAGE.step(self.state, [record], NOW)
        return outputs

    def send(self, *signed: Signed) -> list[Output]:
        return self.take(self.record(*signed))


@pytest.fixture
def desk() -> Desk:
    """Alice and Bob are registered, Alice has funds."""
    made = Desk()
    made.send(
        FORGE.register(0, ADDRESSES[0], ALICE.public_key),
        FORGE.register(1, ADDRESSES[1], BOB.public_key),
        FORGE.issue(2, 0, FUNDS),
    )
    return made


def rows_of(outputs: list[Output], topic: str) -> list[Any]:
    return [row for output in outputs if output.topic == topic for row in output.rows]


def by_alice(**changes: Any) -> Signed:
    return sign(ALICE, replace(TRANSFER, **changes))


def by_issuer(**changes: Any) -> Signed:
    base = replace(TRANSFER, sender=int(ReservedCell.RESERVE), fee=0, nonce=3)
    return sign(issuer_pair(SEED), replace(base, **changes))


def registration(**changes: Any) -> Signed:
    fresh = KeyPair.from_seed(seed_key(SEED, b"carol"))
    base = Transaction(
        TransactionKind.REGISTER, 3, 0, 0, 0, 0, 0, 3, EXPIRY, b"c" * 20, fresh.public_key
    )
    return sign(issuer_pair(SEED), replace(base, **changes))


def patched(at: int, piece: bytes) -> Signed:
    body = TRANSFER.body()
    return Signed(body[:at] + piece + body[at + len(piece) :], by_alice().signature)


def overflowing(desk: Desk) -> Signed:
    """The cap on the supply keeps honest balances below 2^60; this state is beyond it."""
    bob = index_of(1)
    desk.state.ahead.cells[bob] = desk.state.ahead.account(bob)._replace(balance=AMOUNT_LIMIT - 5)
    return by_alice(amount=5)


CASES: dict[RejectionReason, Callable[[Desk], Signed]] = {
    RejectionReason.OVERSIZED_RECORD: lambda _: Signed(TRANSFER.body(), bytes(9_000)),
    RejectionReason.WRONG_LENGTH: lambda _: Signed(TRANSFER.body(), b"short"),
    RejectionReason.WRONG_VERSION: lambda _: patched(0, b"\2"),
    RejectionReason.NON_CANONICAL: lambda _: patched(8, INDEX_LIMIT.to_bytes(4, "little")),
    RejectionReason.UNKNOWN_KIND: lambda _: patched(1, b"\xc8"),
    RejectionReason.KIND_NOT_SUPPORTED: lambda _: patched(1, bytes([TransactionKind.PRIVATE])),
    RejectionReason.AMOUNT_TOO_LARGE: lambda _: patched(16, AMOUNT_LIMIT.to_bytes(8, "little")),
    RejectionReason.FEE_TOO_LARGE: lambda _: patched(24, FEE_LIMIT.to_bytes(4, "little")),
    RejectionReason.WRONG_CHAIN: lambda _: by_alice(chain=4),
    RejectionReason.WRONG_SHARD: lambda _: by_alice(shard=1),
    RejectionReason.FEE_TOO_LOW: lambda _: by_alice(fee=999),
    RejectionReason.UNKNOWN_SHARD: lambda _: by_alice(kind=TransactionKind.OUTBOUND, peer=1),
    RejectionReason.NOT_ISSUER: lambda _: by_alice(kind=TransactionKind.ISSUE),
    RejectionReason.RESERVED_ACCOUNT: lambda _: by_alice(recipient=int(ReservedCell.PROPOSER_POOL)),
    RejectionReason.BAD_SIGNATURE: lambda _: sign(BOB, TRANSFER),
    RejectionReason.UNKNOWN_ACCOUNT: lambda _: by_alice(recipient=index_of(2)),
    RejectionReason.EXPIRED: lambda _: by_alice(expiry=SLOT - 1),
    RejectionReason.EXPIRY_TOO_FAR: lambda _: by_alice(expiry=SLOT + 7_681),
    RejectionReason.NONCE_GAP: lambda _: by_alice(nonce=1),
    RejectionReason.NONCE_REPLAY: lambda _: by_issuer(kind=TransactionKind.ISSUE, nonce=2),
    RejectionReason.OVERDRAFT: lambda _: by_alice(amount=FUNDS),
    RejectionReason.BALANCE_OVERFLOW: overflowing,
    RejectionReason.DUPLICATE_ADDRESS: lambda _: registration(address=ADDRESSES[1]),
    RejectionReason.DUPLICATE_KEY: lambda _: registration(public_key=BOB.public_key),
}
"""What is refused, by reason."""

ELSEWHERE = {
    RejectionReason.FOREIGN_SCHEMA,
    RejectionReason.UNDECODABLE_RECORD,
    RejectionReason.REGISTRY_FULL,
    RejectionReason.LEDGER_FULL,
    RejectionReason.BLOCK_FULL,
}
"""Of whole records, of counters at their limit, and of blocks: tests of their own."""


def test_every_reason_has_a_case() -> None:
    assert set(CASES) | ELSEWHERE == set(RejectionReason)
    assert not set(CASES) & ELSEWHERE


@pytest.mark.parametrize("reason", sorted(CASES))
def test_a_transaction_is_refused_by_name_and_its_bytes_are_kept(
    desk: Desk, reason: RejectionReason
) -> None:
    signed = CASES[reason](desk)
    place = desk.state.next_offset
    outputs = desk.send(signed)
    (letter,) = rows_of(outputs, "rejected")
    assert (letter["stage"], letter["reason"]) == ("admission", reason)
    assert (letter["topic"], letter["offset"], letter["row"]) == ("tx.0", place, 0)
    assert letter["original"] == signed.body + signed.signature
    assert [row["verdicts"] for row in rows_of(outputs, "admitted.0")] == [b"\0"]


def test_a_refusal_stops_nothing_else(desk: Desk) -> None:
    good = by_alice()
    outputs = desk.send(sign(BOB, TRANSFER), good, by_alice(nonce=5), by_alice(nonce=1))
    assert [row["verdicts"] for row in rows_of(outputs, "admitted.0")] == [bytes([0b1010])]
    reasons = [(row["row"], row["reason"]) for row in rows_of(outputs, "rejected")]
    assert reasons == [(0, "bad_signature"), (2, "nonce_gap")]
    assert desk.state.ahead.account(index_of(0)).nonce == 2


def test_an_account_may_pay_in_the_record_that_registers_it() -> None:
    desk = Desk()
    outputs = desk.send(
        FORGE.register(0, ADDRESSES[0], ALICE.public_key),
        FORGE.issue(1, 0, FUNDS),
        by_alice(recipient=16),
    )
    assert [row["verdicts"] for row in rows_of(outputs, "admitted.0")] == [bytes([0b111])]


def test_a_full_registry_takes_no_more(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Accounts, "num_keys", property(lambda _: SPAN_LIMIT))
    (letter,) = rows_of(desk.send(registration()), "rejected")
    assert letter["reason"] == RejectionReason.REGISTRY_FULL


def test_a_spent_nonce_counter_ends_an_account(desk: Desk) -> None:
    last = INDEX_LIMIT - 1
    account = desk.state.ahead.account(index_of(0))
    desk.state.ahead.cells[index_of(0)] = account._replace(nonce=last)
    (letter,) = rows_of(desk.send(by_alice(nonce=last)), "rejected")
    assert letter["reason"] == RejectionReason.LEDGER_FULL


@pytest.mark.parametrize(
    ("body", "headers", "reason"),
    [
        (b"noise", ((SCHEMA_HEADER, b"f" * 32),), RejectionReason.FOREIGN_SCHEMA),
        (b"noise", (), RejectionReason.FOREIGN_SCHEMA),
        (
            b"noise",
            ((SCHEMA_HEADER, TRANSACTIONS.fingerprint.encode()),),
            RejectionReason.UNDECODABLE_RECORD,
        ),
    ],
)
def test_a_record_of_something_else_is_kept_whole(
    desk: Desk, body: bytes, headers: Any, reason: RejectionReason
) -> None:
    outputs = desk.take(desk.stored(body, headers))
    (letter,) = rows_of(outputs, "rejected")
    assert (letter["reason"], letter["row"], letter["original"]) == (reason, -1, body)
    assert [row["row_count"] for row in rows_of(outputs, "admitted.0")] == [0]


def test_a_record_with_too_many_rows_is_refused_whole(desk: Desk) -> None:
    outputs = desk.send(*[Signed(b"", b"")] * (MAX_ROWS + 1))
    (letter,) = rows_of(outputs, "rejected")
    assert (letter["reason"], letter["row"]) == (RejectionReason.OVERSIZED_RECORD, -1)


def test_the_cut_into_batches_does_not_matter(desk: Desk) -> None:
    records = [desk.record(by_alice()), desk.record(by_alice(nonce=1), by_alice(nonce=9))]
    records[1] = replace(records[1], offset=records[0].offset + 1)
    snapshot = STAGE.snapshot(desk.state)
    together, outputs = STAGE.step(STAGE.restore(snapshot), records, NOW)
    state, apart = STAGE.restore(snapshot), []
    for record in records:
        state, found = STAGE.step(state, [record], NOW + 1)
        apart += found
    assert STAGE.snapshot(state) == STAGE.snapshot(together)
    verdicts = [row["verdicts"] for row in rows_of(outputs, "admitted.0")]
    assert verdicts == [row["verdicts"] for row in rows_of(apart, "admitted.0")] == [b"\1", b"\1"]
