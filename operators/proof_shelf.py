"""The pyramid's proofs: read from files, verified before they are used, and taken from the log again if damaged."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from operators.event_log import EventLog
from operators.proof_files import damaged_path, proof_path, set_aside, write_proof
from operators.pyramid_tree import Node, Segment
from operators.topic_view import TopicView
from proving.backends.port import Hasher
from proving.errors import ProofError, ProofRejected, RejectionReason
from proving.ledger.trace import statement_digest
from proving.recursion.pyramid_work import said_digest, verify_said
from proving.segment_proofs import verify_segment
from schemas.job import ProofLevel
from schemas.tables import PROOFS
from schemas.topics import PROOFS as PROOFS_TOPIC

_logger = logging.getLogger(__name__)

Place = tuple[str, bytes]
"""Level of a node, and the digest of what it says."""


@dataclass(slots=True)
class ProofShelf:
    """Proofs by what they show.

    Attributes:
        log: Where proofs came from.
        data: Data directory; files lie below it.
        hasher: Poseidon2.
        minimum_bits: Proven bits that a proof needs.
    """

    log: EventLog
    data: Path
    hasher: Hasher
    minimum_bits: int
    _offsets: dict[Place, list[int]] = field(default_factory=dict)
    _verified: dict[Place, bytes] = field(default_factory=dict)

    def place_of(self, node: Segment | Node) -> Place:
        """Returns where a node's proof lies."""
        if isinstance(node, Segment):
            return ProofLevel.SEGMENT.value, statement_digest(node.statement, self.hasher)
        return node.level.value, said_digest(node.said, self.hasher)

    def note(self, offset: int, row: Mapping[str, Any]) -> None:
        """Remembers that a record of `proofs` holds what is said to be a proof; it is believed when it is verified."""
        place = (str(row["level"]), bytes(row["statement_digest"]))
        offsets = self._offsets.setdefault(place, [])
        if offset not in offsets:
            offsets.append(offset)

    def is_there(self, node: Segment | Node) -> bool:
        """Says whether a node has a file, whatever it is worth, or a proof on the log that holds."""
        return self._path(self.place_of(node)).exists() or self.find(node) is not None

    def was_damaged(self, node: Node) -> bool:
        """Says whether a file of the node was set aside, so that its job may have to be run again."""
        return damaged_path(self._path(self.place_of(node))).exists()

    def find(self, node: Segment | Node) -> bytes | None:
        """Returns a node's proof, verified; a damaged file is set aside, and the log's proof takes its place.

        Raises:
            LogFull: The disk refuses.
        """
        place = self.place_of(node)
        path = self._path(place)
        try:
            proof = path.read_bytes()
        except FileNotFoundError:
            return self._restored(node, place)
        if self._holds(node, place, proof):
            return proof
        _logger.warning("%s is damaged, set aside as %s", path, set_aside(path).name)
        return self._restored(node, place)

    def keep(self, node: Node, proof: bytes) -> None:
        """Puts a node's proof on file.

        Raises:
            ProofError: It does not hold.
            LogFull: The disk refuses.
        """
        place = self.place_of(node)
        self._verify(node, proof)
        self._verified[place] = hashlib.sha256(proof).digest()
        write_proof(self.data, node.level, place[1], proof)

    def _path(self, place: Place) -> Path:
        return proof_path(self.data, ProofLevel(place[0]), place[1])

    def _restored(self, node: Segment | Node, place: Place) -> bytes | None:
        for offset in self._offsets.get(place, ()):
            for _, row in TopicView(self.log).placed_rows(PROOFS_TOPIC, PROOFS, offset, 1):
                if (row["level"], row["statement_digest"]) != place:
                    continue
                proof = bytes(row["proof"])
                if self._holds(node, place, proof):
                    write_proof(self.data, ProofLevel(place[0]), place[1], proof)
                    return proof
        return None

    def _holds(self, node: Segment | Node, place: Place, proof: bytes) -> bool:
        """Says whether a proof shows what a node says; the same bytes are verified once."""
        sha256 = hashlib.sha256(proof).digest()
        if self._verified.get(place) == sha256:
            return True
        try:
            self._verify(node, proof)
        except ProofError as error:
            _logger.warning("a proof of level %s does not hold: %s", place[0], error)
            return False
        self._verified[place] = sha256
        return True

    def _verify(self, node: Segment | Node, proof: bytes) -> None:
        if isinstance(node, Segment):
            shown, _ = verify_segment(proof, self.hasher, self.minimum_bits)
            if shown != node.statement:
                reason = RejectionReason.STATEMENT_MISMATCH
                raise ProofRejected(reason, "publics", "the segment's statement", "another")
            return
        is_wrapped = node.level is ProofLevel.DAY
        verify_said(node.said, proof, self.hasher, self.minimum_bits, is_wrapped=is_wrapped)
