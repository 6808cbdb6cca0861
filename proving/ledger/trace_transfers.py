"""Rows of the transaction lane for a run of transfers, two per transfer, column by column."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from proving.ledger.layout import SPAN_WEIGHT
from proving.ledger.transfers import Column, TransferRun, account_words, limb_columns
from schemas.steps import TRANSFER_CREDIT, TRANSFER_DEBIT
from schemas.units import AMOUNT_LIMBS, FEE_UNIT, FIRST_ACCOUNT, LIMB_BITS


@dataclass(frozen=True, slots=True)
class RunStart:
    """Where a run stands in its segment.

    Attributes:
        row: Its first row.
        height: Last settled block.
        slot: Of the block.
        advance: By how much its first transfer moves the slot, below 2^29.
        sequence: Words in TXS before it.
        keys: Words in KEY.
        count: Transactions of the block before it.
        fee_sum: Their fees, below 2^45.
    """

    row: int
    height: int
    slot: int
    advance: int
    sequence: int
    keys: int
    count: int
    fee_sum: int


def transfer_rows(run: TransferRun, start: RunStart, last_time: Column) -> dict[str, Column]:
    """Returns the fields of a run's rows.

    Args:
        run: The transfers.
        start: Where they stand.
        last_time: (2 n,) clock of the touch before the run's first one of the same cell, 0 if there is none.

    Returns:
        (width, 2 n) by name; fields that do not occur are zero.
    """
    rows = len(run.cells)
    now = start.row + 1 + np.arange(rows, dtype=np.int64)
    previous = np.where(run.previous < 0, last_time, start.row + 1 + run.previous)
    fee_limbs = limb_columns(run.fee, 2)
    amount = np.repeat(limb_columns(run.amount), 2, axis=1)
    debit = np.tile(np.array([1, 0], dtype=np.int64), len(run.amount))
    fields = _counters(run, start) | {
        TRANSFER_DEBIT.name: debit,
        TRANSFER_CREDIT.name: 1 - debit,
        "cell": run.cells,
        "amount": amount,
        "previous_time": previous,
        "elapsed": limb_columns(now - previous - 1, 2),
        "old": account_words(run.old_balance, run.old_nonce).T,
        "new": account_words(run.new_balance, run.new_nonce).T,
        "word": _on_debits(run.words.T.astype(np.int64)),
        "carry": _carries(run, amount, fee_limbs),
        "fee": _on_debits(fee_limbs),
        "time_left": _on_debits(run.expiry - start.slot),
        "above_first": limb_columns(run.cells - FIRST_ACCOUNT, 2),
        "below_last": _span(start.keys - 1 - run.cells),
        "place": _on_debits(start.sequence + np.arange(len(run.amount), dtype=np.int64)),
        "fee_carry": _on_debits(_fee_carries(run, start, fee_limbs)),
    }
    fields["slot_advance"] = np.zeros((2, rows), dtype=np.int64)
    fields["slot_advance"][:, :1] = _span(np.array([start.advance], dtype=np.int64))
    return {name: np.atleast_2d(values) for name, values in fields.items()}


def _counters(run: TransferRun, start: RunStart) -> dict[str, Column]:
    """Returns the counters before each row; a debit's word and fee are counted before its credit."""
    rows = len(run.cells)
    done = (np.arange(rows, dtype=np.int64) + 1) // 2
    collected = start.fee_sum + np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(run.fee)])
    return {
        "height": np.full(rows, start.height, dtype=np.int64),
        "slot": np.full(rows, start.slot, dtype=np.int64),
        "sequence": start.sequence + done,
        "keys": np.full(rows, start.keys, dtype=np.int64),
        "block_transactions": start.count + done,
        "fee_sum": limb_columns(collected[done], 3),
    }


def _carries(run: TransferRun, amount: Column, fee: Column) -> Column:
    """Returns the carries out of the lower limbs: borrows of debits, carries of credits, never negative."""
    sign = np.tile(np.array([-1, 1], dtype=np.int64), len(run.amount))
    old = limb_columns(run.old_balance)
    moved = sign * amount
    moved[:2] -= FEE_UNIT * _on_debits(fee)
    carry = np.zeros(len(run.cells), dtype=np.int64)
    carries = []
    for j in range(AMOUNT_LIMBS - 1):
        carry = sign * (old[j] + moved[j] + sign * carry >> LIMB_BITS)
        carries.append(carry)
    return np.stack(carries)


def _fee_carries(run: TransferRun, start: RunStart, fee: Column) -> Column:
    sums = limb_columns(start.fee_sum + np.cumsum(run.fee) - run.fee, 3)
    low = sums[0] + fee[0] >> LIMB_BITS
    return np.stack([low, sums[1] + fee[1] + low >> LIMB_BITS])


def _span(distances: Column) -> Column:
    """Returns (2, n): `span_limbs` of distances that are below `SPAN_LIMIT`."""
    return np.stack([distances % SPAN_WEIGHT, distances // SPAN_WEIGHT])


def _on_debits(values: Column) -> Column:
    """Returns (..., 2 n) with the values on the rows of debits and zeros on those of credits."""
    spread = np.zeros((*values.shape[:-1], 2 * values.shape[-1]), dtype=np.int64)
    spread[..., ::2] = values
    return spread
