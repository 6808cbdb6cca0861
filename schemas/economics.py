"""The numbers of the economy: bonds, windows, shares, rewards, fees; each with its source.

Sources: "design" is a figure that the system was asked for; "own" is ours, with the reason. Every validator must hold
the same terms, so they belong to a chain, not to a node. Money is in units of 1e-9 ECLIPT, below 2^60.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from schemas.errors import ParameterError
from schemas.job import ProofLevel
from schemas.units import AMOUNT_LIMIT, FEE_LIMIT

ECLIPT = 10**9
"""Units in one ECLIPT."""

PERMILLE = 1000
"""Shares are in thousandths."""

SLOTS_IN_TEN_MINUTES = 1280
"""600 s of slots of 15/32 s."""


class Tier(StrEnum):
    """Kinds of transaction that have a base fee of their own."""

    PUBLIC = "public"
    PRIVATE = "private"
    MAX_PRIVACY = "max_privacy"


QUALITY_BYTES: Final[Mapping[ProofLevel, int]] = MappingProxyType(
    {
        ProofLevel.SEGMENT: 300_000,
        ProofLevel.WINDOW: 200_000,
        ProofLevel.SHARD_EPOCH: 500_000,
        ProofLevel.SHARD_HOUR: 500_000,
        ProofLevel.EPOCH: 800_000,
        ProofLevel.DAY_RUN: 800_000,
        ProofLevel.DAY: 100_000,
    }
)
"""Bytes up to which a proof earns the bonus for quality. Design for window, shard epoch, epoch and day; own for a
segment (shape S has 267,780) and for the hour and the day before it is wrapped, which have the format below them."""


@dataclass(frozen=True, slots=True)
class FraudTerms:
    """What faults cost and how long they may be shown.

    Attributes:
        validator_bond: Units that a validator must have bonded. Design: 100,000 ECLIPT.
        claim_bond: Units locked by a claim of fault, lost if it is bogus. Own: as a claim on a proof job.
        slash_permille: Part of the offender's bond that one offence takes. Own: all of it.
        reporter_permille: The reporter's part of what is slashed. Design: 10 %.
        burned_permille: Burned of what is slashed, before refunds. Own: an offender who refunds himself loses it.
        cover_permille: The most that the insurance pool adds, of what is slashed. Own: as much as is burned, so that no
            staged fraud takes more from the pool than it burns.
        fault_epochs: Whole epochs after a block was recorded in which a TransactionFault may be claimed. Design: at least one.
        deadline_epochs: Epochs after which anyone may prove a block. Design: 2.
        rescue_epochs: Epochs that anyone has then, before the chain is pruned. Own.
        unbond_epochs: Least epochs from request to release of a bond. Own: what a block takes at most, and one more.
        max_evidence_bytes: Largest evidence. Design: 64 KB.
        max_losses: Most refunds of one verdict. Own: bounds its record.
    """

    validator_bond: int = 100_000 * ECLIPT
    claim_bond: int = 1_000 * ECLIPT
    slash_permille: int = 1000
    reporter_permille: int = 100
    burned_permille: int = 100
    cover_permille: int = 100
    fault_epochs: int = 1
    deadline_epochs: int = 2
    rescue_epochs: int = 1
    unbond_epochs: int = 4
    max_evidence_bytes: int = 64 * 1024
    max_losses: int = 4096

    def __post_init__(self) -> None:
        """Checks the ranges.

        Raises:
            ParameterError: A term is not positive, a share is above one, or shares take more than there is.
        """
        _check_ranges(self, may_be_zero=("burned_permille", "cover_permille"))
        if self.reporter_permille + self.burned_permille > PERMILLE:
            raise ParameterError("reporter and burn take more than is slashed")


@dataclass(frozen=True, slots=True)
class MarketTerms:
    """What proving earns, what failing costs, and how long a prover may take.

    Attributes:
        base_reward: Units per epoch, split over its jobs by measured cells. Design: 100 ECLIPT.
        fast_reward: More, if the epoch's proof lands in time. Design: 50 ECLIPT.
        quality_reward: More, for jobs of objective quality. Design: 25 ECLIPT.
        fast_slots: Time for `fast_reward` after the epoch's end. Design: 10 minutes.
        claim_escrow: Units that a lease locks. Design: at least 1,000 ECLIPT.
        invalid_penalty: What an invalid proof costs, out of the escrow. Design: 1,000 ECLIPT.
        exclusive_permille: Exclusive window over the estimate. Design: 1.5.
        cap_permille: Most of an epoch's jobs for one assignee. Design: 5 %.
        missed_permille: What a missed window costs, of `claim_escrow`; half burned, half to the rescuer. Own: 1 ECLIPT, some
            five times what one of 960 jobs earns. A part of the whole stake would ruin who misses many jobs at once.
        lease_slots: A lease ends so long after its last heartbeat. As `proving.lease_seconds`: 300 s.
        skew_slots: How far a sender's slot may be from the log's. Own: one window.
        max_attempts: Failed proofs after which a job waits for a person. As `proving.max_attempts`.
        max_open_jobs: Most jobs that are planned and not settled. Own: some four epochs.
        max_proof_bytes: Larger proofs are not looked at. Own: above all of `QUALITY_BYTES`.
        first_wins: No assignment and no exclusive window: everyone may prove everything, the first proof is paid.
    """

    base_reward: int = 100 * ECLIPT
    fast_reward: int = 50 * ECLIPT
    quality_reward: int = 25 * ECLIPT
    fast_slots: int = SLOTS_IN_TEN_MINUTES
    claim_escrow: int = 1_000 * ECLIPT
    invalid_penalty: int = 1_000 * ECLIPT
    exclusive_permille: int = 1500
    cap_permille: int = 50
    missed_permille: int = 1
    lease_slots: int = 640
    skew_slots: int = 64
    max_attempts: int = 5
    max_open_jobs: int = 4096
    max_proof_bytes: int = 2**20
    first_wins: bool = False

    def __post_init__(self) -> None:
        """Checks the ranges.

        Raises:
            ParameterError: A term is not positive, a share is above one, or the escrow does not cover the penalty.
        """
        _check_ranges(
            self, may_be_zero=("missed_permille", "skew_slots"), free="exclusive_permille"
        )
        if self.claim_escrow < self.invalid_penalty:
            raise ParameterError("the escrow of a claim covers the penalty of an invalid proof")
        if self.exclusive_permille < PERMILLE:
            raise ParameterError("an exclusive window is no shorter than the estimate")

    @property
    def epoch_reward(self) -> int:
        """The most that one epoch pays, units."""
        return self.base_reward + self.fast_reward + self.quality_reward


@dataclass(frozen=True, slots=True)
class FeeTerms:
    """How base fees follow demand, and where fees go; fees are in units of 1e-6 ECLIPT.

    Attributes:
        floors: Least base fee of each tier, in the order of `Tier`. Design: 0.001, 0.01 and 1 ECLIPT.
        cap_factor: Cap over floor. Own: 1,000, so that the highest is still below 2^30.
        target_permille: Used part of capacity at which fees stand still. Design: 50 %.
        step_divisor: A fee changes by at most this fraction in an epoch. Design: 1/8.
        proposer_permille: Proposer's part of the fees. Own.
        provers_permille: Part of the pool that rewards come from. Own: proving is the scarce work.
        burned_permille: Burned part. Own: paying fees to oneself costs it.
    """

    floors: tuple[int, int, int] = (1_000, 10_000, 1_000_000)
    cap_factor: int = 1_000
    target_permille: int = 500
    step_divisor: int = 8
    proposer_permille: int = 300
    provers_permille: int = 500
    burned_permille: int = 200

    def __post_init__(self) -> None:
        """Checks the ranges.

        Raises:
            ParameterError: A floor is below the step's divisor or a cap is not a fee, or the shares do not make a whole.
        """
        if min(self.floors) < self.step_divisor or self.step_divisor < 2 or self.cap_factor < 1:
            raise ParameterError("a fee changes by at least one unit a step, up to its cap")
        if max(self.floors) * self.cap_factor >= FEE_LIMIT:
            raise ParameterError("a capped fee is below 2^30 units of 1e-6 ECLIPT")
        if not 0 < self.target_permille < PERMILLE:
            raise ParameterError("the target is a part of capacity")
        if min(self.shares) < 0 or sum(self.shares) != PERMILLE:
            raise ParameterError("the shares of proposer, provers and burn make a whole")

    @property
    def shares(self) -> tuple[int, int, int]:
        """Parts of proposer, provers and burn, permille."""
        return self.proposer_permille, self.provers_permille, self.burned_permille


def _check_ranges(
    terms: FraudTerms | MarketTerms, *, may_be_zero: tuple[str, ...], free: str = ""
) -> None:
    """Checks that counts are positive, amounts are amounts and shares are at most one."""
    for entry in fields(terms):
        value = getattr(terms, entry.name)
        if isinstance(value, bool):
            continue
        if not (0 if entry.name in may_be_zero else 1) <= value < AMOUNT_LIMIT:
            raise ParameterError(f"{entry.name} is out of range: {value}")
        if entry.name.endswith("_permille") and entry.name != free and value > PERMILLE:
            raise ParameterError(f"{entry.name} is more than the whole: {value}")


FIRST_TERMS = 1
"""Number of the terms that new chains begin with."""

FRAUD_TERMS: Final[Mapping[int, FraudTerms]] = MappingProxyType({FIRST_TERMS: FraudTerms()})
"""Terms by the number with which a genesis document names them; what a number stands for is never changed."""
