"""Runs of transfers by columns do what the executor of single transactions does, and refuse what it refuses."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest

from pipelines.adversary.ledger_traffic import HASHER, fresh_ledger, issue, register, transfer
from proving.ledger import trace_steps
from proving.ledger.air import LedgerAir
from proving.ledger.rules import Account, account_of
from proving.ledger.segments import cut_window
from proving.ledger.state import Block, Ledger
from proving.ledger.trace import build_trace
from proving.ledger.transfers import (
    LEAST_RUN,
    accounts_of_words,
    run_transfers,
    words_of_accounts,
)
from schemas.errors import ParameterError
from schemas.rejection import RejectionReason
from schemas.transactions import Transaction, TransactionKind
from schemas.units import AMOUNT_LIMIT, FIRST_ACCOUNT, INDEX_LIMIT, MODULUS, Array, word_bytes

USERS = 6
AIR = LedgerAir(9, 2)


def funded() -> Ledger:
    ledger = fresh_ledger()
    first = [register(2 + i, i) for i in range(USERS)]
    first += [issue(FIRST_ACCOUNT + i, 2**50 + 77 * i, USERS + i) for i in range(USERS)]
    assert not ledger.execute_block(first, 1, 3, 0).rejected
    return ledger


def transfers(ledger: Ledger, count: int, seed: int) -> list[Transaction]:
    """Valid ones: hot and self transfers, amounts and fees that carry, large expiries."""
    rng = random.Random(seed)  # noqa: S311 - reproducible
    nonces = {FIRST_ACCOUNT + i: ledger.account(FIRST_ACCOUNT + i).nonce for i in range(USERS)}
    listed = []
    for _ in range(count):
        sender, recipient = rng.choice(list(nonces)), rng.choice(list(nonces))
        amount = rng.choice([0, 1, 2**15, 2**30 - 1, rng.randrange(2**44)])
        fee = rng.choice([1000, 32767, 2**20, 2**29])
        expiry = rng.choice([5, 100, 5 + 32767])
        listed.append(transfer(sender, recipient, amount, nonces[sender], fee, expiry=expiry))
        nonces[sender] += 1
    return listed


def executed_alone(ledger: Ledger, listed: list[Transaction]) -> bool:
    return all(not isinstance(ledger.execute(one), RejectionReason) for one in listed)


def test_a_run_leaves_the_ledger_as_single_transactions_do() -> None:
    together, alone = funded(), funded()
    listed = transfers(alone, 60, 1)
    for ledger in (together, alone):
        ledger.open_block(2, 5, 0)
    assert together.execute_transfers(listed[:37])
    assert together.execute_transfers(listed[37:])
    assert executed_alone(alone, listed)
    assert together.accounts == alone.accounts
    assert together.pending == alone.pending
    for ledger in (together, alone):
        ledger.close_block()
        ledger.update_trees()
    assert together.boundary() == alone.boundary()


def _wrong(listed: list[Transaction], place: int, **fields: object) -> list[Transaction]:
    changed = replace(listed[place], **fields)  # type: ignore[arg-type]
    return [*listed[:place], changed, *listed[place + 1 :]]


@pytest.mark.parametrize(
    "fields",
    [
        {"nonce": 10_000},
        {"nonce": 0, "sender": 0},
        {"amount": 2**59},
        {"amount": AMOUNT_LIMIT},
        {"amount": -1},
        {"fee": 999},
        {"fee": 2**30},
        {"recipient": FIRST_ACCOUNT - 1},
        {"recipient": FIRST_ACCOUNT + USERS},
        {"sender": FIRST_ACCOUNT + USERS, "nonce": 0},
        {"expiry": 4},
        {"expiry": 5 + 32768},
        {"expiry": INDEX_LIMIT},
        {"chain": 8},
        {"shard": 2},
        {"address": bytes(20)},
    ],
)
@pytest.mark.parametrize("place", [0, 19, 39])
def test_a_run_with_an_invalid_transfer_does_nothing(fields: dict[str, object], place: int) -> None:
    ledger = funded()
    listed = _wrong(transfers(ledger, 40, 2), place, **fields)
    ledger.open_block(2, 5, 0)
    before = (dict(ledger.accounts), ledger.sequence, ledger.fee_sum, ledger.block_transactions)
    assert not ledger.execute_transfers(listed)
    assert before == (ledger.accounts, ledger.sequence, ledger.fee_sum, ledger.block_transactions)
    assert not any(ledger.pending.values())
    assert not executed_alone(ledger, listed)


def test_a_credit_that_overflows_and_a_nonce_at_its_end_are_refused() -> None:
    rich = {16: Account(AMOUNT_LIMIT - 1, 0), 17: Account(2**40, INDEX_LIMIT - 2)}
    good = transfer(17, 16, 0, INDEX_LIMIT - 2)
    assert run_transfers([good], 18, rich.get) is not None
    assert run_transfers([replace(good, amount=1)], 18, rich.get) is None
    last = {16: rich[16], 17: Account(2**40, INDEX_LIMIT - 1)}
    assert run_transfers([replace(good, nonce=INDEX_LIMIT - 1)], 18, last.get) is None
    assert run_transfers([good], 18, {17: rich[17]}.get) is None


def test_sums_that_wrap_around_hide_no_overdraft() -> None:
    """Eight credits of 2^59 on the way and back: the last balance is in range, one before is not."""
    held = {16: Account(0, 0), 17: Account(AMOUNT_LIMIT - 1, 0)}
    listed = [transfer(16, 17, 2**59, nonce, fee=0) for nonce in range(16)]
    listed += [transfer(17, 16, 2**59, nonce, fee=0) for nonce in range(16)]
    assert run_transfers(listed, 18, held.get) is None


def test_a_block_takes_no_more_transfers_than_it_may_hold() -> None:
    ledger = funded()
    ledger.open_block(2, 5, 0)
    listed = transfers(ledger, LEAST_RUN, 3)
    ledger.block_transactions = 2**15 - 1 - LEAST_RUN
    assert ledger.execute_transfers(listed)
    assert ledger.block_transactions == 2**15 - 1
    assert not ledger.execute_transfers(transfers(ledger, 1, 4))
    assert ledger.execute(transfers(ledger, 1, 4)[0]) is RejectionReason.BLOCK_FULL


def test_a_trace_of_a_run_is_the_trace_of_its_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same witness with runs and row by row; the second block moves the slot."""
    ledger = funded()
    listed = transfers(ledger, 70, 6)
    blocks = [
        Block(2, 5, 0, (*listed[:30], register(90, 2 * USERS), *listed[30:50])),
        Block(3, 5, 0, tuple(listed[50:])),
    ]
    (segment,) = cut_window(ledger, blocks, 0, AIR.layout)
    kinds = [entry.transaction and entry.transaction.kind for entry in segment.entries]
    assert kinds.count(TransactionKind.TRANSFER) == len(listed)
    by_run, publics = build_trace(AIR, segment, HASHER)
    monkeypatch.setattr(trace_steps, "LEAST_RUN", 1 << 30)
    by_row, again = build_trace(AIR, segment, HASHER)
    assert publics == again
    assert np.array_equal(by_run, by_row)


def test_account_cells_are_read_and_written_as_one_by_one() -> None:
    rng = random.Random(7)  # noqa: S311 - reproducible
    accounts = [Account(rng.randrange(AMOUNT_LIMIT), rng.randrange(MODULUS)) for _ in range(20)]
    words = words_of_accounts(accounts)
    assert words == [account.word() for account in accounts]
    assert accounts_of_words(words) == [account_of(word) for word in words] == accounts
    assert accounts_of_words([]) == []
    for wrong in (
        (2**15, 0, 0, 0, 0, 0, 0, 0),
        (0, 0, 0, 2**15, 0, 0, 0, 0),
        (0, 0, 0, 0, 0, 1, 0, 0),
        (0, 0, 0, 0, 0, 0, 0, 1),
    ):
        with pytest.raises(ParameterError, match="no account cell"):
            accounts_of_words([words[0], word_bytes(wrong)])
    with pytest.raises(ParameterError, match="no account cell"):
        accounts_of_words([words[0][:16] + b"\xff" * 4 + words[0][20:]])


def test_the_ledger_opens_many_cells_as_one_by_one() -> None:
    tree = funded().trees[Array.ACC]
    places = [0, 1, 16, 18, 21, 4000, 2**30 - 1]
    assert tree.cells_at(places) == [tree.cell(place) for place in places]
