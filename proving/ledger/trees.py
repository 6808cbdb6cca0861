"""Word arrays of depth 30 as sparse trees: batched updates, branches that can be dropped, multiproofs.

A cell is a word and is itself the leaf; a node is C(left, right). Nodes that were never written have the
digest of an empty subtree. A `WordTree` may stand on a parent and then holds only what differs from it, so
that a proposed block is executed on a branch and thrown away, or merged, at the cost of what it touches.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from proving.arithmetic.modulus import WORD
from proving.backends.port import FieldArray, Hasher
from proving.ledger.permutation import compress
from proving.ledger.tree_levels import (
    FixedLevel,
    GrowingLevel,
    Indices,
    Level,
    Mask,
    bytes_of,
    words_of,
)
from schemas.errors import InvariantError
from schemas.units import ARRAY_DEPTH, ZERO_WORD


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
    takes: Mask
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
        nodes: Known nodes of a partial tree, level by level; anything else is then unknown.
    """

    def __init__(
        self,
        hasher: Hasher,
        empty: Sequence[bytes],
        parent: WordTree | None = None,
        nodes: Sequence[Level] | None = None,
    ) -> None:
        self._hasher = hasher
        self._empty = tuple(empty)
        self.parent: WordTree | None = parent
        self.partial = nodes is not None
        self.merged = False
        self.levels: list[Level] = [GrowingLevel() for _ in range(ARRAY_DEPTH + 1)]
        if nodes is not None:
            self.levels = list(nodes)

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

    def cells_at(self, indices: Sequence[int]) -> list[bytes]:
        """Returns the cells at ascending positions, words."""
        return bytes_of(self._gather(0, np.array(indices, dtype=np.int64)))

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
            theirs.scatter(*mine.items())
        self.levels = [GrowingLevel() for _ in range(ARRAY_DEPTH + 1)]
        self.merged = True

    def skip_merged(self) -> None:
        """Stands on the nearest parent that has not been merged into its own."""
        while self.parent is not None and self.parent.merged:
            self.parent = self.parent.parent

    def write(self, index: Indices, words: FieldArray) -> None:
        """Writes (n, 8) cells and every node above them, each once.

        Args:
            index: Positions of the cells, ascending and distinct.
            words: What they hold then.
        """
        for level in range(ARRAY_DEPTH if len(index) else 0):
            self.levels[level].scatter(index, words)
            parents, children = self._with_siblings(level, index, words)
            index, words = parents, compress(self._hasher, children)
        if len(index):
            self.levels[ARRAY_DEPTH].scatter(index, words)

    def update(self, cells: Mapping[int, bytes]) -> TreeTrace:
        """Like `write`, and tells what it did.

        Returns:
            All touched inner nodes before and after; with no cells, none.
        """
        parts: list[TreeTrace] = []
        index = np.array(sorted(cells), dtype=np.int64)
        old = self._gather(0, index)
        new = words_of([cells[i] for i in index.tolist()])
        for level in range(ARRAY_DEPTH if len(cells) else 0):
            _, before = self._with_siblings(level, index, old)
            self.levels[level].scatter(index, new)
            parents, after = self._with_siblings(level, index, new)
            takes = _touched(index, parents)
            digests = compress(self._hasher, np.concatenate([before, after]))
            levels = np.full(len(parents), level, dtype=np.int64)
            old, new = digests[: len(parents)], digests[len(parents) :]
            parts.append(TreeTrace(levels, parents, takes, before, after, old, new))
            index = parents
        if parts:
            self.levels[ARRAY_DEPTH].scatter(index, new)
        return _concatenate(parts)

    def _with_siblings(
        self, level: int, index: Indices, words: FieldArray
    ) -> tuple[Indices, FieldArray]:
        """Returns the parents of nodes that hold `words`, and (n, 16) pairs of their children."""
        parents = _parents(index)
        touched = _touched(index, parents).reshape(-1)
        children = np.empty((2 * len(parents), WORD), dtype=np.uint32)
        children[touched] = words
        places = (2 * parents[:, None] + np.arange(2)).reshape(-1)
        children[~touched] = self._gather(level, places[~touched])
        return parents, children.reshape(len(parents), 2 * WORD)

    def _gather(self, level: int, index: Indices) -> FieldArray:
        words = np.zeros((len(index), WORD), dtype=np.uint32)
        missing = np.arange(len(index))
        tree: WordTree | None = self
        while tree is not None and len(missing):
            found, known = tree.levels[level].gather(index[missing])
            words[missing[known]] = found[known]
            missing = missing[~known]
            if tree.partial and len(missing):
                raise InvariantError(
                    f"a partial array does not hold node {index[missing[0]]} of level {level}"
                )
            tree = tree.parent
        if len(missing):
            words[missing] = words_of([self._empty[level]])
        return words

    def multiproof(self, indices: Sequence[int]) -> list[bytes]:
        """Returns the siblings that the root needs beside the given cells, lowest level first."""
        siblings: list[bytes] = []
        known = np.array(sorted(set(indices)), dtype=np.int64)
        for level in range(ARRAY_DEPTH if len(known) else 0):
            parents = _parents(known)
            siblings += bytes_of(self._gather(level, _lonely(known, parents)))
            known = parents
        return siblings

    def top(self) -> tuple[bytes, bytes]:
        """Returns the two words below the root: they show an array that nothing touches."""
        return self.node(ARRAY_DEPTH - 1, 0), self.node(ARRAY_DEPTH - 1, 1)

    def cells(self) -> dict[int, bytes]:
        """Returns all written cells by index, of a tree without a parent."""
        index, words = self.levels[0].items()
        return dict(zip(index.tolist(), bytes_of(words), strict=True))


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
    supply, used = words_of(list(siblings)), 0
    index = np.array(sorted(cells), dtype=np.int64)
    words = words_of([cells[i] for i in index.tolist()])
    levels: list[Level] = []
    for _ in range(ARRAY_DEPTH):
        parents = _parents(index)
        touched = _touched(index, parents).reshape(-1)
        needed = len(touched) - len(index)
        if used + needed > len(supply):
            raise InvariantError("a multiproof has too few siblings")
        children = np.empty((len(touched), WORD), dtype=np.uint32)
        children[touched] = words
        children[~touched] = supply[used : used + needed]
        used += needed
        places = (2 * parents[:, None] + np.arange(2)).reshape(-1)
        levels.append(FixedLevel(places, children))
        index, words = parents, compress(hasher, children.reshape(-1, 2 * WORD))
    if used < len(supply):
        raise InvariantError("a multiproof has too many siblings")
    return WordTree(hasher, (), nodes=[*levels, FixedLevel(index, words)])


def _parents(index: Indices) -> Indices:
    """Returns the positions above ascending positions, each once."""
    above = index >> 1
    parents: Indices = above[np.diff(above, prepend=-1) != 0]
    return parents


def _touched(index: Indices, parents: Indices) -> Mask:
    """Returns (n, 2): which children of the parents are among the positions."""
    touched = np.zeros((len(parents), 2), dtype=np.bool_)
    touched[np.searchsorted(parents, index >> 1), index & 1] = True
    return touched


def _lonely(index: Indices, parents: Indices) -> Indices:
    """Returns the children of the parents that are not among the positions, ascending."""
    row, side = np.nonzero(~_touched(index, parents))
    return 2 * parents[row] + side


def untouched_trace(hasher: Hasher, top: Sequence[bytes]) -> TreeTrace:
    """Returns the one node that shows an array equal before and after, from what `WordTree.top` gives.

    Raises:
        InvariantError: There are not two words.
    """
    if len(top) != 2:
        raise InvariantError("an untouched array is shown by two words")
    pair = words_of(list(top)).reshape(1, 2 * WORD)
    digest = compress(hasher, pair)
    level, index = np.array([ARRAY_DEPTH - 1]), np.zeros(1, dtype=np.int64)
    return TreeTrace(level, index, np.zeros((1, 2), dtype=np.bool_), pair, pair, digest, digest)


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
