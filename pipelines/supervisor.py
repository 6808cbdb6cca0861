"""Starts the processes of a pipeline, restarts those that die, and stops them in order.

A child says `ready` on its standard output and logs to `DATA/run/<name>.log`. Its standard input is a pipe that
nobody writes to: when the supervisor dies, even by kill -9, the pipe ends and the child drains and exits.
While it runs, a supervisor locks every name of a process, so that a second one on the same directory is refused.
"""

from __future__ import annotations

import fcntl
import logging
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from operators.metrics import NO_METRICS, Metrics
from pipelines.node_watch import NodeWatch
from schemas.errors import EclipticaError
from schemas.metrics import PROCESS_RESTARTS

READY = b"ready"
FIRST_BACKOFF_SECONDS = 0.1
MAX_BACKOFF_SECONDS = 5.0
CALM_SECONDS = 20.0
"""A child that ran so long has its back-off forgotten."""

MISSING_CODE = 5
HOPELESS_CODES = frozenset({2, MISSING_CODE})
"""Usage errors and missing parts do not go away by starting again; what was there once may come back, and is waited
for without end: a Ray cluster that is away for an hour must not stop validators."""

WAITING_CODE = 75
"""What a child ends with that waiting may cure (`EclipticaError.may_pass`): like a missing part, it is started again without
end once it has been ready, and counts as a quick death before. The number is `EX_TEMPFAIL` of sysexits.h."""

MAX_QUICK_DEATHS = 12
"""Deaths in a row, each before `CALM_SECONDS`, after which a child is given up."""

STOP_SECONDS = 20.0
"""How long a child may drain before it is killed."""

LOG_TAIL_BYTES = 2000

_logger = logging.getLogger("ecliptica.supervisor")


@dataclass(frozen=True, slots=True)
class ProcessPlan:
    """A process to keep running.

    Attributes:
        name: Unique; also the name of its log file.
        arguments: Arguments of the interpreter, such as `-m pipelines.node admission`.
        wrapper: Command that the interpreter is started through, such as `ip netns exec NAME`; it must replace itself.
    """

    name: str
    arguments: Sequence[str]
    wrapper: Sequence[str] = ()


@dataclass(slots=True)
class _Child:
    plan: ProcessPlan
    log_path: Path
    process: subprocess.Popen[bytes] | None = None
    was_ready: bool = False
    restarts: int = 0
    quick_deaths: int = 0
    started_at: float = 0.0
    start_after: float = 0.0
    heard: bytes = b""
    is_retired: bool = False


@dataclass(slots=True)
class Supervisor:
    """Keeps processes running.

    Attributes:
        plans: What to run, in the order of starting.
        directory: Where log files go.
        metrics: Where restarts are recorded.
        watch: Told about every turn and about children that are not ready, or None.
    """

    plans: Sequence[ProcessPlan]
    directory: Path
    metrics: Metrics = NO_METRICS
    watch: NodeWatch | None = None
    _children: list[_Child] = field(default_factory=list)
    _locks: list[IO[bytes]] = field(default_factory=list)

    def claim(self) -> None:
        """Locks the name of every process, so that nobody else starts one; `stop` gives them back.

        Raises:
            EclipticaError: The log directory cannot be written, or another supervisor runs a process of
                the same name there.
        """
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            for plan in self.plans:
                self._lock(plan.name)
        except OSError as error:
            self._unlock()
            raise EclipticaError(f"{self.directory}: {error.strerror}") from error
        except EclipticaError:
            self._unlock()
            raise

    def start(self) -> None:
        """Starts every process, after `claim` if that has not been called.

        Raises:
            EclipticaError: As in `claim`.
        """
        if not self._locks:
            self.claim()
        self._children = [_Child(plan, self.directory / f"{plan.name}.log") for plan in self.plans]
        for child in self._children:
            self._launch(child)

    def poll(self, timeout_seconds: float) -> None:
        """Waits for news of the children at most so long; restarts those that died.

        Raises:
            EclipticaError: A child cannot run: it failed for good, or too often in a row.
        """
        self._listen(timeout_seconds)
        now = time.monotonic()
        for child in self._children:
            if child.process is None:
                if now >= child.start_after and not child.is_retired:
                    self._launch(child)
            elif child.process.poll() is not None:
                self._bury(child, now)
        if self.watch is not None and self.watch.turned():
            self.watch.wait_for(self._missing())

    @property
    def are_ready(self) -> bool:
        """Whether every child has been ready at least once."""
        return not self.waiting_for

    @property
    def waiting_for(self) -> list[str]:
        """Names of the children that have never been ready."""
        return [child.plan.name for child in self._children if not child.was_ready]

    def _missing(self) -> str:
        """Says which children do not run or have never been ready; empty if all are there."""
        running = self.pids()
        gone = [
            child.plan.name
            for child in self._children
            if not child.is_retired and (not child.was_ready or child.plan.name not in running)
        ]
        return f"not running: {', '.join(gone)}" if gone else ""

    @property
    def restarts(self) -> dict[str, int]:
        """How often each process was started again."""
        return {child.plan.name: child.restarts for child in self._children}

    def pids(self) -> dict[str, int]:
        """Returns the process numbers of the running children by name."""
        return {
            child.plan.name: child.process.pid
            for child in self._children
            if child.process is not None and child.process.poll() is None
        }

    def stop(self) -> None:
        """Asks every child to drain, last started first, and kills those that do not."""
        self._drain(self._children)
        self._children = []
        self._unlock()

    def retire(self, names: Collection[str]) -> None:
        """Asks some children to drain, and starts them no more; their locks are kept."""
        self._drain([child for child in self._children if child.plan.name in names])
        for child in self._children:
            child.is_retired = child.is_retired or child.plan.name in names

    def _drain(self, children: Sequence[_Child]) -> None:
        running = [child for child in reversed(children) if child.process is not None]
        for child in running:
            if child.process is not None and child.process.poll() is None:
                child.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        for child in running:
            self._await_end(child, deadline)

    def _lock(self, name: str) -> None:
        file = (self.directory / f"{name}.lock").open("ab")
        self._locks.append(file)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise EclipticaError(
                f"{name} of {self.directory.parent} is run by another command already",
                "stop that one first, or choose another --data",
            ) from error

    def _unlock(self) -> None:
        for file in self._locks:
            file.close()
        self._locks = []

    def _await_end(self, child: _Child, deadline: float) -> None:
        process = child.process
        if process is None:
            return
        try:
            process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        _close(process)
        child.process = None

    def _launch(self, child: _Child) -> None:
        with child.log_path.open("ab") as log:
            child.process = subprocess.Popen(  # noqa: S603 - our own interpreter and modules
                [*child.plan.wrapper, sys.executable, *child.plan.arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,  # Ctrl-C reaches the supervisor alone, which drains the rest
            )
        if child.process.stdout is not None:
            os.set_blocking(child.process.stdout.fileno(), False)
        child.started_at = time.monotonic()
        child.heard = b""

    def _listen(self, timeout_seconds: float) -> None:
        with selectors.DefaultSelector() as selector:
            for child in self._children:
                stream = child.process.stdout if child.process is not None else None
                if stream is not None and not stream.closed:
                    selector.register(stream, selectors.EVENT_READ, (child, stream))
            for key, _ in selector.select(timeout_seconds):
                _hear(*key.data)

    def _bury(self, child: _Child, now: float) -> None:
        process = child.process
        if process is None:
            return
        code = process.returncode
        _close(process)
        child.process = None
        is_quick = now - child.started_at < CALM_SECONDS
        is_missed = code in {MISSING_CODE, WAITING_CODE} and child.was_ready
        child.quick_deaths = child.quick_deaths + 1 if is_quick else 0
        is_given_up = child.quick_deaths > MAX_QUICK_DEATHS and not is_missed
        if is_given_up or (code in HOPELESS_CODES and not child.was_ready):
            raise EclipticaError(
                f"{child.plan.name} ended with code {code}: {_tail(child.log_path)}",
                f"its log is {child.log_path}",
            )
        child.restarts += 1
        self.metrics.count(PROCESS_RESTARTS, child.plan.name)
        why = ": it waits for the log or for space on a disk" if code == WAITING_CODE else ""
        _logger.warning("%s ended with code %d and is started again%s", child.plan.name, code, why)
        backoff = FIRST_BACKOFF_SECONDS * 2 ** min(child.quick_deaths, 10)
        child.start_after = now + min(MAX_BACKOFF_SECONDS, backoff)


def _hear(child: _Child, stream: IO[bytes]) -> None:
    data = stream.read()
    if data:
        child.heard = (child.heard + data)[-256:]
        child.was_ready = child.was_ready or READY in child.heard.split()
    elif data == b"":
        stream.close()


def _close(process: subprocess.Popen[bytes]) -> None:
    for stream in (process.stdin, process.stdout):
        if stream is not None and not stream.closed:
            stream.close()


def _tail(path: Path) -> str:
    with path.open("rb") as file:
        file.seek(0, os.SEEK_END)
        file.seek(max(0, file.tell() - LOG_TAIL_BYTES))
        lines = file.read().decode("utf-8", "replace").strip().splitlines()
    return lines[-1] if lines else "it left no message"
