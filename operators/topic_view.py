"""A log of single-partition topics as wallets, load testers and reports see it: rows in, rows out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from operators.event_log import EventLog, Record, StoredRecord
from operators.log_schemas import registry_of
from schemas.errors import WireError
from schemas.tables import SCHEMA_HEADER, SchemaRegistry, Table

CHUNK_RECORDS = 256


@dataclass(slots=True)
class TopicView:
    """Rows of one open log.

    Attributes:
        log: The log.
        registry: The schemas that can be read.
    """

    log: EventLog
    registry: SchemaRegistry = field(init=False)

    def __post_init__(self) -> None:
        """Looks for schemas of other versions on the log."""
        self.registry = registry_of(self.log)

    def append(self, topic: str, headers: tuple[tuple[str, bytes], ...], body: bytes) -> int:
        """Appends a record, durable when it returns, and returns its offset."""
        return self.log.append(topic, [Record(body, headers)])

    def rows(self, topic: str, table: Table, start: int = 0) -> Iterator[Mapping[str, Any]]:
        """Yields the rows that are there from offset `start` on; undecodable records are left out."""
        for _, row in self.placed_rows(topic, table, start):
            yield row

    def placed_rows(
        self, topic: str, table: Table, start: int = 0, count: int | None = None
    ) -> Iterator[tuple[StoredRecord, Mapping[str, Any]]]:
        """Yields rows like `rows`, of `count` records at most, each with the record that holds it."""
        for record in islice(self.records(topic, start), count):
            for row in self._decode(table, record):
                yield record, row

    def records(self, topic: str, start: int = 0) -> Iterator[StoredRecord]:
        """Yields the records that are there from offset `start` on."""
        end = self.log.end_offset(topic)
        while start < end:
            records = self.log.read(topic, start, CHUNK_RECORDS)
            if not records:
                return
            for record in records:
                start = record.offset + 1
                if record.offset < end:
                    yield record

    def end(self, topic: str) -> int:
        """Returns the offset that the next record of a topic gets."""
        return self.log.end_offset(topic)

    def wait(self, timeout_seconds: float) -> None:
        """Returns when something was appended, or after the time."""
        self.log.wait(timeout_seconds)

    def _decode(self, table: Table, record: StoredRecord) -> list[dict[str, Any]]:
        fingerprint = record.header(SCHEMA_HEADER).decode("ascii", "replace")
        try:
            rows: list[dict[str, Any]] = self.registry.decode(
                table, fingerprint, record.value
            ).to_pylist()
        except WireError:
            return []
        return rows
