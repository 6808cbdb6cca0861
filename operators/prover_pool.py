"""Places where proofs are made: a pool of Ray actors, or this very process.

A pool takes work by ticket and gives results back in any order. It keeps nothing that matters: a ticket
whose worker dies comes back as failed, and the job book hands the job out again.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from proving.errors import DeviceFailed
from schemas.errors import EclipticaError, EnvironmentMissing, ParameterError
from schemas.job import ProofLevel

Work = Callable[[bytes], bytes]
"""Turns job envelope bytes into result bytes; importable by name, so that a worker process can load it."""

THREADS_VARIABLE = "ECLIPTICA_PROVER_THREADS"
"""Tells the work of a worker how many threads it may use; one without it."""

CALLS_PER_ACTOR = 2
"""Calls in flight per actor: the next envelope travels while the present one is proven."""

LOSSES_PER_CALL = 2
"""Times in a row that every call in flight may be lost before the cluster may be given up."""

RESTART_SECONDS = 20.0
"""How long nothing but losses may come back before it is: a worker that restarts on a busy machine loses every
call until it is there again."""

OBJECT_STORE_BYTES = 256 * 1024 * 1024
"""Ray's shared memory, bytes: two in-flight envelopes of 15 MiB for each of eight actors; what is more is spilled to
disk. Envelopes of small segments have about 130 kB."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a ticket.

    Attributes:
        ticket: The submitter's name for the work.
        result: Result bytes, or None when it failed.
        failure: One line, empty on success.
        is_lost: Whether its worker was lost, rather than the work failed.
    """

    ticket: bytes
    result: bytes | None
    failure: str = ""
    is_lost: bool = False


@dataclass(frozen=True, slots=True)
class Crew:
    """Workers of one sort; a worker keeps the keys of what it proves, so memory and preparation go by crews.

    Attributes:
        name: Part of its workers' names.
        workers: How many processes, at least 1.
        threads: Of each on the processor, at least 1.
        levels: What they prove.
        prepare: What each does once when it is hired, before its first work; importable by name.
    """

    name: str
    workers: int
    threads: int
    levels: frozenset[ProofLevel]
    prepare: Callable[[], None] | None = None


class ProverPool(Protocol):
    """Somewhere to prove."""

    def free(self, level: ProofLevel) -> int:
        """Returns how many more tickets of a level the pool takes now."""
        ...

    def submit(self, ticket: bytes, level: ProofLevel, envelope: bytes) -> None:
        """Starts work.

        Raises:
            ParameterError: The pool is full or holds the ticket already.
        """
        ...

    def collect(self, timeout_seconds: float) -> list[Outcome]:
        """Returns finished tickets, waiting at most the timeout for the first."""
        ...

    def close(self) -> None:
        """Stops workers; unfinished tickets are forgotten."""
        ...


@dataclass(slots=True)
class DirectPool:
    """Proves in the calling process, one ticket at a time; `collect` does the work."""

    work: Work
    waiting: list[tuple[bytes, bytes]] = field(default_factory=list)

    def free(self, level: ProofLevel) -> int:
        """See `ProverPool`; it proves any level."""
        return 1 - len(self.waiting)

    def submit(self, ticket: bytes, level: ProofLevel, envelope: bytes) -> None:
        """See `ProverPool`."""
        if self.free(level) < 1:
            raise ParameterError("the pool is full")
        self.waiting.append((ticket, envelope))

    def collect(self, timeout_seconds: float) -> list[Outcome]:
        """See `ProverPool`; the timeout does not interrupt a proof."""
        done = []
        while self.waiting:
            ticket, envelope = self.waiting.pop(0)
            try:
                done.append(Outcome(ticket, self.work(envelope)))
            except EclipticaError as error:
                is_lost = isinstance(error, DeviceFailed)
                done.append(Outcome(ticket, None, f"{type(error).__name__}: {error}", is_lost))
        return done

    def close(self) -> None:
        """See `ProverPool`."""
        self.waiting.clear()


class RayPool:
    """Named, restartable Ray actors with two calls in flight each.

    A killed actor is restarted by Ray, and one whose device failed is killed; their calls come back as lost. A cluster that is gone, or that loses call
    after call, raises EnvironmentMissing from `collect`, and the caller opens a new pool.
    """

    def __init__(self, work: Work, crews: Sequence[Crew], address: str | None = None) -> None:
        """Starts a private local cluster, or joins the one at `address`.

        Raises:
            EclipticaError: A private cluster does not start.
            EnvironmentMissing: There is no cluster at `address`.
            ParameterError: A crew has no worker or no thread, or two prove the same level.
        """
        levels = [level for crew in crews for level in crew.levels]
        if min((min(crew.workers, crew.threads) for crew in crews), default=0) < 1:
            raise ParameterError("a pool needs crews of at least one worker and one thread")
        if len(set(levels)) < len(levels):
            raise ParameterError("two crews of a pool prove the same level")
        cores = sum(crew.workers * crew.threads for crew in crews)
        self._ray = _start_ray(cores, address)
        self._actors: list[Any] = []
        self._members: dict[ProofLevel, range] = {}
        for crew in crews:
            first = len(self._actors)
            self._actors += [self._hire(work, crew, i) for i in range(crew.workers)]
            members = range(first, len(self._actors))
            self._members |= dict.fromkeys(crew.levels, members)
        self._load = [0] * len(self._actors)
        self._losses = 0
        self._lost_since = 0.0
        self._pending: dict[Any, tuple[bytes, int]] = {}

    def free(self, level: ProofLevel) -> int:
        """See `ProverPool`."""
        members = self._members.get(level, range(0))
        return CALLS_PER_ACTOR * len(members) - sum(self._load[index] for index in members)

    def submit(self, ticket: bytes, level: ProofLevel, envelope: bytes) -> None:
        """See `ProverPool`."""
        if self.free(level) < 1 or ticket in {known for known, _ in self._pending.values()}:
            raise ParameterError("the pool is full or holds this ticket already")
        index = min(self._members[level], key=self._load.__getitem__)
        self._load[index] += 1
        call = self._actors[index].run.remote(envelope)
        self._pending[call] = (ticket, index)

    def collect(self, timeout_seconds: float) -> list[Outcome]:
        """See `ProverPool`."""
        if not self._pending:
            return []
        ready, _ = self._ray.wait(
            list(self._pending), num_returns=1, timeout=timeout_seconds, fetch_local=True
        )
        return [self._finish(call) for call in ready]

    def worker_pids(self) -> list[int]:
        """Returns the process numbers of the actors that answer now."""
        found = []
        for actor in self._actors:
            try:
                found.append(int(self._ray.get(actor.pid.remote())))
            except self._ray.exceptions.RayActorError:
                continue
        return found

    def close(self) -> None:
        """See `ProverPool`."""
        self._pending.clear()
        self._ray.shutdown()

    def _hire(self, work: Work, crew: Crew, number: int) -> Any:
        remote = self._ray.remote(num_cpus=crew.threads, max_restarts=-1, max_task_retries=0)(
            _Worker
        )
        name = f"ecliptica-prover-{os.getpid()}-{crew.name}-{number}"
        actor = remote.options(name=name).remote(work, crew.threads)
        if (
            crew.prepare is not None
        ):  # what goes wrong here goes wrong again, and is told, with the first work
            actor.prepare.remote(crew.prepare)
        return actor

    def _finish(self, call: Any) -> Outcome:
        ticket, index = self._pending.pop(call)
        self._load[index] -= 1
        try:
            result = self._ray.get(call)
        except self._ray.exceptions.RayTaskError as error:
            self._losses = 0
            cause = error.cause if error.cause is not None else error
            is_lost = isinstance(cause, DeviceFailed)
            if is_lost:  # a process whose device failed cannot open it again
                self._ray.kill(self._actors[index], no_restart=False)
            told = f"{type(cause).__name__}: {cause}".splitlines()[0]
            return Outcome(ticket, None, told, is_lost)
        except self._ray.exceptions.RayError as error:
            now = time.monotonic()
            self._lost_since = self._lost_since if self._losses else now
            self._losses += 1
            is_out_of_calls = self._losses > LOSSES_PER_CALL * CALLS_PER_ACTOR * len(self._actors)
            if is_out_of_calls and now - self._lost_since > RESTART_SECONDS:
                raise EnvironmentMissing(
                    f"Ray has lost {self._losses} calls in a row", "the prover starts a new cluster"
                ) from error
            return Outcome(ticket, None, f"worker lost: {type(error).__name__}", is_lost=True)
        self._losses = 0
        return Outcome(ticket, result)


class _Worker:
    """Runs inside an actor process."""

    def __init__(self, work: Work, threads: int) -> None:
        os.environ[THREADS_VARIABLE] = str(threads)
        self._work = work

    def run(self, envelope: bytes) -> bytes:
        return self._work(envelope)

    def prepare(self, prepare: Callable[[], None]) -> None:
        prepare()

    def pid(self) -> int:
        return os.getpid()


def _start_ray(cores: int, address: str | None) -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    import ray  # noqa: PLC0415  - half a second, and only this driver needs it

    local: dict[str, Any] = {
        "num_cpus": cores,
        "object_store_memory": OBJECT_STORE_BYTES,
        "include_dashboard": False,
        "_node_ip_address": "127.0.0.1",
    }
    try:
        ray.init(
            address=address,
            namespace="ecliptica",
            logging_level=logging.ERROR,
            log_to_driver=False,
            **({} if address else local),
        )
    except (ConnectionError, RuntimeError, OSError, ValueError) as error:
        if address is None:  # a private cluster may have died on its way up: a new start helps
            raise EclipticaError(
                f"Ray did not start: {error}", "the prover tries again; see `ecliptica doctor`"
            ) from error
        raise EnvironmentMissing(
            f"there is no Ray cluster at {address}: {error}", "start one, or leave the address out"
        ) from error
    return ray
