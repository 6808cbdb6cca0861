"""The rules of fees under every order of loads, and under demand that answers to the fee."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from operators.fee_rules import EpochMeasured, FeeRules, FeeState, TierLoad
from operators.rules_exploration import Trial
from schemas.economics import FeeTerms

FEE_TERMS: Final = FeeTerms(floors=(8, 20, 33), cap_factor=40)
"""Small fees, all of which can be reached."""

CAPACITY = 1_000
LOADS: Final = tuple(
    TierLoad(used, capacity)
    for used, capacity in ((0, CAPACITY), (250, CAPACITY), (499, CAPACITY), (500, CAPACITY),
                           (501, CAPACITY), (750, CAPACITY), (CAPACITY, CAPACITY),
                           (2**61, CAPACITY), (1, 1), (0, 1), (0, 0), (-1, CAPACITY))
)  # fmt: skip

SETTLING_EPOCHS = 400
"""Epochs after which a fee must stand still: from floor to cap it is 59 full steps up and 52 down."""


@dataclass(frozen=True, slots=True)
class FeeModel:
    """One tier under every order of loads; the others stand at their targets.

    Attributes:
        rules: The machine.
    """

    rules: FeeRules = field(default_factory=lambda: FeeRules(FEE_TERMS))

    def start(self) -> FeeState:
        """See `Model`."""
        return self.rules.start()

    def events(self, state: FeeState) -> Iterator[EpochMeasured]:
        """See `Model`."""
        still = TierLoad(CAPACITY // 2, CAPACITY)
        yield EpochMeasured(state.epoch, (still, still, still))
        yield from (EpochMeasured(state.epoch + 1, (load, still, still)) for load in LOADS)

    def trial(self, state: FeeState, event: EpochMeasured) -> Trial[FeeState]:
        """See `Model`: the epoch is set back, so that states are fees."""
        step = self.rules.step(state, event)
        if step.refusal is not None:
            broken: tuple[str, ...] = (
                () if step.state is state else ("a refused event changed something",)
            )
            return Trial(state, step.refusal.value, broken)
        terms = self.rules.terms
        found = []
        for before, after, floor in zip(state.fees, step.state.fees, terms.floors, strict=True):
            if not floor <= after <= floor * terms.cap_factor:
                found.append("fee: it is below its floor or above its cap")
            if abs(after - before) > before // terms.step_divisor:
                found.append("fee: it changes by more than an eighth")
        load = event.loads[0]
        rose = step.state.fees[0] - state.fees[0]
        is_full = load.used >= load.capacity
        if (rose > 0 and load.used * 2 < load.capacity) or (
            rose < 0 and load.used * 2 > load.capacity
        ):
            found.append("fee: it goes the wrong way")
        at_cap = state.fees[0] >= terms.floors[0] * terms.cap_factor
        if is_full and load.capacity != 1 and not rose and not at_cap:
            found.append("fee: it does not rise although everything is used")
        return Trial(FeeState(-1, step.state.fees), broken=tuple(found))


Demand = Callable[[int], int]
"""Cells used at a fee."""


def proportional(volume: int) -> Demand:
    """Returns a demand that spends the same whatever the fee is: twice the fee, half the cells."""
    return lambda fee: volume // fee


def elastic(volume: int) -> Demand:
    """Returns a demand that halves its spending when the fee doubles."""
    return lambda fee: volume // (fee * fee)


def rigid(cells: int) -> Demand:
    """Returns a demand that pays whatever it costs."""
    return lambda _: cells


@dataclass(frozen=True, slots=True)
class Settling:
    """What a step of load led to.

    Attributes:
        epochs: Epochs until the fee stood still.
        fee: Where.
        broken: What is broken, in words.
    """

    epochs: int
    fee: int
    broken: tuple[str, ...]


def settle(rules: FeeRules, fee: int, floor: int, demand: Demand, capacity: int) -> Settling:
    """Follows a fee after a step of load until it stands still.

    Args:
        rules: The machine.
        fee: The fee before.
        floor: The tier's floor.
        demand: What is used at a fee from now on.
        capacity: Cells that can be proven in an epoch.
    """
    way = [fee]
    for epoch in range(SETTLING_EPOCHS):
        following = rules.next_fee(way[-1], TierLoad(demand(way[-1]), capacity), floor)
        if following == way[-1]:
            return Settling(epoch, following, _turns(way))
        way.append(following)
    return Settling(SETTLING_EPOCHS, way[-1], ("fee: it does not come to rest", *_turns(way)))


def _turns(way: list[int]) -> tuple[str, ...]:
    is_straight = way in (sorted(way), sorted(way, reverse=True))
    return () if is_straight else ("fee: it swings",)
