"""Sorts what a log holds into the tables of its epochs.

A block belongs to the epoch of its slot, and with it its transactions, receipts, views with their votes,
windows, jobs and proofs. What has no block, such as a dead letter, belongs to the first epoch with blocks that
ends after the log stored it, so nothing is left out.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from operators.block_payload import LinkEntry, Payload, TransactionReference, decode_payload
from operators.consensus_messages import decode_certificate, decode_message
from operators.consensus_node import NodeIdentity
from operators.final_headers import FinalHeaders
from operators.proof_files import proof_path
from operators.topic_view import TopicView
from proving.ledger.state import Ledger
from schemas.block import BlockHeader, Vote
from schemas.errors import InvariantError, WireError
from schemas.genesis import Genesis
from schemas.job import JobEvent, ProofLevel, planned_envelope
from schemas.receipt import ReceiptState
from schemas.rejection import RejectionReason
from schemas.tables import (
    BLOCKS,
    CONSENSUS,
    JOBS,
    PROOFS,
    RECEIPTS,
    REJECTED,
    TRANSACTIONS,
    WINDOWS,
)
from schemas.topics import JOBS as JOBS_TOPIC
from schemas.topics import PROOFS as PROOFS_TOPIC
from schemas.topics import RECEIPTS as RECEIPTS_TOPIC
from schemas.topics import REJECTED as REJECTED_TOPIC
from schemas.topics import shard_topic
from schemas.transactions import Transaction, TransactionKind, decode_body
from schemas.units import FIRST_ACCOUNT, SUPPLY_CAP, ReservedCell, issuable

Row = Mapping[str, Any]


@dataclass(slots=True)
class EpochRows:
    """The rows of one epoch, by table name.

    Attributes:
        epoch: Epoch.
        headers: Headers of its blocks in height order.
        windows: Windows of its blocks.
        tables: Rows of every table.
        proofs: Accepted proofs: statement digest to bytes.
    """

    epoch: int
    headers: list[BlockHeader] = field(default_factory=list)
    windows: set[int] = field(default_factory=set)
    tables: dict[str, list[Row]] = field(default_factory=dict)
    proofs: dict[bytes, bytes] = field(default_factory=dict)

    def add(self, table: str, row: Row) -> None:
        """Appends a row."""
        self.tables.setdefault(table, []).append(row)

    @property
    def is_complete(self) -> bool:
        """Whether the beacon has accepted a proof of every segment of every window."""
        accepted = [row["window"] for row in self.tables.get("proofs", ()) if row["accepted"]]
        windows = {row["window"]: row["segments"] for row in self.tables.get("windows", ())}
        return self.windows == set(windows) and all(
            accepted.count(window) >= count for window, count in windows.items()
        )


@dataclass(slots=True)
class EpochSorter:
    """Reads one shard's part of a log into its sealed epochs.

    Attributes:
        view: The log.
        genesis: The chain.
        shard: Shard.
        identity: The shard's committee, whose votes count.
    """

    view: TopicView
    genesis: Genesis
    shard: int
    identity: NodeIdentity

    def read(self, ledger: Ledger) -> list[EpochRows]:
        """Returns the sealed epochs that have blocks, in order.

        Args:
            ledger: The genesis ledger; the final transactions are executed on it, without roots.

        Raises:
            InvariantError: A final block refers to what the log lacks, or holds an invalid transaction.
        """
        epochs = self._read_blocks()
        self._read_transactions(epochs, ledger)
        self._read_votes(epochs)
        self._read_windows(epochs)
        self._read_proofs(epochs)
        self._read_receipts(epochs)
        return epochs

    def _epoch(self, slot: int) -> int:
        return self.genesis.epoch_of(self.genesis.window_of(slot))

    def _read_blocks(self) -> list[EpochRows]:
        """Returns the epochs with their blocks; the last one is sealed only by a block of a later one."""
        topic = shard_topic("blocks", self.shard)
        final = FinalHeaders(
            self.identity.committee, self.identity.verifier, registry=self.view.registry
        )
        for record in self.view.records(topic):
            final.take(record)
        epochs: list[EpochRows] = []
        for record, row in self.view.placed_rows(topic, BLOCKS):
            header = final.headers.get(row["height"])
            if header is None or not _is_of(row, header, record.offset, final.offsets):
                continue
            epoch = self._epoch(header.slot)
            if not epochs or epochs[-1].epoch != epoch:
                epochs.append(EpochRows(epoch))
            self._add_block(epochs[-1], header, row)
        return epochs[:-1]

    def _add_block(self, rows: EpochRows, header: BlockHeader, row: Row) -> None:
        certificate = decode_certificate(row["certificate"])
        rows.headers.append(header)
        rows.add("blocks", row)
        rows.windows.add(self.genesis.window_of(header.slot))
        rows.add(
            "certificates",
            {
                "height": header.height,
                "view": certificate.ballot.view,
                "block_hash": certificate.ballot.block_hash,
                "signers": list(certificate.signers),
                "certificate": row["certificate"],
            },
        )

    def _read_transactions(self, epochs: list[EpochRows], ledger: Ledger) -> None:
        stored: dict[tuple[int, int], Row] = {}
        rows_of: dict[int, int] = {}
        for record, row in self.view.placed_rows(shard_topic("tx", self.shard), TRANSACTIONS):
            position = rows_of.get(record.offset, 0)
            rows_of[record.offset] = position + 1
            stored[record.offset, position] = row
        counts: LinkCounts = {}
        for rows in epochs:
            for header, block in zip(rows.headers, rows.tables["blocks"], strict=True):
                content = decode_payload(block["payload"])
                entries = [_stored(stored, one) for one in content.references]
                self._execute(rows, header, content, entries, ledger)
                window = self.genesis.window_of(header.slot)
                for row in link_rows(content, header.height, window, counts):
                    rows.add("links", row)
            for cells in ledger.pending.values():
                cells.clear()  # nobody asks this ledger for roots
            rows.add("supply", supply_row(ledger))

    def _execute(
        self,
        rows: EpochRows,
        header: BlockHeader,
        content: Payload,
        entries: list[Row],
        ledger: Ledger,
    ) -> None:
        window = self.genesis.window_of(header.slot)
        ledger.open_block(header.height, header.slot, window)
        bodies = [decode_body(row["body"]) for row in entries]
        ledger.prepare(bodies)
        for inbound in content.inbound(header.chain, header.shard):
            if isinstance(refused := ledger.execute(inbound), RejectionReason):
                raise InvariantError(
                    f"final block {header.height} takes what no shard can have sent: {refused}"
                )
        for position, (body, row) in enumerate(zip(bodies, entries, strict=True)):
            effects = ledger.execute(body)
            if isinstance(effects, RejectionReason):
                raise InvariantError(
                    f"final block {header.height} holds an invalid transaction: {effects}"
                )
            recipient = body.recipient if effects.new_account is None else effects.new_account
            place = {"height": header.height, "position": position, "window": window}
            sent = {
                "submitted_millis": row["submitted_millis"],
                "body": row["body"],
                "signature": row["signature"],
            }
            rows.add("transactions", {**place, **transaction_columns(body, recipient), **sent})
            if body.kind is TransactionKind.REGISTER:
                rows.add("registrations", registration_row(header.height, body, recipient))
        ledger.close_block()

    def _read_votes(self, epochs: list[EpochRows]) -> None:
        """Sorts votes by view; only validly signed ones are evidence of anything."""
        last_views = [rows.headers[-1].view for rows in epochs]
        committee = self.identity.committee
        found: list[tuple[Vote, bytes, int]] = []
        for record, row in self.view.placed_rows(shard_topic("votes", self.shard), CONSENSUS):
            try:
                message = decode_message(row["message"])
            except WireError:
                continue
            if isinstance(message, Vote) and message.signer < committee.size:
                found.append((message, row["message"], record.append_millis))
        claims = [
            (vote.signer, vote.ballot.signed_under(committee.context), vote.signature)
            for vote, _, _ in found
        ]
        good = self.identity.verifier.verify_many(claims) if claims else []
        for (vote, encoded, millis), is_good in zip(found, good, strict=True):
            place = bisect_left(last_views, vote.ballot.view)
            if is_good and place < len(epochs):
                epochs[place].add("votes", vote_row(vote, encoded, millis))

    def _read_windows(self, epochs: list[EpochRows]) -> None:
        by_epoch = {rows.epoch: rows for rows in epochs}
        for row in self.view.rows(shard_topic("windows", self.shard), WINDOWS):
            rows = by_epoch.get(self.genesis.epoch_of(row["window"]))
            if rows is not None:
                rows.add("windows", row)

    def _read_proofs(self, epochs: list[EpochRows]) -> None:
        by_epoch = {rows.epoch: rows for rows in epochs}
        epoch_of_job: dict[bytes, int] = {}
        accepted: set[str] = set()
        for row in self.view.rows(JOBS_TOPIC, JOBS):
            if row["event"] == JobEvent.PLANNED and row["job_id"] not in epoch_of_job:
                envelope = planned_envelope(row)
                if envelope is not None and envelope.shard == self.shard:
                    epoch_of_job[row["job_id"]] = self.genesis.epoch_of(envelope.window)
            if row["event"] == JobEvent.ACCEPTED:
                accepted.add(row["detail"])
            rows = by_epoch.get(epoch_of_job.get(row["job_id"], -1))
            if rows is not None:
                rows.add("jobs", {**row, "envelope": None})
        position: dict[int, int] = {}
        for record, row in self.view.placed_rows(PROOFS_TOPIC, PROOFS):
            place = position.get(record.offset, 0)
            position[record.offset] = place + 1
            rows = by_epoch.get(self.genesis.epoch_of(row["window"]))
            if rows is None or row["shard"] != self.shard:
                continue
            is_accepted = f"{PROOFS_TOPIC}/{record.offset}/{place}" in accepted
            rows.add("proofs", proof_row(row, is_accepted=is_accepted))
            if is_accepted:
                rows.proofs[row["statement_digest"]] = row["proof"]

    def _read_receipts(self, epochs: list[EpochRows]) -> None:
        numbers = [rows.epoch for rows in epochs]

        def add(table: str, epoch: int, row: Row) -> None:
            place = bisect_left(numbers, epoch)
            if place < len(epochs):
                epochs[place].add(table, row)

        for record, row in self.view.placed_rows(RECEIPTS_TOPIC, RECEIPTS):
            if row["shard"] != self.shard:
                continue
            is_final = row["state"] == ReceiptState.BFT_FINAL and row["epoch"] is not None
            stored = self._epoch(self.genesis.slot_at(record.append_millis))
            add("receipts", row["epoch"] if is_final else stored, row)
        own_topic = shard_topic("tx", self.shard)
        for record, row in self.view.placed_rows(REJECTED_TOPIC, REJECTED):
            if row["topic"] == own_topic:
                add("rejected", self._epoch(self.genesis.slot_at(record.append_millis)), row)


def _is_of(row: Row, header: BlockHeader, offset: int, offsets: Mapping[int, int]) -> bool:
    """Says whether a row is the one that a certified header was taken from."""
    return (
        row["header"] == header.to_bytes()
        and offsets[header.height] == offset
        and hashlib.sha256(row["payload"]).digest() == header.payload_hash
    )


def _stored(stored: Mapping[tuple[int, int], Row], reference: TransactionReference) -> Row:
    row = stored.get((reference.offset, reference.row))
    if row is None or hashlib.sha256(row["body"]).digest() != reference.digest:
        raise InvariantError(
            f"a final block refers to transaction {reference.offset}/{reference.row}, which the log lacks"
        )
    return row


LinkCounts = dict[tuple[str, int], int]
"""Words that went over links so far, by direction and peer."""


def link_rows(content: Payload, height: int, window: int, counts: LinkCounts) -> list[Row]:
    """Returns the exported form of what a block takes and sends, and counts it in `counts`."""
    rows: list[Row] = []

    def add(direction: str, entry: LinkEntry) -> None:
        place = counts.get((direction, entry.peer), 0)
        counts[direction, entry.peer] = place + 1
        rows.append(
            {
                "direction": direction,
                "peer": entry.peer,
                "place": place,
                "height": height,
                "window": window,
                "sender": entry.sender,
                "recipient": entry.recipient,
                "amount": entry.amount,
                "nonce": entry.nonce,
            }
        )

    for entry in content.received:
        add("received", entry)
    for entry in content.sent:
        add("sent", entry)
    return rows


def transaction_columns(body: Transaction, recipient: int) -> Row:
    """Returns the columns that say what a transaction's body holds."""
    return {
        "digest": hashlib.sha256(body.body()).digest(),
        "kind": body.kind.name.lower(),
        "sender": body.sender,
        "recipient": recipient,
        "amount": body.amount,
        "fee": body.fee,
        "nonce": body.nonce,
        "expiry": body.expiry,
    }


def registration_row(height: int, body: Transaction, account: int) -> Row:
    """Returns the exported form of an opened account."""
    return {
        "account": account,
        "address": body.address,
        "public_key": body.public_key,
        "height": height,
    }


def vote_row(vote: Vote, message: bytes, append_millis: int) -> Row:
    """Returns the exported form of a vote; its sender is who signed it."""
    return {
        "sender": vote.signer,
        "phase": vote.ballot.phase.name.lower(),
        "view": vote.ballot.view,
        "block_hash": vote.ballot.block_hash,
        "message": message,
        "append_millis": append_millis,
    }


def proof_row(row: Row, *, is_accepted: bool) -> Row:
    """Returns the exported form of a proof; one that is not accepted has no file and so no path."""
    path = ""
    if is_accepted:
        path = proof_path(Path(), ProofLevel(row["level"]), row["statement_digest"]).as_posix()
    return {
        "level": row["level"],
        "window": row["window"],
        "segment": row["segment"],
        "job_id": row["job_id"],
        "statement_digest": row["statement_digest"],
        "statement": row["statement"],
        "path": path,
        "sha256": hashlib.sha256(row["proof"]).digest(),
        "bytes": len(row["proof"]),
        "proven_bits": row["proven_bits"],
        "prover": row["prover"],
        "prove_seconds": row["prove_seconds"],
        "accepted": is_accepted,
    }


def supply_row(ledger: Ledger) -> Row:
    """Returns where every unit is, as the ledger of a shard stands."""
    cap = issuable(ledger.parameters.shards)
    cells = {cell: ledger.account(cell).balance for cell in ReservedCell}
    users = sum(
        account.balance for index, account in ledger.accounts.items() if index >= FIRST_ACCOUNT
    )
    return {
        "height": ledger.height,
        "cap": cap,
        "reserve": cells[ReservedCell.RESERVE],
        "issued": ledger.issued(),
        "accounts": users,
        "proposer_pool": cells[ReservedCell.PROPOSER_POOL],
        "escrow": cells[ReservedCell.ESCROW],
        "private_pool": cells[ReservedCell.PRIVATE_POOL],
        "max_private_pool": cells[ReservedCell.MAX_POOL],
        "burned": cells[ReservedCell.BURNED],
        "departed": cells[ReservedCell.TRANSIT] - (SUPPLY_CAP - cap),
    }
