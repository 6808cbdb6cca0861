"""A simulated year of the market: owners, fees, a death, targets and the command, on a small clock."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from operators.fee_rules import FeeRules
from operators.market_jobs import SHARDS
from operators.market_provers import CELLS_PER_REFERENCE_SECOND, draw_prover
from pipelines.cli.main import main
from pipelines.market_demand import Demand
from pipelines.market_owners import Fate, Owner, concentration, expects_profit
from pipelines.market_plot import draw_year
from pipelines.market_year import DEATH_HOURS, MarketYear, YearPlan
from schemas.config import ClockConfig
from schemas.economics import ECLIPT, MarketTerms
from schemas.errors import ParameterError

CLOCK = ClockConfig(windows_per_shard_epoch=2, shard_epochs_per_hour=2, epochs_per_day=24)
SMALL = YearPlan(seed=3, provers=12, days=45)


class Silent:
    """Progress that nobody sees."""

    def phase(self, name: str, total: int | None) -> None:
        """Takes a phase."""

    def advance(self, steps: int) -> None:
        """Takes steps."""

    def note(self, text: str) -> None:
        """Takes a note."""


def year(plan: YearPlan, terms: MarketTerms | None = None) -> dict[str, Any]:
    # An epoch of the small clock is a thirtieth of an hour, and pays as much less.
    own = terms or MarketTerms(
        base_reward=4 * ECLIPT, fast_reward=2 * ECLIPT, quality_reward=ECLIPT, cap_permille=300
    )
    return MarketYear(plan, own, CLOCK).run(Silent(), lambda: False)


@pytest.fixture(scope="module")
def told() -> dict[str, Any]:
    return year(SMALL)


def test_the_seed_decides_everything(told: dict[str, Any]) -> None:
    assert year(SMALL) == told
    assert year(replace(SMALL, seed=4))["hhi"] != told["hhi"]


def test_the_books_hold_what_came_in(told: dict[str, Any]) -> None:
    money = told["money"]
    assert money["is_balanced"]
    assert sum(money["held"].values()) == money["inflow"] - money["outflow"]
    assert money["outflow"] > 0 or not any(
        row["left"] + row["insolvent"] for row in told["owners"].values()
    )


def test_every_owner_has_one_fate(told: dict[str, Any]) -> None:
    for row in told["owners"].values():
        assert row["provers"] == sum(row[fate.value] for fate in Fate)
        assert row["solvent"] <= row["active"]
    assert told["owners"]["first"]["provers"] == SMALL.provers
    got = told["targets"]["solvent_with_joined"]["got"]
    assert got == sum(row["solvent"] for row in told["owners"].values())


def test_the_largest_dies_and_the_epochs_go_on(told: dict[str, Any]) -> None:
    death = told["death"]
    assert len(death["epochs"]) == DEATH_HOURS
    assert sum(row["killed"] for row in told["owners"].values()) == 1
    before = told["series"]["days"][death["day"] - 1]
    assert death["share"] >= 1 / before["active"]
    after = death["epochs"][1:]
    assert all(row["missed_by_it"] == row["assigned_to_it"] for row in after)
    assert all(row["late_seconds"] is not None for row in after)
    assert death["stake_after"] < death["stake_before"]


def test_no_price_is_too_low_to_be_told() -> None:
    record = year(replace(SMALL, price=0.001))
    first = record["owners"]["first"]
    assert first["active"] == 0
    assert first["left"] + first["insolvent"] + first["killed"] == SMALL.provers
    assert not record["targets"]["solvent"]["is_met"]
    assert record["epochs"]["given_up"] > 0
    assert record["money"]["is_balanced"]


def test_a_higher_price_keeps_more_and_draws_others() -> None:
    dear, cheap = (year(replace(SMALL, price=price, surge=0.0)) for price in (20.0, 0.01))
    got = [record["targets"]["solvent_with_joined"]["got"] for record in (dear, cheap)]
    assert got[0] > SMALL.provers > got[1]
    assert dear["owners"]["joined"]["provers"] > cheap["owners"]["joined"]["provers"]


def test_a_race_wastes_more_and_is_more_concentrated(told: dict[str, Any]) -> None:
    race = year(replace(SMALL, mode="race", every=1))
    assert race["wasted"] > 5 * told["wasted"]
    assert not race["targets"]["wasted"]["is_met"]
    assert race["hhi"] > told["hhi"]


def test_hybrids_are_counted_apart_and_share_what_proposers_get() -> None:
    record = year(replace(SMALL, days=4, hybrids=10, validators=30))
    assert record["owners"]["hybrids"]["provers"] == 10
    assert record["fees"]["validators"] == 40
    assert record["death"] is None


def test_rewards_are_issued_only_where_fees_do_not_cover_them() -> None:
    demo = replace(SMALL, days=3, load="demo", surge=0.0)
    assert year(demo)["issued"] > 0
    alone = year(replace(demo, is_issued=False))
    assert alone["issued"] == 0
    paid = sum(row["paid"] for row in alone["series"]["epochs"])
    assert 0 < paid <= alone["fees"]["provers_part"]
    assert year(replace(SMALL, days=3))["issued"] == 0


def test_a_surge_raises_the_fee_until_half_of_the_capacity_is_used() -> None:
    windows = SHARDS * 4
    load = windows * 500_000.0
    capacity = round(windows * 400 * CELLS_PER_REFERENCE_SECOND)
    demand = Demand(FeeRules(), CLOCK, load / 10, 3 * load, range(20, 40))
    for _ in range(60 * 24):
        demand.step(capacity)
    before, surge, after = (demand.epochs[day * 24] for day in (19, 39, 59))
    assert (before.fee, after.fee) == (1_000, 1_000)
    assert surge.fee > 1_000
    assert surge.used == pytest.approx(0.5, abs=0.03)
    figures = demand.surge_figures()
    assert figures["swing"] is not None
    assert figures["epochs_to_settle"] is not None
    assert figures["swing"] < 0.03
    assert 0 < figures["epochs_to_settle"] < 48


def test_without_a_surge_the_fee_stays_at_the_floor() -> None:
    record = year(replace(SMALL, days=6, surge=0.0))
    assert {row["fee"] for row in record["series"]["days"]} == {1_000}


def owner(units: int, **changes: object) -> Owner:
    drawn = draw_prover(0, Random(1))  # noqa: S311 - reproducible, not secret
    prover = replace(drawn, idle_dollars=1.0, busy_dollars=2.0)
    made = Owner(replace(prover, **changes), 0, 100.0, is_first=True)  # type: ignore[arg-type]
    for day in range(0, 40, 4):
        made.account(day, 1.0, busy=0.5, earned=units, lost=0.0, price=1.0)
    return made


def test_an_owner_pays_for_idle_and_busy_hours() -> None:
    made = owner(3 * ECLIPT)
    assert made.revenue == pytest.approx(30.0)
    assert made.cost == pytest.approx(20.0, abs=0.5)
    assert made.cash == pytest.approx(100.0 + made.revenue - made.cost)
    assert [hour.day for hour in made.recent] == [12, 16, 20, 24, 28, 32, 36]
    assert made.decide(40) is Fate.ACTIVE


def test_an_owner_leaves_after_a_month_of_losses_and_is_insolvent_without_money() -> None:
    loser = owner(ECLIPT)
    assert loser.decide(20) is Fate.ACTIVE
    assert loser.decide(28) is Fate.LEFT
    loser.cash = -0.01
    assert loser.decide(1) is Fate.INSOLVENT
    assert not loser.is_solvent


def test_fines_take_stake_and_not_cash() -> None:
    made = owner(3 * ECLIPT, stake=3_000 * ECLIPT)
    cash, cost = made.cash, made.cost
    made.account(41, 10.0, busy=0.5, earned=3 * ECLIPT, lost=200 * ECLIPT, price=1.0)
    assert made.cash == pytest.approx(cash + 30.0 - (made.cost - cost))
    assert made.revenue == pytest.approx(30.0 + 30.0 - 2_000.0)
    assert (made.fined, made.decide(41)) == (2_000 * ECLIPT, Fate.LEFT)
    made.account(42, 1.0, busy=0.5, earned=0, lost=1, price=1.0)
    assert made.decide(42) is Fate.INSOLVENT


@pytest.mark.parametrize("by_speed", [False, True])
def test_who_joins_looks_at_what_others_earn(*, by_speed: bool) -> None:
    there = [owner(4 * ECLIPT, stake=1_000 * ECLIPT, speed=2.0)]
    candidate = replace(there[0].prover, id=b"new")
    assert expects_profit(candidate, there, 1.0, by_speed=by_speed)
    assert not expects_profit(candidate, there, 0.2, by_speed=by_speed)
    assert not expects_profit(candidate, [], 1.0, by_speed=by_speed)
    slow_and_small = replace(candidate, speed=1.0, stake=10 * ECLIPT)
    assert not expects_profit(slow_and_small, there, 1.0, by_speed=by_speed)


@pytest.mark.parametrize(
    ("amounts", "index"),
    [({b"a": 5}, 1.0), ({b"a": 1, b"b": 1}, 0.5), ({b"a": 3, b"b": 1}, 0.625), ({}, 1.0)],
)
def test_concentration_is_the_sum_of_squared_shares(
    amounts: dict[bytes, float], index: float
) -> None:
    assert concentration(amounts) == index


@pytest.mark.parametrize(
    "wrong",
    [
        {"mode": "auction"},
        {"load": "heavy"},
        {"provers": 0},
        {"provers": 201},
        {"hybrids": -1},
        {"days": 1},
        {"every": 45},
        {"price": 0.0},
        {"price": float("nan")},
        {"surge": -0.1},
        {"surge_days": -1},
        {"validators": -1},
    ],
    ids=str,
)
def test_a_plan_out_of_range_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ParameterError):
        replace(SMALL, **wrong)


def test_the_command_prints_a_record_and_draws_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "year.png"
    flags = ["--provers", "3", "--days", "2", "--load", "demo", "--seed", "9", "--out", str(out)]
    assert main(["market", "simulate", *flags, "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert (record["name"], record["parameters"]["seed"], record["days"]) == ("market", 9, 2)
    assert record["epochs"]["simulated"] == 2
    assert {"hhi", "wasted", "solvent", "solvent_with_joined"} == set(record["targets"])
    assert record["schema_version"]
    assert out.read_bytes().startswith(b"\x89PNG")


def test_the_command_shows_targets_and_refuses_a_folder_that_is_not_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["market", "simulate", "--provers", "2", "--days", "2", "--load", "demo"]
    assert main(flags) == 0
    assert "target solvent" in capsys.readouterr().out
    assert main([*flags, "--out", str(tmp_path / "no" / "year.png")]) == 2
    assert "there is no folder" in capsys.readouterr().err
    assert main([*flags, "--price", "0"]) == 2


def test_a_year_with_a_death_can_be_drawn(told: dict[str, Any], tmp_path: Path) -> None:
    out = tmp_path / "year.png"
    draw_year(told, out)
    assert out.stat().st_size > 20_000
    assert [path.name for path in tmp_path.iterdir()] == ["year.png"]
    with pytest.raises(ParameterError, match="cannot be written"):
        draw_year(told, tmp_path)
