"""Days of a small chain whose accounts and validators have real keys: honest ones, and one with a stolen transfer.

The circuits of the ledger prove no signature, so the stolen transfer can be proven like any other; what keeps it out is
that no quorum accepts such a day.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import islice

from operators.inclusion_path import find_in_window, inclusion_path
from operators.pyramid_planner import Links, PyramidClock, PyramidPlanner
from operators.pyramid_tree import Node, Segment
from pipelines.account_keys import KeyRing, issuer_pair
from pipelines.sample_shards import CHAIN, SampleEpoch, SampleExtras, sample_epochs
from pipelines.sample_votes import committee
from pipelines.sample_window import EXPIRY
from proving.backends.port import Hasher
from proving.ledger.rules import PUBLIC_FEE
from proving.ledger.witness import SegmentWitness
from proving.light.inclusion import Inclusion
from proving.recursion.pyramid_work import said_bytes
from proving.segment_proofs import SEGMENT_KIND, segment_layout
from proving.signatures import KeyPair
from schemas.errors import ParameterError
from schemas.job import ProofLevel
from schemas.run import RunStatement, WordElements
from schemas.statement import SegmentStatement
from schemas.transactions import Transaction, TransactionKind
from schemas.units import FIRST_ACCOUNT
from schemas.validators import validators_word

SHARDS = 2
ACCOUNTS = 8
SEED = 7
"""Of the keys of issuer and accounts."""

VICTIM, THIEF = 5, 6
"""Numbers of accounts; neither sends anything else."""

STOLEN = 10**9
"""Units."""


def account_pair(number: int) -> KeyPair:
    """Returns the key pair of an account."""
    return KeyRing(SEED).pair(b"account %d" % number)


def sample_issuer() -> KeyPair:
    """Returns the issuer's key pair."""
    return issuer_pair(SEED)


def account_keys() -> list[bytes]:
    """Returns the accounts' public keys, in the order of their registration."""
    return [account_pair(number).public_key for number in range(ACCOUNTS)]


def stolen_transfer() -> Transaction:
    """Returns a transfer from the victim to the thief, which the victim never signed."""
    return Transaction(
        TransactionKind.TRANSFER, CHAIN, 0, FIRST_ACCOUNT + VICTIM, FIRST_ACCOUNT + THIEF, STOLEN, PUBLIC_FEE, 0,
        EXPIRY,
    )  # fmt: skip


@dataclass(frozen=True)
class SampleChain:
    """Some windows of two shards, one window an epoch.

    Attributes:
        hasher: Poseidon2.
        windows: Windows.
        windows_per_day: Windows of a day.
        stolen_in: Window whose block of shard 0 holds the stolen transfer; None for an honest chain.
        busy: Windows from the start in which blocks are made; None for all.
    """

    hasher: Hasher
    windows: int = 4
    windows_per_day: int = 2
    stolen_in: int | None = None
    busy: int | None = None

    @cached_property
    def epochs(self) -> list[SampleEpoch]:
        """The busy windows and one more, whose beginning is where the last one ends."""
        added = {} if self.stolen_in is None else {(self.stolen_in, 0): (stolen_transfer(),)}
        extras = SampleExtras(sample_issuer().public_key, account_keys(), added)
        count = self.windows if self.busy is None else self.busy
        made = sample_epochs(SHARDS, self.hasher, segment_layout(), ACCOUNTS, extras)
        return list(islice(made, count + 1))

    @property
    def witnesses(self) -> dict[SegmentStatement, SegmentWitness]:
        """Witnesses of all segments."""
        listed = [one for epoch in self.epochs[:-1] for shard in epoch.witnesses for one in shard]
        return {one.statement: one for one in listed}

    @property
    def validators(self) -> WordElements:
        """Word of the committee in charge."""
        return validators_word(committee().keys)

    @cached_property
    def trees(self) -> list[Node]:
        """Trees of all levels as the pyramid's process plans them."""
        return list(self._plan())

    @property
    def days(self) -> list[Node]:
        """Trees of the days."""
        return [tree for tree in self.trees if tree.level is ProofLevel.DAY]

    def day_run(self, number: int) -> RunStatement:
        """Returns what the proof of a day says."""
        return RunStatement.from_bytes(said_bytes(self.days[number].said))

    def path_of(self, window: int, shard: int) -> Inclusion:
        """Returns the path of the last transfer that a shard sent in a window to the statement of its day."""
        sent = [
            entry.transaction
            for witness in self.epochs[window].witnesses[shard]
            for entry in witness.entries
            if entry.transaction and entry.transaction.kind is TransactionKind.OUTBOUND
        ]
        return self.path_to(sent[-1], window)

    def path_to(self, transaction: Transaction, window: int) -> Inclusion:
        """Returns the path of a transaction of a window to the statement of its day.

        Raises:
            ParameterError: The window does not hold it.
        """
        witnesses = self.epochs[window].witnesses[transaction.shard]
        listed = find_in_window(transaction, witnesses)
        if listed is None:
            raise ParameterError(f"window {window} does not hold the transaction")
        return inclusion_path(self.days[window // self.windows_per_day], listed, self.hasher)

    def _plan(self) -> Iterator[Node]:
        clock = PyramidClock(1, 1, self.windows_per_day)
        begun = [part.at for part in self.epochs[0].parts]
        planner = PyramidPlanner.start(
            CHAIN, clock, begun, validators=self.validators, hasher=self.hasher
        )
        for window, epoch in enumerate(self.epochs[:-1]):
            for shard, witnesses in enumerate(epoch.witnesses):
                after = self.epochs[window + 1].parts[shard]
                planner.see_links(shard, window, Links(after.sent, after.received))
                planner.accept([Segment(one.statement, SEGMENT_KIND) for one in witnesses])
            yield from planner.plan()
        for shard in range(SHARDS):
            planner.reach(shard, self.windows)
        yield from planner.plan()
