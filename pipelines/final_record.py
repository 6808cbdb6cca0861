"""What the log says became of the transactions of a stretch of `tx.<shard>`: admitted when, final when, or dropped.

Counted from blocks, verdicts and dead letters by place, so that a transaction that is final twice, or neither final nor
dropped, is found whatever receipts say.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field

import numpy as np

from operators.block_payload import decode_payload
from operators.topic_view import TopicView
from schemas.errors import InvariantError
from schemas.tables import ADMITTED, BLOCKS, REJECTED
from schemas.topics import REJECTED as REJECTED_TOPIC
from schemas.topics import shard_topic


@dataclass(slots=True)
class FinalRecord:
    """Follows the log from the ends at which it is made, or from its start.

    Attributes:
        view: The log.
        shard: Shard number.
        is_from_start: Whether it begins at the first records.
        final: Places that are final.
        refused: Places that a dead letter names, refused or dropped.
        twice: Places that were final more than once.
        admitted_millis: When the records of transactions were judged, by offset.
        admitted: UTC milliseconds of admission of what is final, in the order of blocks.
        certified: UTC milliseconds of finality, likewise.
        offsets: Offset of the record of each, likewise.
        blocks: Blocks with transactions.
    """

    view: TopicView
    shard: int
    is_from_start: bool = False
    final: set[tuple[int, int]] = field(default_factory=set)
    refused: set[tuple[int, int]] = field(default_factory=set)
    twice: int = 0
    admitted_millis: dict[int, int] = field(default_factory=dict)
    admitted: array[int] = field(default_factory=lambda: array("q"))
    certified: array[int] = field(default_factory=lambda: array("q"))
    offsets: array[int] = field(default_factory=lambda: array("q"))
    blocks: int = 0
    _at: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Begins at the ends, or at the start."""
        stems = ("admitted", "blocks")
        topics = [*(shard_topic(stem, self.shard) for stem in stems), REJECTED_TOPIC]
        self._at = {topic: 0 if self.is_from_start else self.view.end(topic) for topic in topics}

    def read(self) -> bool:
        """Takes in what is new; says whether anything was.

        Raises:
            WireError: A row of blocks is none.
            InvariantError: A block holds what admission has not judged.
        """
        blocks_topic, admitted_topic = (shard_topic(s, self.shard) for s in ("blocks", "admitted"))
        ends = {topic: self.view.end(topic) for topic in self._at}
        if ends == self._at:
            return False
        for row in self.view.rows(REJECTED_TOPIC, REJECTED, self._at[REJECTED_TOPIC]):
            if row["topic"] == shard_topic("tx", self.shard):
                self.refused.add((row["offset"], row["row"]))
        blocks = list(self.view.placed_rows(blocks_topic, BLOCKS, self._at[blocks_topic]))
        # read after the blocks, so that whatever they hold has its verdict here
        for row in self.view.rows(admitted_topic, ADMITTED, self._at[admitted_topic]):
            self.admitted_millis[row["source_offset"]] = row["admitted_millis"]
        for _, row in blocks:
            self._take(row["payload"], row["certified_millis"])
        if blocks:  # there may be more than at the look at the ends, and markers that are no records before those
            ends[blocks_topic] = max(ends[blocks_topic], blocks[-1][0].offset + 1)
        self._at = ends
        return True

    @property
    def settled(self) -> int:
        """How many places are final or refused."""
        return len(self.final) + len(self.refused - self.final)

    def waits(self, first: int, end: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns milliseconds from admission to finality of what is final of a range, and when it was admitted."""
        offsets, admitted, certified = (
            np.frombuffer(column, np.int64) if column else np.zeros(0, np.int64)
            for column in (self.offsets, self.admitted, self.certified)
        )
        inside = (offsets >= first) & (offsets < end)
        return (certified - admitted)[inside].astype(float), admitted[inside]

    def _take(self, payload: bytes, certified_millis: int) -> None:
        references = decode_payload(payload).references
        self.blocks += bool(references)
        for one in references:
            place = (one.offset, one.row)
            if place in self.final:
                self.twice += 1
                continue
            admitted = self.admitted_millis.get(one.offset)
            if admitted is None:
                raise InvariantError(f"transaction {place} is final and has no verdict on the log")
            self.final.add(place)
            self.offsets.append(one.offset)
            self.admitted.append(admitted)
            self.certified.append(certified_millis)
