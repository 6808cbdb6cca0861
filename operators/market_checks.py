"""What must hold in every reachable state of the market rules, computed from effects and facts and not by the rules."""

from __future__ import annotations

from typing import TYPE_CHECKING

from operators.market_state import (
    EpochOpened,
    EpochSettled,
    Heartbeat,
    JobDied,
    JobLeased,
    JobProved,
    JobState,
    MarketEffect,
    MarketEvent,
    MarketState,
    Penalised,
    ProofSubmitted,
    Rewarded,
    SlotReached,
    StakeReleased,
)
from operators.rule_state import Pot, PotKind
from schemas.economics import PERMILLE, MarketTerms

if TYPE_CHECKING:
    from operators.market_model import MarketWorld

_OWN = (PotKind.FREE, PotKind.STAKE, PotKind.ESCROW)


def broken_in(terms: MarketTerms, world: MarketWorld) -> tuple[str, ...]:
    """Returns what is broken in a state."""
    state = world.state
    found = []
    if not state.books.is_balanced():
        found.append("money: the pots do not hold what came in")
    for prover in state.provers:
        leases = sum(prover in job.leases for job in state.jobs.values())
        if state.books.held(Pot(PotKind.ESCROW, prover)) != terms.claim_escrow * leases:
            found.append("escrow: a lease has not its escrow behind it")
    for job in state.jobs.values():
        found += _broken_in_job(terms, world, job.facts.id)
    for epoch in state.epochs:
        if state.books.held(Pot(PotKind.EPOCH, epoch.to_bytes(8, "big"))) > terms.epoch_reward:
            found.append("rewards: an epoch holds more than it may pay")
        cap = max(1, state.epochs[epoch].expected_jobs * terms.cap_permille // PERMILLE)
        if any(world.assigned[pair] > cap for pair in world.assigned if pair[0] == epoch):
            found.append("assignment: a prover has more than its part of an epoch's jobs")
    return tuple(found)


def broken_by(
    terms: MarketTerms,
    before: MarketWorld,
    event: MarketEvent,
    effects: tuple[MarketEffect, ...],
    after: MarketWorld,
) -> tuple[str, ...]:
    """Returns what an accepted event broke."""
    found: list[str] = []
    if isinstance(event, JobLeased):
        found += _broken_by_lease(terms, before, event)
    elif isinstance(event, Heartbeat):
        found += _broken_by_heartbeat(terms, before, event)
    elif isinstance(event, ProofSubmitted):
        found += _broken_by_proof(terms, before, event, effects)
    elif isinstance(event, EpochSettled):
        found += _broken_by_settlement(terms, before, event, effects, after)
    elif isinstance(event, StakeReleased):
        found += _broken_by_release(before, event)
    elif isinstance(event, SlotReached):
        found += _broken_by_time(before, effects, after)
    for effect in effects:
        if isinstance(effect, Penalised):
            found += _broken_by_penalty(terms, before, effect)
        if (
            isinstance(effect, JobDied)
            and (after.invalid.get(effect.job) or 0) < terms.max_attempts
        ):
            found.append("attempts: a job is given up before its attempts are used")
    if not isinstance(event, EpochOpened):
        found += _broken_wealth(before, effects, after)
    return tuple(found)


def _broken_in_job(terms: MarketTerms, world: MarketWorld, job_id: bytes) -> list[str]:
    state = world.state
    job = state.jobs[job_id]
    found = []
    if len(job.leases) > 1 and not terms.first_wins:
        found.append("lease: two provers have a lease on one job")
    if _is_alone(world, job_id) and any(p != world.alone[job_id][0] for p in job.leases):
        found.append("exclusive: another than the assignee has a lease")
    span = -(-job.facts.estimate_slots * terms.exclusive_permille // PERMILLE)
    for prover in job.leases:
        began, beat = world.beats.get((job_id, prover)) or (-span, -span)
        if state.slot >= beat + terms.lease_slots or state.slot >= began + span:
            found.append("lease: a lease goes on without heartbeat, or for ever")
    if job.state is JobState.PROVED:
        if state.books.held(Pot(PotKind.RESCUE, job_id)) or len(job.leases):
            found.append("rescue: money or a lease is left with a job that is done")
        if job_id in world.proved and job.prover != world.proved[job_id][0]:
            found.append("payee: another is named than the one who made the proof")
    is_open = job.state is JobState.WAITING and not _is_alone(world, job_id)
    own = world.alone.get(job_id)
    if is_open and own is not None and (job_id, own[0]) not in world.late:
        found.append("missed: a missed window costs nothing")
    return found


def _is_alone(world: MarketWorld, job: bytes) -> bool:
    return job in world.alone and world.state.slot < world.alone[job][1]


def _broken_by_heartbeat(terms: MarketTerms, before: MarketWorld, event: Heartbeat) -> list[str]:
    found = []
    if (event.job, event.prover) not in before.beats:
        found.append("lease: a heartbeat is taken after the lease")
    if abs(event.slot - before.state.slot) > terms.skew_slots:
        found.append("clock: a heartbeat of a skewed clock is taken")
    return found


def _broken_by_release(before: MarketWorld, event: StakeReleased) -> list[str]:
    alone = {before.alone[job][0] for job in before.alone if _is_alone(before, job)}
    bound = alone | {pair[1] for pair in before.beats}
    return ["stake: what a job depends on is taken back"] if event.prover in bound else []


def _broken_by_lease(terms: MarketTerms, before: MarketWorld, event: JobLeased) -> list[str]:
    state = before.state
    found = []
    if state.books.held(Pot(PotKind.STAKE, event.prover)) < terms.claim_escrow:
        found.append("escrow: a prover without stake has a lease")
    if before.barred.get(event.prover) == state.epoch:
        found.append("barred: a prover of an invalid proof goes on at once")
    if abs(event.slot - state.slot) > terms.skew_slots:
        found.append("clock: a lease of a skewed clock is taken")
    return found


def _broken_by_proof(
    terms: MarketTerms,
    before: MarketWorld,
    event: ProofSubmitted,
    effects: tuple[MarketEffect, ...],
) -> list[str]:
    found = []
    job = before.state.jobs[event.job]
    payee = event.payee
    if (payee.prover, payee.job, payee.epoch) != (event.prover, event.job, job.facts.epoch):
        found.append("payee: a copied proof, or one for another job, is taken")
    if (event.job, event.prover) not in before.beats:
        found.append("lease: a proof without a lease is taken")
    if event.size_bytes > terms.max_proof_bytes:
        found.append("size: an oversized proof is taken")
    proved = [effect for effect in effects if isinstance(effect, JobProved)]
    lost = [effect for effect in effects if isinstance(effect, Penalised)]
    if event.is_valid:
        kept = before.state.books.held(Pot(PotKind.RESCUE, event.job))
        due = 0 if (event.job, event.prover) in before.late else kept
        if [effect.rescue for effect in proved] != [due] or lost:
            found.append("rescue: the rescuer gets something else than was kept for him")
    elif proved or [effect.burned for effect in lost] != [terms.invalid_penalty]:
        found.append("invalid: an invalid proof does not cost what it should")
    return found


def _broken_by_time(
    before: MarketWorld, effects: tuple[MarketEffect, ...], after: MarketWorld
) -> list[str]:
    """Only who let a window or a lease pass is late."""
    found = []
    for effect in effects:
        if not isinstance(effect, Penalised):
            continue
        own = before.alone.get(effect.job)
        missed = own is not None and own[0] == effect.prover and _is_alone(before, effect.job)
        missed = missed and not _is_alone(after, effect.job)
        lapsed = (effect.job, effect.prover) in before.beats
        if effect.is_invalid or not (missed or lapsed):
            found.append("missed: a prover pays for what it did not miss")
    return found


def _broken_by_penalty(terms: MarketTerms, before: MarketWorld, effect: Penalised) -> list[str]:
    if effect.is_invalid:
        return []
    if effect.burned - effect.kept not in {0, 1}:
        return ["missed: not half of it is burned"]
    units = effect.burned + effect.kept
    due = terms.claim_escrow * terms.missed_permille // PERMILLE
    had = before.state.books.held(Pot(PotKind.STAKE, effect.prover))
    had += before.state.books.held(Pot(PotKind.ESCROW, effect.prover))
    return [] if units == due or had < due else ["missed: it costs something else than it should"]


def _broken_by_settlement(
    terms: MarketTerms,
    before: MarketWorld,
    event: EpochSettled,
    effects: tuple[MarketEffect, ...],
    after: MarketWorld,
) -> list[str]:
    found = []
    state = before.state
    jobs = {j.facts.id: j for j in state.jobs.values() if j.facts.epoch == event.epoch}
    rewards = [effect for effect in effects if isinstance(effect, Rewarded)]
    if any(job not in before.proved for job in jobs):
        found.append("rewards: an epoch is paid before it is proven")
    if any(effect.job in before.paid for effect in rewards):
        found.append("rewards: a job is paid twice")
    if any(
        effect.prover != before.proved[effect.job][0]
        for effect in rewards
        if effect.job in before.proved
    ):
        found.append("payee: another is paid than the one who made the proof")
    held = state.books.held(Pot(PotKind.EPOCH, event.epoch.to_bytes(8, "big")))
    base = min(held, terms.base_reward)
    in_time = event.landed_slot <= state.epochs[event.epoch].end_slot + terms.fast_slots
    fast = min(held - base, terms.fast_reward) if in_time else 0
    if jobs and (sum(r.base for r in rewards), sum(r.fast for r in rewards)) != (base, fast):
        found.append("rewards: not the whole reward is paid, or more")
    cells = sum(job.facts.cells for job in jobs.values())
    for effect in rewards:
        own = jobs[effect.job].facts.cells
        for part, whole in ((effect.base, base), (effect.fast, fast)):
            if abs(part * cells - whole * own) >= cells:
                found.append("rewards: they are not split by cells")
        is_small = (
            effect.job in before.proved
            and before.proved[effect.job][1] <= jobs[effect.job].facts.quality_bytes
        )
        if effect.quality and (not is_small or effect.job in event.unavailable):
            found.append("rewards: quality is paid for without it")
    if after.state.books.held(Pot(PotKind.EPOCH, event.epoch.to_bytes(8, "big"))):
        found.append("rewards: something is left with a settled epoch")
    return found


def _broken_wealth(
    before: MarketWorld, effects: tuple[MarketEffect, ...], after: MarketWorld
) -> list[str]:
    """A prover's money changes by what the effects say and by nothing else."""
    found = []
    for prover in after.state.provers:
        change = _wealth(after.state, prover) - _wealth(before.state, prover)
        told = 0
        for effect in effects:
            if isinstance(effect, Penalised) and effect.prover == prover:
                told -= effect.burned + effect.kept
            elif isinstance(effect, JobProved) and effect.prover == prover:
                told += effect.rescue
            elif isinstance(effect, Rewarded) and effect.prover == prover:
                told += effect.base + effect.fast + effect.quality
        if change != told:
            found.append("money: a prover gained or lost what nobody was told of")
    return found


def _wealth(state: MarketState, prover: bytes) -> int:
    return sum(state.books.held(Pot(kind, prover)) for kind in _OWN)
