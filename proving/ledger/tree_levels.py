"""The nodes of one level of a tree: in one array where they lie close together, in a dictionary elsewhere.

Both stores read and write many nodes at once. Accounts, keys and transactions are numbered without gaps, so their
nodes take 33 bytes each; a few cells of a branch, anywhere in the level, take no more than themselves.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from proving.arithmetic.modulus import WORD
from proving.backends.port import FieldArray
from schemas.errors import InvariantError
from schemas.units import WORD_BYTES

Indices = NDArray[np.int64]
"""Node positions within a level, ascending and distinct."""

Mask = NDArray[np.bool_]

LEAST_ROOM = 64
"""Nodes that the array may hold however few are known."""

SPARSITY = 4
"""The array has at most so many places per known node."""


class Level(Protocol):
    """Nodes of one level."""

    def get(self, index: int) -> bytes | None:
        """Returns a node's digest, or None where none is known."""
        ...

    def gather(self, index: Indices) -> tuple[FieldArray, Mask]:
        """Returns (n, 8) digests and which of them are known; the others are arbitrary."""
        ...

    def scatter(self, index: Indices, words: FieldArray) -> None:
        """Sets (n, 8) digests."""
        ...

    def items(self) -> tuple[Indices, FieldArray]:
        """Returns all known nodes, ascending, and their digests."""
        ...


class GrowingLevel:
    """Nodes that are added as they come; a `Level`."""

    def __init__(self) -> None:
        self._words = np.zeros((0, WORD), dtype=np.uint32)
        self._known = np.zeros(0, dtype=np.bool_)
        self._count = 0
        self._rest: dict[int, bytes] = {}

    def get(self, index: int) -> bytes | None:
        """See `Level`."""
        if index < len(self._words):
            return self._words[index].astype("<u4").tobytes() if self._known[index] else None
        return self._rest.get(index)

    def gather(self, index: Indices) -> tuple[FieldArray, Mask]:
        """See `Level`."""
        inside = int(np.searchsorted(index, len(self._words)))
        words = np.zeros((len(index), WORD), dtype=np.uint32)
        known = np.zeros(len(index), dtype=np.bool_)
        words[:inside] = self._words[index[:inside]]
        known[:inside] = self._known[index[:inside]]
        if self._rest:
            found = [self._rest.get(i) for i in index[inside:].tolist()]
            places = [place for place, word in enumerate(found, inside) if word is not None]
            known[places] = True
            words[places] = words_of([word for word in found if word is not None])
        return words, known

    def scatter(self, index: Indices, words: FieldArray) -> None:
        """See `Level`."""
        self._grow(index)
        inside = int(np.searchsorted(index, len(self._words)))
        place = index[:inside]
        self._count += inside - int(self._known[place].sum())
        self._words[place] = words[:inside]
        self._known[place] = True
        data = words[inside:].astype("<u4").tobytes()
        for position, i in enumerate(index[inside:].tolist()):
            self._rest[i] = data[WORD_BYTES * position : WORD_BYTES * (position + 1)]

    def items(self) -> tuple[Indices, FieldArray]:
        """See `Level`."""
        inside = np.flatnonzero(self._known)
        rest = sorted(self._rest)
        words = words_of([self._rest[i] for i in rest])
        index = np.concatenate([inside, np.array(rest, dtype=np.int64)])
        return index, np.concatenate([self._words[inside], words])

    def _grow(self, index: Indices) -> None:
        """Makes the array longer if the nodes that it then holds fill it well enough."""
        end = int(index[-1]) + 1 if len(index) else 0
        if end <= len(self._words):
            return
        room = 1 << (end - 1).bit_length()
        if room > max(LEAST_ROOM, SPARSITY * (self._count + len(self._rest) + len(index))):
            return
        words = np.zeros((room, WORD), dtype=np.uint32)
        known = np.zeros(room, dtype=np.bool_)
        words[: len(self._words)], known[: len(self._known)] = self._words, self._known
        moved = [i for i in self._rest if i < room]
        self._words, self._known = words, known
        words[moved] = words_of([self._rest.pop(i) for i in moved])
        known[moved] = True
        self._count += len(moved)


class FixedLevel:
    """Nodes that are all known from the start; a `Level`.

    Args:
        index: Their positions.
        words: (n, 8) digests.
    """

    def __init__(self, index: Indices, words: FieldArray) -> None:
        self._index = index
        self._words = words.copy()

    def get(self, index: int) -> bytes | None:
        """See `Level`."""
        words, known = self.gather(np.array([index], dtype=np.int64))
        return words[0].astype("<u4").tobytes() if known[0] else None

    def gather(self, index: Indices) -> tuple[FieldArray, Mask]:
        """See `Level`."""
        place = np.minimum(np.searchsorted(self._index, index), len(self._index) - 1)
        return self._words[place], self._index[place] == index

    def scatter(self, index: Indices, words: FieldArray) -> None:
        """See `Level`.

        Raises:
            InvariantError: One of the nodes is not known.
        """
        place = np.minimum(np.searchsorted(self._index, index), len(self._index) - 1)
        if (self._index[place] != index).any():
            raise InvariantError("a partial array cannot take nodes that it does not hold")
        self._words[place] = words

    def items(self) -> tuple[Indices, FieldArray]:
        """See `Level`."""
        return self._index, self._words


def words_of(words: list[bytes]) -> FieldArray:
    """Returns words as (n, 8) residues."""
    return np.frombuffer(b"".join(words), dtype="<u4").astype(np.uint32).reshape(-1, WORD)


def bytes_of(words: FieldArray) -> list[bytes]:
    """Returns (n, 8) residues as words."""
    data = words.astype("<u4").tobytes()
    return [data[start : start + WORD_BYTES] for start in range(0, len(data), WORD_BYTES)]
