from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.latency import (
    LatencyRecorder,
    LatencySummary,
    Rate,
    Scheduled,
    batch_by_time,
    due_times,
    parse_rate,
)
from schemas.errors import ParameterError

MILLI = 1_000_000


@dataclass
class ManualClock:
    now: int = 1_000
    waits: list[int] = field(default_factory=list)

    def now_nanos(self) -> int:
        return self.now

    def wait_until(self, nanos: int) -> None:
        self.waits.append(nanos)
        self.now = max(self.now, nanos)


def _items(*dues: int, size: int = 10) -> list[Scheduled[int]]:
    return [Scheduled(due, index, size) for index, due in enumerate(dues)]


def _run(
    items: Iterable[Scheduled[int]], *, max_bytes: int = 100, linger: int = 20, stall: int = 0
) -> list[tuple[int, list[int]]]:
    """Batches with the time at which each was handed over; the consumer takes `stall` per batch."""
    clock, out = ManualClock(), []
    for batch in batch_by_time(items, clock, 1_000, max_bytes, linger):
        out.append((clock.now - 1_000, [scheduled.item for scheduled in batch]))
        clock.now += stall
    return out


def test_a_batch_leaves_when_the_next_item_is_due_after_its_linger() -> None:
    assert _run(_items(0, 5, 20, 21, 90)) == [(20, [0, 1, 2]), (21, [3]), (90, [4])]


def test_a_batch_leaves_when_it_is_full() -> None:
    assert _run(_items(0, 0, 0, 0, 0), max_bytes=20) == [(0, [0, 1]), (0, [2, 3]), (0, [4])]


def test_one_item_above_the_limit_is_a_batch_of_its_own() -> None:
    assert _run(_items(0, 0, size=500), max_bytes=100) == [(0, [0]), (0, [1])]


def test_after_a_stall_overdue_items_fill_the_batches_and_nobody_waits() -> None:
    spread = _items(*range(0, 400, 50))
    assert _run(spread, stall=300) == [(0, [0]), (300, [1, 2, 3, 4, 5, 6]), (600, [7])]


@given(st.lists(st.integers(0, 1000), max_size=60).map(sorted), st.integers(0, 200))
def test_every_item_is_sent_once_in_order_and_never_early(dues: list[int], stall: int) -> None:
    batches = _run(_items(*dues), stall=stall)
    assert [item for _, batch in batches for item in batch] == list(range(len(dues)))
    assert all(at >= dues[item] for at, batch in batches for item in batch)


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("2x", Rate(speed=2.0)),
        ("0.5x", Rate(speed=0.5)),
        ("500/s", Rate(per_second=500.0)),
        ("max", Rate()),
    ],
)
def test_a_rate_reads_back(text: str, rate: Rate) -> None:
    assert parse_rate(text) == rate
    assert parse_rate(str(rate)) == rate


@pytest.mark.parametrize("text", ["", "x", "2", "-1x", "1e3/s", "fast", "0x", "0/s", "2 x"])
def test_a_wrong_rate_is_refused(text: str) -> None:
    with pytest.raises(ParameterError, match="a rate is"):
        parse_rate(text)


def test_due_times_follow_the_rate() -> None:
    events = [5_000, 5_010, 5_005, 6_000]
    assert list(due_times(Rate(per_second=4), events)) == [0, 250 * MILLI, 500 * MILLI, 750 * MILLI]
    assert list(due_times(Rate(speed=2), events)) == [0, 5 * MILLI, 5 * MILLI, 500 * MILLI]
    assert list(due_times(Rate(), events)) == [0, 0, 0, 0]


def test_a_speed_needs_recorded_times() -> None:
    with pytest.raises(ParameterError, match="transaction 1 has no recorded time, so 2x"):
        list(due_times(Rate(speed=2), [0, None]))


def test_percentiles_are_the_nearest_rank_above() -> None:
    recorder = LatencyRecorder()
    for milli in range(1, 1001):
        recorder.add(milli * MILLI)
    assert recorder.summary() == LatencySummary(1000, 501.0, 951.0, 991.0, 1000.0, 1000.0)
    assert LatencyRecorder().summary() is None
