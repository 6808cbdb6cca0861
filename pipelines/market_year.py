"""`ecliptica market simulate`: a year of the prover market, sampled epoch by epoch, under the real rules.

Of every few days one epoch is simulated whole; it stands for all epochs of these days in the money of the owners. The fee
machine takes every epoch of the year. When the largest prover dies, two days are simulated without a gap.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random
from statistics import fmean
from typing import Any, Final

from operators.fee_rules import FeeRules
from operators.market_in_place import InPlaceRules, empty_market
from operators.market_jobs import epoch_jobs
from operators.market_provers import CELLS_PER_REFERENCE_SECOND, draw_prover
from operators.market_simulation import MICROS, EpochOutcome, MarketSimulation
from operators.rule_state import REWARDS, Pot, PotKind
from pipelines.market_demand import Demand, EpochDemand
from pipelines.market_figures import YearFigures
from pipelines.market_owners import (
    ENTRY_CHANCE,
    MOST_PROVERS,
    Fate,
    Owner,
    expects_profit,
)
from pipelines.progress import Progress
from schemas.config import ClockConfig
from schemas.economics import MarketTerms
from schemas.errors import ParameterError

LOADS: Final = {"demo": 50_000.0, "target": 50_000.0 * 3600}
"""Transactions an hour. Design: ARCHITECTURE "The clock"."""

EVERY_DAYS: Final = {"assigned": 1, "race": 4}
"""Days that one simulated epoch stands for: in the race an epoch has some ten times as many events."""

DEATH_HOURS = 48
"""Epochs without a gap after the largest prover died."""

LEAST_HISTORY = 7
"""Simulated epochs before it, below which it is left out: nothing to compare with."""

KILL_PART = 2
"""It dies in the middle of an epoch."""


@dataclass(frozen=True, slots=True)
class YearPlan:
    """What is simulated.

    Attributes:
        seed: Of everything random.
        provers: Provers at the beginning.
        days: Length.
        mode: assigned or race.
        hybrids: Validator-provers beside them.
        validators: Validators that prove nothing; they share what proposers get.
        load: demo or target.
        price: Dollars per ECLIPT. Assumed.
        surge: Demand at the floor in the surge, as a part of the capacity at the beginning; 0 for none.
        surge_days: Length of the surge, in the middle of the year.
        every: Days per simulated epoch; 0 for the mode's own.
        is_issued: What fees do not cover of the rewards is issued.
    """

    seed: int
    provers: int = 100
    days: int = 365
    mode: str = "assigned"
    hybrids: int = 0
    validators: int = 300
    load: str = "target"
    price: float = 1.0
    surge: float = 0.9
    surge_days: int = 10
    every: int = 0
    is_issued: bool = True

    def __post_init__(self) -> None:
        """Checks the ranges.

        Raises:
            ParameterError: A number is out of range, or a mode or load unknown.
        """
        if self.mode not in EVERY_DAYS or self.load not in LOADS:
            raise ParameterError(f"no market {self.mode!r} under load {self.load!r}")
        if not 1 <= self.provers <= MOST_PROVERS or not 0 <= self.hybrids <= MOST_PROVERS:
            raise ParameterError(f"provers are 1 to {MOST_PROVERS}, hybrids at most as many")
        if not 2 <= self.days <= 3650 or not 0 <= self.every < self.days:
            raise ParameterError("days are 2 to 3650, and more than one simulated epoch stands for")
        if not 0 <= self.surge_days <= 3650:
            raise ParameterError("a surge has 0 to 3650 days; what is beyond the year is left out")
        if not 0 < self.price < 1e6 or not 0 <= self.surge <= 10 or self.validators < 0:
            raise ParameterError("price is above 0, surge 0 to 10, validators are not negative")


class MarketYear:
    """A year that is being simulated.

    Attributes:
        plan: What.
        owners: Everybody who ever was there, by prover.
        simulation: The market.
        demand: The fees.
        figures: What came of it.
    """

    def __init__(
        self,
        plan: YearPlan,
        terms: MarketTerms | None = None,
        clock: ClockConfig | None = None,
    ) -> None:
        """Draws the provers of the first day.

        Args:
            plan: What is simulated.
            terms: The market's numbers; the mode of the plan is put into them.
            clock: Of a chain of the target profile if None.
        """
        self.plan = plan
        self._clock = clock or ClockConfig()
        terms = replace(terms or MarketTerms(), first_wins=plan.mode == "race")
        self._rewards = terms.epoch_reward
        self._drawn, self._entry, market = (
            Random(f"{plan.seed}/{part}")  # noqa: S311 - reproducible, not secret
            for part in ("drawn", "entry", "market")
        )
        self._fees = FeeRules()
        self.simulation = MarketSimulation(InPlaceRules(terms), empty_market(), self._clock, market)
        self.owners: dict[bytes, Owner] = {}
        for number in range(plan.provers + plan.hybrids):
            self._admit(0, is_first=number < plan.provers, is_hybrid=number >= plan.provers)
        load = LOADS[plan.load] * self.simulation.epoch_hours
        first = max(0, plan.days - plan.surge_days) // 2
        surging = range(first, first + plan.surge_days)
        quiet = Demand(self._fees, self._clock, load, load, surging)
        surge = max(load, plan.surge * self.capacity() * load / quiet.cells(load))
        self.demand = Demand(self._fees, self._clock, load, surge, surging)
        self.figures = YearFigures(self._clock.slot_micros / MICROS)

    def capacity(self) -> int:
        """Returns the cells that the provers there could prove in an epoch."""
        speed = sum(owner.prover.speed for owner in self._active())
        return round(speed * self.simulation.epoch_hours * 3600 * CELLS_PER_REFERENCE_SECOND)

    def run(self, report: Progress, is_stopped: Callable[[], bool]) -> dict[str, Any]:
        """Simulates the year, or as much of it as there is time for, and returns its record."""
        plan = self.plan
        every = plan.every or EVERY_DAYS[plan.mode]
        report.phase(f"a market of mode {plan.mode}", plan.days)
        death = plan.days * 3 // 4 // every * every
        day = 0
        while day < plan.days and not is_stopped():
            span = min(every, plan.days - day)
            epochs = span * self._clock.epochs_per_day
            demands = [self.demand.step(self.capacity()) for _ in range(epochs)]
            if day == death and self._active() and day >= LEAST_HISTORY * every:
                self._die(day, demands)
            else:
                hours = epochs * self.simulation.epoch_hours
                self._live(day, demands[0], hours)
            self._review(day, span)
            self.figures.end_day(day, self._active(), self.demand.epochs[-1])
            day += span
            report.advance(span)
        return self._record(day)

    def _active(self) -> list[Owner]:
        return [owner for owner in self.owners.values() if owner.fate is Fate.ACTIVE]

    def _admit(self, day: int, *, is_first: bool, is_hybrid: bool = False) -> None:
        prover = draw_prover(len(self.owners), self._drawn, is_hybrid=is_hybrid)
        self.owners[prover.id] = Owner(prover, day, prover.capital_dollars, is_first)
        self.simulation.join(prover)

    def _live(
        self,
        day: int,
        demand: EpochDemand,
        hours: float,
        killed: tuple[int, bytes] | None = None,
    ) -> EpochOutcome:
        """Simulates one epoch that stands for so many hours."""
        paid = self._fees.divide(demand.fees)[1]
        held = self.simulation.state.books.held(REWARDS) + paid
        issued = max(0, self._rewards - held) if self.plan.is_issued else 0
        self.simulation.fund(paid + issued)
        jobs = epoch_jobs(self.simulation.state.epoch + 1, demand.transactions, self._clock)
        outcome = self.simulation.run_epoch(jobs, killed)
        slot_hours = self._clock.slot_micros / MICROS / 3600
        length = self.simulation.epoch_hours
        for owner in self._active():
            name = owner.prover.id
            earned, lost = outcome.earned[name] / length, outcome.lost[name] / length
            busy = outcome.busy_slots[name] * slot_hours / length
            owner.account(day, hours, busy=busy, earned=earned, lost=lost, price=self.plan.price)
        self.figures.add(day, outcome, demand, issued)
        return outcome

    def _die(self, day: int, demands: list[EpochDemand]) -> None:
        """The largest prover dies within an epoch; that and what follows is simulated without a gap."""
        active = self._active()
        shares = {o.prover.id: fmean([h.units for h in o.recent] or [0]) for o in active}
        largest = max(sorted(shares), key=lambda name: shares[name])
        whole = sum(shares.values())
        worker = self.simulation.workers[largest]
        before = self.figures.recent()
        half = self.simulation.epoch_slots // KILL_PART
        stake = Pot(PotKind.STAKE, largest)
        held = self.simulation.state.books.held(stake)
        rows = []
        spans = len(demands) * self.simulation.epoch_hours / DEATH_HOURS
        for number in range(DEATH_HOURS):
            demand = demands[min(number, len(demands) - 1)]
            killed = (half, largest) if number == 0 else None
            outcome = self._live(day, demand, spans, killed)
            if number == 0:
                owner = self.owners[largest]
                owner.fate, owner.until = Fate.KILLED, day
            rows.append(self.figures.row(outcome, largest))
        self.figures.death = {
            "day": day,
            "prover": largest.decode(),
            "cores": worker.prover.cores,
            "share": shares[largest] / whole if whole > 0 else None,
            "before": before,
            "epochs": rows,
            "stake_before": held,
            "stake_after": self.simulation.state.books.held(stake),
        }

    def _review(self, day: int, span: int) -> None:
        """Owners leave and join."""
        for owner in self._active():
            fate = owner.decide(day + span)
            if fate is not Fate.ACTIVE:
                owner.fate, owner.until = fate, day + span
                self.simulation.leave(owner.prover.id)
        for _ in range(span):
            if self._entry.random() >= ENTRY_CHANCE:
                continue
            active = self._active()
            number = len(self.owners)
            candidate = draw_prover(number, self._drawn)
            by_speed = self.plan.mode == "race"
            most = max(MOST_PROVERS, self.plan.provers + self.plan.hybrids)
            if len(active) < most and expects_profit(
                candidate, active, self.plan.price, by_speed=by_speed
            ):
                self.owners[candidate.id] = Owner(
                    candidate, day + span, candidate.capital_dollars, is_first=False
                )
                self.simulation.join(candidate)

    def _record(self, days: int) -> dict[str, Any]:
        owners = list(self.owners.values())
        books = self.simulation.state.books
        kinds: Counter[str] = Counter()
        for pot in books.pots:
            kinds[pot.kind.value] += books.held(pot)
        money = {
            "inflow": books.inflow,
            "outflow": books.outflow,
            "held": dict(sorted(kinds.items())),
            "is_balanced": books.is_balanced(),
        }
        return self.figures.record(self.plan, days, owners, self.demand, money)
