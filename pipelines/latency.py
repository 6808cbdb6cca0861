"""Open-loop pace and its latencies: send times fixed in advance, so that a stall is counted, not hidden."""

from __future__ import annotations

import re
import time
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from schemas.errors import ParameterError

T = TypeVar("T")

NANOS_PER_SECOND = 1_000_000_000
NANOS_PER_MILLI = 1_000_000

_RATE = re.compile(r"(?P<speed>\d+(\.\d+)?)x|(?P<count>\d+(\.\d+)?)/s|max", re.ASCII)


class Clock(Protocol):
    """Monotonic time and waiting, so that a test decides both."""

    def now_nanos(self) -> int:
        """Monotonic nanoseconds."""
        ...

    def wait_until(self, nanos: int) -> None:
        """Returns at `nanos` or later; at once when it has passed."""
        ...


class SystemClock:
    """The machine's clock."""

    def now_nanos(self) -> int:
        """Monotonic nanoseconds."""
        return time.monotonic_ns()

    def wait_until(self, nanos: int) -> None:
        """Sleeps until `nanos`; pacing, not synchronisation."""
        while (left := nanos - time.monotonic_ns()) > 0:
            time.sleep(left / NANOS_PER_SECOND)


@dataclass(frozen=True, slots=True)
class Rate:
    """How fast to send.

    Attributes:
        speed: Multiple of the recorded times, or None.
        per_second: Transactions per second, or None. Both None: as fast as the log takes them.
    """

    speed: float | None = None
    per_second: float | None = None

    def __str__(self) -> str:
        if self.speed is not None:
            return f"{self.speed:g}x"
        return "max" if self.per_second is None else f"{self.per_second:g}/s"

    @property
    def is_paced(self) -> bool:
        """Whether send times are fixed in advance."""
        return self.speed is not None or self.per_second is not None


def parse_rate(text: str) -> Rate:
    """Reads `2x`, `500/s` or `max`.

    Raises:
        ParameterError: Another form, or a rate of zero.
    """
    match = _RATE.fullmatch(text)
    if match is None:
        raise ParameterError(f"a rate is like 2x, 500/s or max, got {text!r}")
    speed, count = match["speed"], match["count"]
    rate = Rate(float(speed) if speed else None, float(count) if count else None)
    if rate.speed == 0 or rate.per_second == 0:
        raise ParameterError("a rate is above zero")
    return rate


@dataclass(frozen=True, slots=True)
class Scheduled(Generic[T]):
    """An item with the time at which it is to be sent.

    Attributes:
        due_nanos: Nanoseconds after the start.
        item: What to send.
        size: Its bytes.
    """

    due_nanos: int
    item: T
    size: int


def batch_by_time(
    items: Iterable[Scheduled[T]],
    clock: Clock,
    start_nanos: int,
    max_bytes: int,
    linger_nanos: int,
) -> Iterator[list[Scheduled[T]]]:
    """Yields batches as they fall due: full, or the linger of their first item over.

    An item is in a batch only once it is due. When the consumer falls behind, items do not wait and the
    batches fill up. A batch whose next item is due after the linger leaves at once.
    """
    batch: list[Scheduled[T]] = []
    size = 0
    for item in items:
        due = start_nanos + item.due_nanos
        if batch and (
            size + item.size > max_bytes
            or (due > start_nanos + batch[0].due_nanos + linger_nanos and due > clock.now_nanos())
        ):
            yield batch
            batch, size = [], 0
        clock.wait_until(due)
        batch.append(item)
        size += item.size
    if batch:
        yield batch


@dataclass(frozen=True, slots=True)
class LatencySummary:
    """Milliseconds from the scheduled send time; percentiles are the nearest rank above.

    Attributes:
        count: Samples.
        p50: Median.
        p95: 95th percentile.
        p99: 99th percentile.
        p99_9: 99.9th percentile.
        max: Largest.
    """

    count: int
    p50: float
    p95: float
    p99: float
    p99_9: float
    max: float


@dataclass(slots=True)
class LatencyRecorder:
    """Exact samples, 8 bytes each."""

    _nanos: array[int] = field(default_factory=lambda: array("q"))

    def add(self, nanos: int) -> None:
        """Adds one latency."""
        self._nanos.append(nanos)

    def add_all(self, other: LatencyRecorder) -> None:
        """Adds what another recorder has."""
        self._nanos.extend(other._nanos)

    def summary(self) -> LatencySummary | None:
        """Returns the percentiles, or None without samples."""
        return summary_of(np.frombuffer(self._nanos, dtype=np.int64) if self._nanos else ())


@dataclass(slots=True)
class TimedLatencies:
    """Latencies with the time that each counts from, exact, 16 bytes each; those of several processes can be joined.

    Attributes:
        due_nanos: When each was due, nanoseconds after the start.
        nanos: The latencies.
    """

    due_nanos: array[int] = field(default_factory=lambda: array("q"))
    nanos: array[int] = field(default_factory=lambda: array("q"))

    def add(self, due_nanos: int, nanos: int) -> None:
        """Adds one."""
        self.due_nanos.append(due_nanos)
        self.nanos.append(nanos)

    def add_all(self, other: TimedLatencies) -> None:
        """Adds what another one has."""
        self.due_nanos.extend(other.due_nanos)
        self.nanos.extend(other.nanos)

    def summary(self) -> LatencySummary | None:
        """Returns the percentiles, or None without samples."""
        return summary_of(np.frombuffer(self.nanos, dtype=np.int64) if self.nanos else ())

    def curve(self, pieces: int) -> list[tuple[float, LatencySummary]]:
        """Returns the percentiles over time: (seconds after the first, summary) of pieces of equal length.

        Empty pieces are left out. A piece is a tenth of a second at least.
        """
        if not self.due_nanos:
            return []
        due = np.frombuffer(self.due_nanos, dtype=np.int64)
        due = due - due.min()
        nanos = np.frombuffer(self.nanos, dtype=np.int64)
        length = max(NANOS_PER_SECOND // 10, -(-(int(due.max()) + 1) // pieces))
        found = []
        for piece in np.unique(due // length):
            summary = summary_of(nanos[due // length == piece])
            if summary is not None:
                found.append((int(piece) * length / NANOS_PER_SECOND, summary))
        return found


def summary_of(nanos: ArrayLike) -> LatencySummary | None:
    """Returns the percentiles of latencies in nanoseconds, or None without any."""
    samples = np.asarray(nanos)
    if not samples.size:
        return None
    ranks = np.quantile(samples, (0.5, 0.95, 0.99, 0.999, 1.0), method="higher")
    p50, p95, p99, p99_9, largest = (round(float(n) / NANOS_PER_MILLI, 3) for n in ranks)
    return LatencySummary(samples.size, p50, p95, p99, p99_9, largest)


def due_times(rate: Rate, event_millis: Iterable[int | None]) -> Iterator[int]:
    """Yields when each transaction is due, nanoseconds after the start; never falling.

    Raises:
        ParameterError: A speed is asked for and a transaction has no recorded time.
    """
    first: int | None = None
    latest = 0
    for index, millis in enumerate(event_millis):
        if rate.per_second is not None:
            yield int(index * NANOS_PER_SECOND / rate.per_second)
        elif rate.speed is not None:
            if millis is None:
                raise ParameterError(
                    f"transaction {index} has no recorded time, so {rate} has no meaning",
                    "give a rate like 500/s",
                )
            first = millis if first is None else first
            latest = max(latest, int((millis - first) * NANOS_PER_MILLI / rate.speed))
            yield latest
        else:
            yield 0
