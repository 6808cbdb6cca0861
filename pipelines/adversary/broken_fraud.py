"""The rules of fraud with one of them broken: each must be found by the exploration, or it would be blind to that rule."""

# ruff: noqa: D102 - what is broken stands in the docstring of the class
from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from operators.exact_split import share
from operators.fraud_rules import FraudRules
from operators.fraud_state import (
    BlockFacts,
    BlockRecord,
    Claim,
    Fate,
    FaultKind,
    FraudEffect,
    FraudState,
    ShardMarks,
)
from operators.refund_rules import Waterfall, waterfall

Removed = tuple[FraudState, tuple[FraudEffect, ...]]


class OffenceForgotten(FraudRules):
    """An equivocation is slashed whenever it is shown."""

    def is_punished(self, state: FraudState, offence: bytes) -> bool:
        return False


class EveryClaimPaid(FraudRules):
    """A second claim of one fault slashes again."""

    def may_pay_again(self, record: BlockRecord) -> bool:
        return True


class ProofAnswersAll(FraudRules):
    """An accepted proof answers faults that it does not cover."""

    def is_preempted(self, record: BlockRecord, kind: FaultKind) -> bool:
        return record.is_shown


class ProofAnswersNothing(FraudRules):
    """Claims about transitions are taken although a proof is accepted."""

    def is_preempted(self, record: BlockRecord, kind: FaultKind) -> bool:
        return False


class ChildrenStay(FraudRules):
    """A revert leaves the blocks above."""

    def falls_with(self, facts: BlockFacts, removed: set[bytes]) -> bool:
        return False


class DeliveriesStay(FraudRules):
    """A revert leaves the blocks of other shards that took deliveries."""

    def falls_with(self, facts: BlockFacts, removed: set[bytes]) -> bool:
        return facts.parent in removed


class HeightsAgain(FraudRules):
    """After a revert heights go on above the parent."""

    def next_height(self, marks: ShardMarks) -> int:
        return int(marks.tip != b"" and marks.height) + 1


class ClaimsFree(FraudRules):
    """A claim locks nothing."""

    def claim_price(self) -> int:
        return 0


class BogusFree(FraudRules):
    """A bogus claim costs nothing."""

    def bond_lost(self) -> int:
        return 0


class ReplaysTaken(FraudRules):
    """A judged claim is taken again."""

    def is_replayed(self, state: FraudState, claim: Claim) -> bool:
        return False


class ClaimsUnchecked(FraudRules):
    """Any claim is taken."""

    def check_claim(self, state: FraudState, claim: Claim) -> None:
        return


class PoolOpen(FraudRules):
    """The pool pays all that is left of the losses, and nothing is burned."""

    def divide(self, slashed: int, pool: int, losses: tuple[int, ...]) -> Waterfall:
        open_terms = replace(self.terms, burned_permille=0, cover_permille=1000)
        return waterfall(slashed, pool, losses, open_terms)


class RefundsFull(FraudRules):
    """Refunds are the losses, whatever there is."""

    def divide(self, slashed: int, pool: int, losses: tuple[int, ...]) -> Waterfall:
        return replace(waterfall(slashed, pool, losses, self.terms), refunds=losses)


class RefundsFirstCome(FraudRules):
    """The first user is refunded in full before the next."""

    def divide(self, slashed: int, pool: int, losses: tuple[int, ...]) -> Waterfall:
        parts = waterfall(slashed, pool, losses, self.terms)
        left, refunds = parts.from_bond + parts.from_pool, []
        for loss in losses:
            refunds.append(min(loss, left))
            left -= refunds[-1]
        return replace(parts, refunds=tuple(refunds))


class ReporterGreedy(FraudRules):
    """The reporter gets a fifth."""

    def divide(self, slashed: int, pool: int, losses: tuple[int, ...]) -> Waterfall:
        return waterfall(slashed, pool, losses, replace(self.terms, reporter_permille=200))


class SlashHalf(FraudRules):
    """An offence takes half of what it should."""

    def slash_of(self, bond: int) -> int:
        return share(bond, self.terms.slash_permille) // 2


class PruneEarly(FraudRules):
    """Blocks are pruned at the deadline, before anyone else may prove them."""

    def is_prunable(self, record: BlockRecord, epoch: int) -> bool:
        return epoch > record.since + self.terms.deadline_epochs


class PruneNever(FraudRules):
    """Withheld proofs keep a chain unproven for ever."""

    def is_prunable(self, record: BlockRecord, epoch: int) -> bool:
        return False


class TipStays(FraudRules):
    """A revert leaves the tip where it was."""

    def remove(self, state: FraudState, roots: Iterable[bytes], fate: Fate) -> Removed:
        after, effects = FraudRules.remove(self, state, roots, fate)
        return replace(after, shards=state.shards), effects


class ProvenEarly(FraudRules):
    """A block is proven as soon as its proof is accepted."""

    def is_window_closed(self, record: BlockRecord, epoch: int) -> bool:
        return True


class ProvenByTime(FraudRules):
    """A block is proven by time alone."""

    def may_be_proven(self, state: FraudState, record: BlockRecord) -> bool:
        return self.is_window_closed(record, state.epoch) and self.is_unchallenged(state, record)


class ClaimsIgnored(FraudRules):
    """A block is proven while a claim waits."""

    def is_unchallenged(self, state: FraudState, record: BlockRecord) -> bool:
        return True


class GroundIgnored(FraudRules):
    """A block is proven on one that is not."""

    def stands_on_proven(self, state: FraudState, record: BlockRecord) -> bool:
        return True


class BondAtOnce(FraudRules):
    """A bond goes back on request."""

    def may_release(self, state: FraudState, party: bytes, since: int) -> bool:
        return True


class BondByTime(FraudRules):
    """A bond goes back after a time, whatever its owner did since."""

    def may_release(self, state: FraudState, party: bytes, since: int) -> bool:
        return state.epoch >= since + self.terms.unbond_epochs


class WindowFromBlock(FraudRules):
    """Windows count from a block's own epoch, also if nobody had seen it."""

    def since(self, state: FraudState, facts: BlockFacts) -> int:
        return facts.epoch


BROKEN_FRAUD: Final[Mapping[type[FraudRules], str]] = MappingProxyType(
    {
        OffenceForgotten: "nested",
        EveryClaimPaid: "race",
        ProofAnswersAll: "race",
        ProofAnswersNothing: "race",
        ChildrenStay: "nested",
        DeliveriesStay: "shards",
        HeightsAgain: "nested",
        ClaimsFree: "race",
        BogusFree: "race",
        ReplaysTaken: "race",
        ClaimsUnchecked: "race",
        PoolOpen: "nested",
        RefundsFull: "nested",
        RefundsFirstCome: "nested",
        ReporterGreedy: "race",
        SlashHalf: "race",
        PruneEarly: "prune",
        PruneNever: "prune",
        TipStays: "nested",
        ProvenEarly: "race",
        ProvenByTime: "race",
        ClaimsIgnored: "race",
        GroundIgnored: "edge",
        BondAtOnce: "bonds",
        BondByTime: "bonds",
        WindowFromBlock: "late",
    }
)
"""Each broken rule, and the scene that shows it."""
