"""Cuts a window's transactions into segments that fit a circuit, each with its witness.

A cut may fall between any two transactions. Rows are counted exactly beforehand (`planning.py`), and one
transaction alone always fits, so every valid block is provable in as many segments as it needs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cache
from itertools import islice, takewhile

from proving.errors import ProvingError
from proving.ledger.layout import Layout
from proving.ledger.planning import Cut, LargeShape, Load, plan_cuts
from proving.ledger.rules import cell_index, steps_for
from proving.ledger.state import Block, Ledger
from proving.ledger.transfers import LEAST_RUN
from proving.ledger.witness import SMALL_KIND, Entry, SegmentWitness
from schemas.rejection import RejectionReason
from schemas.statement import TOUCHED_ARRAYS, Boundary, SegmentStatement
from schemas.steps import RETURN_STEPS, Step, steps_of
from schemas.transactions import Transaction, TransactionKind
from schemas.units import LINK_ARRAYS, Array, ReservedCell

SETTLED_CELLS = ((Array.ACC, int(ReservedCell.PROPOSER_POOL)),)
"""What a closing entry touches."""


class _Cutter:
    """Executes a window on its ledger and closes a segment whenever the next entry does not fit."""

    def __init__(
        self, ledger: Ledger, window: int, cuts: Sequence[Cut], large: LargeShape | None
    ) -> None:
        self._ledger = ledger
        self._window = window
        self._cuts = cuts
        self._large = large
        self._entries: list[Entry] = []
        self._before: Boundary = ledger.boundary()
        self.segments: list[SegmentWitness] = []

    def make_room(self) -> None:
        """Closes the segment if it holds all that the plan gives it."""
        if self.room == 0:
            self.finish()

    @property
    def room(self) -> int:
        """Entries that the segment still takes by plan."""
        return self._cuts[len(self.segments)].entries - len(self._entries)

    def add(self, *entries: Entry) -> None:
        """Records entries that the ledger has executed."""
        self._entries.extend(entries)

    def finish(self) -> None:
        """Closes the segment and begins the next."""
        ledger, before = self._ledger, self._before
        cells = {array: sorted(ledger.pending[array]) for array in TOUCHED_ARRAYS}
        held = ledger.trees[Array.ACC].cells_at(cells[Array.ACC])
        accounts = tuple(zip(cells[Array.ACC], held, strict=True))
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
        is_large = self._cuts[len(self.segments)].large
        kind = SMALL_KIND if self._large is None or not is_large else self._large.kind
        entries = tuple(self._entries)
        self.segments.append(SegmentWitness(statement, entries, accounts, links, siblings, kind))
        self._entries = []


def cut_window(
    ledger: Ledger,
    blocks: Sequence[Block],
    window: int,
    layout: Layout,
    large: LargeShape | None = None,
) -> list[SegmentWitness]:
    """Executes a window's blocks and returns its segments in order; none for an empty window.

    Args:
        ledger: The state before the window, between blocks; afterwards it is the state after it.
        blocks: The window's final blocks in height order.
        window: Window number.
        layout: Shape of the circuit that will prove the segments.
        large: Circuit for windows, or what is left of them, that need many segments of the first.

    Raises:
        ParameterError: A block's height, slot or window does not follow.
        ProvingError: A transaction is invalid where it stands, or the circuit is too small.
    """
    ledger.open_window(window)
    cuts = plan_cuts(window_loads(blocks, ledger.num_keys, ledger.sequence), layout, large)
    cutter = _Cutter(ledger, window, cuts, large)
    for block in blocks:
        ledger.prepare(block.transactions)
        waiting = block.transactions
        cutter.make_room()
        ledger.open_block(block.height, block.slot, block.window)
        while waiting:
            cutter.make_room()
            waiting = waiting[_execute_some(ledger, cutter, block, waiting) :]
        cutter.make_room()
        ledger.close_block()
        cutter.add(Entry(block.slot, None))
    if cuts:
        cutter.finish()
    return cutter.segments


def _execute_some(
    ledger: Ledger, cutter: _Cutter, block: Block, waiting: Sequence[Transaction]
) -> int:
    """Executes the next transactions of the open block that the segment has room for; returns how many."""
    transfers = tuple(takewhile(_is_transfer, islice(waiting, cutter.room)))
    if len(transfers) >= LEAST_RUN and ledger.execute_transfers(transfers):
        cutter.add(*(Entry(block.slot, transfer) for transfer in transfers))
        return len(transfers)
    alone = waiting[: max(1, len(transfers))]
    for transaction in alone:
        effects = ledger.execute(transaction)
        if isinstance(effects, RejectionReason):
            raise ProvingError(f"block {block.height} holds an invalid transaction: {effects}")
        cutter.add(_entry_of(ledger, block.slot, transaction, effects.new_account))
    return len(alone)


def _is_transfer(transaction: Transaction) -> bool:
    return transaction.kind is TransactionKind.TRANSFER


def window_loads(blocks: Iterable[Block], keys: int, sequence: int) -> list[Load]:
    """Returns what each transaction and closing entry of a window asks of a circuit, in order.

    Args:
        blocks: Of the window.
        keys: Accounts registered before it, the reserved ones included.
        sequence: Words in TXS before it.
    """
    loads: list[Load] = []
    for block in blocks:
        for transaction in block.transactions:
            load = _load_of(transaction, keys, sequence + len(loads))
            keys += len(load.appends) - 1
            loads.append(load)
        loads.append(Load(1, 0, SETTLED_CELLS, ((Array.TXS, sequence + len(loads)),)))
    return loads


def _load_of(transaction: Transaction, keys: int, place: int) -> Load:
    steps = steps_for(transaction, keys)
    num_links, touching = _touching(transaction.kind, is_returned=steps is RETURN_STEPS)
    cells = tuple([(array, cell_index(step, transaction)) for array, step in touching])
    if transaction.kind is TransactionKind.REGISTER:
        return Load(len(steps), 1, cells, ((Array.TXS, place), (Array.KEY, keys)))
    return Load(len(steps), num_links, cells, ((Array.TXS, place),))


@cache
def _touching(
    kind: TransactionKind, *, is_returned: bool
) -> tuple[int, tuple[tuple[Array, Step], ...]]:
    """Returns how many links a kind's steps extend, and those that touch a cell, each with its array."""
    steps = RETURN_STEPS if is_returned else steps_of(kind)
    links = sum(step.link is not None for step in steps)
    return links, tuple((step.array, step) for step in steps if step.array is not None)


def _entry_of(
    ledger: Ledger, slot: int, transaction: Transaction, new_account: int | None
) -> Entry:
    record = None if new_account is None else ledger.record(new_account)
    if record is None:
        return Entry(slot, transaction)
    body = replace(transaction, address=b"", public_key=b"")
    return Entry(slot, body, record.address_word(), record.key_digest)
