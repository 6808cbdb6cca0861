"""What consensus orders: the port between a validator and the state machine it replicates.

The shard's ledger and the beacon are two applications of the same consensus. Every method is deterministic
in its arguments and in what was finalised before; none does input or output.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class CheckState(StrEnum):
    """What a validator knows of a proposed block."""

    VALID = "valid"
    INVALID = "invalid"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class Check:
    """The verdict on a proposed block.

    Attributes:
        state: `missing` means that something the block refers to has not arrived yet: ask again later.
        reason: Stable name of what is wrong or missing; empty when valid.
    """

    state: CheckState
    reason: str = ""


@dataclass(frozen=True, slots=True)
class BlockContent:
    """What an application puts into a block.

    Attributes:
        payload: Canonical bytes, bounded by the configuration.
        transactions_root: 32 bytes: the root of what the block holds.
        post_state_root: 32 bytes: the root of the state after it.
        count: Entries in the block.
    """

    payload: bytes
    transactions_root: bytes
    post_state_root: bytes
    count: int


class Application(Protocol):
    """A replicated state machine.

    Blocks form a tree by parent hash; `build` and `check` work on any branch above the last final block,
    `finalize` is called once per height in order and drops the other branches.
    """

    def has_work(self, parent_hash: bytes, slot: int) -> bool:
        """Says whether a block above `parent_hash` proposed in `slot` would have a purpose."""
        ...

    def slot_of(self, parent_hash: bytes, slot: int) -> int:
        """Returns the slot of a block above `parent_hash` proposed in `slot`: that one or an earlier."""
        ...

    def build(
        self, parent_hash: bytes, height: int, slot: int, *, required: bool
    ) -> BlockContent | None:
        """Makes the content of a block above `parent_hash`, or None when there is nothing to propose.

        With `required` an empty block is made rather than none.
        """
        ...

    def check(
        self, block_hash: bytes, parent_hash: bytes, height: int, slot: int, content: BlockContent
    ) -> Check:
        """Executes a proposed block above its parent and compares every root; keeps the result."""
        ...

    def finalize(self, block_hash: bytes) -> None:
        """Makes a checked block final.

        Raises:
            InvariantError: The block was never checked valid, or its parent is not the last final block.
        """
        ...
