"""The meaning of a transaction: the native executor of single transactions, driven by the step table.

`apply` looks at a view of the state and returns the steps' effects or the reason of refusal; it changes
nothing. Signatures are checked in batches elsewhere; everything the circuit proves is checked here, in the
same terms. The circuit's limits (ranges of amounts, fees, nonces, expiry) are rules of validity, so that
every block an honest validator notarises is provable.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from proving.ledger.words import (
    Elements,
    Link,
    link_word,
    returned_by,
    sent_by,
    transaction_word,
)
from schemas.errors import ParameterError
from schemas.rejection import RejectionReason
from schemas.steps import RETURN_STEPS, SEND_LINK, Cell, Existence, Step, steps_of
from schemas.transactions import LINKED_KINDS, SUPPORTED_KINDS, Transaction, TransactionKind
from schemas.units import (
    ADDRESS_BYTES,
    AMOUNT_LIMBS,
    AMOUNT_LIMIT,
    EXPIRY_SPAN,
    FEE_LIMIT,
    FEE_UNIT,
    FIRST_ACCOUNT,
    INDEX_LIMIT,
    LIMB_LIMIT,
    PUBLIC_KEY_BYTES,
    SPAN_LIMIT,
    SUPPLY_CAP,
    ReservedCell,
    issuable,
    limbs_of,
    value_of,
    word_bytes,
    word_elements,
)

PUBLIC_FEE = 1000
"""Fee units of the Public tier: 0.001 ECLIPT."""


class Account(NamedTuple):
    """An account cell: balance < 2^60 and nonce < 2^30."""

    balance: int
    nonce: int

    def elements(self) -> Elements:
        """Returns the cell's word: four balance limbs, the nonce, three zeros."""
        return (*limbs_of(self.balance), self.nonce, 0, 0, 0)

    def word(self) -> bytes:
        """Returns the cell's word as 32 bytes."""
        return word_bytes(self.elements())


@dataclass(frozen=True, slots=True)
class LedgerParameters:
    """Constants of a shard's ledger that every validator shares.

    Attributes:
        chain: Chain number, < 2^30.
        shard: Shard number, < `shards`.
        minimum_fee: Least fee of a transfer or registration, in fee units; what the reserve cell pays for
            is exempt. A rule of validity that the circuit does not prove.
        shards: Number of shards of the chain, < 2^16.
    """

    chain: int
    shard: int
    minimum_fee: int = PUBLIC_FEE
    shards: int = 1

    def is_peer(self, shard: int) -> bool:
        """Whether value can go to and come from a shard: it is another one of this chain."""
        return 0 <= shard < self.shards and shard != self.shard


class LedgerView(Protocol):
    """What a transaction may read."""

    @property
    def num_keys(self) -> int:
        """Words in KEY: the index that the next registration gets."""
        ...

    def account(self, index: int) -> Account:
        """Returns an account cell; zeros where nothing was written."""
        ...

    def has_address(self, address: bytes) -> bool:
        """Whether an account with this address is registered."""
        ...

    def has_public_key(self, public_key: bytes) -> bool:
        """Whether this public key is registered."""
        ...


class Touch(NamedTuple):
    """What one step does to its account cell.

    Attributes:
        step: Row of the step table.
        cell: Index of the cell; 0 for a step that touches none.
        old: The account before; the zero account for a step that touches none, or a link.
        new: The account after.
    """

    step: Step
    cell: int
    old: Account
    new: Account


class Effects(NamedTuple):
    """What a valid transaction does, nothing of it done yet.

    Attributes:
        touches: One per step, in order.
        word: The word appended to TXS.
        new_account: REGISTER: the index given to the new account; otherwise None.
        links: Words put on links, in order.
        sent: What another shard has to execute now; otherwise None.
    """

    touches: tuple[Touch, ...]
    word: Elements
    new_account: int | None
    links: tuple[Link, ...] = ()
    sent: Transaction | None = None


def account_of(word: bytes) -> Account:
    """Reads an account cell; inverse of `Account.word`.

    Raises:
        ParameterError: The bytes are not the word of an account.
    """
    elements = word_elements(word)
    limbs, rest = elements[:AMOUNT_LIMBS], elements[AMOUNT_LIMBS + 1 :]
    if any(rest) or any(limb >= LIMB_LIMIT for limb in limbs):
        raise ParameterError(f"{elements} is no account cell")
    return Account(value_of(elements[:4]), elements[4])


EMPTY_ACCOUNT = Account(0, 0)
"""The zero word read as an account."""


def genesis_accounts(shards: int) -> dict[int, Account]:
    """Returns the account cells before block 1 of any shard: together they hold the cap.

    Args:
        shards: Number of shards of the chain.
    """
    reserve = issuable(shards)
    cells = {int(ReservedCell.RESERVE): Account(reserve, 0)}
    if shards > 1:
        cells[int(ReservedCell.TRANSIT)] = Account(SUPPLY_CAP - reserve, 0)
    return cells


def check_fields(transaction: Transaction, parameters: LedgerParameters) -> RejectionReason | None:
    """Checks what depends on the transaction alone; None when it may be executed."""
    checks = (
        (transaction.kind in SUPPORTED_KINDS, RejectionReason.KIND_NOT_SUPPORTED),
        (transaction.chain == parameters.chain, RejectionReason.WRONG_CHAIN),
        (transaction.shard == parameters.shard, RejectionReason.WRONG_SHARD),
        (0 <= transaction.amount < AMOUNT_LIMIT, RejectionReason.AMOUNT_TOO_LARGE),
        (0 <= transaction.fee < FEE_LIMIT, RejectionReason.FEE_TOO_LARGE),
        (_is_canonical(transaction), RejectionReason.NON_CANONICAL),
        (_is_routed(transaction, parameters), RejectionReason.UNKNOWN_SHARD),
        (
            transaction.kind is not TransactionKind.ISSUE
            or transaction.sender == ReservedCell.RESERVE,
            RejectionReason.NOT_ISSUER,
        ),
        (
            transaction.sender == ReservedCell.RESERVE or transaction.fee >= parameters.minimum_fee,
            RejectionReason.FEE_TOO_LOW,
        ),
    )
    return next((reason for passed, reason in checks if not passed), None)


def _is_routed(transaction: Transaction, parameters: LedgerParameters) -> bool:
    if transaction.kind in LINKED_KINDS:
        return parameters.is_peer(transaction.peer)
    return True


def _is_canonical(transaction: Transaction) -> bool:
    registers = transaction.kind is TransactionKind.REGISTER
    numbers = (transaction.sender, transaction.recipient, transaction.nonce, transaction.expiry)
    return (
        all(0 <= number < INDEX_LIMIT for number in numbers)
        and len(transaction.address) == (ADDRESS_BYTES if registers else 0)
        and len(transaction.public_key) == (PUBLIC_KEY_BYTES if registers else 0)
        and not (registers and (transaction.amount or transaction.recipient))
        and not (transaction.peer and transaction.kind not in LINKED_KINDS)
    )


def apply(
    view: LedgerView, transaction: Transaction, slot: int, parameters: LedgerParameters
) -> Effects | RejectionReason:
    """Executes one user transaction on a view, without changing it.

    Args:
        view: The state it meets.
        transaction: Its body; the signature is checked elsewhere.
        slot: Slot of the block, < 2^30.
        parameters: Constants of the ledger.

    Returns:
        The effects, or why the transaction is invalid here.
    """
    reason = check_fields(transaction, parameters) or _check_expiry(transaction, slot)
    if reason is None and transaction.kind is TransactionKind.REGISTER:
        reason = _check_registration(view, transaction)
    if reason is not None:
        return reason
    touches = execute_steps(view, transaction)
    if isinstance(touches, RejectionReason):
        return touches
    registers = transaction.kind is TransactionKind.REGISTER
    new_account = view.num_keys if registers else None
    recipient = transaction.recipient if new_account is None else new_account
    word = transaction_word(transaction, recipient)
    sends = transaction.kind is TransactionKind.OUTBOUND
    sent = sent_by(transaction) if sends else None
    return Effects(touches, word, new_account, links_of(touches, transaction), sent)


def receive(
    view: LedgerView, transaction: Transaction, parameters: LedgerParameters
) -> Effects | RejectionReason:
    """Executes what another shard sent, on a view, without changing it.

    Nobody signs it: that it is the next word of the other shard's link is for the caller to know. A
    recipient that is no account here makes the amount go back; no choice is left to anybody.

    Args:
        view: The state it meets.
        transaction: Of kind INBOUND.
        parameters: Constants of the ledger.

    Returns:
        The effects, or why no shard can have sent this.
    """
    reason = _check_inbound(transaction, parameters)
    if reason is not None:
        return reason
    touches = execute_steps(view, transaction)
    if isinstance(touches, RejectionReason):
        return touches
    word = transaction_word(transaction, transaction.recipient)
    returns = transaction.recipient >= view.num_keys
    sent = returned_by(transaction) if returns else None
    return Effects(touches, word, None, links_of(touches, transaction), sent)


def links_of(touches: Sequence[Touch], transaction: Transaction) -> tuple[Link, ...]:
    """Returns the words that a transaction's steps put on links."""
    return tuple(
        Link(touch.step.link, touch.cell, link_word(touch.step, transaction))
        for touch in touches
        if touch.step.link is not None
    )


def _check_inbound(
    transaction: Transaction, parameters: LedgerParameters
) -> RejectionReason | None:
    checks = (
        (transaction.kind is TransactionKind.INBOUND, RejectionReason.KIND_NOT_SUPPORTED),
        (transaction.chain == parameters.chain, RejectionReason.WRONG_CHAIN),
        (transaction.shard == parameters.shard, RejectionReason.WRONG_SHARD),
        (0 <= transaction.amount < AMOUNT_LIMIT, RejectionReason.AMOUNT_TOO_LARGE),
        (
            _is_canonical(transaction) and transaction.fee == transaction.expiry == 0,
            RejectionReason.NON_CANONICAL,
        ),
        (_is_routed(transaction, parameters), RejectionReason.UNKNOWN_SHARD),
        (
            min(transaction.sender, transaction.recipient) >= FIRST_ACCOUNT,
            RejectionReason.RESERVED_ACCOUNT,
        ),
    )
    return next((reason for passed, reason in checks if not passed), None)


def steps_for(transaction: Transaction, num_keys: int) -> tuple[Step, ...]:
    """Returns the steps that a transaction takes where `num_keys` words are in KEY."""
    if transaction.kind is TransactionKind.INBOUND and transaction.recipient >= num_keys:
        return RETURN_STEPS
    return steps_of(transaction.kind)


def execute_steps(
    view: LedgerView, transaction: Transaction
) -> tuple[Touch, ...] | RejectionReason:
    """Runs the steps of the transaction's kind over the account cells it names.

    Returns:
        One touch per step, or why a step cannot be done. Neither the fields nor the slot are checked.
    """
    touches: list[Touch] = []
    for step in steps_for(transaction, view.num_keys):
        touch = _execute(view, transaction, step, touches)
        if isinstance(touch, RejectionReason):
            return touch
        touches.append(touch)
    return tuple(touches)


def _check_expiry(transaction: Transaction, slot: int) -> RejectionReason | None:
    if transaction.expiry < slot:
        return RejectionReason.EXPIRED
    if transaction.expiry - slot >= EXPIRY_SPAN:
        return RejectionReason.EXPIRY_TOO_FAR
    return None


def _check_registration(view: LedgerView, transaction: Transaction) -> RejectionReason | None:
    if view.num_keys >= SPAN_LIMIT:
        return RejectionReason.REGISTRY_FULL
    if view.has_address(transaction.address):
        return RejectionReason.DUPLICATE_ADDRESS
    if view.has_public_key(transaction.public_key):
        return RejectionReason.DUPLICATE_KEY
    return None


def _check_existence(view: LedgerView, step: Step, index: int) -> RejectionReason | None:
    if step.existence is Existence.UNCHECKED:
        return None
    if step.existence is Existence.ACCOUNT_OR_RESERVE and index == ReservedCell.RESERVE:
        return None
    if index < FIRST_ACCOUNT:
        return RejectionReason.RESERVED_ACCOUNT
    return None if index < view.num_keys else RejectionReason.UNKNOWN_ACCOUNT


def cell_index(step: Step, transaction: Transaction) -> int:
    """Returns the index of the cell that a step touches; 0 for a step that touches none."""
    return {
        Cell.NONE: 0,
        Cell.SENDER: transaction.sender,
        Cell.RECIPIENT: transaction.recipient,
        Cell.PEER: transaction.peer,
        Cell.TRANSIT: int(ReservedCell.TRANSIT),
        Cell.RESERVE: int(ReservedCell.RESERVE),
        Cell.PROPOSER_POOL: int(ReservedCell.PROPOSER_POOL),
    }[step.cell]


def _execute(
    view: LedgerView, transaction: Transaction, step: Step, before: list[Touch]
) -> Touch | RejectionReason:
    index = cell_index(step, transaction)
    if not step.moves:
        return _check_link(transaction, step) or Touch(step, index, EMPTY_ACCOUNT, EMPTY_ACCOUNT)
    reason = _check_existence(view, step, index)
    if reason is not None:
        return reason
    earlier = [touch.new for touch in before if touch.step.moves and touch.cell == index]
    old = earlier[-1] if earlier else view.account(index)
    if step.pays:
        return _pay(transaction, step, index, old)
    balance = old.balance + step.amount_sign * transaction.amount
    if balance >= AMOUNT_LIMIT:
        return RejectionReason.BALANCE_OVERFLOW
    if balance < 0:
        return RejectionReason.OVERDRAFT
    return Touch(step, index, old, Account(balance, old.nonce))


def _check_link(transaction: Transaction, step: Step) -> RejectionReason | None:
    """A shard only sends to what may be an account somewhere; so nobody receives for a reserved cell."""
    if step is SEND_LINK and transaction.recipient < FIRST_ACCOUNT:
        return RejectionReason.RESERVED_ACCOUNT
    return None


def _pay(transaction: Transaction, step: Step, index: int, old: Account) -> Touch | RejectionReason:
    if transaction.nonce != old.nonce:
        replay = transaction.nonce < old.nonce
        return RejectionReason.NONCE_REPLAY if replay else RejectionReason.NONCE_GAP
    if old.nonce >= INDEX_LIMIT - 1:
        return RejectionReason.LEDGER_FULL
    change = step.amount_sign * transaction.amount + step.fee_sign * transaction.fee * FEE_UNIT
    balance = old.balance + change
    if balance < 0:
        return RejectionReason.OVERDRAFT
    return Touch(step, index, old, Account(balance, old.nonce + 1))


def settle(view: LedgerView, step: Step, fee_sum: int) -> Touch:
    """Returns what closing a block does to the proposer pool.

    The pool cannot overflow: all cells together hold SUPPLY_CAP.

    Args:
        view: The state after the block's transactions.
        step: The SETTLE row of the step table.
        fee_sum: The block's fees in fee units.
    """
    index = int(ReservedCell.PROPOSER_POOL)
    old = view.account(index)
    return Touch(step, index, old, Account(old.balance + fee_sum * FEE_UNIT, old.nonce))
