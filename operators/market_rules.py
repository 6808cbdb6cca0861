"""The rules of the prover market: a pure function from state and event to state and effects.

No clock, no input, no output: slots come with the events, seeds with the epochs, and proofs are verified before. A
refused event changes nothing. See operators/rules.md "Market".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from operators.exact_split import share
from operators.market_assignment import duties, is_exclusive
from operators.market_settlement import Settlement
from operators.market_state import (
    NOBODY,
    EpochOpened,
    EpochRecord,
    EpochSettled,
    Heartbeat,
    JobAssigned,
    JobDied,
    JobLeased,
    JobOpened,
    JobPlanned,
    JobProved,
    JobRecord,
    JobRequeued,
    JobState,
    JobsVoided,
    JobVoided,
    Lease,
    LeaseEnded,
    MarketEffect,
    MarketEvent,
    MarketState,
    MarketStep,
    Penalised,
    ProofSubmitted,
    ProverRecord,
    RefusedMarket,
    RewardsFunded,
    SlotReached,
    StakeLocked,
    StakeReleased,
)
from operators.rule_state import BURNED, REWARDS, Pot, PotKind
from schemas.economics import PERMILLE
from schemas.refusal import MarketRefusal
from schemas.units import AMOUNT_LIMIT, INDEX_LIMIT

Changed = tuple[MarketState, tuple[MarketEffect, ...]]

MAX_CELLS = 2**40
"""Cells of one job are below it; the largest proof has some 2^28."""


@dataclass(frozen=True, slots=True)
class MarketRules(Settlement):
    """The machine. Each public method beside `step` is one rule.

    Attributes:
        terms: The numbers.
    """

    def step(self, state: MarketState, event: MarketEvent) -> MarketStep:
        """Returns what an event leads to.

        Raises:
            InvariantError: The rules contradict themselves; a defect.
        """
        handlers: dict[type, Callable[[MarketState, Any], Changed]] = {
            StakeLocked: self._on_stake,
            StakeReleased: self._on_release,
            RewardsFunded: self._on_funding,
            SlotReached: self._on_slot,
            EpochOpened: self._on_epoch,
            JobPlanned: self._on_plan,
            JobLeased: self._on_lease,
            Heartbeat: self._on_heartbeat,
            ProofSubmitted: self._on_proof,
            JobRequeued: self._on_requeue,
            JobsVoided: self._on_void,
            EpochSettled: self._on_settlement,
        }
        try:
            after, effects = handlers[type(event)](state, event)
        except RefusedMarket as refused:
            return MarketStep(state, refusal=refused.reason)
        return MarketStep(after, effects)

    def exclusive_slots(self, estimate: int) -> int:
        """Returns how long a job is its assignee's, and how long a lease lasts at most; rounded up."""
        return -(-estimate * self.terms.exclusive_permille // PERMILLE)

    def is_exclusive(self, state: MarketState, job: JobRecord) -> bool:
        """Says whether a job is still its assignee's alone."""
        return is_exclusive(state, job)

    def lease_until(self, slot: int, ends: int) -> int:
        """Returns when a lease lapses that is taken or renewed in a slot; heartbeats do not make it longer for ever."""
        return min(slot + self.terms.lease_slots, ends)

    def escrow_price(self) -> int:
        """Returns the units that a lease locks."""
        return self.terms.claim_escrow

    def missed_units(self, stake: int) -> int:
        """Returns what a missed window or a lapsed lease costs a stake."""
        return min(stake, share(self.terms.claim_escrow, self.terms.missed_permille))

    def burned_of(self, missed: int) -> int:
        """Returns what is burned of that; the rest is the rescuer's. The odd unit is burned."""
        return missed - missed // 2

    def invalid_units(self) -> int:
        """Returns what an invalid proof costs."""
        return self.terms.invalid_penalty

    def is_rescuer(self, job: JobRecord, prover: bytes) -> bool:
        """Says whether a prover gets what others lost on a job: not if it is one of them."""
        return prover not in job.late

    def check_prover(self, state: MarketState, prover: bytes) -> None:
        """Refuses a prover that may lease nothing.

        Raises:
            RefusedMarket: With the reason.
        """
        record = state.provers.get(prover)
        if record is None or not state.books.held(_stake(prover)):
            raise RefusedMarket(MarketRefusal.PROVER_UNBONDED)
        if record.barred_until > state.epoch:
            raise RefusedMarket(MarketRefusal.PROVER_BARRED)

    def check_lease(self, state: MarketState, job: JobRecord, prover: bytes) -> None:
        """Refuses a lease that a prover may not have now.

        Raises:
            RefusedMarket: With the reason.
        """
        if prover in job.leases:
            raise RefusedMarket(MarketRefusal.ALREADY_LEASED)
        if self.is_exclusive(state, job) and prover != job.assignee:
            raise RefusedMarket(MarketRefusal.EXCLUSIVE_TO_ANOTHER)
        if len(job.leases) and not self.terms.first_wins:
            raise RefusedMarket(MarketRefusal.JOB_LEASED)
        is_own = self.is_exclusive(state, job) and prover == job.assignee
        busy = 0 if is_own else duties(state)[prover]
        if self.spare(state, prover, busy) < self.escrow_price():
            raise RefusedMarket(MarketRefusal.STAKE_TOO_SMALL)

    def check_payee(self, job: JobRecord, event: ProofSubmitted) -> None:
        """Refuses a proof that was made by another, for another job or for another epoch.

        Raises:
            RefusedMarket: With the reason.
        """
        if event.payee.prover != event.prover:
            raise RefusedMarket(MarketRefusal.WRONG_PAYEE)
        if event.payee.job != job.facts.id:
            raise RefusedMarket(MarketRefusal.WRONG_JOB)
        if event.payee.epoch != job.facts.epoch:
            raise RefusedMarket(MarketRefusal.WRONG_EPOCH)

    def check_slot(self, state: MarketState, slot: int) -> None:
        """Refuses what was sent by a clock that is too far from the log's.

        Raises:
            RefusedMarket: With the reason.
        """
        if abs(slot - state.slot) > self.terms.skew_slots:
            raise RefusedMarket(MarketRefusal.CLOCK_SKEW)

    def may_release(self, state: MarketState, prover: bytes) -> bool:
        """Says whether stake may go back: its owner has no lease and no job of its own, so that nothing depends on it."""
        return not any(
            prover in job.leases or (job.assignee == prover and self.is_exclusive(state, job))
            for job in state.jobs.waiting()
        )

    def _on_stake(self, state: MarketState, event: StakeLocked) -> Changed:
        _check_units(event.units)
        if state.books.held(_free(event.prover)) < event.units:
            raise RefusedMarket(MarketRefusal.BALANCE_TOO_SMALL)
        books = state.books.move(_free(event.prover), _stake(event.prover), event.units)
        known = state.provers.get(event.prover) or ProverRecord()
        return replace(
            state, books=books, provers=state.provers.with_entry(event.prover, known)
        ), ()

    def _on_release(self, state: MarketState, event: StakeReleased) -> Changed:
        _check_units(event.units)
        if state.books.held(_stake(event.prover)) < event.units:
            raise RefusedMarket(MarketRefusal.BALANCE_TOO_SMALL)
        if not self.may_release(state, event.prover):
            raise RefusedMarket(MarketRefusal.STAKE_IN_USE)
        books = state.books.move(_stake(event.prover), _free(event.prover), event.units)
        return replace(state, books=books), ()

    def _on_funding(self, state: MarketState, event: RewardsFunded) -> Changed:
        _check_units(event.units)
        return replace(state, books=state.books.deposit(REWARDS, event.units)), ()

    def _on_epoch(self, state: MarketState, event: EpochOpened) -> Changed:
        if event.epoch != state.epoch + 1 or event.end_slot <= state.slot:
            raise RefusedMarket(MarketRefusal.EPOCH_OUT_OF_ORDER)
        if not 0 < event.expected_jobs <= self.terms.max_open_jobs:
            raise RefusedMarket(MarketRefusal.TOO_MANY_JOBS)
        record = EpochRecord(event.seed, event.expected_jobs, event.end_slot)
        funded = self.reserve(replace(state, epoch=event.epoch), event.epoch)
        return replace(funded, epochs=state.epochs.with_entry(event.epoch, record)), ()

    def _on_plan(self, state: MarketState, event: JobPlanned) -> Changed:
        facts = event.facts
        epoch = state.epochs.get(facts.epoch)
        if epoch is None:
            raise RefusedMarket(MarketRefusal.UNKNOWN_EPOCH)
        if facts.id in state.jobs:
            raise RefusedMarket(MarketRefusal.DUPLICATE_JOB)
        if not (0 < facts.cells < MAX_CELLS and 0 < facts.estimate_slots < INDEX_LIMIT):
            raise RefusedMarket(MarketRefusal.JOB_OUT_OF_RANGE)
        if len(state.jobs) >= self.terms.max_open_jobs:
            raise RefusedMarket(MarketRefusal.QUEUE_FULL)
        prover = self.assignee(state, facts.epoch, facts.id)
        if prover == NOBODY:
            return _with_job(state, JobRecord(facts)), (JobOpened(facts.id),)
        until = state.slot + self.exclusive_slots(facts.estimate_slots)
        count = 1 + (epoch.assigned.get(prover) or 0)
        planned = replace(epoch, assigned=epoch.assigned.with_entry(prover, count))
        known = state.provers[prover]
        after = replace(
            _with_job(state, JobRecord(facts, assignee=prover, exclusive_until=until)),
            epochs=state.epochs.with_entry(facts.epoch, planned),
            provers=state.provers.with_entry(prover, replace(known, assigned=known.assigned + 1)),
        )
        return after, (JobAssigned(facts.id, prover, until),)

    def _on_lease(self, state: MarketState, event: JobLeased) -> Changed:
        job = _waiting(state, event.job)
        self.check_slot(state, event.slot)
        self.check_prover(state, event.prover)
        self.check_lease(state, job, event.prover)
        ends = state.slot + self.exclusive_slots(job.facts.estimate_slots)
        if self.is_exclusive(state, job):
            ends = job.exclusive_until
        lease = Lease(self.lease_until(state.slot, ends), ends)
        books = state.books.move(_stake(event.prover), _escrow(event.prover), self.escrow_price())
        leased = replace(job, leases=job.leases.with_entry(event.prover, lease))
        return _with_job(replace(state, books=books), leased), ()

    def _on_heartbeat(self, state: MarketState, event: Heartbeat) -> Changed:
        job = _waiting(state, event.job)
        self.check_slot(state, event.slot)
        lease = job.leases.get(event.prover)
        if lease is None:
            raise RefusedMarket(MarketRefusal.NO_LEASE)
        renewed = replace(lease, until=self.lease_until(state.slot, lease.ends))
        return _with_job(
            state, replace(job, leases=job.leases.with_entry(event.prover, renewed))
        ), ()

    def _on_proof(self, state: MarketState, event: ProofSubmitted) -> Changed:
        job = _waiting(state, event.job)
        self.check_slot(state, event.slot)
        if event.size_bytes > self.terms.max_proof_bytes:
            raise RefusedMarket(MarketRefusal.OVERSIZED_PROOF)
        self.check_payee(job, event)
        if event.prover not in job.leases:
            raise RefusedMarket(MarketRefusal.NO_LEASE)
        if not event.is_valid:
            return self._punish_invalid(state, job, event.prover)
        wasted = tuple(holder for holder in job.leases if holder != event.prover)
        effects: tuple[MarketEffect, ...] = ()
        for holder in job.leases:
            state, ended = self._end_lease(state, job, holder)
            effects += ended
        rescue = Pot(PotKind.RESCUE, job.facts.id)
        units = state.books.held(rescue) if self.is_rescuer(job, event.prover) else 0
        books = state.books.move(rescue, _free(event.prover), units).empty(rescue, BURNED)
        proved = replace(
            job,
            state=JobState.PROVED,
            leases=type(job.leases)(),
            prover=event.prover,
            is_small=event.size_bytes <= job.facts.quality_bytes,
        )
        after = _with_job(replace(state, books=books), proved)
        return after, (*effects, JobProved(job.facts.id, event.prover, units, wasted))

    def _punish_invalid(self, state: MarketState, job: JobRecord, prover: bytes) -> Changed:
        units = self.invalid_units()
        books = state.books.move(_escrow(prover), BURNED, units)
        books = books.move(_escrow(prover), _stake(prover), self.escrow_price() - units)
        known = state.provers[prover]
        known = replace(known, missed=known.missed + 1, barred_until=state.epoch + 1)
        was_own = self.is_exclusive(state, job) and prover == job.assignee
        job = replace(
            job,
            leases=job.leases.without(prover),
            attempts=job.attempts + 1,
            exclusive_until=state.slot if was_own else job.exclusive_until,
            late=job.late | {prover},
        )
        effects: tuple[MarketEffect, ...] = (
            Penalised(prover, job.facts.id, units, 0, is_invalid=True),
        )
        if was_own:
            effects += (JobOpened(job.facts.id),)
        if job.attempts >= self.terms.max_attempts and not len(job.leases):
            job = replace(job, state=JobState.DEAD)
            effects += (JobDied(job.facts.id),)
        provers = state.provers.with_entry(prover, known)
        return _with_job(replace(state, books=books, provers=provers), job), effects

    def _end_lease(self, state: MarketState, job: JobRecord, holder: bytes) -> Changed:
        books = state.books.move(_escrow(holder), _stake(holder), self.escrow_price())
        return replace(state, books=books), (LeaseEnded(job.facts.id, holder),)

    def _on_slot(self, state: MarketState, event: SlotReached) -> Changed:
        if event.slot <= state.slot:
            raise RefusedMarket(MarketRefusal.CLOCK_WENT_BACK)
        before, state = state, replace(state, slot=event.slot)
        effects: tuple[MarketEffect, ...] = ()
        for known in state.jobs.waiting():
            job, job_id = known, known.facts.id
            was_exclusive = self.is_exclusive(before, job)
            for holder in [h for h in job.leases if job.leases[h].until <= event.slot]:
                state, ended = self._end_lease(state, job, holder)
                job = replace(job, leases=job.leases.without(holder))
                effects += ended
                if not was_exclusive and not self.terms.first_wins:
                    state, job, lost = self._punish_late(state, job, holder)
                    effects += lost
            if was_exclusive and not self.is_exclusive(state, job):
                state, job, lost = self._punish_late(state, job, job.assignee)
                effects += (*lost, JobOpened(job_id))
            if job.attempts >= self.terms.max_attempts and not len(job.leases):
                job = replace(job, state=JobState.DEAD)
                effects += (JobDied(job_id),)
            if job is not known:
                state = _with_job(state, job)
        return state, effects

    def _punish_late(
        self, state: MarketState, job: JobRecord, prover: bytes
    ) -> tuple[MarketState, JobRecord, tuple[MarketEffect, ...]]:
        missed = self.missed_units(state.books.held(_stake(prover)))
        burned = self.burned_of(missed)
        books = state.books.move(_stake(prover), BURNED, burned)
        books = books.move(_stake(prover), Pot(PotKind.RESCUE, job.facts.id), missed - burned)
        known = state.provers[prover]
        provers = state.provers.with_entry(prover, replace(known, missed=known.missed + 1))
        late = replace(job, late=job.late | {prover})
        effect = Penalised(prover, job.facts.id, burned, missed - burned, is_invalid=False)
        return replace(state, books=books, provers=provers), late, (effect,)

    def _on_requeue(self, state: MarketState, event: JobRequeued) -> Changed:
        job = state.jobs.get(event.job)
        if job is None:
            raise RefusedMarket(MarketRefusal.UNKNOWN_JOB)
        if job.state is not JobState.DEAD:
            raise RefusedMarket(MarketRefusal.JOB_NOT_DEAD)
        again = replace(job, state=JobState.WAITING, attempts=0, exclusive_until=state.slot)
        return _with_job(state, again), (JobOpened(event.job),)

    def _on_void(self, state: MarketState, event: JobsVoided) -> Changed:
        effects: tuple[MarketEffect, ...] = ()
        for job_id in sorted(set(event.jobs)):
            job = state.jobs.get(job_id)
            if job is None:
                continue
            for holder in job.leases:
                state, ended = self._end_lease(state, job, holder)
                effects += ended
            books = state.books.empty(Pot(PotKind.RESCUE, job_id), BURNED)
            state = replace(state, books=books, jobs=state.jobs.without(job_id))
            effects += (JobVoided(job_id),)
        return state, effects

    def _on_settlement(self, state: MarketState, event: EpochSettled) -> Changed:
        return self.settle(state, event)


def _waiting(state: MarketState, job_id: bytes) -> JobRecord:
    """Returns a job that can be worked on.

    Raises:
        RefusedMarket: There is none.
    """
    job = state.jobs.get(job_id)
    if job is None:
        raise RefusedMarket(MarketRefusal.UNKNOWN_JOB)
    if job.state is JobState.PROVED:
        raise RefusedMarket(MarketRefusal.JOB_DONE)
    if job.state is JobState.DEAD:
        raise RefusedMarket(MarketRefusal.JOB_DEAD)
    return job


def _with_job(state: MarketState, job: JobRecord) -> MarketState:
    return replace(state, jobs=state.jobs.with_entry(job.facts.id, job))


def _check_units(units: int) -> None:
    if not 0 < units < AMOUNT_LIMIT:
        raise RefusedMarket(MarketRefusal.AMOUNT_OUT_OF_RANGE)


def _free(party: bytes) -> Pot:
    return Pot(PotKind.FREE, party)


def _stake(prover: bytes) -> Pot:
    return Pot(PotKind.STAKE, prover)


def _escrow(prover: bytes) -> Pot:
    return Pot(PotKind.ESCROW, prover)
