"""Owners of simulated provers: money that comes and goes, and when they join and leave. Everything here is assumed."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from statistics import fmean

from operators.market_provers import SimulatedProver
from schemas.economics import ECLIPT, MarketTerms

STAKE_INTEREST_PER_YEAR = 0.05
"""What locked stake could earn elsewhere. Assumed."""

REVIEW_DAYS = 28
"""An owner leaves after so many days with a loss in sum. Assumed: a month's bill."""

HURDLE = 0.2
"""Expected profit over cost from which an owner joins. Assumed."""

ENTRY_CHANCE = 0.5
"""That an owner thinks about joining on a day. Assumed: a year's candidates are more than the market holds."""

LEAST_LEFT = MarketTerms().claim_escrow
"""Units of stake below which a prover can lease nothing."""

MOST_PROVERS = 200
"""Nobody joins beyond it; the design speaks of 60 to 200."""

HOURS_PER_YEAR = 8760


class Fate(StrEnum):
    """What became of an owner."""

    ACTIVE = "active"
    LEFT = "left"
    INSOLVENT = "insolvent"
    KILLED = "killed"


@dataclass(frozen=True, slots=True)
class Hour:
    """What an hour brought.

    Attributes:
        day: When.
        units: Paid less fined.
        dollars: That in dollars, less all costs.
    """

    day: int
    units: int
    dollars: float


@dataclass(slots=True)
class Owner:
    """An owner of one prover.

    Attributes:
        prover: It.
        joined: Day of joining.
        cash: Dollars beside the stake: fines do not touch it.
        is_first: There from the beginning.
        fate: What became of it.
        until: Day on which it left or died; -1 if it did not.
        revenue: Dollars ever earned, fines taken off.
        cost: Dollars ever spent, interest of the stake included.
        fined: Units of its stake that fines have taken.
        recent: Its last hours.
    """

    prover: SimulatedProver
    joined: int
    cash: float
    is_first: bool
    fate: Fate = Fate.ACTIVE
    until: int = -1
    revenue: float = 0.0
    cost: float = 0.0
    fined: float = 0.0
    recent: deque[Hour] = field(default_factory=deque)

    @property
    def is_solvent(self) -> bool:
        """Whether it proves, can pay its bills and has stake left to lease with."""
        return self.fate is Fate.ACTIVE and not self.is_broke

    @property
    def is_broke(self) -> bool:
        """Whether money or stake is used up."""
        return self.cash < 0 or self.fined > self.prover.stake - LEAST_LEFT

    def account(
        self, day: int, hours: float, *, busy: float, earned: float, lost: float, price: float
    ) -> None:
        """Books hours that were like a simulated one.

        Args:
            day: When.
            hours: How many.
            busy: Part of an hour in which it worked.
            earned: Units paid in an hour.
            lost: Units of stake fined in an hour.
            price: Dollars per ECLIPT.
        """
        interest = self.prover.stake / ECLIPT * price * STAKE_INTEREST_PER_YEAR / HOURS_PER_YEAR
        fine = lost / ECLIPT * price
        revenue = earned / ECLIPT * price - fine
        cost = self.prover.dollars(1, busy) + interest
        self.revenue += revenue * hours
        self.cost += cost * hours
        self.cash += (revenue + fine - cost) * hours
        self.fined += lost * hours
        self.recent.append(Hour(day, round(earned - lost), revenue - cost))
        while self.recent[0].day <= day - REVIEW_DAYS:
            self.recent.popleft()

    def decide(self, day: int) -> Fate:
        """Returns what it decides: to stay, to leave for its losses, or that its money or stake is gone."""
        if self.is_broke:
            return Fate.INSOLVENT
        is_reviewed = day - self.joined >= REVIEW_DAYS and len(self.recent) > 1
        if is_reviewed and fmean(hour.dollars for hour in self.recent) < 0:
            return Fate.LEFT
        return Fate.ACTIVE


def expects_profit(
    candidate: SimulatedProver, owners: Iterable[Owner], price: float, *, by_speed: bool
) -> bool:
    """Says whether a candidate would join, from what those in the market earn: per stake, or by speed.

    Args:
        candidate: Who thinks about it.
        owners: Who is there.
        price: Dollars per ECLIPT.
        by_speed: Rewards go to the quick: it looks at those that are no quicker than itself. Else they go by stake.
    """
    there = [owner for owner in owners if owner.recent]
    if by_speed:
        there = [owner for owner in there if owner.prover.speed <= candidate.speed]
    units = sum(fmean(hour.units for hour in owner.recent) for owner in there)
    stakes = sum(owner.prover.stake for owner in there)
    if not there or not stakes:
        return False
    expected = units / len(there) if by_speed else units * candidate.stake / stakes
    interest = candidate.stake / ECLIPT * price * STAKE_INTEREST_PER_YEAR / HOURS_PER_YEAR
    cost = candidate.dollars(1, 0) + interest
    return expected / ECLIPT * price > cost * (1 + HURDLE)


def concentration(amounts: Mapping[bytes, float]) -> float:
    """Returns the Herfindahl-Hirschman index of amounts: the sum of squared shares; 1 if there is nothing."""
    whole = sum(amounts.values())
    return sum((amount / whole) ** 2 for amount in amounts.values()) if whole else 1.0
