"""Clocks of validators that jump: nothing waits for the jump to pass, and nobody moves the chain's clock ahead."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from operators.topic_view import TopicView
from pipelines.corpus import CorpusRow
from schemas.block import header_from_bytes
from schemas.tables import BLOCKS, RECEIPTS
from schemas.workload import Workload
from tests.suites.mini_chain import MiniChain, small_traffic

ROLES = ("admission", "validator-0", "validator-1", "validator-2", "validator-3", "chain")
HOUR = 3_600_000


class Skewed(MiniChain):
    """A chain whose validators' clocks may be off, each by its own number of milliseconds."""

    skews: dict[str, int]
    traffic: list[CorpusRow]

    def pump(self, name: str) -> bool:
        return self.roles[name].pump(self.now + self.skews.get(name, 0))

    def pay(self, count: int, seconds: float) -> None:
        """Sends so many transfers, one every two steps, and waits until they are final."""
        wanted = finals(self) + count
        for row in self.traffic[:count]:
            self.send([row])
            self.step()
            self.step()
        del self.traffic[:count]
        self.run_until(lambda: finals(self) == wanted, seconds)


def finals(chain: MiniChain) -> int:
    rows = TopicView(chain.log()).rows("receipts", RECEIPTS)
    return sum(row["state"] == "bft_final" for row in rows)


def slots(chain: MiniChain) -> list[int]:
    rows = TopicView(chain.log()).rows("blocks.0", BLOCKS)
    return [header_from_bytes(row["header"]).slot for row in rows]


@pytest.fixture
def chain(tmp_path: Path) -> Iterator[Skewed]:
    made = Skewed(tmp_path / "data")
    made.skews = {}
    made.traffic = small_traffic(tmp_path, made.genesis, Workload(accounts=4, funding=10**12), 50)
    made.start(*ROLES)
    made.pay(len(made.traffic) - 30, 20)
    yield made
    made.close()


@pytest.mark.parametrize("jump", [60_000, -HOUR])
def test_a_jump_of_all_clocks_there_and_back_stops_nothing(chain: Skewed, jump: int) -> None:
    chain.skews = dict.fromkeys(ROLES, jump)
    chain.pay(10, 10)
    chain.skews = {}
    chain.pay(10, 10)


@pytest.mark.parametrize("jump", [HOUR, -HOUR])
def test_a_jump_of_one_clock_stops_nothing_and_moves_no_slot(chain: Skewed, jump: int) -> None:
    chain.skews = {"validator-1": jump}
    chain.pay(12, 30)
    found = slots(chain)
    assert found == sorted(found)
    assert found[-1] <= chain.genesis.slot_at(chain.now)
    chain.skews = {}
    chain.pay(10, 10)
