"""Judges one transaction of a block from the words of the window's list, which the header commits to.

The rules that execute transactions say why one is refused (`proving.ledger.rules`), over a view that holds only what
the evidence shows; what they ask beyond it makes the evidence incomplete and never a fault.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from operators.fault_context import FaultContext, RefusedEvidence
from proving.ledger.partial_state import PathRejected, check_cells, check_opening
from proving.ledger.rules import (
    Account,
    account_of,
    apply,
    cell_index,
    receive,
    steps_for,
)
from proving.ledger.state import compress_words, key_records
from proving.ledger.words import PEER_WEIGHT, transaction_word
from proving.signatures import SignatureBackend, verify_many
from schemas.errors import ParameterError, WireError
from schemas.fault import OpenedState, ShownAccount, TransactionFault
from schemas.refusal import EvidenceRefusal
from schemas.rejection import RejectionReason
from schemas.transactions import (
    SIGNATURE_CONTEXT,
    SUPPORTED_KINDS,
    Transaction,
    TransactionKind,
    decode_body,
)
from schemas.units import (
    ADDRESS_BYTES,
    FEE_UNIT,
    FIRST_ACCOUNT,
    INDEX_LIMIT,
    PUBLIC_KEY_BYTES,
    Array,
    word_bytes,
    word_elements,
)

DUPLICATES = (RejectionReason.DUPLICATE_ADDRESS, RejectionReason.DUPLICATE_KEY)

_EXECUTED_KINDS = (*SUPPORTED_KINDS, TransactionKind.INBOUND)


class _Unshown(Exception):
    """The rules ask for what the evidence does not show."""


@dataclass(slots=True)
class _ShownView:
    """What a transaction meets, as far as it is shown; a `LedgerView`."""

    keys: int | None
    accounts: dict[int, Account]

    @property
    def num_keys(self) -> int:
        if self.keys is None:
            raise _Unshown
        return self.keys

    def account(self, index: int) -> Account:
        if index not in self.accounts:
            raise _Unshown
        return self.accounts[index]

    def has_address(self, address: bytes) -> bool:
        """Duplicates are claims of their own; a view without addresses finds none."""
        return not address

    def has_public_key(self, public_key: bytes) -> bool:
        """See `has_address`."""
        return not public_key

    def take(self, transaction: Transaction) -> None:
        """Executes a transaction that is taken for valid, on what is shown."""
        for step in steps_for(transaction, self.num_keys):
            index = cell_index(step, transaction)
            old = self.accounts.get(index) if step.moves else None
            if old is not None:
                units = step.amount_sign * transaction.amount
                units += step.fee_sign * transaction.fee * FEE_UNIT
                self.accounts[index] = Account(old.balance + units, old.nonce + step.nonce_step)
        if transaction.kind is TransactionKind.REGISTER:
            self.keys = self.num_keys + 1


def judge_transaction(fault: TransactionFault, context: FaultContext) -> RejectionReason | None:
    """Returns why the transaction is invalid where it stands, or None if nothing shown says so.

    Raises:
        RefusedEvidence: The evidence is not about this block, or shows too little.
    """
    try:
        _check_list(fault, context)
        if fault.claim is RejectionReason.BAD_SIGNATURE:
            return _judge_signature(fault, context)
        if fault.claim in DUPLICATES:
            return _judge_duplicate(fault, context)
        return _judge_execution(fault, context)
    except PathRejected as error:
        raise RefusedEvidence(EvidenceRefusal.WRONG_PATH, str(error)) from error


def read_entry(word: bytes, chain: int, shard: int) -> Transaction | RejectionReason:
    """Returns the transaction that a word of the list stands for, or why it stands for none.

    A registration has zeros for address and key, which its word does not hold.
    """
    elements = word_elements(word)
    sender, recipient, low, high, nonce, fee, expiry, last = elements
    number, peer = last % PEER_WEIGHT, last // PEER_WEIGHT
    if number not in _EXECUTED_KINDS:
        return RejectionReason.KIND_NOT_SUPPORTED
    kind = TransactionKind(number)
    if kind is TransactionKind.INBOUND:
        fee, expiry, peer, shard = 0, 0, fee, expiry
    is_new = kind is TransactionKind.REGISTER
    transaction = Transaction(
        kind,
        chain,
        shard,
        sender,
        0 if is_new else recipient,
        low + INDEX_LIMIT * high,
        fee,
        nonce,
        expiry,
        bytes(ADDRESS_BYTES if is_new else 0),
        bytes(PUBLIC_KEY_BYTES if is_new else 0),
        peer,
    )
    is_same = transaction_word(transaction, recipient) == elements
    return transaction if is_same else RejectionReason.NON_CANONICAL


def _check_list(fault: TransactionFault, context: FaultContext) -> None:
    """Ties words and places to the header: its closing word stands right after its transactions, and only once."""
    header = fault.accused.header
    count = header.transaction_count
    end = fault.start + count
    closing = word_elements(fault.closing)
    said = (header.height, header.slot, count)
    if closing[:3] != said or closing[5:] != (0, 0, int(TransactionKind.SETTLE)):
        raise PathRejected("the closing word is not the block's")
    places = [place for place, _ in fault.words]
    if fault.position not in places or places[-1] >= count or end >= INDEX_LIMIT:
        raise PathRejected("the entry is not in the block")
    cells = {fault.start + place: word for place, word in fault.words}
    cells[end] = fault.closing
    check_cells(context.hasher, cells, fault.siblings, header.transactions_root)


def _judge_execution(fault: TransactionFault, context: FaultContext) -> RejectionReason | None:
    parameters, slot = context.parameters, fault.accused.header.slot
    words = dict(fault.words)
    entry = read_entry(words[fault.position], parameters.chain, parameters.shard)
    if isinstance(entry, RejectionReason):
        return entry
    view = _view_before(fault, context)
    try:
        if entry.kind is TransactionKind.INBOUND:
            effects = receive(view, entry, parameters)
        else:
            effects = apply(view, entry, slot, parameters)
    except _Unshown as error:
        detail = "the rules ask for what is not shown"
        raise RefusedEvidence(EvidenceRefusal.INCOMPLETE, detail) from error
    return effects if isinstance(effects, RejectionReason) else None


def _view_before(fault: TransactionFault, context: FaultContext) -> _ShownView:
    """Returns what the entry meets: the shown cells before the block, moved by all entries before it."""
    if fault.opening is None:
        return _ShownView(None, {})
    if fault.state is not OpenedState.BEFORE:
        raise RefusedEvidence(EvidenceRefusal.INCOMPLETE, "another state decides this claim")
    words = dict(fault.words)
    if any(place not in words for place in range(fault.position)):
        raise RefusedEvidence(EvidenceRefusal.INCOMPLETE, "entries before it are left out")
    root = context.root_before(fault.accused.parent)
    check_opening(context.hasher, fault.opening, root, context.empty)
    try:
        shown = {i: account_of(word) for i, word in fault.opening.array(Array.ACC).cells}
    except ParameterError as error:
        raise PathRejected(str(error)) from error
    view = _ShownView(fault.opening.keys, shown)
    parameters = context.parameters
    for place in range(fault.position):
        earlier = read_entry(words[place], parameters.chain, parameters.shard)
        if isinstance(earlier, RejectionReason):
            raise RefusedEvidence(EvidenceRefusal.WRONG_CLAIM, f"entry {place} is at fault before")
        view.take(earlier)
    return view


def _judge_duplicate(fault: TransactionFault, context: FaultContext) -> RejectionReason | None:
    """Two accounts that are alike after the block, the later of them opened by the entry."""
    if fault.state is not OpenedState.AFTER or len(fault.accounts) != 2:
        raise RefusedEvidence(EvidenceRefusal.INCOMPLETE, "two accounts after the block decide")
    _check_accounts(fault, context)
    elements = word_elements(dict(fault.words)[fault.position])
    old, new = fault.accounts
    if (elements[7], elements[1]) != (int(TransactionKind.REGISTER), new.index):
        return None
    if old.address == new.address and old.index >= FIRST_ACCOUNT:
        return RejectionReason.DUPLICATE_ADDRESS
    return RejectionReason.DUPLICATE_KEY if old.public_key == new.public_key else None


def _judge_signature(fault: TransactionFault, context: FaultContext) -> RejectionReason | None:
    """No block commits to signatures: the fault is that nobody shows one in time, see operators/rules.md."""
    transaction, key = demanded(fault, context)
    shown = context.shown_signatures.get(transaction.digest())
    if shown is not None and is_signature(transaction, key, shown, context.signatures):
        raise RefusedEvidence(EvidenceRefusal.ANSWERED, "a valid signature was shown")
    if not context.is_answer_time_over:
        raise RefusedEvidence(EvidenceRefusal.ANSWER_AWAITED, "a signature may still be shown")
    return RejectionReason.BAD_SIGNATURE


def demanded(fault: TransactionFault, context: FaultContext) -> tuple[Transaction, bytes]:
    """Returns the transaction whose signature evidence demands, and the public key that it must be under.

    Raises:
        RefusedEvidence: The body is not the one that the block holds, or the key is not shown.
        PathRejected: The accounts shown are not those of the state.
    """
    elements = word_elements(dict(fault.words)[fault.position])
    parameters = context.parameters
    try:
        transaction = decode_body(fault.body)
    except WireError as error:
        raise RefusedEvidence(EvidenceRefusal.WRONG_PATH, str(error)) from error
    place = (transaction.chain, transaction.shard)
    same_place = place == (parameters.chain, parameters.shard)
    if not same_place or transaction_word(transaction, elements[1]) != elements:
        raise RefusedEvidence(EvidenceRefusal.WRONG_PATH, "the body is not the entry's")
    _check_accounts(fault, context)
    shown = {account.index: account for account in fault.accounts}
    if transaction.kind is TransactionKind.REGISTER:
        new = shown.get(elements[1])
        if fault.state is not OpenedState.AFTER or new is None:
            raise RefusedEvidence(EvidenceRefusal.INCOMPLETE, "the account opened is not shown")
        if (new.address, new.public_key) != (transaction.address, transaction.public_key):
            raise RefusedEvidence(EvidenceRefusal.WRONG_PATH, "another account is opened")
    sender = shown.get(transaction.sender)
    if sender is None:
        raise RefusedEvidence(EvidenceRefusal.INCOMPLETE, "the sender's key is not shown")
    return transaction, sender.public_key


def is_signature(
    transaction: Transaction,
    public_key: bytes,
    signature: bytes,
    backend: SignatureBackend | None = None,
) -> bool:
    """Says whether a signature answers a demand."""
    bodies = [transaction.body()]
    return bool(verify_many([public_key], bodies, [signature], SIGNATURE_CONTEXT, backend)[0])


def _check_accounts(fault: TransactionFault, context: FaultContext) -> None:
    """Checks that the accounts shown are exactly the cells of KEY that the opening holds."""
    header, parent = fault.accused.header, fault.accused.parent
    if fault.opening is None or not fault.accounts:
        raise RefusedEvidence(EvidenceRefusal.INCOMPLETE, "no account is shown")
    is_after = fault.state is OpenedState.AFTER
    root = header.post_state_root if is_after else context.root_before(parent)
    check_opening(context.hasher, fault.opening, root, context.empty)
    if fault.opening.array(Array.KEY).cells != key_cells(fault.accounts, context):
        raise PathRejected("the accounts are not those of the registry")


def key_cells(
    accounts: Sequence[ShownAccount], context: FaultContext
) -> tuple[tuple[int, bytes], ...]:
    """Returns the cells of KEY that accounts make."""
    entries = [(account.address, account.public_key) for account in accounts]
    records = key_records(context.hasher, entries)
    return tuple(
        (account.index, compress_words(context.hasher, one.address_word(), one.key_digest))
        for account, one in zip(accounts, records, strict=True)
    )


def entry_word(transaction: Transaction, recipient: int) -> bytes:
    """Returns the word of the list for a transaction."""
    return word_bytes(transaction_word(transaction, recipient))
