"""The same windows counted by an unbounded job on Flink, against the bounded pipelines of this process."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from operators.analytics_feed import READER, first_position
from operators.analytics_files import counted_windows
from operators.beam_analytics import WindowWork
from operators.beam_flink import submit_windows
from operators.beam_source import ChainLog, ShardSource
from operators.event_log import open_log
from pipelines.analytics import (
    CountingPlace,
    WindowCounting,
    check_job_server,
    open_counting,
)
from schemas.errors import EnvironmentMissing
from tests.suites.counted_chain import (
    SHARDS,
    CountedChain,
    copy_log,
    counted_chain,
    feed_items,
    files_of,
)
from tests.suites.flink_servers import flink_server

PATIENCE_SECONDS = 60.0


def _count(
    chain: CountedChain, root: Path, runner: str, is_done: Callable[[WindowCounting], bool]
) -> WindowCounting:
    address = flink_server().address if runner == "flink" else ""
    with open_log(chain.log_url) as log:
        place = CountingPlace(log, chain.log_url, chain.genesis, range(SHARDS), root)
        counting = open_counting(runner, place, address)
        deadline = time.monotonic() + PATIENCE_SECONDS
        try:
            while not is_done(counting):
                assert time.monotonic() < deadline, counting.counted
                if not counting.turn(time.time_ns() // 1_000_000):
                    log.wait(0.05)
        finally:
            counting.close()
        return counting


def _end(chain: CountedChain) -> int:
    """Returns the window below which all are closed on every shard."""
    return min(feed_items(chain, shard)[-1].window + 1 for shard in range(SHARDS))


@pytest.mark.beam
@pytest.mark.flink
def test_flink_writes_what_the_direct_runner_writes_byte_for_byte(tmp_path: Path) -> None:
    chain = counted_chain()
    end = _end(chain)
    _count(chain, tmp_path / "direct", "direct", lambda counting: counting.has_counted(end))
    expected = files_of(tmp_path / "direct")
    _count(chain, tmp_path / "flink", "flink", lambda counting: counting.has_counted(end))
    assert files_of(tmp_path / "flink") == expected
    assert len(expected) == 5 * sum(
        len(counted_windows(tmp_path / "flink", shard)) for shard in range(SHARDS)
    )


@pytest.mark.beam
@pytest.mark.flink
def test_a_job_cancelled_after_any_window_and_its_successor_write_the_same(tmp_path: Path) -> None:
    chain = counted_chain()
    end = _end(chain)
    _count(chain, tmp_path / "direct", "direct", lambda counting: counting.has_counted(end))
    expected = files_of(tmp_path / "direct")
    root = tmp_path / "flink"
    _count(chain, root, "flink", lambda _: bool(counted_windows(root, 0)))
    found = files_of(root)
    assert found.items() <= expected.items()
    _count(chain, root, "flink", lambda counting: counting.has_counted(end))
    assert files_of(root) == expected


@pytest.mark.beam
@pytest.mark.flink
def test_everything_read_twice_changes_no_file_and_offsets_follow_the_checkpoints(
    tmp_path: Path,
) -> None:
    """A job that has lost its state reads from the beginning; here beside the windows that are there."""
    end = _end(counted_chain())
    _count(counted_chain(), tmp_path, "direct", lambda counting: counting.has_counted(end))
    expected = files_of(tmp_path)
    times = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.parquet")}
    chain = replace(counted_chain(), log_url=_own_copy(tmp_path))
    assert _committed(chain) == 0
    sources = [ShardSource(shard, first_position(shard)) for shard in range(SHARDS)]
    with open_log(chain.log_url) as log:
        last = log.end_offset("blocks.0")
        work = WindowWork(ChainLog(chain.log_url, chain.genesis), tmp_path)
        job = submit_windows(work, sources, flink_server().address)
        deadline = time.monotonic() + PATIENCE_SECONDS
        try:
            while _committed(chain) < last:
                job.check()
                assert time.monotonic() < deadline
                log.wait(0.1)
        finally:
            job.cancel()
    assert files_of(tmp_path) == expected
    assert {path: path.stat().st_mtime_ns for path in times} == times


def _own_copy(folder: Path) -> str:
    chain = counted_chain()
    with open_log(chain.log_url) as log:
        return copy_log(log, folder / "log.sqlite")


def _committed(chain: CountedChain) -> int:
    """Returns up to where the jobs have read shard 0, without fencing them."""
    path = chain.log_url.removeprefix("sqlite:///")
    with closing(sqlite3.connect(path)) as connection:
        row = connection.execute(
            "select offset from positions where name = ? and topic = 'blocks.0'", (f"{READER}.0",)
        ).fetchone()
    return int(row[0]) if row else 0


@pytest.mark.beam
@pytest.mark.parametrize("address", ["127.0.0.1:1", "nowhere"])
def test_a_missing_job_server_is_named_with_the_next_step(address: str) -> None:
    with pytest.raises(EnvironmentMissing, match="no Flink job server answers") as caught:
        check_job_server(address)
    assert "make flink" in caught.value.hint
    assert caught.value.exit_code == 5
