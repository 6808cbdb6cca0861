"""Actions of `ecliptica wallet`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from operators.beacon_start import BeaconPlace
from operators.congestion import congestion_of
from operators.event_log import open_existing_log
from operators.topic_view import TopicView
from pipelines.chain_setup import genesis_path
from pipelines.cli.contract import Call
from pipelines.inclusion import WrittenInclusion, write_inclusion
from pipelines.wallet import (
    NewWallet,
    RegisterOptions,
    SendOptions,
    Sent,
    check_payer,
    check_tier,
    new_wallet,
    parse_amount,
    read_receipt,
    register_wallet,
    scan_notes,
    send_payment,
)
from pipelines.wallet_view import Receipt
from proving.arithmetic.poseidon2 import NumpyHasher
from schemas.genesis import load_genesis


@dataclass(frozen=True, slots=True)
class NewAccount:
    """A wallet and its registration on the way.

    Attributes:
        wallet: The key pair.
        registration: The transaction; the wallet can be paid when it is final.
    """

    wallet: NewWallet
    registration: Sent


def new(call: Call, *, name: str, register_with: str | None, shard: int) -> NewWallet | NewAccount:
    """Makes a key pair, and registers it if a payer is named."""
    data = call.settings().data
    if register_with is None:
        return new_wallet(data, name)
    genesis = load_genesis(genesis_path(data))
    with _open(call) as view:
        check_payer(view, genesis, data, register_with, shard)
        wallet = new_wallet(data, name)
        options = RegisterOptions(data, name, register_with, _now_millis(), shard, _lifetime(call))
        return NewAccount(wallet, register_wallet(view, genesis, options))


def send(
    call: Call,
    *,
    wallet: str,
    recipient: str,
    amount: str,
    tier: str,
    shard: int,
    to_shard: int | None,
    nonce: int | None,
) -> Sent:
    """Signs a payment and appends it to the log; says so if it will wait there for admission."""
    check_tier(tier)
    data = call.settings().data
    genesis = load_genesis(genesis_path(data))
    units = parse_amount(amount)
    with _open(call) as view:
        options = SendOptions(
            data,
            wallet,
            recipient,
            units,
            _now_millis(),
            shard=shard,
            to_shard=to_shard,
            tier=tier,
            lifetime_slots=_lifetime(call),
            nonce=nonce,
        )
        sent = send_payment(view, genesis, options)
        congestion = congestion_of(view.log, shard, _now_millis())
    if congestion.is_overloaded:
        call.report.note(str(congestion))
    return sent


def scan(call: Call, *, wallet: str) -> None:
    """Finds incoming notes of the private tiers.

    Raises:
        EnvironmentMissing: Always: the private tiers are not built yet.
    """
    scan_notes()


def receipt(
    call: Call, *, transaction: str, shard: int, inclusion: Path | None
) -> Receipt | WrittenInclusion:
    """Tells how certain a transaction is, and writes its path to the day's statement if a file is named."""
    settings = call.settings()
    genesis = load_genesis(genesis_path(settings.data))
    with _open(call) as view:
        if inclusion is None:
            return read_receipt(view, genesis, transaction, shard)
        place = BeaconPlace(view.log, genesis, settings.configuration, NumpyHasher())
        return write_inclusion(place, transaction, shard, inclusion)


def _lifetime(call: Call) -> int:
    return max(1, call.settings().configuration.admission.max_expiry_slots // 2)


@contextmanager
def _open(call: Call) -> Iterator[TopicView]:
    with closing(open_existing_log(call.settings().log_url)) as log:
        yield TopicView(log)


def _now_millis() -> int:
    return time.time_ns() // 1_000_000
