"""What the consensus core is told and what it asks for: signature ports, events, actions and limits.

The core does no input and output. A driver gives it events with the time, executes the returned actions
in order, and stops at the first that fails: a `Journal` is on stable storage before the `Broadcast` after it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from operators.application import BlockContent, Check
from schemas.block import Block, Certificate, Equivocation
from schemas.errors import ParameterError

ANY_SLOT = 2**64 - 1
"""The latest slot there can be: what a core without a clock of slots lets through."""


class Signer(Protocol):
    """Signs with one validator's key."""

    def sign(self, message: bytes) -> bytes:
        """Returns the signature of `message`, at most 2420 bytes."""
        ...


class Verifier(Protocol):
    """Checks signatures of one validator set."""

    def verify_many(self, claims: Sequence[tuple[int, bytes, bytes]]) -> Sequence[bool]:
        """Judges (validator index, message, signature) one by one; one forgery does not spoil the others.

        Indices are inside the set. Returns one truth value per claim, in order.
        """
        ...


@dataclass(frozen=True, slots=True)
class MessageReceived:
    """Bytes from the medium, untrusted."""

    message: bytes


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed: due timers fire."""


@dataclass(frozen=True, slots=True)
class WorkAvailable:
    """The application has something to propose, or no longer has."""

    available: bool


@dataclass(frozen=True, slots=True)
class ProposalBuilt:
    """Answer to `BuildProposal`.

    Attributes:
        view: View of the request.
        parent_hash: Parent of the request.
        slot: Slot of the block, not below `BuildProposal.parent_slot`.
        content: What the application put into the block.
    """

    view: int
    parent_hash: bytes
    slot: int
    content: BlockContent


@dataclass(frozen=True, slots=True)
class ProposalUnavailable:
    """Answer to `BuildProposal`: there is nothing to propose."""

    view: int


@dataclass(frozen=True, slots=True)
class BlockChecked:
    """Answer to `CheckBlock`; `missing` is asked again later, or send the new verdict when it is known."""

    block_hash: bytes
    check: Check


Event = MessageReceived | Tick | WorkAvailable | ProposalBuilt | ProposalUnavailable | BlockChecked


@dataclass(frozen=True, slots=True)
class Broadcast:
    """Publish bytes to every validator; loss, delay and duplication are tolerated.

    Attributes:
        kind: `proposal`, `vote`, `certificate`, `status` or `chain`: which topic it belongs to.
        message: Canonical bytes.
    """

    kind: str
    message: bytes


@dataclass(frozen=True, slots=True)
class Journal:
    """Records to put on stable storage, in one write, before any later action of the list."""

    records: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class BuildProposal:
    """Ask the application for a block.

    Attributes:
        view: View to propose in.
        parent_hash: Block to build on, already checked valid or final.
        parent_height: Its height.
        parent_slot: Its slot; the new block's may not be lower.
        required: An empty block is wanted too, because notarised blocks wait for a descendant to become final.
    """

    view: int
    parent_hash: bytes
    parent_height: int
    parent_slot: int
    required: bool


@dataclass(frozen=True, slots=True)
class CheckBlock:
    """Ask the application to execute a block whose parent it has found valid or final."""

    block: Block


@dataclass(frozen=True, slots=True)
class Finalized:
    """A block is final; one action per height, in order, after the application found it valid.

    Attributes:
        block: The block.
        certificate: Finalize certificate of this block or of a descendant.
    """

    block: Block
    certificate: Certificate


@dataclass(frozen=True, slots=True)
class SetTimer:
    """Send a `Tick` at this time or soon after; replaces the earlier timer. None cancels it."""

    at_millis: int | None


@dataclass(frozen=True, slots=True)
class Evidence:
    """A validator contradicted itself; emitted once per validator and view."""

    equivocation: Equivocation


class AlarmReason(StrEnum):
    """Why the core stopped signing: more than f validators are Byzantine, or this program is wrong."""

    CONFLICTING_CERTIFICATES = "conflicting_certificates"
    FORKED_FINALITY = "forked_finality"
    FINAL_BLOCK_INVALID = "final_block_invalid"
    OWN_KEY_USED_ELSEWHERE = "own_key_used_elsewhere"


@dataclass(frozen=True, slots=True)
class Alarm:
    """The core is halted: it signs nothing more and an operator must look.

    Attributes:
        reason: What was seen.
        certificates: The certificates that show it, possibly none.
    """

    reason: AlarmReason
    certificates: tuple[Certificate, ...]


Action = Broadcast | Journal | BuildProposal | CheckBlock | Finalized | SetTimer | Evidence | Alarm


@dataclass(frozen=True, slots=True)
class ConsensusConfig:
    """Times and limits of the core; all validators of a shard should use the same.

    Attributes:
        view_timeout_millis: Time in a view before voting to skip it.
        max_timeout_millis: Upper bound of the backed-off timeout.
        backoff_after_views: Views above the last final one that keep the plain timeout.
        resend_millis: First interval between repeats of own messages while nothing moves.
        max_resend_millis: Upper bound of the backed-off interval.
        block_interval_millis: Shortest time between a block and its child.
        empty_delay_millis: Time a leader without work waits for its parent's finality before an empty block.
        view_lookahead: Views above the current one for which votes and proposals are kept.
        answer_items: Certificates or chains in one answer to a status.
        chain_blocks: Blocks in one chain message.
        retained_blocks: Final blocks kept to help others; older ones come from the log.
        responders: Validators whose turn it is to answer a status.
    """

    view_timeout_millis: int = 1000
    max_timeout_millis: int = 8000
    backoff_after_views: int = 4
    resend_millis: int = 300
    max_resend_millis: int = 2400
    block_interval_millis: int = 50
    empty_delay_millis: int = 250
    view_lookahead: int = 8
    answer_items: int = 8
    chain_blocks: int = 16
    retained_blocks: int = 256
    responders: int = 3

    def __post_init__(self) -> None:
        positive = (
            self.view_timeout_millis,
            self.resend_millis,
            self.view_lookahead,
            self.answer_items,
            self.chain_blocks,
            self.retained_blocks,
            self.responders,
        )
        if min(positive) < 1 or min(self.block_interval_millis, self.empty_delay_millis) < 0:
            raise ParameterError("consensus times and limits are positive")
        if self.max_timeout_millis < self.view_timeout_millis:
            raise ParameterError("max_timeout_millis is below view_timeout_millis")
        if self.max_resend_millis < self.resend_millis:
            raise ParameterError("max_resend_millis is below resend_millis")
        if self.chain_blocks > 64:
            raise ParameterError("chain_blocks is at most 64")

    def timeout_millis(self, view: int, final_view: int) -> int:
        """Returns the timeout of a view: doubles per view without finality, bounded, reset by finality."""
        excess = max(0, view - final_view - self.backoff_after_views)
        return min(self.max_timeout_millis, self.view_timeout_millis << min(excess, 16))

    def resend_after_millis(self, attempt: int) -> int:
        """Returns the pause before repeat number `attempt` (from 0)."""
        return min(self.max_resend_millis, self.resend_millis << min(attempt, 16))
