"""Random blocks, valid and invalid: native executor, dictionary executor and circuit agree on every verdict and root."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from pipelines.adversary.ledger_traffic import (
    HASHER,
    fresh_ledger,
    issue,
    random_transaction,
    register,
)
from pipelines.adversary.naive_ledger import Message, NaiveLedger
from proving.ledger.air import LedgerAir
from proving.ledger.segments import cut_window
from proving.ledger.state import Block, compress_words
from proving.ledger.trace import build_trace
from proving.stark.trace_check import TraceChecker
from schemas.units import SUPPLY_CAP, ZERO_WORD, Array, word_bytes

AIR = LedgerAir(10, 1)
CHECKER = TraceChecker(AIR)
BLOCKS = 12


def link_words(
    array: Array, shard: int, peer: int, messages: Sequence[Message]
) -> list[tuple[int, ...]]:
    source, destination = (shard, peer) if array is Array.OUT else (peer, shard)
    return [
        (sender, recipient, amount % 2**30, amount >> 30, nonce, source, destination, 11)
        for sender, recipient, amount, nonce in messages
    ]


def chain(words: list[tuple[int, ...]]) -> bytes:
    head = ZERO_WORD
    for word in words:
        head = compress_words(HASHER, head, word_bytes(word))
    return head


@pytest.mark.parametrize("seed", range(6))
def test_three_executors_agree_on_random_blocks(seed: int) -> None:
    rng = random.Random(seed)  # noqa: S311 - reproducible
    ledger = fresh_ledger()
    parameters = ledger.parameters
    naive = NaiveLedger(
        parameters.chain, parameters.shard, parameters.minimum_fee, shards=parameters.shards
    )
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
    sums = (sum(naive.balance.values()), sum(ledger.account(i).balance for i in indices))
    assert sums == (SUPPLY_CAP, SUPPLY_CAP)
    for array, lists in ((Array.OUT, naive.sent), (Array.INB, naive.arrived)):
        for peer in range(parameters.shards):
            words = link_words(array, parameters.shard, peer, lists.get(peer, ()))
            assert ledger.link(array, peer) == chain(words)
    after = fresh_ledger()
    for segment in cut_window(after, blocks, 0, AIR.layout):
        trace, publics = build_trace(AIR, segment, HASHER)
        assert CHECKER.check(trace, publics).holds
    assert after.state_root() == ledger.state_root()
    for array in Array:
        assert after.root(array) == ledger.root(array)
