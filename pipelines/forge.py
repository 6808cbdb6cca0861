"""Makes signed transactions: a user's transfers, and the issuer's registrations and issues."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from pipelines.account_keys import issuer_pair
from pipelines.corpus import CorpusRow
from proving.ledger.rules import PUBLIC_FEE
from proving.signatures import KeyPair
from schemas.transactions import SIGNATURE_CONTEXT, Transaction, TransactionKind
from schemas.units import FEE_UNIT, FIRST_ACCOUNT, ReservedCell

PUBLIC_FEE_UNITS = PUBLIC_FEE * FEE_UNIT
"""The Public tier's fee in amount units of 1e-9; the issuer pays none."""


@dataclass(frozen=True, slots=True)
class Signed:
    """Bytes as they go into a record of `tx.<shard>`.

    Attributes:
        body: What is signed.
        signature: 2420 bytes when valid.
    """

    body: bytes
    signature: bytes

    def row(
        self, phase: str, expected: str, origin: str, event_millis: int | None = None
    ) -> CorpusRow:
        """Returns the corpus row of these bytes."""
        return CorpusRow(phase, self.body, self.signature, expected, origin, event_millis)


def sign(pair: KeyPair, transaction: Transaction) -> Signed:
    """Signs a transaction.

    Raises:
        ParameterError: A field is outside its range.
    """
    body = transaction.body()
    return Signed(body, pair.sign(body, SIGNATURE_CONTEXT))


def index_of(place: int) -> int:
    """Returns the account index of the account registered at `place`, counting from 0."""
    return FIRST_ACCOUNT + place


def usable_cores() -> int:
    """Returns the number of cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@dataclass(frozen=True, slots=True)
class Forge:
    """Signs for one chain and shard; accounts are named by their place in registration order.

    Attributes:
        chain: Chain number.
        shard: Shard.
        seed: Seed of the issuer's key.
        expiry: Last slot of what it makes.
    """

    chain: int
    shard: int
    seed: int
    expiry: int
    _issuer: KeyPair = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_issuer", issuer_pair(self.seed))

    def register(self, nonce: int, address: bytes, public_key: bytes) -> Signed:
        """Registers an account, signed by the issuer and free; it gets the next place."""
        transaction = Transaction(
            kind=TransactionKind.REGISTER,
            chain=self.chain,
            shard=self.shard,
            sender=ReservedCell.RESERVE,
            recipient=0,
            amount=0,
            fee=0,
            nonce=nonce,
            expiry=self.expiry,
            address=address,
            public_key=public_key,
        )
        return sign(self._issuer, transaction)

    def issue(self, nonce: int, place: int, amount: int) -> Signed:
        """Issues units to an account, signed by the issuer."""
        transaction = Transaction(
            kind=TransactionKind.ISSUE,
            chain=self.chain,
            shard=self.shard,
            sender=ReservedCell.RESERVE,
            recipient=index_of(place),
            amount=amount,
            fee=0,
            nonce=nonce,
            expiry=self.expiry,
        )
        return sign(self._issuer, transaction)

    def transfer(self, sender: int, recipient: int, amount: int, nonce: int) -> Transaction:
        """Returns an unsigned transfer between two accounts."""
        return Transaction(
            kind=TransactionKind.TRANSFER,
            chain=self.chain,
            shard=self.shard,
            sender=index_of(sender),
            recipient=index_of(recipient),
            amount=amount,
            fee=PUBLIC_FEE,
            nonce=nonce,
            expiry=self.expiry,
        )
