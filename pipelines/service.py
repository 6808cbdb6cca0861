"""A pipeline as a long-lived service: `ecliptica run`. Its processes are kept running until it is told to stop."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from typing import Any

from operators.event_log import EventLog, open_log
from operators.export import ExportSource, export_epochs
from operators.message_retention import remove_messages
from operators.metrics import Metrics
from operators.proof_worker import check_backend
from operators.topic_view import TopicView
from operators.validator import identity_of
from pipelines.analytics import (
    CountingPlace,
    WindowCounting,
    check_built,
    check_job_server,
    open_counting,
)
from pipelines.chain_setup import (
    check_log,
    genesis_path,
    open_chain,
    prepare_chain,
)
from pipelines.chain_view import ShardViews, shard_views
from pipelines.flows import stages_of
from pipelines.node_plan import (
    SERVICE_ROLES,
    addresses,
    command_name,
    metrics_ports,
    node_plans,
    write_node_configuration,
)
from pipelines.node_watch import MEASURE_SECONDS, watched
from pipelines.progress import Progress
from pipelines.settings import Settings
from pipelines.supervisor import ProcessPlan, Supervisor
from proving.arithmetic.poseidon2 import NumpyHasher
from schemas.errors import EnvironmentMissing, ParameterError
from schemas.genesis import Genesis
from schemas.metrics import EXPORTED_EPOCHS, LOG_BYTES, SEALED_EPOCH
from schemas.tables import BLOCKS, JOBS, Table
from schemas.topics import JOBS as JOBS_TOPIC
from schemas.topics import shard_topic

POLL_SECONDS = 0.25
EXPORT = "export"
WINDOWS = "windows"

BEAM_RUNNERS = ("direct", "flink")
"""Runners under which the pipeline `windows` closes windows, and `export` counts them."""


@dataclass(frozen=True, slots=True)
class ServiceOutcome:
    """What a service did until it was stopped.

    Attributes:
        pipeline: Its name.
        seconds: How long it ran.
        height: Final blocks on the log, of all shards.
        sealed_epoch: Last sealed epoch with blocks, of the shard that is least far, or None.
        exported: Epochs written.
        restarts: How often each process was started again.
        windows: Windows counted beside the export, by the runners direct and flink.
    """

    pipeline: str
    seconds: float
    height: int
    sealed_epoch: int | None
    exported: int
    restarts: dict[str, int]
    windows: int = 0


@dataclass(slots=True)
class Service:
    """A pipeline of one data directory.

    Attributes:
        settings: Merged configuration.
        pipeline: Name in `flows.SERVICES`, or `all`.
        until_epoch: Stop when this epoch is sealed and, if proving, proven; None to go on.
    """

    settings: Settings
    pipeline: str
    until_epoch: int | None = None
    _read: dict[str, int] = field(default_factory=dict)
    _sealed: int | None = None
    _sealed_of: dict[int, int] = field(default_factory=dict)
    _has_news: bool = False
    _sized_at: float = float("-inf")

    def plan(self) -> list[ProcessPlan]:
        """Returns the processes that a run starts.

        Raises:
            EnvironmentMissing: The pipeline is not built yet.
        """
        stages_of(self.pipeline, self.settings.configuration)
        roles = SERVICE_ROLES.get(self.pipeline, ())
        return node_plans(self.settings.data, self.settings.configuration, roles)

    def run(self, report: Progress, is_stopped: Callable[[], bool]) -> ServiceOutcome:
        """Runs until stopped, or until the epoch.

        Raises:
            EclipticaError: A process cannot run.
        """
        started = time.monotonic()
        settings = self.settings
        plans = self.plan()
        if self._needs_job_server(plans):
            check_job_server(settings.configuration.streaming.job_server)
        check_log(settings.log_url, settings.data)
        if "prover" in {plan.name for plan in plans}:
            check_backend(settings.configuration.proving.backend)
        genesis = prepare_chain(
            settings.data, settings.configuration, settings.configuration.demo.seed, _now_millis
        )
        exported, counting = 0, None
        view, supervisor = shard_views(genesis), Supervisor(plans, settings.data / "run")
        supervisor.claim()
        name, ports = command_name(self.pipeline), metrics_ports(settings.configuration)
        with (
            watched(name, settings.configuration.metrics, ports.get(name, 0)) as (watch, metrics),
            closing(open_log(settings.log_url)) as log,
        ):
            supervisor.watch, supervisor.metrics = watch, metrics
            try:
                open_chain(log, settings.data, genesis)
                if plans:  # `export` alone must not change what the other processes run with
                    write_node_configuration(settings)
                counting = self._counting(log, genesis)
                supervisor.start()
                report.phase(f"{self.pipeline}: {len(plans)} processes", None)
                for line in addresses(settings, [name, *(plan.name for plan in plans)]):
                    report.note(line)
                while not is_stopped() and not self._is_done(counting, genesis):
                    is_busy = counting is not None and counting.turn(_now_millis()) > 0
                    supervisor.poll(0.0 if is_busy else POLL_SECONDS)
                    self._follow(log, view, genesis)
                    if self._has_news and self.pipeline in (EXPORT, "all"):
                        with watch.busy("export"):
                            written = self._export(log, genesis)
                        exported += written
                        metrics.count(EXPORTED_EPOCHS, by=written)
                        self._has_news = False
                    self._measure(metrics, log)
                restarts = supervisor.restarts
            finally:
                supervisor.stop()
                if counting is not None:
                    counting.close()
        return ServiceOutcome(
            self.pipeline,
            round(time.monotonic() - started, 1),
            view.height,
            self._sealed,
            exported,
            restarts,
            0 if counting is None else counting.counted,
        )

    def _measure(self, metrics: Metrics, log: EventLog) -> None:
        if self._sealed is not None:
            metrics.set(SEALED_EPOCH, self._sealed)
        if time.monotonic() >= self._sized_at + MEASURE_SECONDS:
            self._sized_at = time.monotonic()
            with suppress(EnvironmentMissing):  # brokers do not tell, and the metric says so
                metrics.set(LOG_BYTES, log.size_bytes())

    def _needs_job_server(self, plans: Sequence[ProcessPlan]) -> bool:
        if self.settings.configuration.streaming.runner != "flink":
            return False
        return self.pipeline == EXPORT or any(plan.name == WINDOWS for plan in plans)

    def _counting(self, log: EventLog, genesis: Genesis) -> WindowCounting | None:
        settings = self.settings
        runner = settings.configuration.streaming.runner
        if runner not in BEAM_RUNNERS or self.pipeline != EXPORT:
            return None
        place = CountingPlace(
            log, settings.log_url, genesis, range(genesis.shards), settings.data.absolute()
        )
        return open_counting(runner, place, settings.configuration.streaming.job_server)

    def _is_done(self, counting: WindowCounting | None, genesis: Genesis) -> bool:
        if self.until_epoch is None or self._sealed is None or self._sealed < self.until_epoch:
            return False
        end_window = (self.until_epoch + 1) * genesis.windows_per_epoch
        return counting is None or counting.has_counted(end_window)

    def _follow(self, log: EventLog, view: ShardViews, genesis: Genesis) -> None:
        """Reads blocks and ended jobs; notes when an epoch was sealed or proven further."""
        for shard in view.shards:
            for row in self._new_rows(log, shard_topic("blocks", shard.shard), BLOCKS):
                before = genesis.epoch_of(shard.tip_window) if shard.height else None
                shard.add_block(row)
                if before is not None and genesis.epoch_of(shard.tip_window) > before:
                    self._sealed_of[shard.shard], self._has_news = before, True
        if len(self._sealed_of) == len(view.shards):
            self._sealed = min(self._sealed_of.values())
        known = view.accepted
        for row in self._new_rows(log, JOBS_TOPIC, JOBS):
            view.add_job(row)
        self._has_news |= view.accepted > known

    def _new_rows(self, log: EventLog, topic: str, table: Table) -> Iterator[Mapping[str, Any]]:
        topics = TopicView(log)
        start, end = self._read.get(topic, 0), topics.end(topic)
        yield from topics.rows(topic, table, start) if end > start else ()
        self._read[topic] = end

    def _export(self, log: EventLog, genesis: Genesis) -> int:
        fee = self.settings.configuration.admission.min_fee_micros
        source = ExportSource(log, genesis_path(self.settings.data), fee, NumpyHasher())
        done = export_epochs(source, self.settings.data, range(genesis.shards))
        if self.settings.configuration.retention.messages:
            for shard in range(genesis.shards):
                identity = identity_of(genesis, shard, None, None)
                remove_messages(log, self.settings.data, identity)
        return sum(epoch.written for epoch in done)


def check_runner(pipeline: str, shard: int | None, settings: Settings) -> None:
    """Checks that a runner is built for a pipeline and the shard exists.

    Raises:
        EnvironmentMissing: The runner is not built.
        ParameterError: No such shard, or a pipeline that another process plays on this runner.
    """
    check_built(settings.configuration.streaming.runner)
    if pipeline == WINDOWS and settings.configuration.streaming.runner not in BEAM_RUNNERS:
        raise ParameterError(
            "with the runner loop, windows are closed by the pipeline consensus",
            "`run windows --runner direct`, or flink",
        )
    shards = settings.configuration.chain.shards
    if shard is not None and not 0 <= shard < shards:
        raise ParameterError(f"there is no shard {shard}", f"shards: 0 to {shards - 1}")


def plan_fields(pipeline: str, plans: list[ProcessPlan], settings: Settings) -> dict[str, Any]:
    """Returns a plan as fields."""
    stages = stages_of(pipeline, settings.configuration)
    return {
        "pipeline": pipeline,
        "log": settings.log_url,
        "data": settings.data,
        "processes": [{"name": p.name, "arguments": list(p.arguments)} for p in plans],
        "stages": [
            {"name": s.name, "reads": list(s.reads), "writes": list(s.writes)} for s in stages
        ],
    }


def _now_millis() -> int:
    return time.time_ns() // 1_000_000
