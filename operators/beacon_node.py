"""The processes of the beacon: validators that vote on accepted windows, and the observer that writes them down.

They run beside the shard's own processes, because checking a proof takes longer than a block may.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from operators.beacon_start import (
    BeaconPlace,
    BeaconState,
    Feeds,
    genesis_boundaries,
    open_beacon,
)
from operators.consensus_messages import chains_of
from operators.consensus_node import (
    OBSERVER,
    ConsensusNode,
    FinalBlock,
    FinalSink,
    NodeIdentity,
    beacon_topics,
    message_record,
    shard_label,
)
from operators.day_files import DayWriter
from operators.equivocations import slash_rows
from operators.event_log import Append, EventLog, Record
from operators.final_history import beacon_blocks, replay
from operators.proof_files import write_proof
from operators.prover_role import record_of
from operators.shard_start import MESSAGE_REWIND
from operators.validator import NodeParts, core_config, identity_of, observer_config, start_node
from operators.vote_journal import VoteJournal
from proving.ledger.trace import statement_digest
from proving.signatures import KeyPair
from schemas.block import Block, Certificate
from schemas.errors import InvariantError
from schemas.job import JobEvent, ProofLevel
from schemas.metrics import ACCEPTED_PROOFS, FINAL_BLOCKS
from schemas.tables import JOBS, SLASHES, encode
from schemas.topics import BEACON, BEACON_SHARD, FAULTS

_logger = logging.getLogger(__name__)

FEED_RECORDS = 64
"""Records per read of the evidence at a start."""


class BeaconValidator:
    """The part of a validator that votes on the beacon.

    Attributes:
        node: The running node.
        state: Application and what a restart needs.
    """

    def __init__(self, place: BeaconPlace, index: int, pair: KeyPair, directory: Path) -> None:
        """Starts from the directory and the log.

        Raises:
            JournalError: The journal is another validator's, damaged, or in use.
            InvariantError: A final block on the log does not hold.
        """
        self._snapshot = directory / "beacon.snapshot"
        self._has_news = False
        directory.mkdir(parents=True, exist_ok=True)
        identity = identity_of(place.genesis, BEACON_SHARD, index, pair)
        journal = VoteJournal(
            directory / "beacon.journal",
            identity.committee.journal_identity(index),
            must_exist=self._snapshot.exists(),
        )
        self.state, self.node = _start(
            place,
            self._snapshot,
            identity,
            journal,
            on_final=self._on_final,
            reader=f"validator-{index}/beacon",
        )

    def pump(self, now_millis: int) -> bool:
        """See `ConsensusNode.pump`; writes a snapshot after every final block, which are few."""
        is_busy = self.node.pump(now_millis)
        if self._has_news:
            self.save()
        return is_busy

    def save(self) -> None:
        """Writes a snapshot and compacts the journal below it."""
        core = self.node.core
        self.state.save(self._snapshot, core.tip, _positions(self.node))
        if self.node.journal is not None:
            floor = max(core.tip.view, self.node.journal.floor)  # a restored one begins above
            self.node.journal.compact(floor, core.durable_records())
        self._has_news = False

    def next_tick(self) -> int | None:
        """See `ConsensusNode.next_tick`."""
        return self.node.next_tick()

    def measure(self) -> None:
        """See `ConsensusNode.measure`."""
        self.node.measure()

    def close(self) -> None:
        """Drains, and gives the journal back."""
        if self._has_news:
            self.save()
        self.node.close()

    def _on_final(self, block: Block, certificate: Certificate, at_millis: int) -> None:
        self._has_news = True


class BeaconObserver:
    """Writes what the beacon has accepted: its final blocks, ended jobs, slashes, proofs and days' certificates as files.

    A block, the jobs that it ends, the slashes in it and the reader's positions are one commit. Files are written before it, and
    a file that is there stays, so a kill between the two changes nothing.
    """

    def __init__(self, place: BeaconPlace, directory: Path, data: Path) -> None:
        """Starts from the directory and the log; proofs go below `data`.

        Raises:
            InvariantError: A final block on the log does not hold.
        """
        self._place, self._data = place, data
        self._snapshot = directory / "observer-beacon.snapshot"
        self._final: list[FinalBlock] = []
        self._ended: list[dict[str, Any]] = []
        self._slashes: list[dict[str, Any]] = []
        identity = identity_of(place.genesis, BEACON_SHARD, None, None)
        self.state, self.node = _start(
            place, self._snapshot, identity, None, on_final=self._on_final, reader="observer-beacon"
        )
        validators, rules = identity.committee.validators, self.state.application.rules
        self._days = DayWriter(data, validators, rules)
        self._days.write_start(genesis_boundaries(place.genesis, place.hasher))
        self._days.write(beacon_blocks(place.log))
        reader = self.node.reader
        at = min(reader.positions()[BEACON, 0], reader.committed()[BEACON, 0])
        reader.seek(BEACON, 0, max(0, at - MESSAGE_REWIND))

    def pump(self, now_millis: int) -> bool:
        """Takes in what the log has and writes what became final.

        Raises:
            FencedError: Another observer of the beacon was started.
            HaltedError: The core has raised an alarm.
        """
        is_busy = self.node.pump(now_millis)
        if self._final:
            self._days.write(self._final)
            records = [message_record(OBSERVER, run, now_millis) for run in chains_of(self._final)]
            outputs = [Append(BEACON, records)]
            if self._ended:
                outputs.append(record_of(JOBS, self._ended))
            if self._slashes:
                headers, body = encode(SLASHES, SLASHES.batch(self._slashes))
                outputs.append(Append(FAULTS, [Record(body, headers)]))
            self.node.reader.commit(outputs)
            self._final, self._ended, self._slashes = [], [], []
            self.state.save(self._snapshot, self.node.core.tip, _positions(self.node))
        return is_busy

    def next_tick(self) -> int | None:
        """See `ConsensusNode.next_tick`."""
        return self.node.next_tick()

    def measure(self) -> None:
        """See `ConsensusNode.measure`."""
        self.node.measure()

    def close(self) -> None:
        """Drains; nothing is held back."""
        self.node.close()

    def _on_final(self, block: Block, certificate: Certificate, at_millis: int) -> None:
        self._final.append((block, certificate))
        self._place.metrics.count(FINAL_BLOCKS, shard_label(BEACON_SHARD))
        application = self.state.application
        slashes = application.final.slashes
        self._slashes += slash_rows(slashes, block.header.height, block.hash, at_millis)
        for slash in slashes:
            place = {"validator": slash.evidence.first.signer, "height": block.header.height}
            _logger.warning(
                "a validator is slashed for %s", slash.evidence.offence.name, extra=place
            )
        for proof in application.final.accepted:
            data = application.shelf.proof_bytes(proof.reference)
            if data is None:
                raise InvariantError(f"the accepted proof proofs/{proof.reference.offset} is gone")
            digest = statement_digest(proof.statement, self._place.hasher)
            write_proof(self._data, ProofLevel.SEGMENT, digest, data)
            self._place.metrics.count(ACCEPTED_PROOFS, str(proof.statement.shard))
            self._ended.append(
                {
                    "job_id": proof.job_id,
                    "event": JobEvent.ACCEPTED.value,
                    "attempt": 0,
                    "worker": "beacon",
                    "at_millis": at_millis,
                    "lease_until_millis": 0,
                    "detail": f"proofs/{proof.reference.offset}/{proof.reference.row}",
                }
            )


def _start(
    place: BeaconPlace,
    snapshot: Path,
    identity: NodeIdentity,
    journal: VoteJournal | None,
    *,
    on_final: FinalSink,
    reader: str,
) -> tuple[BeaconState, ConsensusNode]:
    state = open_beacon(place, snapshot)
    is_observer = identity.own_index is None
    config = (observer_config if is_observer else core_config)(place.configuration)
    feeds = state.feeds()
    _read_feeds(place.log, state, feeds)
    tip, recent = replay(
        state.application, identity, state.tip, beacon_blocks(place.log), config.retained_blocks
    )
    parts = NodeParts(
        place.log,
        identity,
        beacon_topics(),
        state.application,
        feeds,
        state.positions,
        reader,
        place.metrics,
    )
    node = start_node(
        parts,
        tip=tip,
        recent=recent,
        journal=journal,
        config=config,
        slot_at=place.genesis.slot_at,
        on_final=on_final,
    )
    return state, node


def _read_feeds(log: EventLog, state: BeaconState, feeds: Feeds) -> None:
    """Takes the evidence that is on the log, which the final beacon blocks refer to."""
    for topic, take in feeds.items():
        at, end = state.positions.get(topic, 0), log.end_offset(topic)
        while at < end and (records := log.read(topic, at, FEED_RECORDS)):
            for record in records:
                take(record)
            at = records[-1].offset + 1
        state.positions[topic] = at


def _positions(node: ConsensusNode) -> dict[str, int]:
    return {topic: at for (topic, _), at in node.reader.positions().items()}
