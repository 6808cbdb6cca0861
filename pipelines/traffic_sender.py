"""Sends traffic to a log at times fixed in advance and notes what each transaction waited.

Latency counts from the scheduled send time, so that a stall of the log shows in every transaction that
it delayed. At `max` nothing is scheduled: latency is then the time of the append alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from pipelines.corpus import GENESIS_PHASE, CorpusRow
from pipelines.latency import (
    NANOS_PER_MILLI,
    NANOS_PER_SECOND,
    Clock,
    LatencySummary,
    Rate,
    Scheduled,
    TimedLatencies,
    batch_by_time,
    due_times,
)
from schemas.tables import TRANSACTIONS, encode

MAX_BATCH_BYTES = 64 * 1024
"""Bytes of one record: at this size a record costs about a millisecond on the embedded log."""

LINGER_MILLIS = 20
"""Longest time that a transaction waits for its record to fill."""

Append = Callable[[tuple[tuple[str, bytes], ...], bytes], int]
"""Appends a record of headers and body; durable when it returns its offset."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How a corpus is sent.

    Attributes:
        rate: When each transaction is due.
        max_batch_bytes: Bytes at which a record is closed.
        linger_millis: Longest wait of a transaction for its record to fill.
    """

    rate: Rate
    max_batch_bytes: int = MAX_BATCH_BYTES
    linger_millis: int = LINGER_MILLIS


@dataclass(frozen=True, slots=True)
class SendResult:
    """What was sent.

    Attributes:
        rate: As asked for.
        genesis: Transactions of the genesis phase, sent first and not measured.
        sent: Transactions of the traffic.
        records: Records of the traffic.
        payload_bytes: Bodies and signatures of the traffic.
        seconds: From the first scheduled time to the last durable append.
        offered_per_second: Transactions over the length of the schedule; None without a schedule.
        achieved_per_second: Transactions over `seconds`.
        append_latency_ms: From the scheduled time (at `max`: from handing over) to the durable append.
        stopped: Whether the sending was interrupted before the end of the corpus.
    """

    rate: str
    genesis: int
    sent: int
    records: int
    payload_bytes: int
    seconds: float
    offered_per_second: float | None
    achieved_per_second: float
    append_latency_ms: LatencySummary | None
    stopped: bool


@dataclass(frozen=True, slots=True)
class Begin:
    """When a schedule begins, where several processes have one.

    Attributes:
        nanos: On the monotonic clock, nanoseconds.
        wall_millis: The same moment, UTC milliseconds.
    """

    nanos: int
    wall_millis: int


@dataclass(slots=True)
class Sender:
    """Sends rows through `append` on a clock.

    Attributes:
        append: Appends a record.
        pace: When rows are sent.
        clock: Monotonic time.
        wall_millis: UTC milliseconds.
        is_stopped: Whether to end after the record in hand.
        timed: Latency of each row of the traffic to the durable append.
    """

    append: Append
    pace: Pace
    clock: Clock
    wall_millis: Callable[[], int] = lambda: time.time_ns() // NANOS_PER_MILLI
    is_stopped: Callable[[], bool] = lambda: False
    timed: TimedLatencies = field(default_factory=TimedLatencies)

    def send_genesis(self, rows: Iterable[CorpusRow]) -> int:
        """Sends rows as fast as the log takes them and returns their number."""
        sent = 0
        scheduled = (Scheduled(0, row, _size(row)) for row in rows)
        for batch in self._batches(scheduled, self.clock.now_nanos()):
            self._append(batch, self.wall_millis())
            sent += len(batch)
        return sent

    def send_traffic(
        self,
        rows: Iterable[CorpusRow],
        genesis: int = 0,
        begin: Begin | None = None,
        is_own: Callable[[CorpusRow], bool] = lambda _: True,
    ) -> SendResult:
        """Sends rows at their times.

        Args:
            rows: All of the traffic; every row has its place in the schedule, whoever sends it.
            genesis: Only passed on to the result.
            begin: When the schedule begins; None for now.
            is_own: Whether a row is sent.
        """
        rate = self.pace.rate
        sent = records = payload = last_due = 0
        stopped = False
        begin = begin or Begin(self.clock.now_nanos(), self.wall_millis())
        start, start_wall = begin.nanos, begin.wall_millis
        for batch in self._batches(_schedule(rate, rows, is_own), start):
            handed_over = self.clock.now_nanos()
            now_millis = start_wall + (handed_over - start) // NANOS_PER_MILLI
            self._append(batch, start_wall if rate.is_paced else now_millis)
            done = self.clock.now_nanos()
            for item in batch:
                since = start + item.due_nanos if rate.is_paced else handed_over
                self.timed.add(since - start, done - since)
            sent += len(batch)
            records += 1
            payload += sum(item.size for item in batch)
            last_due = batch[-1].due_nanos
            if self.is_stopped():
                stopped = True
                break
        seconds = (self.clock.now_nanos() - start) / NANOS_PER_SECOND
        return SendResult(
            rate=str(rate),
            genesis=genesis,
            sent=sent,
            records=records,
            payload_bytes=payload,
            seconds=seconds,
            offered_per_second=sent * NANOS_PER_SECOND / last_due if last_due else None,
            achieved_per_second=sent / seconds if seconds else 0.0,
            append_latency_ms=self.timed.summary(),
            stopped=stopped,
        )

    def _batches(
        self, items: Iterable[Scheduled[CorpusRow]], start: int
    ) -> Iterator[list[Scheduled[CorpusRow]]]:
        linger = self.pace.linger_millis * NANOS_PER_MILLI
        return batch_by_time(items, self.clock, start, self.pace.max_batch_bytes, linger)

    def _append(self, batch: list[Scheduled[CorpusRow]], first_millis: int) -> None:
        """Appends a record; each row carries its scheduled time, `first_millis` plus its due time."""
        rows = [
            {
                "body": item.item.body,
                "signature": item.item.signature,
                "submitted_millis": first_millis + item.due_nanos // NANOS_PER_MILLI,
            }
            for item in batch
        ]
        self.append(*encode(TRANSACTIONS, TRANSACTIONS.batch(rows)))


def split_genesis(rows: Iterator[CorpusRow]) -> tuple[Iterator[CorpusRow], Iterator[CorpusRow]]:
    """Splits rows into the genesis phase and the rest; the first must be used up before the second."""
    held: list[CorpusRow] = []

    def genesis() -> Iterator[CorpusRow]:
        for row in rows:
            if row.phase != GENESIS_PHASE:
                held.append(row)
                return
            yield row

    def traffic() -> Iterator[CorpusRow]:
        yield from held
        yield from rows

    return genesis(), traffic()


def _schedule(
    rate: Rate, rows: Iterable[CorpusRow], is_own: Callable[[CorpusRow], bool]
) -> Iterator[Scheduled[CorpusRow]]:
    """Own rows with their due times among all; the rows are read once, as they fall due."""
    current: list[CorpusRow] = []

    def events() -> Iterator[int | None]:
        for row in rows:
            current.append(row)
            yield row.event_millis

    for due in due_times(rate, events()):
        row = current.pop()
        if is_own(row):
            yield Scheduled(due, row, _size(row))


def _size(row: CorpusRow) -> int:
    return len(row.body) + len(row.signature)
