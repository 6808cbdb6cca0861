"""Simulated provers at work under the real rules of the market: a seeded discrete-event simulation, epoch by epoch.

Every lease, heartbeat, proof, lapse and payment is an event of the machine that is handed in; this module decides only who
does what and when. Time is in slots. An epoch is worked off to its end before the next begins, so a backlog of one epoch
does not meet the jobs of the next.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum
from heapq import heappop, heappush
from random import Random

from operators.market_jobs import PROOF_BYTES, SimulatedJob
from operators.market_provers import SimulatedProver
from operators.market_rules import MarketRules
from operators.market_state import (
    EpochOpened,
    EpochSettled,
    Heartbeat,
    JobAssigned,
    JobDied,
    JobFacts,
    JobLeased,
    JobOpened,
    JobPlanned,
    JobProved,
    JobRequeued,
    JobState,
    JobsVoided,
    LeaseEnded,
    MarketEffect,
    MarketEvent,
    MarketState,
    Payee,
    Penalised,
    ProofSubmitted,
    Rewarded,
    RewardsFunded,
    SlotReached,
    StakeLocked,
    StakeReleased,
)
from operators.rule_state import Pot, PotKind
from schemas.config import ClockConfig
from schemas.economics import QUALITY_BYTES, FraudTerms
from schemas.errors import InvariantError
from schemas.refusal import MarketRefusal

MICROS = 1_000_000

FETCH_SLOTS = 2
"""From a job's record to its input at the prover, and from the proof to its record: about a second. Assumed."""

REPAIR_SLOTS = 128
"""A crashed worker is back after a minute. Assumed: a supervisor starts it again."""

ESTIMATE_MARGIN = 1.25
"""Of the planner's estimate over the reference machine's time. Assumed: the slowest prover of the market is about as fast."""

NOISE = 0.1
"""Standard deviation of the logarithm of a job's time. Assumed."""

MAY_BE_REFUSED = frozenset({MarketRefusal.STAKE_TOO_SMALL, MarketRefusal.PROVER_BARRED})
"""What an honest prover may meet; any other refusal of its events is a defect of the simulation."""


class _Kind(IntEnum):
    """What happens; in one slot in this order."""

    PLAN = 0
    FINISH = 1
    CRASH = 2
    BACK = 3
    BEAT = 4
    KILL = 5
    TIMER = 6


@dataclass(slots=True)
class Worker:
    """A prover at work.

    Attributes:
        prover: What it is.
        is_present: Whether it answers in this epoch.
        is_killed: It never answers again.
        is_down: Its worker crashed and is not back yet.
        job: What it works on, or None.
        began: Slot in which it began that.
        slots: How long that takes.
        tasks: Jobs that it ever began: an event of an earlier one is stale.
        own: Jobs that are its alone and wait for it.
    """

    prover: SimulatedProver
    is_present: bool = True
    is_killed: bool = False
    is_down: bool = False
    job: bytes | None = None
    began: int = 0
    slots: int = 1
    tasks: int = 0
    own: deque[bytes] = field(default_factory=deque)

    @property
    def is_idle(self) -> bool:
        """Whether it can begin something."""
        return self.job is None and self.is_present and not (self.is_killed or self.is_down)


@dataclass(slots=True)
class EpochOutcome:
    """What an epoch came to.

    Attributes:
        epoch: Its number.
        jobs: Jobs planned.
        proof_slots: Slots from the planning of a job to its proof, one per proven job.
        late_slots: Slots from the epoch's end to the global proof; None if it was given up.
        useful: Reference seconds of work in proofs that were taken.
        wasted: Reference seconds of work for nothing: beaten, crashed, lapsed, invalid.
        busy_slots: Slots of work by prover.
        earned: Units paid by prover: rewards, and what it got as rescuer.
        lost: Units that it was fined.
        proven: Jobs by prover.
        missed: Windows and leases that were let pass, by prover.
        invalid: Invalid proofs.
        assigned: Jobs assigned by prover.
        refused: Leases refused, by reason.
    """

    epoch: int
    jobs: int = 0
    proof_slots: list[int] = field(default_factory=list)
    late_slots: int | None = None
    useful: float = 0.0
    wasted: float = 0.0
    busy_slots: Counter[bytes] = field(default_factory=Counter)
    earned: Counter[bytes] = field(default_factory=Counter)
    lost: Counter[bytes] = field(default_factory=Counter)
    proven: Counter[bytes] = field(default_factory=Counter)
    missed: Counter[bytes] = field(default_factory=Counter)
    invalid: int = 0
    assigned: Counter[bytes] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)


class MarketSimulation:
    """A market and its provers.

    Attributes:
        state: The machine's state.
        workers: The provers that have a stake, by id.
        epoch_slots: Length of an epoch.
    """

    def __init__(
        self, rules: MarketRules, state: MarketState, clock: ClockConfig, rng: Random
    ) -> None:
        """Starts without provers.

        Args:
            rules: The machine.
            state: Its state before anything happened.
            clock: Slots of windows and epochs.
            rng: Decides crashes, times, absences and who is quick.
        """
        self.state = state
        self.workers: dict[bytes, Worker] = {}
        self._rules, self._clock, self._rng = rules, clock, rng
        self.epoch_slots = (
            clock.slots_per_window * clock.windows_per_shard_epoch * clock.shard_epochs_per_hour
        )
        self._slot_seconds = clock.slot_micros / MICROS
        self._jobs: dict[bytes, SimulatedJob] = {}
        self._order: list[bytes] = []
        self._children: list[int] = []
        self._planned: dict[bytes, int] = {}
        self._open: set[bytes] = set()
        self._heap: list[tuple[int, int, int, bytes, int]] = []
        self._count = 0
        self._outcome = EpochOutcome(-1)

    @property
    def epoch_hours(self) -> float:
        """Length of an epoch."""
        return self.epoch_slots * self._slot_seconds / 3600

    def fund(self, units: int) -> None:
        """Pays money in that rewards come from."""
        if units:
            self._must(RewardsFunded(units))

    def join(self, prover: SimulatedProver) -> None:
        """Takes a prover in: its stake is paid in and locked."""
        pot = Pot(PotKind.FREE, prover.id)
        books = self.state.books.deposit(pot, prover.stake)
        self.state = replace(self.state, books=books)
        self._must(StakeLocked(prover.id, prover.stake))
        self.workers[prover.id] = Worker(prover)

    def leave(self, prover: bytes) -> int:
        """Lets a prover go between two epochs and returns the units that it takes with it: stake and earnings."""
        stake = self.state.books.held(Pot(PotKind.STAKE, prover))
        if stake:
            self._must(StakeReleased(prover, stake))
        del self.workers[prover]
        pot = Pot(PotKind.FREE, prover)
        units = self.state.books.held(pot)
        self.state = replace(self.state, books=self.state.books.withdraw(pot, units))
        return units

    def run_epoch(
        self, jobs: Sequence[SimulatedJob], killed: tuple[int, bytes] | None = None
    ) -> EpochOutcome:
        """Works an epoch off.

        Args:
            jobs: Its jobs, parents first.
            killed: Who dies for good, and in which slot of the epoch.

        Raises:
            InvariantError: The rules refuse what they must not, or money is not where it should be; a defect.
        """
        start = self.state.slot
        epoch = self.state.epoch + 1
        end = start + self.epoch_slots
        self._begin(epoch, jobs)
        self._must(EpochOpened(epoch, self._rng.randbytes(32), len(jobs), end))
        for job in jobs:
            if job.begins:
                self._push(start + job.begins, _Kind.PLAN, job.id)
        if killed is not None:
            self._push(start + killed[0], _Kind.KILL, killed[1])
        deadline = end + FraudTerms().deadline_epochs * self.epoch_slots
        top = jobs[0].id
        while self._heap and self._outcome.late_slots is None:
            slot = self._heap[0][0]
            if slot > deadline:
                break
            self._advance(slot)
            while self._heap and self._heap[0][0] == slot:
                _, kind, _, name, task = heappop(self._heap)
                self._happen(_Kind(kind), name, task)
            self._dispatch()
            if top in self.state.jobs and self.state.jobs[top].state is JobState.PROVED:
                self._outcome.late_slots = self.state.slot - end
        self._finish(end, deadline)
        return self._outcome

    def _begin(self, epoch: int, jobs: Sequence[SimulatedJob]) -> None:
        self._jobs = {job.id: job for job in jobs}
        self._order = [job.id for job in jobs]
        self._children = [0] * len(jobs)
        for job in jobs:
            if job.parent >= 0:
                self._children[job.parent] += 1
        self._planned, self._open, self._heap = {}, set(), []
        self._outcome = EpochOutcome(epoch)
        for worker in self.workers.values():
            worker.is_present = self._rng.random() < worker.prover.presence
            worker.is_down, worker.job = False, None
            worker.own.clear()

    def _finish(self, end: int, deadline: int) -> None:
        """Settles the epoch, or gives its jobs up: then their rewards go back."""
        landed = self.state.slot
        if self._outcome.late_slots is None:
            self._advance(deadline)
            self._follow(self._must(JobsVoided(tuple(self.state.jobs))))
        elif landed < end:
            self._advance(end)
        for effect in self._must(EpochSettled(self._outcome.epoch, landed)):
            if isinstance(effect, Rewarded):
                units = effect.base + effect.fast + effect.quality
                self._outcome.earned[effect.prover] += units
        if not self.state.books.is_balanced():
            raise InvariantError("the pots do not hold what came in")

    def _happen(self, kind: _Kind, name: bytes, task: int) -> None:
        if kind is _Kind.PLAN:
            self._plan(name)
            return
        if kind is _Kind.TIMER:
            return  # the clock has moved; that was all
        worker = self.workers[name]
        if kind is _Kind.KILL:
            self._kill(worker)
        elif kind is _Kind.BACK:
            worker.is_down = False
            self._take_own(worker)
        elif worker.job is None or task != worker.tasks:
            return  # what it belonged to is over
        elif kind is _Kind.FINISH:
            self._prove(worker, worker.job)
        elif kind is _Kind.CRASH:
            self._push_lapse(worker.job, name)
            self._stop(worker, is_useful=False)
            worker.is_down = True
            self._push(self.state.slot + REPAIR_SLOTS, _Kind.BACK, name)
        else:
            self._beat(worker, worker.job)

    def _plan(self, name: bytes) -> None:
        job = self._jobs[name]
        seconds = job.seconds * ESTIMATE_MARGIN
        estimate = FETCH_SLOTS + -int(-seconds // self._slot_seconds)
        quality = QUALITY_BYTES[job.level]
        facts = JobFacts(name, self._outcome.epoch, job.cells, estimate, quality)
        self._planned[name] = self.state.slot
        self._outcome.jobs += 1
        self._follow(self._must(JobPlanned(facts)))

    def _begin_work(self, worker: Worker, name: bytes) -> bool:
        prover = worker.prover
        step = self._rules.step(self.state, JobLeased(name, prover.id, self.state.slot))
        if step.refusal is not None:
            if step.refusal not in MAY_BE_REFUSED:
                raise InvariantError(f"a lease of an honest prover is refused: {step.refusal}")
            self._outcome.refused[step.refusal.value] += 1
            return False
        self.state = step.state
        slot = self.state.slot
        if not self._rules.terms.first_wins:
            self._open.discard(name)
        seconds = self._jobs[name].seconds / prover.speed * self._rng.lognormvariate(0, NOISE)
        worker.slots = FETCH_SLOTS + max(1, -int(-seconds // self._slot_seconds))
        worker.job, worker.began, worker.tasks = name, slot, worker.tasks + 1
        lease = self.state.jobs[name].leases[prover.id]
        if self._rng.random() < prover.crash_chance:
            after = int(self._rng.random() * worker.slots)
            self._push(slot + after, _Kind.CRASH, prover.id, worker.tasks)
        else:
            self._push(slot + worker.slots, _Kind.FINISH, prover.id, worker.tasks)
        if lease.ends < slot + worker.slots:
            self._push(lease.ends, _Kind.TIMER, name)
        if lease.until < min(lease.ends, slot + worker.slots):
            self._push(slot + self._beat_slots, _Kind.BEAT, prover.id, worker.tasks)
        return True

    @property
    def _beat_slots(self) -> int:
        return max(1, self._rules.terms.lease_slots // 2)

    def _beat(self, worker: Worker, name: bytes) -> None:
        self._must(Heartbeat(name, worker.prover.id, self.state.slot))
        self._push(self.state.slot + self._beat_slots, _Kind.BEAT, worker.prover.id, worker.tasks)

    def _prove(self, worker: Worker, name: bytes) -> None:
        prover, job = worker.prover.id, self._jobs[name]
        is_valid = self._rng.random() >= worker.prover.invalid_chance
        payee = Payee(prover, name, self._outcome.epoch)
        size = PROOF_BYTES[job.level]
        event = ProofSubmitted(name, prover, payee, is_valid, size, self.state.slot)
        self._stop(worker, is_useful=is_valid)
        self._follow(self._must(event))
        if not is_valid:
            self._outcome.invalid += 1
            self._reopen(name)
        elif job.parent >= 0:
            self._children[job.parent] -= 1
            if not self._children[job.parent]:
                self._plan(self._order[job.parent])
        self._take_own(worker)

    def _stop(self, worker: Worker, *, is_useful: bool) -> None:
        """Ends what a worker does, and counts it."""
        if worker.job is None:
            return
        spent = min(self.state.slot - worker.began, worker.slots)
        work = self._jobs[worker.job].seconds * spent / worker.slots
        if is_useful:
            self._outcome.useful += work
        else:
            self._outcome.wasted += work
        self._outcome.busy_slots[worker.prover.id] += spent
        worker.job = None

    def _kill(self, worker: Worker) -> None:
        if worker.job is not None:
            self._push_lapse(worker.job, worker.prover.id)
        self._stop(worker, is_useful=False)
        worker.is_killed = True

    def _push_lapse(self, name: bytes, prover: bytes) -> None:
        lease = self.state.jobs[name].leases.get(prover)
        if lease is not None:
            self._push(max(lease.until, self.state.slot + 1), _Kind.TIMER, name)

    def _take_own(self, worker: Worker) -> None:
        """Begins the next job that is a prover's alone, if it still is."""
        while worker.is_idle and worker.own:
            name = worker.own.popleft()
            job = self.state.jobs.get(name)
            if job is None or len(job.leases):
                continue
            if self._rules.is_exclusive(self.state, job):
                self._begin_work(worker, name)

    def _dispatch(self) -> None:
        """Has idle provers take open jobs: in the open race one each, in `first_wins` all of them."""
        if not self._open:
            return
        names = sorted(self._open)
        idle = sorted(prover for prover, worker in self.workers.items() if worker.is_idle)
        self._rng.shuffle(idle)
        if self._rules.terms.first_wins:
            for prover in idle:
                name = names[int(self._rng.random() * len(names))]
                if prover not in self.state.jobs[name].leases:
                    self._begin_work(self.workers[prover], name)
            return
        for name in names:
            while idle and not self._begin_work(self.workers[idle.pop()], name):
                pass

    def _follow(self, effects: Sequence[MarketEffect]) -> None:
        for effect in effects:
            if isinstance(effect, JobAssigned):
                self._outcome.assigned[effect.prover] += 1
                self._push(effect.until, _Kind.TIMER, effect.job)
                if worker := self.workers.get(effect.prover):
                    worker.own.append(effect.job)
                    self._take_own(worker)
            elif isinstance(effect, JobOpened):
                self._open.add(effect.job)
            elif isinstance(effect, LeaseEnded):
                self._end(effect)
            elif isinstance(effect, Penalised):
                self._outcome.lost[effect.prover] += effect.burned + effect.kept
                self._outcome.missed[effect.prover] += not effect.is_invalid
            elif isinstance(effect, JobProved):
                self._open.discard(effect.job)
                self._outcome.proven[effect.prover] += 1
                self._outcome.earned[effect.prover] += effect.rescue
                slots = self.state.slot - self._planned[effect.job]
                self._outcome.proof_slots.append(slots)
            elif isinstance(effect, JobDied):
                self._follow(self._must(JobRequeued(effect.job)))

    def _end(self, effect: LeaseEnded) -> None:
        """A lease is over: by a proof, or because it lapsed."""
        worker = self.workers.get(effect.prover)
        if worker is not None and worker.job == effect.job:
            self._stop(worker, is_useful=False)
            self._take_own(worker)
        self._reopen(effect.job)
        job = self.state.jobs.get(effect.job)
        if worker is None or job is None or job.assignee != effect.prover:
            return
        if job.state is JobState.WAITING and self._rules.is_exclusive(self.state, job):
            worker.own.append(effect.job)
            self._take_own(worker)

    def _reopen(self, name: bytes) -> None:
        job = self.state.jobs.get(name)
        if job is None or job.state is not JobState.WAITING or len(job.leases):
            return
        if not self._rules.is_exclusive(self.state, job):
            self._open.add(name)

    def _advance(self, slot: int) -> None:
        if slot > self.state.slot:
            self._follow(self._must(SlotReached(slot)))

    def _must(self, event: MarketEvent) -> tuple[MarketEffect, ...]:
        step = self._rules.step(self.state, event)
        if step.refusal is not None:
            raise InvariantError(f"{type(event).__name__} is refused: {step.refusal}")
        self.state = step.state
        return step.effects

    def _push(self, slot: int, kind: _Kind, name: bytes, task: int = 0) -> None:
        heappush(self._heap, (slot, int(kind), self._count, name, task))
        self._count += 1
