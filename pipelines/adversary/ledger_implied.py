"""Why a selector of the transaction lane cannot leave 0 and 1 even where nothing says so.

The other selectors are boolean and all sum to one, so a row of the lane is one of finitely many. Those from
which the state machine leads to a last row are enumerated; a named claim must refute each.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product

import numpy as np
from numpy.typing import NDArray

from proving.arithmetic.modulus import P
from schemas.statement import TOUCHED_ARRAYS
from schemas.steps import REGISTER_KEY, SETTLE, STEPS, Cell, successors_of

PADDING = "padding"
SELECTORS = (*(step.name for step in STEPS), PADDING)

Combination = Mapping[str, int]
"""A row: selector -> its value as a small integer."""


def unrefuted_rows(selector: str) -> list[Combination]:
    """Returns the rows with a selector outside 0 and 1 that nothing refutes; none if its claim is implied.

    Args:
        selector: Name of the selector column whose boolean constraint is taken to be missing.
    """
    rows = _rows(selector)
    values = np.array([[row[name] for name in SELECTORS] for row in rows], dtype=np.int64)
    place = SELECTORS.index(selector)
    odd = (values[:, place] != 0) & (values[:, place] != 1)
    possible = np.array([refutation(row) is None for row in rows]) & ~_refuted_by_memory(rows)
    return [rows[place] for place in np.flatnonzero(odd & _may_stand(values, possible))]


def refutation(row: Combination) -> str | None:
    """Returns which claim of a row refutes it whatever its other columns hold; None if none does."""
    touches, pays = _touches(row), _pays(row)
    heads = sum(row[step.name] for step in STEPS if step.head)
    kinds = sum(row[step.name] * int(step.kind) for step in STEPS if step.head)
    appends = sum(row[step.name] for step in STEPS if step.append is not None)
    array = sum(row[step.name] * int(step.append) for step in STEPS if step.append is not None)
    roots = {int(array) for array in TOUCHED_ARRAYS}
    if heads == 0 and kinds != 0:
        return "step.word[7]: no head, but a kind"
    if touches == 0 and pays != 0:
        return "step.nonce: nothing touched, but a nonce moves"
    if row[REGISTER_KEY.name] and row[SETTLE.name] and heads:
        return "step.hash: the key's word would be a block's word"
    if appends < 0 and kinds != 0 and array % P not in roots:
        return "step.append: takes a leaf that is not zero of an array without a root"
    return None


def _refuted_by_memory(rows: list[Combination]) -> NDArray[np.bool_]:
    """Returns which rows take their cell's word of their own time, which nobody sends.

    A row that touches minus once receives what it leaves and sends what it finds. Only such rows could
    supply one another, in a circle; but when all their nonces move the same way, no circle closes.
    """
    moves = np.array([-_pays(row) if _touches(row) < 0 else 0 for row in rows])
    same_way = bool((moves >= 0).all() or (moves <= 0).all())
    return np.asarray((moves != 0) & same_way)


def _touches(row: Combination) -> int:
    return sum(row[step.name] for step in STEPS if step.cell is not Cell.NONE)


def _pays(row: Combination) -> int:
    return sum(row[step.name] for step in STEPS if step.pays)


def _rows(selector: str) -> list[Combination]:
    others = [name for name in SELECTORS if name != selector]
    rows = [dict(zip(others, bits, strict=True)) for bits in product((0, 1), repeat=len(others))]
    return [{**row, selector: 1 - sum(row.values())} for row in rows]


def _may_stand(rows: NDArray[np.int64], possible: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Returns (n,): whether a row that nothing refutes is padding, as the last is, or leads to such a row."""
    stands = possible & (rows[:, SELECTORS.index(PADDING)] == 1)
    follows = _may_follow(rows) & possible[:, None]
    while (more := stands | (follows & stands[None, :]).any(axis=1)).sum() > stands.sum():
        stands = more
    return np.asarray(stands)


def _may_follow(rows: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Returns (n, n): whether the `next` claims of row i allow row j to follow."""
    allowed = np.ones((len(rows), len(rows)), dtype=np.bool_)
    for place, name in enumerate(SELECTORS):
        step = next((step for step in STEPS if step.name == name), None)
        names = [other.name for other in successors_of(step)] if step is not None else []
        if step is None or step.tail:
            names.append(PADDING)
        following = rows[:, [SELECTORS.index(other) for other in names]].sum(axis=1)
        allowed &= (rows[:, place] == 0)[:, None] | (following == 1)[None, :]
    return allowed
