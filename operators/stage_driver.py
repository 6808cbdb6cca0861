"""The loop driver of a stage: poll, step, and one commit of outputs and positions.

A restart is the last snapshot and a replay of what was committed after it, with the outputs dropped. A record
on which the stage breaks becomes a dead letter; the others go on.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from operators.event_log import Append, EventLog, LogReader, Place, Record, StoredRecord
from operators.log_schemas import registry_of
from operators.metrics import NO_METRICS, Metrics
from operators.record_input import input_of
from operators.snapshot_file import read_snapshot, write_snapshot
from operators.stage import Input, Output, Stage
from schemas.errors import EclipticaError, InvariantError, WireError
from schemas.metrics import DEAD_LETTERS, STAGE_ROWS, STAGE_STEP_SECONDS
from schemas.tables import REJECTED, SchemaRegistry, encode
from schemas.topics import REJECTED as REJECTED_TOPIC
from schemas.wire import Reader, Writer

S = TypeVar("S")

POLL_RECORDS = 256
SNAPSHOT_COMMITS = 64
"""Commits between two snapshots."""

OUTPUT_BYTES = 4 * 2**20
"""Bytes of rows after which an output goes on in a further record."""

POISON = "poison"
"""Reason of dead letters that a stage broke on."""

BREAKS = (EclipticaError, ValueError, ArithmeticError, LookupError, TypeError)
"""What a stage may raise on a record it cannot take."""

_logger = logging.getLogger(__name__)

Supply = Callable[[S, Sequence[StoredRecord], bool], Iterable[list[StoredRecord]]]
"""Yields the steps of a batch: the records given, and before each the records of the stage's other topics that it needs.
Told whether the records are taken for the first time, or once more at a start."""

Cut = Callable[[Sequence[StoredRecord]], int]
"""Returns how many of the records that were read a step takes; at least one is taken."""


@dataclass(slots=True)
class StageDriver(Generic[S]):
    """Runs one stage over one log; build it with `open_driver`.

    Attributes:
        stage: The stage.
        log: The log.
        reader: Fenced reader under the stage's name.
        snapshot_path: Where its state is kept.
        kind: Names chain and stage in the snapshot.
        state: State after everything committed; after a commit that failed, beyond it.
        metrics: Where steps and what they put out are recorded.
        supply: Reads the topics that the reader does not, as far as a batch needs them. None where the reader
            reads all inputs.
        poll_records: Records of a step, and of a replay's.
        on_commit: Told what was put out, once the log has it.
    """

    stage: Stage[S]
    log: EventLog
    reader: LogReader
    snapshot_path: Path
    kind: str
    state: S
    metrics: Metrics = NO_METRICS
    supply: Supply[S] | None = None
    poll_records: int = POLL_RECORDS
    on_commit: Callable[[Sequence[Output]], None] = lambda _: None
    _registry: SchemaRegistry = field(init=False)
    _pending: list[StoredRecord] = field(default_factory=list)
    _broken: set[tuple[str, int, int]] = field(default_factory=set)
    _commits: int = 0
    _is_ahead: bool = False

    def __post_init__(self) -> None:
        """Looks for schemas of other versions on the log."""
        self._registry = registry_of(self.log)

    def run_once(
        self,
        timeout_seconds: float,
        now_millis: int,
        max_records: int | None = None,
        cut: Cut | None = None,
    ) -> int:
        """Takes in what is there and commits what follows from it; returns the number of records.

        Args:
            timeout_seconds: How long to wait for a record.
            now_millis: Time of the outputs, UTC milliseconds.
            max_records: How many to read; None for `poll_records`.
            cut: Chooses how many of what was read to take, the rest is read again; None for all.

        Raises:
            FencedError: The stage was started elsewhere.
            LogError: The log does not take the outputs.
            InvariantError: The stage found its own state broken.
        """
        records = self._pending or self.reader.poll(
            max_records or self.poll_records, timeout_seconds
        )
        self._pending = []
        if not records:
            return 0
        if cut is not None:
            records = self._cut(records, max(1, cut(records)))
        count = len(records)
        begun = time.perf_counter()
        self._is_ahead = True
        outputs: list[Output] = []
        try:
            for step in self._supplied(records, is_new=True):
                inputs = [self._input(record) for record in step]
                self.state, found = self.stage.step(self.state, inputs, now_millis)
                outputs += found
        except InvariantError:
            raise
        except BREAKS as error:
            ids = {"stage": self.stage.name, "topic": records[0].topic, "offset": records[0].offset}
            _logger.warning("broke on a batch: %s", error, extra=ids)
            outputs = self._one_by_one(records, now_millis)
        taken = time.perf_counter() - begun
        self.reader.commit(_appends(outputs))
        self._is_ahead = False
        self._record(taken, outputs)
        self.on_commit(outputs)
        self._commits += 1
        if self._commits >= SNAPSHOT_COMMITS:
            self.save()
        return count

    def save(self) -> None:
        """Writes a snapshot of the state and the positions it was taken at."""
        writer = Writer()
        positions = self.reader.positions()
        writer.u32(len(positions))
        for (topic, partition), offset in sorted(positions.items()):
            writer.sized(topic.encode()).u32(partition).u64(offset)
        writer.sized(self.stage.snapshot(self.state))
        write_snapshot(self.snapshot_path, self.kind, writer.finish())
        self._commits = 0

    def close(self) -> None:
        """Drains: writes a snapshot if anything is new and the log holds all that follows from it."""
        if self._commits and not self._is_ahead:
            self.save()

    def restart(self) -> None:
        """Brings the state back to what is committed: snapshot, then replay without outputs.

        A record on which the stage breaks changes nothing. To find it, what is replayed with it is taken one by one.
        """
        while (broken := self._replay_all()) is not None:
            self._broken.add(broken)

    def _replay_all(self) -> tuple[str, int, int] | None:
        """Replays; returns where a step begins that the stage broke on, or None when all is done."""
        committed = self.reader.committed()
        positions, self.state = self._restore()
        if any(positions.get(place, 0) > at for place, at in committed.items()):
            _logger.warning("%s is ahead of the log: starting from the log", self.snapshot_path)
            positions, self.state = {}, self.stage.initial()
        for topic, partition in committed:
            self.reader.seek(topic, partition, positions.get((topic, partition), 0))
        self._pending = []
        while any(self.reader.positions()[place] < at for place, at in committed.items()):
            records = self.reader.poll(self.poll_records)
            if not records:
                break  # retention removed the rest
            old = [r for r in records if r.offset < committed[r.topic, r.partition]]
            self._pending += [r for r in records if r.offset >= committed[r.topic, r.partition]]
            for step in self._supplied(old, is_new=False):
                if not self._replay(step):
                    return _place(step[0])
        return None

    def _cut(self, records: list[StoredRecord], count: int) -> list[StoredRecord]:
        """Leaves the records from `count` on to the next poll."""
        for record in reversed(records[count:]):
            self.reader.seek(record.topic, record.partition, record.offset)
        return records[:count]

    def _supplied(
        self, records: list[StoredRecord], *, is_new: bool
    ) -> Iterable[list[StoredRecord]]:
        return [records] if self.supply is None else self.supply(self.state, records, is_new)

    def _record(self, seconds: float, outputs: Sequence[Output]) -> None:
        name, metrics = self.stage.name, self.metrics
        metrics.observe(STAGE_STEP_SECONDS, seconds, name)
        for output in outputs:
            metrics.count(STAGE_ROWS, name, output.topic, by=len(output.rows))
            if output.topic == REJECTED_TOPIC:
                for row in output.rows:
                    metrics.count(DEAD_LETTERS, row["stage"], row["reason"])

    def _replay(self, records: Sequence[StoredRecord]) -> bool:
        """Takes records again; says whether the stage did not break on them."""
        inputs = [self._input(record) for record in records]
        if not self._broken.isdisjoint(map(_place, records)):
            for entry in inputs:
                self._try(entry, 0)
            return True
        try:
            self.state, _ = self.stage.step(self.state, inputs, 0)
        except InvariantError:
            raise
        except BREAKS:
            return False
        return True

    def _one_by_one(self, records: Sequence[StoredRecord], now_millis: int) -> list[Output]:
        """Takes records singly from the committed state on; those that break the stage are put aside."""
        after = dict(self.reader.positions())
        self.restart()
        self._pending = []
        for (topic, partition), offset in after.items():
            self.reader.seek(topic, partition, offset)
        outputs: list[Output] = []
        for step in self._supplied(list(records), is_new=True):
            for record in step:
                outputs += self._try(self._input(record), now_millis)
        return outputs

    def _try(self, entry: Input, now_millis: int) -> list[Output]:
        before = self.stage.snapshot(self.state)
        try:
            self.state, outputs = self.stage.step(self.state, [entry], now_millis)
        except InvariantError:
            raise
        except BREAKS as error:
            self.state = self.stage.restore(before)
            return [
                Output(
                    REJECTED_TOPIC, REJECTED, [_poisoned(self.stage.name, entry, error, now_millis)]
                )
            ]
        return outputs

    def _restore(self) -> tuple[Mapping[Place, int], S]:
        saved = read_snapshot(self.snapshot_path, self.kind)
        if saved is None:
            return {}, self.stage.initial()
        try:
            reader = Reader(saved, "snapshot")
            positions = {
                (reader.sized("topic", 256).decode(), reader.u32("partition")): reader.u64("offset")
                for _ in range(reader.u32("positions"))
            }
            state = self.stage.restore(reader.sized("state", 2**31))
            reader.finish()
        except WireError as error:
            _logger.warning("%s: %s: starting from the log", self.snapshot_path, error)
            return {}, self.stage.initial()
        return positions, state

    def _input(self, record: StoredRecord) -> Input:
        return input_of(record, self.stage.inputs[record.topic], self._registry)


def open_driver(  # noqa: PLR0917 - what a driver is made of
    stage: Stage[S],
    log: EventLog,
    directory: Path,
    chain: int,
    metrics: Metrics = NO_METRICS,
    supply: Supply[S] | None = None,
    topics: Collection[str] | None = None,
    poll_records: int = POLL_RECORDS,
) -> StageDriver[S]:
    """Starts a stage where its last commit ends.

    Args:
        stage: The stage.
        log: The log.
        directory: Where its snapshot is.
        chain: Chain number.
        metrics: Where it records.
        supply: See `StageDriver`; the state must tell what it holds of those topics.
        topics: Topics that are read and committed; None for all inputs.
        poll_records: Records of a step.

    Raises:
        ParameterError: One of its topics does not exist.
    """
    reader = log.reader(stage.name, stage.inputs if topics is None else topics)
    path = directory / f"{stage.name}.snapshot"
    kind = f"stage/{chain}/{stage.name}"
    driver = StageDriver(
        stage, log, reader, path, kind, stage.initial(), metrics, supply, poll_records
    )
    driver.restart()
    return driver


def _place(record: StoredRecord) -> tuple[str, int, int]:
    return record.topic, record.partition, record.offset


def _appends(outputs: Sequence[Output]) -> list[Append]:
    found = []
    for output in outputs:
        for rows in _pieces(output.rows):
            headers, body = encode(output.table, output.table.batch(rows))
            found.append(Append(output.topic, [Record(body, headers, output.key)]))
    return found


def _pieces(rows: Sequence[Mapping[str, Any]]) -> list[list[Mapping[str, Any]]]:
    """Cuts rows so that each record stays well below what the log takes."""
    pieces: list[list[Mapping[str, Any]]] = [[]]
    size = 0
    for row in rows:
        weight = sum(len(value) for value in row.values() if isinstance(value, bytes | str))
        if pieces[-1] and size + weight > OUTPUT_BYTES:
            pieces.append([])
            size = 0
        pieces[-1].append(row)
        size += weight
    return [piece for piece in pieces if piece]


def _poisoned(stage: str, entry: Input, error: BaseException, now_millis: int) -> dict[str, Any]:
    return {
        "stage": stage,
        "reason": POISON,
        "detail": f"{type(error).__name__}: {error}"[:1000],
        "topic": entry.topic,
        "partition": entry.partition,
        "offset": entry.offset,
        "row": -1,
        "schema": entry.fingerprint,
        "attempt": 1,
        "original": entry.value[: 15 * 2**20],
        "rejected_millis": now_millis,
        "digest": None,
    }
