"""Random ledgers, blocks and traces for the ledger tests; everything follows from a seed."""

from __future__ import annotations

import functools
import random

from proving.arithmetic.poseidon2 import NumpyHasher
from proving.ledger.rules import LedgerParameters
from proving.ledger.state import Block, Ledger, genesis_ledger
from schemas.transactions import Transaction, TransactionKind
from schemas.units import PUBLIC_KEY_BYTES, ReservedCell

HASHER = NumpyHasher()
PARAMETERS = LedgerParameters(chain=7, shard=1, shards=3)
ISSUER_KEY = bytes([1]) * PUBLIC_KEY_BYTES


def fresh_ledger() -> Ledger:
    """Returns a ledger at genesis."""
    return genesis_ledger(PARAMETERS, HASHER, ISSUER_KEY)


def transaction(kind: TransactionKind, **fields: object) -> Transaction:
    """Returns a transaction of this chain and shard, zero but for what is given."""
    values: dict[str, object] = {
        "kind": kind,
        "chain": 7,
        "shard": 1,
        "sender": 0,
        "recipient": 0,
        "amount": 0,
        "fee": 0,
        "nonce": 0,
        "expiry": 100,
    }
    return Transaction(**(values | fields))  # type: ignore[arg-type]


def register(name: int, nonce: int, sender: int = 0, fee: int = 0) -> Transaction:
    """Returns the registration of an address and a key made from a number."""
    return transaction(
        TransactionKind.REGISTER,
        sender=sender,
        nonce=nonce,
        fee=fee,
        address=name.to_bytes(20, "little"),
        public_key=name.to_bytes(PUBLIC_KEY_BYTES, "little"),
    )


def issue(recipient: int, amount: int, nonce: int, fee: int = 0) -> Transaction:
    """Returns an issue of the reserve."""
    return transaction(
        TransactionKind.ISSUE, recipient=recipient, amount=amount, nonce=nonce, fee=fee
    )


def transfer(
    sender: int, recipient: int, amount: int, nonce: int, fee: int = 1000, *, expiry: int = 100
) -> Transaction:
    """Returns a transfer."""
    return transaction(
        TransactionKind.TRANSFER,
        sender=sender,
        recipient=recipient,
        amount=amount,
        nonce=nonce,
        fee=fee,
        expiry=expiry,
    )


def send(
    sender: int, recipient: int, amount: int, nonce: int, *, peer: int, fee: int = 1000
) -> Transaction:
    """Returns a transfer to another shard."""
    return transaction(
        TransactionKind.OUTBOUND,
        sender=sender,
        recipient=recipient,
        amount=amount,
        nonce=nonce,
        fee=fee,
        peer=peer,
    )


def arrival(sender: int, recipient: int, amount: int, nonce: int, peer: int) -> Transaction:
    """Returns what another shard sent here."""
    return transaction(
        TransactionKind.INBOUND,
        sender=sender,
        recipient=recipient,
        amount=amount,
        nonce=nonce,
        peer=peer,
        expiry=0,
    )


def random_transaction(rng: random.Random, ledger: Ledger) -> Transaction:
    """Mostly valid on the given ledger; now and then anything."""
    kind = rng.choice(
        [TransactionKind.TRANSFER] * 4
        + [TransactionKind.OUTBOUND, TransactionKind.INBOUND]
        + [TransactionKind.ISSUE, TransactionKind.REGISTER]
    )
    users = range(16, max(17, ledger.num_keys))
    sender, recipient = rng.choice(users), rng.choice(users)
    if kind is TransactionKind.ISSUE or (kind is TransactionKind.REGISTER and rng.random() < 0.7):
        sender = int(ReservedCell.RESERVE)
    balance = ledger.account(sender).balance
    amount = rng.choice([0, 1, balance // 3, rng.randrange(balance // 2 + 1), 2**30 - 1, 2**15])
    fee = rng.choice([1000, 1001, 32767, 40000, 2**20])
    nonce = ledger.account(sender).nonce
    fields: dict[str, object] = {
        "sender": sender,
        "recipient": recipient,
        "amount": amount,
        "fee": fee,
        "nonce": nonce,
        "expiry": ledger.slot + rng.choice([0, 5, 32767]),
    }
    if kind in (TransactionKind.OUTBOUND, TransactionKind.INBOUND):
        fields["peer"] = rng.choice([0, 2])
    if kind is TransactionKind.INBOUND:
        fields |= {"fee": 0, "expiry": 0, "nonce": rng.randrange(9)}
    if kind is TransactionKind.REGISTER:
        name = rng.randrange(2, 400)
        fields |= {
            "amount": 0,
            "recipient": 0,
            "address": name.to_bytes(20, "little"),
            "public_key": (name + rng.choice([0, 0, 1])).to_bytes(PUBLIC_KEY_BYTES, "little"),
        }
    if rng.random() < 0.25:
        field, value = rng.choice(
            [
                ("sender", 3),
                ("sender", 1000),
                ("recipient", 1),
                ("recipient", 999),
                ("nonce", nonce + 1),
                ("nonce", max(0, nonce - 1)),
                ("fee", 0),
                ("amount", 2**60 - 1),
                ("expiry", max(0, ledger.slot - 1)),
                ("expiry", ledger.slot + 32768),
                ("chain", 8),
                ("shard", 2),
                ("kind", TransactionKind.SHIELD),
                ("peer", rng.choice([1, 3])),
            ]
        )
        if kind is not TransactionKind.REGISTER or field not in ("recipient", "amount", "kind"):
            fields[field] = value
    return transaction(**({"kind": kind} | fields))  # type: ignore[arg-type]


@functools.cache
def mixed_blocks() -> tuple[Block, ...]:
    """Registrations, issues, hot and self transfers, zero amounts, fee carries, an empty block.

    Sends to two shards, what came from them, and two amounts that go back.
    """
    users = list(range(16, 22))
    first = [register(2 + i, i) for i in range(6)]
    first += [issue(user, 2**58 // 8 - 7 * user, 6 + i) for i, user in enumerate(users)]
    second = [
        transfer(16, 17, 2**45 + 12345, 0, fee=2**29 + 5),
        transfer(16, 16, 99, 1, fee=32767),
        transfer(17, 18, 0, 0, fee=32767),
        transfer(18, 19, 2**30 - 1, 0, fee=2**30 - 1),
        transfer(19, 20, 2**57 // 8, 0),
        register(50, 1, sender=17, fee=2000),
        issue(22, 2**40, 12, fee=7),
        transfer(16, 22, 32768, 2, expiry=5 + 32767),
        send(18, 40, 2**31 + 5, 1, peer=2),
        send(18, 41, 2**45 + 7, 2, peer=0, fee=32767),
        arrival(30, 20, 2**40 - 1, 5, 0),
        arrival(31, 2**30 - 1, 2**46 + 1, 6, 2),
        arrival(30, 23, 9, 6, 0),
    ]
    return (
        Block(1, 3, 0, tuple(first)),
        Block(2, 5, 0, tuple(second)),
        Block(3, 5, 0, ()),
        Block(4, 70000, 0, (transfer(22, 16, 1, 0, expiry=70000),)),
    )
