"""Cuts a window's transactions into segments that fit a circuit, each with its witness.

A cut may fall between any two transactions. Rows are counted exactly while transactions are added, and one
transaction alone always fits, so every valid block is provable in as many segments as it needs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from proving.errors import ProvingError
from proving.ledger.layout import Layout
from proving.ledger.rules import cell_index, steps_for
from proving.ledger.state import Block, Ledger
from proving.ledger.witness import Entry, SegmentWitness
from schemas.rejection import RejectionReason
from schemas.statement import TOUCHED_ARRAYS, Boundary, SegmentStatement
from schemas.steps import REGISTER_KEY, SETTLE, Step
from schemas.transactions import Transaction
from schemas.units import ARRAY_DEPTH, LINK_ARRAYS, Array, ReservedCell

Places = frozenset[tuple[Array, int]]
"""Cells by array and index."""


class _RowCount:
    """Rows that the transactions of a segment fill so far."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._steps = 1  # the last row is padding
        self._hashes = 0
        self._cells: set[tuple[Array, int]] = set()
        self._nodes: set[tuple[Array, int, int]] = set()
        for array in TOUCHED_ARRAYS:
            self._nodes.add((array, ARRAY_DEPTH, 0))  # an array that nothing touches shows this one

    def add_path(self, array: Array, index: int, nodes: set[tuple[Array, int, int]]) -> None:
        """Adds the nodes above a cell to `nodes` that are not counted yet."""
        for level in range(1, ARRAY_DEPTH + 1):
            node = (array, level, index >> level)
            if node in self._nodes or node in nodes:
                return
            nodes.add(node)

    def try_add(self, steps: Sequence[Step], cells: Places, keys: int, sequence: int) -> bool:
        """Adds a transaction if it fits; says whether it did."""
        registers = REGISTER_KEY in steps
        nodes: set[tuple[Array, int, int]] = set()
        for array, cell in cells:
            self.add_path(array, cell, nodes)
        self.add_path(Array.TXS, sequence, nodes)
        if registers:
            self.add_path(Array.KEY, keys, nodes)
        rows = self._steps + len(steps)
        links = sum(step.link is not None for step in steps)
        hashes = self._hashes + int(registers) + links
        node_rows = len(self._nodes) + len(nodes) + (hashes + 1) // 2
        height, lanes = self._layout.height, len(self._layout.nodes)
        memory_rows = len(self._cells | cells)
        if max(rows, memory_rows) > height or node_rows > height * lanes:
            return False
        self._steps, self._hashes = rows, hashes
        self._cells |= cells
        self._nodes |= nodes
        return True


class _Cutter:
    """Executes a window on its ledger and closes a segment whenever the next entry does not fit."""

    def __init__(self, ledger: Ledger, window: int, layout: Layout) -> None:
        self._ledger = ledger
        self._window = window
        self._layout = layout
        self._entries: list[Entry] = []
        self._before: Boundary = ledger.boundary()
        self._rows = _RowCount(layout)
        self.segments: list[SegmentWitness] = []

    def make_room(self, steps: Sequence[Step], cells: Places) -> None:
        """Closes the segment if an entry of these steps does not fit any more."""
        place = (cells, self._ledger.num_keys, self._ledger.sequence)
        if self._rows.try_add(steps, *place):
            return
        self.finish()
        if not self._rows.try_add(steps, *place):
            raise ProvingError("the circuit is too small for a single transaction")

    def add(self, entry: Entry) -> None:
        """Records an entry that the ledger has executed."""
        self._entries.append(entry)

    def finish(self) -> None:
        """Closes the segment, if it holds anything, and begins the next."""
        if not self._entries:
            return
        ledger, before = self._ledger, self._before
        cells = {array: sorted(ledger.pending[array]) for array in TOUCHED_ARRAYS}
        acc = ledger.trees[Array.ACC]
        accounts = tuple((index, acc.cell(index)) for index in cells[Array.ACC])
        links = tuple(
            (array, peer, ledger.trees[array].cell(peer))
            for array in LINK_ARRAYS
            for peer in cells[array]
        )
        siblings = tuple(
            tuple(tree.multiproof(cells[array]) if cells[array] else tree.top())
            for array, tree in ((array, ledger.trees[array]) for array in TOUCHED_ARRAYS)
        )
        ledger.update_trees()
        self._before = ledger.boundary()
        statement = SegmentStatement(
            ledger.parameters.chain,
            ledger.parameters.shard,
            ledger.parameters.shards,
            self._window,
            len(self.segments),
            before,
            self._before,
        )
        entries = tuple(self._entries)
        self.segments.append(SegmentWitness(statement, entries, accounts, links, siblings))
        self._entries = []
        self._rows = _RowCount(self._layout)


def cut_window(
    ledger: Ledger, blocks: Sequence[Block], window: int, layout: Layout
) -> list[SegmentWitness]:
    """Executes a window's blocks and returns its segments in order; none for an empty window.

    Args:
        ledger: The state before the window, between blocks; afterwards it is the state after it.
        blocks: The window's final blocks in height order.
        window: Window number.
        layout: Shape of the circuit that will prove the segments.

    Raises:
        ParameterError: A block's height, slot or window does not follow.
        ProvingError: A transaction is invalid where it stands, or the circuit is too small.
    """
    ledger.open_window(window)
    cutter = _Cutter(ledger, window, layout)
    for block in blocks:
        is_open = False
        ledger.prepare(block.transactions)
        for transaction in block.transactions:
            steps = steps_for(transaction, ledger.num_keys)
            cutter.make_room(steps, _cells_of(transaction, steps))
            if not is_open:
                ledger.open_block(block.height, block.slot, block.window)
                is_open = True
            effects = ledger.execute(transaction)
            if isinstance(effects, RejectionReason):
                raise ProvingError(f"block {block.height} holds an invalid transaction: {effects}")
            cutter.add(_entry_of(ledger, block.slot, transaction, effects.new_account))
        cutter.make_room((SETTLE,), frozenset({(Array.ACC, int(ReservedCell.PROPOSER_POOL))}))
        if not is_open:
            ledger.open_block(block.height, block.slot, block.window)
        ledger.close_block()
        cutter.add(Entry(block.slot, None))
    cutter.finish()
    return cutter.segments


def _cells_of(transaction: Transaction, steps: Sequence[Step]) -> Places:
    return frozenset(
        (step.array, cell_index(step, transaction)) for step in steps if step.array is not None
    )


def _entry_of(
    ledger: Ledger, slot: int, transaction: Transaction, new_account: int | None
) -> Entry:
    record = None if new_account is None else ledger.record(new_account)
    if record is None:
        return Entry(slot, transaction)
    body = replace(transaction, address=b"", public_key=b"")
    return Entry(slot, body, record.address_word(), record.key_digest)
