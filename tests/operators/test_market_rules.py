"""The market, rule by rule, with the design's own numbers; every order of events is in test_rules_exploration."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.exact_split import split
from operators.market_assignment import draw
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
    JobsVoided,
    JobVoided,
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
from schemas.economics import ECLIPT, QUALITY_BYTES, MarketTerms
from schemas.errors import ParameterError
from schemas.job import ProofLevel
from schemas.refusal import MarketRefusal

RULES = MarketRules()
FIRST = MarketRules(MarketTerms(first_wins=True))
STAKE = 10_000 * ECLIPT
ESCROW = 1_000 * ECLIPT
SIZE = QUALITY_BYTES[ProofLevel.SEGMENT]
PROVERS = (b"p", b"q", b"r")


def after(
    state: MarketState, *events: MarketEvent, rules: MarketRules = RULES
) -> tuple[MarketState, list[MarketEffect]]:
    effects: list[MarketEffect] = []
    for event in events:
        step = rules.step(state, event)
        assert step.refusal is None, (event, step.refusal)
        state = step.state
        effects += step.effects
        assert state.books.is_balanced()
    return state, effects


def refusal(
    state: MarketState, event: MarketEvent, rules: MarketRules = RULES
) -> MarketRefusal | None:
    step = rules.step(state, event)
    if step.refusal is not None:
        assert (step.state, step.effects) == (state, ())
    return step.refusal


def opened(provers: tuple[bytes, ...] = PROVERS, rules: MarketRules = RULES) -> MarketState:
    state = MarketState()
    books = state.books
    for prover in provers:
        books = books.deposit(Pot(PotKind.FREE, prover), 2 * STAKE)
    events: list[MarketEvent] = [RewardsFunded(1_000 * ECLIPT)]
    events += [StakeLocked(prover, STAKE) for prover in provers]
    events.append(EpochOpened(0, b"seed", 20, 768))
    return after(replace(state, books=books), *events, rules=rules)[0]


def job(name: str, cells: int = 1_000, estimate: int = 100) -> JobPlanned:
    return JobPlanned(JobFacts(name.encode(), 0, cells, estimate, SIZE))


def proof(state: MarketState, name: bytes, prover: bytes, **changes: object) -> ProofSubmitted:
    event = ProofSubmitted(name, prover, Payee(prover, name, 0), True, SIZE, state.slot)
    return replace(event, **changes)  # type: ignore[arg-type]


def held(state: MarketState, kind: PotKind, owner: bytes = b"") -> int:
    return state.books.held(Pot(kind, owner))


def assigned(name: str = "j") -> tuple[MarketState, bytes, bytes]:
    """A state with one job, its assignee and another prover."""
    state, effects = after(opened(), job(name))
    (effect,) = effects
    assert isinstance(effect, JobAssigned)
    return state, effect.prover, next(p for p in PROVERS if p != effect.prover)


def test_a_job_is_its_assignees_alone_for_one_and_a_half_estimates() -> None:
    state, own, other = assigned()
    assert state.jobs[b"j"].exclusive_until == 150
    refused = refusal(state, JobLeased(b"j", other, 0))
    assert refused is MarketRefusal.EXCLUSIVE_TO_ANOTHER
    leased, _ = after(state, JobLeased(b"j", own, 0))
    assert held(leased, PotKind.ESCROW, own) == ESCROW
    proved, effects = after(leased, proof(leased, b"j", own))
    assert effects == [LeaseEnded(b"j", own), JobProved(b"j", own, 0, ())]
    assert held(proved, PotKind.STAKE, own) == STAKE


def test_a_missed_window_costs_a_part_half_burned_and_half_the_rescuers() -> None:
    state, own, other = assigned()
    state, effects = after(state, SlotReached(150))
    part = ECLIPT
    assert effects == [
        Penalised(own, b"j", part // 2, part // 2, is_invalid=False),
        JobOpened(b"j"),
    ]
    state, _ = after(state, JobLeased(b"j", other, 150))
    state, effects = after(state, proof(state, b"j", other))
    assert effects[-1] == JobProved(b"j", other, part // 2, ())
    assert held(state, PotKind.FREE, other) == STAKE + part // 2
    assert held(state, PotKind.BURNED) == part // 2


def test_who_missed_its_window_is_no_rescuer_of_its_own_job() -> None:
    state, own, _ = assigned()
    state, _ = after(state, SlotReached(150), JobLeased(b"j", own, 150))
    state, effects = after(state, proof(state, b"j", own))
    assert effects[-1] == JobProved(b"j", own, 0, ())
    assert held(state, PotKind.BURNED) == ECLIPT
    assert not held(state, PotKind.RESCUE, b"j")


def test_a_lease_lapses_without_heartbeat_and_the_job_is_not_lost() -> None:
    slow = job("j", estimate=10_000)
    state, effects = after(opened(), slow)
    assert isinstance(effects[0], JobAssigned)
    own = effects[0].prover
    state, _ = after(state, JobLeased(b"j", own, 0), SlotReached(639))
    state, _ = after(state, Heartbeat(b"j", own, 639), SlotReached(640))
    assert own in state.jobs[b"j"].leases
    state, effects = after(state, SlotReached(639 + 640))
    assert effects == [LeaseEnded(b"j", own)]
    assert refusal(state, Heartbeat(b"j", own, state.slot)) is MarketRefusal.NO_LEASE
    assert refusal(state, proof(state, b"j", own)) is MarketRefusal.NO_LEASE
    after(state, JobLeased(b"j", own, state.slot))


def test_in_the_open_race_one_holds_the_job_and_pays_if_it_lets_it_lapse() -> None:
    state, own, other = assigned()
    state, _ = after(state, SlotReached(150), JobLeased(b"j", other, 150))
    assert refusal(state, JobLeased(b"j", own, 150)) is MarketRefusal.JOB_LEASED
    state, _ = after(state, SlotReached(299), Heartbeat(b"j", other, 299))
    state, effects = after(state, SlotReached(300))
    part = ECLIPT
    lapsed = Penalised(other, b"j", part // 2, part // 2, is_invalid=False)
    assert effects == [LeaseEnded(b"j", other), lapsed]
    after(state, JobLeased(b"j", own, 300))


def test_an_invalid_proof_costs_a_thousand_from_escrow_and_bars_until_the_next_epoch() -> None:
    state, own, other = assigned()
    state, _ = after(state, JobLeased(b"j", own, 0))
    state, effects = after(state, proof(state, b"j", own, is_valid=False))
    assert effects == [Penalised(own, b"j", ESCROW, 0, is_invalid=True), JobOpened(b"j")]
    assert held(state, PotKind.STAKE, own) == STAKE - ESCROW
    assert refusal(state, JobLeased(b"j", own, 0)) is MarketRefusal.PROVER_BARRED
    after(state, JobLeased(b"j", other, 0))
    state, _ = after(state, EpochOpened(1, b"next", 20, 1536))
    after(state, JobLeased(b"j", own, 0))


def test_a_job_dies_after_its_attempts_and_a_person_requeues_it() -> None:
    state, _ = after(opened(tuple(b"%d" % n for n in range(9))), job("j"))
    state, effects = after(state, SlotReached(150))
    for prover in list(state.provers)[:5]:
        state, _ = after(state, JobLeased(b"j", prover, 150))
        state, effects = after(state, proof(state, b"j", prover, is_valid=False))
    assert effects[-1] == JobDied(b"j")
    assert refusal(state, JobLeased(b"j", b"8", 150)) is MarketRefusal.JOB_DEAD
    state, effects = after(state, JobRequeued(b"j"))
    assert effects == [JobOpened(b"j")]
    assert refusal(state, JobRequeued(b"j")) is MarketRefusal.JOB_NOT_DEAD
    after(state, JobLeased(b"j", b"8", 150))


def test_a_copied_proof_and_one_for_another_job_or_epoch_are_refused() -> None:
    state, own, other = assigned()
    state, _ = after(state, JobLeased(b"j", own, 0))
    payee = Payee(own, b"j", 0)
    tried = {
        MarketRefusal.WRONG_PAYEE: replace(payee, prover=other),
        MarketRefusal.WRONG_JOB: replace(payee, job=b"k"),
        MarketRefusal.WRONG_EPOCH: replace(payee, epoch=1),
    }
    for reason, bad in tried.items():
        assert refusal(state, proof(state, b"j", own, payee=bad)) is reason
    copied = proof(state, b"j", other, payee=payee)
    assert refusal(state, copied) is MarketRefusal.WRONG_PAYEE
    large = proof(state, b"j", own, size_bytes=2**20 + 1)
    assert refusal(state, large) is MarketRefusal.OVERSIZED_PROOF


def test_provers_without_stake_and_clocks_that_are_off_are_refused() -> None:
    state, own, _ = assigned()
    state, _ = after(state, SlotReached(100))
    unbonded = JobLeased(b"j", b"nobody", 100)
    assert refusal(state, unbonded) is MarketRefusal.PROVER_UNBONDED
    assert refusal(state, JobLeased(b"j", own, 165)) is MarketRefusal.CLOCK_SKEW
    assert refusal(state, JobLeased(b"j", own, 35)) is MarketRefusal.CLOCK_SKEW
    assert refusal(state, SlotReached(100)) is MarketRefusal.CLOCK_WENT_BACK
    state, _ = after(state, JobLeased(b"j", own, 164))
    assert refusal(state, Heartbeat(b"j", own, 165)) is MarketRefusal.CLOCK_SKEW
    assert refusal(state, JobLeased(b"j", own, 100)) is MarketRefusal.ALREADY_LEASED
    assert refusal(state, JobLeased(b"k", own, 100)) is MarketRefusal.UNKNOWN_JOB


def test_stake_stays_while_a_job_depends_on_it_and_backs_as_many_jobs_as_it_covers() -> None:
    state, own, other = assigned()
    assert refusal(state, StakeReleased(own, 1)) is MarketRefusal.STAKE_IN_USE
    assert refusal(state, StakeReleased(own, STAKE + 1)) is MarketRefusal.BALANCE_TOO_SMALL
    state, _ = after(state, StakeReleased(other, STAKE - ESCROW + 1), SlotReached(150))
    refused = refusal(state, JobLeased(b"j", other, 150))
    assert refused is MarketRefusal.STAKE_TOO_SMALL


def test_rewards_are_split_by_cells_and_sum_to_the_reward() -> None:
    state = opened()
    cells = {"a": 7, "b": 11, "c": 13}
    for name, count in cells.items():
        state, (effect,) = after(state, job(name, cells=count))
        assert isinstance(effect, JobAssigned)
        state, _ = after(state, JobLeased(name.encode(), effect.prover, 0))
        size = SIZE + (name == "b")
        state, _ = after(state, proof(state, name.encode(), effect.prover, size_bytes=size))
    before = sum(held(state, PotKind.FREE, prover) for prover in PROVERS)
    state, _ = after(state, SlotReached(768 + 1280))
    paid, effects = after(state, EpochSettled(0, 768 + 1280, frozenset({b"c"})))
    rewards = [effect for effect in effects if isinstance(effect, Rewarded)]
    assert [r.base for r in rewards] == list(split(100 * ECLIPT, tuple(cells.values())))
    assert [r.fast for r in rewards] == list(split(50 * ECLIPT, tuple(cells.values())))
    assert [r.quality for r in rewards] == [25 * ECLIPT * 7 // 31, 0, 0]
    total = sum(r.base + r.fast + r.quality for r in rewards)
    assert sum(held(paid, PotKind.FREE, prover) for prover in PROVERS) == before + total
    assert held(paid, PotKind.REWARDS) == 1_000 * ECLIPT - total
    assert refusal(paid, EpochSettled(0, 768)) is MarketRefusal.UNKNOWN_EPOCH
    late, _ = after(state, SlotReached(768 + 1281))
    _, effects = after(late, EpochSettled(0, 768 + 1281))
    assert {effect.fast for effect in effects if isinstance(effect, Rewarded)} == {0}


def test_an_epoch_is_paid_only_when_all_its_jobs_are_proven_and_what_is_voided_is_not() -> None:
    state, own, _ = assigned()
    assert refusal(state, EpochSettled(0, 0)) is MarketRefusal.EPOCH_UNFINISHED
    assert refusal(state, EpochSettled(1, 0)) is MarketRefusal.UNKNOWN_EPOCH
    state, _ = after(state, JobLeased(b"j", own, 0))
    state, effects = after(state, JobsVoided((b"j", b"unknown")))
    assert effects == [LeaseEnded(b"j", own), JobVoided(b"j")]
    state, effects = after(state, EpochSettled(0, 0))
    assert not effects
    assert held(state, PotKind.REWARDS) == 1_000 * ECLIPT


def test_a_short_fund_pays_base_before_speed_before_quality() -> None:
    assert RULES.budgets(60 * ECLIPT) == (60 * ECLIPT, 0, 0)
    assert RULES.budgets(130 * ECLIPT) == (100 * ECLIPT, 30 * ECLIPT, 0)
    assert RULES.budgets(999 * ECLIPT) == (100 * ECLIPT, 50 * ECLIPT, 25 * ECLIPT)


def test_first_wins_lets_all_work_at_once_and_pays_the_first() -> None:
    state, effects = after(opened(rules=FIRST), job("j"), rules=FIRST)
    assert effects == [JobOpened(b"j")]
    state, _ = after(state, *(JobLeased(b"j", prover, 0) for prover in PROVERS), rules=FIRST)
    state, effects = after(state, proof(state, b"j", b"q"), rules=FIRST)
    assert effects[-1] == JobProved(b"j", b"q", 0, (b"p", b"r"))
    late = proof(state, b"j", b"p")
    assert refusal(state, late, FIRST) is MarketRefusal.JOB_DONE


def test_jobs_and_epochs_out_of_range_are_refused() -> None:
    state, _, _ = assigned()
    assert refusal(state, job("j")) is MarketRefusal.DUPLICATE_JOB
    assert refusal(state, job("k", cells=0)) is MarketRefusal.JOB_OUT_OF_RANGE
    elsewhere = replace(job("k").facts, epoch=3)
    assert refusal(state, JobPlanned(elsewhere)) is MarketRefusal.UNKNOWN_EPOCH
    for epoch in (EpochOpened(0, b"", 1, 9), EpochOpened(2, b"", 1, 9), EpochOpened(1, b"", 1, 0)):
        assert refusal(state, epoch) is MarketRefusal.EPOCH_OUT_OF_ORDER
    many = EpochOpened(1, b"", 4097, 9)
    assert refusal(state, many) is MarketRefusal.TOO_MANY_JOBS
    small = MarketRules(MarketTerms(max_open_jobs=1))
    assert refusal(state, job("k"), small) is MarketRefusal.QUEUE_FULL
    for event in (StakeLocked(b"p", 0), StakeReleased(b"p", 2**60), RewardsFunded(0)):
        assert refusal(state, event) is MarketRefusal.AMOUNT_OUT_OF_RANGE
    assert refusal(state, StakeLocked(b"p", 2 * STAKE)) is MarketRefusal.BALANCE_TOO_SMALL


def test_nobody_is_assigned_more_than_a_twentieth_of_an_epoch() -> None:
    """Forty provers, one of them with as much stake as the rest together, and a hundred jobs: five each at most."""
    provers = tuple(b"prover %02d" % number for number in range(40))
    state = opened(provers)
    books = state.books.deposit(Pot(PotKind.FREE, provers[0]), 40 * STAKE)
    rich = replace(state, books=books)
    rich, _ = after(rich, StakeLocked(provers[0], 39 * STAKE), EpochOpened(1, b"s", 100, 1536))
    counts: Counter[bytes] = Counter()
    for number in range(100):
        facts = JobFacts(b"%d" % number, 1, 1, 100, SIZE)
        rich, (effect,) = after(rich, JobPlanned(facts))
        if isinstance(effect, JobAssigned):
            counts[effect.prover] += 1
    assert counts.most_common(1)[0][1] == counts[provers[0]] == 5
    assert sum(counts.values()) == 100


def test_draws_follow_the_weights_and_nothing_but_seed_and_job() -> None:
    weights = (100, 300, 0, 600)
    counts = Counter(draw(b"seed", b"%d" % number, weights) for number in range(4_000))
    assert not counts[2]
    for place, weight in enumerate(weights):
        assert abs(counts[place] - 4 * weight) < 150
    assert draw(b"seed", b"1", weights) == draw(b"seed", b"1", weights)
    assert [draw(b"a", b"%d" % n, (1, 1)) for n in range(20)] != [
        draw(b"b", b"%d" % n, (1, 1)) for n in range(20)
    ]


def test_a_prover_that_misses_is_drawn_less() -> None:
    state, own, _ = assigned()
    before = RULES.weight(state, own)
    state, _ = after(state, SlotReached(150))
    assert RULES.weight(state, own) * 2 <= before


@given(st.integers(0, 2**60 - 1), st.lists(st.integers(0, 2**60), min_size=1, max_size=20))
def test_a_split_is_whole_fair_and_below_the_weights(total: int, weights: list[int]) -> None:
    if total and not sum(weights):
        with pytest.raises(ParameterError):
            split(total, weights)
        return
    parts = split(total, weights)
    assert sum(parts) == total
    for part, weight in zip(parts, weights, strict=True):
        assert abs(part * sum(weights) - total * weight) < max(1, sum(weights))
        assert part <= weight or total > sum(weights)


@pytest.mark.parametrize(
    "changes",
    [
        {"claim_escrow": 1},
        {"exclusive_permille": 999},
        {"base_reward": 0},
        {"cap_permille": 1001},
    ],
)
def test_terms_out_of_range_are_refused(changes: dict[str, int]) -> None:
    with pytest.raises(ParameterError):
        MarketTerms(**changes)  # type: ignore[arg-type]
