"""More transactions than blocks may hold at once: the excess waits on the log, and nothing else changes."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from operators.admission_backlog import ASSEMBLY, LEAST_ROOM
from operators.bounded_admission import BoundedAdmission
from operators.chain_observer import ShardObserver
from operators.topic_view import TopicView
from operators.validator import ShardValidator
from pipelines.corpus import CorpusRow
from pipelines.node import Role, Roles
from schemas.config import Configuration
from schemas.tables import ADMITTED, BLOCKS, RECEIPTS, REJECTED
from schemas.workload import Workload
from tests.suites.mini_chain import MiniChain, small_configuration, small_traffic

COUNT = 400
PER_RECORD = 7
WORKLOAD = Workload(accounts=8, funding=10**12)


def bounded(most: int) -> Configuration:
    document = small_configuration().model_dump()
    document["admission"] |= {"max_waiting": most, "target_wait_millis": 1}
    return Configuration.model_validate(document)


def parts(role: Role) -> list[Role]:
    return list(role.parts) if isinstance(role, Roles) else [role]


def admission(chain: MiniChain) -> BoundedAdmission:
    (found,) = parts(chain.roles["admission"])
    assert isinstance(found, BoundedAdmission)
    return found


def held(chain: MiniChain) -> int:
    """Returns the most transactions that any process holds for blocks to come."""
    applications = [
        part.state.application
        for role in chain.roles.values()
        for part in parts(role)
        if isinstance(part, ShardValidator | ShardObserver)
    ]
    return max(len(one.mempool.store.rows) for one in applications)


def verdicts(chain: MiniChain) -> list[tuple[int, bytes]]:
    rows = TopicView(chain.log()).rows("admitted.0", ADMITTED)
    return [(row["source_offset"], row["verdicts"]) for row in rows]


def final(chain: MiniChain) -> int:
    rows = TopicView(chain.log()).rows("receipts", RECEIPTS)
    return sum(row["state"] == "bft_final" for row in rows)


def is_final(chain: MiniChain, count: int) -> bool:
    return final(chain) == count


@pytest.fixture
def loaded(tmp_path: Path) -> tuple[MiniChain, list[CorpusRow]]:
    chain = MiniChain(tmp_path / "data", bounded(LEAST_ROOM))
    return chain, small_traffic(tmp_path, chain.genesis, WORKLOAD, COUNT)


def test_what_is_admitted_and_held_stays_bounded_and_nothing_is_lost(
    loaded: tuple[MiniChain, list[CorpusRow]],
) -> None:
    chain, rows = loaded
    chain.start_all(proving=False)
    chain.send(rows, PER_RECORD)
    most_waiting = most_held = 0
    while final(chain) < len(rows):
        for name in list(chain.roles):
            chain.pump(name)
            most_waiting = max(most_waiting, len(admission(chain).backlog.waiting))
            most_held = max(most_held, held(chain))
        chain.now += 5
    assert LEAST_ROOM - PER_RECORD < most_waiting <= LEAST_ROOM + PER_RECORD
    assert most_held <= most_waiting
    assert final(chain) == len(rows)
    for _ in range(20):
        chain.step()
    assert not admission(chain).backlog.waiting
    chain.close()


def test_admission_waits_without_validators_and_goes_on_after_a_kill(
    loaded: tuple[MiniChain, list[CorpusRow]],
) -> None:
    chain, rows = loaded
    chain.start("admission")
    chain.send(rows, PER_RECORD)
    for _ in range(5):
        chain.step()
    stopped = verdicts(chain)
    assert LEAST_ROOM - PER_RECORD < PER_RECORD * len(stopped) <= LEAST_ROOM + PER_RECORD
    chain.kill("admission")
    chain.start_all(proving=False)
    chain.step()
    waiting = admission(chain).backlog.waiting
    assert 0 < len(waiting) < LEAST_ROOM + PER_RECORD
    chain.run_until(lambda: final(chain) == len(rows), 60)
    chain.close()


def test_verdicts_are_those_of_an_admission_that_never_waits(
    loaded: tuple[MiniChain, list[CorpusRow]], tmp_path: Path
) -> None:
    chain, rows = loaded
    other = MiniChain(tmp_path / "other", bounded(2**20))
    for one in (chain, other):
        one.send(rows, PER_RECORD)
        one.start_all(proving=False)
        one.run_until(partial(is_final, one, len(rows)), 60)
        one.close()
    assert verdicts(chain) == verdicts(other)


def test_a_queue_of_what_has_expired_is_cleared_without_waiting_for_the_end_of_an_epoch(
    tmp_path: Path,
) -> None:
    document = bounded(LEAST_ROOM).model_dump()
    document["clock"] |= {"windows_per_shard_epoch": 1024}
    chain = MiniChain(tmp_path / "data", Configuration.model_validate(document))
    rows = small_traffic(tmp_path, chain.genesis, WORKLOAD, COUNT, expiry_slot=120)
    chain.start("admission")
    chain.send(rows, PER_RECORD)
    chain.step()
    stopped = len(verdicts(chain))
    chain.now += 10_000  # 200 slots
    chain.start_all(proving=False)
    records = -(-len(rows) // PER_RECORD)
    assert stopped < records // 2
    chain.run_until(lambda: len(verdicts(chain)) == records, 5)
    chain.run_until(lambda: not admission(chain).backlog.waiting, 5)
    assert final(chain) == 0
    letters = list(TopicView(chain.log()).rows("rejected", REJECTED))
    assert len({(row["offset"], row["row"]) for row in letters}) == len(letters) == len(rows)
    assert {row["reason"] for row in letters} <= {"expired", "nonce_gap"}
    assert 0 < sum(row["stage"] == ASSEMBLY for row in letters) < len(rows)
    blocks = len(list(TopicView(chain.log()).rows("blocks.0", BLOCKS)))
    for _ in range(100):
        chain.step()
    assert len(list(TopicView(chain.log()).rows("blocks.0", BLOCKS))) == blocks
    # and every account goes on from its nonce of before
    again = small_traffic(tmp_path, chain.genesis, WORKLOAD, COUNT)
    chain.send(again, PER_RECORD)
    chain.run_until(lambda: final(chain) == len(again), 60)
    chain.close()
