"""What an epoch's jobs are paid: base, speed and quality, split exactly by measured cells."""

from __future__ import annotations

from dataclasses import dataclass, replace

from operators.exact_split import split
from operators.market_assignment import Assignment
from operators.market_state import (
    EpochSettled,
    JobRecord,
    JobState,
    MarketEffect,
    MarketState,
    RefusedMarket,
    Rewarded,
)
from operators.rule_state import REWARDS, Pot, PotKind
from schemas.refusal import MarketRefusal


@dataclass(frozen=True, slots=True)
class Settlement(Assignment):
    """The rules of payment; each public method is one.

    Attributes:
        terms: The numbers.
    """

    def reserve(self, state: MarketState, epoch: int) -> MarketState:
        """Sets an epoch's rewards aside, or what there is of them."""
        units = min(state.books.held(REWARDS), self.terms.epoch_reward)
        return replace(state, books=state.books.move(REWARDS, _epoch(epoch), units))

    def budgets(self, reserved: int) -> tuple[int, int, int]:
        """Returns what base, speed and quality have of a reserve, in this order when it is short."""
        base = min(reserved, self.terms.base_reward)
        fast = min(reserved - base, self.terms.fast_reward)
        return base, fast, min(reserved - base - fast, self.terms.quality_reward)

    def is_fast(self, end_slot: int, landed_slot: int) -> bool:
        """Says whether an epoch's proof landed in time for its reward."""
        return landed_slot <= end_slot + self.terms.fast_slots

    def is_good(self, job: JobRecord, unavailable: frozenset[bytes]) -> bool:
        """Says whether a job's proof is of objective quality: within its size, and there for the whole window."""
        return job.is_small and job.facts.id not in unavailable

    def parts(self, units: int, jobs: list[JobRecord]) -> tuple[int, ...]:
        """Splits a reward over jobs by measured cells."""
        return split(units, [job.facts.cells for job in jobs])

    def is_finished(self, jobs: list[JobRecord]) -> bool:
        """Says whether all jobs of an epoch are proven."""
        return all(job.state is JobState.PROVED for job in jobs)

    def settle(
        self, state: MarketState, event: EpochSettled
    ) -> tuple[MarketState, tuple[MarketEffect, ...]]:
        """Pays an epoch's jobs; what is not earned goes back to the rewards.

        Raises:
            RefusedMarket: The epoch is not open, or a job of it is not proven.
        """
        epoch = state.epochs.get(event.epoch)
        if epoch is None:
            raise RefusedMarket(MarketRefusal.UNKNOWN_EPOCH)
        jobs = [job for job in state.jobs.values() if job.facts.epoch == event.epoch]
        if not self.is_finished(jobs):
            raise RefusedMarket(MarketRefusal.EPOCH_UNFINISHED)
        if event.landed_slot > state.slot:
            raise RefusedMarket(MarketRefusal.CLOCK_SKEW)
        books = state.books
        pot = _epoch(event.epoch)
        effects: tuple[MarketEffect, ...] = ()
        if jobs:
            base, fast, quality = self.budgets(books.held(pot))
            if not self.is_fast(epoch.end_slot, event.landed_slot):
                fast = 0
            by_job = zip(*(self.parts(units, jobs) for units in (base, fast, quality)), strict=True)
            for job, (own_base, own_fast, own_quality) in zip(jobs, by_job, strict=True):
                good = own_quality if self.is_good(job, event.unavailable) else 0
                units = own_base + own_fast + good
                books = books.move(pot, Pot(PotKind.FREE, job.prover), units)
                effects += (Rewarded(job.prover, job.facts.id, own_base, own_fast, good),)
        books = books.empty(pot, REWARDS)
        after = replace(
            state,
            books=books,
            jobs=state.jobs.without(*(job.facts.id for job in jobs)),
            epochs=state.epochs.without(event.epoch),
        )
        return after, effects


def _epoch(epoch: int) -> Pot:
    return Pot(PotKind.EPOCH, epoch.to_bytes(8, "big"))
