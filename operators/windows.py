"""The windows stage: closed windows, and the proof jobs of their segments, from final blocks and transactions.

It executes every window once more on a ledger of its own and cuts it into segments. A window is closed when
a final block of a later one is there; a block waits until its transactions are there, and counts only once a
quorum's certificate of it or of a descendant is there: anyone may write to the log. What comes out depends
on the records alone, not on how the two topics were interleaved.

Resume: the state is one snapshot, so a restart replays from it and drops the outputs it wrote before.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from operators.block_payload import TransactionReference, decode_payload
from operators.claimed_blocks import ClaimedBlocks
from operators.consensus_messages import decode_certificate
from operators.consensus_ports import Verifier
from operators.consensus_votes import CertificateRejected, Committee, check_certificate
from operators.stage import Input, Output, Stage
from operators.transaction_store import StoredTransaction, TransactionStore
from proving.backends.port import Hasher
from proving.ledger.layout import Layout
from proving.ledger.planning import LargeShape
from proving.ledger.segments import cut_window
from proving.ledger.state import Block as LedgerBlock
from proving.ledger.state import Ledger, restore_ledger
from proving.ledger.witness import SegmentWitness
from proving.recursion.shard_part import link_heads
from schemas.block import (
    MAX_PAYLOAD_BYTES,
    BlockHeader,
    Certificate,
    Phase,
    genesis_hash,
    header_from_bytes,
)
from schemas.errors import InvariantError, WireError
from schemas.job import JobEnvelope, JobEvent, ProofLevel
from schemas.tables import BLOCKS, JOBS, TRANSACTIONS, WINDOWS, Table
from schemas.topics import JOBS as JOBS_TOPIC
from schemas.topics import shard_topic
from schemas.transactions import Transaction
from schemas.units import SIGNATURE_BYTES, Array
from schemas.wire import Reader, Writer

SNAPSHOT_VERSION = 2
"""First byte of a snapshot."""

SNAPSHOT_LIMIT = 2**31
"""No part of a snapshot is longer, bytes."""

BODY_LIMIT = 2**24
"""A row that is kept came out of a log record, bytes."""


@dataclass(frozen=True, slots=True)
class WaitingBlock:
    """A final block that is not proven yet.

    Attributes:
        header: Its header.
        payload: What it takes from other shards, and references to its transactions.
        append_millis: When the log stored it.
    """

    header: BlockHeader
    payload: bytes
    append_millis: int


@dataclass(slots=True)
class WindowsState:
    """What the stage knows.

    Attributes:
        ledger: The ledger after the last closed window.
        store: Transactions that no closed window has settled.
        height: Height of the last block taken.
        tip: Its hash.
        waiting: Blocks of windows that are not closed yet, in height order.
        claimed: Blocks above them that have no certificate yet.
        refused: Rows of the blocks topic that do not follow.
    """

    ledger: Ledger
    store: TransactionStore = field(default_factory=TransactionStore)
    height: int = 0
    tip: bytes = b""
    waiting: list[WaitingBlock] = field(default_factory=list)
    claimed: ClaimedBlocks[WaitingBlock] = field(default_factory=ClaimedBlocks)
    refused: int = 0


@dataclass(frozen=True, slots=True)
class WindowsStage:
    """Cuts closed windows of one shard; a `Stage`.

    Attributes:
        committee: Chain, shard and validators, who must have signed what is final.
        verifier: Checks their signatures.
        window_of: Window of a slot, from the genesis document.
        genesis: Makes the ledger before block one.
        layout: Shape of the circuit that the segments are for.
        hasher: Where permutations run.
        large: Circuit for much load; None makes small segments whatever the load.
    """

    committee: Committee
    verifier: Verifier
    window_of: Callable[[int], int]
    genesis: Callable[[], Ledger]
    layout: Layout
    hasher: Hasher
    large: LargeShape | None = None

    @property
    def shard(self) -> int:
        """Shard of the blocks."""
        return self.committee.shard

    @property
    def name(self) -> str:
        """See `Stage`."""
        return f"windows.{self.shard}"

    @property
    def inputs(self) -> Mapping[str, Table]:
        """See `Stage`."""
        return {
            shard_topic("tx", self.shard): TRANSACTIONS,
            shard_topic("blocks", self.shard): BLOCKS,
        }

    def initial(self) -> WindowsState:
        """See `Stage`."""
        return WindowsState(self.genesis(), tip=genesis_hash(self.committee.chain, self.shard))

    def step(
        self, state: WindowsState, batch: Sequence[Input], now_millis: int
    ) -> tuple[WindowsState, list[Output]]:
        """See `Stage`; times in the outputs are those of the closing block's record.

        Raises:
            InvariantError: A final block does not give the state that its header names.
        """
        outputs: list[Output] = []
        blocks_topic = shard_topic("blocks", self.shard)
        for record in batch:
            if record.topic == blocks_topic:
                self._take_blocks(state, record)
            else:
                state.store.add(record)
            while (window := self._closed(state)) is not None:
                outputs += self._close(state, window)
        return state, outputs

    def snapshot(self, state: WindowsState) -> bytes:
        """See `Stage`."""
        writer = Writer().u8(SNAPSHOT_VERSION).sized(state.ledger.snapshot())
        writer.u64(state.height).fixed(state.tip, 32).u64(state.refused)
        for blocks in (state.waiting, list(state.claimed)):
            writer.u32(len(blocks))
            for block in blocks:
                writer.sized(block.header.to_bytes()).sized(block.payload).u64(block.append_millis)
        writer.u64(state.store.end).u32(len(state.store.rows))
        for _, row in sorted(state.store.rows.items()):
            writer.u64(row.offset).u32(row.row).sized(row.body).sized(row.signature)
            writer.u64(row.submitted_millis % 2**64).u64(row.append_millis)
        body = writer.finish()
        return body + hashlib.sha256(body).digest()

    def restore(self, snapshot: bytes) -> WindowsState:
        """See `Stage`."""
        body, checksum = snapshot[:-32], snapshot[-32:]
        reader = Reader(body, "windows")
        if hashlib.sha256(body).digest() != checksum:
            raise reader.fail("checksum", "does not fit the bytes")
        if reader.u8("version") != SNAPSHOT_VERSION:
            raise reader.fail("version", f"expected {SNAPSHOT_VERSION}")
        ledger = restore_ledger(reader.sized("ledger", SNAPSHOT_LIMIT), self.hasher)
        state = WindowsState(ledger, height=reader.u64("height"), tip=reader.fixed("tip", 32))
        state.refused = reader.u64("refused")
        state.waiting = _read_blocks(reader)
        for block in _read_blocks(reader):
            state.claimed.add(block.header, block)
        state.store.end = reader.u64("end")
        for _ in range(reader.u32("rows")):
            row = _read_row(reader)
            state.store.rows[row.offset, row.row] = row
        reader.finish()
        return state

    def _take_blocks(self, state: WindowsState, record: Input) -> None:
        rows = [] if record.batch is None else record.batch.to_pylist()
        for row in rows:
            read = _read_block(row, record.append_millis)
            if read is None or not self._claim(state, *read):
                state.refused += 1

    def _claim(self, state: WindowsState, block: WaitingBlock, certificate: Certificate) -> bool:
        """Takes a block that follows; says whether it does, and whether its certificate holds if it has one."""
        header, own_hash = block.header, block.header.block_hash()
        if (header.chain, header.shard) != (self.committee.chain, self.shard):
            return False
        if not state.claimed.follows(header, state.height, state.tip):
            return False
        if certificate.ballot.block_hash != own_hash:
            state.claimed.add(header, block)
            return True
        if not self._is_final(certificate):
            return False
        state.waiting += state.claimed.settle(header, block, state.tip)
        state.height, state.tip = header.height, own_hash
        return True

    def _is_final(self, certificate: Certificate) -> bool:
        try:
            check_certificate(certificate, self.committee, self.verifier)
        except CertificateRejected:
            return False
        return certificate.ballot.phase is Phase.FINALIZE

    def _closed(self, state: WindowsState) -> int | None:
        """Returns the oldest waiting window if it is closed and all its transactions are there."""
        if not state.waiting:
            return None
        window = self.window_of(state.waiting[0].header.slot)
        if self.window_of(state.waiting[-1].header.slot) == window:
            return None
        for block in state.waiting:
            if self.window_of(block.header.slot) != window:
                return window
            references = decode_payload(block.payload).references
            if not all(_is_there(state.store, one) for one in references):
                return None
        return None

    def _close(self, state: WindowsState, window: int) -> list[Output]:
        count = sum(self.window_of(block.header.slot) == window for block in state.waiting)
        blocks, state.waiting = state.waiting[:count], state.waiting[count:]
        contents = [decode_payload(block.payload) for block in blocks]
        references = [one for content in contents for one in content.references]
        executed = [self._ledger_block(state.store, block, window) for block in blocks]
        before = state.ledger.state_root()
        segments = cut_window(state.ledger, executed, window, self.layout, self.large)
        last = blocks[-1].header
        ends = (state.ledger.state_root(), state.ledger.root(Array.TXS))
        if ends != (last.post_state_root, last.transactions_root):
            raise InvariantError(f"block {last.height} is final but its state root is not its own")
        state.store.drop(references)
        _drop_expired(state.store, last.slot)
        closed_millis = state.waiting[0].append_millis
        row = {
            "shard": self.shard,
            "window": window,
            "first_height": blocks[0].header.height,
            "end_height": last.height + 1,
            "transactions": len(references),
            "segments": len(segments),
            "pre_state_root": before,
            "post_state_root": last.post_state_root,
            "closed_millis": closed_millis,
            "links": b"".join(
                head for array in (Array.OUT, Array.INB) for head in link_heads(state.ledger, array)
            ),
            "received": sum(len(content.received) for content in contents),
            "accounts_root": state.ledger.root(Array.ACC),
        }
        topic = shard_topic("windows", self.shard)
        return [
            Output(topic, WINDOWS, [row]),
            *(planned_job(envelope_of(segment), closed_millis) for segment in segments),
        ]

    def _ledger_block(
        self, store: TransactionStore, block: WaitingBlock, window: int
    ) -> LedgerBlock:
        header = block.header
        content = decode_payload(block.payload)
        transactions = content.inbound(header.chain, header.shard)
        transactions += [_find(store, one) for one in content.references]
        return LedgerBlock(header.height, header.slot, window, tuple(transactions))


def envelope_of(segment: SegmentWitness) -> JobEnvelope:
    """Returns the job that proves a segment."""
    statement = segment.statement
    return JobEnvelope(
        ProofLevel.SEGMENT,
        statement.shard,
        statement.window,
        statement.segment,
        statement.preimage(),
        segment.encode(),
    )


def planned_job(envelope: JobEnvelope, at_millis: int) -> Output:
    """Returns the record that plans a job; a record of its own, since an envelope may be large."""
    row: dict[str, Any] = {
        "job_id": envelope.job_id,
        "event": JobEvent.PLANNED.value,
        "attempt": 0,
        "worker": "",
        "at_millis": at_millis,
        "lease_until_millis": 0,
        "envelope": envelope.to_bytes(),
    }
    return Output(JOBS_TOPIC, JOBS, [row], key=envelope.job_id)


def _read_block(
    row: Mapping[str, Any], append_millis: int
) -> tuple[WaitingBlock, Certificate] | None:
    try:
        header = header_from_bytes(row["header"])
        decode_payload(row["payload"])
        certificate = decode_certificate(row["certificate"])
    except WireError:
        return None
    if hashlib.sha256(row["payload"]).digest() != header.payload_hash:
        return None
    return WaitingBlock(header, row["payload"], append_millis), certificate


def _read_blocks(reader: Reader) -> list[WaitingBlock]:
    blocks = []
    for _ in range(reader.u32("blocks")):
        header = header_from_bytes(reader.sized("header", 2**12))
        payload = reader.sized("payload", MAX_PAYLOAD_BYTES)
        blocks.append(WaitingBlock(header, payload, reader.u64("append_millis")))
    return blocks


def _read_row(reader: Reader) -> StoredTransaction:
    offset, row = reader.u64("offset"), reader.u32("row")
    body, signature = reader.sized("body", BODY_LIMIT), reader.sized("signature", BODY_LIMIT)
    submitted = reader.u64("submitted_millis")
    signed = submitted - 2**64 if submitted >= 2**63 else submitted
    return StoredTransaction(offset, row, body, signature, signed, reader.u64("append_millis"))


def _is_there(store: TransactionStore, reference: TransactionReference) -> bool:
    if store.find(reference) is not None:
        return True
    if store.is_past(reference):
        raise InvariantError(
            f"a final block refers to transaction {reference.offset}/{reference.row}, which the log lacks"
        )
    return False


def _find(store: TransactionStore, reference: TransactionReference) -> Transaction:
    stored = store.find(reference)
    if stored is None:
        raise InvariantError("a transaction left the store before its window was closed")
    return stored.decode()


def _drop_expired(store: TransactionStore, slot: int) -> None:
    """Forgets rows that no later block can hold: unreadable, or expired at the closed window's end."""
    store.drop([row.reference for row in store.rows.values() if not _may_be_included(row, slot)])


def _may_be_included(row: StoredTransaction, slot: int) -> bool:
    if len(row.signature) != SIGNATURE_BYTES:
        return False
    try:
        return row.decode().expiry >= slot
    except WireError:
        return False


def _is_stage(stage: WindowsStage) -> Stage[WindowsState]:
    return stage
