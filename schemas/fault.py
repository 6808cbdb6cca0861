"""Evidence of faults: what a watcher sends to the beacon about a bad block, and its canonical bytes.

One format with one version. Nothing here says whether evidence holds: `operators.fault_judge` does. A reader refuses
more than `MAX_EVIDENCE_BYTES` before it looks at anything, and every list is bounded by the bytes that are left.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

from schemas.block import HEADER_BYTES, BlockHeader, header_from_bytes
from schemas.economics import FraudTerms
from schemas.errors import WireError
from schemas.rejection import RejectionReason
from schemas.transactions import REGISTER_BODY_BYTES
from schemas.units import (
    ADDRESS_BYTES,
    BLOCK_TRANSACTIONS_LIMIT,
    INDEX_LIMIT,
    PUBLIC_KEY_BYTES,
    WORD_BYTES,
    Array,
)
from schemas.wire import Reader, Writer

EVIDENCE_VERSION = 1
"""First byte of any evidence."""

MAX_EVIDENCE_BYTES: int = FraudTerms().max_evidence_bytes
"""Bytes; what a claim may bring, checked before anything is read."""

MAX_SHOWN_ACCOUNTS = 2
"""Registered accounts in one piece of evidence: a sender and whom it registers, or two that are alike."""

MAX_CLAIM_BYTES = 32
"""Bytes of the longest name of a claim."""

OPENED_ARRAYS = (Array.ACC, Array.KEY, Array.OUT, Array.INB)
"""Arrays that transactions write; the roots of the other state arrays are those of empty ones."""


class BlockFlaw(StrEnum):
    """What can be wrong with a block beside its transactions; validators use the same names."""

    WRONG_PLACE = "wrong_place"
    MALFORMED_PAYLOAD = "malformed_payload"
    WRONG_COUNT = "wrong_count"
    WRONG_SENT = "wrong_sent"
    WRONG_TRANSACTIONS_ROOT = "wrong_transactions_root"
    WRONG_POST_STATE_ROOT = "wrong_post_state_root"


FaultClaim = BlockFlaw | RejectionReason
"""What evidence says is wrong: with the block, or with one of its transactions."""

CLAIMS: dict[str, FaultClaim] = {
    claim.value: claim for group in (BlockFlaw, RejectionReason) for claim in group
}
"""Every claim by its name."""


class OpenedState(StrEnum):
    """Which state an opening is of."""

    NONE = "none"
    BEFORE = "before"
    AFTER = "after"


_STATES = tuple(OpenedState)

Cells = tuple[tuple[int, bytes], ...]
"""(index, word), ascending."""


@dataclass(frozen=True, slots=True)
class ArrayOpening:
    """Some cells of an array.

    Attributes:
        root: The array's root.
        cells: What they hold, ascending.
        siblings: Multiproof siblings, lowest level first; none without cells.
    """

    root: bytes
    cells: Cells = ()
    siblings: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class StateOpening:
    """Some cells of a state.

    Attributes:
        keys: Words in KEY.
        arrays: One opening for each of `OPENED_ARRAYS`.
    """

    keys: int
    arrays: tuple[ArrayOpening, ...]

    def array(self, array: Array) -> ArrayOpening:
        """Returns the opening of one array."""
        return self.arrays[OPENED_ARRAYS.index(array)]


@dataclass(frozen=True, slots=True)
class ShownAccount:
    """A registered account: what a cell of KEY is the hash of.

    Attributes:
        index: Account index.
        address: 20 bytes.
        public_key: 1312 bytes.
    """

    index: int
    address: bytes
    public_key: bytes


@dataclass(frozen=True, slots=True)
class Accused:
    """The block that evidence is about.

    Attributes:
        header: Its header.
        parent: Header of the block that it stands on, or None for the first of a shard.
        certificate: Canonical bytes of its `FINALIZE` certificate, or nothing where the beacon has recorded the block.
    """

    header: BlockHeader
    parent: BlockHeader | None
    certificate: bytes = b""


@dataclass(frozen=True, slots=True)
class TransactionFault:
    """One transaction of a block is not valid where it stands.

    Attributes:
        accused: The block.
        claim: Why it is not.
        position: Its place in the block.
        start: Place of the block's first entry in the window's list.
        closing: Word with which the block closes, at `start` + the header's number of transactions.
        words: (place in the block, word) of the entry and, where its state counts, of all before it; ascending.
        siblings: Multiproof of words and closing word to the header's `transactions_root`.
        body: The transaction's bytes where a signature is in question, otherwise nothing.
        accounts: Registered accounts that count, ascending.
        state: Which state `opening` is of.
        opening: Cells that count, or None.
    """

    accused: Accused
    claim: RejectionReason
    position: int
    start: int
    closing: bytes
    words: Cells
    siblings: tuple[bytes, ...]
    body: bytes = b""
    accounts: tuple[ShownAccount, ...] = ()
    state: OpenedState = OpenedState.NONE
    opening: StateOpening | None = None


@dataclass(frozen=True, slots=True)
class TransitionFault:
    """A block does not lead from its parent's state to what its header says; all of it is executed again.

    Attributes:
        accused: The block.
        claim: What is wrong.
        payload: The payload.
        bodies: Its own transactions in order.
        sequence: Words in the window's list before the block; 0 where it opens a window.
        closing: The last of these words, with which the parent closed, or nothing.
        siblings: Multiproof of that word and the empty places after it to the parent's `transactions_root`.
        opening: The touched cells before the block, or None where the claim needs none.
    """

    accused: Accused
    claim: FaultClaim
    payload: bytes
    bodies: tuple[bytes, ...]
    sequence: int
    closing: bytes
    siblings: tuple[bytes, ...]
    opening: StateOpening | None


Evidence = TransactionFault | TransitionFault

_TRANSACTION, _TRANSITION = 1, 2


def encode_evidence(evidence: Evidence) -> bytes:
    """Returns canonical bytes, however many they are.

    Raises:
        ParameterError: A number does not fit, or bytes have the wrong length.
    """
    is_entry = isinstance(evidence, TransactionFault)
    writer = Writer().u8(EVIDENCE_VERSION).u8(_TRANSACTION if is_entry else _TRANSITION)
    accused = evidence.accused
    writer.fixed(accused.header.to_bytes(), HEADER_BYTES)
    writer.sized(b"" if accused.parent is None else accused.parent.to_bytes())
    writer.sized(accused.certificate).sized(evidence.claim.value.encode())
    if isinstance(evidence, TransactionFault):
        writer.u32(evidence.position).u32(evidence.start).fixed(evidence.closing, WORD_BYTES)
        _write_cells(writer, evidence.words)
        _write_words(writer, evidence.siblings)
        writer.sized(evidence.body).u8(len(evidence.accounts))
        for account in evidence.accounts:
            writer.u32(account.index).fixed(account.address, ADDRESS_BYTES)
            writer.fixed(account.public_key, PUBLIC_KEY_BYTES)
        writer.u8(_STATES.index(evidence.state))
    else:
        writer.sized(evidence.payload).u32(len(evidence.bodies))
        for body in evidence.bodies:
            writer.sized(body)
        writer.u32(evidence.sequence).sized(evidence.closing)
        _write_words(writer, evidence.siblings)
        state = OpenedState.NONE if evidence.opening is None else OpenedState.BEFORE
        writer.u8(_STATES.index(state))
    if evidence.opening is not None:
        _write_opening(writer, evidence.opening)
    return writer.finish()


def decode_evidence(data: bytes) -> Evidence:
    """Reads evidence; inverse of `encode_evidence`.

    Raises:
        WireError: The bytes are not canonical, or more than `MAX_EVIDENCE_BYTES`.
    """
    if len(data) > MAX_EVIDENCE_BYTES:
        raise WireError("evidence", f"has {len(data)} bytes, at most {MAX_EVIDENCE_BYTES} are read")
    reader = Reader(data, "evidence")
    if reader.u8("version") != EVIDENCE_VERSION:
        raise reader.fail("version", f"expected {EVIDENCE_VERSION}")
    kind = reader.u8("kind")
    if kind not in (_TRANSACTION, _TRANSITION):
        raise reader.fail("kind", f"{kind} is unknown")
    header = header_from_bytes(reader.fixed("header", HEADER_BYTES))
    parent = reader.sized("parent", HEADER_BYTES)
    certificate = reader.sized("certificate", MAX_EVIDENCE_BYTES)
    accused = Accused(header, header_from_bytes(parent) if parent else None, certificate)
    claim = CLAIMS.get(reader.sized("claim", MAX_CLAIM_BYTES).decode("latin-1"))
    if claim is None:
        raise reader.fail("claim", "is unknown")
    read = _read_transaction if kind == _TRANSACTION else _read_transition
    evidence = read(reader, accused, claim)
    reader.finish()
    return evidence


def _read_transaction(reader: Reader, accused: Accused, claim: FaultClaim) -> Evidence:
    if not isinstance(claim, RejectionReason):
        raise reader.fail("claim", "is not about a transaction")
    position = reader.u32("position", BLOCK_TRANSACTIONS_LIMIT)
    start = reader.u32("start", INDEX_LIMIT)
    closing = reader.word("closing")
    words = _read_cells(reader, "words")
    siblings = _read_words(reader, "siblings")
    body = reader.sized("body", REGISTER_BODY_BYTES)
    accounts = tuple(
        ShownAccount(
            reader.u32("account", INDEX_LIMIT),
            reader.fixed("address", ADDRESS_BYTES),
            reader.fixed("public_key", PUBLIC_KEY_BYTES),
        )
        for _ in range(reader.u8("accounts", MAX_SHOWN_ACCOUNTS + 1))
    )
    if not _is_ascending([account.index for account in accounts]):
        raise reader.fail("accounts", "do not rise")
    state = _STATES[reader.u8("state", len(_STATES))]
    opening = None if state is OpenedState.NONE else _read_opening(reader)
    return TransactionFault(
        accused, claim, position, start, closing, words, siblings, body, accounts, state, opening
    )


def _read_transition(reader: Reader, accused: Accused, claim: FaultClaim) -> Evidence:
    payload = reader.sized("payload", MAX_EVIDENCE_BYTES)
    bodies = tuple(
        reader.sized("body", REGISTER_BODY_BYTES)
        for _ in range(reader.u32("bodies", BLOCK_TRANSACTIONS_LIMIT))
    )
    sequence = reader.u32("sequence", INDEX_LIMIT)
    closing = reader.sized("closing", WORD_BYTES)
    if (len(closing) == WORD_BYTES) != bool(sequence) or len(closing) not in (0, WORD_BYTES):
        raise reader.fail("closing", "is there exactly where the list is not empty")
    Reader(closing, "evidence.closing").words("word", len(closing) // WORD_BYTES)
    siblings = _read_words(reader, "siblings")
    state = _STATES[reader.u8("state", len(_STATES) - 1)]
    opening = None if state is OpenedState.NONE else _read_opening(reader)
    return TransitionFault(accused, claim, payload, bodies, sequence, closing, siblings, opening)


def _write_words(writer: Writer, words: tuple[bytes, ...]) -> None:
    writer.u32(len(words))
    for word in words:
        writer.fixed(word, WORD_BYTES)


def _read_words(reader: Reader, name: str) -> tuple[bytes, ...]:
    return reader.words(name, reader.u32(name, MAX_EVIDENCE_BYTES // WORD_BYTES))


def _write_cells(writer: Writer, cells: Cells) -> None:
    writer.u32(len(cells))
    for index, word in cells:
        writer.u32(index).fixed(word, WORD_BYTES)


def _read_cells(reader: Reader, name: str) -> Cells:
    count = reader.u32(name, MAX_EVIDENCE_BYTES // WORD_BYTES)
    cells = tuple((reader.u32(name, INDEX_LIMIT), reader.word(name)) for _ in range(count))
    if not _is_ascending([index for index, _ in cells]):
        raise reader.fail(name, "do not rise")
    return cells


def _write_opening(writer: Writer, opening: StateOpening) -> None:
    writer.u32(opening.keys)
    for part in opening.arrays:
        writer.fixed(part.root, WORD_BYTES)
        _write_cells(writer, part.cells)
        _write_words(writer, part.siblings)


def _read_opening(reader: Reader) -> StateOpening:
    keys = reader.u32("keys", INDEX_LIMIT)
    arrays = tuple(
        ArrayOpening(reader.word("root"), _read_cells(reader, "cells"), _read_words(reader, "path"))
        for _ in OPENED_ARRAYS
    )
    return StateOpening(keys, arrays)


def _is_ascending(numbers: list[int]) -> bool:
    return all(low < high for low, high in pairwise(numbers))
