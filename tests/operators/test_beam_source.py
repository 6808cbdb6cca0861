"""The source by itself: what it claims, gives away and goes on with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from operators import beam_source
from operators.analytics_feed import (
    READER,
    ClosedWindow,
    FeedItem,
    FeedPosition,
    feed_topics,
    first_position,
)
from operators.beam_source import (
    ECHOES,
    ChainLog,
    FeedRange,
    FeedRanges,
    FeedTracker,
    ReadFeed,
    ShardSource,
    source_from_bytes,
)
from operators.event_log import open_log
from tests.suites.counted_chain import copy_log, counted_chain, feed_items

pytestmark = pytest.mark.beam


class Finalizer:
    """Keeps what a runner would call once it has kept a bundle."""

    def __init__(self) -> None:
        self.callbacks: list[object] = []

    def register(self, callback: object) -> None:
        self.callbacks.append(callback)


class Handle:
    """A tracker as a runner hands it to `process`, split after so many claims."""

    def __init__(self, tracker: FeedTracker, claims: int) -> None:
        self.tracker, self.claims = tracker, claims
        self.residual: FeedRange | None = None

    def current_restriction(self) -> FeedRange:
        return self.tracker.current_restriction()

    def try_claim(self, position: FeedPosition) -> bool:
        if not self.claims:
            self.defer_remainder()
        self.claims -= 1
        return self.tracker.try_claim(position)

    def defer_remainder(self, _: object = None) -> None:
        split = self.tracker.try_split(0)
        assert split is not None
        self.residual = split[1]


class Watermark:
    def __init__(self) -> None:
        self.seconds: list[float] = []

    def set_watermark(self, timestamp: object) -> None:
        self.seconds.append(float(timestamp))  # type: ignore[arg-type]


def _source(until: int | None) -> ShardSource:
    return ShardSource(0, first_position(0), until)


def _dofn() -> ReadFeed:
    chain = counted_chain()
    return ReadFeed(ChainLog(chain.log_url, chain.genesis))


def _read(source: ShardSource, claims: int) -> tuple[list[FeedItem], list[float], int]:
    """Reads a source in bundles of so many claims; returns items, watermarks and the number of bundles."""
    items: list[FeedItem] = []
    watermark, bundles = Watermark(), 0
    rest: FeedRange | None = FeedRanges().initial_restriction(source.to_bytes())
    while rest is not None and not (bundles and not claims):
        handle = Handle(FeedTracker(rest), claims)
        for value in _dofn().process(source.to_bytes(), Finalizer(), handle, watermark):
            assert float(value.timestamp) >= (watermark.seconds or [0])[-1]
            items.append(value.value)
        assert handle.tracker.check_done()
        rest, bundles = handle.residual, bundles + 1
    return items, watermark.seconds, bundles


@pytest.mark.parametrize("claims", [1, 2, 1000])
def test_bundles_cut_anywhere_give_every_item_once(claims: int) -> None:
    chain = counted_chain()
    expected = feed_items(chain, 0)
    last = [item.window for item in expected if isinstance(item, ClosedWindow)][-1]
    items, seconds, _ = _read(_source(last), claims)
    assert items == [item for item in expected if item.window <= last]
    assert seconds == sorted(seconds)


def test_a_source_has_one_encoding() -> None:
    """Flink finds a source's state by the bytes of its element, which come back through Python."""
    source = _source(5)
    again = source_from_bytes(source.to_bytes())
    assert again == source
    assert again.to_bytes() == source.to_bytes()


def test_a_claim_after_a_split_fails_and_nothing_is_given_out() -> None:
    source = _source(None)
    handle = Handle(FeedTracker(FeedRanges().initial_restriction(source.to_bytes())), 0)
    assert not list(_dofn().process(source.to_bytes(), Finalizer(), handle, Watermark()))
    assert handle.residual == FeedRange(first_position(0), None)


def test_a_bounded_range_ends_with_its_window_and_an_unbounded_one_never() -> None:
    position = first_position(0)
    after = FeedPosition(position.place, open_window=3)
    bounded, unbounded = FeedTracker(FeedRange(position, 2)), FeedTracker(FeedRange(position, None))
    assert (bounded.is_bounded(), unbounded.is_bounded()) == (True, False)
    assert bounded.try_claim(after)
    assert unbounded.try_claim(after)
    assert bounded.check_done()
    assert bounded.try_split(0) is None
    with pytest.raises(ValueError, match="nothing was read beyond"):
        unbounded.check_done()
    assert unbounded.try_split(0.5) is None
    assert unbounded.try_split(0) == (
        FeedRange(after, None, is_done=True, echoes=ECHOES),
        FeedRange(after, None, echoes=ECHOES),
    )
    assert not unbounded.try_claim(after)


def test_a_source_whose_windows_are_too_far_ahead_of_the_beacon_reads_nothing() -> None:
    """The chain has no beacon, so no window is ever accepted."""
    chain, source = counted_chain(), _source(None)
    rest = FeedRange(FeedPosition(first_position(0).place, open_window=3), None)
    for max_ahead, is_held in ((3, True), (4, False)):
        dofn = ReadFeed(ChainLog(chain.log_url, chain.genesis), max_ahead)
        handle = Handle(FeedTracker(rest), 1)
        items = list(dofn.process(source.to_bytes(), Finalizer(), handle, Watermark()))
        assert (handle.residual == rest) == is_held
        assert bool(items) != is_held


def test_after_a_closing_come_empty_bundles_and_then_reading_goes_on() -> None:
    rest = FeedRange(first_position(0), None, echoes=ECHOES)
    source = _source(None)
    for left in reversed(range(1, ECHOES)):
        handle = Handle(FeedTracker(rest), 1)
        assert not list(_dofn().process(source.to_bytes(), Finalizer(), handle, Watermark()))
        assert handle.residual == replace(rest, echoes=left)
        rest = handle.residual
    handle = Handle(FeedTracker(rest), 1)
    assert list(_dofn().process(source.to_bytes(), Finalizer(), handle, Watermark()))


def test_offsets_of_two_jobs_beside_each_other_stop_neither(tmp_path: Path) -> None:
    chain = counted_chain()
    with open_log(chain.log_url) as source:
        url = copy_log(source, tmp_path / "log.sqlite")
    mine, blocks = ChainLog(url, chain.genesis), ("blocks.0", 0)
    start = first_position(0).place
    at = FeedPosition(replace(start, offsets=tuple((topic, 1) for topic, _ in start.offsets)))
    with open_log(url) as log:
        beam_source._commit(mine, 0, at)
        other = log.reader(f"{READER}.0", feed_topics(0))
        assert other.committed()[blocks] == 1
        other.seek(*blocks, 0)
        other.commit()
        beam_source._commit(mine, 0, at)  # fenced
        assert other.committed()[blocks] == 0
        beam_source._commit(mine, 0, at)
        assert log.reader(f"{READER}.0", feed_topics(0)).committed()[blocks] == 1
