"""Base fees: bounds, steps and rest; for every value in test_rule_arithmetic, under every load in test_rules_exploration."""

from __future__ import annotations

import pytest

from operators.fee_model import elastic, proportional, rigid, settle
from operators.fee_rules import EpochMeasured, FeeRules, FeeState, TierLoad
from schemas.economics import FeeTerms, Tier
from schemas.errors import ParameterError
from schemas.refusal import FeeRefusal

RULES = FeeRules()
FULL, HALF, IDLE = TierLoad(1_000, 1_000), TierLoad(500, 1_000), TierLoad(0, 1_000)


def test_every_tier_follows_its_own_load_by_an_eighth() -> None:
    first = RULES.start()
    assert [first.of(tier) for tier in Tier] == [1_000, 10_000, 1_000_000]
    second = RULES.step(first, EpochMeasured(0, (FULL, HALF, IDLE))).state
    assert second == FeeState(0, (1_125, 10_000, 1_000_000))
    third = RULES.step(second, EpochMeasured(1, (HALF, TierLoad(750, 1_000), FULL))).state
    assert third == FeeState(1, (1_125, 10_625, 1_125_000))
    assert RULES.step(third, EpochMeasured(2, (IDLE, IDLE, IDLE))).state.fees[0] == 1_000


def test_without_capacity_a_fee_rises_to_its_cap_and_no_further() -> None:
    state = RULES.start()
    for epoch in range(70):
        nothing = TierLoad(0, 0)
        state = RULES.step(state, EpochMeasured(epoch, (nothing, nothing, nothing))).state
    assert state.fees == (10**6, 10**7, 10**9)


def test_measurements_out_of_order_or_range_are_refused() -> None:
    state = RULES.start()
    for event, reason in (
        (EpochMeasured(1, (HALF, HALF, HALF)), FeeRefusal.EPOCH_OUT_OF_ORDER),
        (EpochMeasured(0, (HALF, HALF, TierLoad(-1, 5))), FeeRefusal.LOAD_OUT_OF_RANGE),
        (EpochMeasured(0, (TierLoad(0, 2**62), HALF, HALF)), FeeRefusal.LOAD_OUT_OF_RANGE),
    ):
        step = RULES.step(state, event)
        assert (step.state, step.refusal) == (state, reason)


@pytest.mark.parametrize("volume", [2_000, 10_000, 500_000, 5_000_000])
def test_after_a_step_of_load_a_fee_comes_to_rest_without_a_swing(volume: int) -> None:
    """The target is half of 2^30 cells; demand spends `volume` times that, and fees start at the floor and at the cap."""
    target = 2**29
    for fee in (1_000, 10**6):
        found = settle(RULES, fee, 1_000, proportional(volume * target), 2**30)
        assert found.broken == ()
        assert found.epochs < 200
        assert abs(found.fee - min(max(volume, 1_000), 10**6)) <= 8


def test_demand_that_answers_harder_or_not_at_all_does_not_make_it_swing() -> None:
    for demand in (elastic(10_000**2 * 2**29), rigid(2**29 + 2**28), rigid(2**20)):
        for fee in (1_000, 10_000, 10**6):
            assert settle(RULES, fee, 1_000, demand, 2**30).broken == ()


def test_fees_are_divided_without_a_remainder() -> None:
    assert RULES.divide(1_000) == (300, 500, 200)
    assert [sum(RULES.divide(fees)) for fees in range(50)] == list(range(50))


@pytest.mark.parametrize(
    "changes",
    [
        {"floors": (7, 8, 9)},
        {"cap_factor": 2_000},
        {"target_permille": 1_000},
        {"proposer_permille": 301},
        {"step_divisor": 1},
    ],
)
def test_terms_out_of_range_are_refused(changes: dict[str, int]) -> None:
    with pytest.raises(ParameterError):
        FeeTerms(**changes)  # type: ignore[arg-type]
