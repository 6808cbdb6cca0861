from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from operators.event_log import open_log
from operators.topic_view import TopicView
from pipelines.corpus import CorpusRow
from pipelines.faults.transactions import Fates, Traffic
from schemas.tables import TRANSACTIONS

PATIENCE_SECONDS = 20.0


def wait_for(is_done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not is_done():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_the_oldest_transaction_without_a_verdict_is_the_lag() -> None:
    fates = Fates()
    for number in range(3):
        fates.hand_over(bytes([number]), 10.0 + number)
    assert (fates.lag(15.0), fates.waiting_before(12.0)) == (5.0, 2)
    fates.make_final(b"\0")
    fates.make_final(b"\2")
    assert (fates.lag(15.0), fates.sent, fates.doubled) == (4.0, 3, 0)
    fates.make_final(b"\1")
    assert (fates.lag(15.0), fates.problems) == (0.0, [])


def test_a_second_finality_and_a_refusal_of_what_is_valid_are_problems() -> None:
    fates = Fates()
    for digest in (b"a", b"b"):
        fates.hand_over(digest, 0.0)
    fates.make_final(b"a")
    fates.make_final(b"a")
    fates.reject(b"b", "expired")
    assert (fates.doubled, len(fates.problems)) == (1, 2)
    assert fates.rejected == {"expired": 1}


def test_a_refused_copy_is_no_verdict_of_a_transaction_that_was_sent_again() -> None:
    fates = Fates()
    fates.hand_over(b"a", 0.0)
    fates.repeats.add(b"a")
    fates.reject(b"a", "replay")
    assert (fates.waiting_before(1.0), fates.problems) == (1, [])
    fates.make_final(b"a")
    assert fates.oldest() is None


def test_what_the_log_refuses_is_sent_again_until_it_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("operators.log_sqlite.BUSY_SECONDS", 0.05)
    path = tmp_path / "log.sqlite"
    url = f"sqlite:///{path}"
    with open_log(url) as log:
        log.create_topics({"tx.0": 1})
        rows = (CorpusRow("traffic", bytes([n]), b"s", "admitted", "") for n in range(256))
        fates = Fates()
        traffic = Traffic(url, rows, 50, fates)
        keeper = sqlite3.connect(path, isolation_level=None)
        traffic.start()
        wait_for(lambda: log.end_offset("tx.0") > 0)
        keeper.execute("begin immediate")  # as a process does that is stopped while it writes
        wait_for(lambda: traffic.refusals.total() > 1)
        end = log.end_offset("tx.0")
        keeper.execute("rollback")
        wait_for(lambda: log.end_offset("tx.0") > end)
        traffic.stop()
        keeper.close()
        assert traffic.failure is None
        assert [name.partition(":")[0] for name in traffic.refusals] == ["LogBusy"]
        bodies = [row["body"] for row in TopicView(log).rows("tx.0", TRANSACTIONS)]
    assert bodies == [bytes([n]) for n in range(len(bodies))]
    assert len(bodies) == fates.sent


def test_traffic_ends_while_the_log_refuses_everything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("operators.log_sqlite.BUSY_SECONDS", 0.05)
    path = tmp_path / "log.sqlite"
    url = f"sqlite:///{path}"
    with open_log(url) as log:
        log.create_topics({"tx.0": 1})
        rows = (CorpusRow("traffic", bytes([n]), b"s", "admitted", "") for n in range(256))
        fates = Fates()
        traffic = Traffic(url, rows, 50, fates)
        keeper = sqlite3.connect(path, isolation_level=None)
        traffic.start()
        wait_for(lambda: log.end_offset("tx.0") > 0)
        keeper.execute("begin immediate")
        refused = traffic.refusals.total
        wait_for(lambda: refused() > 0)
        stopping = threading.Thread(target=traffic.stop, daemon=True)
        stopping.start()
        stopping.join(PATIENCE_SECONDS)
        is_stopped = not stopping.is_alive()
        keeper.execute("rollback")
        keeper.close()
        assert is_stopped
        assert fates.oldest() is not None  # it counts as lost, for nobody knows


def test_traffic_that_ends_too_early_is_told(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'log.sqlite'}"
    with open_log(url) as log:
        log.create_topics({"tx.0": 1})
        traffic = Traffic(url, iter(()), 1000, Fates())
        traffic.start()
        wait_for(lambda: traffic.failure is not None)
        traffic.stop()
    assert isinstance(traffic.failure, EOFError)
