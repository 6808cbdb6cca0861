"""`traffic replay`: sends a corpus to the log at times fixed in advance and reports what each one waited.

Latency counts from the scheduled send time, so that a stall of the log shows in every transaction that
it delayed. At `max` nothing is scheduled: latency is then the time of the append alone, and is said so.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pipelines.corpus import GENESIS_PHASE, CorpusRow, read_corpus, read_corpus_info
from pipelines.latency import (
    NANOS_PER_MILLI,
    NANOS_PER_SECOND,
    Clock,
    LatencyRecorder,
    LatencySummary,
    Rate,
    Scheduled,
    batch_by_time,
    due_times,
)
from pipelines.progress import Progress
from pipelines.topic_log import TopicLog
from pipelines.traffic_verdicts import VerdictReport, VerdictTracker
from schemas.errors import ParameterError
from schemas.tables import RECEIPTS, REJECTED, TRANSACTIONS, encode
from schemas.topics import RECEIPTS as RECEIPTS_TOPIC
from schemas.topics import REJECTED as REJECTED_TOPIC
from schemas.topics import shard_topic

MAX_BATCH_BYTES = 64 * 1024
"""Bytes of one record: at this size a record costs about a millisecond on the embedded log."""

LINGER_MILLIS = 20
"""Longest time that a transaction waits for its record to fill."""

VERDICT_PATIENCE_SECONDS = 60.0
"""How long to wait for a further verdict before the rest counts as unresolved."""

POLL_SECONDS = 0.25
"""Longest wait before the ends of the topics are looked at again."""

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


@dataclass(slots=True)
class Sender:
    """Sends rows through `append` on a clock."""

    append: Append
    pace: Pace
    clock: Clock
    wall_millis: Callable[[], int] = lambda: time.time_ns() // NANOS_PER_MILLI
    is_stopped: Callable[[], bool] = lambda: False

    def send_genesis(self, rows: Iterable[CorpusRow]) -> int:
        """Sends rows as fast as the log takes them and returns their number."""
        sent = 0
        scheduled = (Scheduled(0, row, _size(row)) for row in rows)
        for batch in self._batches(scheduled, self.clock.now_nanos()):
            self._append(batch, self.wall_millis())
            sent += len(batch)
        return sent

    def send_traffic(self, rows: Iterable[CorpusRow], genesis: int = 0) -> SendResult:
        """Sends rows at their times; `genesis` is only passed on to the result."""
        recorder, rate = LatencyRecorder(), self.pace.rate
        sent = records = payload = last_due = 0
        stopped = False
        start, start_wall = self.clock.now_nanos(), self.wall_millis()
        for batch in self._batches(_schedule(rate, rows), start):
            handed_over = self.clock.now_nanos()
            now_millis = start_wall + (handed_over - start) // NANOS_PER_MILLI
            self._append(batch, start_wall if rate.is_paced else now_millis)
            done = self.clock.now_nanos()
            for item in batch:
                recorder.add(done - (start + item.due_nanos if rate.is_paced else handed_over))
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
            append_latency_ms=recorder.summary(),
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


@dataclass(frozen=True, slots=True)
class ReplayOptions:
    """What to send, and whether to wait for the outcome.

    Attributes:
        source: Corpus.
        pace: When to send.
        shard: Shard of the log; must be the corpus's.
        wait: Wait until every transaction has a verdict.
        patience_seconds: Longest wait for a further verdict.
    """

    source: Path
    pace: Pace
    shard: int = 0
    wait: bool = False
    patience_seconds: float = VERDICT_PATIENCE_SECONDS


@dataclass(frozen=True, slots=True)
class ReplayResult:
    """A replay.

    Attributes:
        send: What was sent, and the latency to the durable append.
        verdicts: What became of it; None when it was not waited for.
    """

    send: SendResult
    verdicts: VerdictReport | None

    @property
    def exit_code(self) -> int:
        """1 when a verdict is not as the corpus says."""
        return int(self.verdicts is not None and not self.verdicts.is_as_expected)


def replay_traffic(
    options: ReplayOptions,
    log: TopicLog,
    clock: Clock,
    report: Progress,
    is_stopped: Callable[[], bool] = lambda: False,
) -> ReplayResult:
    """Sends a corpus: genesis at once, then the traffic at its times.

    With `wait`, memory is about 120 bytes per transaction; otherwise it does not grow with the corpus.

    Raises:
        ParameterError: No corpus, another shard, or a speed without recorded times.
    """
    info = read_corpus_info(options.source)
    if info.shard != options.shard:
        raise ParameterError(
            f"{options.source} is signed for shard {info.shard}, not {options.shard}",
            f"use --shard {info.shard}",
        )
    topic = shard_topic("tx", options.shard)
    ends = {name: log.end(name) for name in (RECEIPTS_TOPIC, REJECTED_TOPIC)}
    tracker = VerdictTracker(topic, first_offset=log.end(topic))
    if info.genesis_rows and log.end(shard_topic("blocks", options.shard)):
        report.note(
            "the chain has accounts already: a corpus that registers its own is for a fresh --data, "
            "most of it will be refused here"
        )

    def rows() -> Iterator[CorpusRow]:
        for row in read_corpus(options.source):
            if options.wait:
                tracker.add_sent(row)
            report.advance(1)
            yield row

    sender = Sender(
        lambda headers, body: log.append(topic, headers, body),
        options.pace,
        clock,
        is_stopped=is_stopped,
    )
    report.phase("send", info.genesis_rows + info.traffic_rows)
    genesis, traffic = split_genesis(rows())
    sent = sender.send_traffic(traffic, sender.send_genesis(genesis))
    if not options.wait:
        return ReplayResult(sent, None)
    report.phase("verdicts", None)
    follower = Follower(tracker, log, clock, is_stopped)
    follower.follow(ends, int(options.patience_seconds * NANOS_PER_SECOND))
    return ReplayResult(sent, tracker.report())


@dataclass(frozen=True, slots=True)
class Follower:
    """Reads verdicts from the log as they come."""

    tracker: VerdictTracker
    log: TopicLog
    clock: Clock
    is_stopped: Callable[[], bool]

    def follow(self, starts: dict[str, int], patience_nanos: int) -> None:
        """Reads on from `starts` until all verdicts are known, or none came for `patience_nanos`."""
        deadline = self.clock.now_nanos() + patience_nanos
        while not (self.tracker.is_complete or self.is_stopped()):
            ends = {name: self.log.end(name) for name in starts}
            if ends != starts:
                self._read(starts)
                starts = ends
                deadline = self.clock.now_nanos() + patience_nanos
            elif self.clock.now_nanos() < deadline:
                self.log.wait(POLL_SECONDS)
            else:
                return

    def _read(self, starts: dict[str, int]) -> None:
        receipts = self.log.rows(RECEIPTS_TOPIC, RECEIPTS, starts[RECEIPTS_TOPIC])
        self.tracker.add_receipts(receipts)
        rejections = self.log.rows(REJECTED_TOPIC, REJECTED, starts[REJECTED_TOPIC])
        self.tracker.add_rejections(rejections)


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


def _schedule(rate: Rate, rows: Iterable[CorpusRow]) -> Iterator[Scheduled[CorpusRow]]:
    """Rows with their due times; the rows are read once, as they fall due."""
    current: list[CorpusRow] = []

    def events() -> Iterator[int | None]:
        for row in rows:
            current.append(row)
            yield row.event_millis

    for due in due_times(rate, events()):
        row = current.pop()
        yield Scheduled(due, row, _size(row))


def _size(row: CorpusRow) -> int:
    return len(row.body) + len(row.signature)
