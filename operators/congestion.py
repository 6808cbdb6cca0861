"""What waits before admission, as anybody can see it on the log: the signal to clients that a shard is overloaded."""

from __future__ import annotations

from dataclasses import dataclass

from operators.event_log import EventLog
from operators.log_schemas import registry_of
from operators.record_input import input_of
from schemas.tables import ADMITTED
from schemas.topics import shard_topic

LOOK_BACK = (64, 4096)
"""Offsets from the end among which the last verdict is looked for, before all of them; some logs have markers there."""

OVERLOAD_MILLIS = 2_000
"""A record that waits longer for its verdict waits for blocks: judging takes milliseconds, and a start about a second."""


@dataclass(frozen=True, slots=True)
class Congestion:
    """What waits on `tx.<shard>` for a verdict.

    Attributes:
        shard: Shard number.
        records: Records without a verdict; a log that has markers counts them.
        oldest_millis: Age of the oldest, milliseconds; 0 if there is none.
    """

    shard: int
    records: int
    oldest_millis: int

    @property
    def is_overloaded(self) -> bool:
        """Whether what is sent now waits on the log before it is judged."""
        return self.oldest_millis > OVERLOAD_MILLIS

    def __str__(self) -> str:
        return (
            f"overloaded: {self.records} records wait on {shard_topic('tx', self.shard)} for admission, "
            f"the oldest for {self.oldest_millis / 1000:.1f} s; nothing is lost before it expires"
        )


def congestion_of(log: EventLog, shard: int, now_millis: int) -> Congestion:
    """Returns what waits for admission on a shard, at a time in UTC milliseconds."""
    topic = shard_topic("tx", shard)
    judged = _judged(log, shard)
    waiting = log.read(topic, judged, 1)
    if not waiting:
        return Congestion(shard, 0, 0)
    first = waiting[0]
    records = log.end_offset(topic) - first.offset
    return Congestion(shard, records, max(0, now_millis - first.append_millis))


def _judged(log: EventLog, shard: int) -> int:
    """Returns one more than the offset of the last record with a verdict."""
    topic, registry = shard_topic("admitted", shard), registry_of(log)
    first, end = log.first_offset(topic), log.end_offset(topic)
    for back in (*LOOK_BACK, end):
        start = max(first, end - back)
        for record in reversed(log.read(topic, start, end - start) if start < end else []):
            batch = input_of(record, ADMITTED, registry).batch
            if batch is not None and batch.num_rows:
                return int(batch.column("source_offset")[batch.num_rows - 1].as_py()) + 1
    return 0
