"""A chain of real processes without provers, and traffic played on it at a rate: what the streaming benches measure.

Send times are fixed in advance and latency counts from them, so that a stall of any process is counted. Verdicts
are read once all is sent: receipts carry their times, and reading beside the sender would delay it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from operators.event_log import EventLog, open_log
from operators.topic_view import TopicView
from pipelines.chain_setup import check_log, open_chain, prepare_chain
from pipelines.corpus import CorpusRow
from pipelines.latency import NANOS_PER_MILLI, LatencyRecorder, LatencySummary, Rate, SystemClock
from pipelines.node_plan import node_plans, write_node_configuration
from pipelines.settings import Settings
from pipelines.supervisor import Supervisor
from pipelines.traffic_replay import Follower
from pipelines.traffic_sender import Pace, Sender
from pipelines.traffic_verdicts import VerdictTracker
from schemas.config import Configuration
from schemas.errors import EclipticaError, InvariantError
from schemas.genesis import Genesis
from schemas.tables import ADMITTED, BLOCKS, TRANSACTIONS
from schemas.topics import RECEIPTS, REJECTED, shard_topic

ROLES = ("admission", "validator", "chain")
"""What a transaction needs to become final."""

SHARD = 0
START_SECONDS = 300.0
PATIENCE_SECONDS = 20.0
"""How long no verdict may come before what is left counts as lost."""

POLL_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Played:
    """What became of transactions that were sent at a rate.

    Attributes:
        sent: Transactions.
        final: Those that became final.
        seconds: From the first scheduled time to the last certificate.
        admitted_ms: From the scheduled time to admission's verdict.
        final_ms: From the scheduled time to `bft_final`.
        certificate_ms: From proposal to certificate, of every block with transactions.
        append_ms: From the scheduled time to the durable append.
        blocks: Blocks with transactions.
        cpu_seconds: Processor time of each process, and of the `sender`.
    """

    sent: int
    final: int
    seconds: float
    admitted_ms: LatencySummary | None
    final_ms: LatencySummary | None
    certificate_ms: LatencySummary | None
    append_ms: LatencySummary | None
    blocks: int
    cpu_seconds: dict[str, float]


@dataclass(slots=True)
class LiveChain:
    """A running chain.

    Attributes:
        genesis: The chain.
        log: A connection to its log.
        supervisor: Its processes.
    """

    genesis: Genesis
    log: EventLog
    supervisor: Supervisor

    def play(self, rows: Sequence[CorpusRow], rate: Rate) -> Played:
        """Sends rows at a rate and waits until each has a verdict, or none comes for `PATIENCE_SECONDS`.

        Raises:
            InvariantError: A verdict differs from what the corpus expects.
            EclipticaError: A process died.
        """
        view, clock = TopicView(self.log), SystemClock()
        topic, blocks = shard_topic("tx", SHARD), shard_topic("blocks", SHARD)
        tracker = VerdictTracker(topic, first_offset=view.end(topic))
        for row in rows:
            tracker.add_sent(row)
        verdicts = shard_topic("admitted", SHARD)
        starts = {name: view.end(name) for name in (RECEIPTS, REJECTED)}
        first, first_verdict = view.end(topic), view.end(verdicts)
        first_block, cpu = view.end(blocks), self.cpu_seconds()
        sender = Sender(lambda headers, body: view.append(topic, headers, body), Pace(rate), clock)
        begun = time.time_ns()
        sent = sender.send_traffic(rows)
        patience = int(PATIENCE_SECONDS * 1e9)
        Follower(tracker, view, clock, lambda: False).follow(starts, patience)
        spent = {name: used - cpu.get(name, 0.0) for name, used in self.cpu_seconds().items()}
        self.check()
        report = tracker.report()
        if report.differences and not report.unresolved:
            raise InvariantError(f"verdicts differ from the corpus: {report.differences}")
        recorder, last = LatencyRecorder(), 0
        for block in view.rows(blocks, BLOCKS, first_block):
            if block["transactions"]:
                late = block["certified_millis"] - block["proposed_millis"]
                recorder.add(late * NANOS_PER_MILLI)
                last = max(last, block["certified_millis"])
        certified = recorder.summary()
        return Played(
            sent=sent.sent,
            final=sent.sent - report.unresolved,
            seconds=max(0.0, last * NANOS_PER_MILLI - begun) / 1e9,
            admitted_ms=_admission_latency(view, first, first_verdict),
            final_ms=report.final_latency_ms,
            certificate_ms=certified,
            append_ms=sent.append_latency_ms,
            blocks=certified.count if certified else 0,
            cpu_seconds={name: round(used, 2) for name, used in spent.items()},
        )

    def cpu_seconds(self) -> dict[str, float]:
        """Returns the processor time of every process so far, and of this one as `sender`."""
        ticks = os.sysconf("SC_CLK_TCK")
        found = {"sender": time.process_time()}
        for name, pid in self.supervisor.pids().items():
            fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
            found[name] = (int(fields[11]) + int(fields[12])) / ticks
        return found

    def await_start(self) -> None:
        """Waits until every process takes part.

        Raises:
            EclipticaError: One does not within `START_SECONDS`, or cannot run.
        """
        deadline = time.monotonic() + START_SECONDS
        while not self.supervisor.are_ready:
            if time.monotonic() > deadline:
                waiting = ", ".join(self.supervisor.waiting_for)
                raise EclipticaError(f"not ready after {START_SECONDS:g} s: {waiting}")
            self.supervisor.poll(POLL_SECONDS)

    def check(self) -> None:
        """Looks after the processes.

        Raises:
            EclipticaError: One died.
        """
        self.supervisor.poll(0.0)
        if any(self.supervisor.restarts.values()):
            raise EclipticaError(
                f"processes died: {self.supervisor.restarts}",
                f"their logs are in {self.supervisor.directory}",
            )


@contextmanager
def live_chain(
    base: Configuration,
    data: Path,
    url: str,
    seed: int,
    *,
    roles: tuple[str, ...] = ROLES,
    wrappers: Mapping[str, Sequence[str]] = MappingProxyType({}),
) -> Iterator[LiveChain]:
    """Starts a chain of one shard and stops it in the end.

    Args:
        base: Clock, validators and limits.
        data: A directory of its own.
        url: Its log; empty for an embedded one.
        seed: Of the issuer, as the corpus has it.
        roles: Its processes; as shipped, none that proves.
        wrappers: Commands that processes are started through, by name.

    Raises:
        ParameterError: The log is of a chain already.
        EclipticaError: A process does not start.
    """
    configuration = one_shard(base, data, url)
    settings = Settings(configuration, {})
    check_log(settings.log_url, data)
    genesis = prepare_chain(data, configuration, seed, lambda: time.time_ns() // NANOS_PER_MILLI)
    plans = [
        replace(plan, wrapper=wrappers.get(plan.name, ()))
        for plan in node_plans(data, configuration, roles)
    ]
    supervisor = Supervisor(plans, data / "run")
    with closing(open_log(settings.log_url)) as log:
        open_chain(log, data, genesis)
        write_node_configuration(settings)
        chain = LiveChain(genesis, log, supervisor)
        try:
            supervisor.start()
            chain.await_start()
            yield chain
        finally:
            supervisor.stop()


def one_shard(base: Configuration, data: Path, url: str) -> Configuration:
    """Returns a configuration with one shard and no recursive proofs, in a directory and on a log."""
    changed: dict[str, dict[str, Any]] = {
        "chain": {"shards": 1},
        "proving": {"pyramid": False},
        "storage": {"data": str(data), "log_url": url},
    }
    values = base.model_dump()
    return Configuration.model_validate(
        {**values, **{name: {**values[name], **part} for name, part in changed.items()}}
    )


def _admission_latency(view: TopicView, first: int, first_verdict: int) -> LatencySummary | None:
    """Returns the times from schedule to verdict of what is on the log from two offsets on."""
    judged = {
        row["source_offset"]: row["admitted_millis"]
        for row in view.rows(shard_topic("admitted", SHARD), ADMITTED, first_verdict)
    }
    recorder = LatencyRecorder()
    for record, row in view.placed_rows(shard_topic("tx", SHARD), TRANSACTIONS, first):
        if record.offset in judged:
            late = judged[record.offset] - row["submitted_millis"]
            recorder.add(late * NANOS_PER_MILLI)
    return recorder.summary()
