"""A small chain of shards that send each other transfers: what the benches of the pyramid prove, epoch after epoch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from pipelines.sample_window import EXPIRY, ISSUER_KEY, opening_transactions
from proving.backends.port import Hasher
from proving.ledger.layout import Layout
from proving.ledger.rules import PUBLIC_FEE, LedgerParameters
from proving.ledger.segments import cut_window
from proving.ledger.state import Block, Ledger, genesis_ledger
from proving.ledger.witness import SegmentWitness
from proving.recursion.shard_part import ShardPart, link_heads
from proving.recursion.span import Span
from schemas.transactions import Transaction, TransactionKind
from schemas.units import FIRST_ACCOUNT, Array

CHAIN = 7
SENDS = 3
"""Transfers that a shard makes to every other one in a window."""


@dataclass(frozen=True, slots=True)
class SampleEpoch:
    """One window of every shard.

    Attributes:
        window: Its number; an epoch is one window here.
        parts: What every shard did, its span still to be proven.
        witnesses: Every shard's segments.
    """

    window: int
    parts: list[ShardPart]
    witnesses: list[list[SegmentWitness]]

    def parts_with(self, spans: list[Span | None]) -> list[ShardPart]:
        """Returns the parts with the spans that were proven."""
        return [replace(part, span=span) for part, span in zip(self.parts, spans, strict=True)]


@dataclass(frozen=True, slots=True)
class SampleExtras:
    """What a sample chain has beside what every one has.

    Attributes:
        issuer: Public key of the issuer.
        keys: Public keys of the accounts in the order of their registration, the same on every shard; empty for keys
            that nobody can sign with.
        added: Transactions that a block executes last, by window and shard.
    """

    issuer: bytes = ISSUER_KEY
    keys: Sequence[bytes] = ()
    added: Mapping[tuple[int, int], Sequence[Transaction]] = field(default_factory=dict)


def sample_epochs(
    shards: int,
    hasher: Hasher,
    layout: Layout,
    accounts: int = 8,
    extras: SampleExtras | None = None,
) -> Iterator[SampleEpoch]:
    """Yields epochs without end; the first registers and funds the accounts.

    Args:
        shards: Number of shards, 2 or more.
        hasher: Poseidon2.
        layout: Circuit that segments are cut for.
        accounts: Accounts of every shard; at least `SENDS`.
        extras: Keys and further transactions.
    """
    given = extras or SampleExtras()
    chain = [_Shard(number, shards, hasher, accounts, given) for number in range(shards)]
    window = 0
    while True:
        waiting = [shard.take() for shard in chain]
        made = [
            shard.window(window, arrived, layout)
            for shard, arrived in zip(chain, waiting, strict=True)
        ]
        for shard in chain:
            for transaction in shard.sent:
                chain[transaction.shard].inbox.append(transaction)
        yield SampleEpoch(window, [part for part, _ in made], [found for _, found in made])
        window += 1


class _Shard:
    """One shard: its ledger, what waits for it, and what it sent last."""

    def __init__(
        self, number: int, shards: int, hasher: Hasher, accounts: int, extras: SampleExtras
    ) -> None:
        parameters = LedgerParameters(CHAIN, number, shards=shards)
        self.ledger: Ledger = genesis_ledger(parameters, hasher, extras.issuer)
        self.inbox: list[Transaction] = []
        self.sent: list[Transaction] = []
        self._accounts = accounts
        self._extras = extras
        self._nonces: Counter[int] = Counter()

    def take(self) -> list[Transaction]:
        """Returns what was sent to this shard before the window."""
        taken, self.inbox = self.inbox, []
        return sorted(taken, key=lambda transaction: transaction.peer)

    def window(
        self, window: int, arrived: list[Transaction], layout: Layout
    ) -> tuple[ShardPart, list[SegmentWitness]]:
        """Executes one block with what arrived and what is sent."""
        ledger, shard = self.ledger, self.ledger.parameters.shard
        ledger.open_window(window)
        at = ledger.boundary()
        sent, received = link_heads(ledger, Array.OUT), link_heads(ledger, Array.INB)
        body = [*arrived, *(() if window else self._opening())]
        peers = [peer for peer in range(ledger.parameters.shards) if peer != shard]
        body += [self._send(peer, place) for place in range(SENDS) for peer in peers]
        body += self._extras.added.get((window, shard), ())
        height = ledger.height + 1
        trial = ledger.branch()
        self.sent = list(trial.execute_block(body, height, height, window).sent)
        block = Block(height, height, window, tuple(body))
        witnesses = cut_window(ledger, [block], window, layout)
        return ShardPart(None, at, sent, received, link_heads(ledger, Array.INB)), witnesses

    def _opening(self) -> list[Transaction]:
        return shard_opening(self.ledger.parameters, self._accounts, self._extras.keys)

    def _send(self, peer: int, place: int) -> Transaction:
        sender = FIRST_ACCOUNT + place
        nonce, self._nonces[sender] = self._nonces[sender], self._nonces[sender] + 1
        return Transaction(
            TransactionKind.OUTBOUND,
            CHAIN,
            self.ledger.parameters.shard,
            sender,
            FIRST_ACCOUNT + self._accounts - 1,
            1000 + nonce,
            PUBLIC_FEE,
            nonce,
            EXPIRY,
            peer=peer,
        )


def shard_opening(
    owner: LedgerParameters, accounts: int, keys: Sequence[bytes] = ()
) -> list[Transaction]:
    """Returns what registers and funds a shard's accounts, with these keys or with keys that nobody can sign with."""
    opening = [
        replace(one, chain=owner.chain, shard=owner.shard) for one in opening_transactions(accounts)
    ]
    for number, key in enumerate(keys):
        opening[number] = replace(opening[number], public_key=key)
    return opening
