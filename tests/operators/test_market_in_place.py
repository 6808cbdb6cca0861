"""The machine of simulations beside the real one: the same events, the same states, effects and refusals."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from operators.market_in_place import InPlaceRules, empty_market
from operators.market_model import MARKET_TERMS
from operators.market_rules import MarketRules
from operators.market_state import (
    EpochOpened,
    EpochSettled,
    Heartbeat,
    JobFacts,
    JobLeased,
    JobPlanned,
    JobRequeued,
    JobsVoided,
    MarketEvent,
    MarketState,
    Payee,
    ProofSubmitted,
    RewardsFunded,
    SlotReached,
    StakeLocked,
    StakeReleased,
)
from operators.rule_state import Pot, PotKind, digest
from schemas.economics import MarketTerms
from schemas.errors import InvariantError
from schemas.refusal import MarketRefusal

PROVERS = tuple(b"prover %d" % number for number in range(6))
TERMS = replace(MARKET_TERMS, max_open_jobs=12, cap_permille=200, lease_slots=3, skew_slots=2)


def draw_event(rng: Random, state: MarketState) -> MarketEvent:
    """Any event, sensible or not, with a leaning to those that the state takes."""
    jobs = [*state.jobs, b"no job"]
    job, prover = rng.choice(jobs), rng.choice(PROVERS)
    epoch = state.jobs[job].facts.epoch if job in state.jobs else 0
    slot = state.slot + rng.choice((0, 0, 0, 1, -3, 5))
    if job in state.jobs and rng.random() < 0.7:
        holders = [*state.jobs[job].leases, state.jobs[job].assignee or prover]
        prover = rng.choice(holders)
    payee = Payee(prover, job, epoch if rng.random() < 0.9 else 7)
    name = b"job %d" % rng.randrange(60)
    facts = JobFacts(name, state.epoch, rng.randrange(9), rng.randrange(4), 5)
    events: list[tuple[int, MarketEvent]] = [
        (4, SlotReached(state.slot + rng.randrange(3))),
        (6, JobPlanned(facts)),
        (8, JobLeased(job, prover, slot)),
        (2, Heartbeat(job, prover, slot)),
        (7, ProofSubmitted(job, prover, payee, rng.random() < 0.7, rng.randrange(3, 11), slot)),
        (1, StakeLocked(prover, rng.randrange(12))),
        (1, StakeReleased(prover, rng.randrange(20))),
        (1, RewardsFunded(rng.randrange(30))),
        (2, JobRequeued(job)),
        (1, JobsVoided((job, rng.choice(jobs)))),
        (2, EpochSettled(rng.choice([*state.epochs, 99]), slot, frozenset(jobs[:1]))),
        (1, EpochOpened(state.epoch + 1, b"%d" % state.slot, 9, state.slot + rng.randrange(5))),
    ]
    weights, choices = zip(*events, strict=True)
    event: MarketEvent = rng.choices(choices, weights)[0]
    return event


def twins(terms: MarketTerms) -> tuple[MarketRules, MarketState, MarketRules, MarketState]:
    states = []
    for state in (MarketState(), empty_market()):
        books = state.books
        for place, prover in enumerate(PROVERS):
            books = books.deposit(Pot(PotKind.FREE, prover), 20 + 9 * place)
        states.append(replace(state, books=books))
    return MarketRules(terms), states[0], InPlaceRules(terms), states[1]


@pytest.mark.parametrize("first_wins", [False, True], ids=["assigned", "first_wins"])
@pytest.mark.parametrize("seed", range(6))
def test_both_machines_go_the_same_way(seed: int, *, first_wins: bool) -> None:
    rng = Random(f"{seed}")  # noqa: S311 - reproducible, not secret
    rules, state, quick, twin = twins(replace(TERMS, first_wins=first_wins))
    seen: set[str] = set()
    for number in range(700):
        event: MarketEvent = draw_event(rng, state)
        if number < len(PROVERS):
            event = StakeLocked(PROVERS[number], 12 + 8 * number)
        step, other = rules.step(state, event), quick.step(twin, event)
        assert (step.refusal, step.effects) == (other.refusal, other.effects), event
        state, twin = step.state, other.state
        assert state == twin, event
        seen.add(type(event).__name__ if step.refusal is None else step.refusal.value)
    assert digest(state) == digest(twin)
    assert {"JobPlanned", "JobLeased", "ProofSubmitted", "EpochSettled"} <= seen
    assert {MarketRefusal.NO_LEASE.value, MarketRefusal.WRONG_EPOCH.value} <= seen


def test_a_table_that_changes_in_place_cannot_be_hashed() -> None:
    with pytest.raises(InvariantError, match="has no hash"):
        hash(empty_market())


def test_assignment_needs_the_index_of_stakes() -> None:
    state = replace(MarketState(), epoch=0)
    opened = InPlaceRules().step(replace(state, epoch=-1), EpochOpened(0, b"s", 9, 9)).state
    planned = JobPlanned(JobFacts(b"j", 0, 1, 1, 1))
    with pytest.raises(InvariantError, match="no index of stakes"):
        InPlaceRules().step(opened, planned)
