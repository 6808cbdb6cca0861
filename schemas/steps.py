"""The step table: what each transaction does to the state, as data.

The native executor, the trace and the constraints of the ledger circuit all read this table. A step
touches at most one cell and appends at most one word to a list; a transaction is a fixed sequence of its
kind's steps. Only INBOUND has two: the credit of its recipient, or the way back when there is none.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from schemas.transactions import TransactionKind
from schemas.units import Array


class Cell(StrEnum):
    """Which cell a step reads and writes: of ACC, but for PEER, which is the other shard's link."""

    NONE = "none"
    SENDER = "sender"
    RECIPIENT = "recipient"
    RESERVE = "reserve"
    PROPOSER_POOL = "proposer_pool"
    TRANSIT = "transit"
    PEER = "peer"


class Existence(StrEnum):
    """What must hold of the touched index."""

    UNCHECKED = "unchecked"
    ACCOUNT = "account"
    ACCOUNT_OR_RESERVE = "account_or_reserve"
    SHARD = "shard"


@dataclass(frozen=True, slots=True)
class Step:
    """One row of the transaction lane.

    Attributes:
        name: Name of its selector column.
        kind: Transaction it belongs to.
        cell: Cell it touches.
        existence: Check on that cell's index; ACCOUNT means FIRST_ACCOUNT <= index < number of keys, SHARD
            another shard of the chain.
        amount_sign: -1 takes the transaction's amount from the cell, +1 gives it, 0 leaves it.
        fee_sign: -1 takes the transaction's fee, +1 gives the block's fee sum, 0 neither.
        nonce_step: What is added to the cell's nonce, which must equal the transaction's when it is 1.
        append: List that receives the step's word, or None.
        link: Array whose cell of the other shard becomes C(cell, word), or None.
        head: First step of its transaction.
        tail: Last step of its transaction.
    """

    name: str
    kind: TransactionKind
    cell: Cell
    existence: Existence
    amount_sign: int
    fee_sign: int
    nonce_step: int
    append: Array | None
    head: bool
    tail: bool
    link: Array | None = None

    @property
    def pays(self) -> bool:
        """Whether the step debits a signer: amount, fee and nonce together."""
        return self.nonce_step == 1

    @property
    def takes(self) -> bool:
        """Whether the step's cell loses value, so that its limbs borrow."""
        return self.amount_sign < 0 or self.pays

    @property
    def moves(self) -> bool:
        """Whether the step touches an account cell."""
        return self.cell not in (Cell.NONE, Cell.PEER)

    @property
    def array(self) -> Array | None:
        """Array of the touched cell, or None."""
        return Array.ACC if self.moves else self.link


TRANSFER_DEBIT = Step(
    "transfer_debit",
    TransactionKind.TRANSFER,
    Cell.SENDER,
    Existence.ACCOUNT,
    amount_sign=-1,
    fee_sign=-1,
    nonce_step=1,
    append=Array.TXS,
    head=True,
    tail=False,
)
TRANSFER_CREDIT = Step(
    "transfer_credit",
    TransactionKind.TRANSFER,
    Cell.RECIPIENT,
    Existence.ACCOUNT,
    amount_sign=1,
    fee_sign=0,
    nonce_step=0,
    append=None,
    head=False,
    tail=True,
)
REGISTER_DEBIT = Step(
    "register_debit",
    TransactionKind.REGISTER,
    Cell.SENDER,
    Existence.ACCOUNT_OR_RESERVE,
    amount_sign=0,
    fee_sign=-1,
    nonce_step=1,
    append=Array.TXS,
    head=True,
    tail=False,
)
REGISTER_KEY = Step(
    "register_key",
    TransactionKind.REGISTER,
    Cell.NONE,
    Existence.UNCHECKED,
    amount_sign=0,
    fee_sign=0,
    nonce_step=0,
    append=Array.KEY,
    head=False,
    tail=True,
)
ISSUE_DEBIT = Step(
    "issue_debit",
    TransactionKind.ISSUE,
    Cell.RESERVE,
    Existence.UNCHECKED,
    amount_sign=-1,
    fee_sign=-1,
    nonce_step=1,
    append=Array.TXS,
    head=True,
    tail=False,
)
ISSUE_CREDIT = Step(
    "issue_credit",
    TransactionKind.ISSUE,
    Cell.RECIPIENT,
    Existence.ACCOUNT,
    amount_sign=1,
    fee_sign=0,
    nonce_step=0,
    append=None,
    head=False,
    tail=True,
)
SETTLE = Step(
    "settle",
    TransactionKind.SETTLE,
    Cell.PROPOSER_POOL,
    Existence.UNCHECKED,
    amount_sign=0,
    fee_sign=1,
    nonce_step=0,
    append=Array.TXS,
    head=True,
    tail=True,
)

SEND_DEBIT = Step(
    "send_debit",
    TransactionKind.OUTBOUND,
    Cell.SENDER,
    Existence.ACCOUNT,
    amount_sign=-1,
    fee_sign=-1,
    nonce_step=1,
    append=Array.TXS,
    head=True,
    tail=False,
)
SEND_LINK = Step(
    "send_link",
    TransactionKind.OUTBOUND,
    Cell.PEER,
    Existence.SHARD,
    amount_sign=0,
    fee_sign=0,
    nonce_step=0,
    append=None,
    head=False,
    tail=False,
    link=Array.OUT,
)
SEND_TRANSIT = Step(
    "send_transit",
    TransactionKind.OUTBOUND,
    Cell.TRANSIT,
    Existence.UNCHECKED,
    amount_sign=1,
    fee_sign=0,
    nonce_step=0,
    append=None,
    head=False,
    tail=True,
)
RECEIVE_LINK = Step(
    "receive_link",
    TransactionKind.INBOUND,
    Cell.PEER,
    Existence.SHARD,
    amount_sign=0,
    fee_sign=0,
    nonce_step=0,
    append=Array.TXS,
    head=True,
    tail=False,
    link=Array.INB,
)
RECEIVE_CREDIT = Step(
    "receive_credit",
    TransactionKind.INBOUND,
    Cell.RECIPIENT,
    Existence.ACCOUNT,
    amount_sign=1,
    fee_sign=0,
    nonce_step=0,
    append=None,
    head=False,
    tail=False,
)
RECEIVE_TRANSIT = Step(
    "receive_transit",
    TransactionKind.INBOUND,
    Cell.TRANSIT,
    Existence.UNCHECKED,
    amount_sign=-1,
    fee_sign=0,
    nonce_step=0,
    append=None,
    head=False,
    tail=True,
)
RETURN_LINK = Step(
    "return_link",
    TransactionKind.INBOUND,
    Cell.PEER,
    Existence.SHARD,
    amount_sign=0,
    fee_sign=0,
    nonce_step=0,
    append=None,
    head=False,
    tail=True,
    link=Array.OUT,
)

STEPS = (
    TRANSFER_DEBIT,
    TRANSFER_CREDIT,
    REGISTER_DEBIT,
    REGISTER_KEY,
    ISSUE_DEBIT,
    ISSUE_CREDIT,
    SETTLE,
    SEND_DEBIT,
    SEND_LINK,
    SEND_TRANSIT,
    RECEIVE_LINK,
    RECEIVE_CREDIT,
    RECEIVE_TRANSIT,
    RETURN_LINK,
)
"""All steps; the position is the selector's column."""

RETURN_STEPS = (RECEIVE_LINK, RETURN_LINK)
"""Steps of INBOUND when its recipient is no account here: the amount goes back to its sender's shard."""


def steps_of(kind: TransactionKind) -> tuple[Step, ...]:
    """Returns the steps of a kind in order, of INBOUND those that credit; empty for a reserved kind."""
    return tuple(step for step in STEPS if step.kind is kind and step is not RETURN_LINK)


def successors_of(step: Step) -> tuple[Step, ...]:
    """Returns the steps that may follow in the lane; after a tail any head, or padding."""
    if step.tail:
        return tuple(other for other in STEPS if other.head)
    sequence = steps_of(step.kind)
    following = sequence[sequence.index(step) + 1]
    return (following, RETURN_LINK) if step is RETURN_STEPS[0] else (following,)
