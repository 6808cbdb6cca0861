from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest

from operators.topic_view import TopicView
from pipelines.corpus import ADMITTED, TRAFFIC_PHASE
from schemas.tables import BLOCKS, RECEIPTS, REJECTED
from schemas.workload import Invalidity, Workload
from tests.e2e.dictionary_executor import execute_log
from tests.suites.mini_chain import MiniChain, small_traffic

WORKLOAD = Workload(accounts=6, funding=10**12, invalid=dict.fromkeys(Invalidity, 0.02))
ROLES = ("admission", "validator-0", "validator-1", "validator-2", "validator-3", "chain")


def _final(chain: MiniChain) -> list[bytes]:
    rows = TopicView(chain.log()).rows("receipts", RECEIPTS)
    return [row["digest"] for row in rows if row["state"] == "bft_final"]


def _rejections(chain: MiniChain) -> Counter[str]:
    rows = TopicView(chain.log()).rows("rejected", REJECTED)
    return Counter(row["reason"] for row in rows)


def _play(chain: MiniChain, folder: Path, kills: int, seed: int) -> None:
    rows = small_traffic(folder, chain.genesis, WORKLOAD, 60)
    wanted = Counter(row.expected for row in rows)
    chain.start(*ROLES)
    rng = random.Random(seed)  # noqa: S311 - a reproducible schedule
    genesis = [row for row in rows if row.phase != TRAFFIC_PHASE]
    traffic = [row for row in rows if row.phase == TRAFFIC_PHASE]
    chain.send(genesis)
    left = kills
    while traffic or left or len(_final(chain)) < wanted[ADMITTED]:
        assert chain.now < chain.genesis.start_millis + 120_000
        chain.send(traffic[:4])
        del traffic[:4]
        if left and rng.random() < 0.5:
            victim = rng.choice(ROLES)
            chain.kill(victim)
            for _ in range(rng.randrange(3)):
                chain.step()
            chain.start(victim)
            left -= 1
        chain.step()
    chain.run_until(lambda: _rejections(chain).total() == len(rows) - wanted[ADMITTED], 30)
    del wanted[ADMITTED]
    assert _rejections(chain) == wanted
    digests = _final(chain)
    assert len(digests) == len(set(digests))


def test_all_verdicts_and_balances_are_those_of_a_dictionary_executor(tmp_path: Path) -> None:
    chain = MiniChain(tmp_path / "data")
    _play(chain, tmp_path, 0, 1)
    books = execute_log(chain.log())
    ledger = chain.roles["chain"].parts[0].state.application.final.ledger  # type: ignore[attr-defined]
    indices = set(books.balances) | set(books.nonces) | set(ledger.accounts)
    assert {i: (books.balances[i], books.nonces[i]) for i in indices} == {
        i: (ledger.account(i).balance, ledger.account(i).nonce) for i in indices
    }
    assert books.supply_holds
    assert len(books.addresses) == WORKLOAD.accounts
    chain.close()


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_kills_at_any_step_lose_and_double_nothing(tmp_path: Path, seed: int) -> None:
    peace, chaos = MiniChain(tmp_path / "peace"), MiniChain(tmp_path / "chaos")
    _play(peace, tmp_path, 0, seed)
    _play(chaos, tmp_path, 12, seed)
    assert chaos.view().state_root == peace.view().state_root
    assert execute_log(chaos.log()).digest() == execute_log(peace.log()).digest()


def test_an_idle_chain_makes_one_empty_block_an_epoch(tmp_path: Path) -> None:
    """So that everybody knows when a shard's epoch is over; between them it is silent."""
    chain = MiniChain(tmp_path / "data")
    chain.start(*ROLES)
    chain.send(small_traffic(tmp_path, chain.genesis, WORKLOAD, 1))
    chain.run_until(lambda: chain.view().is_sealed and chain.view().height > 0, 20)
    quiet = chain.view().height
    for _ in range(400):
        chain.step()
    rows = list(TopicView(chain.log()).rows("blocks.0", BLOCKS))
    assert [row["height"] for row in rows] == list(range(1, len(rows) + 1))
    genesis, idle = chain.genesis, rows[quiet - 1 :]
    assert not any(row["transactions"] for row in idle)
    epochs = [genesis.epoch_of(genesis.window_of(row["slot"])) for row in idle]
    assert epochs == list(range(epochs[0], epochs[0] + len(epochs)))
    assert len(epochs) > 3


def test_one_crashed_validator_of_four_does_not_stop_finality(tmp_path: Path) -> None:
    chain = MiniChain(tmp_path / "data")
    rows = small_traffic(tmp_path, chain.genesis, WORKLOAD, 20)
    chain.start(*(name for name in ROLES if name != "validator-2"))
    chain.send(rows)
    wanted = sum(row.expected == ADMITTED for row in rows)
    chain.run_until(lambda: len(_final(chain)) == wanted, 60)


def test_an_observer_that_starts_late_writes_every_block(tmp_path: Path) -> None:
    """It is shown a backlog of many views at once, and cannot ask for what it drops."""
    chain = MiniChain(tmp_path / "data")
    rows = small_traffic(tmp_path, chain.genesis, Workload(accounts=6, funding=10**12), 60)
    chain.start(*(name for name in ROLES if name != "chain"))
    for row in rows:
        chain.send([row])
        for _ in range(4):
            chain.step()
    height = chain.roles["validator-0"].node.core.tip.height  # type: ignore[attr-defined]
    assert height > 40
    chain.start("chain")
    chain.run_until(lambda: chain.view().height >= height, 5)
