"""The event log inside one process, for tests: the semantics of the embedded log on a clock of the test's own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

from operators.event_log import (
    MAX_RECORD_BYTES,
    Append,
    FencedError,
    Lag,
    LogError,
    Place,
    Record,
    RecordTooLarge,
    StoredRecord,
    check_max_records,
    check_seek,
)
from schemas.errors import ParameterError

MAX_POLL_BYTES = 32 * 2**20


@dataclass(slots=True)
class MemoryStore:
    """What connections to one log share.

    Attributes:
        now_millis: Clock of the log, UTC milliseconds.
    """

    now_millis: Callable[[], int] = lambda: time.time_ns() // 1_000_000
    partitions: dict[str, int] = field(default_factory=dict)
    records: dict[Place, list[tuple[int, StoredRecord]]] = field(default_factory=dict)
    ends: dict[Place, int] = field(default_factory=dict)
    epochs: dict[str, int] = field(default_factory=dict)
    positions: dict[str, dict[Place, int]] = field(default_factory=dict)
    sequence: int = 0
    millis: int = 0
    changed: threading.Condition = field(default_factory=threading.Condition)


_STORES: dict[str, MemoryStore] = {}


def open_memory(name: str) -> MemoryLog:
    """Opens the log of that name in this process; an empty name is a log of its own."""
    store = _STORES.setdefault(name, MemoryStore()) if name else MemoryStore()
    return MemoryLog(f"memory://{name}", store)


class MemoryLog:
    """A connection to a store; see `operators.event_log.EventLog`."""

    def __init__(self, url: str = "memory://", store: MemoryStore | None = None) -> None:
        self._url = url
        self._store = MemoryStore() if store is None else store
        self._seen = -1
        self._is_closed = False

    @property
    def url(self) -> str:
        """See `EventLog`."""
        return self._url

    @property
    def store(self) -> MemoryStore:
        """What another connection to the same log shares."""
        return self._store

    def create_topics(self, topics: Mapping[str, int]) -> None:
        """See `EventLog`."""
        for name, partitions in topics.items():
            if not name or partitions < 1:
                raise ParameterError(f"no topic {name!r} with {partitions} partitions")
            found = self._store.partitions.get(name, partitions)
            if found != partitions:
                raise ParameterError(f"topic {name} has {found} partitions, not {partitions}")
        self._store.partitions.update(topics)

    def topics(self) -> Mapping[str, int]:
        """See `EventLog`."""
        return dict(sorted(self._store.partitions.items()))

    def append(
        self,
        topic: str,
        records: Sequence[Record],
        partition: int = 0,
        *,
        is_durable: bool = True,
    ) -> int:
        """See `EventLog`; nothing here outlives the machine either way."""
        if not records:
            raise ParameterError("nothing to append")
        self.check(topic, partition, records)
        with self._store.changed:
            return self.insert(Append(topic, records, partition))

    def read(
        self, topic: str, start: int, max_records: int, partition: int = 0
    ) -> list[StoredRecord]:
        """See `EventLog`."""
        self.check(topic, partition)
        self._seen = self._store.sequence
        kept = self._store.records.get((topic, partition), [])
        return [record for _, record in kept if record.offset >= start][:max_records]

    def first_offset(self, topic: str, partition: int = 0) -> int:
        """See `EventLog`."""
        kept = self._store.records.get((topic, partition), [])
        return kept[0][1].offset if kept else self.end_offset(topic, partition)

    def end_offset(self, topic: str, partition: int = 0) -> int:
        """See `EventLog`."""
        self.check(topic, partition)
        return self._store.ends.get((topic, partition), 0)

    def reader(self, name: str, topics: Iterable[str]) -> MemoryReader:
        """See `EventLog`."""
        places = []
        for topic in topics:
            self.check(topic, 0)
            places += [(topic, part) for part in range(self._store.partitions[topic])]
        with self._store.changed:
            epoch = self._store.epochs.get(name, 0) + 1
            self._store.epochs[name] = epoch
        return MemoryReader(self, name, epoch, tuple(places))

    def wait(self, timeout_seconds: float) -> bool:
        """See `EventLog`."""
        with self._store.changed:
            has_news = self._store.changed.wait_for(
                lambda: self._store.sequence != self._seen, timeout_seconds
            )
            self._seen = self._store.sequence
        return has_news

    def retain(self, topic: str, first_kept: int, partition: int = 0) -> None:
        """See `EventLog`."""
        self.check(topic, partition)
        kept = self._store.records.get((topic, partition), [])
        self._store.records[topic, partition] = [
            entry for entry in kept if entry[1].offset >= first_kept
        ]

    def size_bytes(self) -> int:
        """See `EventLog`."""
        return sum(len(r.value) for kept in self._store.records.values() for _, r in kept)

    def close(self) -> None:
        """See `EventLog`."""
        self._is_closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def check(self, topic: str, partition: int, records: Sequence[Record] = ()) -> None:
        """Refuses places that do not exist and records that are too large."""
        if self._is_closed:
            raise LogError(f"{self._url} is closed")
        partitions = self._store.partitions.get(topic)
        if partitions is None:
            raise ParameterError(f"there is no topic {topic} on {self._url}")
        if not 0 <= partition < partitions:
            raise ParameterError(f"topic {topic} has {partitions} partitions, not {partition}")
        for record in records:
            if len(record.value) > MAX_RECORD_BYTES:
                raise RecordTooLarge(
                    f"a record of {len(record.value)} bytes; {MAX_RECORD_BYTES} is the most"
                )

    def insert(self, output: Append) -> int:
        """Stores records that were checked; the caller holds the store's lock."""
        store, place = self._store, (output.topic, output.partition)
        first = store.ends.get(place, 0)
        store.millis = max(store.millis, store.now_millis())
        kept = store.records.setdefault(place, [])
        for position, record in enumerate(output.records):
            stored = StoredRecord(
                output.topic,
                output.partition,
                first + position,
                store.millis,
                record.value,
                record.headers,
                record.key,
            )
            store.sequence += 1
            kept.append((store.sequence, stored))
        store.ends[place] = first + len(output.records)
        store.changed.notify_all()
        return first


class MemoryReader:
    """A named reader; see `operators.event_log.LogReader`."""

    def __init__(self, log: MemoryLog, name: str, epoch: int, places: tuple[Place, ...]) -> None:
        self._log = log
        self._name = name
        self._epoch = epoch
        self._positions = dict.fromkeys(places, 0)
        self._positions |= self.committed()

    @property
    def name(self) -> str:
        """See `LogReader`."""
        return self._name

    def poll(self, max_records: int, timeout_seconds: float = 0.0) -> list[StoredRecord]:
        """See `LogReader`."""
        check_max_records(max_records)
        found = self._fetch(max_records)
        if not found and timeout_seconds > 0 and self._log.wait(timeout_seconds):
            found = self._fetch(max_records)
        return found

    def positions(self) -> Mapping[Place, int]:
        """See `LogReader`."""
        return dict(self._positions)

    def seek(self, topic: str, partition: int, offset: int) -> None:
        """See `LogReader`."""
        check_seek(self._name, self._positions, (topic, partition), offset)
        self._positions[topic, partition] = offset

    def committed(self) -> Mapping[Place, int]:
        """See `LogReader`."""
        stored = self._log.store.positions.get(self._name, {})
        return {place: stored.get(place, 0) for place in self._positions}

    def lag(self, now_millis: int) -> Lag:
        """See `LogReader`."""
        behind = [
            entry[1].append_millis
            for place, position in self._positions.items()
            for entry in self._log.store.records.get(place, [])
            if entry[1].offset >= position
        ]
        return Lag(len(behind), max(0, now_millis - min(behind, default=now_millis)))

    def commit(self, outputs: Iterable[Append] = ()) -> None:
        """See `LogReader`."""
        listed = [output for output in outputs if output.records]
        for output in listed:
            self._log.check(output.topic, output.partition, output.records)
        store = self._log.store
        with store.changed:
            if store.epochs[self._name] != self._epoch:
                raise FencedError(
                    f"reader {self._name} was opened again elsewhere",
                    "only one process may run this role",
                )
            store.positions.setdefault(self._name, {}).update(self._positions)
            for output in listed:
                self._log.insert(output)

    def _fetch(self, max_records: int) -> list[StoredRecord]:
        with self._log.store.changed:
            waiting = sorted(
                (
                    entry
                    for place, position in self._positions.items()
                    for entry in self._log.store.records.get(place, [])
                    if entry[1].offset >= position
                ),
                key=lambda entry: entry[0],
            )[:max_records]
        found: list[StoredRecord] = []
        size = 0
        for _, record in waiting:
            size += len(record.value)
            if found and size > MAX_POLL_BYTES:
                break
            found.append(record)
            self._positions[record.topic, record.partition] = record.offset + 1
        return found
