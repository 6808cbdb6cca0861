"""The pyramid's process: follows the beacon, plans recursive proofs as jobs, and keeps the proofs that come back.

It keeps nothing of its own but files named by content. At every start it folds the log again: what the beacon has
accepted decides the trees, and a node with a proof on file is done. A job is planned when the proofs below it are
on file; planning it twice changes nothing, because a job's id is what it proves.
"""

from __future__ import annotations

import hashlib
import logging
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from operators.beacon_start import BeaconPlace, open_planner
from operators.consensus_chain import genesis_tip
from operators.day_files import day_path
from operators.event_log import EventLog, LogReader, StoredRecord
from operators.final_headers import FinalHeaders
from operators.final_history import CertifiedChain, blocks_in
from operators.log_schemas import registry_of
from operators.metrics import NO_METRICS, Metrics
from operators.proof_files import write_once, write_proof
from operators.proof_shelf import Place, ProofShelf
from operators.prover_role import record_of
from operators.pyramid_planner import PyramidPlanner, links_of_row
from operators.pyramid_tree import Node, Segment, work_of
from operators.record_input import input_of
from operators.validator import identity_of
from proving.backends.port import Hasher
from proving.errors import ProofError
from proving.kinds import kind_numbered
from proving.ledger.trace import statement_digest
from proving.recursion.pyramid_work import encode_work, said_bytes
from proving.recursion.span import Span
from proving.segment_proofs import verify_segment
from schemas.beacon_payload import ProofReference, decode_acceptances
from schemas.errors import InvariantError
from schemas.job import PROOF_LOST, JobEnvelope, JobEvent, ProofLevel
from schemas.metrics import KEPT_PROOFS, WAITING_PROOFS
from schemas.tables import CONSENSUS, JOBS, PROOFS, WINDOWS, SchemaRegistry, Table
from schemas.topics import BEACON, BEACON_SHARD, shard_topic
from schemas.topics import PROOFS as PROOFS_TOPIC

LOGGER = logging.getLogger(__name__)

POLL_RECORDS = 64
"""Records per poll; a record of proofs may have a megabyte."""

NAME = "pyramid"
"""Name of its reader on the log, and of the worker in the events that it writes."""


@dataclass(slots=True)
class PyramidRole:
    """The process; `pump` is one round of its loop.

    Attributes:
        log: An open log of its own.
        data: Data directory; proofs lie below it.
        chain: The beacon's final blocks, certificates checked.
        planner: What is to be proven.
        headers: Certified headers of every shard.
        window_of: Window of a slot.
        hasher: Poseidon2.
        minimum_bits: Proven bits that a proof needs.
        end_window: What begins there or later is not planned; None to plan all.
        waiting: Planned nodes without a proof, by level and digest of what they say, children first.
        metrics: Where proofs are recorded.
    """

    log: EventLog
    data: Path
    chain: CertifiedChain
    planner: PyramidPlanner
    headers: Sequence[FinalHeaders]
    window_of: Callable[[int], int]
    hasher: Hasher
    minimum_bits: int
    end_window: int | None = None
    waiting: dict[Place, Node] = field(default_factory=dict)
    metrics: Metrics = NO_METRICS
    _asked: set[Place] = field(default_factory=set)
    _has_news: bool = True
    _registry: SchemaRegistry = field(init=False)
    _reader: LogReader = field(init=False)
    _shelf: ProofShelf = field(init=False)

    def __post_init__(self) -> None:
        """Opens the reader, which fences one started before, and begins at the log's start."""
        self._registry = registry_of(self.log)
        self._shelf = ProofShelf(self.log, self.data, self.hasher, self.minimum_bits)
        topics = [BEACON, PROOFS_TOPIC]
        shards = range(len(self.planner.shards))
        topics += [shard_topic(stem, shard) for stem in ("windows", "blocks") for shard in shards]
        self._reader = self.log.reader(NAME, topics)
        for topic in topics:
            self._reader.seek(topic, 0, self.log.first_offset(topic))

    def pump(self, now_millis: int) -> bool:
        """Takes in what the log has, and plans what can be proven.

        Raises:
            FencedError: Another process of this kind was started.
        """
        records = self._reader.poll(POLL_RECORDS)
        ended: list[Mapping[str, Any]] = []
        for record in records:
            ended += self._take(record, now_millis)
        self._follow_blocks()
        for tree in self.planner.plan():
            if self.end_window is None or tree.said.first_window < self.end_window:
                self._enter(tree)
                self._has_news = True
        planned: list[Mapping[str, Any]] = []
        if self._has_news and len(records) < POLL_RECORDS:
            planned, self._has_news = list(self._planned(now_millis)), False
        if planned or ended:
            self._reader.commit([record_of(JOBS, [row]) for row in [*planned, *ended]])
        return bool(records)

    def next_tick(self) -> int | None:
        """News alone moves it."""
        return None

    def measure(self) -> None:
        """Records how many proofs are missing."""
        waiting = Counter(node.level for node in self.waiting.values())
        for level in ProofLevel:
            if level is not ProofLevel.SEGMENT:
                self.metrics.set(WAITING_PROOFS, waiting[level], level.value)

    def close(self) -> None:
        """Nothing is held back."""

    def _take(self, record: StoredRecord, now_millis: int) -> Iterator[Mapping[str, Any]]:
        """Takes a record; yields the rows that end jobs."""
        if record.topic == BEACON:
            for row in self._rows(CONSENSUS, record):
                for block, certificate in blocks_in(row):
                    for final in self.chain.take(block, certificate):
                        self._accept(final.payload)
        elif record.topic == PROOFS_TOPIC:
            for row in self._rows(PROOFS, record):
                self._shelf.note(record.offset, row)
                if row["level"] != ProofLevel.SEGMENT and self._keep(row):
                    yield self._event(bytes(row["job_id"]), JobEvent.ACCEPTED, now_millis)
        elif record.topic.startswith("blocks."):
            self.headers[int(record.topic.removeprefix("blocks."))].take(record)
        else:
            for row in self._rows(WINDOWS, record):
                links = links_of_row(row, len(self.planner.shards))
                if links is not None:
                    self.planner.see_links(row["shard"], row["window"], links)

    def _follow_blocks(self) -> None:
        """Tells the planner which windows are over: those before the block that follows the accepted ones."""
        for shard, progress in enumerate(self.planner.shards):
            headers = self.headers[shard]
            headers.forget(progress.height)
            following = headers.headers.get(progress.height + 1)
            if following is not None:
                self.planner.reach(shard, self.window_of(following.slot))

    def _accept(self, payload: bytes) -> None:
        """Takes the windows that a final beacon block accepts, and puts their proofs on file."""
        for window in decode_acceptances(payload).windows:
            self.planner.accept([self._segment(reference) for reference in window.proofs])

    def _segment(self, reference: ProofReference) -> Segment:
        """Returns what an accepted proof shows.

        Raises:
            InvariantError: The log does not hold the proof any more.
        """
        for record in self.log.read(PROOFS_TOPIC, reference.offset, 1):
            rows = self._rows(PROOFS, record)
            proof = bytes(rows[reference.row]["proof"]) if reference.row < len(rows) else b""
            if record.offset == reference.offset and _sha256(proof) == reference.sha256:
                statement, verdict = verify_segment(proof, self.hasher, self.minimum_bits)
                digest = statement_digest(statement, self.hasher)
                write_proof(self.data, ProofLevel.SEGMENT, digest, proof)
                self._shelf.note(record.offset, rows[reference.row])
                return Segment(statement, kind_numbered(verdict.kind).name)
        raise InvariantError(
            f"the accepted proof proofs/{reference.offset}/{reference.row} is gone"
        )

    def _enter(self, tree: Node) -> None:
        """Enters the nodes of a tree that have no proof."""
        for node in tree.nodes():
            place = self._shelf.place_of(node)
            if place in self.waiting:
                continue
            if node.level is ProofLevel.DAY:
                proof = self._shelf.find(node)
                if proof is not None:
                    self._publish(node, proof)
                    continue
            elif self._shelf.is_there(node):
                continue
            self.waiting[place] = node

    def _keep(self, row: Mapping[str, Any]) -> bool:
        """Puts a proof of a waiting node on file; says whether the row holds one."""
        digest, proof = bytes(row["statement_digest"]), bytes(row["proof"])
        place = (row["level"], digest)
        node = self.waiting.get(place)
        if node is None:
            return False
        try:
            self._shelf.keep(node, proof)
        except ProofError as error:
            ids = {"proof_level": node.level.value, "proof": digest.hex()}
            LOGGER.warning("a proof does not hold: %s", error, extra=ids)
            return False
        self._publish(node, proof)
        del self.waiting[place]
        self.metrics.count(KEPT_PROOFS, node.level.value)
        self._has_news = True
        return True

    def _publish(self, node: Node, proof: bytes) -> None:
        """Puts a day's last proof where light clients look for it, beside its certificate."""
        if node.level is ProofLevel.DAY:
            day = node.said.first_window // self.planner.clock.windows_per_day
            write_once(day_path(self.data, day, "proof"), proof)

    def _planned(self, now_millis: int) -> Iterator[Mapping[str, Any]]:
        """Yields the rows that plan the nodes whose children are proven, each once per start."""
        todo = deque(self.waiting.items())
        while todo:
            place, node = todo.popleft()
            if place in self._asked:
                continue
            work = work_of(node, lambda child: self._child(child, todo))
            if work is None:
                continue
            self._asked.add(place)
            envelope = envelope_of_node(node, encode_work(work))
            detail = PROOF_LOST if self._shelf.was_damaged(node) else None
            yield self._event(
                envelope.job_id, JobEvent.PLANNED, now_millis, envelope.to_bytes(), detail
            )

    def _child(self, child: Segment | Node, todo: deque[tuple[Place, Node]]) -> bytes | None:
        """Returns a child's proof; one whose file turned out damaged waits again, and its job is planned again."""
        proof = self._shelf.find(child)
        if proof is None and isinstance(child, Node):
            place = self._shelf.place_of(child)
            if place not in self.waiting:
                self.waiting[place] = child
                self._asked.discard(place)
                todo.append((place, child))
        return proof

    def _event(
        self,
        job_id: bytes,
        event: JobEvent,
        now_millis: int,
        envelope: bytes | None = None,
        detail: str | None = None,
    ) -> Mapping[str, Any]:
        return {
            "job_id": job_id,
            "event": event.value,
            "attempt": 0,
            "worker": "" if event is JobEvent.PLANNED else NAME,
            "at_millis": now_millis,
            "lease_until_millis": 0,
            "envelope": envelope,
            "detail": detail,
        }

    def _rows(self, table: Table, record: StoredRecord) -> list[dict[str, Any]]:
        batch = input_of(record, table, self._registry).batch
        rows: list[dict[str, Any]] = [] if batch is None else batch.to_pylist()
        return rows


def open_pyramid(place: BeaconPlace, data: Path, end_window: int | None = None) -> PyramidRole:
    """Returns the process of a chain's pyramid; proofs go below `data`, what begins at `end_window` or later is left."""
    identity = identity_of(place.genesis, BEACON_SHARD, None, None)
    tip = genesis_tip(place.genesis.chain, BEACON_SHARD)
    chain = CertifiedChain(identity, tip.hash, tip.height)
    minimum = place.configuration.proving.minimum_proven_bits
    headers = []
    for shard in range(place.genesis.shards):
        mine = identity_of(place.genesis, shard, None, None)
        registry = registry_of(place.log)
        headers.append(FinalHeaders(mine.committee, mine.verifier, registry=registry))
    return PyramidRole(
        place.log,
        data,
        chain,
        open_planner(place.genesis, place.configuration.clock, place.hasher),
        headers,
        place.genesis.window_of,
        place.hasher,
        minimum,
        end_window,
        metrics=place.metrics,
    )


def envelope_of_node(node: Node, witness: bytes) -> JobEnvelope:
    """Returns the job that proves a node; a node of all shards has the beacon's place."""
    said = node.said
    shard, segment = (
        (said.shard, said.first_segment) if isinstance(said, Span) else (BEACON_SHARD, 0)
    )
    return JobEnvelope(node.level, shard, said.first_window, segment, said_bytes(said), witness)


def _sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()
