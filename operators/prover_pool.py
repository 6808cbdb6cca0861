"""Places where proofs are made: a pool of Ray actors, or this very process.

A pool takes work by ticket and gives results back in any order. It keeps nothing that matters: a ticket
whose worker dies comes back as failed, and the job book hands the job out again.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from operators.ray_cluster import RayCluster, start_cluster
from proving.errors import DeviceFailed
from schemas.errors import EclipticaError, EnvironmentMissing, ParameterError
from schemas.job import ProofLevel

Work = Callable[[bytes], bytes]
"""Turns job envelope bytes into result bytes; importable by name, so that a worker process can load it."""

THREADS_VARIABLE = "ECLIPTICA_PROVER_THREADS"
"""Tells the work of a worker how many threads it may use; one without it."""

CALLS_PER_ACTOR = 2
"""Calls in flight per actor: the next envelope travels while the present one is proven."""

RESTART_SECONDS = 20.0
"""How long all workers may be absent before the cluster is given up: one that restarts on a busy machine takes some."""

CREW_SECONDS = 120.0
"""How long all workers of one crew may be absent while others answer: nobody does that crew's work meanwhile."""

HIRE_SECONDS = 180.0
"""How long the workers of a joined cluster may take to begin: a node that scales up, the imports of many at once."""

ASK_AGAIN_SECONDS = 0.5
"""Least time between two questions to an absent worker."""


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
        gpus: Of each.
        memory_bytes: Of each, asked for where a cluster is shared.
        prepare: What each does once when it is hired, before its first work; importable by name.
    """

    name: str
    workers: int
    threads: int
    levels: frozenset[ProofLevel]
    prepare: Callable[[], None] | None = None
    gpus: int = 0
    memory_bytes: int = 0


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

    A killed actor is restarted by Ray, on another node if its own is gone, and one whose device failed is killed; their
    calls come back as lost, and it gets no more before it answers again; idle actors are asked then, too. When all actors of
    a crew stay absent, `collect` raises EnvironmentMissing, and the caller opens a new pool.
    """

    def __init__(
        self,
        work: Work,
        crews: Sequence[Crew],
        cluster: RayCluster | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Hires the crews.

        Args:
            work: What workers do.
            crews: Who does it.
            cluster: Where; None for a cluster of the pool's own. The pool closes it.
            environment: Variables of every worker, which on another machine inherits none.

        Raises:
            EclipticaError: A private cluster does not start.
            EnvironmentMissing: A joined cluster has no room for the crews, or cannot run their work.
            ParameterError: A crew has no worker or no thread, or two prove the same level.
        """
        levels = [level for crew in crews for level in crew.levels]
        if min((min(crew.workers, crew.threads) for crew in crews), default=0) < 1:
            raise ParameterError("a pool needs crews of at least one worker and one thread")
        if len(set(levels)) < len(levels):
            raise ParameterError("two crews of a pool prove the same level")
        cores = sum(crew.workers * crew.threads for crew in crews)
        self._cluster = start_cluster(cores) if cluster is None else cluster
        self._ray = self._cluster.ray
        self._pool = uuid.uuid4().hex[:8]
        self._actors: list[Any] = []
        self._members: dict[ProofLevel, range] = {}
        prepares: list[tuple[Any, Callable[[], None] | None]] = []
        for crew in sorted(crews, key=lambda one: -one.threads):  # the largest find room first
            first = len(self._actors)
            hired = [self._hire(work, crew, i, environment or {}) for i in range(crew.workers)]
            self._actors += hired
            prepares += [(actor, crew.prepare) for actor in hired]
            self._members |= dict.fromkeys(crew.levels, range(first, len(self._actors)))
        self._load = [0] * len(self._actors)
        self._pending: dict[Any, tuple[bytes, int]] = {}
        self._absent: dict[int, _Absence] = {}
        if self._cluster.is_joined:
            try:
                self._await_workers()
            except EnvironmentMissing:
                self.close()
                raise
        for actor, prepare in prepares:
            if prepare is not None:  # what goes wrong here is told with the first work
                actor.prepare.remote(prepare)

    def free(self, level: ProofLevel) -> int:
        """See `ProverPool`."""
        return sum(CALLS_PER_ACTOR - self._load[index] for index in self._present(level))

    def submit(self, ticket: bytes, level: ProofLevel, envelope: bytes) -> None:
        """See `ProverPool`."""
        if self.free(level) < 1 or ticket in {known for known, _ in self._pending.values()}:
            raise ParameterError("the pool is full or holds this ticket already")
        index = min(self._present(level), key=self._load.__getitem__)
        self._load[index] += 1
        call = self._actors[index].run.remote(envelope)
        self._pending[call] = (ticket, index)

    def collect(self, timeout_seconds: float) -> list[Outcome]:
        """See `ProverPool`."""
        self._ask_absent()
        if not self._pending:
            return []
        ready, _ = self._ray.wait(
            [*self._pending, *self._asked()],
            num_returns=1,
            timeout=timeout_seconds,
            fetch_local=True,
        )
        return [self._finish(call) for call in ready if call in self._pending]

    def worker_pids(self) -> list[int]:
        """Returns the process numbers of the actors that answer now."""
        found = []
        for actor in self._actors:
            try:
                found.append(int(self._ray.get(actor.pid.remote())))
            except self._ray.exceptions.RayActorError:
                continue
        return found

    def worker_nodes(self) -> list[str]:
        """Returns the node of each actor; waits for those that restart."""
        return [str(self._ray.get(actor.node.remote())) for actor in self._actors]

    def close(self) -> None:
        """See `ProverPool`."""
        self._pending.clear()
        self._cluster.close()

    def _present(self, level: ProofLevel) -> list[int]:
        return [i for i in self._members.get(level, range(0)) if i not in self._absent]

    def _hire(self, work: Work, crew: Crew, number: int, environment: Mapping[str, str]) -> Any:
        remote = self._ray.remote(max_restarts=-1, max_task_retries=0)(_Worker)
        return remote.options(
            name=f"ecliptica-prover-{self._pool}-{crew.name}-{number}",
            **self._cluster.options(crew.threads, crew.gpus, crew.memory_bytes),
        ).remote(work, {**environment, THREADS_VARIABLE: str(crew.threads)})

    def _await_workers(self) -> None:
        """Waits until every worker of a joined cluster has a place and its imports work.

        Raises:
            EnvironmentMissing: One has not within `HIRE_SECONDS`.
        """
        asked = [actor.pid.remote() for actor in self._actors]
        ready, late = self._ray.wait(asked, num_returns=len(asked), timeout=HIRE_SECONDS)
        if late:
            raise EnvironmentMissing(
                f"the Ray cluster at {self._cluster.address} has no room for {len(late)} of "
                f"{len(asked)} workers",
                "add nodes, or lower proving.workers and proving.pyramid_workers",
            )
        for call in ready:
            try:
                self._ray.get(call)
            except self._ray.exceptions.RayError as error:
                told = [line for line in str(error).strip().splitlines() if line]
                raise EnvironmentMissing(
                    f"a worker on the Ray cluster at {self._cluster.address} does not start: "
                    f"{told[-1] if told else type(error).__name__}",
                    "install this version of Ecliptica on every node",
                ) from error

    def _ask_absent(self) -> None:
        """Lets actors that answer again work again, and asks the others anew.

        Raises:
            EnvironmentMissing: All have been absent for `RESTART_SECONDS`, or all of a crew for `CREW_SECONDS`.
        """
        now = time.monotonic()
        for index, absence in list(self._absent.items()):
            if absence.question is not None:
                answered, _ = self._ray.wait([absence.question], timeout=0)
                if not answered:
                    continue
                try:
                    self._ray.get(absence.question)
                except self._ray.exceptions.RayError:
                    absence.question = None
                else:
                    del self._absent[index]
                    continue
            if absence.question is None and now >= absence.ask_at:
                absence.question = self._actors[index].pid.remote()
                absence.ask_at = now + ASK_AGAIN_SECONDS
        everybody = range(len(self._actors))
        for crew, patience in (
            (everybody, RESTART_SECONDS),
            *((members, CREW_SECONDS) for members in self._members.values()),
        ):
            since = [self._absent[i].since for i in crew if i in self._absent]
            if len(since) == len(crew) and now - max(since) > patience:
                raise EnvironmentMissing(
                    f"{len(crew)} of {len(everybody)} workers are lost, all of their sort",
                    "the prover starts a new pool",
                )

    def _asked(self) -> list[Any]:
        return [one.question for one in self._absent.values() if one.question is not None]

    def _finish(self, call: Any) -> Outcome:
        ticket, index = self._pending.pop(call)
        self._load[index] -= 1
        try:
            result = self._ray.get(call)
        except self._ray.exceptions.RayTaskError as error:
            cause = error.cause if error.cause is not None else error
            is_lost = isinstance(cause, DeviceFailed)
            if is_lost:  # a process whose device failed cannot open it again
                self._ray.kill(self._actors[index], no_restart=False)
                self._absent.setdefault(index, _Absence(time.monotonic()))
            told = f"{type(cause).__name__}: {cause}".splitlines()[0]
            return Outcome(ticket, None, told, is_lost)
        except self._ray.exceptions.RayError as error:
            idle = [i for i, load in enumerate(self._load) if load == 0]
            for absent in {index, *idle}:  # what took this worker may have taken others
                self._absent.setdefault(absent, _Absence(time.monotonic()))
            return Outcome(ticket, None, f"worker lost: {type(error).__name__}", is_lost=True)
        return Outcome(ticket, result)


@dataclass(slots=True)
class _Absence:
    """An actor that may be gone and has not answered since; times are of the monotonic clock, seconds."""

    since: float
    ask_at: float = 0.0
    question: Any = None


class _Worker:
    """Runs inside an actor process."""

    def __init__(self, work: Work, environment: Mapping[str, str]) -> None:
        os.environ.update(environment)
        self._work = work

    def run(self, envelope: bytes) -> bytes:
        return self._work(envelope)

    def prepare(self, prepare: Callable[[], None]) -> None:
        prepare()

    def pid(self) -> int:
        return os.getpid()

    def node(self) -> str:
        import ray  # noqa: PLC0415  - runs where it is loaded already

        return str(ray.get_runtime_context().get_node_id())
