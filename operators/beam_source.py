"""The event log as a Beam source: a splittable DoFn with one element per shard and a vector of offsets as its restriction.

It checkpoints itself every `BUNDLE_SECONDS` and when a window closes. The watermark is the first slot of the first open window, so
that runners close windows when the chain does. Offsets are committed under the reader `analytics.<shard>` once the runner has kept
what came before them; they show how far a job is and are never resumed from, since a window's sums live in the runner until it is
written. Bounded and unbounded runs differ only in `until`.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import apache_beam as beam
from apache_beam.io.iobase import RestrictionProgress, RestrictionTracker
from apache_beam.io.watermark_estimators import ManualWatermarkEstimator
from apache_beam.transforms.window import IntervalWindow, TimestampedValue
from apache_beam.utils.timestamp import Duration, Timestamp

from operators.accepted_tips import AcceptedTips
from operators.analytics_feed import (
    POLL_RECORDS,
    READER,
    FeedItem,
    FeedPosition,
    FeedReader,
    feed_topics,
    open_feed,
    position_fields,
    position_from,
)
from operators.event_log import EventLog, FencedError, LogError, LogReader, open_existing_log
from schemas.genesis import Genesis

BUNDLE_SECONDS = 10.0
"""Longest work between two checkpoints of the source. Flink's runner keeps some 6 KB of every one as long as the job lives, so it
is not shorter; a window that closes ends a bundle at once."""

ECHOES = 5
"""Bundles after one that has closed a window, empty but for the last, which reads for `SHORT_SECONDS`: Flink's runner hands a
watermark on as later bundles begin, at times not with the first."""

SHORT_SECONDS = 1.0

PAUSE_SECONDS = 0.05
"""Pause between two bundles."""

HELD_SECONDS = 1.0
"""Wait of a source that is held back before it looks at the beacon again."""

IDLE_SECONDS = 0.1
"""Longest wait for records before the clock is looked at again, which closes windows of a silent log."""


@dataclass(frozen=True, slots=True)
class ChainLog:
    """A chain and where its log is, for workers that open it themselves.

    Attributes:
        log_url: Address of the log.
        genesis: The chain.
    """

    log_url: str
    genesis: Genesis


@dataclass(frozen=True, slots=True)
class ShardSource:
    """What is read of a chain's log.

    Attributes:
        shard: Shard.
        start: Where reading begins.
        until: Ends once this window is closed; None to go on for ever.
    """

    shard: int
    start: FeedPosition
    until: int | None = None

    def to_bytes(self) -> bytes:
        """Returns canonical bytes: runners that key a source by its element compare them."""
        fields = {"shard": self.shard, "start": position_fields(self.start), "until": self.until}
        return json.dumps(fields, sort_keys=True).encode()


def source_from_bytes(data: bytes) -> ShardSource:
    """Inverse of `ShardSource.to_bytes`."""
    fields = json.loads(data)
    start = position_from(fields["start"], fields["shard"])
    return ShardSource(fields["shard"], start, fields["until"])


@dataclass(frozen=True, slots=True)
class FeedRange:
    """A restriction: what is still to be read of a shard.

    Attributes:
        position: Where reading goes on.
        until: See `ShardSource`.
        is_done: Whether nothing is left.
        echoes: Bundles to come, empty but for the last, before the next one of full length.
    """

    position: FeedPosition
    until: int | None
    is_done: bool = False
    echoes: int = 0


class FeedTracker(RestrictionTracker):
    """Claims positions; splits only where it stands."""

    def __init__(self, restriction: FeedRange) -> None:
        """Begins at the restriction's position."""
        self._range = restriction
        self._has_claimed = False

    def current_restriction(self) -> FeedRange:
        """See `RestrictionTracker`."""
        return self._range

    def current_progress(self) -> RestrictionProgress:
        """See `RestrictionTracker`; what is left of a log is not known."""
        return RestrictionProgress(fraction=1.0 if self._range.is_done else 0.0)

    def check_done(self) -> bool:
        """See `RestrictionTracker`."""
        if not self._range.is_done:
            raise ValueError(f"nothing was read beyond {self._range.position.place}")
        return True

    def try_claim(self, position: FeedPosition) -> bool:
        """Claims everything before a position; a window that ends the range is claimed with it."""
        if self._range.is_done:
            return False
        until = self._range.until
        is_done = until is not None and position.open_window > until
        self._has_claimed = True
        has_closed = position.open_window > self._range.position.open_window
        echoes = ECHOES if has_closed else 0
        self._range = FeedRange(position, until, is_done, echoes)
        return True

    def try_split(self, fraction_of_remainder: float) -> tuple[FeedRange, FeedRange] | None:
        """Gives away all that is not claimed, and no part of it: one shard's log is read in one place."""
        if self._range.is_done or fraction_of_remainder > 0:
            return None
        rest = self._range
        if not self._has_claimed:  # an echo
            rest = replace(rest, echoes=max(0, rest.echoes - 1))
        self._range = replace(self._range, is_done=True)
        return self._range, rest

    def is_bounded(self) -> bool:
        """See `RestrictionTracker`."""
        return self._range.until is not None


class FeedRanges(beam.transforms.core.RestrictionProvider):
    """Makes and tracks the restrictions of a `ShardSource`."""

    def initial_restriction(self, element: bytes) -> FeedRange:
        """See `RestrictionProvider`."""
        source = source_from_bytes(element)
        return FeedRange(source.start, source.until)

    def create_tracker(self, restriction: FeedRange) -> FeedTracker:
        """See `RestrictionProvider`."""
        return FeedTracker(restriction)

    def restriction_size(self, element: bytes, restriction: FeedRange) -> float:
        """See `RestrictionProvider`."""
        return 0.0 if restriction.is_done else 1.0

    def split(self, element: bytes, restriction: FeedRange) -> Iterator[FeedRange]:
        """Leaves a shard in one piece."""
        yield restriction

    def truncate(self, element: bytes, restriction: FeedRange) -> FeedRange | None:
        """Ends an unbounded range when the job is drained: half a window is not written anyway."""
        return None if restriction.until is None else restriction


def slot_time(slot: int) -> Timestamp:
    """Returns a slot as Beam's event time: one second a slot, exact on every runner."""
    return Timestamp(seconds=slot)


def window_at(genesis: Genesis, span: IntervalWindow) -> int:
    """Returns the window of the chain that one of Beam's is."""
    return genesis.window_of(int(span.start.micros // 1_000_000))


WATERMARKS = ManualWatermarkEstimator.default_provider()
"""The watermark is what `process` sets."""


class ReadFeed(beam.DoFn):
    """Reads shards: bytes of a `ShardSource` to timestamped `FeedItem`."""

    def __init__(self, chain: ChainLog, max_ahead: int | None = None) -> None:
        """Takes what is read; elements are kept small, since Flink's runner keeps them with every bundle.

        Args:
            chain: What is read.
            max_ahead: Windows that may be closed and not accepted by the beacon; beyond it nothing is read, and what waits
                stays on the log. None does not look.
        """
        self._chain, self._max_ahead = chain, max_ahead

    @beam.DoFn.unbounded_per_element()  # type: ignore[untyped-decorator]
    def process(
        self,
        element: bytes,
        finalizer: Any = beam.DoFn.BundleFinalizerParam,
        tracker: Any = beam.DoFn.RestrictionParam(FeedRanges()),  # noqa: B008 - Beam's way of naming a parameter
        watermarks: Any = beam.DoFn.WatermarkEstimatorParam(WATERMARKS),  # noqa: B008
    ) -> Iterator[TimestampedValue[FeedItem]]:
        """Polls until the range ends, a window closes, or the bundle has lasted long enough."""
        restriction: FeedRange = tracker.current_restriction()
        if restriction.is_done:
            return
        if restriction.echoes > 1:
            tracker.defer_remainder(Duration(seconds=PAUSE_SECONDS))
            return
        chain, source = self._chain, source_from_bytes(element)
        if self._is_held(source, restriction.position):
            tracker.defer_remainder(Duration(seconds=HELD_SECONDS))
            return
        reader = _held_feed(chain, source.shard, restriction.position)
        slots = chain.genesis.slots_per_window
        ends = time.monotonic() + (SHORT_SECONDS if restriction.echoes else BUNDLE_SECONDS)
        while True:
            before = reader.feed.position.open_window
            items, _ = reader.advance(time.time_ns() // 1_000_000, POLL_RECORDS, IDLE_SECONDS)
            HAS_READ.set()
            if not tracker.try_claim(reader.feed.position):
                _drop_feed(chain, source.shard)
                return
            for item in items if source.until is None else _up_to(source.until, items):
                yield TimestampedValue(item, slot_time(item.slot))
            open_window = reader.feed.position.open_window
            watermarks.set_watermark(slot_time(open_window * slots))
            if source.until is not None:
                if open_window > source.until:
                    break
            elif open_window > before or time.monotonic() > ends:
                tracker.defer_remainder(Duration(seconds=PAUSE_SECONDS))
                break
        position = reader.feed.position
        finalizer.register(lambda: _commit(chain, source.shard, position))

    def _is_held(self, source: ShardSource, position: FeedPosition) -> bool:
        """Whether proofs are too far behind; a bounded source ends with a window that is known to be closed."""
        if self._max_ahead is None or source.until is not None:
            return False
        return _held_tips(self._chain).is_too_far(
            source.shard, position.open_window, self._max_ahead
        )


def _up_to(until: int, items: list[FeedItem]) -> list[FeedItem]:
    return [item for item in items if item.window <= until]


def _commit(chain: ChainLog, shard: int, position: FeedPosition) -> None:
    """Stores how far a shard is; all of a process go through one thread, so that none fences another."""
    _committer().submit(_store_offsets, chain, shard, position).result()


@cache
def _committer() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, "analytics-offsets")


def _store_offsets(chain: ChainLog, shard: int, position: FeedPosition) -> None:
    key = (chain.log_url, shard)
    reader = _held.readers.get(key)
    if reader is None:
        log = held_log(chain.log_url)
        reader = log.reader(f"{READER}.{shard}", feed_topics(shard))
        _held.readers[key] = reader
    for topic, offset in position.place.offsets:
        reader.seek(topic, 0, offset)
    try:
        reader.commit()
    except FencedError:  # another job counts too; nothing is resumed from these offsets
        del _held.readers[key]
    except LogError:
        del _held.readers[key]
        raise


HAS_READ = threading.Event()
"""Set once a source has read in this process, where a job's workers run in the one that submitted it."""


class _Held(threading.local):
    """What a worker's thread keeps open between bundles: logs belong to threads."""

    def __init__(self) -> None:
        self.logs: dict[str, EventLog] = {}
        self.feeds: dict[tuple[str, int], FeedReader] = {}
        self.readers: dict[tuple[str, int], LogReader] = {}
        self.tips: dict[str, AcceptedTips] = {}


_held = _Held()


def held_log(url: str) -> EventLog:
    """Returns this thread's connection to a log; it stays open for later bundles."""
    if url not in _held.logs:
        _held.logs[url] = open_existing_log(url)
    return _held.logs[url]


def _held_tips(chain: ChainLog) -> AcceptedTips:
    held = _held.tips.get(chain.log_url)
    if held is None or held.genesis != chain.genesis:
        held = _held.tips[chain.log_url] = AcceptedTips(held_log(chain.log_url), chain.genesis)
    return held


def _held_feed(chain: ChainLog, shard: int, position: FeedPosition) -> FeedReader:
    key = (chain.log_url, shard)
    held = _held.feeds.get(key)
    if held is None or held.feed.genesis != chain.genesis:
        held = open_feed(held_log(chain.log_url), chain.genesis, shard, position)
        _held.feeds[key] = held
    elif held.feed.position != position:
        held.move(position)
    return held


def _drop_feed(chain: ChainLog, shard: int) -> None:
    _held.feeds.pop((chain.log_url, shard), None)
