"""Admission: judges every transaction of `tx.<shard>` once, by bytes, signature and the state it meets.

A refusal is a dead letter with the original bytes and a stable reason. Verdicts are references: the admitted bytes
stay where they are. Validators take them as a hint and judge again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from operators.admission_view import AdmissionView, decode_view, genesis_view
from operators.block_payload import TransactionReference
from operators.final_headers import FinalHeaders
from operators.stage import Input, Output
from operators.transaction_store import StoredTransaction, rows_of
from operators.validator import identity_of
from proving.ledger.rules import LedgerParameters, apply
from proving.signatures import SignatureBackend, verify_many
from schemas.config import AdmissionConfig
from schemas.errors import InvariantError, WireError
from schemas.genesis import Genesis
from schemas.receipt import ReceiptState
from schemas.rejection import RejectionReason, rejection_of
from schemas.tables import (
    ADMITTED,
    BLOCKS,
    RECEIPTS,
    REJECTED,
    TRANSACTIONS,
    Table,
)
from schemas.topics import RECEIPTS as RECEIPTS_TOPIC
from schemas.topics import REJECTED as REJECTED_TOPIC
from schemas.topics import shard_topic
from schemas.transactions import SIGNATURE_CONTEXT, Transaction, decode_body
from schemas.units import SIGNATURE_BYTES

Problem = tuple[RejectionReason, str]
"""A reason and a line of detail."""

MAX_ROWS = 65_536
"""Transactions in one record; a record with more is refused whole."""

MAX_ORIGINAL_BYTES = 15 * 2**20
"""Bytes of a refused record that its dead letter holds; the record itself is on `tx.<shard>`."""

SCHEMA_FAILURE = "schema:"
"""How the failure of a record with an unknown fingerprint begins."""

Fetch = Callable[[int], Input | None]
"""Reads a record of `tx.<shard>` again by its offset; None when the log does not hold it."""

_logger = logging.getLogger(__name__)


def _fetch_nothing(_: int) -> None:
    return None


@dataclass(frozen=True, slots=True)
class Judged:
    """A row and what is known of it before the state is looked at.

    Attributes:
        stored: The row.
        transaction: Its body, or None when the bytes are refused.
        refusal: Why the bytes are refused, or None.
        key: Key that was known before the batch, or None.
        is_signed: Whether the signature verifies under `key`.
    """

    stored: StoredTransaction
    transaction: Transaction | None
    refusal: Problem | None
    key: bytes | None = None
    is_signed: bool = False


@dataclass(frozen=True, slots=True)
class Admission:
    """The admission stage of a shard.

    Attributes:
        genesis: The chain.
        shard: Shard number.
        limits: What may enter.
        signatures: Signature backend; the default one if None.
        fetch: Reads what blocks hold although it was refused here: a corrupt leader can propose it.
    """

    genesis: Genesis
    shard: int
    limits: AdmissionConfig
    signatures: SignatureBackend | None = field(default=None, compare=False)
    fetch: Fetch = field(default=_fetch_nothing, repr=False, compare=False)

    @property
    def name(self) -> str:
        """See `Stage`."""
        return f"admission.{self.shard}"

    @property
    def inputs(self) -> Mapping[str, Table]:
        """See `Stage`."""
        return {
            shard_topic("tx", self.shard): TRANSACTIONS,
            shard_topic("blocks", self.shard): BLOCKS,
        }

    def initial(self) -> AdmissionView:
        """See `Stage`."""
        return genesis_view(self.genesis.issuer_key, self._any_fee, self._headers())

    def snapshot(self, state: AdmissionView) -> bytes:
        """See `Stage`."""
        return state.encode()

    def restore(self, snapshot: bytes) -> AdmissionView:
        """See `Stage`."""
        return decode_view(snapshot, self._any_fee, self._headers())

    def step(
        self, state: AdmissionView, batch: Sequence[Input], now_millis: int
    ) -> tuple[AdmissionView, list[Output]]:
        """See `Stage`; all signatures whose key is known before the batch are verified together."""
        blocks = shard_topic("blocks", self.shard)
        fresh = [
            record
            for record in batch
            if record.topic == blocks or record.offset >= state.next_offset
        ]
        judged = self._verify(
            state, [[] if record.topic == blocks else self._read(record) for record in fresh]
        )
        outcome = _Outcome(self.shard, now_millis)
        for record, rows in zip(fresh, judged, strict=True):
            if record.topic == blocks:
                self._take_blocks(state, record)
                continue
            state.refresh()
            state.next_offset = record.offset + 1
            outcome.blocks_end = state.blocks_end
            problem = _record_problem(record)
            if problem is not None:
                outcome.refuse_record(record, problem)
                continue
            slot = max(state.slot, self.genesis.slot_at(record.append_millis))
            verdicts = [self._admit(state, row, slot, record, outcome) for row in rows]
            outcome.admit(record, verdicts)
        state.refresh()
        return state, outcome.outputs()

    def _headers(self) -> FinalHeaders:
        identity = identity_of(self.genesis, self.shard, None, None)
        return FinalHeaders(identity.committee, identity.verifier)

    def _take_blocks(self, state: AdmissionView, record: Input) -> None:
        rows = [] if record.batch is None else record.batch.to_pylist()
        for problem in state.take_blocks(rows, record.offset, self._find):
            ids = {"topic": record.topic, "offset": record.offset}
            _logger.warning("a row is passed over: %s", problem, extra=ids)

    def _find(self, references: Sequence[TransactionReference]) -> list[Transaction]:
        rows: dict[TransactionReference, StoredTransaction] = {}
        for offset in sorted({one.offset for one in references}):
            record = self.fetch(offset)
            stored = [] if record is None else rows_of(record)
            rows |= {one.reference: one for one in stored}
        for one in references:
            if one not in rows:
                where = f"transaction {one.offset}/{one.row}"
                raise InvariantError(f"a final block refers to {where}, which the log lacks")
        return [rows[one].decode() for one in references]

    @property
    def _parameters(self) -> LedgerParameters:
        genesis = self.genesis
        return LedgerParameters(
            genesis.chain, self.shard, self.limits.min_fee_micros, genesis.shards
        )

    @property
    def _any_fee(self) -> LedgerParameters:
        return replace(self._parameters, minimum_fee=0)

    def _read(self, record: Input) -> list[Judged]:
        if _record_problem(record) is not None:
            return []
        return [self._read_row(stored) for stored in rows_of(record)]

    def _read_row(self, stored: StoredTransaction) -> Judged:
        size = len(stored.body) + len(stored.signature)
        if size > self.limits.max_transaction_bytes:
            reason = RejectionReason.OVERSIZED_RECORD
            detail = f"{size} bytes, at most {self.limits.max_transaction_bytes}"
            return Judged(stored, None, (reason, detail))
        try:
            transaction = decode_body(stored.body)
        except WireError as error:
            reason = rejection_of(stored.body + stored.signature, error)
            return Judged(stored, None, (reason, str(error)))
        if len(stored.signature) != SIGNATURE_BYTES:
            detail = f"a signature has {SIGNATURE_BYTES} bytes, got {len(stored.signature)}"
            return Judged(stored, None, (RejectionReason.WRONG_LENGTH, detail))
        return Judged(stored, transaction, None)

    def _verify(self, state: AdmissionView, records: list[list[Judged]]) -> list[list[Judged]]:
        known = [
            (row, key)
            for rows in records
            for row in rows
            if row.transaction is not None
            and (key := state.key_of(row.transaction.sender)) is not None
        ]
        verdicts = self._verify_rows([row for row, _ in known], [key for _, key in known])
        found = {
            (row.stored.offset, row.stored.row): Judged(
                row.stored, row.transaction, None, key, is_signed
            )
            for (row, key), is_signed in zip(known, verdicts, strict=True)
        }
        return [
            [found.get((row.stored.offset, row.stored.row), row) for row in rows]
            for rows in records
        ]

    def _verify_rows(self, rows: Sequence[Judged], keys: Sequence[bytes]) -> list[bool]:
        verdicts = verify_many(
            keys,
            [row.stored.body for row in rows],
            [row.stored.signature for row in rows],
            SIGNATURE_CONTEXT,
            self.signatures,
        )
        return [bool(verdict) for verdict in verdicts]

    def _admit(
        self, state: AdmissionView, row: Judged, slot: int, record: Input, outcome: _Outcome
    ) -> bool:
        place = row.stored.offset, row.stored.row
        if place in state.early:  # it is final, whatever would be said of it now
            state.early.discard(place)
            return True
        refusal = row.refusal or self._judge(state, row, slot)
        if refusal is None:
            return True
        outcome.refuse_row(record, row, refusal)
        return False

    def _judge(self, state: AdmissionView, row: Judged, slot: int) -> Problem | None:
        """Judges a well-formed transaction by signature and state, and executes it when it is good."""
        transaction = row.transaction
        if transaction is None:
            return RejectionReason.NON_CANONICAL, "no transaction"
        is_signed = row.is_signed
        key = state.key_of(transaction.sender)
        if key is None:
            is_signed = True  # by nobody known, which is the reason to name
        elif row.key != key:  # the account was opened, or its number went to another, in this batch
            is_signed = self._verify_rows([row], [key])[0]
        if not is_signed:
            return RejectionReason.BAD_SIGNATURE, f"not signed by account {transaction.sender}"
        effects = apply(state.ahead, transaction, slot, self._parameters)
        if isinstance(effects, RejectionReason):
            return effects, _detail(effects, state, transaction, slot)
        margin = self.genesis.slots_per_window
        if transaction.expiry < slot + margin:
            detail = f"expires in slot {transaction.expiry}, less than {margin} slots from {slot}"
            return RejectionReason.EXPIRED, detail
        if transaction.expiry - slot > self.limits.max_expiry_slots:
            detail = (
                f"expires in slot {transaction.expiry}, {self.limits.max_expiry_slots} is the most"
            )
            return RejectionReason.EXPIRY_TOO_FAR, detail
        state.admit((row.stored.offset, row.stored.row), transaction, effects)
        return None


@dataclass(slots=True)
class _Outcome:
    """Rows of the outputs of one step."""

    shard: int
    now_millis: int
    blocks_end: int = 0
    admitted: list[Mapping[str, Any]] = field(default_factory=list)
    rejected: list[Mapping[str, Any]] = field(default_factory=list)
    receipts: list[Mapping[str, Any]] = field(default_factory=list)

    def admit(self, record: Input, verdicts: Sequence[bool]) -> None:
        bitmap = bytearray((len(verdicts) + 7) // 8)
        for row, is_admitted in enumerate(verdicts):
            bitmap[row // 8] |= is_admitted << (row % 8)
        self.admitted.append(
            {
                "source_offset": record.offset,
                "row_count": len(verdicts),
                "verdicts": bytes(bitmap),
                "admitted_millis": self.now_millis,
                "blocks_end": self.blocks_end,
            }
        )

    def refuse_record(self, record: Input, problem: Problem) -> None:
        reason, detail = problem
        original = record.value
        if len(original) > MAX_ORIGINAL_BYTES:
            detail += f"; the first {MAX_ORIGINAL_BYTES} of {len(original)} bytes are kept here"
            original = original[:MAX_ORIGINAL_BYTES]
        self._letter(record, -1, (reason, detail), original)
        self.admit(record, ())

    def refuse_row(self, record: Input, row: Judged, problem: Problem) -> None:
        stored = row.stored
        letter = self._letter(record, stored.row, problem, stored.body + stored.signature)
        if row.transaction is not None:
            letter["digest"] = digest = stored.digest
            self.receipts.append(
                {
                    "digest": digest,
                    "state": ReceiptState.REJECTED.value,
                    "shard": self.shard,
                    "at_millis": self.now_millis,
                    "submitted_millis": stored.submitted_millis,
                    "reason": problem[0].value,
                }
            )

    def _letter(self, record: Input, row: int, problem: Problem, original: bytes) -> dict[str, Any]:
        reason, detail = problem
        letter: dict[str, Any] = {
            "stage": "admission",
            "reason": reason.value,
            "detail": detail,
            "topic": record.topic,
            "partition": record.partition,
            "offset": record.offset,
            "row": row,
            "schema": record.fingerprint,
            "attempt": 1,
            "original": original,
            "rejected_millis": self.now_millis,
            "digest": None,
        }
        self.rejected.append(letter)
        return letter

    def outputs(self) -> list[Output]:
        found = (
            (shard_topic("admitted", self.shard), ADMITTED, self.admitted),
            (REJECTED_TOPIC, REJECTED, self.rejected),
            (RECEIPTS_TOPIC, RECEIPTS, self.receipts),
        )
        return [Output(topic, table, rows) for topic, table, rows in found if rows]


def _record_problem(record: Input) -> Problem | None:
    if record.batch is None:
        is_foreign = record.failure.startswith(SCHEMA_FAILURE)
        reason = (
            RejectionReason.FOREIGN_SCHEMA if is_foreign else RejectionReason.UNDECODABLE_RECORD
        )
        return reason, record.failure
    if record.batch.num_rows > MAX_ROWS:
        return (
            RejectionReason.OVERSIZED_RECORD,
            f"{record.batch.num_rows} rows, at most {MAX_ROWS}",
        )
    return None


def _detail(
    reason: RejectionReason, state: AdmissionView, transaction: Transaction, slot: int
) -> str:
    sender = state.ahead.account(transaction.sender)
    texts = {
        RejectionReason.NONCE_GAP: f"nonce {transaction.nonce}, next is {sender.nonce}",
        RejectionReason.NONCE_REPLAY: f"nonce {transaction.nonce}, next is {sender.nonce}",
        RejectionReason.OVERDRAFT: f"balance {sender.balance}, amount {transaction.amount} plus fee",
        RejectionReason.EXPIRED: f"expired in slot {transaction.expiry}, now {slot}",
        RejectionReason.EXPIRY_TOO_FAR: f"expires in slot {transaction.expiry}, now {slot}",
        RejectionReason.UNKNOWN_ACCOUNT: f"{transaction.sender} or {transaction.recipient}",
        RejectionReason.WRONG_CHAIN: f"signed for chain {transaction.chain}",
        RejectionReason.WRONG_SHARD: f"signed for shard {transaction.shard}",
        RejectionReason.UNKNOWN_SHARD: f"to shard {transaction.peer}",
        RejectionReason.FEE_TOO_LOW: f"fee {transaction.fee}",
    }
    return texts.get(reason, reason.value.replace("_", " "))
