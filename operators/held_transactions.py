"""The transactions of a shard as far as something else on the log speaks of them, read in order and no further.

Whoever waits for blocks reads `tx.<shard>` only up to what is admitted, or to what blocks refer to. What was sent beyond
that stays on the log: it takes no memory, however much more is sent than blocks can hold.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from operators.event_log import HELD_BACK, EventLog, LogReader, StoredRecord
from operators.log_schemas import registry_of
from operators.record_input import input_of
from operators.stage import Input
from schemas.tables import TRANSACTIONS, SchemaRegistry
from schemas.topics import shard_topic

POLL_RECORDS = 256


@dataclass(slots=True)
class HeldTransactions:
    """Reads the records of `tx.<shard>` up to a given one; build it with `hold_transactions`.

    Attributes:
        reader: A reader of its own, of that topic alone; nothing is ever committed under its name.
        topic: The topic.
        registry: The schemas that can be read.
    """

    reader: LogReader
    topic: str
    registry: SchemaRegistry = field(repr=False)

    def read(self, start: int, last: int) -> list[StoredRecord]:
        """Returns the records from offset `start` to `last`, those that are there."""
        if self.reader.positions()[self.topic, 0] != start:
            self.reader.seek(self.topic, 0, start)
        found: list[StoredRecord] = []
        while start <= last:
            records = self.reader.poll(min(POLL_RECORDS, last - start + 1))
            if not records:
                break
            found += [record for record in records if record.offset <= last]  # offsets have gaps
            start = records[-1].offset + 1
        return found

    def inputs(self, start: int, last: int) -> list[Input]:
        """Returns the same, decoded."""
        return [input_of(record, TRANSACTIONS, self.registry) for record in self.read(start, last)]


def read_transactions(log: EventLog, shard: int, offset: int) -> Input | None:
    """Reads one record of `tx.<shard>`; None when the log does not hold it."""
    found = log.read(shard_topic("tx", shard), offset, 1)
    if not found or found[0].offset != offset:
        return None
    return input_of(found[0], TRANSACTIONS, registry_of(log))


def hold_transactions(log: EventLog, owner: str, shard: int) -> HeldTransactions:
    """Opens the transactions of a shard for one owner.

    Args:
        log: The log.
        owner: Name of the owner's reader; this one's is `<owner>/held`.
        shard: Shard number.
    """
    topic = shard_topic("tx", shard)
    return HeldTransactions(log.reader(f"{owner}{HELD_BACK}", [topic]), topic, registry_of(log))
