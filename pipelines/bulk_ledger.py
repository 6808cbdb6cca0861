"""A ledger with many accounts, and blocks of transfers between them: what large benches execute and prove.

The accounts are written into the state arrays all at once and not registered one by one; the arrays, their roots
and the sum of all balances are those of a ledger with that many accounts. The words of their keys are drawn at
random: nobody could sign for them, and no bench that uses them checks signatures.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipelines.sample_window import EXPIRY, PARAMETERS
from proving.arithmetic.modulus import WORD
from proving.backends.port import FieldArray, Hasher
from proving.ledger.rules import PUBLIC_FEE, Account
from proving.ledger.state import Block, Ledger, genesis_ledger
from proving.ledger.tree_levels import words_of
from schemas.errors import ParameterError
from schemas.transactions import Transaction, TransactionKind
from schemas.units import (
    BLOCK_TRANSACTIONS_LIMIT,
    FIRST_ACCOUNT,
    MODULUS,
    PUBLIC_KEY_BYTES,
    SPAN_LIMIT,
    SUPPLY_CAP,
    Array,
    ReservedCell,
)

BALANCE = 10**9
"""Units that every account holds at first: 1 ECLIPT. 2^29 accounts have less than the supply cap."""

BLOCK_TRANSACTIONS = 10_000
"""Transfers per block."""


def bulk_ledger(accounts: int, seed: int, hasher: Hasher) -> Ledger:
    """Returns a ledger before block 1 in which accounts 16, 17, ... hold `BALANCE` each.

    Args:
        accounts: How many; 1 .. 2^29 - 16.
        seed: Of the words of their keys.
        hasher: Where permutations run.

    Raises:
        ParameterError: The number is out of range.
    """
    if not 1 <= accounts <= SPAN_LIMIT - FIRST_ACCOUNT:
        raise ParameterError(f"{accounts} accounts; there can be 1 .. {SPAN_LIMIT - FIRST_ACCOUNT}")
    ledger = genesis_ledger(PARAMETERS, hasher, bytes(PUBLIC_KEY_BYTES))
    opened = Account(BALANCE, 0)
    place = np.arange(FIRST_ACCOUNT, FIRST_ACCOUNT + accounts, dtype=np.int64)
    rng = np.random.default_rng(seed)
    keys: FieldArray = rng.integers(0, MODULUS, (accounts, WORD), dtype=np.uint32)
    ledger.trees[Array.KEY].write(place, keys)
    ledger.trees[Array.ACC].write(place, np.repeat(words_of([opened.word()]), accounts, axis=0))
    ledger.accounts.update(dict.fromkeys(place.tolist(), opened))
    ledger.next_index = FIRST_ACCOUNT + accounts
    ledger.write_account(ReservedCell.RESERVE, Account(SUPPLY_CAP - accounts * BALANCE, 0))
    ledger.update_trees()
    return ledger


def transfer_blocks(
    ledger: Ledger, transactions: int, seed: int, block_transactions: int = BLOCK_TRANSACTIONS
) -> list[Block]:
    """Returns blocks of transfers between accounts of a `bulk_ledger`, drawn evenly, in window 1.

    Args:
        ledger: The state that they meet.
        transactions: How many; at least 1.
        seed: Of senders, recipients and amounts.
        block_transactions: Most transfers of a block.

    Raises:
        ParameterError: There are fewer than two accounts.
    """
    accounts = ledger.num_keys - FIRST_ACCOUNT
    if accounts < 2:
        raise ParameterError("transfers need two accounts")
    rng = np.random.default_rng(seed)
    senders = rng.integers(accounts, size=transactions)
    recipients = (senders + rng.integers(1, accounts, size=transactions)) % accounts
    amounts = rng.integers(1, 1000, size=transactions)
    nonces: dict[int, int] = {}
    listed: list[Transaction] = []
    for sender, recipient, amount in zip(
        senders.tolist(), recipients.tolist(), amounts.tolist(), strict=True
    ):
        nonce = nonces.get(sender, 0)
        nonces[sender] = nonce + 1
        ends = (FIRST_ACCOUNT + sender, FIRST_ACCOUNT + recipient)
        place = (PARAMETERS.chain, PARAMETERS.shard)
        listed.append(
            Transaction(TransactionKind.TRANSFER, *place, *ends, amount, PUBLIC_FEE, nonce, EXPIRY)
        )
    return list(_blocks(listed, ledger.height, block_transactions))


def _blocks(transfers: Sequence[Transaction], height: int, most: int) -> list[Block]:
    size = min(most, BLOCK_TRANSACTIONS_LIMIT - 1)
    starts = range(0, len(transfers), size)
    return [
        Block(height + number, 64 + number, 1, tuple(transfers[start : start + size]))
        for number, start in enumerate(starts, 1)
    ]
