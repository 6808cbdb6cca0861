"""Closed windows as a long-lived job on Flink, handed to a job server.

The job's Python runs in this process (Beam's loopback environment), so data directory and embedded log need not be shared with
other machines.
"""

from __future__ import annotations

import logging
import threading
import time
from argparse import ArgumentParser
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import apache_beam as beam
import grpc
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.portable_runner import PortableRunner
from apache_beam.runners.runner import PipelineState
from apache_beam.runners.worker import statesampler

from operators.beam_analytics import WindowWork, build_windows
from operators.beam_source import HAS_READ, ShardSource
from schemas.errors import EclipticaError

CHECKPOINT_MILLIS = 20_000
"""Between two checkpoints of a job, milliseconds; each waits for the source's bundles, and offsets are committed after it."""

BUNDLE_MILLIS = 20
"""Longest a record waits in Flink for others of its bundle, milliseconds."""

SAMPLING_MILLIS = 5
"""Period of the Python worker's state sampler, milliseconds: the end of each bundle waits for it, and its own default is 200."""

RESTARTS = 10
"""Times that Flink starts a broken job again, from its last checkpoint, before it ends it."""

RESTART_MILLIS = 1000
"""Wait before each, milliseconds."""

START_SECONDS = 300.0
"""Longest wait for a job to read; the first one of a job server takes 15 s on an idle machine, and a minute on a busy one."""

LOOK_SECONDS = 0.5
"""Between two looks at a job that begins."""

CHECKPOINTS = Path("run") / "flink"
"""Folder of a data directory in which Flink keeps a job's state."""

DECLARED = (
    "checkpointing_interval",
    "max_bundle_time_mills",
    "auto_watermark_interval",
    "number_of_execution_retries",
    "execution_retry_delay",
)
"""Options with numbers."""


_logger = logging.getLogger(__name__)


class FlinkOptions(PipelineOptions):
    """Options of Flink's runner that Beam's Python does not declare, and so would not hand on."""

    @classmethod
    def _add_argparse_args(cls, parser: ArgumentParser) -> None:
        for name in DECLARED:
            parser.add_argument(f"--{name}", type=int)
        for name in ("state_backend", "state_backend_storage_path"):
            parser.add_argument(f"--{name}")


def flink_options(job_server: str, shards: int, state: Path) -> PipelineOptions:
    """Returns how a job is submitted.

    Args:
        job_server: HOST:PORT.
        shards: Their number is the parallelism.
        state: Where Flink keeps the job's state; in memory it could hold 5 MiB.
    """
    return PipelineOptions(
        [
            "--streaming",
            f"--job_endpoint={job_server}",
            "--environment_type=LOOPBACK",
            f"--parallelism={shards}",
            f"--checkpointing_interval={CHECKPOINT_MILLIS}",
            f"--max_bundle_time_mills={BUNDLE_MILLIS}",
            f"--auto_watermark_interval={BUNDLE_MILLIS}",
            f"--number_of_execution_retries={RESTARTS}",
            f"--execution_retry_delay={RESTART_MILLIS}",
            "--state_backend=filesystem",
            f"--state_backend_storage_path={state.absolute().as_uri()}",
        ]
    )


@dataclass(slots=True)
class FlinkJob:
    """A submitted job."""

    _result: Any

    def check(self) -> None:
        """Looks whether it still runs.

        Raises:
            EclipticaError: It does not.
        """
        with _reaching_server():
            state = self._result.state
        if PipelineState.is_terminal(state):
            raise EclipticaError(
                f"the job on Flink ended: {state}",
                "see the job server's log; start again, written windows stay",
            )

    def await_start(self) -> None:
        """Waits until its source reads, in the workers that this process holds for it.

        Raises:
            EclipticaError: It ends before, or does not begin within `START_SECONDS`.
        """
        deadline = time.monotonic() + START_SECONDS
        while not HAS_READ.wait(LOOK_SECONDS):
            self.check()
            if time.monotonic() > deadline:
                raise EclipticaError(
                    f"the job on Flink does not read after {START_SECONDS:g} s",
                    "see the job server's log; the machine may be too busy",
                )

    def cancel(self) -> None:
        """Ends it, if its server is there; windows that are not closed are counted again by the next job.

        The job's workers in this process end with complaints that the runner has hung up, which are kept from the user.
        """
        logging.getLogger("apache_beam").setLevel(logging.CRITICAL)
        threading.excepthook = partial(_without_hang_ups, threading.excepthook)
        try:
            self._result.cancel()
        except grpc.RpcError as error:
            _logger.warning("the job server is gone, and the job with it: %s", _text_of(error))


def _without_hang_ups(
    rest: Callable[[threading.ExceptHookArgs], Any], failure: threading.ExceptHookArgs
) -> None:
    if not failure.exc_type.__module__.startswith("grpc"):
        rest(failure)


def submit_windows(work: WindowWork, sources: Sequence[ShardSource], job_server: str) -> FlinkJob:
    """Submits the counting, and the planning, of the windows of some shards.

    Args:
        work: What is done with them.
        sources: Without an end.
        job_server: HOST:PORT of a Beam job server for Flink that answers.

    Raises:
        EclipticaError: It does not take the job.
    """
    statesampler.DEFAULT_SAMPLING_PERIOD_MS = SAMPLING_MILLIS
    options = flink_options(job_server, len(sources), work.root / CHECKPOINTS)
    pipeline = beam.Pipeline(runner=PortableRunner(), options=options)
    build_windows(pipeline, work, sources)
    HAS_READ.clear()
    with _reaching_server():
        return FlinkJob(pipeline.run())


def _text_of(error: grpc.RpcError) -> str:
    return str(error.details()) if isinstance(error, grpc.Call) else str(error)


@contextmanager
def _reaching_server() -> Iterator[None]:
    try:
        yield
    except grpc.RpcError as error:
        raise EclipticaError(
            f"the job server for Flink does not answer: {_text_of(error)}",
            "`make flink` starts it; written windows stay",
        ) from error
