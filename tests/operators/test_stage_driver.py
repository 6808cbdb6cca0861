from __future__ import annotations

from pathlib import Path

import pytest

from operators.admission import Admission
from operators.event_log import EventLog, FencedError, Record, open_log
from operators.log_memory import MemoryLog, MemoryStore
from operators.stage_driver import open_driver
from operators.topic_view import TopicView
from pipelines.chain_setup import create_topics, prepare_chain
from schemas.config import profile_configuration
from schemas.genesis import Genesis
from schemas.tables import ADMITTED

LOCAL = profile_configuration("local")
NOW = 1_800_000_000_000


@pytest.fixture
def genesis(tmp_path: Path) -> Genesis:
    return prepare_chain(tmp_path, LOCAL, 1, lambda: NOW)


def judged(log: EventLog) -> list[int]:
    """Returns the offsets of `tx.0` that have a verdict."""
    return [row["source_offset"] for row in TopicView(log).rows("admitted.0", ADMITTED)]


def test_what_a_failed_commit_took_back_is_done_by_the_next_start(
    tmp_path: Path, genesis: Genesis
) -> None:
    url = f"sqlite:///{tmp_path / 'log.sqlite'}"
    stage = Admission(genesis, 0, LOCAL.admission)
    with open_log(url) as log, open_log(url) as other, open_log(url) as third:
        create_topics(log, genesis)
        first = open_driver(stage, log, tmp_path, genesis.chain)
        log.append("tx.0", [Record(b"garbage")])
        assert first.run_once(0.0, NOW) == 1
        open_driver(stage, other, tmp_path, genesis.chain)  # fences the first
        log.append("tx.0", [Record(b"more garbage")])
        with pytest.raises(FencedError):
            first.run_once(0.0, NOW)
        first.close()
        assert judged(log) == [0]
        again = open_driver(stage, third, tmp_path, genesis.chain)
        assert again.run_once(0.0, NOW) == 1
        assert judged(log) == [0, 1]


def test_a_snapshot_that_is_ahead_of_the_log_is_ignored(tmp_path: Path, genesis: Genesis) -> None:
    stage = Admission(genesis, 0, LOCAL.admission)
    store = MemoryStore()
    create_topics(MemoryLog("memory://", store), genesis)
    log = MemoryLog("memory://", store)
    ahead = open_driver(stage, log, tmp_path, genesis.chain)
    log.append("tx.0", [Record(b"garbage")])
    ahead.run_once(0.0, NOW)
    ahead.save()

    empty = MemoryLog("memory://", MemoryStore())
    create_topics(empty, genesis)
    empty.append("tx.0", [Record(b"garbage")])
    assert open_driver(stage, empty, tmp_path, genesis.chain).run_once(0.0, NOW) == 1
    assert judged(empty) == [0]
