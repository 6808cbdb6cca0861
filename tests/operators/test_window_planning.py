"""Window closing and job planning under Beam's local runner, against the loop driver: the same records, byte for byte."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from operators.event_log import FencedError, LogReader, open_log
from operators.log_sqlite import SqliteReader
from operators.window_planning import close_stages
from pipelines.analytics import open_counting
from tests.suites.counted_chain import SHARDS, count_alone, counted_chain, feed_items, files_of
from tests.suites.planned_chain import (
    NOW,
    Planned,
    chain_records,
    plan_by_loop,
    planned_place,
    planned_records,
    planning,
    unplanned_log,
)

pytestmark = pytest.mark.beam


def _direct(url: str, root: Path, turns: int | None = None, max_ahead: int = 1_000) -> int:
    with open_log(url) as log:
        counting = open_counting("direct", planned_place(log, root, max_ahead), "")
        try:
            while turns is None or turns:
                if not counting.turn(NOW):
                    break
                turns = None if turns is None else turns - 1
        finally:
            counting.close()
        return counting.counted


@pytest.fixture
def expected(tmp_path: Path) -> Planned:
    """What the loop driver plans."""
    url = unplanned_log(tmp_path / "loop.sqlite")
    plan_by_loop(url, tmp_path / "loop")
    found = planned_records(url)
    assert len(found["windows.0"]) > 2
    assert len(found["windows.1"]) > 2
    assert len(found["jobs"]) >= len(found["windows.0"]) + len(found["windows.1"])
    return found


def test_windows_closed_by_beam_are_planned_as_by_the_loop_and_counted(
    tmp_path: Path, expected: Planned
) -> None:
    url = unplanned_log(tmp_path / "beam.sqlite")
    assert _direct(url, tmp_path / "beam") > 4
    assert planned_records(url) == expected
    for shard in range(SHARDS):
        count_alone(counted_chain(), tmp_path / "alone", feed_items(counted_chain(), shard))
    assert files_of(tmp_path / "beam") == files_of(tmp_path / "alone")


def test_stopped_after_any_window_and_started_again_it_plans_the_same(
    tmp_path: Path, expected: Planned
) -> None:
    url = unplanned_log(tmp_path / "beam.sqlite")
    while _direct(url, tmp_path / "beam", turns=1):
        for topic, found in planned_records(url).items():
            assert all(one in expected[topic] for one in found)
    assert planned_records(url) == expected
    shutil.rmtree(tmp_path / "beam" / "analytics")
    assert _direct(url, tmp_path / "beam") > 4
    assert planned_records(url) == expected


def test_windows_that_are_counted_and_not_planned_are_planned_at_the_start(
    tmp_path: Path, expected: Planned
) -> None:
    url, root = unplanned_log(tmp_path / "beam.sqlite"), tmp_path / "beam"
    for shard in range(SHARDS):
        count_alone(counted_chain(), root, feed_items(counted_chain(), shard))
    assert _direct(url, root) == 0
    assert planned_records(url) == expected


def test_loop_and_beam_take_turns_on_one_stage_and_a_lost_snapshot_is_computed(
    tmp_path: Path, expected: Planned
) -> None:
    records = chain_records()
    url, root = unplanned_log(tmp_path / "both.sqlite", records[: len(records) // 3]), tmp_path
    plan_by_loop(url, root / "stages")
    unplanned_log(tmp_path / "both.sqlite", records[len(records) // 3 : len(records) // 2])
    _direct(url, root)
    (root / "stages" / "windows.0.snapshot").unlink()
    unplanned_log(tmp_path / "both.sqlite", records[len(records) // 2 :])
    plan_by_loop(url, root / "stages")
    assert planned_records(url) == expected


def test_nothing_is_looked_at_while_proofs_are_too_far_behind(
    tmp_path: Path, expected: Planned
) -> None:
    """The chain has no beacon, so no window is ever accepted."""
    records, root = chain_records(), tmp_path / "beam"
    cut = 3 * len(records) // 4  # the third window has begun
    url = unplanned_log(tmp_path / "beam.sqlite", records[:cut])
    assert _direct(url, root, max_ahead=1) > 0
    held = planned_records(url)
    unplanned_log(tmp_path / "beam.sqlite", records[cut:])
    assert _direct(url, root, max_ahead=1) == 0
    assert planned_records(url) == held != expected
    assert _direct(url, root) > 0
    assert planned_records(url) == expected


def test_a_stage_that_was_started_elsewhere_is_fenced_and_starts_again_from_the_log(
    tmp_path: Path, expected: Planned
) -> None:
    url, mine = unplanned_log(tmp_path / "beam.sqlite"), planning(tmp_path / "stages")
    assert mine.plan(url, 0, -1, NOW) == -1
    plan_by_loop(url, tmp_path / "other")
    with pytest.raises(FencedError):
        mine.plan(url, 0, 10**6, NOW)
    assert mine.plan(url, 0, 10**6, NOW) > 0
    close_stages(url, mine)
    assert planned_records(url) == expected


def test_a_commit_that_fails_leaves_nothing_and_the_next_call_does_it_again(
    tmp_path: Path,
    expected: Planned,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    url, mine = unplanned_log(tmp_path / "beam.sqlite"), planning(tmp_path / "stages")

    def die(_: LogReader, __: object = ()) -> None:
        raise OSError("killed")

    with monkeypatch.context() as patched:
        patched.setattr(SqliteReader, "commit", die)
        with pytest.raises(OSError, match="killed"):
            mine.plan(url, 0, 10**6, NOW)
    assert planned_records(url)["windows.0"] == []
    for shard in range(SHARDS):
        mine.plan(url, shard, 10**6, NOW)
    close_stages(url, mine)
    assert planned_records(url) == expected
