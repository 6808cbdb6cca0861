"""What admission is given beside transactions: final blocks, each before the record that is judged after it.

While it judges anew, these are the newest that are known. When it starts again, verdicts on `admitted.<shard>` say how
many there were, so that every record is judged by the same blocks as the first time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from operators.admission_view import AdmissionView
from operators.event_log import EventLog, StoredRecord
from operators.topic_view import TopicView
from schemas.tables import ADMITTED
from schemas.topics import shard_topic

STEP_RECORDS = 64
"""Records of blocks in one step at most, so that few are in memory at once however many there are."""

RECENT_RECORDS = 256
"""Records of blocks that are kept until the next transaction; with more, they are read from the log again."""


@dataclass(slots=True)
class AdmissionSupply:
    """Puts blocks between the records of `tx.<shard>`; a `StageDriver.supply`.

    Attributes:
        log: The log.
        shard: Shard number.
        newest: Offset after the last block that a record judged anew is judged by.
    """

    log: EventLog
    shard: int
    newest: int = 0
    _recent: list[StoredRecord] = field(default_factory=list)
    _recent_from: int = 0
    _looked: tuple[int, int] = (0, 0)
    _read: tuple[int, int] = (2**63, 0)

    def __post_init__(self) -> None:
        """Has been given nothing yet."""
        self.begin(self.newest)

    def begin(self, newest: int) -> None:
        """Is told from where on records are given to `take`."""
        self.newest = self._recent_from = newest

    def __call__(
        self, state: AdmissionView, records: Sequence[StoredRecord], is_new: bool
    ) -> Iterator[list[StoredRecord]]:
        """Yields the records with the blocks that the state lacks."""
        if not records:
            return
        if is_new:
            self._recent = [one for one in self._recent if one.offset >= state.blocks_end]
            self._recent_from = max(self._recent_from, state.blocks_end)
        ends = {} if is_new else self._ends(records[0].offset, records[-1].offset)
        step: list[StoredRecord] = []
        at = state.blocks_end
        for record in records:
            end = self.newest if is_new else ends.get(record.offset)
            if end is not None and not self._is_empty(at, end):
                for blocks in self._blocks(at, end):
                    yield [*step, *blocks]
                    step, at = [], blocks[-1].offset + 1
                self._looked = (at, end)
            step.append(record)
        yield step

    def take(self, blocks: Sequence[StoredRecord], newest: int) -> None:
        """Takes records of `blocks.<shard>` that follow those below `newest`, and where they were read to."""
        if not self._recent:
            self._recent_from = self.newest
        self._recent += blocks
        if len(self._recent) > RECENT_RECORDS:
            self._recent, self._recent_from = [], newest
        self.newest = newest

    def _is_empty(self, start: int, end: int) -> bool:
        """Whether nothing is there, or nothing was but a log's own markers when it was looked."""
        return start >= end or (start == self._looked[0] and end <= self._looked[1])

    def _blocks(self, start: int, end: int) -> Iterator[list[StoredRecord]]:
        begun, looked = self._looked
        covered = looked if start == begun else start
        if max(start, covered) >= self._recent_from and end <= self.newest:
            recent = [record for record in self._recent if start <= record.offset < end]
            for place in range(0, len(recent), STEP_RECORDS):
                yield recent[place : place + STEP_RECORDS]
            return
        topic = shard_topic("blocks", self.shard)
        while start < end and (records := self.log.read(topic, start, STEP_RECORDS)):
            start = records[-1].offset + 1
            if inside := [record for record in records if record.offset < end]:
                yield inside

    def _ends(self, first: int, last: int) -> dict[int, int | None]:
        """Returns how many blocks records were judged by, from their verdicts; a record with none is left out."""
        view, topic = TopicView(self.log), shard_topic("admitted", self.shard)
        judged, at = self._read
        if first < judged:
            at = self._first_verdict(view, topic, first)
        found: dict[int, int | None] = {}
        for record, row in view.placed_rows(topic, ADMITTED, at):
            offset = row["source_offset"]
            if first <= offset <= last:
                found.setdefault(offset, row["blocks_end"])
                at = record.offset
            if offset == last:
                break
        self._read = (last, at)
        return found

    def _first_verdict(self, view: TopicView, topic: str, offset: int) -> int:
        """Returns an offset of `admitted.<shard>` before which nothing is said about a record: verdicts come in its order."""
        low, high = self.log.first_offset(topic), self.log.end_offset(topic)
        while low < high:
            middle = (low + high) // 2
            rows = view.placed_rows(topic, ADMITTED, middle, 1)
            said = [row["source_offset"] for _, row in rows]
            if not said or max(said) >= offset:
                high = middle
            else:
                low = middle + 1
        return low
