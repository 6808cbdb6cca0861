"""The rules of fraud about the tree of blocks: what may stand on what, what falls with what, and when a block is proven."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from operators.exact_split import share
from operators.fraud_state import (
    GENESIS,
    BlockFacts,
    BlockRecord,
    BlocksRemoved,
    BlockStatus,
    Fate,
    FaultKind,
    FraudEffect,
    FraudState,
    ShardMarks,
)
from operators.rule_state import POOL, Pot, PotKind
from schemas.economics import FraudTerms
from schemas.errors import InvariantError, ParameterError
from schemas.refusal import FraudRefusal
from schemas.units import AMOUNT_LIMIT


class RefusedFraud(Exception):
    """An event is refused; the state stays as it is.

    Attributes:
        reason: Its stable name.
    """

    def __init__(self, reason: FraudRefusal) -> None:
        super().__init__(reason.value)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Exposure:
    """What a fast-final payment rests on.

    Attributes:
        at_risk: Units moved by the unproven blocks of its block's proposer.
        refundable: Units that a slash of that proposer and the pool would give back at most.
    """

    at_risk: int
    refundable: int


@dataclass(frozen=True, slots=True)
class FraudBlocks:
    """Rules about blocks; each public method is one.

    Attributes:
        terms: The numbers.
    """

    terms: FraudTerms = FraudTerms()  # noqa: RUF009 - immutable

    def next_height(self, marks: ShardMarks) -> int:
        """Returns the height of the next block: one that the shard never used, also not for a reverted block."""
        return marks.height + 1

    def record_block(self, state: FraudState, facts: BlockFacts) -> FraudState:
        """Takes a final block onto the tip of its shard.

        Raises:
            RefusedFraud: It does not belong there.
        """
        if facts.id in state.blocks or facts.id == GENESIS:
            raise RefusedFraud(FraudRefusal.DUPLICATE_BLOCK)
        if not 0 <= facts.value < AMOUNT_LIMIT:
            raise RefusedFraud(FraudRefusal.AMOUNT_OUT_OF_RANGE)
        marks = state.shards.get(facts.shard) or ShardMarks()
        if facts.parent != marks.tip:
            raise RefusedFraud(FraudRefusal.NOT_ON_TIP)
        height = self.next_height(marks)
        if facts.height != height:
            reused = facts.height < height
            raise RefusedFraud(
                FraudRefusal.HEIGHT_REUSED if reused else FraudRefusal.HEIGHT_SKIPPED
            )
        if facts.slot < marks.slot:
            raise RefusedFraud(FraudRefusal.SLOT_WENT_BACK)
        if facts.view <= marks.view:
            raise RefusedFraud(FraudRefusal.VIEW_WENT_BACK)
        if facts.epoch > state.epoch:
            raise RefusedFraud(FraudRefusal.EPOCH_NOT_BEGUN)
        if facts.epoch < marks.epoch:
            raise RefusedFraud(FraudRefusal.EPOCH_OUT_OF_ORDER)
        self._check_sources(state, facts)
        after = ShardMarks(facts.id, facts.height, facts.slot, facts.view, facts.epoch)
        return replace(
            state,
            blocks=state.blocks.with_entry(facts.id, BlockRecord(facts, self.since(state, facts))),
            shards=state.shards.with_entry(facts.shard, after),
        )

    def _check_sources(self, state: FraudState, facts: BlockFacts) -> None:
        for source in facts.sources:
            record = state.blocks.get(source)
            if record is None or record.facts.shard == facts.shard:
                raise RefusedFraud(FraudRefusal.UNKNOWN_SOURCE)
            if record.fate is not Fate.LIVE:
                raise RefusedFraud(FraudRefusal.REVERTED_SOURCE)

    def since(self, state: FraudState, facts: BlockFacts) -> int:
        """Returns the epoch from which a block's windows count: when everybody could see it."""
        return max(state.epoch, facts.epoch)

    def is_window_closed(self, record: BlockRecord, epoch: int) -> bool:
        """Says whether faults of a block that a proof does not cover can be claimed no more."""
        return epoch > record.since + self.terms.fault_epochs

    def is_claimable(self, state: FraudState, record: BlockRecord) -> bool:
        """Says whether a fault of a block may still be claimed or judged."""
        if any(claim.block == record.facts.id for claim in state.pending.values()):
            return True
        if record.fate is Fate.LIVE:
            return not record.is_proven
        in_time = not self.is_window_closed(record, state.epoch)
        return record.fate is Fate.REVERTED and in_time and not record.is_convicted

    def show(self, state: FraudState, block: bytes) -> FraudState:
        """Marks a block and those below it as shown by a proof.

        Raises:
            RefusedFraud: There is nothing to show, or it was shown.
        """
        record = state.blocks.get(block)
        if record is None:
            raise RefusedFraud(FraudRefusal.UNKNOWN_BLOCK)
        if record.fate is not Fate.LIVE:
            pruned = record.fate is Fate.PRUNED
            raise RefusedFraud(FraudRefusal.BLOCK_PRUNED if pruned else FraudRefusal.BLOCK_REVERTED)
        if record.is_shown:
            raise RefusedFraud(FraudRefusal.ALREADY_SHOWN)
        blocks = state.blocks
        while record is not None and not record.is_shown:
            blocks = blocks.with_entry(record.facts.id, replace(record, is_shown=True))
            record = blocks.get(record.facts.parent)
        return replace(state, blocks=blocks)

    def falls_with(self, facts: BlockFacts, removed: set[bytes]) -> bool:
        """Says whether a block falls with others: it stands on one, or takes deliveries from one."""
        return facts.parent in removed or not removed.isdisjoint(facts.sources)

    def fallen(self, state: FraudState, roots: Iterable[bytes]) -> list[BlockRecord]:
        """Returns the live blocks that fall with some, in the order of shard and height."""
        removed = {root for root in roots if state.blocks[root].fate is Fate.LIVE}
        live = _live(state)
        found = -1
        while found != len(removed):
            found = len(removed)
            removed |= {r.facts.id for r in live if self.falls_with(r.facts, removed)}
        return sorted((r for r in live if r.facts.id in removed), key=lambda r: r.facts)

    def value_with(self, state: FraudState, block: bytes) -> int:
        """Returns the units moved by a block and all that fall with it."""
        return sum(record.facts.value for record in self.fallen(state, (block,)))

    def remove(
        self, state: FraudState, roots: Iterable[bytes], fate: Fate
    ) -> tuple[FraudState, tuple[FraudEffect, ...]]:
        """Takes blocks and all that fall with them out of their chains.

        Raises:
            InvariantError: One of them is proven.
        """
        fallen = self.fallen(state, roots)
        blocks, shards = state.blocks, state.shards
        for record in fallen:
            if record.is_proven:
                raise InvariantError(f"proven block {record.facts.id.hex()} would be {fate}")
            blocks = blocks.with_entry(record.facts.id, replace(record, fate=fate))
        for shard in sorted({record.facts.shard for record in fallen}):
            tip = shards[shard].tip
            while tip in blocks and blocks[tip].fate is not Fate.LIVE:
                tip = blocks[tip].facts.parent
            shards = shards.with_entry(shard, replace(shards[shard], tip=tip))
        touched = sorted({record.facts.shard for record in fallen})
        effect = BlocksRemoved(
            tuple(record.facts.id for record in fallen),
            fate,
            tuple((shard, shards[shard].tip) for shard in touched),
            tuple(record.facts.id for record in fallen if record.is_shown),
        )
        return replace(state, blocks=blocks, shards=shards), (effect,)

    def late_blocks(self, state: FraudState) -> list[BlockRecord]:
        """Returns the live blocks that are past their deadline without a proof."""
        deadline = self.terms.deadline_epochs
        late = [r for r in _live(state) if not r.is_shown and state.epoch > r.since + deadline]
        return sorted(late, key=lambda record: record.facts)

    def is_prunable(self, record: BlockRecord, epoch: int) -> bool:
        """Says whether nobody has proven a late block in time, although everybody was allowed to."""
        return epoch > record.since + self.terms.deadline_epochs + self.terms.rescue_epochs

    def may_be_proven(self, state: FraudState, record: BlockRecord) -> bool:
        """Says whether nothing can revert a block any more.

        Its transition is shown, no other fault can be claimed or is being judged, and all that it stands on is proven.
        """
        if not record.is_shown or not self.is_window_closed(record, state.epoch):
            return False
        return self.is_unchallenged(state, record) and self.stands_on_proven(state, record)

    def is_unchallenged(self, state: FraudState, record: BlockRecord) -> bool:
        """Says whether no claim that a proof does not answer waits for its verdict."""
        open_ = (claim for claim in state.pending.values() if claim.block == record.facts.id)
        return all(claim.kind is FaultKind.TRANSITION for claim in open_)

    def stands_on_proven(self, state: FraudState, record: BlockRecord) -> bool:
        """Says whether parent and sources are proven; what is forgotten was."""
        below = map(state.blocks.get, (record.facts.parent, *record.facts.sources))
        return all(other is None or other.is_proven for other in below)

    def settle_proven(self, state: FraudState) -> tuple[FraudState, tuple[bytes, ...]]:
        """Marks every block that has become proven, and returns their ids in the order of shard and height."""
        proven: list[BlockFacts] = []
        found = -1
        while found != len(proven):
            found = len(proven)
            for record in sorted(_live(state), key=lambda record: record.facts):
                if not record.is_proven and self.may_be_proven(state, record):
                    marked = replace(record, is_proven=True)
                    blocks = state.blocks.with_entry(record.facts.id, marked)
                    state = replace(state, blocks=blocks)
                    proven.append(record.facts)
        return state, tuple(facts.id for facts in sorted(proven))

    def forget(self, state: FraudState) -> FraudState:
        """Drops the blocks that nothing can happen to any more, and the claims about them."""
        tips = {marks.tip for marks in state.shards.values()}
        gone = {
            record.facts.id
            for record in state.blocks.values()
            if not self.is_claimable(state, record)
            and state.epoch > record.since + self.terms.unbond_epochs
            and record.facts.id not in tips
        }
        if not gone:
            return state
        kept = {
            claim: block for claim in state.judged if (block := state.judged[claim]) not in gone
        }
        return replace(state, blocks=state.blocks.without(*gone), judged=type(state.judged)(kept))

    def status(self, state: FraudState, block: bytes) -> BlockStatus:
        """Returns how certain a block is.

        Raises:
            ParameterError: It is not known, or forgotten.
        """
        record = state.blocks.get(block)
        if record is None:
            raise ParameterError(f"block {block.hex()} is not known to the beacon")
        if record.fate is not Fate.LIVE:
            return BlockStatus(record.fate.value)
        if record.is_proven:
            return BlockStatus.PROVEN
        if any(claim.block == block for claim in state.pending.values()):
            return BlockStatus.CHALLENGED
        return BlockStatus.SHOWN if record.is_shown else BlockStatus.BFT_FINAL

    def exposure(self, state: FraudState, block: bytes) -> Exposure:
        """Returns what a payment in a block rests on until the block is proven.

        Raises:
            ParameterError: It is not known.
        """
        record = state.blocks.get(block)
        if record is None:
            raise ParameterError(f"block {block.hex()} is not known to the beacon")
        proposer = record.facts.proposer
        own = (r for r in _live(state) if r.facts.proposer == proposer and not r.is_proven)
        terms = self.terms
        slashed = share(state.books.held(Pot(PotKind.BOND, proposer)), terms.slash_permille)
        taken = share(slashed, terms.reporter_permille) + share(slashed, terms.burned_permille)
        cover = min(state.books.held(POOL), share(slashed, terms.cover_permille))
        return Exposure(sum(r.facts.value for r in own), slashed - taken + cover)


def _live(state: FraudState) -> list[BlockRecord]:
    return [record for record in state.blocks.values() if record.fate is Fate.LIVE]
