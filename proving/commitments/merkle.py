"""Merkle trees over rows, ending in a cap of digests instead of a single root.

Leaves are digests of whole rows, whose width the verifying key fixes; inner nodes are digests of two. Depth, width,
cap length and hash come from the caller, never from a proof. Source: proving/README.md "Hashing", "SHA-256" and
"Merkle caps".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from proving.arithmetic.modulus import PERMUTATION_WIDTH, WORD, P
from proving.arithmetic.sha256 import Bytes, sha256_messages, sha256_rows
from proving.backends.port import Backend, FieldArray, Hasher
from proving.stark.commitment_hash import POSEIDON2, SHA256, CommitmentHash

_MODULUS = np.uint32(P)

NODE_TAG = 1
"""First byte of the message of an inner node; that of a row begins with a zero byte."""


@dataclass(frozen=True, slots=True)
class MerkleTree:
    """A committed matrix.

    Attributes:
        levels: Digests from the leaves up to the cap, each (2^k, entries of a digest).
    """

    levels: tuple[FieldArray | Bytes, ...]

    @property
    def cap(self) -> FieldArray:
        """The (2^log_cap, entries) digests that stand for the whole tree."""
        return np.asarray(self.levels[-1], dtype=np.uint32)

    def paths(self, indices: FieldArray) -> FieldArray:
        """Returns the siblings from leaf to cap, (q, depth, entries)."""
        siblings = [
            np.asarray(level[(indices >> np.uint32(depth)) ^ np.uint32(1)], dtype=np.uint32)
            for depth, level in enumerate(self.levels[:-1])
        ]
        if not siblings:
            return np.zeros((len(indices), 0, self.levels[-1].shape[1]), dtype=np.uint32)
        return np.stack(siblings, axis=1)


def commit_rows(
    backend: Backend, columns: FieldArray, log_cap: int, digests: CommitmentHash = POSEIDON2
) -> MerkleTree:
    """Commits to the n rows of (c, n) columns; n a power of two >= 2^log_cap."""
    if digests is SHA256:
        return _sha256_tree(backend, _sha256_leaves(backend, columns), log_cap)
    return _poseidon2_tree(backend, backend.hash_rows(columns), log_cap)


def commit_interleaved(
    backend: Backend,
    parts: Sequence[Callable[[], FieldArray]],
    log_cap: int,
    digests: CommitmentHash = POSEIDON2,
) -> MerkleTree:
    """Commits to rows of which part k holds those at k, k + parts, ...; parts are made and dropped one by one."""
    if digests is SHA256:
        hashed = [_sha256_leaves(backend, part()) for part in parts]
        return _sha256_tree(backend, np.stack(hashed, axis=1).reshape(-1, SHA256.entries), log_cap)
    words = [np.asarray(backend.hash_rows(part())) for part in parts]
    return _poseidon2_tree(backend, np.stack(words, axis=1).reshape(-1, WORD), log_cap)


def _poseidon2_tree(backend: Backend, leaves: FieldArray, log_cap: int) -> MerkleTree:
    levels = [leaves]
    while len(levels[-1]) > 2**log_cap:
        levels.append(backend.compress(levels[-1]))
    return MerkleTree(tuple(levels))


def _sha256_tree(backend: Backend, leaves: Bytes, log_cap: int) -> MerkleTree:
    levels = [leaves]
    while len(levels[-1]) > 2**log_cap:
        level = levels[-1]
        levels.append(_cut(backend.sha256_messages(node_messages(level[::2], level[1::2]))))
    return MerkleTree(tuple(levels))


def _sha256_leaves(backend: Backend, columns: FieldArray) -> Bytes:
    return _cut(backend.sha256_rows(columns, row_prefix(len(columns))))


def row_prefix(width: int) -> tuple[int]:
    """Returns the word before a row of so many elements: a zero byte and the width."""
    return (width << 8,)


def node_messages(left: Bytes, right: Bytes) -> Bytes:
    """Returns what is hashed for the parents of (n, 26) digests: a tag, then both children; (n, 53)."""
    tags = np.full((len(left), 1), NODE_TAG, dtype=np.uint8)
    return np.concatenate([tags, left, right], axis=1)


def _cut(whole: Bytes) -> Bytes:
    return np.ascontiguousarray(whole[:, : SHA256.entries])


def hash_opened_rows(
    hasher: Hasher, rows: FieldArray, digests: CommitmentHash = POSEIDON2
) -> FieldArray:
    """Hashes (q, c) opened rows as committed ones are hashed: (q, entries)."""
    count, width = rows.shape
    if digests is SHA256:
        return _cut(sha256_rows(rows.T, row_prefix(width))).astype(np.uint32)
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
    hasher: Hasher,
    leaves: FieldArray,
    indices: FieldArray,
    paths: FieldArray,
    digests: CommitmentHash = POSEIDON2,
) -> FieldArray:
    """Returns the cap entries that (q, entries) leaf digests and (q, depth, entries) siblings lead to."""
    current = leaves
    for depth in range(paths.shape[1]):
        on_right = ((indices >> np.uint32(depth)) & np.uint32(1)).astype(bool)[:, None]
        sibling = paths[:, depth]
        left = np.where(on_right, sibling, current)
        right = np.where(on_right, current, sibling)
        if digests is SHA256:
            messages = node_messages(left.astype(np.uint8), right.astype(np.uint8))
            current = _cut(sha256_messages(messages)).astype(np.uint32)
            continue
        pair = np.concatenate([left, right], axis=1)
        shown = hasher.permute(pair)[:, :WORD].astype(np.uint64) + left
        current = (shown % _MODULUS).astype(np.uint32)
    return current
