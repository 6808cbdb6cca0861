"""Who gets a job first: a hash of the epoch's seed and the job, weighted by stake and success, capped per epoch."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from operators.market_state import NOBODY, EpochRecord, JobRecord, JobState, MarketState
from operators.rule_state import Pot, PotKind
from schemas.economics import PERMILLE, MarketTerms

_DOMAIN = b"ecliptica/assignment/1"


def draw(seed: bytes, job: bytes, weights: Sequence[int]) -> int:
    """Returns a place, each with a chance in proportion to its weight.

    The bias of reducing 256 bits by a sum below 2^80 is below 2^-176.

    Args:
        seed: What nobody could choose.
        job: Id of the job.
        weights: >= 0 each, with a positive sum below 2^80.
    """
    parts = (_DOMAIN, len(seed).to_bytes(4, "little"), seed, job)
    point = int.from_bytes(hashlib.sha256(b"".join(parts)).digest(), "little") % sum(weights)
    for place, weight in enumerate(weights):
        point -= weight
        if point < 0:
            return place
    return len(weights) - 1


@dataclass(frozen=True, slots=True)
class Assignment:
    """The rules of assignment; each public method is one.

    Attributes:
        terms: The numbers.
    """

    terms: MarketTerms = MarketTerms()  # noqa: RUF009 - immutable

    def cap(self, epoch: EpochRecord) -> int:
        """Returns the most jobs of an epoch for one assignee; at least one, so that small epochs have assignees."""
        return max(1, epoch.expected_jobs * self.terms.cap_permille // PERMILLE)

    def weight(self, state: MarketState, prover: bytes) -> int:
        """Returns stake times success rate, below 2^70: with few jobs done the rate is near one."""
        record = state.provers[prover]
        rate = PERMILLE * (1 + record.assigned - min(record.missed, record.assigned))
        rate //= 1 + record.assigned
        return state.books.held(Pot(PotKind.STAKE, prover)) * rate

    def assignee(self, state: MarketState, epoch: int, job: bytes) -> bytes:
        """Returns who gets a job first, or `NOBODY`: then it is open at once."""
        record = state.epochs[epoch]
        busy = duties(state)
        provers = [p for p in state.provers if self.may_get(state, record, p, busy.get(p, 0))]
        weights = [self.weight(state, prover) for prover in provers]
        if self.terms.first_wins or not sum(weights):
            return NOBODY
        return provers[draw(record.seed, job, weights)]

    def may_get(self, state: MarketState, epoch: EpochRecord, prover: bytes, busy: int) -> bool:
        """Says whether a prover can be assigned one job more: not barred, below the cap, with stake for all its jobs."""
        if state.provers[prover].barred_until > state.epoch:
            return False
        if (epoch.assigned.get(prover) or 0) >= self.cap(epoch):
            return False
        return self.spare(state, prover, busy) >= self.terms.claim_escrow

    def spare(self, state: MarketState, prover: bytes, busy: int) -> int:
        """Returns the stake that the `busy` jobs will not need that are a prover's alone and not leased."""
        return state.books.held(Pot(PotKind.STAKE, prover)) - self.terms.claim_escrow * busy


def is_exclusive(state: MarketState, job: JobRecord) -> bool:
    """Says whether a waiting job is its assignee's alone."""
    is_waiting = job.state is JobState.WAITING
    return is_waiting and job.assignee != NOBODY and state.slot < job.exclusive_until


def duties(state: MarketState) -> Counter[bytes]:
    """Returns how many jobs are each prover's alone and not leased by it; one pass over the jobs."""
    return Counter(
        job.assignee
        for job in state.jobs.waiting()
        if is_exclusive(state, job) and job.assignee not in job.leases
    )
