"""What a simulated year of the market came to: concentration, waste, times, owners, money, and which targets it meets."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from operators.market_simulation import EpochOutcome
from pipelines.market_demand import Demand, EpochDemand
from pipelines.market_owners import Fate, Owner, concentration
from schemas.economics import ECLIPT, FeeTerms, MarketTerms

if TYPE_CHECKING:
    from pipelines.market_year import YearPlan

LEAST_SOLVENT, MOST_CONCENTRATION, MOST_WASTE = 50, 0.05, 0.05
"""Targets: 50 of 100 provers solvent, HHI and wasted work below 0.05."""

PERIOD_DAYS = 30
"""Concentration is also given for the worst period of so many days: a year's mean could hide a month."""

RECENT_EPOCHS = 7
"""Epochs before a death that it is compared with."""

VALIDATOR_DOLLARS_PER_HOUR = 16 * 0.045
"""A validator's 16 cores at the price of the provers' cores. Assumed."""

FATES: Final = tuple(fate.value for fate in Fate)


class YearFigures:
    """Counts a year's epochs.

    Attributes:
        death: What happened when the largest prover died, or None.
    """

    def __init__(self, slot_seconds: float) -> None:
        """Starts with nothing.

        Args:
            slot_seconds: Length of a slot.
        """
        self.death: dict[str, Any] | None = None
        self._slot_seconds = slot_seconds
        self._proof_slots: dict[bool, Counter[int]] = {False: Counter(), True: Counter()}
        self._epochs: list[dict[str, Any]] = []
        self._days: list[dict[str, Any]] = []
        self._periods: dict[int, Counter[bytes]] = defaultdict(Counter)
        self._refused: Counter[str] = Counter()
        self._useful = self._wasted = 0.0
        self._issued = 0

    def add(self, day: int, outcome: EpochOutcome, demand: EpochDemand, issued: int) -> None:
        """Counts an epoch."""
        self._proof_slots[demand.is_surge].update(outcome.proof_slots)
        self._periods[day // PERIOD_DAYS].update(outcome.earned)
        self._refused.update(outcome.refused)
        self._useful += outcome.useful
        self._wasted += outcome.wasted
        self._issued += issued
        worked = outcome.useful + outcome.wasted
        self._epochs.append(
            {
                "day": day,
                **self.row(outcome),
                "hhi": concentration(outcome.earned),
                "wasted": outcome.wasted / worked if worked else 0.0,
                "invalid": outcome.invalid,
                "paid": sum(outcome.earned.values()) / ECLIPT,
                "transactions": round(demand.transactions),
            }
        )

    def end_day(self, day: int, active: Sequence[Owner], demand: EpochDemand) -> None:
        """Notes who is there at the end of a day, and the fee."""
        self._days.append(
            {
                "day": day,
                "active": len(active),
                "first": sum(owner.is_first for owner in active),
                "hybrids": sum(owner.prover.is_hybrid for owner in active),
                "fee": demand.fee,
                "used": demand.used,
            }
        )

    def row(self, outcome: EpochOutcome, prover: bytes | None = None) -> dict[str, Any]:
        """Returns the figures of one epoch, and what is one prover's of them."""
        late = outcome.late_slots
        row: dict[str, Any] = {
            "p99_seconds": self._percentile(Counter(outcome.proof_slots), 0.99),
            "late_seconds": None if late is None else late * self._slot_seconds,
            "missed": sum(outcome.missed.values()),
        }
        if prover is not None:
            row["assigned_to_it"] = outcome.assigned[prover]
            row["missed_by_it"] = outcome.missed[prover]
        return row

    def recent(self) -> dict[str, Any]:
        """Returns the means of the last epochs."""
        last = self._epochs[-RECENT_EPOCHS:]
        means: dict[str, Any] = {"epochs": len(last)}
        for name in ("p99_seconds", "late_seconds", "missed"):
            known = [row[name] for row in last if row[name] is not None]
            means[name] = sum(known) / len(known) if known else None
        return means

    def record(
        self,
        plan: YearPlan,
        days: int,
        owners: Sequence[Owner],
        demand: Demand,
        money: Mapping[str, Any],
    ) -> dict[str, Any]:
        """Returns the record of a year.

        Args:
            plan: What was simulated.
            days: How much of it.
            owners: Everybody who ever was there.
            demand: The fees.
            money: The books at the end.
        """
        year: Counter[bytes] = Counter()
        for earned in self._periods.values():
            year.update(earned)
        worked = self._useful + self._wasted
        periods = [concentration(earned) for earned in self._periods.values()]
        solvent = sum(owner.is_first and owner.is_solvent for owner in owners)
        there = sum(owner.is_solvent for owner in owners)
        figures = {
            "hhi": concentration(year),
            "hhi_worst_period": max(periods, default=1.0),
            "earning": len([1 for units in year.values() if units]),
            "wasted": self._wasted / worked if worked else 0.0,
            "proof_seconds": {
                "calm": self._proof_seconds(self._proof_slots[False]),
                "surge": self._proof_seconds(self._proof_slots[True]),
                "year": self._proof_seconds(sum(self._proof_slots.values(), Counter())),
            },
            "epochs": self._epoch_counts(),
            "owners": _owners(owners),
            "fees": _fees(plan, demand),
            "issued": self._issued / ECLIPT,
            "refused": dict(sorted(self._refused.items())),
        }
        return {
            "name": "market",
            "parameters": asdict(plan),
            "days": days,
            **figures,
            "death": self.death,
            "targets": _targets(plan, solvent, there, figures),
            "money": dict(money),
            "series": {"days": self._days, "epochs": self._epochs},
        }

    def _epoch_counts(self) -> dict[str, int]:
        late = [row["late_seconds"] for row in self._epochs]
        limit = MarketTerms().fast_slots * self._slot_seconds
        return {
            "simulated": len(late),
            "in_time": sum(seconds is not None and seconds <= limit for seconds in late),
            "given_up": late.count(None),
        }

    def _proof_seconds(self, slots: Counter[int]) -> dict[str, float | None]:
        parts = (("p50", 0.5), ("p99", 0.99), ("max", 1.0))
        return {name: self._percentile(slots, part) for name, part in parts}

    def _percentile(self, slots: Counter[int], part: float) -> float | None:
        """Returns the least time that at least a part of all is within, seconds."""
        left = part * slots.total()
        for count in sorted(slots):
            left -= slots[count]
            if left <= 0:
                return count * self._slot_seconds
        return None


def _owners(owners: Sequence[Owner]) -> dict[str, Any]:
    """Who became what, and what it brought them, by kind."""
    kinds = {
        "first": [owner for owner in owners if owner.is_first],
        "joined": [o for o in owners if not o.is_first and not o.prover.is_hybrid],
        "hybrids": [owner for owner in owners if owner.prover.is_hybrid],
    }
    table = {}
    for kind, members in kinds.items():
        revenue = sum(owner.revenue for owner in members)
        cost = sum(owner.cost for owner in members)
        table[kind] = {
            "provers": len(members),
            **{fate: sum(owner.fate.value == fate for owner in members) for fate in FATES},
            "solvent": sum(owner.is_solvent for owner in members),
            "revenue_dollars": revenue,
            "cost_dollars": cost,
            "margin": (revenue - cost) / revenue if revenue > 0 else None,
        }
    return table


def _fees(plan: YearPlan, demand: Demand) -> dict[str, Any]:
    """What was paid, who it was for, and what a validator has of it an hour."""
    paid = sum(entry.fees for entry in demand.epochs) / ECLIPT
    terms = FeeTerms()
    proposers = paid * terms.proposer_permille / 1000
    validators = plan.validators + plan.hybrids
    hours = len(demand.epochs)
    income = proposers * plan.price / validators / hours if validators and hours else None
    return {
        "paid": paid,
        "provers_part": paid * terms.provers_permille / 1000,
        "rewards_at_most": hours * MarketTerms().epoch_reward / ECLIPT,
        "validators": validators,
        "validator_dollars_per_hour": income,
        "validator_cost_per_hour": VALIDATOR_DOLLARS_PER_HOUR,
        **demand.surge_figures(),
    }


def _targets(
    plan: YearPlan, solvent: int, there: int, figures: Mapping[str, Any]
) -> dict[str, Any]:
    """The targets, with what came out; that of survivors is stated for 100 provers and scaled to the plan's.

    `solvent` counts those of the first day alone, which is the strict reading; `solvent_with_joined` counts whoever is there.
    """
    least = LEAST_SOLVENT * plan.provers / 100
    return {
        "solvent": {"at_least": least, "got": solvent, "is_met": solvent >= least},
        "solvent_with_joined": {"at_least": least, "got": there, "is_met": there >= least},
        "hhi": {
            "below": MOST_CONCENTRATION,
            "got": figures["hhi_worst_period"],
            "is_met": figures["hhi_worst_period"] < MOST_CONCENTRATION,
        },
        "wasted": {
            "below": MOST_WASTE,
            "got": figures["wasted"],
            "is_met": figures["wasted"] < MOST_WASTE,
        },
    }
