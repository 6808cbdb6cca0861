"""The embedded event log: one SQLite database in WAL mode, shared by many processes.

A record, the positions of a reader and its outputs are one transaction with `synchronous=FULL`, so exactly-once
costs nothing beside it. Readers are woken by the database's `data_version`, which changes with every commit of
another connection; they look at it twice a millisecond while busy and less often the longer nothing happens.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from operators.event_log import (
    MAX_RECORD_BYTES,
    Append,
    FencedError,
    Headers,
    Lag,
    LogBusy,
    LogCorrupt,
    LogError,
    LogFull,
    Place,
    Record,
    RecordTooLarge,
    StoredRecord,
    check_max_records,
    check_seek,
)
from schemas.errors import ParameterError
from schemas.wire import Reader, Writer

APPLICATION_ID = 0x45434C4C
"""`ECLL` in the file's header: what tells a log from any other database."""

FORMAT = 1
BUSY_SECONDS = 30.0
"""How long a writer waits for its turn."""

WAL_PAGES = 1000
"""Pages in the write-ahead log after which a writer moves them into the database; 4 MiB."""

SHORTEST_NAP_SECONDS = 0.0005
LONGEST_NAP_SECONDS = 0.01
NAP_SHARE = 1 / 32
"""A waiting reader naps between looks for this share of the time without news, within these bounds: news are late by
so little of what they were waited for, and a dozen idle processes leave a core to those that work."""

MAX_POLL_BYTES = 32 * 2**20
FREE_PAGES_STEP = 4096

_SCHEMA = """
create table topics (name text primary key, partitions integer not null) without rowid;
create table records (
    sequence integer primary key,
    topic text not null, partition integer not null, offset integer not null,
    append_millis integer not null, key blob not null, headers blob not null, value blob not null
);
create unique index places on records (topic, partition, offset);
create table ends (
    topic text not null, partition integer not null, next_offset integer not null,
    last_millis integer not null, primary key (topic, partition)
) without rowid;
create table readers (name text primary key, epoch integer not null) without rowid;
create table positions (
    name text not null, topic text not null, partition integer not null, offset integer not null,
    primary key (name, topic, partition)
) without rowid;
"""

_COLUMNS = "topic, partition, offset, append_millis, value, headers, key"


def open_sqlite(url: str, path: str) -> SqliteLog:
    """Opens or makes a log.

    Raises:
        ParameterError: The path is empty.
        LogFull: The file cannot be made or written.
        LogCorrupt: The file is not a log.
    """
    if not path:
        raise ParameterError(f"{url!r} names no file", "say sqlite:///path")
    return SqliteLog(url, Path(path))


class SqliteLog:
    """One connection to a log; see `operators.event_log.EventLog`."""

    def __init__(self, url: str, path: Path, now_millis: Callable[[], int] | None = None) -> None:
        self._url = url
        self._path = path
        self._now_millis = now_millis or (lambda: time.time_ns() // 1_000_000)
        self._partitions: dict[str, int] = {}
        with _translated(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)
            self._prepare()
        self._seen_version = -1
        self._news_at = time.monotonic()

    @property
    def url(self) -> str:
        """See `EventLog`."""
        return self._url

    def create_topics(self, topics: Mapping[str, int]) -> None:
        """See `EventLog`."""
        for name, partitions in topics.items():
            if not name or partitions < 1:
                raise ParameterError(f"no topic {name!r} with {partitions} partitions")
        with self._transaction() as run:
            for name, partitions in topics.items():
                found = run("select partitions from topics where name = ?", (name,)).fetchone()
                if found is None:
                    run("insert into topics values (?, ?)", (name, partitions))
                elif found[0] != partitions:
                    raise ParameterError(
                        f"topic {name} has {found[0]} partitions, not {partitions}"
                    )

    def topics(self) -> Mapping[str, int]:
        """See `EventLog`."""
        with _translated(self._path):
            rows = self._connection.execute("select name, partitions from topics order by name")
            return dict(rows.fetchall())

    def append(
        self,
        topic: str,
        records: Sequence[Record],
        partition: int = 0,
        *,
        is_durable: bool = True,
    ) -> int:
        """See `EventLog`; a later durable append synchronises the same write-ahead log, earlier records first."""
        if not records:
            raise ParameterError("nothing to append")
        with self._synchronous(is_durable), self._transaction() as run:
            return self._insert(run, Append(topic, records, partition))

    def read(
        self, topic: str, start: int, max_records: int, partition: int = 0
    ) -> list[StoredRecord]:
        """See `EventLog`."""
        self._check_place(topic, partition)
        with _translated(self._path):
            self._note_version()
            rows = self._connection.execute(
                f"select {_COLUMNS} from records where topic = ? and partition = ? and offset >= ? "  # noqa: S608
                "order by offset limit ?",
                (topic, partition, start, max_records),
            )
            return [_stored(row) for row in rows]

    def first_offset(self, topic: str, partition: int = 0) -> int:
        """See `EventLog`."""
        self._check_place(topic, partition)
        with _translated(self._path):
            found = self._connection.execute(
                "select min(offset) from records where topic = ? and partition = ?",
                (topic, partition),
            ).fetchone()[0]
        return self.end_offset(topic, partition) if found is None else int(found)

    def end_offset(self, topic: str, partition: int = 0) -> int:
        """See `EventLog`."""
        self._check_place(topic, partition)
        with _translated(self._path):
            return _end(self._connection.execute, topic, partition)[0]

    def reader(self, name: str, topics: Iterable[str]) -> SqliteReader:
        """See `EventLog`."""
        places = []
        for topic in topics:
            self._check_place(topic, 0)
            places += [(topic, partition) for partition in range(self._partitions[topic])]
        with self._transaction() as run:
            run(
                "insert into readers values (?, 1) "
                "on conflict (name) do update set epoch = epoch + 1",
                (name,),
            )
            epoch = run("select epoch from readers where name = ?", (name,)).fetchone()[0]
        return SqliteReader(self, name, int(epoch), tuple(places))

    def wait(self, timeout_seconds: float) -> bool:
        """See `EventLog`."""
        deadline = time.monotonic() + timeout_seconds
        while True:
            with _translated(self._path):
                if self._note_version():
                    return True
            now = time.monotonic()
            if now >= deadline:
                return False
            nap = max(SHORTEST_NAP_SECONDS, NAP_SHARE * (now - self._news_at))
            time.sleep(min(nap, LONGEST_NAP_SECONDS, deadline - now))

    def retain(self, topic: str, first_kept: int, partition: int = 0) -> None:
        """See `EventLog`."""
        self._check_place(topic, partition)
        with self._transaction() as run:
            run(
                "delete from records where topic = ? and partition = ? and offset < ?",
                (topic, partition, first_kept),
            )
        with _translated(self._path):
            while self._connection.execute("pragma freelist_count").fetchone()[0]:
                self._connection.execute(f"pragma incremental_vacuum({FREE_PAGES_STEP})").fetchall()
            self._connection.execute("pragma wal_checkpoint(truncate)").fetchall()

    def size_bytes(self) -> int:
        """See `EventLog`."""
        files = [self._path, self._path.with_name(self._path.name + "-wal")]
        return sum(file.stat().st_size for file in files if file.exists())

    def close(self) -> None:
        """See `EventLog`."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def select(self, sql: str, values: Sequence[Any]) -> list[Any]:
        """Runs a query of a reader of this log."""
        with _translated(self._path):
            self._note_version()
            return self._connection.execute(sql, values).fetchall()

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Has all queries inside see the same state of the log."""
        with _translated(self._path):
            self._connection.execute("begin")
            try:
                yield
            finally:
                self._connection.execute("rollback")

    def commit(
        self, name: str, epoch: int, positions: Mapping[Place, int], outputs: Sequence[Append]
    ) -> None:
        """Stores a reader's positions and its outputs in one transaction; see `LogReader.commit`."""
        with self._transaction() as run:
            found = run("select epoch from readers where name = ?", (name,)).fetchone()
            if found is None or found[0] != epoch:
                raise FencedError(
                    f"reader {name} was opened again elsewhere",
                    "only one process may run this role",
                )
            run_many = [(name, topic, part, offset) for (topic, part), offset in positions.items()]
            for row in run_many:
                run("insert or replace into positions values (?, ?, ?, ?)", row)
            for output in outputs:
                if output.records:
                    self._insert(run, output)

    def _prepare(self) -> None:
        run = self._connection.execute
        run(f"pragma busy_timeout = {int(BUSY_SECONDS * 1000)}")
        found = run("pragma application_id").fetchone()[0]
        is_empty = not run("select count(*) from sqlite_master").fetchone()[0]
        if found not in (0, APPLICATION_ID) or (found == 0 and not is_empty):
            raise LogCorrupt(f"{self._path} is a database, but not an event log")
        if is_empty:
            run("pragma auto_vacuum = incremental")
        run("pragma journal_mode = wal").fetchall()
        run("pragma synchronous = full")
        run(f"pragma wal_autocheckpoint = {WAL_PAGES}").fetchall()
        run("pragma journal_size_limit = 67108864").fetchall()
        with self._transaction() as inside:
            if not inside("select count(*) from sqlite_master").fetchone()[0]:
                for statement in _SCHEMA.split(";"):
                    inside(statement)
                inside(f"pragma application_id = {APPLICATION_ID}")
                inside(f"pragma user_version = {FORMAT}")
        version = run("pragma user_version").fetchone()[0]
        if version != FORMAT:
            raise LogCorrupt(
                f"{self._path} has log format {version}, this program reads {FORMAT}",
                "use the version of the program that wrote it",
            )

    def _note_version(self) -> bool:
        version = self._connection.execute("pragma data_version").fetchone()[0]
        has_changed: bool = version != self._seen_version
        self._seen_version = version
        if has_changed:
            self._news_at = time.monotonic()
        return has_changed

    def _check_place(self, topic: str, partition: int) -> None:
        if topic not in self._partitions:
            self._partitions = dict(self.topics())
        partitions = self._partitions.get(topic)
        if partitions is None:
            raise ParameterError(f"there is no topic {topic} on {self._url}")
        if not 0 <= partition < partitions:
            raise ParameterError(f"topic {topic} has {partitions} partitions, not {partition}")

    def _insert(self, run: Callable[..., sqlite3.Cursor], output: Append) -> int:
        self._check_place(output.topic, output.partition)
        first, last_millis = _end(run, output.topic, output.partition)
        millis = max(last_millis, self._now_millis())
        for place, record in enumerate(output.records):
            if len(record.value) > MAX_RECORD_BYTES:
                raise RecordTooLarge(
                    f"a record of {len(record.value)} bytes; {MAX_RECORD_BYTES} is the most"
                )
            run(
                "insert into records (topic, partition, offset, append_millis, key, headers, value) "
                "values (?, ?, ?, ?, ?, ?, ?)",
                (
                    output.topic,
                    output.partition,
                    first + place,
                    millis,
                    record.key,
                    _encode_headers(record.headers),
                    record.value,
                ),
            )
        run(
            "insert or replace into ends values (?, ?, ?, ?)",
            (output.topic, output.partition, first + len(output.records), millis),
        )
        self._seen_version = -1  # one's own commits do not change data_version
        return first

    @contextmanager
    def _synchronous(self, is_durable: bool) -> Iterator[None]:
        """Leaves the disk's synchronisation of one transaction out, which is most of the time of a small one."""
        if is_durable:
            yield
            return
        with _translated(self._path):
            self._connection.execute("pragma synchronous = normal")
        try:
            yield
        finally:
            self._connection.execute("pragma synchronous = full")

    @contextmanager
    def _transaction(self) -> Iterator[Callable[..., sqlite3.Cursor]]:
        with _translated(self._path):
            self._connection.execute("begin immediate")
            try:
                yield self._connection.execute
                self._connection.execute("commit")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("rollback")
                raise


class SqliteReader:
    """A named reader; see `operators.event_log.LogReader`."""

    def __init__(self, log: SqliteLog, name: str, epoch: int, places: tuple[Place, ...]) -> None:
        self._log = log
        self._name = name
        self._epoch = epoch
        self._positions = dict.fromkeys(places, 0) | self._stored(places)

    @property
    def name(self) -> str:
        """See `LogReader`."""
        return self._name

    def poll(self, max_records: int, timeout_seconds: float = 0.0) -> list[StoredRecord]:
        """See `LogReader`."""
        check_max_records(max_records)
        deadline = time.monotonic() + timeout_seconds
        while True:
            found = self._fetch(max_records)
            left = deadline - time.monotonic()
            if found or left <= 0 or not self._log.wait(left):
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
        return dict.fromkeys(self._positions, 0) | self._stored(tuple(self._positions))

    def lag(self, now_millis: int) -> Lag:
        """See `LogReader`."""
        records, oldest = 0, now_millis
        for (topic, partition), offset in self._positions.items():
            ((count, millis),) = self._log.select(
                "select count(*), min(append_millis) from records "
                "where topic = ? and partition = ? and offset >= ?",
                (topic, partition, offset),
            )
            records += count
            oldest = oldest if millis is None else min(oldest, millis)
        return Lag(records, max(0, now_millis - oldest))

    def commit(self, outputs: Iterable[Append] = ()) -> None:
        """See `LogReader`."""
        self._log.commit(self._name, self._epoch, self._positions, list(outputs))

    def _stored(self, places: tuple[Place, ...]) -> dict[Place, int]:
        rows = self._log.select(
            "select topic, partition, offset from positions where name = ?", (self._name,)
        )
        return {(row[0], row[1]): row[2] for row in rows if (row[0], row[1]) in places}

    def _fetch(self, max_records: int) -> list[StoredRecord]:
        """Takes what is there in the order of appending; one index range per partition, then a merge."""
        keys: list[int] = []
        with (
            self._log.snapshot()
        ):  # else a record could be found whose causes came after the look for them
            for (topic, partition), offset in self._positions.items():
                rows = self._log.select(
                    "select sequence from records where topic = ? and partition = ? and offset >= ? "
                    "order by offset limit ?",
                    (topic, partition, offset, max_records),
                )
                keys += [row[0] for row in rows]
        found: list[StoredRecord] = []
        size = 0
        for key in sorted(keys)[:max_records]:
            row = self._log.select(f"select {_COLUMNS} from records where sequence = ?", (key,))  # noqa: S608
            if not row:
                continue
            record = _stored(row[0])
            size += len(record.value)
            if found and size > MAX_POLL_BYTES:
                break
            found.append(record)
            self._positions[record.topic, record.partition] = record.offset + 1
        return found


def _end(run: Callable[..., sqlite3.Cursor], topic: str, partition: int) -> tuple[int, int]:
    found = run(
        "select next_offset, last_millis from ends where topic = ? and partition = ?",
        (topic, partition),
    ).fetchone()
    return (0, 0) if found is None else (int(found[0]), int(found[1]))


def _stored(row: Sequence[Any]) -> StoredRecord:
    topic, partition, offset, millis, value, headers, key = row
    return StoredRecord(topic, partition, offset, millis, value, _decode_headers(headers), key)


def _encode_headers(headers: Headers) -> bytes:
    writer = Writer().u16(len(headers))
    for name, value in headers:
        writer.sized(name.encode()).sized(value)
    return writer.finish()


def _decode_headers(data: bytes) -> Headers:
    reader = Reader(data, "headers")
    headers = tuple(
        (
            reader.sized("name", MAX_RECORD_BYTES).decode(),
            reader.sized("value", MAX_RECORD_BYTES),
        )
        for _ in range(reader.u16("count"))
    )
    reader.finish()
    return headers


_FULL = ("disk is full", "readonly", "unable to open", "disk i/o error")


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    """Turns errors of SQLite and of the file system into those of the port."""
    try:
        yield
    except sqlite3.ProgrammingError as error:
        raise LogError(f"{path}: {error}") from error
    except sqlite3.OperationalError as error:
        if any(text in str(error).lower() for text in _FULL):
            raise LogFull(
                f"{path}: {error}; nothing was written",
                "free some space, or choose a directory that can be written",
            ) from error
        if "locked" in str(error).lower():
            raise LogBusy(
                f"{path}: {error}; nothing was written",
                "a process that was stopped while it wrote keeps its turn: continue or end it",
            ) from error
        raise LogError(f"{path}: {error}") from error
    except sqlite3.DatabaseError as error:
        raise LogCorrupt(
            f"{path}: {error}", "restore the file from a backup; validators keep their own votes"
        ) from error
    except OSError as error:
        raise LogFull(f"{path}: {error.strerror or error}") from error
