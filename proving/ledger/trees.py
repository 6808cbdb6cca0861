"""Word arrays of depth 30 as sparse trees: batched updates, branches that can be dropped, multiproofs.

A cell is a word and is itself the leaf; a node is C(left, right). Nodes that were never written have the
digest of an empty subtree. A `WordTree` may stand on a parent and then holds only what differs from it, so
that a proposed block is executed on a branch and thrown away, or merged, at the cost of what it touches.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from proving.arithmetic.modulus import WORD
from proving.backends.port import FieldArray, Hasher
from proving.ledger.permutation import compress
from schemas.errors import InvariantError
from schemas.units import ARRAY_DEPTH, WORD_BYTES, ZERO_WORD

Indices = NDArray[np.int64]
"""Node positions within a level, ascending and distinct."""


@dataclass(frozen=True, slots=True)
class TreeTrace:
    """Every inner node that an update touches, children beside each other, lowest level first.

    Attributes:
        level: (n,) level of the children, 0 .. 29.
        index: (n,) position of the node in the level above its children.
        takes: (n, 2) whether the left and the right child were touched.
        old: (n, 16) children before.
        new: (n, 16) children after.
        old_digest: (n, 8) the node before.
        new_digest: (n, 8) the node after.
    """

    level: Indices
    index: Indices
    takes: NDArray[np.bool_]
    old: FieldArray
    new: FieldArray
    old_digest: FieldArray
    new_digest: FieldArray


def empty_digests(hasher: Hasher) -> tuple[bytes, ...]:
    """Returns the digest of an empty subtree per level, 0 (the zero word) to 30."""
    digests = [ZERO_WORD]
    for _ in range(ARRAY_DEPTH):
        pair = np.frombuffer(digests[-1] * 2, dtype="<u4").astype(np.uint32).reshape(1, 2 * WORD)
        digests.append(compress(hasher, pair).astype("<u4").tobytes())
    return tuple(digests)


class WordTree:
    """An array of 2^30 words with its root.

    Args:
        hasher: Where permutations run.
        empty: `empty_digests(hasher)`, shared between trees.
        parent: Tree this one branches from; it must not change while the branch lives.
        nodes: Known nodes of a partial tree, (level, index) -> digest; anything else is then unknown.
    """

    def __init__(
        self,
        hasher: Hasher,
        empty: Sequence[bytes],
        parent: WordTree | None = None,
        nodes: Mapping[tuple[int, int], bytes] | None = None,
    ) -> None:
        self._hasher = hasher
        self._empty = tuple(empty)
        self.parent: WordTree | None = parent
        self.partial = nodes is not None
        self.merged = False
        self.levels: list[dict[int, bytes]] = [{} for _ in range(ARRAY_DEPTH + 1)]
        for (level, index), digest in (nodes or {}).items():
            self.levels[level][index] = digest

    @property
    def root(self) -> bytes:
        """The root, a word."""
        return self.node(ARRAY_DEPTH, 0)

    def node(self, level: int, index: int) -> bytes:
        """Returns a node's digest.

        Raises:
            InvariantError: The tree is partial and does not know the node.
        """
        tree: WordTree | None = self
        while tree is not None:
            found = tree.levels[level].get(index)
            if found is not None:
                return found
            if tree.partial:
                raise InvariantError(f"a partial array does not hold node {index} of level {level}")
            tree = tree.parent
        return self._empty[level]

    def cell(self, index: int) -> bytes:
        """Returns a cell, a word."""
        return self.node(0, index)

    def branch(self) -> WordTree:
        """Returns a tree that starts equal to this one and leaves it unchanged."""
        return WordTree(self._hasher, self._empty, self)

    def merge(self) -> None:
        """Moves a branch's changes into its parent; the branch is then empty.

        Raises:
            InvariantError: The tree has no parent.
        """
        self.skip_merged()
        if self.parent is None:
            raise InvariantError("only a branch can be merged")
        for mine, theirs in zip(self.levels, self.parent.levels, strict=True):
            theirs.update(mine)
            mine.clear()
        self.merged = True

    def skip_merged(self) -> None:
        """Stands on the nearest parent that has not been merged into its own."""
        while self.parent is not None and self.parent.merged:
            self.parent = self.parent.parent

    def update(self, cells: Mapping[int, bytes]) -> TreeTrace:
        """Writes cells and every node above them, each once.

        Returns:
            All touched inner nodes before and after; with no cells, none.
        """
        parts: list[TreeTrace] = []
        index = np.array(sorted(cells), dtype=np.int64)
        old = self._gather(0, index)
        new = _words([cells[i] for i in index.tolist()])
        for level in range(ARRAY_DEPTH if len(cells) else 0):
            self._store(level, index, new)
            part = self._climb(level, index, old, new)
            parts.append(part)
            index, old, new = part.index, part.old_digest, part.new_digest
        if parts:
            self._store(ARRAY_DEPTH, index, new)
        return _concatenate(parts)

    def _climb(self, level: int, index: Indices, old: FieldArray, new: FieldArray) -> TreeTrace:
        parents, position = np.unique(index >> 1, return_inverse=True)
        takes = np.zeros((len(parents), 2), dtype=np.bool_)
        takes[position, index & 1] = True
        children = np.zeros((2, len(parents), 2, WORD), dtype=np.uint32)
        children[0, position, index & 1] = old
        children[1, position, index & 1] = new
        where, side = np.nonzero(~takes)
        siblings = self._gather(level, 2 * parents[where] + side)
        children[:, where, side] = siblings
        pairs = children.reshape(2 * len(parents), 2 * WORD)
        digests = compress(self._hasher, pairs).reshape(2, len(parents), WORD)
        before, after = children.reshape(2, len(parents), 2 * WORD)
        levels = np.full(len(parents), level, dtype=np.int64)
        return TreeTrace(levels, parents, takes, before, after, digests[0], digests[1])

    def _gather(self, level: int, index: Indices) -> FieldArray:
        return _words([self.node(level, i) for i in index.tolist()])

    def _store(self, level: int, index: Indices, words: FieldArray) -> None:
        data = words.astype("<u4").tobytes()
        nodes = self.levels[level]
        for position, i in enumerate(index.tolist()):
            nodes[i] = data[WORD_BYTES * position : WORD_BYTES * (position + 1)]

    def multiproof(self, indices: Sequence[int]) -> list[bytes]:
        """Returns the siblings that the root needs beside the given cells, lowest level first."""
        siblings = []
        known = sorted(set(indices))
        for level in range(ARRAY_DEPTH if known else 0):
            present = set(known)
            siblings += [self.node(level, i ^ 1) for i in known if i ^ 1 not in present]
            known = sorted({i >> 1 for i in known})
        return siblings

    def top(self) -> tuple[bytes, bytes]:
        """Returns the two words below the root: they show an array that nothing touches."""
        return self.node(ARRAY_DEPTH - 1, 0), self.node(ARRAY_DEPTH - 1, 1)

    def cells(self) -> dict[int, bytes]:
        """Returns all written cells by index, of a tree without a parent."""
        return dict(self.levels[0])


def count_nodes(indices: Sequence[int]) -> int:
    """Returns how many inner nodes lie above the given cells."""
    known = set(indices)
    total = 0
    for _ in range(ARRAY_DEPTH if known else 0):
        known = {i >> 1 for i in known}
        total += len(known)
    return total


def partial_tree(hasher: Hasher, cells: Mapping[int, bytes], siblings: Sequence[bytes]) -> WordTree:
    """Builds a tree that knows only the given cells and their multiproof; inverse of `multiproof`.

    The root is computed from them, so comparing it with a trusted root checks the whole proof.

    Raises:
        InvariantError: There are too few or too many siblings, or no cells.
    """
    if not cells:
        raise InvariantError("a multiproof needs at least one cell")
    nodes: dict[tuple[int, int], bytes] = {(0, i): word for i, word in cells.items()}
    supply = iter(siblings)
    known = sorted(cells)
    for level in range(ARRAY_DEPTH):
        present = set(known)
        for i in known:
            if i ^ 1 not in present:
                sibling = next(supply, None)
                if sibling is None:
                    raise InvariantError("a multiproof has too few siblings")
                nodes[level, i ^ 1] = sibling
        known = sorted({i >> 1 for i in known})
        pairs = _words([nodes[level, child] for i in known for child in (2 * i, 2 * i + 1)])
        digests = compress(hasher, pairs.reshape(-1, 2 * WORD)).astype("<u4").tobytes()
        for position, i in enumerate(known):
            nodes[level + 1, i] = digests[WORD_BYTES * position : WORD_BYTES * (position + 1)]
    if next(supply, None) is not None:
        raise InvariantError("a multiproof has too many siblings")
    return WordTree(hasher, (), nodes=nodes)


def untouched_trace(hasher: Hasher, top: Sequence[bytes]) -> TreeTrace:
    """Returns the one node that shows an array equal before and after, from what `WordTree.top` gives.

    Raises:
        InvariantError: There are not two words.
    """
    if len(top) != 2:
        raise InvariantError("an untouched array is shown by two words")
    pair = _words(top).reshape(1, 2 * WORD)
    digest = compress(hasher, pair)
    level, index = np.array([ARRAY_DEPTH - 1]), np.zeros(1, dtype=np.int64)
    return TreeTrace(level, index, np.zeros((1, 2), dtype=np.bool_), pair, pair, digest, digest)


def _words(words: Sequence[bytes]) -> FieldArray:
    return np.frombuffer(b"".join(words), dtype="<u4").astype(np.uint32).reshape(-1, WORD)


def _concatenate(parts: Sequence[TreeTrace]) -> TreeTrace:
    if not parts:
        index = np.zeros(0, dtype=np.int64)
        pairs = np.zeros((0, 2 * WORD), dtype=np.uint32)
        words = np.zeros((0, WORD), dtype=np.uint32)
        takes = np.zeros((0, 2), dtype=np.bool_)
        return TreeTrace(index, index, takes, pairs, pairs, words, words)
    return TreeTrace(
        np.concatenate([part.level for part in parts]),
        np.concatenate([part.index for part in parts]),
        np.concatenate([part.takes for part in parts]),
        np.concatenate([part.old for part in parts]),
        np.concatenate([part.new for part in parts]),
        np.concatenate([part.old_digest for part in parts]),
        np.concatenate([part.new_digest for part in parts]),
    )
