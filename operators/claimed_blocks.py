"""Blocks on a log that claim to be final and wait for a certificate, their own or a descendant's.

Anybody may write to a log, so several may claim one height. Each is kept that stands on the last certified block or on
another claim; a certificate settles which of them are final, and the rest is forgotten.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from schemas.block import BlockHeader

T = TypeVar("T")


@dataclass(slots=True)
class ClaimedBlocks(Generic[T]):
    """Headers above a tip by their hash, each with what its owner keeps beside it.

    Attributes:
        blocks: Header and what is kept, in the order in which they came.
    """

    blocks: dict[bytes, tuple[BlockHeader, T]] = field(default_factory=dict)

    def __iter__(self) -> Iterator[T]:
        """Yields what is kept, in the order in which it came."""
        return (kept for _, kept in self.blocks.values())

    def follows(self, header: BlockHeader, height: int, tip: bytes) -> bool:
        """Says whether a header stands on the tip, which has that height and hash, or on a claim above it."""
        parent = self.blocks.get(header.parent_hash)
        if parent is not None:
            return header.height == parent[0].height + 1
        return (header.height, header.parent_hash) == (height + 1, tip)

    def add(self, header: BlockHeader, kept: T) -> None:
        """Keeps a block that follows and has no certificate of its own; the first that came of a hash stays."""
        self.blocks.setdefault(header.block_hash(), (header, kept))

    def settle(self, header: BlockHeader, kept: T, tip: bytes) -> list[T]:
        """Returns what is final by the certificate of a block that follows, oldest first, and forgets all claims."""
        run, parent = [kept], header.parent_hash
        while parent != tip:
            below, other = self.blocks[parent]
            run.append(other)
            parent = below.parent_hash
        self.blocks = {}
        return run[::-1]
