"""Makes evidence of a bad block from the full state before it: what a watcher does.

The smallest form that the judge accepts is taken: one transaction where the header's list holds it, otherwise the whole
block. Nothing is returned that the judge, asked beforehand, does not convict by.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from operators.block_payload import Payload, decode_payload
from operators.fault_context import FaultContext
from operators.fault_entries import DUPLICATES, entry_word
from operators.fault_judge import claim_for, judge_fault
from operators.fault_replay import first_flaw, has_wrong_place, touched_cells
from proving.ledger.partial_state import open_state
from proving.ledger.rules import cell_index, steps_for
from proving.ledger.state import Ledger
from proving.ledger.trees import WordTree
from proving.ledger.words import block_word
from proving.signatures import verify_many
from schemas.block import BlockHeader
from schemas.errors import EclipticaError, ParameterError, WireError
from schemas.fault import (
    MAX_EVIDENCE_BYTES,
    Accused,
    BlockFlaw,
    Evidence,
    FaultClaim,
    OpenedState,
    ShownAccount,
    TransactionFault,
    TransitionFault,
    encode_evidence,
)
from schemas.refusal import EvidenceRefusal
from schemas.rejection import RejectionReason
from schemas.transactions import SIGNATURE_CONTEXT, Transaction, TransactionKind, decode_body
from schemas.units import FIRST_ACCOUNT, Array, word_bytes

WATCHER = b"watcher"
"""Reporter in the claims with which evidence is tried out."""


class UnprovableFault(EclipticaError):
    """A block is at fault and no evidence of it can be made.

    Attributes:
        claim: What is wrong with the block.
        refusal: Why the judge would refuse the best evidence there is; `OVERSIZED` where it is too long.
    """

    def __init__(self, claim: FaultClaim, refusal: EvidenceRefusal, detail: str) -> None:
        super().__init__(f"{claim} cannot be shown: {refusal}: {detail}")
        self.claim = claim
        self.refusal = refusal


@dataclass(frozen=True, slots=True)
class SeenBlock:
    """A final block as a watcher has it.

    Attributes:
        header: Its header.
        parent: Header of the block below, or None for the first of a shard.
        certificate: Canonical bytes of its `FINALIZE` certificate, or nothing where the beacon has recorded it.
        payload: Its payload.
        bodies: Its own transactions in order, as they lie on the log.
        signatures: Their signatures.
    """

    header: BlockHeader
    parent: BlockHeader | None
    certificate: bytes
    payload: bytes
    bodies: tuple[bytes, ...]
    signatures: tuple[bytes, ...]


def make_fault(seen: SeenBlock, before: Ledger, context: FaultContext) -> bytes | None:
    """Returns evidence of what is wrong with a block, or None if nothing is.

    Args:
        seen: The block.
        before: The state after its parent; it stays as it is.
        context: The shard.

    Raises:
        ParameterError: Bodies or payload are not the block's, or `before` is not its parent's state.
        UnprovableFault: Something is wrong that no evidence of this format shows.
    """
    if hashlib.sha256(seen.payload).digest() != seen.header.payload_hash:
        raise ParameterError("the payload is not the one that the header names")
    if before.state_root() != context.root_before(seen.parent):
        raise ParameterError("the state is not the one that the block stands on")
    if has_wrong_place(seen.header, seen.parent):
        return _best(seen, BlockFlaw.WRONG_PLACE, [_whole_block(seen)], context)
    try:
        payload = decode_payload(seen.payload)
    except WireError:
        evidence = _whole_block(seen, BlockFlaw.MALFORMED_PAYLOAD, with_payload=True)
        return _best(seen, evidence.claim, [evidence], context)
    digests = [hashlib.sha256(body).digest() for body in seen.bodies]
    if digests != [reference.digest for reference in payload.references]:
        raise ParameterError("the bodies are not those that the payload refers to")
    try:
        bodies = [decode_body(body) for body in seen.bodies]
    except WireError:
        claim = RejectionReason.NON_CANONICAL
        evidence = replace(_whole_block(seen, claim, with_payload=True), bodies=seen.bodies)
        return _best(seen, claim, [evidence], context)
    return EvidenceMaker(seen, before, context, payload, bodies).make()


class EvidenceMaker:
    """Evidence of one block whose transactions can be read, also of what is not wrong with it.

    Args:
        seen: The block.
        before: The state after its parent.
        context: The shard.
        payload: The payload, read.
        bodies: Its own transactions, read.

    Attributes:
        entries: What it executes, in order: what it takes from other shards, then its own transactions.
        bodies: Its own transactions.
    """

    def __init__(
        self,
        seen: SeenBlock,
        before: Ledger,
        context: FaultContext,
        payload: Payload,
        bodies: list[Transaction],
    ) -> None:
        header = seen.header
        self._seen, self._before, self._context = seen, before, context
        self._payload = payload
        self.bodies = bodies
        self.entries = [*payload.inbound(header.chain, header.shard), *bodies]
        self._accused = Accused(header, seen.parent, seen.certificate)
        is_new = context.opens_window(header, seen.parent)
        self._start = 0 if is_new else before.sequence
        empty = WordTree(before.hasher, before.empty)
        self._list = (empty if is_new else before.trees[Array.TXS]).branch()
        self._words, self._closing = self._said_words()
        words = dict(enumerate([*self._words, self._closing], self._start))
        self._list.update(words)

    def make(self) -> bytes | None:
        """Returns the evidence, or None."""
        seen, header = self._seen, self._seen.header
        window = self._context.genesis.window_of(header.slot)
        after = _credulous(self._before, is_credulous=False)
        after.height = header.height - 1
        effects = after.execute_block(self.entries, header.height, header.slot, window)
        claim = first_flaw(header, self._payload, effects, len(self.entries))
        if claim is not None and effects.rejected:
            return _best(seen, claim, self.of_entry(effects.rejected[0]), self._context)
        if claim is not None:
            return _best(seen, claim, [self.whole_block(claim)], self._context)
        place = self._first_unsigned(after)
        if place is None:
            return None
        evidence = self.demand(place, after)
        return _best(seen, RejectionReason.BAD_SIGNATURE, [evidence], self._context)

    def _said_words(self) -> tuple[list[bytes], bytes]:
        """Returns the words of the list as if all entries were valid, and the closing one."""
        keys, words = self._before.num_keys, []
        for entry in self.entries:
            is_new = entry.kind is TransactionKind.REGISTER
            words.append(entry_word(entry, keys if is_new else entry.recipient))
            keys += is_new
        header = self._seen.header
        fees = sum(entry.fee for entry in self.entries)
        return words, word_bytes(block_word(header.height, header.slot, len(words), fees))

    def of_entry(self, rejected: tuple[int, RejectionReason]) -> Iterator[Evidence]:
        """Yields evidence of an entry that is refused, the smallest first."""
        place, reason = rejected
        if self._list.root == self._seen.header.transactions_root:
            if reason in DUPLICATES:
                yield from self._duplicate(place, reason)
                return
            alone = self._entry(place, reason, [place])
            yield alone
            entry = self.entries[place]
            steps = steps_for(entry, self._before.num_keys)
            cells = {cell_index(step, entry) for step in steps if step.moves}
            opening = open_state(self._before, {Array.ACC: cells})
            whole = self._entry(place, reason, range(place + 1))
            yield replace(whole, state=OpenedState.BEFORE, opening=opening)
        yield self.whole_block(reason)

    def _entry(self, place: int, claim: RejectionReason, shown: Iterable[int]) -> TransactionFault:
        places = list(shown)
        end = self._start + len(self._words)
        siblings = self._list.multiproof([*(self._start + i for i in places), end])
        words = tuple((i, self._words[i]) for i in places)
        return TransactionFault(
            self._accused, claim, place, self._start, self._closing, words, tuple(siblings)
        )

    def _duplicate(self, place: int, reason: RejectionReason) -> Iterator[Evidence]:
        entry = self.entries[place]
        after = _credulous(self._before)
        after.height = self._seen.header.height - 1
        alike = range(FIRST_ACCOUNT, self._before.num_keys + len(self.entries))
        header = self._seen.header
        window = self._context.genesis.window_of(header.slot)
        after.execute_block(self.entries, header.height, header.slot, window)
        new = _account(after, self._before.num_keys + self._opened_before(place))
        for index in (0, *alike):
            record = after.record(index)
            if record is None or new is None or index >= new.index:
                continue
            same_key = record.public_key == entry.public_key
            same_address = record.address == entry.address and index >= FIRST_ACCOUNT
            is_it = same_address if reason is RejectionReason.DUPLICATE_ADDRESS else same_key
            if is_it:
                old = ShownAccount(index, record.address, record.public_key)
                yield self._showing(place, reason, after, (old, new), OpenedState.AFTER)

    def _opened_before(self, place: int) -> int:
        kinds = [entry.kind for entry in self.entries[:place]]
        return kinds.count(TransactionKind.REGISTER)

    def _showing(
        self,
        place: int,
        claim: RejectionReason,
        ledger: Ledger,
        accounts: tuple[ShownAccount, ...],
        state: OpenedState,
    ) -> TransactionFault:
        opening = open_state(ledger, {Array.KEY: [account.index for account in accounts]})
        alone = self._entry(place, claim, [place])
        return replace(alone, accounts=accounts, state=state, opening=opening)

    def _first_unsigned(self, after: Ledger) -> int | None:
        """Returns the place of the first transaction with no signature that holds, shown or on the log."""
        keys = [after.record(body.sender) for body in self.bodies]
        shown = self._context.shown_signatures
        signatures = [
            shown.get(body.digest(), own)
            for body, own in zip(self.bodies, self._seen.signatures, strict=True)
        ]
        verdicts = verify_many(
            [b"" if key is None else key.public_key for key in keys],
            self._seen.bodies,
            signatures,
            SIGNATURE_CONTEXT,
            self._context.signatures,
        )
        bad = [place for place, is_good in enumerate(verdicts) if not is_good]
        return len(self._payload.received) + bad[0] if bad else None

    def demand(self, place: int, after: Ledger) -> TransactionFault:
        """Returns evidence that demands the signature of the entry at a place; `after` is the state after the block."""
        entry = self.entries[place]
        new = self._before.num_keys + self._opened_before(place)
        is_new = entry.kind is TransactionKind.REGISTER
        is_after = is_new or self._before.record(entry.sender) is None
        shown = [_account(after, index) for index in ([entry.sender, new][: 1 + is_new])]
        accounts = tuple(account for account in shown if account is not None)
        state, ledger = OpenedState.BEFORE, self._before
        if is_after:
            state, ledger = OpenedState.AFTER, after
        claim = RejectionReason.BAD_SIGNATURE
        evidence = self._showing(place, claim, ledger, accounts, state)
        return replace(evidence, body=entry.body())

    def whole_block(self, claim: FaultClaim) -> TransitionFault:
        """Returns the whole block as evidence."""
        before, header = self._before, self._seen.header
        cells = touched_cells(header, self.entries, before.num_keys)
        whole = _whole_block(self._seen, claim, with_payload=True)
        whole = replace(whole, bodies=self._seen.bodies, opening=open_state(before, cells))
        if not self._start:
            return whole
        tree = before.trees[Array.TXS]
        places = range(self._start - 1, self._start + len(self.entries) + 1)
        return replace(
            whole,
            sequence=self._start,
            closing=tree.cell(self._start - 1),
            siblings=tuple(tree.multiproof(places)),
        )


class _CredulousLedger(Ledger):
    """A ledger that registers addresses and keys as often as a corrupt quorum likes."""

    def has_address(self, address: bytes) -> bool:
        """Says no."""
        return not address

    def has_public_key(self, public_key: bytes) -> bool:
        """Says no."""
        return not public_key


def _credulous(before: Ledger, *, is_credulous: bool = True) -> Ledger:
    """Returns a branch, of a ledger that knows duplicates or of one that does not."""
    kind = _CredulousLedger if is_credulous else Ledger
    return kind(before.parameters, before.hasher, before)


def _account(ledger: Ledger, index: int) -> ShownAccount | None:
    record = ledger.record(index)
    return None if record is None else ShownAccount(index, record.address, record.public_key)


def _whole_block(
    seen: SeenBlock, claim: FaultClaim = BlockFlaw.WRONG_PLACE, *, with_payload: bool = False
) -> TransitionFault:
    accused = Accused(seen.header, seen.parent, seen.certificate)
    payload = seen.payload if with_payload else b""
    return TransitionFault(accused, claim, payload, (), 0, b"", (), None)


def _best(
    seen: SeenBlock, claim: FaultClaim, candidates: Iterable[Evidence], context: FaultContext
) -> bytes:
    """Returns the first evidence that the judge convicts by, or would if nobody shows a signature.

    Raises:
        UnprovableFault: There is none.
    """
    refusal, detail = EvidenceRefusal.INCOMPLETE, f"block {seen.header.height}"
    for evidence in candidates:
        data = encode_evidence(evidence)
        if len(data) > MAX_EVIDENCE_BYTES:
            refusal, detail = EvidenceRefusal.OVERSIZED, f"{len(data)} bytes"
            continue
        verdict = judge_fault(data, claim_for(data, WATCHER, context), context)
        if verdict.refusal is None or verdict.is_open:
            return data
        refusal, detail = verdict.refusal, verdict.detail
    raise UnprovableFault(claim, refusal, detail)
