"""Why a selector of the transaction lane cannot leave 0 and 1 even where nothing says so.

The other selectors are boolean and all sum to one, so a row of the lane is one of finitely many. Those from
which the state machine leads to a last row are enumerated; a named claim must refute each. Chains are taken to
have fewer shards than KEY has words.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from proving.arithmetic.modulus import P
from schemas.statement import TOUCHED_ARRAYS
from schemas.steps import (
    ISSUE_DEBIT,
    REGISTER_KEY,
    SEND_DEBIT,
    SETTLE,
    STEPS,
    Cell,
    Existence,
    Step,
    successors_of,
)
from schemas.transactions import TransactionKind
from schemas.units import Array

PADDING = "padding"
SELECTORS = (*(step.name for step in STEPS), PADDING)

Combination = Mapping[str, int]
"""A row: selector -> its value as a small integer."""

Rows = NDArray[np.int64]
"""(n, selectors): the selectors of each row."""

Verdicts = NDArray[np.bool_]
"""(n,): one verdict per row."""


def unrefuted_rows(selector: str) -> list[Combination]:
    """Returns the rows with a selector outside 0 and 1 that nothing refutes; none if its claim is implied.

    Args:
        selector: Name of the selector column whose boolean constraint is taken to be missing.
    """
    rows = _rows(selector)
    odd = (_column(rows, selector) != 0) & (_column(rows, selector) != 1)
    possible = ~np.any(list(_refutations(rows).values()), axis=0)
    possible &= ~_refuted_by_memory(rows, possible)
    standing, inner = _may_stand(rows, possible)
    standing &= ~_refuted_as_last(rows, standing, inner)
    return [dict(zip(SELECTORS, row, strict=True)) for row in rows[odd & standing].tolist()]


def refutation(row: Combination) -> str | None:
    """Returns which claim of a row refutes it whatever its other columns hold; None if none does."""
    one = np.array([[row[name] for name in SELECTORS]], dtype=np.int64)
    return next((claim for claim, found in _refutations(one).items() if found[0]), None)


def _refutations(rows: Rows) -> dict[str, Verdicts]:
    """Returns the claims that refute rows by themselves: claim -> which rows."""
    leaves = _weigh(rows, lambda s: s.link is Array.OUT)
    heads = _weigh(rows, lambda s: s.head)
    kinds = _weigh(rows, lambda s: int(s.kind) if s.head and s is not SEND_DEBIT else 0)
    named = _weigh(rows, lambda s: s.head and s is not SEND_DEBIT) + leaves
    written = kinds + int(TransactionKind.INBOUND) * leaves
    moves, pays = _weigh(rows, lambda s: s.moves), _weigh(rows, lambda s: s.pays)
    appends = _weigh(rows, lambda s: s.append is not None)
    array = _weigh(rows, lambda s: int(s.append or 0)) % P
    rooted = np.isin(array, [int(array) for array in TOUCHED_ARRAYS])
    both = (_column(rows, REGISTER_KEY.name) != 0) & (_column(rows, SETTLE.name) != 0)
    own = (Existence.ACCOUNT, Existence.ACCOUNT_OR_RESERVE)
    accounts = _weigh(rows, lambda s: s.existence in own)
    links = _weigh(rows, lambda s: s.existence is Existence.SHARD)
    cells = [_column(rows, step.name) != 0 for step in (ISSUE_DEBIT, SETTLE)]
    cells.append(_weigh(rows, lambda s: s.cell is Cell.TRANSIT) != 0)
    return {
        "step.word[7]: no word, but a kind": (named == 0) & (written != 0),
        "step.nonce: nothing moved, but a nonce moves": (moves == 0) & (pays != 0),
        "step.hash: the key's word would be a block's word": both & (heads != 0),
        "step.append: takes a leaf that is not zero of an array without a root": (
            (appends < 0) & (kinds != 0) & ~rooted
        ),
        "step.link.shard: as far below the number of shards as below that of keys": (
            (accounts != 0) & (links != 0)
        ),
        "step.transit.cell: one cell would be two": np.sum(cells, axis=0) > 1,
    }


def _refuted_by_memory(rows: Rows, possible: Verdicts) -> Verdicts:
    """Returns which rows take their cell's word of their own time, which nobody sends.

    A row that touches minus once receives what it leaves and sends what it finds. Only such rows could
    supply one another, in a circle; but when all their nonces move the same way, no circle closes.
    """
    touches = _weigh(rows, lambda s: s.array is not None)
    moves = np.where(touches < 0, -_weigh(rows, lambda s: s.pays), 0)
    found = moves[possible]
    same_way = bool((found >= 0).all() or (found <= 0).all())
    return np.asarray((moves != 0) & same_way)


def _refuted_as_last(rows: Rows, standing: Verdicts, inner: Verdicts) -> Verdicts:
    """Returns which rows would be the only one that touches less than nothing, and supply themselves.

    A row that can stand at the end alone is there once. What it leaves at its own time it would have to find
    at that time, so that `elapsed` is -1: a limb outside the table, which lookups of one sign do not cancel.
    """
    touches = _weigh(rows, lambda s: s.array is not None)
    moves = _weigh(rows, lambda s: s.moves)
    if bool((standing & inner & (touches < 0)).any()):
        return np.zeros(len(rows), dtype=np.bool_)
    return np.asarray((touches < 0) & (moves <= 0))


def _column(rows: Rows, selector: str) -> NDArray[np.int64]:
    return rows[:, SELECTORS.index(selector)]


def _weigh(rows: Rows, weight: Callable[[Step], int | bool]) -> NDArray[np.int64]:
    """Returns (n,): the sum of selectors, each times its step's weight."""
    return rows @ np.array([*(int(weight(step)) for step in STEPS), 0], dtype=np.int64)


def _rows(selector: str) -> Rows:
    others = np.arange(len(SELECTORS) - 1)
    bits = (np.arange(1 << len(others))[:, None] >> others & 1).astype(np.int64)
    return np.insert(bits, SELECTORS.index(selector), 1 - bits.sum(axis=1), axis=1)


def _may_stand(rows: Rows, possible: Verdicts) -> tuple[Verdicts, Verdicts]:
    """Returns whether a row that nothing refutes is padding, as the last is, or leads to such a row.

    Also which of them may stand anywhere but at the end.
    """
    asked, met = _successions(rows)
    stands = possible & (_column(rows, PADDING) == 1)
    while True:
        offered = np.unique(met[stands])
        inner = possible & ((asked[:, None] & ~offered[None, :]) == 0).any(axis=1)
        if not bool((inner & ~stands).any()):
            return stands, inner
        stands = stands | inner


def _successions(rows: Rows) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Returns, as bits over the `next` claims, which ones a row asks for and which it meets as the next row."""
    followers: dict[tuple[str, ...], list[str]] = {}
    for name in SELECTORS:
        step = next((step for step in STEPS if step.name == name), None)
        names = [other.name for other in successors_of(step)] if step is not None else []
        if step is None or step.tail:
            names.append(PADDING)
        followers.setdefault(tuple(names), []).append(name)
    asked, met = np.zeros(len(rows), dtype=np.int64), np.zeros(len(rows), dtype=np.int64)
    for bit, (allowed, before) in enumerate(followers.items()):
        asks = np.any([_column(rows, name) != 0 for name in before], axis=0)
        meets = sum(_column(rows, name) for name in allowed) == 1
        asked |= asks.astype(np.int64) << bit
        met |= np.asarray(meets).astype(np.int64) << bit
    return asked, met
