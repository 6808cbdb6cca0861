"""Judges a whole block by executing it again on the cells that it touches."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

from operators.block_payload import Payload, decode_payload, sent_entries
from operators.fault_context import FaultContext, RefusedEvidence
from proving.ledger.partial_state import OpenedLedger, PathRejected, check_cells
from proving.ledger.segments import window_loads
from proving.ledger.state import Block, BlockEffects
from schemas.block import BlockHeader
from schemas.errors import ParameterError, WireError
from schemas.fault import OPENED_ARRAYS, BlockFlaw, FaultClaim, StateOpening, TransitionFault
from schemas.refusal import EvidenceRefusal
from schemas.rejection import RejectionReason
from schemas.transactions import Transaction, TransactionKind, decode_body
from schemas.units import INDEX_LIMIT, SPAN_LIMIT, ZERO_WORD, Array, word_elements


def has_wrong_place(header: BlockHeader, parent: BlockHeader | None) -> bool:
    """Says whether no state lets a block of this height and slot follow its parent.

    Heights of reverted blocks are not used again, so that one may be left out.
    """
    slot, height = (0, 0) if parent is None else (parent.slot, parent.height)
    is_next = height < header.height < INDEX_LIMIT
    return not (is_next and slot <= header.slot < min(INDEX_LIMIT, slot + SPAN_LIMIT))


def touched_cells(
    header: BlockHeader, transactions: Sequence[Transaction], keys: int
) -> dict[Array, set[int]]:
    """Returns the places of the state that executing a block reads and writes, by array."""
    block = Block(header.height, header.slot, 0, tuple(transactions))
    touched: dict[Array, set[int]] = {array: set() for array in OPENED_ARRAYS}
    for load in window_loads([block], keys, 0):
        for array, index in (*load.cells, *load.appends):
            if array in touched:
                touched[array].add(index)
    return touched


def judge_transition(fault: TransitionFault, context: FaultContext) -> FaultClaim | None:
    """Returns the first thing that is wrong with a block, or None.

    Signatures, duplicates of accounts from before the block, and whether another shard sent what the block takes are
    not looked at.

    Raises:
        RefusedEvidence: The evidence is not about this block, or shows too little.
    """
    header = fault.accused.header
    if hashlib.sha256(fault.payload).digest() != header.payload_hash:
        raise RefusedEvidence(EvidenceRefusal.WRONG_PATH, "the payload is another block's")
    try:
        payload = decode_payload(fault.payload)
    except WireError:
        return BlockFlaw.MALFORMED_PAYLOAD
    bodies = _read_bodies(fault, payload)
    if isinstance(bodies, RejectionReason):
        return bodies
    transactions = [*payload.inbound(header.chain, header.shard), *bodies]
    try:
        ledger = _open_ledger(fault, context, transactions)
        effects = ledger.execute_block(
            transactions, header.height, header.slot, context.genesis.window_of(header.slot)
        )
    except (PathRejected, ParameterError) as error:
        raise RefusedEvidence(EvidenceRefusal.WRONG_PATH, str(error)) from error
    return first_flaw(header, payload, effects, len(transactions))


def first_flaw(
    header: BlockHeader, payload: Payload, effects: BlockEffects, count: int
) -> FaultClaim | None:
    """Returns what validators would have refused an executed block for, in their order."""
    if effects.rejected:
        return effects.rejected[0][1]
    if sent_entries(effects.sent) != payload.sent:
        return BlockFlaw.WRONG_SENT
    if effects.transactions_root != header.transactions_root:
        return BlockFlaw.WRONG_TRANSACTIONS_ROOT
    if effects.state_root != header.post_state_root:
        return BlockFlaw.WRONG_POST_STATE_ROOT
    return None if count == header.transaction_count else BlockFlaw.WRONG_COUNT


def _read_bodies(fault: TransitionFault, payload: Payload) -> list[Transaction] | RejectionReason:
    digests = [hashlib.sha256(body).digest() for body in fault.bodies]
    if digests != [reference.digest for reference in payload.references]:
        raise RefusedEvidence(EvidenceRefusal.WRONG_PATH, "the bodies are not the payload's")
    try:
        return [decode_body(body) for body in fault.bodies]
    except WireError:
        return RejectionReason.NON_CANONICAL


def _open_ledger(
    fault: TransitionFault, context: FaultContext, transactions: Sequence[Transaction]
) -> OpenedLedger:
    """Returns the state before the block as far as the block touches it; exactly that must be shown."""
    header, parent = fault.accused.header, fault.accused.parent
    if fault.opening is None:
        raise RefusedEvidence(EvidenceRefusal.INCOMPLETE, "no state is shown")
    wanted = touched_cells(header, transactions, fault.opening.keys)
    for array, places in wanted.items():
        if _places(fault.opening, array) != sorted(places):
            raise RefusedEvidence(EvidenceRefusal.INCOMPLETE, f"{array.name} lacks or has cells")
    root = context.root_before(parent)
    ledger = OpenedLedger(context.parameters, context.hasher, fault.opening, root, context.empty)
    ledger.height = header.height - 1
    if parent is None or context.opens_window(header, parent):
        if fault.sequence or fault.siblings:
            raise PathRejected("the block opens a window")
        ledger.window = context.genesis.window_of(header.slot)
    else:
        ledger.window = context.genesis.window_of(parent.slot)
        _open_list(fault, parent, ledger, len(transactions))
    ledger.slot = 0 if parent is None else parent.slot
    return ledger


def _open_list(
    fault: TransitionFault, parent: BlockHeader, ledger: OpenedLedger, count: int
) -> None:
    """Opens the window's list behind the word with which the parent closed, which it holds once."""
    start = fault.sequence
    if not start or start + count >= INDEX_LIMIT:
        raise PathRejected("the list before the block has no end")
    closing = word_elements(fault.closing)
    said = (parent.height, parent.slot, parent.transaction_count)
    if closing[:3] != said or closing[5:] != (0, 0, int(TransactionKind.SETTLE)):
        raise PathRejected("the closing word is not the parent's")
    cells = {start - 1: fault.closing} | dict.fromkeys(range(start, start + count + 1), ZERO_WORD)
    root = parent.transactions_root
    ledger.trees[Array.TXS] = check_cells(ledger.hasher, cells, fault.siblings, root)
    ledger.sequence = start


def _places(opening: StateOpening, array: Array) -> Iterable[int]:
    return [index for index, _ in opening.array(array).cells]
