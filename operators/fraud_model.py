"""The rules of fraud in small scenes, with what they must keep true: the properties F1 to F6 and what follows for money.

A scene knows which blocks are bad; verdicts are true, and proofs of false transitions do not exist. A ledger's state is a
function of the sequence of its blocks, so that sequences are compared stands for every state, nullifier and fee.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

from operators.exact_split import share
from operators.fraud_checks import broken_by, broken_in
from operators.fraud_rules import FraudRules
from operators.fraud_state import (
    NOBODY,
    BlockFacts,
    BlockFinal,
    BlocksRemoved,
    BondLocked,
    Claim,
    Deposited,
    EpochBegan,
    EquivocationShown,
    Fate,
    FaultClaimed,
    FaultKind,
    FraudEvent,
    FraudState,
    Judged,
    Loss,
    PoolFunded,
    ProofAccepted,
    ShardMarks,
    Slashed,
    UnbondRequested,
)
from operators.rule_state import Table
from operators.rules_exploration import Trial
from schemas.economics import FraudTerms
from schemas.errors import InvariantError

SCENE_TERMS: Final = FraudTerms(validator_bond=25, claim_bond=5, max_losses=2, max_evidence_bytes=9)
"""Small money: 2 to the reporter, 2 burned, 21 for losses, 2 more from the pool."""

START_POOL = 30
BLOCK_VALUE = 17
"""Units moved by a block: one block's losses are covered, those of two are not."""


class Truth(StrEnum):
    """What is wrong with a block."""

    GOOD = "good"
    BAD_SIGNATURE = "bad_signature"
    BAD_ROOT = "bad_root"


FAULT_OF: Final = {
    Truth.BAD_SIGNATURE: FaultKind.TRANSACTION,
    Truth.BAD_ROOT: FaultKind.TRANSITION,
}


@dataclass(frozen=True, slots=True)
class FraudScene:
    """What may happen.

    Attributes:
        name: Of the scene.
        shards: Shards.
        blocks: Blocks that are ever made.
        epochs: Last epoch.
        proposers: Who proposes.
        reporters: Who claims.
        truths: What blocks may be like.
        kinds: What claims may say.
        has_proofs: Proofs are accepted.
        has_equivocation: A vote of the first proposer may be shown to contradict another; it can bond once more.
        has_unbonding: The first proposer may ask for its bond.
        has_late_blocks: Blocks may be recorded epochs after their own.
        has_bad_input: Malformed events are tried too.
        has_false_proofs: Proofs of anything are accepted, as if the proof system were broken.
        claims: Bonds of a claim that each reporter has at first.
    """

    name: str
    shards: int = 1
    blocks: int = 2
    epochs: int = 0
    proposers: tuple[bytes, ...] = (b"v",)
    reporters: tuple[bytes, ...] = (b"r",)
    truths: tuple[Truth, ...] = tuple(Truth)
    kinds: tuple[FaultKind, ...] = tuple(FaultKind)
    has_proofs: bool = True
    has_equivocation: bool = False
    has_unbonding: bool = False
    has_late_blocks: bool = False
    has_bad_input: bool = False
    has_false_proofs: bool = False
    claims: int = 1


FRAUD_SCENES: Final = (
    FraudScene("race", blocks=1, epochs=2, reporters=(b"q", b"r"), claims=2, has_bad_input=True),
    FraudScene("nested", blocks=2, epochs=0, proposers=(b"v", b"w"), has_equivocation=True),
    FraudScene("edge", blocks=2, epochs=2, has_bad_input=True),
    FraudScene("shards", shards=2, blocks=2, epochs=2, kinds=(FaultKind.TRANSACTION,),
               truths=(Truth.GOOD, Truth.BAD_SIGNATURE), has_bad_input=True),
    FraudScene("bonds", blocks=1, epochs=5, has_unbonding=True, has_equivocation=True,
               truths=(Truth.GOOD, Truth.BAD_SIGNATURE), kinds=(FaultKind.TRANSACTION,)),
    FraudScene("prune", blocks=2, epochs=5, truths=(Truth.GOOD, Truth.BAD_ROOT),
               kinds=(FaultKind.TRANSITION,)),
    FraudScene("late", blocks=1, epochs=3, has_late_blocks=True,
               truths=(Truth.GOOD, Truth.BAD_SIGNATURE), kinds=(FaultKind.TRANSACTION,)),
    FraudScene("false", blocks=2, epochs=2, truths=(Truth.BAD_ROOT,), has_false_proofs=True),
    FraudScene("poor", blocks=1, epochs=1, claims=0, has_bad_input=True),
)  # fmt: skip
"""Small scenes, each about one thing; together they reach every refusal."""

DEEP_FRAUD_SCENES: Final = (
    FraudScene("three", blocks=3, epochs=1),
    FraudScene("crossed", shards=2, blocks=3, epochs=2, kinds=(FaultKind.TRANSACTION,),
               truths=(Truth.GOOD, Truth.BAD_SIGNATURE)),
    FraudScene("rivals", blocks=2, epochs=2, reporters=(b"q", b"r")),
)  # fmt: skip
"""Larger ones, for the campaign."""


@dataclass(frozen=True, slots=True)
class FraudWorld:
    """The machine's state and what only the scene knows.

    Attributes:
        state: The machine's.
        truths: What is wrong with each block made.
        recorded: Epoch in which each block was recorded.
        chains: Blocks of each shard as a follower of the effects has them.
        slashes: How often each offence was slashed.
        tops: Highest height, slot and view that each shard used.
        made: Blocks made.
    """

    state: FraudState
    truths: Table[bytes, Truth] = Table()  # noqa: RUF009 - immutable
    recorded: Table[bytes, int] = Table()  # noqa: RUF009 - immutable
    chains: Table[int, tuple[bytes, ...]] = Table()  # noqa: RUF009 - immutable
    slashes: Table[bytes, int] = Table()  # noqa: RUF009 - immutable
    tops: Table[int, tuple[int, int, int]] = Table()  # noqa: RUF009 - immutable
    made: int = 0


@dataclass(frozen=True, slots=True)
class FraudModel:
    """A scene of fraud for the exploration.

    Attributes:
        scene: What may happen.
        rules: The machine.
    """

    scene: FraudScene
    rules: FraudRules = field(default_factory=lambda: FraudRules(SCENE_TERMS))

    def start(self) -> FraudWorld:
        """See `Model`: bonds and the pool are paid in."""
        terms = self.rules.terms
        events: list[FraudEvent] = [PoolFunded(START_POOL)]
        for party in self.scene.proposers:
            bond = terms.validator_bond
            events += [Deposited(party, bond), BondLocked(party, bond)]
            if self.scene.has_equivocation:
                events.append(Deposited(party, bond))
        if self.scene.claims:
            units = terms.claim_bond * self.scene.claims
            events += [Deposited(party, units) for party in self.scene.reporters]
        state = FraudState()
        for event in events:
            step = self.rules.step(state, event)
            if step.refusal is not None:
                raise InvariantError(f"{event} is refused: {step.refusal}")
            state = step.state
        return FraudWorld(state)

    def events(self, world: FraudWorld) -> Iterator[FraudEvent]:
        """See `Model`."""
        yield from self._blocks(world)
        yield from self._claims(world)
        yield from (self._verdict(world, claim) for claim in world.state.pending)
        if self.scene.has_proofs:
            yield from self._proofs(world)
        if world.state.epoch < self.scene.epochs:
            yield EpochBegan(world.state.epoch + 1)
        if self.scene.has_equivocation:
            yield EquivocationShown(b"two votes", self.scene.proposers[0], b"r")
            yield EquivocationShown(b"two votes", self.scene.proposers[0], NOBODY)
            yield BondLocked(self.scene.proposers[0], self.rules.terms.validator_bond)
        if self.scene.has_unbonding:
            yield UnbondRequested(self.scene.proposers[0])
        if self.scene.has_bad_input:
            yield from self._bad_input(world)

    def trial(self, world: FraudWorld, event: FraudEvent) -> Trial[FraudWorld]:
        """See `Model`."""
        step = self.rules.step(world.state, event)
        if step.refusal is not None:
            same = step.state is world.state and not step.effects
            broken: tuple[str, ...] = () if same else ("a refused event changed something",)
            return Trial(world, step.refusal.value, broken)
        after = replace(world, state=step.state)
        if isinstance(event, BlockFinal):
            after = self._with_block(after, event.facts)
        for effect in step.effects:
            if isinstance(effect, Slashed):
                count = 1 + (after.slashes.get(effect.offence) or 0)
                after = replace(after, slashes=after.slashes.with_entry(effect.offence, count))
            if isinstance(effect, BlocksRemoved):
                chains = after.chains
                for shard, tip in effect.tips:
                    chain = chains[shard]
                    kept = chain[: chain.index(tip) + 1] if tip in chain else ()
                    chains = chains.with_entry(shard, kept)
                after = replace(after, chains=chains)
        broken = broken_by(self.rules.terms, world, event, step.effects, after)
        return Trial(after, broken=broken + broken_in(self.rules.terms, after, START_POOL))

    def _with_block(self, world: FraudWorld, facts: BlockFacts) -> FraudWorld:
        chain = world.chains.get(facts.shard) or ()
        return replace(
            world,
            truths=world.truths.with_entry(facts.id, Truth(facts.id.decode().rpartition(" ")[2])),
            recorded=world.recorded.with_entry(facts.id, world.state.epoch),
            chains=world.chains.with_entry(facts.shard, (*chain, facts.id)),
            tops=world.tops.with_entry(facts.shard, (facts.height, facts.slot, facts.view)),
            made=world.made + 1,
        )

    def _blocks(self, world: FraudWorld) -> Iterator[FraudEvent]:
        state = world.state
        if world.made >= self.scene.blocks:
            return
        for shard in range(self.scene.shards):
            marks = state.shards.get(shard) or ShardMarks()
            others = [m.tip for s in state.shards if s != shard and (m := state.shards[s]).tip]
            epochs = {state.epoch, marks.epoch} if self.scene.has_late_blocks else {state.epoch}
            for epoch in sorted(epochs):
                for proposer in self.scene.proposers:
                    for truth in self.scene.truths:
                        yield BlockFinal(
                            BlockFacts(
                                shard,
                                self.rules.next_height(marks),
                                b"%d %s" % (world.made, truth.value.encode()),
                                marks.tip,
                                marks.slot,
                                marks.view + 1,
                                epoch,
                                proposer,
                                tuple(others),
                                BLOCK_VALUE,
                            )
                        )

    def _claims(self, world: FraudWorld) -> Iterator[FraudEvent]:
        for block in world.state.blocks:
            epoch = world.state.blocks[block].facts.epoch
            for reporter in self.scene.reporters:
                for kind in self.scene.kinds:
                    name = b"/".join((reporter, kind.value.encode(), block))
                    yield FaultClaimed(Claim(name, reporter, kind, block, epoch, 9))

    def _verdict(self, world: FraudWorld, claim_id: bytes) -> Judged:
        """The true verdict; what users say they have lost is all that was moved."""
        state = world.state
        claim = state.pending[claim_id]
        is_fraud = FAULT_OF.get(world.truths[claim.block]) is claim.kind
        record = state.blocks[claim.block]
        if not is_fraud or record.fate is not Fate.LIVE or record.is_convicted:
            return Judged(claim_id, is_fraud)
        if self.rules.is_preempted(record, claim.kind):
            return Judged(claim_id, is_fraud)
        lost = self.rules.value_with(state, claim.block)
        first = share(lost, 300)
        return Judged(claim_id, is_fraud, (Loss(b"a", first), Loss(b"b", lost - first)))

    def _proofs(self, world: FraudWorld) -> Iterator[FraudEvent]:
        for block in world.state.blocks:
            record = world.state.blocks.get(block)
            is_true = True
            while record is not None and not record.is_shown:
                is_true = is_true and world.truths[record.facts.id] is not Truth.BAD_ROOT
                record = world.state.blocks.get(record.facts.parent)
            if is_true or self.scene.has_false_proofs:
                yield ProofAccepted(block)

    def _bad_input(self, world: FraudWorld) -> Iterator[FraudEvent]:
        state = world.state
        yield EpochBegan(state.epoch)
        yield Judged(b"never claimed", is_fraud=True)
        yield from (Judged(claim, is_fraud=True) for claim in state.judged)
        yield ProofAccepted(b"never made")
        yield FaultClaimed(Claim(b"x", b"r", FaultKind.TRANSACTION, b"never made", 0, 9))
        for block in state.blocks:
            facts = state.blocks[block].facts
            claim = Claim(b"y", b"r", FaultKind.TRANSACTION, block, facts.epoch, 9)
            yield FaultClaimed(replace(claim, evidence_bytes=10))
            yield FaultClaimed(replace(claim, epoch=facts.epoch + 1))
            yield BlockFinal(facts)
            below = replace(facts, id=b"z", value=0)
            yield BlockFinal(below)
            on_top = replace(below, parent=state.shards[facts.shard].tip)
            yield BlockFinal(on_top)
            high = replace(on_top, height=state.shards[facts.shard].height + 1)
            yield BlockFinal(replace(high, height=high.height + 1))
            yield BlockFinal(replace(high, slot=facts.slot - 1))
            yield BlockFinal(high)
            later = replace(high, view=state.shards[facts.shard].view + 1)
            yield BlockFinal(replace(later, epoch=state.epoch + 1))
            yield BlockFinal(replace(later, sources=(b"never made",)))
            if self.scene.shards > 1:
                marks = state.shards.get(1 - facts.shard) or ShardMarks()
                there = replace(later, shard=1 - facts.shard, parent=marks.tip, sources=(block,))
                there = replace(there, height=marks.height + 1, view=marks.view + 1)
                dead = state.blocks[block].fate is not Fate.LIVE
                yield from (BlockFinal(replace(there, epoch=state.epoch)),) if dead else ()
        for claim_id in state.pending:
            lost = self.rules.value_with(state, state.pending[claim_id].block)
            yield Judged(claim_id, True, (Loss(b"a", 1), Loss(b"a", 1)))
            yield Judged(claim_id, True, (Loss(b"a", lost + 1),))
