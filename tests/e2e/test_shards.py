"""Two shards in one process: what one sends arrives on the other, also when a validator dies in between."""

from __future__ import annotations

from pathlib import Path

import pytest

from operators.audit import audit_export
from operators.audit_findings import Finding
from operators.block_payload import decode_payload
from operators.export import ExportSource, export_epochs
from operators.topic_view import TopicView
from operators.validator import ShardValidator
from pipelines.account_keys import issuer_pair
from pipelines.chain_setup import genesis_path
from pipelines.node import Roles
from proving.arithmetic.poseidon2 import NumpyHasher
from proving.ledger.state import Ledger
from proving.signatures import KeyPair
from schemas.config import Configuration
from schemas.genesis import Genesis
from schemas.job import JobEvent
from schemas.tables import BLOCKS, JOBS, REJECTED, WINDOWS
from schemas.transactions import (
    SIGNATURE_CONTEXT,
    SignedTransaction,
    Transaction,
    TransactionKind,
)
from schemas.units import Array
from tests.suites.mini_chain import SEED, MiniChain, small_configuration

USER = KeyPair.from_seed(b"\2" * 32)
SENDER, FEE, EXPIRY = 16, 1000, 7000
ROLES = ("admission", "validator-0", "validator-1", "validator-2", "validator-3", "chain")


def two_shards() -> Configuration:
    base = small_configuration()
    return base.model_copy(update={"chain": base.chain.model_copy(update={"shards": 2})})


def signed(pair: KeyPair, body: Transaction) -> SignedTransaction:
    return SignedTransaction(body, pair.sign(body.body(), SIGNATURE_CONTEXT))


def opening(genesis: Genesis, shard: int) -> list[SignedTransaction]:
    kinds = TransactionKind
    place = (genesis.chain, shard, 0)
    issuer = issuer_pair(SEED)
    address, key = bytes([7]) * 20, USER.public_key
    opens = Transaction(kinds.REGISTER, *place, 0, 0, 0, 0, EXPIRY, address, key)
    funds = Transaction(kinds.ISSUE, *place, SENDER, 10**12, 0, 1, EXPIRY)
    return [signed(issuer, opens), signed(issuer, funds)]


def send(genesis: Genesis, shard: int, nonce: int, recipient: int = SENDER) -> SignedTransaction:
    kind, peer = TransactionKind.OUTBOUND, 1 - shard
    place = (genesis.chain, shard, SENDER, recipient)
    return signed(USER, Transaction(kind, *place, 5 + nonce, FEE, nonce, EXPIRY, peer=peer))


def ledger(chain: MiniChain, name: str, shard: int) -> Ledger:
    role = chain.roles[name]
    assert isinstance(role, Roles)
    part = role.parts[shard]
    assert isinstance(part, ShardValidator)
    return part.state.application.final.ledger


def are_delivered(chain: MiniChain, name: str, count: int) -> bool:
    """Whether every link says the same at both ends, and shard 1 has taken so many transfers."""
    ledgers = [ledger(chain, name, shard) for shard in (0, 1)]
    same = all(
        ledgers[s].link(Array.OUT, 1 - s) == ledgers[1 - s].link(Array.INB, s) for s in (0, 1)
    )
    return same and arrived(chain, 1) >= count


def is_second_epoch(chain: MiniChain) -> bool:
    """Whether a final block of shard 0 shows that its first epoch is over: what it sent may be delivered."""
    slots = [row["slot"] for row in TopicView(chain.log()).rows("blocks.0", BLOCKS)]
    clock = chain.genesis
    return bool(slots) and clock.epoch_of(clock.window_of(slots[-1])) > 0


def arrived(chain: MiniChain, shard: int) -> int:
    rows = TopicView(chain.log()).rows(f"blocks.{shard}", BLOCKS)
    return sum(len(decode_payload(row["payload"]).received) for row in rows)


@pytest.mark.parametrize("victim", ["", "validator-1", "chain"])
def test_transfers_reach_the_other_shard(tmp_path: Path, victim: str) -> None:
    chain = MiniChain(tmp_path / "data", two_shards())
    chain.start(*ROLES)
    for shard in (0, 1):
        chain.send(opening(chain.genesis, shard), shard=shard)
    chain.send([send(chain.genesis, 0, nonce) for nonce in range(3)])
    chain.send([send(chain.genesis, 0, 3, recipient=999)])
    chain.send([send(chain.genesis, 1, 0)], shard=1)
    if victim:
        chain.run_until(lambda: is_second_epoch(chain), 10)
        chain.kill(victim)
        for _ in range(3):
            chain.step()
        chain.start(victim)
    name = victim if victim.startswith("validator") else "validator-0"
    chain.run_until(lambda: are_delivered(chain, name, 4) and arrived(chain, 0) == 2, 30)
    assert not list(TopicView(chain.log()).rows("rejected", REJECTED))
    first, second = (ledger(chain, name, shard) for shard in (0, 1))
    assert first.account(SENDER).balance == 10**12 - (5 + 6 + 7) - 4 * FEE * 1000 + 5
    assert second.account(SENDER).balance == 10**12 + 5 + 6 + 7 - FEE * 1000 - 5
    chain.run_until(lambda: are_closed(chain), 10)
    chain.close()
    assert {finding.check for finding in found_in_exports(chain)} <= {"proofs"}


@pytest.mark.parametrize("victim", ["", "admission", "chain"])
def test_units_from_another_shard_can_be_spent(tmp_path: Path, victim: str) -> None:
    chain = MiniChain(tmp_path / "data", two_shards())
    chain.start(*ROLES)
    chain.send(opening(chain.genesis, 0))
    chain.send(opening(chain.genesis, 1)[:1], shard=1)
    kind, millions = TransactionKind.OUTBOUND, 10**9
    place = (chain.genesis.chain, 0, SENDER, SENDER)
    chain.send(
        [signed(USER, Transaction(kind, *place, millions, FEE, n, EXPIRY, peer=1)) for n in (0, 1)]
    )
    back = Transaction(
        kind,
        chain.genesis.chain,
        1,
        SENDER,
        SENDER,
        2 * millions - FEE * 1000,
        FEE,
        0,
        EXPIRY,
        peer=0,
    )
    chain.send([signed(USER, back)], shard=1)  # too early, and therefore refused
    chain.run_until(lambda: are_delivered(chain, "validator-0", 2), 30)
    if victim:
        chain.kill(victim)
        chain.start(victim)
    chain.run_until(lambda: arrived(chain, 1) == 2, 10)
    chain.send([signed(USER, back)], shard=1)
    chain.run_until(lambda: arrived(chain, 0) == 1, 30)
    refused = [row["reason"] for row in TopicView(chain.log()).rows("rejected", REJECTED)]
    assert refused == ["overdraft"]
    first, second = (ledger(chain, "validator-0", shard) for shard in (0, 1))
    assert second.account(SENDER).balance == 0
    assert first.account(SENDER).balance == 10**12 - 3 * FEE * 1000


def test_windows_with_arrivals_are_proven_accepted_and_audited(tmp_path: Path) -> None:
    chain = MiniChain(tmp_path / "data", two_shards())
    chain.start_all(proving=True)
    for shard in (0, 1):
        chain.send(opening(chain.genesis, shard), shard=shard)
    chain.send([send(chain.genesis, 0, 0), send(chain.genesis, 0, 1, recipient=999)])
    chain.run_until(lambda: are_delivered(chain, "validator-0", 2), 30)
    assert (arrived(chain, 0), arrived(chain, 1)) == (1, 2)
    chain.run_until(lambda: are_closed(chain), 30)
    chain.run_until(lambda: accepted(chain) >= segments(chain), 60)
    chain.close()
    assert found_in_exports(chain) == []


def accepted(chain: MiniChain) -> int:
    """Segments whose proof the beacon has accepted."""
    rows = TopicView(chain.log()).rows("jobs", JOBS)
    return len({row["job_id"] for row in rows if row["event"] == JobEvent.ACCEPTED})


def segments(chain: MiniChain) -> int:
    """Segments of all closed windows of both shards."""
    view = TopicView(chain.log())
    return sum(row["segments"] for k in (0, 1) for row in view.rows(f"windows.{k}", WINDOWS))


def found_in_exports(chain: MiniChain) -> list[Finding]:
    """Exports both shards and returns what an audit finds wrong."""
    source = ExportSource(chain.log(), genesis_path(chain.data), FEE, NumpyHasher())
    export_epochs(source, chain.data, [0, 1])
    audits = audit_export(chain.data, FEE, NumpyHasher())
    assert {audit.shard for audit in audits} == {0, 1}
    return [finding for audit in audits for finding in audit.findings]


def are_closed(chain: MiniChain) -> bool:
    """Whether the windows with arrivals are closed on both shards."""
    view = TopicView(chain.log())
    return all(_closed_height(view, shard) > _arrival_height(view, shard) for shard in (0, 1))


def _closed_height(view: TopicView, shard: int) -> int:
    rows = view.rows(f"windows.{shard}", WINDOWS)
    return max((int(row["end_height"]) for row in rows), default=0)


def _arrival_height(view: TopicView, shard: int) -> int:
    rows = view.rows(f"blocks.{shard}", BLOCKS)
    return max(int(row["height"]) for row in rows if decode_payload(row["payload"]).received)
