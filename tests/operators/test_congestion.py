from __future__ import annotations

from pathlib import Path

import pytest

from operators.congestion import LOOK_BACK, OVERLOAD_MILLIS, Congestion, congestion_of
from operators.event_log import Record
from operators.log_memory import MemoryLog, MemoryStore
from operators.topic_view import TopicView
from schemas.tables import ADMITTED, encode
from schemas.topics import all_topics
from schemas.workload import Workload
from tests.e2e.test_overload import bounded, final
from tests.suites.mini_chain import MiniChain, small_traffic

NOW = 1_000_000


@pytest.fixture
def log() -> MemoryLog:
    store = MemoryStore()
    store.now_millis = lambda: NOW
    made = MemoryLog("memory://congestion", store)
    made.create_topics(dict.fromkeys(all_topics(1), 1))
    return made


def judge(log: MemoryLog, *offsets: int) -> None:
    rows = [
        {"source_offset": one, "row_count": 0, "verdicts": b"", "admitted_millis": NOW}
        for one in offsets
    ]
    TopicView(log).append("admitted.0", *encode(ADMITTED, ADMITTED.batch(rows)))


def test_what_waits_is_what_comes_after_the_last_verdict(log: MemoryLog) -> None:
    assert congestion_of(log, 0, NOW) == Congestion(0, 0, 0)
    log.append("tx.0", [Record(b"x")] * 5)
    assert congestion_of(log, 0, NOW + 7) == Congestion(0, 5, 7)
    judge(log, 0, 1)
    judge(log, 2)
    assert congestion_of(log, 0, NOW + 7) == Congestion(0, 2, 7)
    judge(log, 3, 4)
    assert congestion_of(log, 0, NOW + 7) == Congestion(0, 0, 0)


def test_the_last_verdict_is_found_behind_records_that_are_none(log: MemoryLog) -> None:
    log.append("tx.0", [Record(b"x")] * 3)
    judge(log, 1)
    log.append("admitted.0", [Record(b"junk")] * (LOOK_BACK[0] + 1))
    assert congestion_of(log, 0, NOW).records == 1


def test_a_shard_is_overloaded_when_its_oldest_record_waits_for_blocks() -> None:
    assert not Congestion(0, 9, OVERLOAD_MILLIS).is_overloaded
    found = Congestion(1, 9, OVERLOAD_MILLIS + 100)
    assert found.is_overloaded
    assert str(found).startswith(
        "overloaded: 9 records wait on tx.1 for admission, the oldest for 2.1 s"
    )


def test_a_chain_without_enough_blocks_says_that_it_is_overloaded(tmp_path: Path) -> None:
    chain = MiniChain(tmp_path / "data", bounded(64))
    rows = small_traffic(tmp_path, chain.genesis, Workload(accounts=4, funding=10**12), 120)
    chain.start("admission")
    chain.send(rows)
    for _ in range(OVERLOAD_MILLIS // 20 + 2):
        chain.step()
    assert congestion_of(chain.log(), 0, chain.now).is_overloaded
    chain.start(*(f"validator-{index}" for index in range(4)), "chain")
    chain.run_until(lambda: final(chain) == len(rows), 60)
    assert not congestion_of(chain.log(), 0, chain.now).is_overloaded
    chain.close()
