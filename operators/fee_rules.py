"""Base fees that follow the use of proving capacity, tier by tier, and the shares of what is paid; exact integers.

See operators/rules.md "Fees".
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from operators.exact_split import share, split
from schemas.economics import FeeTerms, Tier
from schemas.refusal import FeeRefusal

LOAD_LIMIT = 2**62
"""Cells of an epoch are below it, so that a fee times cells is below 2^92."""


@dataclass(frozen=True, slots=True)
class TierLoad:
    """What an epoch measured of one tier.

    Attributes:
        used: Cells that its transactions take to prove.
        capacity: Cells that the provers could have proven for it; 0 counts as used up.
    """

    used: int
    capacity: int


@dataclass(frozen=True, slots=True)
class EpochMeasured:
    """The measurements of an epoch.

    Attributes:
        epoch: One above the epoch before.
        loads: One of each tier, in the order of `Tier`.
    """

    epoch: int
    loads: tuple[TierLoad, TierLoad, TierLoad]


@dataclass(frozen=True, slots=True)
class FeeState:
    """Base fees in force.

    Attributes:
        epoch: Last epoch measured; -1 before the first.
        fees: Units of 1e-6 ECLIPT, in the order of `Tier`.
    """

    epoch: int
    fees: tuple[int, int, int]

    def of(self, tier: Tier) -> int:
        """Returns the base fee of a tier."""
        return self.fees[list(Tier).index(tier)]


@dataclass(frozen=True, slots=True)
class FeeStep:
    """What a measurement led to.

    Attributes:
        state: The state after it; the very same when it is refused.
        refusal: Why it is refused, or None.
    """

    state: FeeState
    refusal: FeeRefusal | None = None


@dataclass(frozen=True, slots=True)
class FeeRules:
    """The machine; each public method beside `step` is one rule.

    Attributes:
        terms: The numbers.
    """

    terms: FeeTerms = FeeTerms()  # noqa: RUF009 - immutable

    def start(self) -> FeeState:
        """Returns the fees before anything is measured: the floors."""
        return FeeState(-1, self.terms.floors)

    def step(self, state: FeeState, event: EpochMeasured) -> FeeStep:
        """Returns the fees after an epoch."""
        if event.epoch != state.epoch + 1:
            return FeeStep(state, FeeRefusal.EPOCH_OUT_OF_ORDER)
        for load in event.loads:
            if not (0 <= load.used < LOAD_LIMIT and 0 <= load.capacity < LOAD_LIMIT):
                return FeeStep(state, FeeRefusal.LOAD_OUT_OF_RANGE)
        public, private, hidden = (
            self.next_fee(fee, load, floor)
            for fee, load, floor in zip(state.fees, event.loads, self.terms.floors, strict=True)
        )
        return FeeStep(replace(state, epoch=event.epoch, fees=(public, private, hidden)))

    def next_fee(self, fee: int, load: TierLoad, floor: int) -> int:
        """Returns the fee after an epoch: up to 1/8 higher above the target, up to 1/8 lower below it.

        The change is in proportion to the distance from the target and rounded towards none, so that near the target a
        fee stands still instead of swinging. If demand is inversely proportional to the fee and the target is at least
        an eighth of the fee in cells, a fee goes towards where demand meets the target and never past it.
        """
        changed = fee + self.change(fee, load)
        return min(max(changed, floor), floor * self.terms.cap_factor)

    def change(self, fee: int, load: TierLoad) -> int:
        """Returns by how much a fee changes before it is held between floor and cap."""
        divisor = self.terms.step_divisor
        if load.capacity == 0:
            return fee // divisor
        target = max(1, share(load.capacity, self.terms.target_permille))
        used = min(load.used, load.capacity)
        if used >= target:
            room = load.capacity - target
            return fee * (used - target) // (room * divisor) if room else 0
        return -(fee * (target - used) // (target * divisor))

    def divide(self, fees: int) -> tuple[int, int, int]:
        """Returns the parts of proposer, provers' rewards and burn; they sum to the fees."""
        proposer, provers, burned = split(fees, self.terms.shares)
        return proposer, provers, burned
