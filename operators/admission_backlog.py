"""What is admitted and not final yet, as admission counts it, and how much of it there may be.

Admission reads on only while there is room, so the excess of an overload waits on the log. This decides when a
record is judged, never how; by then there may be other blocks to judge it by.

The room follows what blocks hold. A transaction that waits longer for its block than it should makes it smaller; while
it is used up and nothing waits too long, it grows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from operators.block_payload import decode_payload
from schemas.errors import WireError
from schemas.wire import Reader, Writer

Place = tuple[int, int]
"""Offset of a record on `tx.<shard>` and row within it."""

SNAPSHOT_VERSION = 1

ASSEMBLY = "assembly"
"""Stage named in dead letters of transactions that were admitted and can never be executed."""

SHRINK_LIMIT, GROWTH_LIMIT = 0.5, 1.25
"""How much one look may change the room, as a factor: half at most, since one slow block may be an accident of the
machine; a quarter more, so that a burst is not let in at once."""

LEAST_ROOM = 64
"""Transactions that are let in whatever the delay. Below it a block's own cost, votes and certificate, outweighs what
it holds, so that throughput falls and waiting becomes no shorter."""


@dataclass(slots=True)
class AdmissionRoom:
    """How many transactions may be admitted and not final.

    Attributes:
        target_millis: How long the first transaction of a block should have waited from admission to finality.
        most: Upper bound, which memory sets.
        size: The room now, transactions.
    """

    target_millis: int
    most: int
    size: float = 0.0
    _looked_millis: int = 0
    _was_full: bool = False

    def __post_init__(self) -> None:
        """Begins at the least."""
        self.size = self.size or float(min(LEAST_ROOM, self.most))

    def used(self, waiting: int) -> int:
        """Returns what is left for a number of waiting transactions, and notes whether that is nothing."""
        left = int(self.size) - waiting
        self._was_full = self._was_full or left <= 0
        return left

    def take_block(self, waits: Mapping[int, int], now_millis: int) -> None:
        """Learns from a final block.

        Only transactions admitted since the last change count: those before say how it was with another room. A clock that
        was set back since then has them all count.

        Args:
            waits: When each of its transactions was admitted, and how long that was before it was known to be final, milliseconds.
            now_millis: Time, UTC milliseconds.
        """
        self._looked_millis = min(self._looked_millis, now_millis)
        fresh = [wait for admitted, wait in waits.items() if admitted >= self._looked_millis]
        if not fresh:
            return
        factor = self.target_millis / max(1, *fresh)
        if factor < 1 or self._was_full:
            self.size *= min(GROWTH_LIMIT, max(SHRINK_LIMIT, factor))
            self.size = min(float(self.most), max(float(min(LEAST_ROOM, self.most)), self.size))
            self._looked_millis = now_millis
        self._was_full = False

    def take_dropped(self, count: int) -> None:
        """Learns that so many transactions left it without a block: where that is most of it, what follows is let in faster.

        They cost no block; in a small room a queue of what has expired would last longer than what is sent after it.
        """
        if self._was_full and 2 * count >= self.size:
            self.size = min(float(self.most), self.size * GROWTH_LIMIT)
            self._was_full = False


@dataclass(slots=True)
class AdmissionBacklog:
    """The admitted transactions that are not final; what a shard's admission must remember to wait for its blocks.

    Attributes:
        room: How many there may be.
        lifetime_millis: After so long nothing that was admitted can be in a block any more: it has expired.
        waiting: When each was admitted, UTC milliseconds, by place, in log order.
        judged: One more than the offset of the last record with a verdict.
        early: Places that blocks held before their verdict was known here.
    """

    room: AdmissionRoom
    lifetime_millis: int
    waiting: dict[Place, int] = field(default_factory=dict)
    judged: int = 0
    early: set[Place] = field(default_factory=set)

    def left(self, now_millis: int) -> int:
        """Returns how many more transactions may be admitted now; none if it is not above zero."""
        while self.waiting:
            place, admitted = next(iter(self.waiting.items()))
            if self._is_alive(admitted, now_millis):
                break
            del self.waiting[place]
        return self.room.used(len(self.waiting))

    def take_verdicts(self, rows: Iterable[Mapping[str, Any]], now_millis: int) -> None:
        """Takes rows of `admitted.<shard>`; one that was taken before changes nothing."""
        for row in rows:
            offset, verdicts, admitted = (
                row["source_offset"],
                row["verdicts"],
                row["admitted_millis"],
            )
            if offset < self.judged:
                continue
            self.judged = offset + 1
            for number in range(row["row_count"] if self._is_alive(admitted, now_millis) else 0):
                if verdicts[number // 8] >> (number % 8) & 1:
                    self.waiting[offset, number] = admitted
            for place in [one for one in self.early if one[0] <= offset]:
                self.early.discard(place)
                self.waiting.pop(place, None)

    def take_blocks(self, rows: Iterable[Mapping[str, Any]], now_millis: int) -> None:
        """Takes rows of `blocks.<shard>`.

        How long their transactions have waited is told by one clock, that of whoever admits; others' may be elsewhere.
        """
        for row in rows:
            try:
                references = decode_payload(row["payload"]).references
            except WireError:
                continue  # no block of ours: nothing became final by it
            waits: dict[int, int] = {}
            for place in [(one.offset, one.row) for one in references]:
                admitted = self._settle(place)
                if admitted is not None:
                    waits[admitted] = now_millis - admitted
            self.room.take_block(waits, now_millis)

    def take_letters(self, rows: Iterable[Mapping[str, Any]], topic: str) -> None:
        """Takes rows of `rejected`: what was admitted on `topic` and dropped afterwards waits no longer."""
        dropped = 0
        for row in rows:
            place = row["offset"], row["row"]
            if (row["stage"], row["topic"]) == (ASSEMBLY, topic) and min(place) >= 0:
                dropped += self._settle(place) is not None
        self.room.take_dropped(dropped)

    def encode(self) -> bytes:
        """Returns canonical bytes; the room is not in them and is learned anew."""
        writer = Writer().u8(SNAPSHOT_VERSION).u64(self.judged).u32(len(self.waiting))
        for (offset, row), admitted in self.waiting.items():
            writer.u64(offset).u32(row).u64(admitted)
        writer.u32(len(self.early))
        for offset, row in sorted(self.early):
            writer.u64(offset).u32(row)
        return writer.finish()

    def restore(self, data: bytes) -> None:
        """Inverse of `encode`.

        Raises:
            WireError: The bytes are not canonical.
        """
        reader = Reader(data, "backlog")
        if reader.u8("version") != SNAPSHOT_VERSION:
            raise reader.fail("version", f"expected {SNAPSHOT_VERSION}")
        self.judged = reader.u64("judged")
        self.waiting = {
            (reader.u64("offset"), reader.u32("row")): reader.u64("admitted")
            for _ in range(reader.u32("waiting"))
        }
        self.early = {(reader.u64("offset"), reader.u32("row")) for _ in range(reader.u32("early"))}
        reader.finish()

    def _is_alive(self, admitted_millis: int, now_millis: int) -> bool:
        return admitted_millis + self.lifetime_millis >= now_millis

    def _settle(self, place: Place) -> int | None:
        if place[0] >= self.judged:
            self.early.add(place)
            return None
        return self.waiting.pop(place, None)
