"""Follows a shard's consensus without a vote and writes down what is final: blocks and receipts, each once.

A block, its receipts and the reader's positions are one commit. After a kill the last row of `blocks.<shard>` says
where to go on; messages from before are read again and change nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from operators.admission_backlog import ASSEMBLY
from operators.consensus_messages import decode_message, encode_certificate
from operators.consensus_node import message_topics
from operators.event_log import Append, Record, StoredRecord
from operators.final_headers import block_row
from operators.final_history import replay, shard_blocks
from operators.mempool import Candidate
from operators.shard_start import MESSAGE_REWIND, ShardFeeds, ShardPlace, ShardState, open_shard
from operators.validator import NodeParts, identity_of, observer_config, start_node
from schemas.block import Block, Certificate, Proposal
from schemas.errors import WireError
from schemas.metrics import (
    CERTIFICATE_SECONDS,
    DEAD_LETTERS,
    FINAL_BLOCKS,
    FINAL_TRANSACTIONS,
    SUBMISSION_SECONDS,
)
from schemas.receipt import ReceiptState
from schemas.rejection import RejectionReason
from schemas.tables import BLOCKS, RECEIPTS, REJECTED, TRANSACTIONS, Table, encode
from schemas.topics import RECEIPTS as RECEIPTS_TOPIC
from schemas.topics import REJECTED as REJECTED_TOPIC
from schemas.topics import shard_topic

SNAPSHOT_BLOCKS = 32
"""Final blocks between two snapshots."""

PROPOSALS_REMEMBERED = 1024

_logger = logging.getLogger(__name__)


class ShardObserver:
    """Writes the final blocks of one shard.

    Attributes:
        node: The running node.
        state: Application and what a restart needs.
    """

    def __init__(self, place: ShardPlace, directory: Path) -> None:
        """Starts from the directory and the log.

        Raises:
            InvariantError: A final block on the log does not execute.
        """
        shard = place.shard
        self._place = place
        self._snapshot = directory / f"observer-{shard}.snapshot"
        self.state: ShardState = open_shard(place, self._snapshot)
        identity = identity_of(place.genesis, shard, None, None)
        application = self.state.application
        config = observer_config(place.configuration)
        blocks = shard_blocks(place.log, shard)
        tip, recent = replay(application, identity, self.state.tip, blocks, config.retained_blocks)
        application.take_dropped()
        topics, reader = message_topics(shard), f"observer-{shard}"
        self._feeds = ShardFeeds(application, shard, place.log, reader)
        parts = NodeParts(
            place.log,
            identity,
            topics,
            application,
            self._feeds.topics,
            self.state.positions,
            reader,
            place.metrics,
        )
        self.node = start_node(
            parts,
            tip=tip,
            recent=recent,
            journal=None,
            config=config,
            slot_at=place.genesis.slot_at,
            on_final=self._on_final,
        )
        self.node.on_message = self._on_message
        self._rewind(set(topics.values()))
        self._outputs: list[Append] = []
        self._proposed: dict[bytes, int] = {}
        self._since_snapshot = 0
        self._epoch: int | None = None

    def pump(self, now_millis: int) -> bool:
        """Takes in what the log has and writes what became final.

        Raises:
            FencedError: Another observer of the shard was started.
            HaltedError: The core has raised an alarm.
        """
        is_busy = self.node.pump(now_millis)
        dropped = self.state.application.take_dropped()
        if dropped:
            self._outputs += self._drop(dropped, now_millis)
        if self._outputs:
            self.node.reader.commit(self._outputs)
            self._outputs = []
        if self._since_snapshot >= SNAPSHOT_BLOCKS:
            self.save()
        return is_busy

    def save(self) -> None:
        """Writes a snapshot."""
        positions = self._feeds.positions(self.node.reader.positions())
        self.state.save(self._snapshot, self.node.core.tip, positions)
        self._since_snapshot = 0

    def next_tick(self) -> int | None:
        """See `ConsensusNode.next_tick`."""
        return self.node.next_tick()

    def measure(self) -> None:
        """Records where it stands."""
        self.node.measure()

    def close(self) -> None:
        """Drains: writes a snapshot if anything is new and the log holds all that follows from it."""
        if self._since_snapshot and not self._outputs:
            self.save()
        self.node.close()

    def _rewind(self, topics: set[str]) -> None:
        """Reads messages again from before the last commit, which may belong to blocks not final then."""
        reader = self.node.reader
        committed = reader.committed()
        for topic in topics:
            at = min(reader.positions()[topic, 0], committed[topic, 0])
            reader.seek(topic, 0, max(0, at - MESSAGE_REWIND))

    def _on_message(self, record: StoredRecord, message: bytes) -> None:
        """Notes when a block's proposal was stored."""
        if record.topic != shard_topic("proposals", self._place.shard):
            return
        try:
            decoded = decode_message(message)
        except WireError:
            return
        if isinstance(decoded, Proposal):
            self._proposed.setdefault(decoded.block.hash, record.append_millis)
            while len(self._proposed) > PROPOSALS_REMEMBERED:
                del self._proposed[next(iter(self._proposed))]

    def _on_final(self, block: Block, certificate: Certificate, at_millis: int) -> None:
        self._since_snapshot += 1
        header, genesis, shard = block.header, self._place.genesis, self._place.shard
        window = genesis.window_of(header.slot)
        row = block_row(
            header,
            block.payload,
            encode_certificate(certificate),
            proposed_millis=self._proposed.get(block.hash, at_millis),
            certified_millis=at_millis,
        )
        epoch = genesis.epoch_of(window)
        if self._epoch is not None and epoch > self._epoch:
            ids = {"shard": shard, "epoch": self._epoch, "height": header.height}
            _logger.info("an epoch is sealed by the first block after it", extra=ids)
        self._epoch = epoch
        self._record(block, at_millis)
        self._outputs.append(_append(shard_topic("blocks", shard), BLOCKS, [row]))
        receipts = [
            {
                "digest": stored.digest,
                "state": ReceiptState.BFT_FINAL.value,
                "shard": shard,
                "at_millis": at_millis,
                "submitted_millis": stored.submitted_millis,
                "height": header.height,
                "window": window,
                "epoch": epoch,
                "signers": list(certificate.signers),
            }
            for stored in self.state.application.final.rows
        ]
        if receipts:
            self._outputs.append(_append(RECEIPTS_TOPIC, RECEIPTS, receipts))

    def _record(self, block: Block, at_millis: int) -> None:
        metrics, shard = self._place.metrics, str(self._place.shard)
        metrics.count(FINAL_BLOCKS, shard)
        metrics.count(FINAL_TRANSACTIONS, shard, by=block.header.transaction_count)
        proposed = self._proposed.get(block.hash)
        if proposed is not None:
            metrics.observe(CERTIFICATE_SECONDS, (at_millis - proposed) / 1000, shard)
        for stored in self.state.application.final.rows:
            metrics.observe(SUBMISSION_SECONDS, (at_millis - stored.sent_millis) / 1000, shard)

    def _drop(
        self, dropped: Iterable[tuple[Candidate, RejectionReason]], now_millis: int
    ) -> list[Append]:
        """Returns the dead letters and receipts of transactions that can never be executed."""
        topic = shard_topic("tx", self._place.shard)
        letters: list[dict[str, Any]] = []
        receipts: list[dict[str, Any]] = []
        for candidate, reason in dropped:
            stored = candidate.stored
            self._place.metrics.count(DEAD_LETTERS, ASSEMBLY, reason.value)
            letters.append(
                {
                    "stage": ASSEMBLY,
                    "reason": reason.value,
                    "detail": "admitted, but no block could hold it in time",
                    "topic": topic,
                    "partition": 0,
                    "offset": stored.offset,
                    "row": stored.row,
                    "schema": TRANSACTIONS.fingerprint,
                    "attempt": 1,
                    "original": stored.body + stored.signature,
                    "rejected_millis": now_millis,
                    "digest": stored.digest,
                }
            )
            receipts.append(
                {
                    "digest": stored.digest,
                    "state": ReceiptState.REJECTED.value,
                    "shard": self._place.shard,
                    "at_millis": now_millis,
                    "submitted_millis": stored.submitted_millis,
                    "reason": reason.value,
                }
            )
        return [
            _append(REJECTED_TOPIC, REJECTED, letters),
            _append(RECEIPTS_TOPIC, RECEIPTS, receipts),
        ]


def _append(topic: str, table: Table, rows: Sequence[Mapping[str, Any]]) -> Append:
    headers, body = encode(table, table.batch(rows))
    return Append(topic, [Record(body, headers)])
