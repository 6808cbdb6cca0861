"""The words that TXS and the links between shards hold, and what another shard executes for them."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from schemas.steps import RETURN_LINK, SEND_LINK, Step
from schemas.transactions import Transaction, TransactionKind
from schemas.units import LIMB_LIMIT, Array

Elements = tuple[int, ...]
"""A word as eight canonical residues."""

PEER_WEIGHT = 1 << 8
"""Weight of the destination in the last element of an OUTBOUND word, above the kind."""


class Link(NamedTuple):
    """A word put on the link to or from another shard.

    Attributes:
        array: OUT or INB.
        peer: The other shard.
        word: Word of the transaction that the receiving shard executes.
    """

    array: Array
    peer: int
    word: Elements


def transaction_word(transaction: Transaction, recipient: int) -> Elements:
    """Returns the word of TXS: sender, recipient, amount in two halves, nonce, fee, expiry, kind.

    OUTBOUND names its destination above the kind; INBOUND has source and destination in place of fee and
    expiry, and is the word on the link too.
    """
    half = LIMB_LIMIT * LIMB_LIMIT
    kind, (fifth, sixth) = int(transaction.kind), (transaction.fee, transaction.expiry)
    if transaction.kind is TransactionKind.OUTBOUND:
        kind += PEER_WEIGHT * transaction.peer
    elif transaction.kind is TransactionKind.INBOUND:
        fifth, sixth = transaction.peer, transaction.shard
    return (
        transaction.sender,
        recipient,
        transaction.amount % half,
        transaction.amount // half,
        transaction.nonce,
        fifth,
        sixth,
        kind,
    )


def block_word(height: int, slot: int, count: int, fee_sum: int) -> Elements:
    """Returns the word with which SETTLE closes a block: its fee sum in two halves of 30 bits."""
    half = LIMB_LIMIT * LIMB_LIMIT
    return (height, slot, count, fee_sum % half, fee_sum // half, 0, 0, int(TransactionKind.SETTLE))


def link_word(step: Step, transaction: Transaction) -> Elements:
    """Returns the word that a step of the transaction puts on its link."""
    carried = transaction
    if step is SEND_LINK:
        carried = sent_by(transaction)
    elif step is RETURN_LINK:
        carried = returned_by(transaction)
    return transaction_word(carried, carried.recipient)


def sent_by(transaction: Transaction) -> Transaction:
    """Returns what the destination of an OUTBOUND transaction executes."""
    return replace(
        transaction,
        kind=TransactionKind.INBOUND,
        shard=transaction.peer,
        peer=transaction.shard,
        fee=0,
        expiry=0,
    )


def returned_by(transaction: Transaction) -> Transaction:
    """Returns what the source of an INBOUND transaction executes when its recipient is no account."""
    return replace(
        transaction,
        shard=transaction.peer,
        peer=transaction.shard,
        sender=transaction.recipient,
        recipient=transaction.sender,
    )
