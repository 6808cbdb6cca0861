"""Demand over a simulated year, and the base fee that follows it by the real rules, epoch by epoch.

The Public tier alone has traffic. Demand at the floor is the load, and for some days in the middle of the year the surge;
it is inversely proportional to the fee (assumed).
"""

from __future__ import annotations

from dataclasses import dataclass

from operators.fee_rules import EpochMeasured, FeeRules, FeeState, TierLoad
from operators.market_jobs import SHARDS, window_seconds
from operators.market_provers import CELLS_PER_REFERENCE_SECOND
from schemas.config import ClockConfig
from schemas.economics import Tier
from schemas.errors import InvariantError

UNITS_PER_FEE_UNIT = 1_000
"""Fees are in 1e-6 ECLIPT, money in 1e-9."""

SETTLED = 0.05
"""A fee is settled once it stays within this part of where it is ten days into the surge."""

LOOK_DAYS = 10
"""How long the fee is looked at: later, provers have come and gone."""


@dataclass(frozen=True, slots=True)
class EpochDemand:
    """What an epoch asked for.

    Attributes:
        transactions: Of the epoch.
        fee: In force, units of 1e-6 ECLIPT.
        used: Part of the capacity.
        fees: Units paid.
        is_surge: Whether it is in the surge.
    """

    transactions: float
    fee: int
    used: float
    fees: int
    is_surge: bool


class Demand:
    """The fee machine under demand that answers to it.

    Attributes:
        epochs: Every epoch so far.
    """

    def __init__(
        self, rules: FeeRules, clock: ClockConfig, load: float, surge: float, days: range
    ) -> None:
        """Starts at the floors.

        Args:
            rules: The machine.
            clock: Windows and epochs.
            load: Transactions an epoch at the floor.
            surge: The same in the surge.
            days: Days of the surge.
        """
        self.epochs: list[EpochDemand] = []
        self._rules, self._state = rules, rules.start()
        self._load, self._surge, self._clock = load, surge, clock
        self._windows = SHARDS * clock.windows_per_shard_epoch * clock.shard_epochs_per_hour
        self._days = days

    @property
    def state(self) -> FeeState:
        """The fees in force."""
        return self._state

    def cells(self, transactions: float) -> int:
        """Returns the trace cells of an epoch's windows."""
        seconds = self._windows * window_seconds(transactions / self._windows)
        return round(seconds * CELLS_PER_REFERENCE_SECOND)

    def step(self, capacity: int) -> EpochDemand:
        """Returns what the next epoch asks for, and moves the fee.

        Args:
            capacity: Cells that the provers could prove in it.
        """
        number = len(self.epochs)
        is_surge = number // self._clock.epochs_per_day in self._days
        at_floor = self._surge if is_surge else self._load
        fee, floor = self._state.of(Tier.PUBLIC), self._rules.terms.floors[0]
        transactions = at_floor * floor / fee
        used = self.cells(transactions)
        idle = TierLoad(0, capacity)
        step = self._rules.step(
            self._state, EpochMeasured(number, (TierLoad(used, capacity), idle, idle))
        )
        if step.refusal is not None:
            raise InvariantError(f"the load of an epoch is refused: {step.refusal}")
        self._state = step.state
        paid = round(transactions) * fee * UNITS_PER_FEE_UNIT
        part = used / capacity if capacity else 1.0
        entry = EpochDemand(transactions, fee, part, paid, is_surge)
        self.epochs.append(entry)
        return entry

    def surge_figures(self) -> dict[str, int | float | None]:
        """Returns how the fee took the surge.

        Returns:
            `fee_highest` and `fee_at_end` of the surge, `epochs_to_settle` in its first ten days, and `swing`: highest less
            lowest of the second half of these days, as a part of the last. Capacity moves by single provers meanwhile, and
            demand by whole segments.
        """
        fees = [entry.fee for entry in self.epochs if entry.is_surge]
        first = fees[: self._clock.epochs_per_day * LOOK_DAYS]
        if not first:
            names = ("fee_highest", "fee_at_end", "epochs_to_settle", "swing")
            return dict.fromkeys(names)
        off = [
            place for place, fee in enumerate(first) if abs(fee - first[-1]) > SETTLED * first[-1]
        ]
        half = first[len(first) // 2 :]
        return {
            "fee_highest": max(fees),
            "fee_at_end": fees[-1],
            "epochs_to_settle": off[-1] + 1 if off else 0,
            "swing": (max(half) - min(half)) / first[-1],
        }
