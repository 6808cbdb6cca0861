"""Cuts a window's transactions into segments that fit a circuit, each with its witness.

A cut may fall between any two transactions. Rows are counted exactly beforehand (`planning.py`), and one
transaction alone always fits, so every valid block is provable in as many segments as it needs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import islice, takewhile

from proving.errors import ProvingError
from proving.ledger.layout import Layout
from proving.ledger.planning import DUMMY_CELL, Cut, LargeShape, Load, plan_cuts
from proving.ledger.rules import cell_index
from proving.ledger.state import Block, Ledger
from proving.ledger.transfers import LEAST_RUN
from proving.ledger.witness import SMALL_KIND, Entry, SegmentWitness
from schemas.rejection import RejectionReason
from schemas.statement import Boundary, SegmentStatement
from schemas.steps import Cell, steps_of
from schemas.transactions import Transaction, TransactionKind
from schemas.units import Array, ReservedCell

NUM_STEPS = {kind: len(steps_of(kind)) for kind in TransactionKind}
"""Rows of the transaction lane by kind."""

TOUCHING_STEPS = {
    kind: tuple(step for step in steps_of(kind) if step.cell is not Cell.NONE)
    for kind in TransactionKind
}
"""Steps that read and write an account cell, by kind."""

SETTLED_CELLS = (int(ReservedCell.PROPOSER_POOL),)
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
        accounts = sorted(ledger.pending[Array.ACC])
        keys = sorted(ledger.pending[Array.KEY]) or [DUMMY_CELL]
        words = sorted(ledger.pending[Array.TXS])
        acc, key, txs = (ledger.trees[array] for array in (Array.ACC, Array.KEY, Array.TXS))
        cells = tuple(zip(accounts, acc.cells_at(accounts), strict=True))
        issuer_key = key.cell(DUMMY_CELL)
        siblings = (
            tuple(acc.multiproof(accounts)),
            tuple(key.multiproof(keys)),
            tuple(txs.multiproof(words)),
        )
        ledger.update_trees()
        self._before = ledger.boundary()
        statement = SegmentStatement(
            ledger.parameters.chain,
            ledger.parameters.shard,
            self._window,
            len(self.segments),
            before,
            self._before,
        )
        is_large = self._cuts[len(self.segments)].large
        kind = SMALL_KIND if self._large is None or not is_large else self._large.kind
        entries = tuple(self._entries)
        self.segments.append(SegmentWitness(statement, entries, cells, issuer_key, siblings, kind))
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
        for transaction in (*block.transactions, None):
            registers = transaction is not None and transaction.kind is TransactionKind.REGISTER
            appends = ((Array.TXS, sequence + len(loads)),)
            if registers:
                appends += ((Array.KEY, keys),)
                keys += 1
            kind = TransactionKind.SETTLE if transaction is None else transaction.kind
            cells = SETTLED_CELLS if transaction is None else _cells_of(transaction)
            loads.append(Load(NUM_STEPS[kind], int(registers), cells, appends))
    return loads


def _cells_of(transaction: Transaction) -> tuple[int, ...]:
    return tuple(
        cell_index(step, transaction.sender, transaction.recipient)
        for step in TOUCHING_STEPS[transaction.kind]
    )


def _entry_of(
    ledger: Ledger, slot: int, transaction: Transaction, new_account: int | None
) -> Entry:
    record = None if new_account is None else ledger.record(new_account)
    if record is None:
        return Entry(slot, transaction)
    body = replace(transaction, address=b"", public_key=b"")
    return Entry(slot, body, record.address_word(), record.key_digest)
