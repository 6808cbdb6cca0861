"""The event log: partitioned topics that every stage reads from and writes to, as one port over its adapters.

Order is per partition. What `commit` and a durable `append` have returned outlives the machine. A reader has a name; opening a
name again fences the reader opened before, so that a process thought dead cannot commit any more.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

from schemas.errors import EclipticaError, EnvironmentMissing, ParameterError

MAX_RECORD_BYTES = 16 * 2**20
"""Largest value of a record, bytes."""

HELD_BACK = "/held"
"""End of the names of readers that read no further than their owner lets them: that they are behind says nothing."""

Place = tuple[str, int]
"""Topic and partition."""

Headers = tuple[tuple[str, bytes], ...]


class LogError(EclipticaError):
    """The log cannot do what was asked; the message says what stands in the way."""


class FencedError(LogError):
    """Another reader of the same name was opened later; this one must stop."""


class RecordTooLarge(LogError):
    """A record's value exceeds `MAX_RECORD_BYTES`."""


class LogFull(LogError):
    """The disk is full or the directory is read-only; nothing was written."""

    may_pass = True


class LogBusy(LogError):
    """Another process kept its turn to write for too long; nothing was written."""

    may_pass = True


class LogCorrupt(LogError):
    """The stored log is damaged, or is not a log."""


class LogUnreachable(LogError):
    """Nobody answers at the log's address; what was asked for may or may not have been done."""

    exit_code = 5
    may_pass = True


@dataclass(frozen=True, slots=True)
class Record:
    """What is appended.

    Attributes:
        value: At most `MAX_RECORD_BYTES`.
        headers: Name and bytes; order is kept.
        key: May be empty; kept with the record, and used by nothing yet.
    """

    value: bytes
    headers: Headers = ()
    key: bytes = b""


@dataclass(frozen=True, slots=True)
class StoredRecord:
    """A record as read.

    Attributes:
        topic: Its topic.
        partition: Its partition, >= 0.
        offset: Rises within a partition, not always by one: markers of a log's own lie between records.
        append_millis: When the log stored it, UTC milliseconds; falls within a partition only if a broker's
            clock is set back.
        value: Original bytes.
        headers: Original headers.
        key: Original key.
    """

    topic: str
    partition: int
    offset: int
    append_millis: int
    value: bytes
    headers: Headers = ()
    key: bytes = b""

    def header(self, name: str) -> bytes:
        """Returns the last header of that name, or empty bytes."""
        return next((value for key, value in reversed(self.headers) if key == name), b"")


@dataclass(frozen=True, slots=True)
class Append:
    """Records to append to one partition in order."""

    topic: str
    records: Sequence[Record]
    partition: int = 0


@dataclass(frozen=True, slots=True)
class Lag:
    """How far a reader is behind.

    Attributes:
        records: Records to poll until the ends of its partitions; a log that has markers counts them.
        millis: Age of the oldest of them, milliseconds; 0 if there is none.
    """

    records: int
    millis: int


def check_max_records(max_records: int) -> None:
    """Checks what a poll is asked for.

    Raises:
        ParameterError: It is below one.
    """
    if max_records < 1:
        raise ParameterError(f"at least one record must be asked for, got {max_records}")


def check_seek(reader: str, places: Collection[Place], place: Place, offset: int) -> None:
    """Checks where a reader is to go on.

    Raises:
        ParameterError: The partition is none of its places, or the offset is negative.
    """
    if place not in places or offset < 0:
        topic, partition = place
        raise ParameterError(f"reader {reader} has no position {topic}/{partition}/{offset}")


class LogReader(Protocol):
    """A named consumer of some topics, with positions that only `commit` makes durable."""

    @property
    def name(self) -> str:
        """Name under which positions are kept."""
        ...

    def poll(self, max_records: int, timeout_seconds: float = 0.0) -> list[StoredRecord]:
        """Returns at once with what is there, oldest append first across partitions, and moves positions.

        Nothing that was there when it was called is left out of an empty answer. Records of several partitions
        of the same millisecond come in the order of appending, or in that of the reader's topics; so a topic
        that others refer to is named before them.

        Waits at most `timeout_seconds` when nothing is there; stops early at 32 MiB of values but returns
        at least one record. A record removed by retention is skipped.

        Raises:
            ParameterError: `max_records` is not positive.
        """
        ...

    def positions(self) -> Mapping[Place, int]:
        """Returns the offset of the next record to poll, per partition."""
        ...

    def seek(self, topic: str, partition: int, offset: int) -> None:
        """Moves a position; an offset before the first kept record starts there.

        Raises:
            ParameterError: The partition is not read by this reader, or the offset is negative.
        """
        ...

    def committed(self) -> Mapping[Place, int]:
        """Returns the positions of the last commit under this name; 0 where there is none."""
        ...

    def lag(self, now_millis: int) -> Lag:
        """Returns how far its positions are behind the ends, at a time in UTC milliseconds."""
        ...

    def commit(self, outputs: Iterable[Append] = ()) -> None:
        """Stores the positions and appends all outputs in one transaction.

        Raises:
            FencedError: The name was opened again since; nothing was written.
            RecordTooLarge: An output is; nothing was written.
            LogFull: There is no room; nothing was written.
        """
        ...


class EventLog(Protocol):
    """One open log. Not shared between threads; every process opens its own."""

    @property
    def url(self) -> str:
        """What `open_log` was given."""
        ...

    def create_topics(self, topics: Mapping[str, int]) -> None:
        """Makes topics with their numbers of partitions; existing equal ones stay as they are.

        Raises:
            ParameterError: A topic exists with another number, or a name or number is not valid.
        """
        ...

    def topics(self) -> Mapping[str, int]:
        """Returns the number of partitions of every topic."""
        ...

    def append(
        self,
        topic: str,
        records: Sequence[Record],
        partition: int = 0,
        *,
        is_durable: bool = True,
    ) -> int:
        """Appends all records or none and returns the first one's offset.

        Args:
            topic: Its name.
            records: At least one.
            partition: Of the topic.
            is_durable: Whether it returns only when the records survive the loss of the machine. Without it
                they survive the end of any process, but a power cut may take the last of them; what is
                appended durably afterwards never outlives them.

        Raises:
            ParameterError: There is no such partition, or `records` is empty.
            RecordTooLarge: A record is; nothing was written.
            LogFull: There is no room; nothing was written.
            LogUnreachable: Nobody answers; the first of the records may have been written.
        """
        ...

    def read(
        self, topic: str, start: int, max_records: int, partition: int = 0
    ) -> list[StoredRecord]:
        """Returns up to `max_records` records with offset >= `start`, no names or positions involved."""
        ...

    def first_offset(self, topic: str, partition: int = 0) -> int:
        """Returns the offset of the oldest kept record, or the end when none is kept."""
        ...

    def end_offset(self, topic: str, partition: int = 0) -> int:
        """Returns an offset above all records that are there and not above the next record's."""
        ...

    def reader(self, name: str, topics: Iterable[str]) -> LogReader:
        """Opens a named reader over all partitions of the topics, at its committed positions.

        Fences every reader that was opened under this name before.
        """
        ...

    def wait(self, timeout_seconds: float) -> bool:
        """Blocks until anyone may have appended since the last `wait`, `poll` or `read`; False after the time."""
        ...

    def retain(self, topic: str, first_kept: int, partition: int = 0) -> None:
        """Removes records below `first_kept`; their disk space is given back."""
        ...

    def size_bytes(self) -> int:
        """Returns the bytes the log takes on disk or in memory.

        Raises:
            EnvironmentMissing: The log is on machines that do not tell.
        """
        ...

    def close(self) -> None:
        """Releases files; further calls raise LogError."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *error: object) -> None: ...


def is_absent(url: str) -> bool:
    """Whether a log is a file that does not exist; what brokers hold is not asked."""
    return url.startswith("sqlite:///") and not Path(url.removeprefix("sqlite:///")).exists()


def open_existing_log(url: str) -> EventLog:
    """Opens a log that somebody made before; a mistyped address makes no new one.

    Args:
        url: As in `open_log`.

    Raises:
        ParameterError: The URL names no adapter, or its file does not exist.
        EnvironmentMissing, LogFull, LogCorrupt: As `open_log`.
    """
    path = Path(url.removeprefix("sqlite:///"))
    if url.startswith("sqlite:///") and not path.is_file():
        raise ParameterError(
            f"{path} does not exist" if is_absent(url) else f"{path} is no log",
            "give --data or --log of a chain that `ecliptica demo` or `ecliptica run` has started",
        )
    return open_log(url)


def open_log(url: str) -> EventLog:
    """Opens a log.

    Args:
        url: `sqlite:///relative.db`, `sqlite:////absolute/path.db`, `kafka://host:port/NAME` (options:
            `operators.kafka_address`), or `memory://NAME` for one that lives in this process under its name
            (empty: one of its own).

    Raises:
        ParameterError: The URL names no adapter, or its options are none.
        EnvironmentMissing: The adapter's client is not installed.
        LogUnreachable: No broker answers.
        LogFull: The file cannot be made.
        LogCorrupt: The file is not a log.
    """
    from operators.log_memory import open_memory  # noqa: PLC0415  - each adapter loads when used
    from operators.log_sqlite import open_sqlite  # noqa: PLC0415

    scheme, separator, rest = url.partition("://")
    if not separator:
        raise ParameterError(f"{url!r} is not a log", "say sqlite:///path or memory://")
    if scheme == "memory":
        return open_memory(rest)
    if scheme == "sqlite":
        return open_sqlite(url, rest.removeprefix("/"))
    if scheme == "kafka":
        return _open_kafka(url)
    raise ParameterError(
        f"there is no log adapter {scheme!r}", "say sqlite:///path, kafka://host:port or memory://"
    )


def _open_kafka(url: str) -> EventLog:
    try:
        from operators.log_kafka import open_kafka  # noqa: PLC0415 - the client loads when used
    except ImportError as error:
        raise EnvironmentMissing(
            f"the Kafka log needs the package confluent-kafka: {error}", "make install"
        ) from error
    return open_kafka(url)
