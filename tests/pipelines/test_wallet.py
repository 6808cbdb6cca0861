from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from pipelines.account_keys import ISSUER_LABEL, issuer_pair, seed_key
from pipelines.key_store import create_key, load_key
from pipelines.wallet import (
    RegisterOptions,
    SendOptions,
    Sent,
    check_payer,
    new_wallet,
    parse_amount,
    read_receipt,
    register_wallet,
    scan_notes,
    send_payment,
)
from pipelines.wallet_view import AccountView, LedgerReader, Receipt
from proving.ledger.rules import LedgerParameters
from schemas.errors import EnvironmentMissing, ParameterError
from schemas.genesis import Genesis, encode_key
from schemas.receipt import ReceiptState
from schemas.tables import RECEIPTS, TRANSACTIONS, encode
from schemas.transactions import Transaction, TransactionKind, decode_body
from tests.pipelines.corpus_judge import Judge
from tests.pipelines.row_log import RowLog

NOW = 10_000_000
ISSUER = issuer_pair(1)
GENESIS = Genesis(
    chain=3,
    shards=1,
    slot_micros=1_000_000,
    slots_per_window=4,
    windows_per_epoch=2,
    start_millis=NOW - 5_000,
    issuer=encode_key(ISSUER.public_key),
    validators=(encode_key(ISSUER.public_key),),
)


def finalize(
    log: RowLog, height: int, *sent: Sent, state: ReceiptState = ReceiptState.BFT_FINAL
) -> None:
    rows = [
        {
            "digest": bytes.fromhex(item.digest),
            "state": str(state),
            "shard": 0,
            "at_millis": NOW + height,
            "submitted_millis": NOW,
            "height": height,
            "signers": [0, 2],
            "reason": "overdraft" if state is ReceiptState.REJECTED else None,
        }
        for item in sent
    ]
    log.append("receipts", *encode(RECEIPTS, RECEIPTS.batch(rows)))


@dataclass
class Town:
    """A log and a data directory with an issuer and two registered wallets."""

    data: Path
    log: RowLog = field(default_factory=RowLog)

    def register(self, name: str, payer: str = "issuer") -> Sent:
        return register_wallet(self.log, GENESIS, RegisterOptions(self.data, name, payer, NOW))

    def send(self, wallet: str, to: str, amount: int = 5, **changes: Any) -> Sent:
        options = replace(SendOptions(self.data, wallet, to, amount, NOW), **changes)
        return send_payment(self.log, GENESIS, options)

    def transactions(self) -> list[Transaction]:
        return [decode_body(row["body"]) for row in self.log.rows("tx.0", TRANSACTIONS)]


@pytest.fixture
def town(tmp_path: Path) -> Town:
    made = Town(tmp_path)
    create_key(tmp_path, "issuer", seed_key(1, ISSUER_LABEL))
    for name in ("alice", "bob"):
        new_wallet(tmp_path, name)
    finalize(made.log, 1, made.register("alice"), made.register("bob"))
    return made


def test_a_new_wallet_names_its_address_and_file(tmp_path: Path) -> None:
    made = new_wallet(tmp_path, "alice")
    key = load_key(tmp_path, "alice")
    assert (made.name, made.address) == ("alice", "0x" + key.address.hex())
    assert Path(made.path).is_file()


def test_a_payer_is_checked_before_a_key_is_made(town: Town) -> None:
    check_payer(town.log, GENESIS, town.data, "issuer", 0)
    check_payer(town.log, GENESIS, town.data, "alice", 0)
    with pytest.raises(ParameterError, match="no key 'nobody'"):
        check_payer(town.log, GENESIS, town.data, "nobody", 0)
    new_wallet(town.data, "stranger")
    with pytest.raises(ParameterError, match="'stranger' is not registered"):
        check_payer(town.log, GENESIS, town.data, "stranger", 0)


def test_registrations_and_payments_follow_the_ledgers_rules(town: Town) -> None:
    bob = load_key(town.data, "bob")
    first = town.send("alice", "17", 0)
    second = town.send("alice", "0x" + bob.address.hex(), 0)
    assert town.transactions()[2:] == [
        Transaction(TransactionKind.TRANSFER, 3, 0, 16, 17, 0, 1000, nonce, 5 + 3840)
        for nonce in (0, 1)
    ]
    judge = Judge(LedgerParameters(chain=3, shard=0, minimum_fee=0), ISSUER.public_key, slot=6)
    verdicts = [
        judge.judge(row["body"], row["signature"]) for row in town.log.rows("tx.0", TRANSACTIONS)
    ]
    assert verdicts == ["admitted", "admitted", "overdraft", "nonce_gap"]
    assert (first.nonce, second.nonce, second.offset) == (0, 1, 3)


def test_indices_follow_the_blocks_and_not_the_log(tmp_path: Path) -> None:
    town = Town(tmp_path)
    create_key(tmp_path, "issuer", seed_key(1, ISSUER_LABEL))
    sent = {}
    for name in ("late", "early"):
        new_wallet(tmp_path, name)
        sent[name] = town.register(name)
    finalize(town.log, 2, sent["late"])
    finalize(town.log, 1, sent["early"])
    assert (town.send("early", "17").sender, town.send("late", "16").sender) == (16, 17)


def test_a_wallet_can_register_another_and_pays_for_it(town: Town) -> None:
    new_wallet(town.data, "carol")
    sent = town.register("carol", payer="alice")
    assert (sent.sender, sent.fee, sent.nonce) == (16, 1000, 0)
    with pytest.raises(ParameterError, match="wallet 'carol' is not registered on shard 0"):
        town.send("carol", "16")
    with pytest.raises(ParameterError, match="wallet 'alice' is already registered on shard 0"):
        town.register("alice")


def test_a_rejected_transaction_gives_its_nonce_back(town: Town) -> None:
    refused = town.send("alice", "17")
    assert town.send("alice", "17").nonce == 1
    finalize(town.log, 2, refused, state=ReceiptState.REJECTED)
    assert read_receipt(town.log, GENESIS, refused.digest).reason == "overdraft"
    again = LedgerReader(0)
    again.add_receipts(town.log.rows("receipts", RECEIPTS))
    again.add_transactions(list(town.log.rows("tx.0", TRANSACTIONS))[:3])
    assert again.account(load_key(town.data, "alice").address) == AccountView(16, 0)


@pytest.mark.parametrize(
    ("to", "message"),
    [
        ("15", r"an account index is in \[16, 2\^30\), got 15"),
        (str(2**30), "an account index is in"),
        ("9" * 5000, "an account index is in"),
        ("bob", "a recipient is an account index or 0x and 40 hex digits, got 'bob'"),
        ("0x" + "ab" * 20, "no account is registered for 0xabab"),
    ],
)
def test_a_wrong_recipient_is_refused_by_name(town: Town, to: str, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        town.send("alice", to)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"amount": -1}, r"an amount is in \[0, 2\^60\) units, got -1"),
        ({"amount": 2**60}, "an amount is in"),
        ({"lifetime_slots": 0}, "a lifetime is in"),
        ({"lifetime_slots": 2**15}, "a lifetime is in"),
        ({"tier": "gold"}, "there is no tier 'gold'"),
    ],
)
def test_values_outside_their_range_are_refused(
    town: Town, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ParameterError, match=message):
        town.send("alice", "17", **changes)


def test_private_tiers_say_that_they_are_not_built(town: Town) -> None:
    for tier in ("private", "max-private"):
        with pytest.raises(EnvironmentMissing, match=f"the {tier} tier is not built yet") as caught:
            town.send("alice", "17", tier=tier)
        assert caught.value.exit_code == 5
    with pytest.raises(EnvironmentMissing, match="no notes to scan for"):
        scan_notes()


def test_a_receipt_names_the_furthest_state_and_the_time_of_each(town: Town) -> None:
    sent = town.send("alice", "17")
    assert read_receipt(town.log, GENESIS, sent.digest).state == "pending"
    finalize(town.log, 7, sent)
    finalize(town.log, 9, sent, state=ReceiptState.PROVEN)
    finalize(town.log, 8, sent, state=ReceiptState.REJECTED)
    assert read_receipt(town.log, GENESIS, sent.digest) == Receipt(
        digest=sent.digest,
        state="proven",
        shard=0,
        times={"rejected": NOW + 8, "bft_final": NOW + 7, "proven": NOW + 9},
        submitted_millis=NOW,
        height=9,
        signers=(0, 2),
        window=None,
        epoch=None,
        proof_digest=None,
        reason=None,
    )


@pytest.mark.parametrize("digest", ["", "ab", "G" * 64, "AB" * 32])
def test_what_is_no_digest_has_no_receipt(town: Town, digest: str) -> None:
    with pytest.raises(ParameterError, match="a transaction digest is 64 hex digits"):
        read_receipt(town.log, GENESIS, digest)


def test_an_unknown_transaction_has_no_receipt(town: Town) -> None:
    with pytest.raises(ParameterError, match="holds no transaction abab"):
        read_receipt(town.log, GENESIS, "ab" * 32)


@pytest.mark.parametrize(
    ("text", "units"),
    [("0", 0), ("1", 10**9), ("1.5", 1_500_000_000), ("0.000000001", 1), ("007.10", 7_100_000_000)],
)
def test_amounts_are_exact(text: str, units: int) -> None:
    assert parse_amount(text) == units


@pytest.mark.parametrize(
    "text",
    ["", ".5", "1.", "1e3", "-1", "+1", " 1", "1,5", "0.0000000001", "1152921505", "٣", "1" * 99],
)
def test_other_amounts_are_refused(text: str) -> None:
    with pytest.raises(ParameterError, match="an amount is like"):
        parse_amount(text)
