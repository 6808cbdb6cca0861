"""The whole system on one machine for a day of its clock: `ecliptica demo`.

A day is an object that can be drawn (`dataflow`), shown as a plan (`processes`) and run. Running it again in the
same data directory continues where the log ends; nothing is sent, decided or proven twice.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from operators.day_files import day_path
from operators.event_log import EventLog, open_log
from operators.proof_worker import check_backend
from operators.topic_view import TopicView
from pipelines.analytics import check_built, check_job_server
from pipelines.chain_setup import check_log, open_chain, prepare_chain
from pipelines.chain_view import ShardViews, shard_views
from pipelines.dataflow import Dataflow
from pipelines.demo_traffic import (
    DemoTraffic,
    TrafficSender,
    expected_verdicts,
    prepare_traffic,
    sent_places,
)
from pipelines.flows import dataflow
from pipelines.latency import SystemClock
from pipelines.node_plan import (
    addresses,
    command_name,
    metrics_ports,
    node_plans,
    write_node_configuration,
)
from pipelines.node_watch import watched
from pipelines.progress import Progress
from pipelines.settings import Settings
from pipelines.supervisor import ProcessPlan, Supervisor
from pipelines.traffic_sender import SendResult
from pipelines.traffic_verdicts import VerdictReport, VerdictTracker, joined_report
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

VERDICT_SECONDS = 600.0
"""How long no transaction may get a verdict while blocks go on: then one is lost."""

Stopped = Callable[[], bool]


@dataclass(frozen=True, slots=True)
class DayOutcome:
    """What a day on the log came to.

    Attributes:
        genesis: The chain.
        send: What was sent by this start, and how fast, per shard; empty if nothing was.
        verdicts: What became of all traffic, against what was expected.
        places: Offset and row on `tx.<shard>` of everything that this and earlier starts sent, per shard.
        chain: Blocks, windows and proofs.
        restarts: How often each process was started again.
        stopped: Whether the user stopped it before its end.
        phase_seconds: Wall time of each phase.
    """

    genesis: Genesis
    send: tuple[SendResult, ...]
    verdicts: VerdictReport
    places: tuple[frozenset[tuple[int, int]], ...]
    chain: ShardViews
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
        configuration = self.settings.configuration
        end = configuration.demo.days * configuration.clock.windows_per_day
        return node_plans(self.settings.data, configuration, end_window=end)

    def run(self, report: Progress, is_stopped: Stopped) -> DayOutcome:
        """Plays the day: chain, traffic, finality, proofs.

        Raises:
            EclipticaError: A process cannot run, or nothing moves any more.
        """
        settings = self.settings
        configuration = settings.configuration
        seed = configuration.demo.seed
        check_log(settings.log_url, settings.data)
        check_backend(configuration.proving.backend)
        check_built(configuration.streaming.runner)
        if configuration.streaming.runner == "flink":
            check_job_server(configuration.streaming.job_server)
        timer = PhaseTimer()
        supervisor = Supervisor(self.processes(), settings.data / "run")
        with timer.phase("prepare"):
            genesis = prepare_chain(settings.data, configuration, seed, now_millis)
            supervisor.claim()
            traffic = prepare_traffic(settings.data, configuration, genesis, seed, report)
        days = configuration.demo.days if configuration.proving.pyramid else 0
        windows_per_day = configuration.clock.windows_per_day
        name, ports = command_name("demo"), metrics_ports(configuration)
        with (
            watched(name, configuration.metrics, ports.get(name, 0)) as watching,
            closing(open_log(settings.log_url)) as log,
        ):
            supervisor.watch, supervisor.metrics = watching
            for line in addresses(settings, [name, *(plan.name for plan in supervisor.plans)]):
                report.note(line)
            open_chain(log, settings.data, genesis)
            write_node_configuration(settings)
            run = _Run(
                log,
                supervisor,
                traffic,
                tuple(expected_verdicts(one) for one in traffic),
                shard_views(genesis, days * windows_per_day or None),
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


def check_days_are_left(
    genesis: Genesis, windows: int, heights: Sequence[int], millis: int
) -> None:
    """Refuses to play days that were over before anything could happen in them.

    Args:
        genesis: The chain, whose clock has run since its processes were started.
        windows: Windows of the days; 0 for none.
        heights: Of every shard; one that has a block is being gone on with.
        millis: Now, UTC milliseconds.

    Raises:
        EclipticaError: They were.
    """
    if windows and not any(heights) and genesis.window_of(genesis.slot_at(millis)) >= windows:
        late = (millis - genesis.start_millis) / 1000
        raise EclipticaError(
            f"the processes were ready {late:.0f} s after the genesis, when the days to be proven were over",
            "begin again in another directory on a less busy machine, or with more `demo.days`",
        )


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
class _Run:
    """One run of a day, while its processes live; `days` are to be proven by one proof each, 0 for none."""

    log: EventLog
    supervisor: Supervisor
    traffic: Sequence[DemoTraffic]
    trackers: Sequence[VerdictTracker]
    chain: ShardViews
    report: Progress
    is_stopped: Stopped
    timer: PhaseTimer
    data: Path
    days: int
    windows_per_day: int
    read: dict[str, int] = field(default_factory=dict)
    told: dict[str, tuple[int, int]] = field(default_factory=dict)
    has_ended: bool = False

    def play(self, genesis: Genesis) -> DayOutcome:
        send: tuple[SendResult, ...] = ()
        total = sum(traffic.total for traffic in self.traffic)
        self.supervisor.start()
        try:
            with self.timer.phase("start"):
                self._wait_for_chain()
            self._read_log()
            heights = [view.height for view in self.chain.shards]
            check_days_are_left(genesis, self.days * self.windows_per_day, heights, now_millis())
            with self.timer.phase("send"):
                if not self.is_stopped():
                    send = self._send()
            places = tuple(sent_places(one, TopicView(self.log)) for one in self.traffic)
            for tracker, found in zip(self.trackers, places, strict=True):
                tracker.places = found
            with self.timer.phase("finality"):
                self.report.phase("final or rejected", total)
                self._follow(
                    lambda: all(tracker.is_complete for tracker in self.trackers),
                    lambda: sum(tracker.done for tracker in self.trackers),
                    VERDICT_SECONDS,
                )
            with self.timer.phase("proofs"):
                self.report.phase("windows proven", None)
                self._follow(self._is_over, lambda: self.chain.accepted)
            if self.days:
                with self.timer.phase("pyramid"):
                    self.report.phase("recursive proofs, up to the day's", None)
                    self._follow(self._days_are_final, lambda: self.chain.kept)
            restarts = self.supervisor.restarts
        finally:
            self.supervisor.stop()
        self._read_log()
        return DayOutcome(
            genesis,
            send,
            joined_report(self.trackers),
            places,
            self.chain,
            restarts,
            self.is_stopped(),
            dict(self.timer.seconds),
        )

    def _end_days(self) -> None:
        """Stops what makes blocks when every shard has made one after the days, which tells provers they have all.

        Without days, that is when all is decided and settled: else each epoch would have a further window to prove.
        """
        if self.has_ended or self._needs_blocks():
            return
        makers = {"admission", "validator"}
        plans = self.supervisor.plans
        self.supervisor.retire([plan.name for plan in plans if plan.name.split("-")[0] in makers])
        self.has_ended = True

    def _needs_blocks(self) -> bool:
        """Whether a day is not over, a transaction not decided, or a transfer not delivered in a closed window."""
        windows = self.days * self.windows_per_day
        is_decided = all(tracker.is_complete for tracker in self.trackers)
        is_over = all(view.tip_window >= windows for view in self.chain.shards)
        chain = self.chain
        is_quiet = chain.is_sealed and chain.is_delivered and chain.is_settled
        return not (is_decided and is_over and is_quiet)

    def _tell_pyramid(self) -> None:
        """Says how far the pyramid is when a level has gained."""
        if self.chain.pyramid == self.told:
            return
        self.told = self.chain.pyramid
        levels = [f"{name} {kept}/{planned}" for name, (kept, planned) in self.told.items()]
        self.report.note("proven: " + ", ".join(levels))

    def _days_are_final(self) -> bool:
        """Whether every day has its proof and its certificate on file."""
        if self.chain.proven_days(self.windows_per_day) < self.days:
            return False
        return all(
            day_path(self.data, day, what).exists()
            for day in range(self.days)
            for what in ("proof", "certificate")
        )

    def _is_over(self) -> bool:
        chain = self.chain
        is_quiet = chain.is_delivered and chain.is_sealed and chain.is_settled
        return is_quiet and chain.is_planned and chain.is_proven

    def _send(self) -> tuple[SendResult, ...]:
        """Sends the traffic, and looks after the processes meanwhile."""
        is_lost = False

        def wait(sending: Sequence[Future[Any]]) -> None:
            nonlocal is_lost
            try:
                while not all(future.done() for future in sending):
                    self.supervisor.poll(POLL_SECONDS)
            except BaseException:
                is_lost = True  # the threads end with this one
                raise

        sender = TrafficSender(
            self.log.url, SystemClock(), self.report, lambda: is_lost or self.is_stopped()
        )
        return sender.send(self.traffic, wait)

    def _wait_for_chain(self) -> None:
        """Waits for all that transactions need to become final; what works behind it may come later."""
        names = {plan.name for plan in self.supervisor.plans} - {"prover", "windows"}
        self.report.phase("start", len(names))
        deadline = time.monotonic() + PATIENCE_SECONDS
        done = 0
        while (
            waiting := names.intersection(self.supervisor.waiting_for)
        ) and not self.is_stopped():
            if time.monotonic() > deadline:
                raise EclipticaError(
                    f"not ready after {PATIENCE_SECONDS:g} s: {', '.join(sorted(waiting))}"
                )
            self.supervisor.poll(POLL_SECONDS)
            ready = len(names) - len(names.intersection(self.supervisor.waiting_for))
            self.report.advance(ready - done)
            done = ready

    def _follow(
        self,
        is_done: Callable[[], bool],
        progress: Callable[[], int],
        progress_seconds: float = math.inf,
    ) -> None:
        """Reads the log until a condition holds; gives up when nothing moves.

        Raises:
            EclipticaError: Nothing was appended for `PATIENCE_SECONDS`, or there was no progress for
                `progress_seconds`.
        """
        shown = 0
        deadline = time.monotonic() + PATIENCE_SECONDS
        progress_deadline = time.monotonic() + progress_seconds
        while not (self.is_stopped() or is_done()):
            if self._read_log():
                deadline = time.monotonic() + PATIENCE_SECONDS
                self._end_days()
                self._tell_pyramid()
            if (reached := progress()) > shown:
                self.report.advance(reached - shown)
                shown = reached
                progress_deadline = time.monotonic() + progress_seconds
            if time.monotonic() > progress_deadline:
                raise EclipticaError(
                    f"{shown} reached, and no further one for {progress_seconds:g} s",
                    "the logs of the processes are in DATA/run",
                )
            if time.monotonic() > deadline:
                raise EclipticaError(
                    f"nothing moved for {PATIENCE_SECONDS:g} s at block {self.chain.height}, "
                    f"{self.chain.accepted} of {self.chain.segments} segments proven",
                    "the logs of the processes are in DATA/run; `ecliptica demo` with the same "
                    "--data continues",
                )
            self.supervisor.poll(POLL_SECONDS)
        self.report.advance(max(0, progress() - shown))

    def _read_log(self) -> bool:
        """Takes what the log has gained; says whether it has."""
        sinks: tuple[tuple[str, Any, Callable[[Mapping[str, Any]], None]], ...] = (
            (RECEIPTS_TOPIC, RECEIPTS, self._take_receipt),
            (REJECTED_TOPIC, REJECTED, self._take_rejection),
            *[
                (shard_topic("blocks", view.shard), BLOCKS, view.add_block)
                for view in self.chain.shards
            ],
            *[
                (shard_topic("windows", view.shard), WINDOWS, view.add_window)
                for view in self.chain.shards
            ],
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

    def _take_receipt(self, row: Mapping[str, Any]) -> None:
        for tracker in self.trackers:
            tracker.add_receipts([row])

    def _take_rejection(self, row: Mapping[str, Any]) -> None:
        for tracker in self.trackers:
            tracker.add_rejections([row])
