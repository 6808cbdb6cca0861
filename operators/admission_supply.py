"""What admission is given beside transactions: final blocks, each before the record that is judged after it.

While it judges anew, these are the newest that are known. When it starts again, verdicts on `admitted.<shard>` say how
many there were, so that every record is judged by the same blocks as the first time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from operators.admission_view import AdmissionView
from operators.event_log import EventLog, StoredRecord
from operators.topic_view import TopicView
from schemas.tables import ADMITTED
from schemas.topics import shard_topic

READ_RECORDS = 256

KEPT_VERDICTS = 65_536
"""Verdicts that stay known: many times what may be judged between two snapshots. Older ones are read from the log again."""


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
    _ends: dict[int, int | None] = field(default_factory=dict)
    _judged: int | None = None
    _looked: tuple[int, int] = (0, 0)

    def __call__(self, state: AdmissionView, records: Sequence[StoredRecord]) -> list[StoredRecord]:
        """Returns the records with the blocks that the state lacks."""
        at = state.blocks_end
        found: list[StoredRecord] = []
        for record in records:
            end = self._end_of(record.offset)
            blocks = [] if end is None else self._blocks(at, end)
            at = blocks[-1].offset + 1 if blocks else at
            found += [*blocks, record]
        return found

    def take_verdicts(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Notes verdicts that the log has."""
        for row in rows:
            offset = int(row["source_offset"])
            self._ends[offset] = row["blocks_end"]
            self._judged = max(offset, -1 if self._judged is None else self._judged)
        while len(self._ends) > KEPT_VERDICTS:
            del self._ends[next(iter(self._ends))]

    def _end_of(self, offset: int) -> int | None:
        """Returns the offset after the last block that a record is judged by; None where its verdict says nothing."""
        if self._judged is None or offset < next(iter(self._ends), offset):
            self._read_verdicts(offset)
        is_new = self._judged is None or offset > self._judged
        return self.newest if is_new else self._ends.get(offset)

    def _read_verdicts(self, offset: int) -> None:
        """Takes the verdicts on a record and on all behind it, as many as are kept."""
        view, topic = TopicView(self.log), shard_topic("admitted", self.shard)
        self._ends, self._judged = {}, -1
        for row in view.rows(topic, ADMITTED, self._first_verdict(view, topic, offset)):
            if row["source_offset"] >= offset and len(self._ends) < KEPT_VERDICTS:
                self._ends[row["source_offset"]] = row["blocks_end"]
            self._judged = max(self._judged, row["source_offset"])

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

    def _blocks(self, start: int, end: int) -> list[StoredRecord]:
        """Reads records; that nothing is left in a range, but a log's own markers, is asked once."""
        if start >= end or (start == self._looked[0] and end <= self._looked[1]):
            return []
        topic, at = shard_topic("blocks", self.shard), start
        found: list[StoredRecord] = []
        while at < end and (records := self.log.read(topic, at, READ_RECORDS)):
            found += [record for record in records if record.offset < end]
            at = records[-1].offset + 1
        self._looked = (found[-1].offset + 1 if found else start, end)
        return found
