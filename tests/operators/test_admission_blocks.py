"""Admission judges above final blocks: what no block can hold any more is taken back, what blocks pay is there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from operators.block_payload import encode_payload
from operators.stage import Input
from pipelines.forge import index_of, sign
from schemas.block import header_from_bytes
from schemas.config import AdmissionConfig
from schemas.errors import InvariantError
from schemas.rejection import RejectionReason
from schemas.tables import BLOCKS, TRANSACTIONS
from tests.suites.admission_desk import (
    BOB,
    CAROL,
    ENTRY,
    FEE,
    FEE_UNITS,
    FORGE,
    FUNDS,
    NOW,
    PAID,
    SHARD,
    SHORT,
    SLOT,
    STRANGER,
    Desk,
    opened_desk,
    paid,
    row_of,
    rows_of,
)


@pytest.fixture
def desk() -> Desk:
    return opened_desk()


def test_an_account_goes_on_when_what_it_sent_has_expired(desk: Desk) -> None:
    """It must not wait for ever behind a transaction that no block can hold."""
    assert desk.send(paid(1, expiry=SLOT + 9), paid(2, 1)) == []
    assert desk.send(paid(3)) == [RejectionReason.NONCE_REPLAY]
    desk.final(slot=SLOT + 10)
    assert not desk.state.pending
    assert (desk.balance(0), desk.balance(1)) == (FUNDS, 0)
    assert desk.send(paid(3)) == []
    assert desk.balance(1) == 3


def test_what_was_paid_with_what_expired_waits_and_moves_nothing(desk: Desk) -> None:
    assert desk.send(paid(PAID, expiry=SLOT + 9)) == []
    assert desk.send(paid(PAID // 2, pair=BOB)) == []
    desk.final(slot=SLOT + 10)
    assert list(desk.state.pending) == [(2, 0)]
    assert (desk.balance(0), desk.balance(1)) == (FUNDS, 0)
    assert desk.send(paid(PAID)) == []
    desk.final((3, 0), (2, 0), slot=SLOT + 11)
    assert not desk.state.pending
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
    desk.tell(row | {"certificate": late["certificate"]})
    assert desk.balance(1) == 0
    desk.height, desk.tip = header.height, header.block_hash()
    desk.tell(late)
    assert desk.balance(1) == PAID


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
