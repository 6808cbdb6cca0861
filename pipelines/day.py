"""The whole system on one machine for a day of its clock: `ecliptica demo`.

A day is an object that can be drawn (`dataflow`), shown as a plan (`processes`) and run. Running it again in the
same data directory continues where the log ends; nothing is sent, decided or proven twice.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from operators.day_files import day_path
from operators.event_log import EventLog, open_log
from operators.proof_worker import check_backend
from operators.topic_view import TopicView
from pipelines.chain_setup import check_history, check_log, create_topics, prepare_chain
from pipelines.chain_view import ChainView
from pipelines.dataflow import Dataflow
from pipelines.demo_traffic import (
    SHARD,
    DemoTraffic,
    expected_verdicts,
    prepare_traffic,
    sent_places,
)
from pipelines.demo_traffic import send_traffic as send_demo_traffic
from pipelines.flows import dataflow
from pipelines.latency import NANOS_PER_SECOND
from pipelines.node_plan import node_plans, write_node_configuration
from pipelines.progress import Progress
from pipelines.settings import Settings
from pipelines.supervisor import ProcessPlan, Supervisor
from pipelines.traffic_replay import SendResult
from pipelines.traffic_verdicts import VerdictReport, VerdictTracker
from schemas.errors import EclipticaError
from schemas.genesis import Genesis
from schemas.tables import BLOCKS, JOBS, RECEIPTS, REJECTED, WINDOWS
from schemas.topics import JOBS as JOBS_TOPIC
from schemas.topics import RECEIPTS as RECEIPTS_TOPIC
from schemas.topics import REJECTED as REJECTED_TOPIC
from schemas.topics import shard_topic

POLL_SECONDS = 0.1
"""How often the log is looked at while waiting."""

PATIENCE_SECONDS = 120.0
"""How long nothing may move before a phase is given up with what it waits for."""

Stopped = Callable[[], bool]


@dataclass(frozen=True, slots=True)
class DayOutcome:
    """What a day on the log came to.

    Attributes:
        genesis: The chain.
        send: What was sent by this start, and how fast.
        verdicts: What became of all traffic, against what was expected.
        places: Offset and row on `tx` of everything that this and earlier starts sent.
        chain: Blocks, windows and proofs.
        restarts: How often each process was started again.
        stopped: Whether the user stopped it before its end.
        phase_seconds: Wall time of each phase.
    """

    genesis: Genesis
    send: SendResult | None
    verdicts: VerdictReport
    places: frozenset[tuple[int, int]]
    chain: ChainView
    restarts: Mapping[str, int]
    stopped: bool
    phase_seconds: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Day:
    """A day of the configured chain in one data directory.

    Attributes:
        settings: Merged configuration.
    """

    settings: Settings

    def dataflow(self) -> Dataflow:
        """Returns the drawing."""
        return dataflow("day", self.settings.configuration)

    def processes(self) -> list[ProcessPlan]:
        """Returns the processes that a run starts."""
        return node_plans(self.settings.data, self.settings.configuration)

    def run(self, report: Progress, is_stopped: Stopped) -> DayOutcome:
        """Plays the day: chain, traffic, finality, proofs.

        Raises:
            EclipticaError: A process cannot run, or nothing moves any more.
        """
        settings = self.settings
        configuration = settings.configuration
        seed = configuration.demo.seed
        check_log(settings.log_url)
        check_backend(configuration.proving.backend)
        timer = PhaseTimer()
        supervisor = Supervisor(self.processes(), settings.data / "run")
        with timer.phase("prepare"):
            genesis = prepare_chain(settings.data, configuration, seed, now_millis)
            supervisor.claim()
            traffic = prepare_traffic(settings.data, configuration, genesis, seed, report)
            write_node_configuration(settings)
        days = configuration.demo.days if configuration.proving.pyramid else 0
        windows_per_day = configuration.clock.windows_per_day
        with closing(open_log(settings.log_url)) as log:
            create_topics(log, genesis)
            check_history(log, settings.data)
            run = _Run(
                log,
                supervisor,
                traffic,
                expected_verdicts(traffic),
                ChainView(genesis, days * windows_per_day or None),
                report,
                is_stopped,
                timer,
                settings.data,
                days,
                windows_per_day,
            )
            return run.play(genesis)


def build(settings: Settings) -> Day:
    """Returns the day of a configuration."""
    return Day(settings)


def now_millis() -> int:
    """UTC milliseconds."""
    return time.time_ns() // 1_000_000


@dataclass(slots=True)
class PhaseTimer:
    """Wall time of each phase, seconds."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Times a phase."""
        started = time.monotonic()
        try:
            yield
        finally:
            self.seconds[name] = round(time.monotonic() - started, 3)


@dataclass(slots=True)
class _SupervisedClock:
    """The machine's clock; while waiting it looks after the processes."""

    supervisor: Supervisor

    def now_nanos(self) -> int:
        return time.monotonic_ns()

    def wait_until(self, nanos: int) -> None:
        while (left := nanos - time.monotonic_ns()) > 0:
            self.supervisor.poll(min(POLL_SECONDS, left / NANOS_PER_SECOND))


@dataclass(slots=True)
class _Run:
    """One run of a day, while its processes live; `days` are to be proven by one proof each, 0 for none."""

    log: EventLog
    supervisor: Supervisor
    traffic: DemoTraffic
    tracker: VerdictTracker
    chain: ChainView
    report: Progress
    is_stopped: Stopped
    timer: PhaseTimer
    data: Path
    days: int
    windows_per_day: int
    read: dict[str, int] = field(default_factory=dict)

    def play(self, genesis: Genesis) -> DayOutcome:
        send: SendResult | None = None
        self.supervisor.start()
        try:
            with self.timer.phase("start"):
                self._wait_until_ready()
            with self.timer.phase("send"):
                clock = _SupervisedClock(self.supervisor)
                if not self.is_stopped():
                    view = TopicView(self.log)
                    send = send_demo_traffic(
                        self.traffic, view, clock, self.report, self.is_stopped
                    )
            places = sent_places(self.traffic, TopicView(self.log))
            self.tracker.places = places
            with self.timer.phase("finality"):
                self.report.phase("final or rejected", self.traffic.total)
                self._follow(lambda: self.tracker.is_complete, lambda: self.tracker.done)
            with self.timer.phase("proofs"):
                self.report.phase("windows proven", None)
                self._follow(
                    lambda: self.chain.is_proven and self.chain.is_sealed,
                    lambda: len(self.chain.accepted),
                )
            if self.days:
                with self.timer.phase("pyramid"):
                    self.report.phase("recursive proofs, up to the day's", None)
                    self._follow(self._days_are_final, lambda: len(self.chain.kept))
            restarts = self.supervisor.restarts
        finally:
            self.supervisor.stop()
        self._read_log()
        return DayOutcome(
            genesis,
            send,
            self.tracker.report(),
            places,
            self.chain,
            restarts,
            self.is_stopped(),
            dict(self.timer.seconds),
        )

    def _days_are_final(self) -> bool:
        """Whether every day has its proof and its certificate on file."""
        if self.chain.proven_days(self.windows_per_day) < self.days:
            return False
        return all(
            day_path(self.data, day, what).exists()
            for day in range(self.days)
            for what in ("proof", "certificate")
        )

    def _wait_until_ready(self) -> None:
        plans = len(self.supervisor.plans)
        self.report.phase("start", plans)
        deadline = time.monotonic() + PATIENCE_SECONDS
        done = 0
        while not self.supervisor.are_ready and not self.is_stopped():
            if time.monotonic() > deadline:
                waiting = ", ".join(self.supervisor.waiting_for)
                raise EclipticaError(f"not ready after {PATIENCE_SECONDS:g} s: {waiting}")
            self.supervisor.poll(POLL_SECONDS)
            ready = plans - len(self.supervisor.waiting_for)
            self.report.advance(max(0, ready - done))
            done = max(done, ready)
        self.report.advance(plans - done)

    def _follow(self, is_done: Callable[[], bool], progress: Callable[[], int]) -> None:
        """Reads the log until a condition holds; gives up when nothing moves.

        Raises:
            EclipticaError: Nothing was appended for `PATIENCE_SECONDS`.
        """
        shown = 0
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not (self.is_stopped() or is_done()):
            if self._read_log():
                deadline = time.monotonic() + PATIENCE_SECONDS
            self.report.advance(max(0, progress() - shown))
            shown = max(shown, progress())
            if time.monotonic() > deadline:
                raise EclipticaError(
                    f"nothing moved for {PATIENCE_SECONDS:g} s at block {self.chain.height}, "
                    f"{len(self.chain.accepted)} of {self.chain.segments} segments proven",
                    "the logs of the processes are in DATA/run; `ecliptica demo` with the same "
                    "--data continues",
                )
            self.supervisor.poll(POLL_SECONDS)
        self.report.advance(max(0, progress() - shown))

    def _read_log(self) -> bool:
        """Takes what the log has gained; says whether it has."""
        sinks: tuple[tuple[str, Any, Callable[[Mapping[str, Any]], None]], ...] = (
            (RECEIPTS_TOPIC, RECEIPTS, lambda row: self.tracker.add_receipts([row])),
            (REJECTED_TOPIC, REJECTED, lambda row: self.tracker.add_rejections([row])),
            (shard_topic("blocks", SHARD), BLOCKS, self.chain.add_block),
            (shard_topic("windows", SHARD), WINDOWS, self.chain.add_window),
            (JOBS_TOPIC, JOBS, self.chain.add_job),
        )
        view = TopicView(self.log)
        has_gained = False
        for topic, table, take in sinks:
            start, end = self.read.get(topic, 0), view.end(topic)
            if end == start:
                continue
            has_gained = True
            for row in view.rows(topic, table, start):
                take(row)
            self.read[topic] = end
        return has_gained
