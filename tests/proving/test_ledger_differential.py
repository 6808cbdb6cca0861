"""Random blocks, valid and invalid: native executor, dictionary executor and circuit agree on every verdict and root."""

from __future__ import annotations

import random

import pytest

from pipelines.adversary.ledger_traffic import (
    HASHER,
    fresh_ledger,
    issue,
    random_transaction,
    register,
)
from pipelines.adversary.naive_ledger import NaiveLedger
from proving.ledger.air import LedgerAir
from proving.ledger.segments import cut_window
from proving.ledger.state import Block
from proving.ledger.trace import build_trace
from proving.stark.trace_check import TraceChecker
from schemas.units import Array

AIR = LedgerAir(10, 1)
CHECKER = TraceChecker(AIR)
BLOCKS = 12


@pytest.mark.parametrize("seed", range(6))
def test_three_executors_agree_on_random_blocks(seed: int) -> None:
    rng = random.Random(seed)  # noqa: S311 - reproducible
    ledger = fresh_ledger()
    parameters = ledger.parameters
    naive = NaiveLedger(parameters.chain, parameters.shard, parameters.minimum_fee)
    blocks: list[Block] = []
    refused = 0
    transactions = [
        *(register(2 + i, i) for i in range(4)),
        *(issue(16 + i, 10**15, 4 + i) for i in range(4)),
    ]
    for height in range(1, BLOCKS + 1):
        slot = 2 * height
        effects = ledger.execute_block(transactions, height, slot, 0)
        reasons = {position: str(reason) for position, reason in effects.rejected}
        for position, transaction in enumerate(transactions):
            assert naive.execute(transaction, slot) == reasons.get(position), transaction
        accepted = tuple(transactions[position] for position in effects.accepted)
        refused += len(reasons)
        blocks.append(Block(height, slot, 0, accepted))
        transactions = [random_transaction(rng, ledger) for _ in range(rng.randrange(7))]
    assert refused
    indices = set(naive.balance) | set(naive.nonce) | set(ledger.accounts)
    assert {i: (naive.balance.get(i, 0), naive.nonce.get(i, 0)) for i in indices} == {
        i: (ledger.account(i).balance, ledger.account(i).nonce) for i in indices
    }
    after = fresh_ledger()
    for segment in cut_window(after, blocks, 0, AIR.layout):
        trace, publics = build_trace(AIR, segment, HASHER)
        assert CHECKER.check(trace, publics).holds
    assert after.state_root() == ledger.state_root()
    assert after.root(Array.TXS) == ledger.root(Array.TXS)
