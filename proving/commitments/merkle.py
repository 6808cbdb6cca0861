"""Merkle trees over rows, ending in a cap of digests instead of a single root.

Leaves are sponge digests of whole rows, whose width the verifying key fixes; inner nodes are compressions.
Depth, width and cap length come from the caller, never from a proof.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from proving.arithmetic.modulus import PERMUTATION_WIDTH, WORD, P
from proving.backends.port import Backend, FieldArray, Hasher

_MODULUS = np.uint32(P)


@dataclass(frozen=True, slots=True)
class MerkleTree:
    """A committed matrix.

    Attributes:
        levels: Digests from the leaves up to the cap, each (2^k, 8).
    """

    levels: tuple[FieldArray, ...]

    @property
    def cap(self) -> FieldArray:
        """The (2^log_cap, 8) digests that stand for the whole tree."""
        return self.levels[-1]

    def paths(self, indices: FieldArray) -> FieldArray:
        """Returns the siblings from leaf to cap, (q, depth, 8)."""
        siblings = [
            level[(indices >> np.uint32(depth)) ^ np.uint32(1)]
            for depth, level in enumerate(self.levels[:-1])
        ]
        if not siblings:
            return np.zeros((len(indices), 0, WORD), dtype=np.uint32)
        return np.stack(siblings, axis=1)


def commit_rows(backend: Backend, columns: FieldArray, log_cap: int) -> MerkleTree:
    """Commits to the n rows of (c, n) columns; n a power of two >= 2^log_cap."""
    levels = [backend.hash_rows(columns)]
    while len(levels[-1]) > 2**log_cap:
        levels.append(backend.compress(levels[-1]))
    return MerkleTree(tuple(levels))


def hash_opened_rows(hasher: Hasher, rows: FieldArray) -> FieldArray:
    """Hashes (q, c) opened rows as `Backend.hash_rows` hashes committed ones: (q, 8)."""
    count, width = rows.shape
    states = np.zeros((count, PERMUTATION_WIDTH), dtype=np.uint32)
    states[:, PERMUTATION_WIDTH - 1] = width
    for start in range(0, width, 8):
        part = rows[:, start : start + 8]
        states = states.copy()
        states[:, : part.shape[1]] = part
        states[:, part.shape[1] : WORD] = 0
        states = hasher.permute(states)
    return states[:, :WORD]


def climb(
    hasher: Hasher, digests: FieldArray, indices: FieldArray, paths: FieldArray
) -> FieldArray:
    """Returns the cap entries that (q, 8) leaf digests and (q, depth, 8) siblings lead to."""
    current = digests
    for depth in range(paths.shape[1]):
        right = ((indices >> np.uint32(depth)) & np.uint32(1)).astype(bool)[:, None]
        sibling = paths[:, depth]
        pair = np.where(
            right,
            np.concatenate([sibling, current], axis=1),
            np.concatenate([current, sibling], axis=1),
        )
        shown = hasher.permute(pair)[:, :WORD].astype(np.uint64) + pair[:, :WORD]
        current = (shown % _MODULUS).astype(np.uint32)
    return current
