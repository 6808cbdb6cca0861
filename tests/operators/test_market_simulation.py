"""An epoch of the simulated market: small cases whose outcome is known, and what holds for all."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from random import Random

import pytest

from operators.market_in_place import InPlaceRules, empty_market
from operators.market_jobs import (
    EPOCH_SECONDS,
    JOIN_SECONDS,
    SHARDS,
    SimulatedJob,
    epoch_jobs,
    joins,
    window_seconds,
)
from operators.market_provers import SimulatedProver, draw_prover
from operators.market_rules import MarketRules
from operators.market_simulation import EpochOutcome, MarketSimulation
from operators.market_state import MarketState
from operators.rule_state import BURNED, REWARDS, Pot, PotKind
from schemas.config import ClockConfig
from schemas.economics import ECLIPT, MarketTerms
from schemas.errors import ParameterError
from schemas.job import ProofLevel

CLOCK = ClockConfig(windows_per_shard_epoch=2, shard_epochs_per_hour=2)
TRANSACTIONS = 32 * 50_000.0
"""One large segment a window."""

STAKE = 50_000 * ECLIPT


def prover(name: str, speed: float = 8.0, **changes: object) -> SimulatedProver:
    """A prover that never fails."""
    whole = SimulatedProver(name.encode(), 2, speed, 0.1, 0.1, 1.0, 0.0, 0.0, STAKE, 100.0)
    return replace(whole, **changes)  # type: ignore[arg-type]


def market(
    *provers: SimulatedProver,
    seed: int = 1,
    terms: MarketTerms | None = None,
    rules: MarketRules | None = None,
) -> MarketSimulation:
    rules = rules or InPlaceRules(terms or MarketTerms())
    state = empty_market() if isinstance(rules, InPlaceRules) else MarketState()
    rng = Random(seed)  # noqa: S311 - reproducible, not secret
    simulation = MarketSimulation(rules, state, CLOCK, rng)
    for entry in provers:
        simulation.join(entry)
    simulation.fund(1_000 * ECLIPT)
    return simulation


def jobs(epoch: int = 0) -> list[SimulatedJob]:
    return epoch_jobs(epoch, TRANSACTIONS, CLOCK)


def held(simulation: MarketSimulation, kind: PotKind, owner: bytes = b"") -> int:
    return simulation.state.books.held(Pot(kind, owner))


def wealth(simulation: MarketSimulation, name: bytes) -> int:
    return sum(held(simulation, kind, name) for kind in (PotKind.FREE, PotKind.STAKE))


MIXED = tuple(
    replace(draw_prover(number, Random(number)), crash_chance=0.1)  # noqa: S311 - reproducible, not secret
    for number in range(12)
)


def test_the_target_clock_has_960_windows_and_89_proofs_above_them() -> None:
    made = epoch_jobs(0, 180e6, ClockConfig())
    assert Counter(job.level for job in made) == {
        ProofLevel.WINDOW: 960,
        ProofLevel.SHARD_EPOCH: 80,
        ProofLevel.SHARD_HOUR: 8,
        ProofLevel.EPOCH: 1,
    }
    assert len({job.id for job in made}) == 1049
    assert max(job.begins for job in made) == 7680
    assert all(made[job.parent].level is not ProofLevel.WINDOW for job in made[1:])


@pytest.mark.parametrize(
    ("transactions", "seconds"),
    [(0, 3.59), (52, 3.59), (6_000, 4.54), (50_000, 7.7), (187_500, 4 * 7.7 + 3.7)],
)
def test_the_work_of_a_window_is_its_segments_lifts_and_joins(
    transactions: float, seconds: float
) -> None:
    assert window_seconds(transactions) == pytest.approx(seconds)


@pytest.mark.parametrize(("children", "made"), [(1, 0), (2, 1), (8, 1), (9, 2), (15, 2), (16, 3)])
def test_a_join_takes_eight_children(children: int, made: int) -> None:
    assert joins(children) == made


def test_fewer_than_no_transactions_are_refused() -> None:
    with pytest.raises(ParameterError, match="no fewer than no transactions"):
        window_seconds(-1)


@pytest.mark.parametrize("mode", ["assigned", "race"])
def test_one_prover_without_a_fault_proves_all_and_has_the_whole_reward(mode: str) -> None:
    simulation = market(prover("one", speed=100), terms=MarketTerms(first_wins=mode == "race"))
    outcome = simulation.run_epoch(jobs())
    work = 32 * 7.7 + (16 + SHARDS) * JOIN_SECONDS + EPOCH_SECONDS
    assert outcome.useful == pytest.approx(work)
    assert (outcome.wasted, outcome.proven) == (0, {b"one": 57})
    assert outcome.earned == {b"one": 175 * ECLIPT}
    assert held(simulation, PotKind.FREE, b"one") == 175 * ECLIPT
    assert outcome.late_slots is not None
    assert outcome.late_slots > 0


def test_a_race_of_two_equals_wastes_work_and_an_assignment_none() -> None:
    both = prover("one"), prover("two")
    race = market(*both, terms=MarketTerms(first_wins=True)).run_epoch(jobs())
    assigned = market(*both).run_epoch(jobs())
    assert race.wasted > 0.1 * race.useful
    assert (assigned.wasted, assigned.lost) == (0, {})
    assert race.useful == pytest.approx(assigned.useful)


def test_in_a_race_the_quick_one_has_most_and_when_assigned_the_stake_decides() -> None:
    both = prover("quick", speed=30), prover("slow", speed=3, stake=3 * STAKE)
    race = market(*both, terms=MarketTerms(first_wins=True)).run_epoch(jobs())
    share = MarketTerms(cap_permille=1000)
    assigned = market(*both, terms=share).run_epoch(jobs())
    assert race.proven[b"quick"] > 3 * race.proven[b"slow"]
    assert assigned.assigned[b"slow"] > 1.5 * assigned.assigned[b"quick"]


def test_the_cap_is_what_holds_a_large_stake_down() -> None:
    provers = prover("large", stake=100 * STAKE), *(prover(f"{n}") for n in range(9))
    capped = market(*provers, terms=MarketTerms(cap_permille=200)).run_epoch(jobs())
    free = market(*provers, terms=MarketTerms(cap_permille=1000)).run_epoch(jobs())
    assert capped.assigned[b"large"] == 57 * 200 // 1000
    assert free.assigned[b"large"] > 45


def test_a_prover_that_dies_misses_its_windows_and_others_prove_its_jobs() -> None:
    simulation = market(*(prover(f"{n}") for n in range(4)), terms=MarketTerms(cap_permille=300))
    first = simulation.run_epoch(jobs(), killed=(10, b"0"))
    second = simulation.run_epoch(jobs(1))
    assert first.late_slots is not None
    assert second.late_slots is not None
    assert sum(second.proven.values()) == 57
    assert second.proven[b"0"] == second.earned[b"0"] == 0
    assert second.missed == {b"0": second.assigned[b"0"]}
    assert second.lost == {b"0": second.missed[b"0"] * ECLIPT}
    assert sum(second.earned.values()) == 175 * ECLIPT + second.lost[b"0"] // 2


def test_where_nobody_proves_an_epoch_is_given_up_and_its_reward_goes_back() -> None:
    simulation = market(prover("away", presence=0.0))
    outcome = simulation.run_epoch(jobs())
    assert (outcome.late_slots, outcome.useful, outcome.earned) == (None, 0, {})
    assert held(simulation, PotKind.REWARDS) == 1_000 * ECLIPT
    assert not len(simulation.state.jobs)
    assert not len(simulation.state.epochs)


def test_an_invalid_proof_costs_its_thousand_and_bars_for_the_epoch() -> None:
    simulation = market(prover("wrong", invalid_chance=1.0))
    outcome = simulation.run_epoch(jobs())
    assert (outcome.invalid, outcome.late_slots) == (1, None)
    assert outcome.refused["prover_barred"] > 0
    fines = outcome.missed[b"wrong"] * ECLIPT
    assert outcome.lost[b"wrong"] == 1_000 * ECLIPT + fines
    assert simulation.state.books.held(BURNED) == 1_000 * ECLIPT + fines
    assert outcome.wasted > 0


def test_work_that_outlives_a_lease_is_kept_alive_by_heartbeats() -> None:
    slow = prover("slow", speed=2.0)
    terms = MarketTerms(lease_slots=4)
    outcome = market(slow, terms=terms).run_epoch(jobs())
    assert sum(outcome.proven.values()) == 57
    assert outcome.wasted == 0


@pytest.mark.parametrize("mode", ["assigned", "race"])
def test_money_and_work_are_conserved(mode: str) -> None:
    simulation = market(*MIXED, terms=MarketTerms(first_wins=mode == "race"))
    for epoch in range(4):
        before = {entry.id: wealth(simulation, entry.id) for entry in MIXED}
        outcome = simulation.run_epoch(jobs(epoch))
        for name, units in before.items():
            change = outcome.earned[name] - outcome.lost[name]
            assert wealth(simulation, name) - units == change
        assert outcome.useful == pytest.approx(sum(job.seconds for job in jobs(epoch)))
        assert sum(outcome.earned.values()) <= 175 * ECLIPT + sum(outcome.lost.values())
        assert simulation.state.books.is_balanced()
        assert sum(outcome.proven.values()) == len(outcome.proof_slots) == outcome.jobs == 57
    assert held(simulation, PotKind.REWARDS) == simulation.state.books.held(REWARDS) > 0


@pytest.mark.parametrize("mode", ["assigned", "race"])
def test_a_simulation_goes_the_same_way_under_the_real_machine(mode: str) -> None:
    terms = MarketTerms(first_wins=mode == "race")
    quick, real = market(*MIXED, terms=terms), market(*MIXED, rules=MarketRules(terms))
    for epoch in range(2):
        assert quick.run_epoch(jobs(epoch)) == real.run_epoch(jobs(epoch))
        assert quick.state == real.state


def test_the_seed_decides() -> None:
    def outcomes(seed: int) -> list[EpochOutcome]:
        simulation = market(*MIXED, seed=seed)
        return [simulation.run_epoch(jobs(epoch)) for epoch in range(2)]

    assert outcomes(5) == outcomes(5)
    assert outcomes(5) != outcomes(6)


def test_who_leaves_takes_stake_and_earnings() -> None:
    simulation = market(prover("one", speed=100))
    simulation.run_epoch(jobs())
    assert simulation.leave(b"one") == STAKE + 175 * ECLIPT
    assert simulation.state.books.outflow == STAKE + 175 * ECLIPT
    assert not simulation.workers
