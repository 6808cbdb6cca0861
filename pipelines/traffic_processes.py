"""A replay by several processes: each sends the transactions of its own senders, all on one schedule.

The schedule is that of the whole traffic, whoever sends a part of it, and its clock is the machine's. Every process hands
back each latency it has seen, so that the percentiles are those of all of them and not a mean of percentiles.
A sender's transactions keep their order, since one process has them all; between senders order holds as far as each
process keeps to its times.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

from operators.event_log import open_existing_log
from operators.topic_view import TopicView
from pipelines.corpus import GENESIS_PHASE, CorpusRow
from pipelines.latency import NANOS_PER_MILLI, NANOS_PER_SECOND, SystemClock, TimedLatencies
from pipelines.traffic_sender import Begin, Pace, Sender, SendResult
from pipelines.traffic_source import TrafficSource
from schemas.errors import EclipticaError, WireError
from schemas.transactions import decode_body

LEAD_SECONDS = 0.2
"""From the word that starts all processes to the first scheduled time."""

POLL_SECONDS = 0.25
READY, FAILED = "ready", "failed"


@dataclass(frozen=True, slots=True)
class Share:
    """What one of several processes sends.

    Attributes:
        source: The whole traffic.
        url: The log.
        topic: Where it goes.
        pace: When it is sent.
        number: Which process this is.
        count: How many there are.
    """

    source: TrafficSource
    url: str
    topic: str
    pace: Pace
    number: int
    count: int

    def is_own(self, row: CorpusRow) -> bool:
        """Says whether this process sends a row."""
        return share_of(row, self.count) == self.number


def share_of(row: CorpusRow, count: int) -> int:
    """Returns which of `count` processes sends a row: by its sender, or by its bytes if those tell none."""
    try:
        key = decode_body(row.body).sender
    except WireError:
        key = int.from_bytes(hashlib.sha256(row.body).digest()[:8], "little")
    return key % count


class SendingProcesses:
    """Processes that are ready to send, and what they have sent."""

    def __init__(self, share: Share) -> None:
        """Starts `share.count` processes and waits until all can send.

        Raises:
            EclipticaError: One cannot.
        """
        context = multiprocessing.get_context("spawn")
        self._running: list[tuple[BaseProcess, Connection]] = []
        for number in range(share.count):
            ours, theirs = context.Pipe()
            arguments = (replace(share, number=number), theirs)
            process = context.Process(target=run_share, args=arguments, daemon=True)
            process.start()
            theirs.close()
            self._running.append((process, ours))
        for running, heard in self._running:
            _hear(running, heard)

    def send(self, is_stopped: Callable[[], bool]) -> list[tuple[SendResult, TimedLatencies]]:
        """Starts all at once and returns what each has sent, in their order.

        Raises:
            EclipticaError: One has failed or died.
        """
        start = time.monotonic_ns() + int(LEAD_SECONDS * NANOS_PER_SECOND)
        wall = time.time_ns() + int(LEAD_SECONDS * NANOS_PER_SECOND)
        for _, ours in self._running:
            ours.send(Begin(start, wall // NANOS_PER_MILLI))
        found, has_stopped = [], False
        for process, ours in self._running:
            while not ours.poll(POLL_SECONDS):
                if is_stopped() and not has_stopped:
                    has_stopped = True
                    self._stop()
            found.append(_hear(process, ours))
        return found

    def close(self) -> None:
        """Ends what still runs; a process ends by itself once nobody is there to hear it."""
        for process, ours in self._running:
            ours.close()
            process.join()

    def _stop(self) -> None:
        for _, ours in self._running:
            with suppress(OSError):  # that one has ended
                ours.send("stop")


def run_share(share: Share, parent: Connection) -> None:
    """Sends a share when told so; the work of one process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent says when to stop
    try:
        with closing(open_existing_log(share.url)) as log:
            view = TopicView(log)
            sender = Sender(
                lambda headers, body: view.append(share.topic, headers, body),
                share.pace,
                SystemClock(),
                is_stopped=lambda: parent.poll(0),
            )
            rows = (row for row in share.source.rows() if row.phase != GENESIS_PHASE)
            parent.send(READY)
            begin = parent.recv()
            sent = sender.send_traffic(rows, begin=begin, is_own=share.is_own)
            parent.send((sent, sender.timed))
    except EOFError:
        return  # the parent is gone
    except EclipticaError as error:
        parent.send((FAILED, f"{type(error).__name__}: {error}"))


def joined(parts: Sequence[tuple[SendResult, TimedLatencies]], genesis: int) -> SendResult:
    """Returns what all processes have sent together; percentiles are of all their latencies."""
    results = [result for result, _ in parts]
    timed = TimedLatencies()
    for _, one in parts:
        timed.add_all(one)
    sent = sum(result.sent for result in results)
    seconds = max(result.seconds for result in results)
    last_due = max(timed.due_nanos, default=0)
    is_paced = any(result.offered_per_second is not None for result in results)
    return SendResult(
        rate=results[0].rate,
        genesis=genesis,
        sent=sent,
        records=sum(result.records for result in results),
        payload_bytes=sum(result.payload_bytes for result in results),
        seconds=seconds,
        offered_per_second=sent * NANOS_PER_SECOND / last_due if is_paced and last_due else None,
        achieved_per_second=sent / seconds if seconds else 0.0,
        append_latency_ms=timed.summary(),
        stopped=any(result.stopped for result in results),
    )


def rows_sent(
    rows: Iterator[CorpusRow], parts: Sequence[tuple[SendResult, TimedLatencies]]
) -> Iterator[CorpusRow]:
    """Yields the rows of the traffic that the processes have sent."""
    left = [result.sent for result, _ in parts]
    for row in rows:
        if row.phase == GENESIS_PHASE:
            continue
        number = share_of(row, len(parts))
        if left[number] > 0:
            left[number] -= 1
            yield row


def _hear(process: BaseProcess, ours: Connection) -> tuple[SendResult, TimedLatencies]:
    try:
        heard = ours.recv()
    except EOFError as error:
        process.join()
        raise EclipticaError(f"a sending process ended with code {process.exitcode}") from error
    if heard != READY and heard[0] == FAILED:
        raise EclipticaError(f"a sending process failed: {heard[1]}")
    return heard  # type: ignore[no-any-return]
