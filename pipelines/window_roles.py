"""The process that closes, counts and plans windows under Beam: bounded pipelines in itself, or a job on Flink."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from operators.proof_worker import host_backend, open_backend
from operators.shard_start import ledger_parameters
from operators.window_planning import Planning
from operators.windows import WindowsStage
from pipelines.analytics import (
    CountingPlace,
    FlinkRunner,
    WindowCounting,
    open_counting,
    open_job,
)
from pipelines.node import NodePlace, Role
from pipelines.node_roles import STAGES, windows_stage
from schemas.config import Configuration
from schemas.errors import ParameterError
from schemas.genesis import Genesis


@dataclass(slots=True)
class DirectWindows:
    """One bounded pipeline for each closed window."""

    counting: WindowCounting

    def pump(self, now_millis: int) -> bool:
        """See `Role`."""
        return self.counting.turn(now_millis) > 0

    def next_tick(self) -> int | None:
        """See `Role`: news, and the clock between two of them, move it."""
        return None

    def measure(self) -> None:
        """See `Role`: the log is measured beside it."""

    def close(self) -> None:
        """See `Role`."""
        self.counting.close()


@dataclass(slots=True)
class FlinkWindows:
    """A job on Flink, whose workers run beside this loop."""

    runner: FlinkRunner

    def pump(self, now_millis: int) -> bool:
        """See `Role`: the job does the work.

        Raises:
            EclipticaError: It has ended, or its server does not answer; another start of the process submits it again.
        """
        self.runner.job.check()
        return False

    def next_tick(self) -> int | None:
        """See `Role`."""
        return None

    def measure(self) -> None:
        """See `Role`: the job server measures its job."""

    def close(self) -> None:
        """See `Role`."""
        self.runner.close()


def windows(place: NodePlace) -> Role:
    """Returns what closes windows where `streaming.runner` is one of Beam's.

    Raises:
        ParameterError: It is none of them.
        EnvironmentMissing: Beam is not installed, or nobody answers at the job server.
        EclipticaError: The job server does not take the job.
    """
    streaming = place.configuration.streaming
    counted = CountingPlace(
        place.log,
        place.log.url,
        place.genesis,
        range(place.genesis.shards),
        place.data.absolute(),
        planning(place),
    )
    if streaming.runner == "direct":
        return DirectWindows(open_counting("direct", counted, ""))
    if streaming.runner == "flink":
        return FlinkWindows(open_job(counted, streaming.job_server))
    raise ParameterError(
        f"no pipeline closes windows on the runner {streaming.runner}",
        "the process chain does that with `--runner loop`; Beam's are direct and flink",
    )


def planning(place: NodePlace) -> Planning:
    """Returns how a process plans the windows of its chain."""
    configuration = place.configuration
    return Planning(
        partial(stage_of, place.genesis, configuration),
        (place.data / STAGES).absolute(),
        configuration.proving.max_unproven_windows,
    )


def stage_of(genesis: Genesis, configuration: Configuration, shard: int) -> WindowsStage:
    """Makes the windows stage of a shard in whatever process asks."""
    hasher = open_backend(host_backend(configuration.proving.backend))
    return windows_stage(genesis, shard, ledger_parameters(genesis, shard, configuration), hasher)
