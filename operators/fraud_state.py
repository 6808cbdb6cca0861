"""What the beacon knows of blocks, claims and bonds, and what can happen to them: the values of `fraud_rules`.

Ids are canonical bytes chosen by the caller: a block's hash, a claim's digest over reporter, kind, block and evidence, a
party's key digest. Empty bytes stand for the state before the first block. Epochs are the beacon's.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from operators.rule_state import Books, Table
from schemas.refusal import FraudRefusal

GENESIS = b""
"""Parent of a shard's first block."""

NOBODY = b""
"""A reporter that is not known; what it would be paid goes to the insurance pool."""


class FaultKind(StrEnum):
    """What a claim says is wrong: something the proof does not cover, or the post-state root, which it does."""

    TRANSACTION = "transaction"
    TRANSITION = "transition"


class Fate(StrEnum):
    """Whether a block still counts."""

    LIVE = "live"
    REVERTED = "reverted"
    PRUNED = "pruned"


class BlockStatus(StrEnum):
    """How certain a block is, as receipts show it."""

    BFT_FINAL = "bft_final"
    CHALLENGED = "challenged"
    SHOWN = "shown"
    PROVEN = "proven"
    REVERTED = "reverted"
    PRUNED = "pruned"


@dataclass(frozen=True, slots=True, order=True)
class BlockFacts:
    """A block that a shard's quorum made final.

    Attributes:
        shard: Shard, >= 0.
        height: One above the highest that the shard ever had, reverted ones counted; the first is 1.
        id: Its hash.
        parent: The block it stands on, `GENESIS` for the first.
        slot: Never below that of any earlier block of the shard.
        view: Above that of any earlier block of the shard.
        epoch: Epoch of the slot.
        proposer: Who is liable for it.
        sources: Blocks of other shards from which it takes deliveries.
        value: Units that it moves: what is at risk while it is not proven.
    """

    shard: int
    height: int
    id: bytes
    parent: bytes
    slot: int
    view: int
    epoch: int
    proposer: bytes
    sources: tuple[bytes, ...] = ()
    value: int = 0


@dataclass(frozen=True, slots=True)
class BlockRecord:
    """What became of a block.

    Attributes:
        facts: The block.
        since: Epoch in which the beacon recorded it; its windows count from here, so hiding a block gains nothing.
        fate: Whether it counts.
        is_shown: A proof of its transition was accepted.
        is_proven: Shown, and the window for TransactionFaults has passed; nothing reverts it any more.
        is_convicted: A fault of its own was judged; its proposer is slashed for it once.
    """

    facts: BlockFacts
    since: int
    fate: Fate = Fate.LIVE
    is_shown: bool = False
    is_proven: bool = False
    is_convicted: bool = False


@dataclass(frozen=True, slots=True)
class ShardMarks:
    """Where a shard goes on.

    Attributes:
        tip: Last live block.
        height: Highest height ever used.
        slot: Highest slot ever used.
        view: Highest view ever used; -1 before the first.
        epoch: Epoch of the last block recorded.
    """

    tip: bytes = GENESIS
    height: int = 0
    slot: int = 0
    view: int = -1
    epoch: int = 0


@dataclass(frozen=True, slots=True)
class Claim:
    """A claim of fault, before it is judged.

    Attributes:
        id: Digest over everything in it.
        reporter: Whose bond it is.
        kind: What is said to be wrong.
        block: Of which block.
        epoch: Epoch of that block, as the claim says.
        evidence_bytes: Size of its evidence.
    """

    id: bytes
    reporter: bytes
    kind: FaultKind
    block: bytes
    epoch: int
    evidence_bytes: int


@dataclass(frozen=True, slots=True)
class Loss:
    """What a user loses when a block is reverted, as the verdict's replay found.

    Attributes:
        account: Whom to refund.
        units: > 0.
    """

    account: bytes
    units: int


@dataclass(frozen=True, slots=True)
class FraudState:
    """Everything that the rules of fraud depend on.

    Attributes:
        books: The money.
        epoch: The beacon's epoch.
        blocks: Blocks that are not proven, and those that claims may still name.
        shards: Where each shard goes on.
        pending: Claims that are not judged.
        judged: Judged claims of the blocks kept, and their blocks.
        punished: Offences that are no blocks, and their offenders.
        unbonding: Validators that want their bond back, since when.
    """

    books: Books = Books()  # noqa: RUF009 - immutable
    epoch: int = 0
    blocks: Table[bytes, BlockRecord] = Table()  # noqa: RUF009 - immutable
    shards: Table[int, ShardMarks] = Table()  # noqa: RUF009 - immutable
    pending: Table[bytes, Claim] = Table()  # noqa: RUF009 - immutable
    judged: Table[bytes, bytes] = Table()  # noqa: RUF009 - immutable
    punished: Table[bytes, bytes] = Table()  # noqa: RUF009 - immutable
    unbonding: Table[bytes, int] = Table()  # noqa: RUF009 - immutable


@dataclass(frozen=True, slots=True)
class Deposited:
    """Money came from a shard to a party's free balance on the beacon."""

    party: bytes
    units: int


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """Money of a free balance goes back to a shard."""

    party: bytes
    units: int


@dataclass(frozen=True, slots=True)
class PoolFunded:
    """Money came from a shard to the insurance pool."""

    units: int


@dataclass(frozen=True, slots=True)
class BondLocked:
    """A party bonds free money as a validator."""

    party: bytes
    units: int


@dataclass(frozen=True, slots=True)
class UnbondRequested:
    """A validator wants its bond back; it stays slashable until it is released."""

    party: bytes


@dataclass(frozen=True, slots=True)
class BlockFinal:
    """A shard's quorum made a block final."""

    facts: BlockFacts


@dataclass(frozen=True, slots=True)
class FaultClaimed:
    """A claim of fault is on the beacon; its evidence is not looked at yet."""

    claim: Claim


@dataclass(frozen=True, slots=True)
class Judged:
    """The verdict on a claim.

    Attributes:
        claim: Id of the claim.
        is_fraud: Whether its evidence holds.
        losses: What users lose by the revert, in the order of the verdict; empty where nothing is reverted.
    """

    claim: bytes
    is_fraud: bool
    losses: tuple[Loss, ...] = ()


@dataclass(frozen=True, slots=True)
class EquivocationShown:
    """Evidence that holds of two votes that contradict each other.

    Attributes:
        offence: What names the offence whoever shows it: a digest over validator, shard, epoch and view.
        offender: Who signed both.
        reporter: Who shows it, or `NOBODY`.
    """

    offence: bytes
    offender: bytes
    reporter: bytes


@dataclass(frozen=True, slots=True)
class ProofAccepted:
    """A proof of the transitions of a shard up to a block was accepted."""

    block: bytes


@dataclass(frozen=True, slots=True)
class EpochBegan:
    """The next epoch of the beacon began."""

    epoch: int


FraudEvent = (
    Deposited
    | Withdrawn
    | PoolFunded
    | BondLocked
    | UnbondRequested
    | BlockFinal
    | FaultClaimed
    | Judged
    | EquivocationShown
    | ProofAccepted
    | EpochBegan
)


@dataclass(frozen=True, slots=True)
class BlocksRemoved:
    """Blocks count no more: roll state, nullifiers, fees, receipts, windows and proof jobs back to the tips.

    All their transactions are admitted again, and judged anew: a bad one is refused then, the others lose nothing.

    Attributes:
        blocks: All of them, in the order of shard and height.
        fate: Reverted by a verdict, or pruned because nobody proved them.
        tips: Shard and last live block, of every shard concerned.
        shown: Those whose accepted proofs count no more.
    """

    blocks: tuple[bytes, ...]
    fate: Fate
    tips: tuple[tuple[int, bytes], ...]
    shown: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class BlocksProven:
    """Blocks are proven for good; their fees are due, once."""

    blocks: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class ProvingOpened:
    """The deadline of blocks has passed: anyone may prove them."""

    blocks: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class ClaimEnded:
    """A claim's bond went back, or was lost to the insurance pool."""

    claim: bytes
    reporter: bytes
    bond_lost: int


@dataclass(frozen=True, slots=True)
class Slashed:
    """An offender was slashed; what went where."""

    offender: bytes
    offence: bytes
    units: int
    reporter: bytes
    reward: int
    burned: int


@dataclass(frozen=True, slots=True)
class Refunded:
    """A user was refunded, in full or in part."""

    account: bytes
    loss: int
    units: int


@dataclass(frozen=True, slots=True)
class ProofContradicted:
    """Evidence of a false transition holds although a proof of it was accepted: one of the two verifiers is wrong."""

    block: bytes
    claim: bytes


@dataclass(frozen=True, slots=True)
class BondReleased:
    """A bond went back to its owner."""

    party: bytes
    units: int


FraudEffect = (
    BlocksRemoved
    | BlocksProven
    | ProvingOpened
    | ClaimEnded
    | Slashed
    | Refunded
    | ProofContradicted
    | BondReleased
)


@dataclass(frozen=True, slots=True)
class FraudStep:
    """What an event led to.

    Attributes:
        state: The state after it; the very same when it is refused.
        effects: What others must do, in order.
        refusal: Why it is refused, or None.
    """

    state: FraudState
    effects: tuple[FraudEffect, ...] = ()
    refusal: FraudRefusal | None = None
