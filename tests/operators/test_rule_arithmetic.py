"""Money rules for every amount below 2^60: the functions themselves on symbols, every path, proven by z3."""

from __future__ import annotations

from typing import Any

import pytest
import z3

from operators.exact_split import share, split
from operators.fee_rules import LOAD_LIMIT, FeeRules, TierLoad
from operators.market_rules import MarketRules
from operators.refund_rules import waterfall
from schemas.economics import FeeTerms, FraudTerms, MarketTerms
from schemas.units import AMOUNT_LIMIT, FEE_LIMIT
from tests.suites.symbolic import STEPS, Undecided, prove


def amounts(*terms: Any) -> list[Any]:
    return [bound for term in terms for bound in (term >= 0, term < AMOUNT_LIMIT)]


def refuted(*terms: Any) -> bool:
    """Whether z3 shows that terms never hold together."""
    solver = z3.Solver()
    solver.set(rlimit=STEPS)
    solver.add(*terms)
    return bool(solver.check() == z3.unsat)


def test_largest_remainders_leave_less_than_one_unit_a_part_whatever_the_weights() -> None:
    """With x units left after rounding down: x * whole is the sum of three remainders, each below the whole.

    And a part with a remainder is below its weight by one, so that it may have one of the units left.
    """
    left, whole, sum_of_rests = z3.Ints("left whole rests")
    given = [whole > 0, left * whole == sum_of_rests, sum_of_rests >= 0, sum_of_rests < 3 * whole]
    assert refuted(*given, z3.Or(left < 0, left > 2))
    total, weight, part, rest = z3.Ints("total weight part rest")
    given = [total >= 0, weight >= 0, total <= whole, total * weight == part * whole + rest]
    given += [whole > 0, rest > 0, rest < whole]
    assert refuted(*given, part + 1 > weight)
    assert not refuted(*given, part + 1 > weight - 1)


@pytest.mark.parametrize("weights", [(2**28, 3 * 2**20 + 1), (1, 1), (7, 2**59), (300, 500, 200)])
def test_a_split_of_any_amount_is_fair_to_a_unit_and_below_the_weights(
    weights: tuple[int, ...],
) -> None:
    whole = sum(weights)

    def claims(parts: Any, total: Any) -> Any:
        yield sum(parts) == total
        for part, weight in zip(parts, weights, strict=True):
            yield part * whole < total * weight + whole
            yield part * whole > total * weight - whole
            if total <= whole:
                yield part <= weight

    assert prove(lambda total: split(total, weights), ("total",), amounts, claims) >= 3


@pytest.mark.parametrize(
    "terms", [FraudTerms(), FraudTerms(burned_permille=0, cover_permille=1000)]
)
def test_every_waterfall_keeps_the_money_and_refunds_no_more_than_slash_and_pool(
    terms: FraudTerms,
) -> None:
    """F5, without the last split, which the tests above are about."""

    def claims(parts: Any, slashed: Any, pool: Any, due: Any) -> Any:
        yield parts.reward + parts.burned + parts.from_bond + parts.to_pool == slashed
        for part in (parts.reward, parts.burned, parts.from_bond, parts.from_pool, parts.to_pool):
            yield part >= 0
        yield parts.from_pool <= pool
        yield parts.from_bond + parts.from_pool <= due
        yield parts.from_bond + parts.from_pool <= slashed + pool
        yield parts.reward * 10 <= slashed
        yield parts.reward * 10 > slashed - 10
        yield parts.refunds[0] == parts.from_bond + parts.from_pool

    paths = prove(
        lambda slashed, pool, due: waterfall(slashed, pool, (due,), terms),
        ("slashed", "pool", "due"),
        lambda slashed, pool, due: [*amounts(slashed, pool, due), due > 0],
        claims,
    )
    assert paths >= 3


def staged(parts: Any, slashed: Any, _pool: Any, _due: Any) -> Any:
    """What an offender, a reporter and users who are one and the same get of what was slashed."""
    yield parts.reward + parts.refunds[0] <= slashed


def stage(terms: FraudTerms) -> int:
    return prove(
        lambda slashed, pool, due: waterfall(slashed, pool, (due,), terms),
        ("slashed", "pool", "due"),
        lambda slashed, pool, due: [*amounts(slashed, pool, due), due > 0],
        staged,
    )


def test_a_staged_fraud_never_gets_more_than_its_own_bond() -> None:
    assert stage(FraudTerms()) >= 3


def test_it_would_with_an_open_pool() -> None:
    """Test of the test: z3 finds amounts for which the open waterfall pays."""
    with pytest.raises(Undecided, match="sat"):
        stage(FraudTerms(burned_permille=0, cover_permille=1000))


def test_a_missed_window_is_halved_exactly_and_costs_no_more_than_the_stake() -> None:
    rules = MarketRules()

    def both(stake: Any) -> Any:
        missed = rules.missed_units(stake)
        return missed, rules.burned_of(missed)

    def claims(parts: Any, stake: Any) -> Any:
        missed, burned = parts
        yield missed <= stake
        yield burned >= missed - burned
        yield burned - (missed - burned) <= 1
        yield missed - burned >= 0

    assert prove(both, ("stake",), amounts, claims) >= 2


def test_the_budgets_of_an_epoch_are_what_is_reserved_and_no_more_than_the_rewards() -> None:
    rules, terms = MarketRules(), MarketTerms()

    def claims(parts: Any, reserved: Any) -> Any:
        base, fast, quality = parts
        yield base + fast + quality <= reserved
        yield base <= terms.base_reward
        yield fast <= terms.fast_reward
        yield quality <= terms.quality_reward
        if reserved <= terms.epoch_reward:
            yield base + fast + quality == reserved

    assert prove(rules.budgets, ("reserved",), amounts, claims) >= 4


def test_fees_are_divided_whole_whatever_they_are() -> None:
    def claims(parts: Any, fees: Any) -> Any:
        yield parts[0] + parts[1] + parts[2] == fees
        yield parts[2] * 5 >= fees - 5

    assert prove(FeeRules().divide, ("fees",), amounts, claims) >= 2


CAPACITIES = (1, 2, 3, 1000, 2**20 + 1, 960 * 2**28)
"""Measured cells of an epoch, small and odd ones among them; the last is an epoch of full segments."""


def fee_range(floor: int) -> Any:
    cap = floor * FeeTerms().cap_factor
    return lambda fee, used: [fee >= floor, fee <= cap, used >= 0, used < LOAD_LIMIT]


@pytest.mark.parametrize("floor", FeeTerms().floors)
@pytest.mark.parametrize("capacity", [0, *CAPACITIES])
def test_a_fee_stays_in_its_bounds_and_moves_by_at_most_an_eighth(
    floor: int, capacity: int
) -> None:
    cap = floor * FeeTerms().cap_factor
    assert cap < FEE_LIMIT

    def claims(after: Any, fee: Any, _used: Any) -> Any:
        yield after >= floor
        yield after <= cap
        yield (after - fee) * 8 <= fee
        yield (fee - after) * 8 <= fee

    prove(
        lambda fee, used: FeeRules().next_fee(fee, TierLoad(used, capacity), floor),
        ("fee", "used"),
        fee_range(floor),
        claims,
    )


@pytest.mark.parametrize("capacity", [2**12, 960 * 2**28])
def test_a_fee_goes_towards_where_demand_meets_the_target_and_never_past_it(capacity: int) -> None:
    """Demand of a fixed volume: `volume // fee` cells. So it cannot swing, and rests only near the target."""
    floor, target = 8, capacity // 2
    cap = min(floor * FeeTerms().cap_factor, 8 * target)

    def step(fee: Any, volume: Any) -> Any:
        return FeeRules().change(fee, TierLoad(volume // fee, capacity))

    def claims(change: Any, fee: Any, volume: Any) -> Any:
        if fee * target <= volume:
            yield change >= 0
            yield (fee + change) * target <= volume
        else:
            yield change <= 0
            yield (fee + change + 1) * target > volume

    for fee in (floor, floor + 1, 100, cap):
        prove(
            lambda volume, fee=fee: step(fee, volume),
            ("volume",),
            lambda volume: [volume >= 0, volume < LOAD_LIMIT],
            lambda change, volume, fee=fee: claims(change, fee, volume),
        )


def test_no_product_of_the_rules_exceeds_128_bits() -> None:
    """The widest: a part of an amount by a weight, a fee by the cells of an epoch, a stake by a rate."""
    assert (AMOUNT_LIMIT - 1) * (2**64 - 1) < 2**128
    assert (FEE_LIMIT - 1) * (LOAD_LIMIT - 1) < 2**92
    assert share(AMOUNT_LIMIT - 1, 1000) == AMOUNT_LIMIT - 1
