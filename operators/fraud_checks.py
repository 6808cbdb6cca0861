"""What must hold in every reachable state of the fraud rules, computed from effects and facts and not by the rules."""

from __future__ import annotations

from typing import TYPE_CHECKING

from operators.fraud_state import (
    NOBODY,
    BlockFinal,
    BlocksProven,
    BlocksRemoved,
    BondReleased,
    ClaimEnded,
    Fate,
    FaultClaimed,
    FaultKind,
    FraudEffect,
    FraudEvent,
    FraudState,
    Judged,
    ProofContradicted,
    Refunded,
    Slashed,
)
from operators.rule_state import BURNED, POOL, Pot, PotKind
from schemas.economics import PERMILLE, FraudTerms

if TYPE_CHECKING:
    from operators.fraud_model import FraudWorld


def broken_in(terms: FraudTerms, world: FraudWorld, start_pool: int) -> tuple[str, ...]:
    """Returns what is broken in a state."""
    state = world.state
    found = []
    if not state.books.is_balanced():
        found.append("money: the pots do not hold what came in")
    claims = [state.books.held(Pot(PotKind.CLAIM, claim)) for claim in state.pending]
    if any(held != terms.claim_bond for held in claims):
        found.append("F2: a claim waits without its bond")
    if state.books.held(POOL) + state.books.held(BURNED) < start_pool:
        found.append("F5: a staged fraud has taken more from the pool than it burned")
    if max(world.slashes.values(), default=0) > 1:
        found.append("F1: one offence is slashed twice")
    for record in state.blocks.values():
        facts = record.facts
        below = [state.blocks.get(b) for b in (facts.parent, *facts.sources)]
        dead = any(other is not None and other.fate is not Fate.LIVE for other in below)
        if record.fate is Fate.LIVE and dead:
            found.append("F4: a live block stands on one that was taken out")
        since = world.recorded[facts.id]
        late = state.epoch > since + terms.deadline_epochs + terms.rescue_epochs
        if record.fate is Fate.LIVE and not record.is_shown and late:
            found.append("deadline: a block nobody proves is still there")
    found += [
        "F1: who follows the effects has another history than a replay"
        for shard in world.chains
        if world.chains[shard] != _live_chain(state, shard, world.chains[shard])
    ]
    return tuple(found)


def broken_by(
    terms: FraudTerms,
    before: FraudWorld,
    event: FraudEvent,
    effects: tuple[FraudEffect, ...],
    after: FraudWorld,
) -> tuple[str, ...]:
    """Returns what an accepted event broke."""
    found: list[str] = []
    if isinstance(event, BlockFinal):
        top = before.tops.get(event.facts.shard)
        facts = event.facts
        if top is not None and (
            facts.height <= top[0] or facts.slot < top[1] or facts.view <= top[2]
        ):
            found.append("F1: a height or view is used again, or slots run back")
    if isinstance(event, FaultClaimed):
        found += _broken_by_claim(terms, before, event)
    if isinstance(event, Judged):
        found += _broken_by_verdict(before, event, effects, after)
    for effect in effects:
        if isinstance(effect, BlocksRemoved):
            found += _broken_by_removal(terms, before, event, effect)
        elif isinstance(effect, BlocksProven):
            found += _broken_by_proven(terms, after, effect)
        elif isinstance(effect, BondReleased):
            found += _broken_by_release(terms, before, after, effect)
    found += _broken_by_slash(terms, before, event, effects)
    return tuple(found)


def _live_chain(state: FraudState, shard: int, known: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """What a replay of the recorded blocks of a shard without those taken out holds."""
    kept = [r for r in state.blocks.values() if r.facts.shard == shard and r.fate is Fate.LIVE]
    replayed = tuple(r.facts.id for r in sorted(kept, key=lambda r: r.facts.height))
    forgotten = tuple(block for block in known if block not in state.blocks)
    return forgotten + replayed


def _broken_by_claim(terms: FraudTerms, before: FraudWorld, event: FaultClaimed) -> list[str]:
    claim = event.claim
    found = []
    if claim.id in before.state.judged or claim.id in before.state.pending:
        found.append("F2: a claim is taken twice")
    record = before.state.blocks.get(claim.block)
    if record is None or record.fate is Fate.PRUNED or record.is_convicted:
        found.append("F2: a claim is taken against a block that is pruned, convicted or unknown")
    elif record.is_shown and claim.kind is FaultKind.TRANSITION:
        found.append("F3: a claim is taken that an accepted proof answers")
    if claim.evidence_bytes > terms.max_evidence_bytes:
        found.append("F2: oversized evidence is taken")
    return found


def _broken_by_verdict(
    before: FraudWorld, event: Judged, effects: tuple[FraudEffect, ...], after: FraudWorld
) -> list[str]:
    claim = before.state.pending.get(event.claim)
    if claim is None:
        return ["F2: a verdict on nothing is taken"]
    found = []
    record = before.state.blocks[claim.block]
    answered = record.is_shown and claim.kind is FaultKind.TRANSITION
    lost = [effect.bond_lost for effect in effects if isinstance(effect, ClaimEnded)]
    removed = [effect for effect in effects if isinstance(effect, BlocksRemoved)]
    slashed = [effect for effect in effects if isinstance(effect, Slashed)]
    if event.is_fraud:
        if lost != [0]:
            found.append("F2: a true claim costs its bond")
        if record.fate is Fate.LIVE and not answered and not record.is_convicted:
            found += [] if removed else ["F3: a proof answered a fault that it does not cover"]
            found += [] if slashed else ["F1: a fault is not slashed"]
        if answered and not any(isinstance(effect, ProofContradicted) for effect in effects):
            found.append("F3: a proof and a verdict contradict each other and nobody is told")
        return found
    if not lost or not lost[0]:
        found.append("F2: a bogus claim costs nothing")
    fates = {b: r.fate for b in before.state.blocks if (r := before.state.blocks[b])}
    now = {b: r.fate for b in after.state.blocks if (r := after.state.blocks[b])}
    if fates != now or slashed:
        found.append("F6: a bogus claim changed more than its sender's bond")
    return found


def _broken_by_removal(
    terms: FraudTerms, before: FraudWorld, event: FraudEvent, effect: BlocksRemoved
) -> list[str]:
    found = []
    blocks = before.state.blocks
    if any(blocks[block].is_proven for block in effect.blocks):
        found.append("F3: a proven block is taken out")
    if isinstance(event, Judged):
        claim = before.state.pending[event.claim]
        record = blocks[claim.block]
        if record.is_shown and claim.kind is FaultKind.TRANSITION:
            found.append("F3: an accepted proof did not answer a claim about a transition")
        if before.truths[claim.block].value == "good":
            found.append("F6: a good block is reverted")
    else:
        limit = terms.deadline_epochs + terms.rescue_epochs
        epoch = before.state.epoch + 1
        if not any(
            epoch > before.recorded[b] + limit and not blocks[b].is_shown for b in effect.blocks
        ):
            found.append("deadline: blocks are pruned before their time")
    return found


def _broken_by_proven(terms: FraudTerms, after: FraudWorld, effect: BlocksProven) -> list[str]:
    state = after.state
    found = []
    for block in effect.blocks:
        if state.epoch <= after.recorded[block] + terms.fault_epochs:
            found.append("F3: a block is proven while faults of it can still be claimed")
        waiting = [claim for claim in state.pending.values() if claim.block == block]
        if any(claim.kind is FaultKind.TRANSACTION for claim in waiting):
            found.append("F3: a block is proven while a claim against it waits")
        record = state.blocks.get(block)
        if record is None:
            continue
        if not record.is_shown:
            found.append("F3: a block is proven without a proof")
        below = [state.blocks.get(b) for b in (record.facts.parent, *record.facts.sources)]
        if any(other is not None and not other.is_proven for other in below):
            found.append("F4: a block is proven that stands on one that can still be reverted")
    return found


def _broken_by_release(
    terms: FraudTerms, before: FraudWorld, after: FraudWorld, effect: BondReleased
) -> list[str]:
    own = [r for r in after.state.blocks.values() if r.facts.proposer == effect.party]
    live = any(r.fate is Fate.LIVE and not r.is_proven for r in own)
    claims = {claim.block for claim in after.state.pending.values()}
    challenged = any(r.facts.id in claims for r in own)
    since = before.state.unbonding.get(effect.party)
    early = since is None or after.state.epoch < since + terms.unbond_epochs
    if live or challenged or early:
        return ["bond: a bond is released while a fault of its owner can still be shown"]
    return []


def _broken_by_slash(
    terms: FraudTerms, before: FraudWorld, event: FraudEvent, effects: tuple[FraudEffect, ...]
) -> list[str]:
    found = []
    slashed = [effect for effect in effects if isinstance(effect, Slashed)]
    refunds = [effect for effect in effects if isinstance(effect, Refunded)]
    units = sum(effect.units for effect in slashed)
    for effect in slashed:
        bond = before.state.books.held(Pot(PotKind.BOND, effect.offender))
        if effect.units != bond * terms.slash_permille // PERMILLE:
            found.append("F1: an offence takes another part of the bond than it should")
        share = 0 if effect.reporter == NOBODY else terms.reporter_permille
        if effect.reward != effect.units * share // PERMILLE:
            found.append("F1: the reporter is not paid 10 %")
    pool = before.state.books.held(POOL)
    lost = sum(e.bond_lost for e in effects if isinstance(e, ClaimEnded))
    if sum(refund.units for refund in refunds) > units + pool + lost:
        found.append("F5: refunds exceed what was slashed and the pool")
    if any(refund.units > refund.loss for refund in refunds):
        found.append("F5: a user is refunded more than was lost")
    if isinstance(event, Judged) and event.is_fraud and refunds:
        losses = tuple(loss.units for loss in event.losses)
        if losses != tuple(refund.loss for refund in refunds):
            found.append("F5: losses are left out")
        paid, due = sum(refund.units for refund in refunds), sum(losses)
        found += [
            "F5: refunds are not pro rata"
            for refund in refunds
            if abs(refund.units * due - refund.loss * paid) >= due
        ]
    return found
