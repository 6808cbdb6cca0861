"""Forged ledger traces: edit the transaction lane, and everything that follows from it is made to fit.

A forger controls all columns and the public inputs. `Forgery.finish` gives the memory rows, the trees, the
hashes, the range multiplicities and the public inputs that fit the edited transaction lane, so that what is
left broken is the edit alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from pipelines.adversary.ledger_traffic import HASHER
from proving.arithmetic.modulus import P
from proving.ledger.air import LedgerAir
from proving.ledger.air_steps import MONEY_FIELDS, RANGED_FIELDS
from proving.ledger.layout import COUNTER_NAMES, SPAN_WEIGHT
from proving.ledger.state import Ledger, compress_words
from proving.ledger.trace_nodes import compression_columns, fill_nodes
from proving.ledger.trees import TreeTrace, untouched_trace
from proving.stark.air import FieldArray
from schemas.statement import AFTER_OFFSET, BEFORE_OFFSET, NUM_COUNTERS, TOUCHED_ARRAYS
from schemas.steps import STEPS, Step
from schemas.units import (
    AMOUNT_LIMBS,
    ARRAY_DEPTH,
    FEE_UNIT,
    FIRST_ACCOUNT,
    LIMB_LIMIT,
    LINK_ARRAYS,
    Array,
    limbs_of,
    word_bytes,
    word_elements,
)


class Forgery:
    """A trace that is being forged.

    Args:
        air: The circuit.
        trace: (columns, rows) of an honest trace of any shape of the circuit; only its lane is taken.
        publics: Its public inputs.
        ledger: The state before it.
        unchecked: A range message, such as `step.fee.range[1]`, that the circuit is taken to lack.

    Attributes:
        trace: (columns, rows) as far as it is forged.
        publics: Public inputs.
        spare: First free memory row after `finish`.
        lost_writes: Rows whose cell keeps its old word in the tree.
        lost_appends: Rows whose word is not in its list.
        unhashed: Rows whose compression no hash lane offers.
        given: Account cells that change without a step: index -> old and new word.
    """

    def __init__(
        self,
        air: LedgerAir,
        trace: FieldArray,
        publics: Sequence[int],
        ledger: Ledger,
        unchecked: str = "",
    ) -> None:
        self.air = air
        self.lane = air.layout.steps
        self.height = air.layout.height
        self.trace = np.zeros((air.num_main, self.height), dtype=np.uint32)
        self.trace[: self.lane.width] = trace[: self.lane.width, : self.height]
        self.publics = list(publics)
        self.spare = 0
        self.lost_writes: set[int] = set()
        self.lost_appends: set[int] = set()
        self.unhashed: set[int] = set()
        self.given: dict[int, tuple[tuple[int, ...], tuple[int, ...]]] = {}
        self._ledger = ledger
        self._unchecked = unchecked

    def get(self, field: str, row: int, position: int = 0) -> int:
        """Returns a cell of the lane."""
        return int(self.trace[self.lane.column(field, position), row])

    def put(self, field: str, row: int, value: int, position: int = 0) -> None:
        """Writes a cell of the lane."""
        self.trace[self.lane.column(field, position), row] = value % P

    def add(self, field: str, row: int, delta: int, position: int = 0) -> None:
        """Moves a cell of the lane."""
        self.put(field, row, self.get(field, row, position) + delta, position)

    def add_from(self, field: str, row: int, delta: int, position: int = 0) -> None:
        """Moves a cell of the lane on a row and all rows after it."""
        for place in range(row, self.height):
            self.add(field, place, delta, position)

    def word(self, field: str, row: int) -> tuple[int, ...]:
        """Returns a field of the lane."""
        places = self.lane.places[field]
        return tuple(self.trace[places.start : places.stop, row].tolist())

    def put_word(self, field: str, row: int, values: Sequence[int]) -> None:
        """Writes a field of the lane."""
        for position, value in enumerate(values):
            self.put(field, row, value, position)

    def weigh(self, row: int, weight: Callable[[Step], int]) -> int:
        """Returns the sum of selectors, each times its step's weight, as a residue nearest to zero."""
        total = sum(weight(step) * self.get(step.name, row) for step in STEPS) % P
        return total - P if total > P // 2 else total

    def touches(self, row: int) -> int:
        """Returns how often a row touches its cell."""
        return self.weigh(row, lambda step: int(step.array is not None))

    def moves(self, row: int) -> int:
        """Returns how often a row touches an account."""
        return self.weigh(row, lambda step: int(step.moves))

    def links(self, row: int) -> int:
        """Returns how often a row touches a link."""
        return self.weigh(row, lambda step: int(step.link is not None))

    def place(self, row: int) -> tuple[int, int]:
        """Returns array and index of the cell that a row touches."""
        return self.weigh(row, lambda step: int(step.array or 0)), self.get("cell", row)

    def truncate(self, row: int) -> None:
        """Pads the lane from a row on; the counters stay as they are before it."""
        for name, places in self.lane.places.items():
            kept = name in COUNTER_NAMES
            for column in places:
                self.trace[column, row:] = self.trace[column, row] if kept else 0
        self.trace[self.lane.column("padding"), row:] = 1

    def extra_key(self, row: int) -> None:
        """Registers a key out of the blue on a row, with padding after it."""
        self.truncate(row)
        self.put("padding", row, 0)
        self.put("register_key", row, 1)
        self.put("place", row, self.get("keys", row))
        self.put_word("old", row, range(8))
        self.hash_here(row)
        self.add_from("keys", row + 1, 1)

    def hash_here(self, row: int) -> None:
        """Makes a row's word the compression of its old and new words."""
        self.put_word("word", row, _digest([*self.word("old", row), *self.word("new", row)]))

    def retouch(self, row: int, cell: int, old: Sequence[int] | None = None) -> None:
        """Makes a row touch a cell that later rows leave alone, with amount and fee as they stand."""
        before = [r for r in range(row) if self.moves(r) and self.get("cell", r) == cell]
        previous = before[-1] + 1 if before else 0
        held = self.word("new", before[-1]) if before else self._cell(cell)
        self.put("cell", row, cell)
        self.put("previous_time", row, previous)
        self.put_word("elapsed", row, limbs_of(row - previous, 2))
        self.put_word("old", row, held if old is None else old)
        if cell >= FIRST_ACCOUNT:
            self.put_word("above_first", row, limbs_of(cell - FIRST_ACCOUNT, 2))
        below = self.get("keys", row) - 1 - cell
        if below >= 0:
            self.put_word("below_last", row, (below % SPAN_WEIGHT, below // SPAN_WEIGHT))
        self.move(row)

    def move(self, row: int) -> None:
        """Computes what a row leaves in its cell, borrowing and carrying as an honest prover does."""
        step = next(step for step in STEPS if self.get(step.name, row) == 1)
        sign = -1 if step.takes else 1
        fees = [*self.word("fee", row), self.get("amount", row, 3) if step.fee_sign > 0 else 0, 0]
        carry = 0
        for j in range(AMOUNT_LIMBS):
            value = self.get("old", row, j) + step.amount_sign * _signed(self.get("amount", row, j))
            value += step.fee_sign * FEE_UNIT * _signed(fees[j]) + sign * carry
            carry = sign * (value >> 15) if j < AMOUNT_LIMBS - 1 else 0
            self.put("new", row, value - sign * carry * LIMB_LIMIT, j)
            if j < AMOUNT_LIMBS - 1:
                self.put("carry", row, carry, j)
        self.put("new", row, self.get("old", row, 4) + step.nonce_step, 4)
        for j in range(5, 8):
            self.put("new", row, self.get("old", row, j), j)

    def relink(self) -> None:
        """Lets every row put its word on the link that it names, after all that is on it then."""
        last: dict[tuple[int, int], int] = {}
        for row in self.active_rows():
            if self.links(row) != 1:
                continue
            before = last.get(self.place(row))
            self.put("previous_time", row, 0 if before is None else before + 1)
            self.put_word("elapsed", row, limbs_of(row - self.get("previous_time", row), 2))
            self.put_word("old", row, [0] * 8 if before is None else self.word("new", before))
            self.put_word("new", row, _digest([*self.word("old", row), *self.word("word", row)]))
            last[self.place(row)] = row

    def active_rows(self) -> list[int]:
        """Returns the rows that some step selects; the others touch and append nothing."""
        columns = [self.lane.column(step.name) for step in STEPS]
        return np.flatnonzero(self.trace[columns].any(axis=0)).tolist()

    def replay(self) -> None:
        """Lets every row read what the last row of its cell left, and moves it from there."""
        held: dict[int, tuple[int, ...]] = {}
        for row in self.active_rows():
            if self.moves(row):
                cell = self.get("cell", row)
                self.put_word("old", row, held.get(cell, self._cell(cell)))
                self.move(row)
                held[cell] = self.word("new", row)

    def follow(self, row: int) -> None:
        """Lets the later rows of a row's cell go on from what it leaves there."""
        cell, held = self.get("cell", row), self.word("new", row)
        for later in self.active_rows():
            if later > row and self.moves(later) and self.get("cell", later) == cell:
                self.put_word("old", later, held)
                self.move(later)
                held = self.word("new", later)

    def finish(self) -> None:
        """Makes everything outside the transaction lane fit it."""
        cells = self._cells()
        self._fill_memory(cells)
        trees: list[tuple[Array, TreeTrace]] = []
        hashes: list[int] = []
        for array in TOUCHED_ARRAYS:
            tree = self._ledger.trees[array].branch()
            if not cells[array]:
                trees.append((array, untouched_trace(HASHER, tree.top())))
                self._put_root(BEFORE_OFFSET, array, tree.root)
                self._put_root(AFTER_OFFSET, array, tree.root)
                continue
            tree.update({index: old for index, (old, _) in cells[array].items()})
            self._put_root(BEFORE_OFFSET, array, tree.root)
            trees.append((array, tree.update({i: new for i, (_, new) in cells[array].items()})))
            self._put_root(AFTER_OFFSET, array, tree.root)
        for row in sorted(set(self.active_rows()) - self.unhashed):
            pair = [*self.word("old", row), *self.word("new", row)]
            if self.get("register_key", row) == 1 and self.word("word", row) == _digest(pair):
                hashes += pair
            pair[8:] = self.word("word", row)
            if self.links(row) == 1 and self.word("new", row) == _digest(pair):
                hashes += pair
        fill_nodes(self.trace, self.air.layout, trees, np.array(hashes, np.uint32).reshape(-1, 16))
        self._fill_ranges()
        self._put_counters()

    def remember(self, tree: int, index: int, old: Sequence[int], *, touched: int = 1) -> None:
        """Adds a memory row of a cell that nothing changes; after `finish`."""
        lane = self.air.layout.memory
        values = np.array([touched, tree, index, *old, *old, 0]) % P
        self.trace[lane.start : lane.start + lane.width, self.spare] = values
        self.spare += 1

    def node(self, field: str, row: int, position: int = 0) -> int:
        """Returns a cell of the first hash lane."""
        return int(self.trace[self.air.layout.nodes[0].column(field, position), row])

    def put_node(self, field: str, row: int, value: int, position: int = 0) -> None:
        """Writes a cell of the first hash lane."""
        self.trace[self.air.layout.nodes[0].column(field, position), row] = value % P

    def find_nodes(self, **wanted: int) -> list[int]:
        """Returns the rows of the first hash lane that hold tree nodes with the given fields."""
        return [
            row
            for row in range(self.height)
            if self.node("is_node", row) == 1
            and all(self.node(field, row) == value for field, value in wanted.items())
        ]

    def put_untouched(self, row: int, array: Array, level: int, index: int) -> None:
        """Opens a node that nothing changes on a free row of the first hash lane."""
        tree = self._ledger.trees[array]
        pair = [e for i in range(2) for e in word_elements(tree.node(level, 2 * index + i))]
        for name, value in (("is_node", 1), ("tree", array), ("level", level), ("index", index)):
            self.put_node(name, row, value)
        for version in ("old", "new"):
            for j, value in enumerate(pair):
                self.put_node(version, row, value, j)
            self._compress_node(row, version)

    def seal(self, array: Array) -> None:
        """Shows an array as untouched: one node below its root, equal in both versions; after `finish`."""
        rows = self.find_nodes(tree=int(array))
        for row in rows:
            for field in ("is_node", "takes_left", "takes_right"):
                self.put_node(field, row, 0)
        self.put_untouched(rows[0], array, ARRAY_DEPTH - 1, 0)
        for boundary in (BEFORE_OFFSET, AFTER_OFFSET):
            self._put_root(boundary, array, self._ledger.trees[array].root)

    def change_node(self, row: int, version: str, position: int) -> None:
        """Changes an input of a node in one version, and all nodes above it up to the public root."""
        self.put_node(version, row, self.node(version, row, position) + 1, position)
        while True:
            digest = self._compress_node(row, version)
            tree, level, index = (self.node(f, row) for f in ("tree", "level", "index"))
            above = self.find_nodes(tree=tree, level=level + 1, index=index >> 1)
            if not above:
                break
            (row,) = above
            for j, value in enumerate(digest):
                self.put_node(version, row, value, 8 * (index & 1) + j)
        boundary = BEFORE_OFFSET if version == "old" else AFTER_OFFSET
        self._put_root(boundary, Array(tree), word_bytes(digest))

    def _compress_node(self, row: int, version: str) -> tuple[int, ...]:
        places = self.air.layout.nodes[0].places[version]
        pair = self.trace[places.start : places.start + 16, row].reshape(1, 16)
        columns = compression_columns(pair)[:, 0]
        self.trace[places.start : places.stop, row] = columns
        return tuple(columns[-8:].tolist())

    def _cell(self, index: int) -> tuple[int, ...]:
        return word_elements(self._ledger.trees[Array.ACC].cell(index))

    def _cells(self) -> dict[Array, dict[int, tuple[bytes, bytes]]]:
        cells: dict[Array, dict[int, tuple[bytes, bytes]]] = {a: {} for a in TOUCHED_ARRAYS}
        for row in self.active_rows():
            touched, index = self.place(row)
            if self.touches(row) and touched in cells:
                old, new = (word_bytes(self.word(field, row)) for field in ("old", "new"))
                first = cells[Array(touched)].get(index, (old, new))[0]
                left = old if row in self.lost_writes else new
                cells[Array(touched)][index] = (first, left)
            appends = self.weigh(row, lambda step: int(step.append is not None)) == 1
            if appends and row not in self.lost_appends:
                array = Array(self.weigh(row, lambda step: int(step.append or 0)))
                cells[array][self.get("place", row)] = (
                    bytes(32),
                    word_bytes(self.word("word", row)),
                )
        return cells

    def _fill_memory(self, cells: dict[Array, dict[int, tuple[bytes, bytes]]]) -> None:
        lane = self.air.layout.memory
        times = {
            self.place(row): row + 1
            for row in self.active_rows()
            if self.touches(row) and row not in self.lost_writes
        }
        cells[Array.ACC] |= {
            index: (word_bytes(old), word_bytes(new)) for index, (old, new) in self.given.items()
        }
        rows = [
            (array, index, *words, times.get((array, index), 0))
            for array in (Array.ACC, *LINK_ARRAYS)
            for index, words in cells[array].items()
        ]
        self.spare = len(rows)
        for row, (array, index, old, new, time) in enumerate(rows):
            values = (1, int(array), index, *word_elements(old), *word_elements(new), time)
            self.trace[lane.start : lane.start + lane.width, row] = values

    def _fill_ranges(self) -> None:
        counts = np.zeros(len(self.air.layout.ranges) * self.height, dtype=np.int64)
        widths = {name: len(self.lane.places[name]) for name in (*MONEY_FIELDS, *RANGED_FIELDS)}
        widths["new"] = AMOUNT_LIMBS
        for row in self.active_rows():
            for name, width in widths.items():
                times = self.touches(row) if name in RANGED_FIELDS else self.moves(row)
                for j in range(width):
                    value = self.get(name, row, j)
                    if value < LIMB_LIMIT and f"step.{name}.range[{j}]" != self._unchecked:
                        counts[value] += times
        columns = self.air.layout.ranges
        self.trace[columns.start : columns.stop] = (counts % P).reshape(len(columns), -1)

    def _put_root(self, boundary: int, array: Array, root: bytes) -> None:
        start = boundary + NUM_COUNTERS + 8 * (array - 1)
        self.publics[start : start + 8] = word_elements(root)

    def _put_counters(self) -> None:
        before, after = list(self._counters(0)), list(self._counters(self.height - 1))
        low, high = self.word("slot_advance", 0)
        before[1] = (before[1] - low - SPAN_WEIGHT * high) % P
        self.publics[BEFORE_OFFSET : BEFORE_OFFSET + NUM_COUNTERS] = before
        self.publics[AFTER_OFFSET : AFTER_OFFSET + NUM_COUNTERS] = after

    def _counters(self, row: int) -> Iterator[int]:
        for name in COUNTER_NAMES:
            yield from self.word(name, row)


def _digest(pair: Sequence[int]) -> tuple[int, ...]:
    left, right = word_bytes(tuple(pair[:8])), word_bytes(tuple(pair[8:]))
    return word_elements(compress_words(HASHER, left, right))


def _signed(value: int) -> int:
    return value - P if value > P // 2 else value
