"""The proofs that the beacon judges: on the log, found by what they claim, verified once each.

The log is trusted with nothing. A proof is looked at only when it is the next of its window; its bytes are read
then and not kept.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from operators.beacon_runs import Place, RunShelf
from operators.event_log import StoredRecord
from operators.record_input import input_of
from proving.backends.port import Hasher
from proving.errors import ProofError
from proving.segment_proofs import verify_segment
from schemas.beacon_payload import ProofReference
from schemas.errors import WireError
from schemas.job import ProofLevel, job_id_of
from schemas.statement import SegmentStatement, decode_statement
from schemas.tables import PROOFS, SchemaRegistry
from schemas.topics import PROOFS as PROOFS_TOPIC

_logger = logging.getLogger(__name__)

Segment = tuple[int, int, int]
"""Shard, window, position."""


@dataclass(frozen=True, slots=True)
class VerifiedProof:
    """A proof that holds.

    Attributes:
        reference: Where it is.
        statement: What it shows.
        proven_bits: Soundness.
    """

    reference: ProofReference
    statement: SegmentStatement
    proven_bits: int

    @property
    def job_id(self) -> bytes:
        """The job that the proof ends, whatever its record says."""
        shown = self.statement
        place = (shown.shard, shown.window, shown.segment)
        return job_id_of(ProofLevel.SEGMENT, place, shown.preimage())


@dataclass(slots=True)
class ProofShelf:
    """Proofs of the log, found by the segment that they claim to show.

    Attributes:
        fetch: Reads the record at an offset of `proofs`, or None.
        hasher: Poseidon2.
        minimum_bits: Proven bits that a proof needs.
        end: Offset after the last record taken.
        claims: Places of the proofs of each segment, in log order.
        registry: The schemas that can be read.
        runs: The proofs about all shards, which lie on the same topic.
    """

    fetch: Callable[[int], StoredRecord | None]
    hasher: Hasher
    minimum_bits: int
    end: int = 0
    claims: dict[Segment, list[Place]] = field(default_factory=dict)
    registry: SchemaRegistry = field(default_factory=SchemaRegistry)
    runs: RunShelf = field(init=False)
    _verdicts: dict[Place, VerifiedProof | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Makes the shelf of the proofs about all shards, which reads rows as this one does."""
        self.runs = RunShelf(self._row, self.hasher, self.minimum_bits)

    def take(self, record: StoredRecord) -> None:
        """Takes a record of `proofs`; rows that claim nothing sensible are passed over."""
        self.end = record.offset + 1
        for position, row in enumerate(self._rows(record)):
            if row["level"] == ProofLevel.DAY_RUN:
                self.runs.take((record.offset, position), row)
            if row["level"] != ProofLevel.SEGMENT:
                continue
            try:
                claim = decode_statement(row["statement"])
            except WireError as error:
                ids = {"topic": PROOFS_TOPIC, "offset": record.offset, "row": position}
                _logger.warning("a row is passed over: %s", error, extra=ids)
                continue
            segment = (claim.shard, claim.window, claim.segment)
            places = self.claims.setdefault(segment, [])
            if (record.offset, position) not in places:
                places.append((record.offset, position))

    def is_known(self, place: Place) -> bool:
        """Whether a place's verdict is known."""
        return place in self._verdicts

    def verified(self, place: Place) -> VerifiedProof | None:
        """Returns the proof at a place, verified at the first call; None when it does not hold."""
        if place not in self._verdicts:
            self._verdicts[place] = self._verify(place)
        return self._verdicts[place]

    def forget(self, shard: int, window: int) -> None:
        """Drops the proofs of a shard's windows up to one."""
        for segment in [s for s in self.claims if s[0] == shard and s[1] <= window]:
            for place in self.claims.pop(segment):
                self._verdicts.pop(place, None)

    def first_needed(self) -> int:
        """Returns the lowest offset of a proof that is not dropped."""
        offsets = [place[0] for places in self.claims.values() for place in places]
        offsets += self.runs.offsets()
        return min(offsets, default=self.end)

    def proof_bytes(self, reference: ProofReference) -> bytes | None:
        """Reads a proof's bytes from the log."""
        row = self._row((reference.offset, reference.row))
        return None if row is None else bytes(row["proof"])

    def _verify(self, place: Place) -> VerifiedProof | None:
        row = self._row(place)
        if row is None:
            return None
        try:
            statement, verdict = verify_segment(row["proof"], self.hasher, self.minimum_bits)
        except ProofError as error:
            ids = {"topic": PROOFS_TOPIC, "offset": place[0], "row": place[1]}
            _logger.warning("a proof does not hold: %s", error, extra=ids)
            return None
        digest = hashlib.sha256(row["proof"]).digest()
        reference = ProofReference(*place, digest)
        return VerifiedProof(reference, statement, verdict.proven_bits)

    def _row(self, place: Place) -> dict[str, Any] | None:
        record = self.fetch(place[0])
        rows = [] if record is None else self._rows(record)
        return rows[place[1]] if place[1] < len(rows) else None

    def _rows(self, record: StoredRecord) -> list[dict[str, Any]]:
        batch = input_of(record, PROOFS, self.registry).batch
        rows: list[dict[str, Any]] = [] if batch is None else batch.to_pylist()
        return rows
