from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.traffic_plan import Accounts, Planned, ZipfSampler, no_accounts, plan_traffic
from schemas.errors import ParameterError
from schemas.workload import AmountDistribution, Amounts, Invalidity, Workload

FEE = 7


def _accounts(*funding: int) -> Accounts:
    accounts = no_accounts()
    for units in funding:
        accounts.add(units)
    return accounts


def _plan(workload: Workload, accounts: Accounts, count: int, seed: int = 1) -> list[Planned]:
    return list(plan_traffic(workload, accounts, count, FEE, random.Random(seed)))  # noqa: S311


@settings(max_examples=50, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    low=st.integers(0, 50),
    span=st.integers(0, 2**59),
    distribution=st.sampled_from(list(AmountDistribution)),
    invalid=st.dictionaries(st.sampled_from(list(Invalidity)), st.floats(0, 0.08)),
)
def test_valid_transfers_are_affordable_and_numbered_whatever_the_workload(
    seed: int,
    low: int,
    span: int,
    distribution: AmountDistribution,
    invalid: dict[Invalidity, float],
) -> None:
    amounts = Amounts(minimum=low, maximum=low + span, distribution=distribution)
    workload = Workload(accounts=5, amounts=amounts, invalid=invalid, recipient_exponent=1.2)
    owned, nonces = [10**6] * 5, [0] * 5
    try:
        plan = _plan(workload, _accounts(*owned), 60, seed)
    except ParameterError as error:
        assert "no account has the" in str(error)  # noqa: PT017
        return
    for item in plan:
        assert item.sender != item.recipient
        assert item.nonce == nonces[item.sender]
        if item.invalid is None:
            assert low <= item.amount <= low + span
            owned[item.sender] -= item.amount + FEE
            nonces[item.sender] += 1
    assert min(owned) >= 0


def test_the_same_seed_gives_the_same_plan_and_another_seed_another() -> None:
    workload = Workload(accounts=4, sender_exponent=0.7, invalid={Invalidity.GARBAGE: 0.2})
    first, again, other = (_plan(workload, _accounts(*[10**12] * 4), 50, s) for s in (1, 1, 2))
    assert first == again
    assert first != other


def test_the_shares_of_invalid_transactions_are_met() -> None:
    workload = Workload(
        accounts=10, invalid={Invalidity.OVERDRAFT: 0.1, Invalidity.REPLAY: 0.3}, funding=10**12
    )
    kinds = Counter(item.invalid for item in _plan(workload, _accounts(*[10**12] * 10), 4000))
    assert kinds[Invalidity.OVERDRAFT] == pytest.approx(400, abs=80)
    assert kinds[Invalidity.REPLAY] == pytest.approx(1200, abs=120)
    assert sum(kinds.values()) == 4000


def test_a_replay_never_comes_before_something_to_replay() -> None:
    workload = Workload(accounts=2, invalid={Invalidity.REPLAY: 1.0})
    kinds = [item.invalid for item in _plan(workload, _accounts(10**12, 10**12), 5)]
    assert kinds == [None, *[Invalidity.REPLAY] * 4]


def test_a_high_exponent_makes_hot_accounts_and_zero_makes_none() -> None:
    def hottest(exponent: float) -> int:
        sampler = ZipfSampler(100, exponent, random.Random(5))  # noqa: S311
        return Counter(sampler.draw() for _ in range(5000)).most_common(1)[0][1]

    assert hottest(1.5) > 1500
    assert hottest(0.0) < 120


def test_traffic_needs_two_accounts_and_funds() -> None:
    with pytest.raises(ParameterError, match="at least two accounts"):
        _plan(Workload(accounts=1), _accounts(5), 1)
    with pytest.raises(ParameterError, match="no account has the 7 units"):
        _plan(Workload(accounts=2), _accounts(6, 6), 1)
    poor_and_rich = _plan(Workload(accounts=2), _accounts(6, 10**6), 5)
    assert {item.sender for item in poor_and_rich} == {1}
