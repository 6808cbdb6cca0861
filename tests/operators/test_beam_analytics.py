"""Windows counted by Beam pipelines, against the same parts added up in plain loops."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest

from operators.analytics_feed import ClosedWindow, first_position
from operators.analytics_files import analytics_folder, counted_windows, window_folder
from operators.beam_analytics import WindowWork, close_windows
from operators.beam_source import ChainLog, ShardSource
from operators.event_log import Record, open_log
from pipelines.analytics import CountingPlace, WindowCounting, open_counting
from schemas.errors import InvariantError
from tests.suites.counted_chain import (
    SHARDS,
    CountedChain,
    count_alone,
    counted_chain,
    feed_items,
    files_of,
)

pytestmark = pytest.mark.beam


def _expected(chain: CountedChain, root: Path) -> dict[str, bytes]:
    for shard in range(SHARDS):
        count_alone(chain, root, feed_items(chain, shard))
    return files_of(root)


def _direct(chain: CountedChain, root: Path, turns: int | None = None) -> WindowCounting:
    with open_log(chain.log_url) as log:
        place = CountingPlace(log, chain.log_url, chain.genesis, range(SHARDS), root)
        counting = open_counting("direct", place, "")
        while turns is None or turns:
            if not counting.turn(time.time_ns() // 1_000_000):
                break
            turns = None if turns is None else turns - 1
        return counting


def test_one_pipeline_per_closed_window_writes_what_plain_loops_write(tmp_path: Path) -> None:
    chain = counted_chain()
    expected = _expected(chain, tmp_path / "alone")
    counting = _direct(chain, tmp_path / "direct")
    assert files_of(tmp_path / "direct") == expected
    windows = [len(counted_windows(tmp_path / "direct", shard)) for shard in range(SHARDS)]
    assert counting.counted == sum(windows) > 8


def test_stopped_anywhere_and_started_again_it_writes_the_same(tmp_path: Path) -> None:
    chain = counted_chain()
    expected = _expected(chain, tmp_path / "alone")
    while _direct(chain, tmp_path / "direct", turns=1).counted:
        pass
    assert files_of(tmp_path / "direct") == expected
    newest = counted_windows(tmp_path / "direct", 0)[-1]
    shutil.rmtree(window_folder(tmp_path / "direct", chain.genesis, 0, newest))
    assert _direct(chain, tmp_path / "direct").counted == 1
    assert files_of(tmp_path / "direct") == expected
    assert _direct(chain, tmp_path / "direct").counted == 0


def test_a_closed_window_has_been_counted_and_an_open_one_has_not(tmp_path: Path) -> None:
    chain = counted_chain()
    counting = _direct(chain, tmp_path, turns=1)
    assert not counting.has_counted(3)
    counting = _direct(chain, tmp_path)
    end = min(reader.feed.position.open_window for reader in counting.feeds.values())
    assert counting.has_counted(end)
    assert not counting.has_counted(end + 1)


def test_windows_after_the_wanted_one_are_not_written(tmp_path: Path) -> None:
    chain = counted_chain()
    closings = [item for item in feed_items(chain, 0) if isinstance(item, ClosedWindow)]
    source = ShardSource(0, first_position(0), closings[1].window)
    close_windows(WindowWork(ChainLog(chain.log_url, chain.genesis), tmp_path), [source])
    assert counted_windows(tmp_path, 0) == [one.window for one in closings[:2]]


def test_a_window_that_cannot_be_counted_ends_the_pipeline_with_its_own_error(
    tmp_path: Path,
) -> None:
    chain = counted_chain()
    url = f"sqlite:///{tmp_path / 'log.sqlite'}"
    with open_log(url) as log, open_log(chain.log_url) as source:
        log.create_topics(dict(source.topics()))
        for topic in ("votes.0", "blocks.0", "receipts", "rejected"):
            for record in source.read(topic, 0, 10_000):
                log.append(topic, [Record(record.value, record.headers)], is_durable=False)
    wanted = ShardSource(0, first_position(0), 0)
    with pytest.raises(InvariantError, match=r"which tx\.0 lacks"):
        close_windows(WindowWork(ChainLog(url, chain.genesis), tmp_path), [wanted])
    assert not analytics_folder(tmp_path).exists()
