"""Where a window is cut: how many of its entries fit a circuit, and which of two circuits takes them.

Rows are counted from what the entries touch, before anything is executed and for all entries at once. A cut may
fall between any two entries. Which shape takes them is decided here and nowhere else, see `plan_cuts`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from proving.errors import ProvingError
from proving.ledger.layout import Layout
from schemas.job import MAX_WITNESS_BYTES
from schemas.statement import TOUCHED_ARRAYS
from schemas.units import ARRAY_DEPTH, WORD_BYTES, Array

ENTRY_BYTES = 35
"""Most bytes of an entry in a witness, without the two words that a registration adds."""

CELL_BYTES = 4 + WORD_BYTES
"""Most bytes of a touched cell in a witness."""

APPENDED = (Array.KEY, Array.TXS)
"""Arrays whose words are written once and never read."""

TOP_WORDS = 2
"""Siblings that show an array which nothing touches, at the cost of one node."""

Counts = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class LargeShape:
    """The circuit for much load.

    Attributes:
        kind: Number of its kind of proof.
        layout: Its shape.
        above: It is cheaper than so many segments of the small shape, and not than fewer.
    """

    kind: int
    layout: Layout
    above: int


class Load(NamedTuple):
    """What one entry asks of a circuit.

    Attributes:
        steps: Rows of the transaction lane.
        hashes: Compressions beside those of the trees.
        cells: (array, index) of what it reads and writes.
        appends: (array, place) of the words it appends.
    """

    steps: int
    hashes: int
    cells: tuple[tuple[Array, int], ...]
    appends: tuple[tuple[Array, int], ...]


class Cut(NamedTuple):
    """One segment of a plan.

    Attributes:
        entries: How many it takes.
        large: Whether the large shape proves it.
    """

    entries: int
    large: bool


class _Loads:
    """Loads of many entries as columns."""

    def __init__(self, loads: Sequence[Load]) -> None:
        self.steps = _column(load.steps for load in loads)
        self.hashes = _column(load.hashes for load in loads)
        pairs: dict[Array, list[int]] = {array: [] for array in TOUCHED_ARRAYS}
        for number, load in enumerate(loads):
            for array, index in (*load.cells, *load.appends):
                pairs[array] += (number, index)
        self.places = {array: _places(values) for array, values in pairs.items()}

    def fill(self, start: int, layout: Layout) -> int:
        """Returns the end of the longest run of entries from `start` that one segment can hold."""
        stop = min(len(self.steps), start + layout.height)  # an entry takes a row at least
        hashes = np.cumsum(self.hashes[start:stop])
        cells = np.zeros(stop - start, dtype=np.int64)
        nodes, siblings = (hashes + 1) // 2, np.zeros(stop - start, dtype=np.int64)
        for array, (owner, index) in self.places.items():
            part = slice(*np.searchsorted(owner, (start, stop)))
            owners, indices = owner[part] - start, index[part]
            touched, above = _new_places(owners, indices, stop - start)
            nodes = nodes + np.maximum(above, 1)
            siblings += np.where(touched > 0, above + 1 - touched, TOP_WORDS)
            cells += 0 if array in APPENDED else touched
        size = ENTRY_BYTES * np.arange(1, stop - start + 1) + 2 * WORD_BYTES * hashes
        size += CELL_BYTES * cells + WORD_BYTES * siblings
        fits = (
            (1 + np.cumsum(self.steps[start:stop]) <= layout.height)  # the last row is padding
            & (cells <= layout.height)
            & (nodes <= layout.height * len(layout.nodes))
            & (size <= MAX_WITNESS_BYTES)
        )
        return start + (stop - start if fits.all() else int(fits.argmin()))


def plan_cuts(loads: Sequence[Load], layout: Layout, large: LargeShape | None) -> list[Cut]:
    """Cuts a window's entries into segments.

    What needs at most `large.above` segments of the small shape gets those. Otherwise the large shape takes as
    much as it holds, and the rest is asked the same again; so a window ends in small segments when its rest is
    small.

    Args:
        loads: Of the window's entries, in order.
        layout: The small shape.
        large: The large one, if it may be used.

    Raises:
        ProvingError: A circuit is too small for a single entry.
    """
    columns = _Loads(loads)
    cuts: list[Cut] = []
    start, count = 0, len(loads)
    while start < count:
        ends: list[int] = []
        while (ends[-1] if ends else start) < count and (large is None or len(ends) <= large.above):
            ends.append(_fill_some(columns, ends[-1] if ends else start, layout))
        is_small = large is None or len(ends) <= large.above
        reach = start if is_small or large is None else columns.fill(start, large.layout)
        if reach >= ends[-1]:
            cuts.append(Cut(reach - start, True))
            start = reach
            continue
        for begin, end in zip([start, *ends], ends, strict=False):
            cuts.append(Cut(end - begin, False))
        start = ends[-1]
    return cuts


def _fill_some(columns: _Loads, start: int, layout: Layout) -> int:
    end = columns.fill(start, layout)
    if end == start:
        raise ProvingError("the circuit is too small for a single transaction")
    return end


def _new_places(owner: Counts, index: Counts, size: int) -> tuple[Counts, Counts]:
    """Counts the distinct cells, and the nodes above them, that the first 1, 2, ... `size` entries touch."""
    order = np.lexsort((owner, index))
    owner, index = owner[order], index[order]
    found: list[Counts] = []
    for level in range(ARRAY_DEPTH + 1):
        starts = np.flatnonzero(np.diff(index, prepend=-1))
        owner = np.minimum.reduceat(owner, starts) if len(starts) else owner
        found.append(np.bincount(owner, minlength=size))
        if len(starts) <= 1:
            found += [found[-1]] * (ARRAY_DEPTH - level)
            break
        index = index[starts] >> 1
    return np.cumsum(found[0]), np.cumsum(np.sum(found[1:], axis=0))


def _column(values: Iterable[int]) -> Counts:
    return np.fromiter(values, dtype=np.int64)


def _places(pairs: Sequence[int]) -> tuple[Counts, Counts]:
    table = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    return np.ascontiguousarray(table[:, 0]), np.ascontiguousarray(table[:, 1])
