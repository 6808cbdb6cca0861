"""What waits above final blocks, where it could go wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from operators.block_payload import encode_payload
from operators.stage import Input
from pipelines.account_keys import seed_key
from pipelines.forge import Signed, index_of, sign
from proving.ledger.rules import apply
from proving.signatures import KeyPair
from schemas.block import header_from_bytes
from schemas.rejection import RejectionReason
from schemas.tables import BLOCKS, TRANSACTIONS
from schemas.transactions import decode_body
from schemas.units import EXPIRY_SPAN
from tests.suites.admission_desk import (
    ALICE,
    BOB,
    CAROL,
    ENTRY,
    FEE,
    FEE_UNITS,
    FORGE,
    NOW,
    PAID,
    SEED,
    SLOT,
    STRANGER,
    Desk,
    opened_desk,
    paid,
    row_of,
    rows_of,
)

DAVE = KeyPair.from_seed(seed_key(SEED, b"d"))


@pytest.fixture
def desk() -> Desk:
    return opened_desk()


def test_what_waits_keeps_its_effect_on_an_old_chain(desk: Desk) -> None:
    """Expiries are far from the first slot then, further than a transaction may ask for."""
    late = EXPIRY_SPAN + 100
    desk.final(slot=late)
    state = desk.state
    put(desk, paid(7, expiry=late + 50), paid(8, 1, expiry=late + 50))
    before = desk.balance(1)
    desk.stage.step(state, [blocks_record(state.blocks_end, desk.block(slot=late + 1))], NOW)
    assert len(state.pending) == 2
    refused = put(desk, paid(9, 2, expiry=late + 50))
    assert (desk.balance(1), refused) == (before + 9, []), "what waits has lost its effect"


def test_a_start_on_an_old_chain_is_where_it_was(desk: Desk) -> None:
    late = EXPIRY_SPAN + 100
    desk.final(slot=late)
    put(desk, paid(7, expiry=late + 50))
    assert desk.stage.restore(desk.stage.snapshot(desk.state)) == desk.state


def test_a_payment_whose_sender_number_shifted_is_not_executed_as_anothers(desk: Desk) -> None:
    """Carol signed for number 3; when the registration before hers expires, 3 is Dave, who never signed."""
    assert desk.send(paid(PAID)) == []
    desk.final((1, 0))
    assert desk.send(opened_by_bob(STRANGER.public_key, SLOT + 9)) == []
    assert desk.send(FORGE.register(3, b"c" * 20, CAROL.public_key)) == []
    assert desk.send(FORGE.register(4, b"d" * 20, DAVE.public_key)) == []
    funds = sign(ALICE, replace(FORGE.transfer(0, 3, PAID, 1), fee=FEE))
    assert desk.send(funds) == []
    carols = sign(CAROL, replace(FORGE.transfer(3, 0, 1, 0), fee=FEE))
    assert desk.send(carols) == []
    desk.final(slot=SLOT + 10)
    assert desk.state.key_of(index_of(3)) == DAVE.public_key
    daves = sign(DAVE, replace(FORGE.transfer(3, 1, 1, 0), fee=FEE))
    assert desk.send(daves) == [], "what Carol signed holds Dave's nonce"


def test_many_blocks_at_once_execute_what_waits_once(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert desk.send(*(paid(1, n) for n in range(20))) == []
    seen = []

    def counted(*given: Any) -> object:
        seen.append(given)
        return apply(*given)

    monkeypatch.setattr("operators.admission_view.apply", counted)
    records = []
    at = desk.state.blocks_end
    for n in range(20):
        row = desk.block(slot=SLOT + n)
        records.append(blocks_record(at + n, row))
        header = header_from_bytes(row["header"])
        desk.height, desk.tip = header.height, header.block_hash()
    desk.stage.step(desk.state, records, NOW)
    assert len(seen) <= 40


def test_what_is_unfunded_holds_its_nonce_until_it_has_expired(desk: Desk) -> None:
    """As at validators: they keep it, so another transaction of that nonce would only be dropped."""
    assert desk.send(paid(PAID, expiry=SLOT + 9)) == []
    assert desk.send(paid(PAID // 2, pair=BOB, expiry=SLOT + 19)) == []
    desk.final(slot=SLOT + 10)  # the funds are gone; Bob's payment waits without effect
    assert desk.send(paid(2 * FEE_UNITS)) == []
    assert desk.send(paid(1, pair=BOB)) == [RejectionReason.NONCE_REPLAY]
    assert desk.send(paid(1, 1, pair=BOB)) == []
    desk.final((3, 0), slot=SLOT + 11)
    assert len(desk.state.pending) == 2
    desk.final(slot=SLOT + 20)
    assert not desk.state.pending
    assert desk.send(paid(1, pair=BOB)) == []


def test_a_final_transaction_is_not_refused_afterwards(desk: Desk) -> None:
    """A block took it before admission judged it: a forged row on admitted.K or a leader's will."""
    one = paid(7)
    rows = [{"body": one.body, "signature": one.signature, "submitted_millis": 0}]
    record = Input(
        "tx.0",
        0,
        desk.state.next_offset,
        NOW,
        TRANSACTIONS.fingerprint,
        b"",
        TRANSACTIONS.batch(rows),
    )
    desk.records[record.offset] = record
    desk.sent[record.offset, 0] = one
    desk.final((record.offset, 0))
    assert desk.balance(1) == 7
    assert rows_of(desk.take(record), "rejected") == []


def test_a_record_is_decoded_once_for_a_block(desk: Desk) -> None:
    count = 20
    short = [paid(1, n, expiry=SLOT + 2) for n in range(count)]
    assert len(desk.send(*short)) == count  # all refused
    seen: list[int] = []

    def fetch(offset: int) -> Input | None:
        seen.append(offset)
        return desk.records.get(offset)

    desk.stage = replace(desk.stage, fetch=fetch)
    desk.final(*((1, n) for n in range(count)))
    assert len(seen) == 1


def test_a_strangers_row_between_two_of_a_run_does_not_end_everything(desk: Desk) -> None:
    first = desk.block(received=[ENTRY])
    stranger = row_of(*desk.content(encode_payload([], ()), SLOT + 1), STRANGER)
    header = header_from_bytes(first["header"])
    desk.height, desk.tip = header.height, header.block_hash()
    late = desk.block()
    other = late["certificate"]
    at = desk.state.blocks_end
    rows = [first | {"certificate": other}, stranger | {"certificate": other}, late]
    for n, row in enumerate(rows):
        desk.stage.step(desk.state, [blocks_record(at + n, row)], NOW)
    assert desk.state.height == 3


def put(desk: Desk, *signed: Signed) -> list[str]:
    rows = [{"body": s.body, "signature": s.signature, "submitted_millis": 0} for s in signed]
    batch = TRANSACTIONS.batch(rows)
    at = desk.state.next_offset
    record = Input("tx.0", 0, at, NOW, TRANSACTIONS.fingerprint, b"", batch)
    return [
        row["reason"] for row in rows_of(desk.stage.step(desk.state, [record], NOW)[1], "rejected")
    ]


def blocks_record(offset: int, *rows: Mapping[str, Any]) -> Input:
    return Input("blocks.0", 0, offset, NOW, BLOCKS.fingerprint, b"", BLOCKS.batch(list(rows)))


def opened_by_bob(key: bytes, expiry: int) -> Signed:
    """A registration that Bob pays for."""
    body = decode_body(FORGE.register(0, b"x" * 20, key).body)
    return sign(BOB, replace(body, sender=index_of(1), nonce=0, fee=FEE, expiry=expiry))
