"""A window of seeded transfers as segment witnesses: what benches prove and campaigns mutate."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence

from proving.arithmetic.poseidon2 import NumpyHasher
from proving.ledger.layout import Layout
from proving.ledger.rules import PUBLIC_FEE, LedgerParameters
from proving.ledger.segments import cut_window
from proving.ledger.state import Block, Ledger, genesis_ledger
from proving.ledger.witness import SegmentWitness
from proving.segment_proofs import segment_layout
from schemas.transactions import Transaction, TransactionKind
from schemas.units import FEE_UNIT, FIRST_ACCOUNT, PUBLIC_KEY_BYTES

ACCOUNTS = 64
FUNDING = 10**12
EXPIRY = 10_000
PARAMETERS = LedgerParameters(chain=1, shard=0)


def _bytes(name: str, count: int) -> bytes:
    return hashlib.shake_256(b"ecliptica/sample/" + name.encode()).digest(count)


ISSUER_KEY = _bytes("issuer", PUBLIC_KEY_BYTES)


def sample_window(
    transactions: int, seed: int, layout: Layout | None = None
) -> list[SegmentWitness]:
    """Returns the segments of a window of transfers between 64 funded accounts; no signatures are made.

    Args:
        transactions: Transfers in the window's one block.
        seed: Of amounts, senders and recipients.
        layout: Circuit that segments are cut for; the smaller it is, the more there are. None: the shipped one.
    """
    return window_of(sample_transfers(transactions, seed), layout)


def sample_transfers(transactions: int, seed: int) -> list[Transaction]:
    """Returns as many transfers; any of them may be a unit larger and all are still covered."""
    rng = random.Random(seed)  # noqa: S311 - reproducible draws, not secrets
    nonces = [0] * ACCOUNTS
    transfers = []
    for _ in range(transactions):
        sender, recipient = rng.sample(range(ACCOUNTS), 2)
        amount = rng.randrange(FUNDING // (transactions + 1) - PUBLIC_FEE * FEE_UNIT)
        transfers.append(
            _transaction(
                TransactionKind.TRANSFER,
                sender=FIRST_ACCOUNT + sender,
                recipient=FIRST_ACCOUNT + recipient,
                amount=amount,
                fee=PUBLIC_FEE,
                nonce=nonces[sender],
            )
        )
        nonces[sender] += 1
    return transfers


def window_of(
    transfers: Sequence[Transaction], layout: Layout | None = None
) -> list[SegmentWitness]:
    """Returns the segments, cut for a circuit, of a window whose one block holds the transfers."""
    ledger = funded_ledger()
    block = Block(ledger.height + 1, 64, 1, tuple(transfers))
    return cut_window(ledger, [block], 1, layout or segment_layout())


def funded_ledger() -> Ledger:
    """Returns a ledger after one block that registers and funds the accounts."""
    ledger = genesis_ledger(PARAMETERS, NumpyHasher(), ISSUER_KEY)
    ledger.execute_block(opening_transactions(ACCOUNTS), 1, 1, 0)
    return ledger


def opening_transactions(accounts: int) -> list[Transaction]:
    """Returns what registers and funds accounts, of the chain and shard of `PARAMETERS`."""
    registrations = [
        _transaction(
            TransactionKind.REGISTER,
            nonce=number,
            address=_bytes(f"address {number}", 20),
            public_key=_bytes(f"key {number}", PUBLIC_KEY_BYTES),
        )
        for number in range(accounts)
    ]
    issues = [
        _transaction(
            TransactionKind.ISSUE,
            recipient=FIRST_ACCOUNT + number,
            amount=FUNDING,
            nonce=accounts + number,
        )
        for number in range(accounts)
    ]
    return [*registrations, *issues]


def _transaction(
    kind: TransactionKind,
    *,
    nonce: int,
    sender: int = 0,
    recipient: int = 0,
    amount: int = 0,
    fee: int = 0,
    address: bytes = b"",
    public_key: bytes = b"",
) -> Transaction:
    place = (PARAMETERS.chain, PARAMETERS.shard)
    return Transaction(
        kind, *place, sender, recipient, amount, fee, nonce, EXPIRY, address, public_key
    )
