"""Proves trees of the pyramid from their segments up, each node once: proofs are kept on disk by what they say.

Benches and campaigns that need a proven day make it so, and find it again on their next run.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from operators.proof_files import proof_path, write_once
from operators.pyramid_tree import Node, Segment, work_of
from pipelines.progress import Progress
from proving.backends.port import Backend
from proving.errors import ProofError
from proving.kinds import kind_named
from proving.ledger.trace import statement_digest
from proving.ledger.witness import SegmentWitness
from proving.recursion.pyramid_work import PROOF_LIMIT, prove_work, said_digest, verify_said
from proving.recursion.wrap import WRAP_KIND
from proving.segment_proofs import prove_segment, verify_segment
from schemas.errors import InvariantError
from schemas.job import ProofLevel
from schemas.statement import SegmentStatement

Place = Segment | Node

PREPARED = "prepared"
"""Folder below the data directory."""


def prepared_folder(data: Path) -> Path:
    """Returns where proofs of the present keys lie; the last key pins all below it."""
    return data / PREPARED / kind_named(WRAP_KIND).key_digest[:16]


@dataclass(slots=True)
class TreeProver:
    """Proves nodes and remembers their proofs.

    Attributes:
        folder: Where proofs are kept.
        backend: Does the arithmetic.
        report: Progress, a step a node.
        proofs: Proofs of this process, by what they prove.
        made: Proofs that were made and not found.
    """

    folder: Path
    backend: Backend
    report: Progress
    proofs: dict[Place, bytes] = field(default_factory=dict)
    made: int = 0

    def prove(
        self, trees: Iterable[Place], witnesses: Mapping[SegmentStatement, SegmentWitness]
    ) -> list[bytes]:
        """Returns the proofs of trees or segments; a proof on file is verified before it is taken.

        Args:
            trees: What is equal in several is proven once.
            witnesses: Of all their segments.

        Raises:
            ProofError: A proof that was just made does not hold.
            LogFull: A proof cannot be written.
        """
        listed = list(trees)
        places = list(dict.fromkeys(place for tree in listed for place in _places(tree)))
        wanted = [place for place in places if place not in self.proofs]
        self.report.phase("proofs to start from", len(wanted))
        for place in wanted:
            self.proofs[place] = self._find(place) or self._make(place, witnesses)
            self.report.advance(1)
        return [self.proofs[tree] for tree in listed]

    def path(self, place: Place) -> Path:
        """Returns where the proof of a node or segment is kept."""
        if isinstance(place, Segment):
            digest = statement_digest(place.statement, self.backend)
            return proof_path(self.folder, ProofLevel.SEGMENT, digest)
        return proof_path(self.folder, place.level, said_digest(place.said, self.backend))

    def _find(self, place: Place) -> bytes | None:
        try:
            with self.path(place).open("rb") as file:
                proof = file.read(PROOF_LIMIT + 1)
        except FileNotFoundError:
            return None
        try:
            self._verify(place, proof)
        except ProofError:
            self.path(place).unlink()
            return None
        return proof

    def _make(self, place: Place, witnesses: Mapping[SegmentStatement, SegmentWitness]) -> bytes:
        if isinstance(place, Segment):
            proof = prove_segment(witnesses[place.statement], self.backend).data
        else:
            work = work_of(place, self.proofs.get)
            if work is None:
                raise InvariantError("a child comes before its parent")
            proof = prove_work(work, self.backend)[1]
        self._verify(place, proof)
        write_once(self.path(place), proof)
        self.made += 1
        return proof

    def _verify(self, place: Place, proof: bytes) -> None:
        if isinstance(place, Segment):
            shown, _ = verify_segment(proof, self.backend)
            if shown != place.statement:
                raise InvariantError("a segment's proof is of another statement")
            return
        is_wrapped = place.level is ProofLevel.DAY
        verify_said(place.said, proof, self.backend, is_wrapped=is_wrapped)


def _places(tree: Place) -> Iterator[Place]:
    """Yields segments and nodes of a tree, children first."""
    if isinstance(tree, Segment):
        yield tree
        return
    for node in tree.nodes():
        for child in node.children:
            if isinstance(child, Segment):
                yield child
        yield node
