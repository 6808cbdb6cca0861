"""Records of topics in memory, encoded and decoded as on any log."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from schemas.tables import SCHEMA_HEADER, SchemaRegistry, Table


@dataclass
class RowLog:
    """A log whose `on_wait` decides what happens while somebody waits."""

    records: dict[str, list[tuple[str, bytes]]] = field(default_factory=dict)
    on_wait: Callable[[], None] = lambda: None

    def append(self, topic: str, headers: tuple[tuple[str, bytes], ...], body: bytes) -> int:
        records = self.records.setdefault(topic, [])
        records.append((dict(headers)[SCHEMA_HEADER].decode(), body))
        return len(records) - 1

    def rows(self, topic: str, table: Table, start: int = 0) -> Iterator[Mapping[str, Any]]:
        for fingerprint, body in self.records.get(topic, [])[start:]:
            yield from SchemaRegistry().decode(table, fingerprint, body).to_pylist()

    def end(self, topic: str) -> int:
        return len(self.records.get(topic, []))

    def wait(self, timeout_seconds: float) -> None:
        self.on_wait()
