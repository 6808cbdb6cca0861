"""`traffic replay`: sends traffic to the log at times fixed in advance and reports what each one waited.

Latency counts from the scheduled send time, so that a stall of the log shows in every transaction that
it delayed. At `max` nothing is scheduled: latency is then the time of the append alone, and is said so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import takewhile

from pipelines.corpus import GENESIS_PHASE, CorpusRow
from pipelines.latency import NANOS_PER_SECOND, Clock, TimedLatencies
from pipelines.progress import Progress
from pipelines.topic_log import TopicLog
from pipelines.traffic_processes import SendingProcesses, Share, joined, rows_sent
from pipelines.traffic_sender import Pace, Sender, SendResult, split_genesis
from pipelines.traffic_source import TrafficSource
from pipelines.traffic_verdicts import VerdictReport, VerdictTracker
from schemas.tables import RECEIPTS, REJECTED
from schemas.topics import RECEIPTS as RECEIPTS_TOPIC
from schemas.topics import REJECTED as REJECTED_TOPIC
from schemas.topics import shard_topic

VERDICT_PATIENCE_SECONDS = 60.0
"""How long to wait for a further verdict before the rest counts as unresolved."""

POLL_SECONDS = 0.25
"""Longest wait before the ends of the topics are looked at again."""


@dataclass(frozen=True, slots=True)
class ReplayOptions:
    """What to send, and whether to wait for the outcome.

    Attributes:
        source: The traffic.
        pace: When to send.
        shard: Shard of the log; must be the traffic's.
        wait: Wait until every transaction has a verdict.
        patience_seconds: Longest wait for a further verdict.
        processes: How many send; each a share of the senders.
        log_url: The log, for processes of their own.
    """

    source: TrafficSource
    pace: Pace
    shard: int = 0
    wait: bool = False
    patience_seconds: float = VERDICT_PATIENCE_SECONDS
    processes: int = 1
    log_url: str = ""


@dataclass(frozen=True, slots=True)
class ReplayResult:
    """A replay.

    Attributes:
        send: What was sent, and the latency to the durable append.
        verdicts: What became of it; None when it was not waited for.
        processes: How many have sent.
    """

    send: SendResult
    verdicts: VerdictReport | None
    processes: int = 1

    @property
    def exit_code(self) -> int:
        """1 when a verdict is not as the corpus says."""
        return int(self.verdicts is not None and not self.verdicts.is_as_expected)


@dataclass(slots=True)
class ReplayLatencies:
    """Every latency of a replay, for its report.

    Attributes:
        append: From the scheduled time to the durable append.
        final: From the scheduled time to `bft_final`; none if that was not waited for.
    """

    append: TimedLatencies = field(default_factory=TimedLatencies)
    final: TimedLatencies = field(default_factory=TimedLatencies)


def replay_traffic(
    options: ReplayOptions,
    log: TopicLog,
    clock: Clock,
    report: Progress,
    is_stopped: Callable[[], bool] = lambda: False,
    *,
    latencies: ReplayLatencies | None = None,
) -> ReplayResult:
    """Sends traffic: genesis at once, then the rest at its times.

    Memory is 16 bytes per transaction, with `wait` about 140 more.

    Args:
        options: What to send, and how.
        log: The log.
        clock: Monotonic time.
        report: Progress.
        is_stopped: Whether to end after the record in hand.
        latencies: Is given every latency; None if nobody asks.

    Raises:
        ParameterError: The source is none, of another shard, or has no times for a speed.
        EclipticaError: A sending process has failed.
    """
    source = options.source
    source.check(options.shard)
    topic = shard_topic("tx", options.shard)
    ends = {name: log.end(name) for name in (RECEIPTS_TOPIC, REJECTED_TOPIC)}
    tracker = VerdictTracker(topic, first_offset=log.end(topic))
    if source.genesis_rows and log.end(shard_topic("blocks", options.shard)):
        report.note(
            "the chain has accounts already: a corpus that registers its own is for a fresh --data, "
            "most of it will be refused here"
        )
    found = latencies or ReplayLatencies()
    rows = source.traffic_rows
    report.phase("send", None if rows is None else source.genesis_rows + rows)
    send = _send_here if options.processes == 1 else _send_apart
    sent = send(options, (log, clock), report, is_stopped, (tracker, found))
    if not options.wait:
        return ReplayResult(sent, None, options.processes)
    report.phase("verdicts", None)
    follower = Follower(tracker, log, clock, is_stopped)
    follower.follow(ends, int(options.patience_seconds * NANOS_PER_SECOND))
    found.final.add_all(tracker.latency)
    return ReplayResult(sent, tracker.report(), options.processes)


def _send_here(
    options: ReplayOptions,
    to: tuple[TopicLog, Clock],
    report: Progress,
    is_stopped: Callable[[], bool],
    found: tuple[VerdictTracker, ReplayLatencies],
) -> SendResult:
    """Sends from this process."""
    (log, clock), (tracker, latencies) = to, found
    sender = _sender(options, log, clock, is_stopped)
    genesis, traffic = split_genesis(_noted(options, options.source.rows(), report, tracker))
    sent = sender.send_traffic(traffic, sender.send_genesis(genesis))
    latencies.append.add_all(sender.timed)
    return sent


def _send_apart(
    options: ReplayOptions,
    to: tuple[TopicLog, Clock],
    report: Progress,
    is_stopped: Callable[[], bool],
    found: tuple[VerdictTracker, ReplayLatencies],
) -> SendResult:
    """Sends the genesis from this process and the rest from several."""
    (log, clock), (tracker, latencies) = to, found
    source, topic = options.source, shard_topic("tx", options.shard)
    share = Share(source, options.log_url, topic, options.pace, 0, options.processes)
    processes = SendingProcesses(share)
    try:
        genesis = takewhile(lambda row: row.phase == GENESIS_PHASE, source.rows())
        noted = _noted(options, genesis, report, tracker)
        ahead = _sender(options, log, clock, is_stopped).send_genesis(noted)
        parts = processes.send(is_stopped)
    finally:
        processes.close()
    for _, timed in parts:
        latencies.append.add_all(timed)
    for row in rows_sent(source.rows(), parts):
        if options.wait:
            tracker.add_sent(row)
        report.advance(1)
    return joined(parts, ahead)


def _sender(
    options: ReplayOptions, log: TopicLog, clock: Clock, is_stopped: Callable[[], bool]
) -> Sender:
    topic = shard_topic("tx", options.shard)
    return Sender(
        lambda headers, body: log.append(topic, headers, body),
        options.pace,
        clock,
        is_stopped=is_stopped,
    )


def _noted(
    options: ReplayOptions,
    rows: Iterator[CorpusRow],
    report: Progress,
    tracker: VerdictTracker,
) -> Iterator[CorpusRow]:
    """Yields rows and notes that they are sent."""
    for row in rows:
        if options.wait:
            tracker.add_sent(row)
        report.advance(1)
        yield row


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
