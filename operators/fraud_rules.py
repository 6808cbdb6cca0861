"""The rules of fraud on the beacon: a pure function from state and event to state and effects.

No clock, no input, no output: heights, slots, views and epochs come with the events, and whether evidence holds is
judged before. A refused event changes nothing. See operators/rules.md "Fraud".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from operators.exact_split import share
from operators.fraud_blocks import FraudBlocks, RefusedFraud
from operators.fraud_state import (
    NOBODY,
    BlockFinal,
    BlockRecord,
    BlocksProven,
    BondLocked,
    BondReleased,
    Claim,
    ClaimEnded,
    Deposited,
    EpochBegan,
    EquivocationShown,
    Fate,
    FaultClaimed,
    FaultKind,
    FraudEffect,
    FraudEvent,
    FraudState,
    FraudStep,
    Judged,
    Loss,
    PoolFunded,
    ProofAccepted,
    ProofContradicted,
    ProvingOpened,
    Refunded,
    Slashed,
    UnbondRequested,
    Withdrawn,
)
from operators.refund_rules import Waterfall, waterfall
from operators.rule_state import BURNED, POOL, Pot, PotKind
from schemas.refusal import FraudRefusal
from schemas.units import AMOUNT_LIMIT

Changed = tuple[FraudState, tuple[FraudEffect, ...]]


@dataclass(frozen=True, slots=True)
class FraudRules(FraudBlocks):
    """The machine. Each public method beside `step` is one rule.

    Attributes:
        terms: The numbers.
    """

    def step(self, state: FraudState, event: FraudEvent) -> FraudStep:
        """Returns what an event leads to.

        Raises:
            InvariantError: The rules contradict themselves; a defect.
        """
        handlers: dict[type, Callable[[FraudState, Any], Changed]] = {
            Deposited: self._on_deposit,
            Withdrawn: self._on_withdrawal,
            PoolFunded: self._on_funding,
            BondLocked: self._on_bond,
            UnbondRequested: self._on_unbond,
            BlockFinal: self._on_block,
            FaultClaimed: self._on_claim,
            Judged: self._on_verdict,
            EquivocationShown: self._on_equivocation,
            ProofAccepted: self._on_proof,
            EpochBegan: self._on_epoch,
        }
        try:
            after, effects = handlers[type(event)](state, event)
        except RefusedFraud as refused:
            return FraudStep(state, refusal=refused.reason)
        return FraudStep(after, effects)

    def check_claim(self, state: FraudState, claim: Claim) -> None:
        """Refuses a claim that is not worth judging; none of it costs more than a look at the state.

        Raises:
            RefusedFraud: With the reason.
        """
        if claim.evidence_bytes > self.terms.max_evidence_bytes:
            raise RefusedFraud(FraudRefusal.OVERSIZED_CLAIM)
        record = state.blocks.get(claim.block)
        if record is None:
            raise RefusedFraud(FraudRefusal.UNKNOWN_BLOCK)
        if claim.epoch != record.facts.epoch:
            raise RefusedFraud(FraudRefusal.WRONG_EPOCH)
        if self.is_replayed(state, claim):
            raise RefusedFraud(FraudRefusal.REPLAYED_CLAIM)
        beside = [c for c in state.pending.values() if c.block == claim.block]
        if any(other.reporter == claim.reporter for other in beside):
            raise RefusedFraud(FraudRefusal.ALREADY_CLAIMED)
        if record.is_convicted:
            raise RefusedFraud(FraudRefusal.ALREADY_CONVICTED)
        if record.fate is Fate.PRUNED:
            raise RefusedFraud(FraudRefusal.BLOCK_PRUNED)
        if self.is_preempted(record, claim.kind):
            raise RefusedFraud(FraudRefusal.PREEMPTED_BY_PROOF)
        is_timed = claim.kind is FaultKind.TRANSACTION or record.fate is Fate.REVERTED
        if is_timed and self.is_window_closed(record, state.epoch):
            raise RefusedFraud(FraudRefusal.WINDOW_CLOSED)
        if state.books.held(_free(claim.reporter)) < self.claim_price():
            raise RefusedFraud(FraudRefusal.CLAIM_WITHOUT_BOND)

    def claim_price(self) -> int:
        """Returns the units that a claim locks."""
        return self.terms.claim_bond

    def is_replayed(self, state: FraudState, claim: Claim) -> bool:
        """Says whether this very claim was made before."""
        return claim.id in state.pending or claim.id in state.judged

    def is_preempted(self, record: BlockRecord, kind: FaultKind) -> bool:
        """Says whether an accepted proof answers a claim: of transitions alone, for that is what it shows."""
        return record.is_shown and kind is FaultKind.TRANSITION

    def bond_lost(self) -> int:
        """Returns the units that a bogus claim costs."""
        return self.terms.claim_bond

    def slash_of(self, bond: int) -> int:
        """Returns the units that an offence takes of a bond."""
        return share(bond, self.terms.slash_permille)

    def is_punished(self, state: FraudState, offence: bytes) -> bool:
        """Says whether an equivocation was punished before."""
        return offence in state.punished

    def may_pay_again(self, record: BlockRecord) -> bool:
        """Says whether a second claim of a convicted block is paid: never."""
        return not record.is_convicted

    def divide(self, slashed: int, pool: int, losses: tuple[int, ...]) -> Waterfall:
        """Divides what is slashed."""
        return waterfall(slashed, pool, losses, self.terms)

    def may_release(self, state: FraudState, party: bytes, since: int) -> bool:
        """Says whether a bond may go back: the time has passed, and no block of its owner can still be faulted."""
        if state.epoch < since + self.terms.unbond_epochs:
            return False
        own = (record for record in state.blocks.values() if record.facts.proposer == party)
        return not any(self.is_claimable(state, record) for record in own)

    def _on_deposit(self, state: FraudState, event: Deposited) -> Changed:
        _check_units(event.units)
        return replace(state, books=state.books.deposit(_free(event.party), event.units)), ()

    def _on_withdrawal(self, state: FraudState, event: Withdrawn) -> Changed:
        _check_balance(state, event.party, event.units)
        return replace(state, books=state.books.withdraw(_free(event.party), event.units)), ()

    def _on_funding(self, state: FraudState, event: PoolFunded) -> Changed:
        _check_units(event.units)
        return replace(state, books=state.books.deposit(POOL, event.units)), ()

    def _on_bond(self, state: FraudState, event: BondLocked) -> Changed:
        _check_balance(state, event.party, event.units)
        if event.party in state.unbonding:
            raise RefusedFraud(FraudRefusal.ALREADY_UNBONDING)
        books = state.books.move(_free(event.party), _bond(event.party), event.units)
        return replace(state, books=books), ()

    def _on_unbond(self, state: FraudState, event: UnbondRequested) -> Changed:
        if event.party in state.unbonding:
            raise RefusedFraud(FraudRefusal.ALREADY_UNBONDING)
        if not state.books.held(_bond(event.party)):
            raise RefusedFraud(FraudRefusal.NOTHING_BONDED)
        waiting = state.unbonding.with_entry(event.party, state.epoch)
        return self.release_bonds(replace(state, unbonding=waiting))

    def _on_block(self, state: FraudState, event: BlockFinal) -> Changed:
        return self.record_block(state, event.facts), ()

    def _on_claim(self, state: FraudState, event: FaultClaimed) -> Changed:
        claim = event.claim
        self.check_claim(state, claim)
        locked = state.books.move(
            _free(claim.reporter), Pot(PotKind.CLAIM, claim.id), self.claim_price()
        )
        return replace(state, books=locked, pending=state.pending.with_entry(claim.id, claim)), ()

    def _on_verdict(self, state: FraudState, event: Judged) -> Changed:
        claim = state.pending.get(event.claim)
        if claim is None:
            known = event.claim in state.judged
            raise RefusedFraud(FraudRefusal.ALREADY_JUDGED if known else FraudRefusal.UNKNOWN_CLAIM)
        record = state.blocks[claim.block]
        preempted = self.is_preempted(record, claim.kind)
        convicts = event.is_fraud and not preempted and self.may_pay_again(record)
        reverts = convicts and record.fate is Fate.LIVE
        self._check_losses(state, record, event.losses, reverts=reverts)
        ended, effects = self._end_claim(state, claim, 0 if event.is_fraud else self.bond_lost())
        if event.is_fraud and preempted:
            effects += (ProofContradicted(claim.block, claim.id),)
        if convicts:
            ended = _with_record(ended, replace(record, is_convicted=True))
            offence = claim.block
            ended, slashed = self._slash(
                ended, record.facts.proposer, offence, claim.reporter, event.losses
            )
            effects += slashed
        if reverts:
            ended, removed = self.remove(ended, (claim.block,), Fate.REVERTED)
            effects += removed
        ended, proven = self._settle(ended)
        return ended, effects + proven

    def _check_losses(
        self, state: FraudState, record: BlockRecord, losses: tuple[Loss, ...], *, reverts: bool
    ) -> None:
        units = [loss.units for loss in losses]
        if len(losses) > self.terms.max_losses or min(units, default=1) <= 0:
            raise RefusedFraud(FraudRefusal.LOSSES_MALFORMED)
        if len({loss.account for loss in losses}) != len(losses) or (losses and not reverts):
            raise RefusedFraud(FraudRefusal.LOSSES_MALFORMED)
        if losses and sum(units) > self.value_with(state, record.facts.id):
            raise RefusedFraud(FraudRefusal.LOSSES_BEYOND_VALUE)

    def _end_claim(self, state: FraudState, claim: Claim, lost: int) -> Changed:
        pot = Pot(PotKind.CLAIM, claim.id)
        books = state.books.move(pot, POOL, lost).empty(pot, _free(claim.reporter))
        judged = state.judged.with_entry(claim.id, claim.block)
        after = replace(state, books=books, pending=state.pending.without(claim.id), judged=judged)
        return after, (ClaimEnded(claim.id, claim.reporter, lost),)

    def _slash(
        self,
        state: FraudState,
        offender: bytes,
        offence: bytes,
        reporter: bytes,
        losses: tuple[Loss, ...] = (),
    ) -> Changed:
        bond = _bond(offender)
        units = self.slash_of(state.books.held(bond))
        parts = self.divide(units, state.books.held(POOL), tuple(loss.units for loss in losses))
        reward = 0 if reporter == NOBODY else parts.reward
        books = state.books.move(bond, _free(reporter), reward)
        books = books.move(bond, BURNED, parts.burned)
        books = books.move(bond, POOL, units - reward - parts.burned)
        effects: tuple[FraudEffect, ...] = (
            Slashed(offender, offence, units, reporter, reward, parts.burned),
        )
        for loss, refund in zip(losses, parts.refunds, strict=True):
            books = books.move(POOL, _free(loss.account), refund)
            effects += (Refunded(loss.account, loss.units, refund),)
        return replace(state, books=books), effects

    def _on_equivocation(self, state: FraudState, event: EquivocationShown) -> Changed:
        if self.is_punished(state, event.offence):
            raise RefusedFraud(FraudRefusal.ALREADY_PUNISHED)
        if not state.books.held(_bond(event.offender)):
            raise RefusedFraud(FraudRefusal.NOTHING_BONDED)
        punished = state.punished.with_entry(event.offence, event.offender)
        marked = replace(state, punished=punished)
        return self._slash(marked, event.offender, event.offence, event.reporter)

    def _on_proof(self, state: FraudState, event: ProofAccepted) -> Changed:
        return self._settle(self.show(state, event.block))

    def _on_epoch(self, state: FraudState, event: EpochBegan) -> Changed:
        if event.epoch != state.epoch + 1:
            raise RefusedFraud(FraudRefusal.EPOCH_OUT_OF_ORDER)
        after = replace(state, epoch=event.epoch)
        effects: tuple[FraudEffect, ...] = ()
        late = self.late_blocks(after)
        opened = tuple(
            r.facts.id for r in late if r.since + self.terms.deadline_epochs + 1 == event.epoch
        )
        if opened:
            effects += (ProvingOpened(opened),)
        lost = tuple(r.facts.id for r in late if self.is_prunable(r, event.epoch))
        if lost:
            after, removed = self.remove(after, lost, Fate.PRUNED)
            effects += removed
        after, proven = self._settle(after)
        after, released = self.release_bonds(after)
        return self.forget(after), effects + proven + released

    def _settle(self, state: FraudState) -> Changed:
        after, proven = self.settle_proven(state)
        return after, (BlocksProven(proven),) if proven else ()

    def release_bonds(self, state: FraudState) -> Changed:
        """Gives back the bonds that may go back."""
        effects: tuple[FraudEffect, ...] = ()
        for party in state.unbonding:
            if not self.may_release(state, party, state.unbonding[party]):
                continue
            units = state.books.held(_bond(party))
            books = state.books.empty(_bond(party), _free(party))
            state = replace(state, books=books, unbonding=state.unbonding.without(party))
            effects += (BondReleased(party, units),)
        return state, effects


def is_bonded(state: FraudState, party: bytes, validator_bond: int) -> bool:
    """Says whether a party may be in the next set of validators."""
    return party not in state.unbonding and state.books.held(_bond(party)) >= validator_bond


def bonds_of(state: FraudState, parties: Iterable[bytes]) -> dict[bytes, int]:
    """Returns the slashable units of parties."""
    return {party: state.books.held(_bond(party)) for party in parties}


def _with_record(state: FraudState, record: BlockRecord) -> FraudState:
    return replace(state, blocks=state.blocks.with_entry(record.facts.id, record))


def _free(party: bytes) -> Pot:
    return Pot(PotKind.FREE, party)


def _bond(party: bytes) -> Pot:
    return Pot(PotKind.BOND, party)


def _check_units(units: int) -> None:
    if not 0 < units < AMOUNT_LIMIT:
        raise RefusedFraud(FraudRefusal.AMOUNT_OUT_OF_RANGE)


def _check_balance(state: FraudState, party: bytes, units: int) -> None:
    _check_units(units)
    if state.books.held(_free(party)) < units:
        raise RefusedFraud(FraudRefusal.BALANCE_TOO_SMALL)
