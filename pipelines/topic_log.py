"""What wallets and load testers need of an event log: append a record, read a topic's rows, wait for more."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from schemas.tables import Table


class TopicLog(Protocol):
    """One client's view of a log whose topics have a single partition."""

    def append(self, topic: str, headers: tuple[tuple[str, bytes], ...], body: bytes) -> int:
        """Appends a record, durable when it returns, and returns its offset."""
        ...

    def rows(self, topic: str, table: Table, start: int = 0) -> Iterator[Mapping[str, Any]]:
        """Yields the rows that are there from offset `start` on; undecodable records are left out."""
        ...

    def end(self, topic: str) -> int:
        """Returns the offset that the next record of a topic gets."""
        ...

    def wait(self, timeout_seconds: float) -> None:
        """Returns when something was appended, or after the time."""
        ...
