"""Runs of transfers as columns: what executing them one after the other does, computed for all at once.

Transfers are nearly all of a large window. The rules are those of `rules.apply`, which stays the one that says why
a transaction is refused: a run with a transfer that it would refuse is not taken here at all.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from proving.ledger.rules import Account
from proving.ledger.tree_levels import bytes_of, words_of
from schemas.errors import ParameterError
from schemas.transactions import Transaction, TransactionKind
from schemas.units import (
    AMOUNT_LIMBS,
    AMOUNT_LIMIT,
    FEE_LIMIT,
    FEE_UNIT,
    FIRST_ACCOUNT,
    INDEX_LIMIT,
    LIMB_BITS,
    LIMB_LIMIT,
    MODULUS,
    WORD_ELEMENTS,
)

Column = NDArray[np.int64]

LEAST_RUN = 16
"""Transfers in a row that are worth columns."""


@dataclass(frozen=True, slots=True)
class TransferRun:
    """Transfers that are valid one after the other; touch 2 i is the debit of transfer i, 2 i + 1 its credit.

    Attributes:
        amount: (n,) of the transfers.
        fee: (n,)
        expiry: (n,)
        words: (n, 8) appended to TXS.
        cells: (2 n,) touched account cells.
        old_balance: (2 n,) before each touch, as `old_nonce`.
        new_balance: (2 n,) after it, as `new_nonce`.
        old_nonce: (2 n,)
        new_nonce: (2 n,)
        previous: (2 n,) the touch of the same cell before, or -1.
        touched: Distinct cells, ascending.
        last: (len(touched),) the last touch of each.
    """

    amount: Column
    fee: Column
    expiry: Column
    words: NDArray[np.uint32]
    cells: Column
    old_balance: Column
    new_balance: Column
    old_nonce: Column
    new_nonce: Column
    previous: Column
    touched: Column
    last: Column

    def accounts(self) -> dict[int, Account]:
        """Returns what the touched cells hold afterwards."""
        balances = self.new_balance[self.last].tolist()
        nonces = self.new_nonce[self.last].tolist()
        return dict(zip(self.touched.tolist(), map(Account, balances, nonces), strict=True))

    def account_words(self) -> NDArray[np.uint32]:
        """Returns the same as (n, 8) words."""
        return account_words(self.new_balance[self.last], self.new_nonce[self.last])


def run_transfers(
    transfers: Sequence[Transaction], num_keys: int, account: Callable[[int], Account | None]
) -> TransferRun | None:
    """Executes transfers one after the other on cells that are looked up.

    Fields' ranges, accounts that exist, nonces and balances are checked; chain, shard, least fee and expiry are not.

    Args:
        transfers: All of them of kind TRANSFER.
        num_keys: Accounts registered, the reserved ones included.
        account: Returns a cell, or None if it cannot be had.

    Returns:
        What they do, or None if one of them is not valid where it stands.
    """
    columns = _columns(transfers)
    if columns is None:
        return None
    sender, recipient, amount, fee, nonce, expiry = columns
    count = len(transfers)
    cells = np.stack([sender, recipient], axis=1).reshape(-1)
    if cells.min() < FIRST_ACCOUNT or cells.max() >= num_keys:
        return None
    order = np.argsort(cells, kind="stable")
    ordered = cells[order]
    starts = np.flatnonzero(np.diff(ordered, prepend=-1))
    touched = ordered[starts]
    held = [account(index) for index in touched.tolist()]
    known = [one for one in held if one is not None]
    if len(known) < len(held):
        return None
    group = np.repeat(np.arange(len(starts)), np.diff(starts, append=2 * count))
    balance_change = np.stack([-amount - FEE_UNIT * fee, amount], axis=1).reshape(-1)
    nonce_change = np.tile(np.array([1, 0], dtype=np.int64), count)
    new_balance, new_nonce = (
        _running(change, order, starts, np.array(first, dtype=np.int64)[group])
        for change, first in zip(
            (balance_change, nonce_change), zip(*known, strict=True), strict=True
        )
    )
    old_nonce = new_nonce - nonce_change
    paid = old_nonce[::2]
    # Sums may wrap around 2^64, but not before the first balance that is out of range.
    is_valid = (
        ((new_balance >= 0) & (new_balance < AMOUNT_LIMIT)).all()
        and (paid == nonce).all()
        and (paid < INDEX_LIMIT - 1).all()
    )
    if not is_valid:
        return None
    previous = np.full(2 * count, -1, dtype=np.int64)
    follows = np.flatnonzero(np.diff(group) == 0)
    previous[order[follows + 1]] = order[follows]
    half = LIMB_LIMIT * LIMB_LIMIT
    kind = np.full(count, int(TransactionKind.TRANSFER), dtype=np.int64)
    parts = (sender, recipient, amount % half, amount // half, nonce, fee, expiry, kind)
    return TransferRun(
        amount,
        fee,
        expiry,
        np.stack(parts, axis=1).astype(np.uint32),
        cells,
        new_balance - balance_change,
        new_balance,
        old_nonce,
        new_nonce,
        previous,
        touched,
        order[np.append(starts[1:], 2 * count) - 1],
    )


def limb_columns(values: Column, count: int = AMOUNT_LIMBS) -> Column:
    """Returns (count, n) 15-bit limbs, lowest first, of values that fit them."""
    shifts = LIMB_BITS * np.arange(count, dtype=np.int64)
    return values[None, :] >> shifts[:, None] & LIMB_LIMIT - 1


def account_words(balance: Column, nonce: Column) -> NDArray[np.uint32]:
    """Returns (n, 8) account cells."""
    words = np.zeros((len(balance), WORD_ELEMENTS), dtype=np.uint32)
    words[:, :AMOUNT_LIMBS] = limb_columns(balance).T
    words[:, AMOUNT_LIMBS] = nonce
    return words


def words_of_accounts(accounts: Collection[Account]) -> list[bytes]:
    """Returns the words of account cells, as `Account.word` each."""
    balance, nonce = np.array(list(accounts), dtype=np.int64).reshape(-1, 2).T
    return bytes_of(account_words(balance, nonce))


def accounts_of_words(words: Sequence[bytes]) -> list[Account]:
    """Reads account cells, as `rules.account_of` each.

    Raises:
        ParameterError: One is not the word of an account.
    """
    elements = words_of(list(words)).astype(np.int64)
    limbs, nonce, rest = np.split(elements, [AMOUNT_LIMBS, AMOUNT_LIMBS + 1], axis=1)
    is_wrong = (limbs >= LIMB_LIMIT).any(axis=1) | (nonce >= MODULUS).any(axis=1) | rest.any(axis=1)
    if is_wrong.any():
        raise ParameterError(f"{elements[is_wrong.argmax()].tolist()} is no account cell")
    balance = (limbs << LIMB_BITS * np.arange(AMOUNT_LIMBS, dtype=np.int64)).sum(axis=1)
    return list(map(Account, balance.tolist(), nonce[:, 0].tolist()))


def _columns(transfers: Sequence[Transaction]) -> list[Column] | None:
    """Returns sender, recipient, amount, fee, nonce and expiry, or None if one of them is out of range."""
    limits = (INDEX_LIMIT, INDEX_LIMIT, AMOUNT_LIMIT, FEE_LIMIT, INDEX_LIMIT, INDEX_LIMIT)
    rows = [(t.sender, t.recipient, t.amount, t.fee, t.nonce, t.expiry) for t in transfers]
    for values, limit in zip(zip(*rows, strict=True), limits, strict=True):
        if min(values) < 0 or max(values) >= limit:
            return None
    return list(np.array(rows, dtype=np.int64).T)


def _running(change: Column, order: Column, starts: Column, first: Column) -> Column:
    """Returns the running sums of changes per cell, each from what the cell holds first, by touch."""
    sums = np.cumsum(change[order])
    before = sums[starts] - change[order[starts]]
    lengths = np.diff(starts, append=len(order))
    result = np.empty_like(sums)
    result[order] = sums - np.repeat(before, lengths) + first
    return result
