"""A log that measures: what a process reads, appends and commits, and how far its readers are behind.

It stands in front of any adapter. A call of the log costs it a few microseconds whatever the number of records; how
far readers are behind is asked for by `measure`, since every look costs a query.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Self

from operators.event_log import (
    HELD_BACK,
    Append,
    EventLog,
    Lag,
    LogError,
    LogReader,
    Place,
    Record,
    StoredRecord,
)
from operators.metrics import Metrics
from schemas.metrics import (
    LOG_APPEND_SECONDS,
    LOG_RECORDS,
    READER_ABORTS,
    READER_BATCH,
    READER_COMMIT_SECONDS,
    READER_LAG_RECORDS,
    READER_LAG_SECONDS,
    READER_RECORDS,
)


class MeteredReader:
    """A reader that measures; see `LogReader`."""

    def __init__(self, reader: LogReader, metrics: Metrics) -> None:
        self._reader, self._metrics = reader, metrics
        self._name = reader.name

    @property
    def name(self) -> str:
        """See `LogReader`."""
        return self._name

    def poll(self, max_records: int, timeout_seconds: float = 0.0) -> list[StoredRecord]:
        """See `LogReader`."""
        records = self._reader.poll(max_records, timeout_seconds)
        if records:
            self._metrics.count(READER_RECORDS, self._name, by=len(records))
            self._metrics.observe(READER_BATCH, len(records), self._name)
        return records

    def positions(self) -> Mapping[Place, int]:
        """See `LogReader`."""
        return self._reader.positions()

    def seek(self, topic: str, partition: int, offset: int) -> None:
        """See `LogReader`."""
        self._reader.seek(topic, partition, offset)

    def committed(self) -> Mapping[Place, int]:
        """See `LogReader`."""
        return self._reader.committed()

    def lag(self, now_millis: int) -> Lag:
        """See `LogReader`; recorded too."""
        lag = self._reader.lag(now_millis)
        self._metrics.set(READER_LAG_RECORDS, lag.records, self._name)
        self._metrics.set(READER_LAG_SECONDS, lag.millis / 1000, self._name)
        return lag

    def commit(self, outputs: Iterable[Append] = ()) -> None:
        """See `LogReader`."""
        listed = list(outputs)
        begun = time.perf_counter()
        try:
            self._reader.commit(listed)
        except LogError as error:
            self._metrics.count(READER_ABORTS, self._name, type(error).__name__)
            raise
        self._metrics.observe(READER_COMMIT_SECONDS, time.perf_counter() - begun, self._name)
        for output in listed:
            self._metrics.count(LOG_RECORDS, output.topic, by=len(output.records))


class MeteredLog:
    """A log that measures; see `EventLog`.

    Attributes:
        readers: Readers opened through it, by name; of a name that was opened again, the last. Without those that
            are held back, whose distance is not lag.
    """

    def __init__(self, log: EventLog, metrics: Metrics) -> None:
        self._log, self._metrics = log, metrics
        self.readers: dict[str, MeteredReader] = {}

    @property
    def url(self) -> str:
        """See `EventLog`."""
        return self._log.url

    def measure(self, now_millis: int) -> Lag:
        """Records how far every reader is behind and returns the worst, by records and by age apart."""
        lags = [reader.lag(now_millis) for reader in self.readers.values()]
        return Lag(
            max((lag.records for lag in lags), default=0),
            max((lag.millis for lag in lags), default=0),
        )

    def create_topics(self, topics: Mapping[str, int]) -> None:
        """See `EventLog`."""
        self._log.create_topics(topics)

    def topics(self) -> Mapping[str, int]:
        """See `EventLog`."""
        return self._log.topics()

    def append(
        self,
        topic: str,
        records: Sequence[Record],
        partition: int = 0,
        *,
        is_durable: bool = True,
    ) -> int:
        """See `EventLog`."""
        begun = time.perf_counter()
        offset = self._log.append(topic, records, partition, is_durable=is_durable)
        self._metrics.observe(LOG_APPEND_SECONDS, time.perf_counter() - begun, topic)
        self._metrics.count(LOG_RECORDS, topic, by=len(records))
        return offset

    def read(
        self, topic: str, start: int, max_records: int, partition: int = 0
    ) -> list[StoredRecord]:
        """See `EventLog`."""
        return self._log.read(topic, start, max_records, partition)

    def first_offset(self, topic: str, partition: int = 0) -> int:
        """See `EventLog`."""
        return self._log.first_offset(topic, partition)

    def end_offset(self, topic: str, partition: int = 0) -> int:
        """See `EventLog`."""
        return self._log.end_offset(topic, partition)

    def reader(self, name: str, topics: Iterable[str]) -> MeteredReader:
        """See `EventLog`."""
        reader = MeteredReader(self._log.reader(name, topics), self._metrics)
        if not name.endswith(HELD_BACK):
            self.readers[name] = reader
        return reader

    def wait(self, timeout_seconds: float) -> bool:
        """See `EventLog`."""
        return self._log.wait(timeout_seconds)

    def retain(self, topic: str, first_kept: int, partition: int = 0) -> None:
        """See `EventLog`."""
        self._log.retain(topic, first_kept, partition)

    def size_bytes(self) -> int:
        """See `EventLog`."""
        return self._log.size_bytes()

    def close(self) -> None:
        """See `EventLog`."""
        self._log.close()

    def __enter__(self) -> Self:
        """Returns itself."""
        return self

    def __exit__(self, *error: object) -> None:
        """Closes it."""
        self.close()


def _conforms(log: MeteredLog) -> EventLog:
    return log
