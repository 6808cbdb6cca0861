"""The rules of market and fees with one of them broken: each must be found by the exploration."""

# ruff: noqa: D102 - what is broken stands in the docstring of the class
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from operators.exact_split import split
from operators.fee_rules import FeeRules, TierLoad
from operators.market_rules import MarketRules
from operators.market_state import (
    EpochRecord,
    JobRecord,
    MarketState,
    ProofSubmitted,
)


class NothingExclusive(MarketRules):
    """Everybody may lease a job at once."""

    def is_exclusive(self, state: MarketState, job: JobRecord) -> bool:
        return False


class CapMissing(MarketRules):
    """One prover may have all jobs."""

    def cap(self, epoch: EpochRecord) -> int:
        return 10**6


class CopiesPaid(MarketRules):
    """Whoever submits a proof is paid, whoever made it."""

    def check_payee(self, job: JobRecord, event: ProofSubmitted) -> None:
        return


class EscrowFree(MarketRules):
    """A lease locks nothing."""

    def escrow_price(self) -> int:
        return 0


class InvalidFree(MarketRules):
    """An invalid proof costs nothing."""

    def invalid_units(self) -> int:
        return 0


class MissedFree(MarketRules):
    """A missed window costs nothing."""

    def missed_units(self, stake: int) -> int:
        return 0


class NothingBurned(MarketRules):
    """All of what a missed window costs is the rescuer's."""

    def burned_of(self, missed: int) -> int:
        return 0


class LateRescuer(MarketRules):
    """Who was late gets back what it lost."""

    def is_rescuer(self, job: JobRecord, prover: bytes) -> bool:
        return True


class AnyoneLeases(MarketRules):
    """Unbonded and barred provers may lease."""

    def check_prover(self, state: MarketState, prover: bytes) -> None:
        return


class TwoHolders(MarketRules):
    """A leased job may be leased again."""

    def check_lease(self, state: MarketState, job: JobRecord, prover: bytes) -> None:
        return


class LeaseForEver(MarketRules):
    """Heartbeats keep a job for ever."""

    def lease_until(self, slot: int, ends: int) -> int:
        return slot + 100 * self.terms.lease_slots


class SkewTaken(MarketRules):
    """Any clock will do."""

    def check_slot(self, state: MarketState, slot: int) -> None:
        return


class AlwaysFast(MarketRules):
    """Speed is paid for at any time."""

    def is_fast(self, end_slot: int, landed_slot: int) -> bool:
        return True


class AlwaysGood(MarketRules):
    """Quality is paid for whatever was delivered."""

    def is_good(self, job: JobRecord, unavailable: frozenset[bytes]) -> bool:
        return True


class PartsRoundedUp(MarketRules):
    """Every part of a reward is rounded up."""

    def parts(self, units: int, jobs: list[JobRecord]) -> tuple[int, ...]:
        cells = sum(job.facts.cells for job in jobs)
        return tuple(-(-units * job.facts.cells // cells) for job in jobs)


class PartsRoundedDown(MarketRules):
    """Every part of a reward is rounded down."""

    def parts(self, units: int, jobs: list[JobRecord]) -> tuple[int, ...]:
        cells = sum(job.facts.cells for job in jobs)
        return tuple(units * job.facts.cells // cells for job in jobs)


class PartsEqual(MarketRules):
    """Small jobs are paid like large ones."""

    def parts(self, units: int, jobs: list[JobRecord]) -> tuple[int, ...]:
        return split(units, [1] * len(jobs))


class PaidUnfinished(MarketRules):
    """An epoch is paid before all its jobs are proven."""

    def is_finished(self, jobs: list[JobRecord]) -> bool:
        return True


class StakeLoose(MarketRules):
    """Stake goes back while a job depends on it."""

    def may_release(self, state: MarketState, prover: bytes) -> bool:
        return True


class ReserveAll(MarketRules):
    """An epoch sets all rewards aside."""

    def reserve(self, state: MarketState, epoch: int) -> MarketState:
        generous = replace(self.terms, base_reward=10**6)
        return MarketRules(generous).reserve(state, epoch)


class StepQuarter(FeeRules):
    """A fee changes by up to a quarter."""

    def change(self, fee: int, load: TierLoad) -> int:
        return 2 * FeeRules.change(self, fee, load)


class NoFloor(FeeRules):
    """A fee falls as far as it likes."""

    def next_fee(self, fee: int, load: TierLoad, floor: int) -> int:
        return FeeRules.next_fee(self, fee, load, min(floor, 4))


class NoCap(FeeRules):
    """A fee rises as far as it likes."""

    def next_fee(self, fee: int, load: TierLoad, floor: int) -> int:
        return max(floor, fee + self.change(fee, load)) if fee < 10**4 else fee


class WrongWay(FeeRules):
    """A fee falls when capacity is short."""

    def change(self, fee: int, load: TierLoad) -> int:
        return -FeeRules.change(self, fee, load)


class AllOrNothing(FeeRules):
    """A fee takes a full step up or down, however near its target is."""

    def change(self, fee: int, load: TierLoad) -> int:
        step = fee // self.terms.step_divisor
        return step if 2 * load.used > load.capacity else -step


BROKEN_MARKET: Final[Mapping[type[MarketRules], str]] = MappingProxyType(
    {
        NothingExclusive: "lease",
        CapMissing: "pair",
        CopiesPaid: "lease",
        EscrowFree: "lease",
        InvalidFree: "wrong",
        MissedFree: "lease",
        NothingBurned: "lease",
        LateRescuer: "lease",
        AnyoneLeases: "wrong",
        TwoHolders: "lease",
        LeaseForEver: "lease",
        SkewTaken: "lease",
        AlwaysFast: "lease",
        AlwaysGood: "lease",
        PartsRoundedUp: "pair",
        PartsRoundedDown: "pair",
        PartsEqual: "pair",
        PaidUnfinished: "lease",
        StakeLoose: "leave",
        ReserveAll: "lease",
    }
)
"""Each broken rule, and the scene that shows it."""

BROKEN_FEES: Final[Mapping[type[FeeRules], str]] = MappingProxyType(
    {
        StepQuarter: "loads",
        NoFloor: "loads",
        NoCap: "loads",
        WrongWay: "loads",
        AllOrNothing: "steps",
    }
)
"""The same for fees: every order of loads, or steps of load under demand that answers."""
