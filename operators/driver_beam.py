"""A stage under Beam: a bounded range of its topics as one element of a fused DoFn, then one commit of outputs and positions.

The stage runs under the loop driver's own code on a reader that ends with the range and keeps what is committed, so outputs,
dead letters and state are the loop driver's, byte for byte. Nothing is shuffled. The result is a file, of the same bytes whenever the
range is run again; only then are outputs and positions committed to the log under the stage's name, which fences a loop driver. A
kill at any place leaves a range that is run again, or one that is committed.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import apache_beam as beam

from operators.beam_analytics import run_here
from operators.beam_source import held_log
from operators.event_log import (
    Append,
    EventLog,
    FencedError,
    Lag,
    LogReader,
    Place,
    Record,
    StoredRecord,
)
from operators.snapshot_file import read_snapshot, write_snapshot
from operators.stage import Stage
from operators.stage_driver import StageDriver, open_driver
from schemas.errors import InvariantError
from schemas.wire import Reader, Writer

MAX_BYTES = 2**31
"""No part of a result is longer, bytes."""

Positions = Mapping[Place, int]


@dataclass(slots=True)
class RangeReader:
    """A `LogReader` over a range: ends where it ends, and keeps what is committed.

    Attributes:
        inner: Reads the log; nothing is committed there.
        starts: Where the range begins; what lies before may be read to replay it.
        ends: Where it ends.
        outputs: What was committed.
    """

    inner: LogReader
    starts: dict[Place, int]
    ends: Positions
    outputs: list[Append] = field(default_factory=list)

    @property
    def name(self) -> str:
        """See `LogReader`."""
        return self.inner.name

    def poll(self, max_records: int, timeout_seconds: float = 0.0) -> list[StoredRecord]:
        """See `LogReader`; empty at the range's end."""
        while any(at < self.ends[place] for place, at in self.positions().items()):
            found = self.inner.poll(max_records, timeout_seconds)
            kept = [one for one in found if one.offset < self.ends[one.topic, one.partition]]
            if kept or not found:
                return kept
        return []

    def positions(self) -> Positions:
        """See `LogReader`."""
        return {place: min(at, self.ends[place]) for place, at in self.inner.positions().items()}

    def seek(self, topic: str, partition: int, offset: int) -> None:
        """See `LogReader`."""
        self.inner.seek(topic, partition, offset)

    def committed(self) -> Positions:
        """See `LogReader`."""
        return self.starts

    def lag(self, now_millis: int) -> Lag:
        """See `LogReader`."""
        return self.inner.lag(now_millis)

    def commit(self, outputs: Iterable[Append] = ()) -> None:
        """See `LogReader`: keeps the outputs, in memory."""
        self.outputs += outputs
        self.starts = dict(self.positions())


@dataclass(frozen=True, slots=True)
class StageRange:
    """What one run of a stage takes in.

    Attributes:
        build: Makes the stage; importable, since workers get it.
        log_url: Address of the log.
        chain: Chain number.
        directory: Where the stage keeps its snapshot, and where the result goes.
        starts: Where the range begins, as (topic, partition, offset).
        ends: Where it ends.
        now_millis: Time of its outputs, UTC milliseconds.
    """

    build: Callable[[], Stage[Any]]
    log_url: str
    chain: int
    directory: Path
    starts: tuple[tuple[str, int, int], ...]
    ends: tuple[tuple[str, int, int], ...]
    now_millis: int

    def result(self, name: str) -> Path:
        """Returns the file of the result of a stage of that name."""
        return self.directory / f"{name}.range"


class RunStage(beam.DoFn):
    """Runs ranges: `StageRange` to the name of the stage whose result is on file."""

    def __init__(self) -> None:
        """Has no settings: all is in the elements."""

    def process(self, element: StageRange) -> Iterator[str]:
        """Writes the result of a range."""
        log, stage = held_log(element.log_url), element.build()
        reader = log.reader(f"{stage.name}.beam", stage.inputs)
        bounded = RangeReader(reader, _by_place(element.starts), _by_place(element.ends))
        with (
            tempfile.TemporaryDirectory() as own
        ):  # a snapshot may not be ahead of the log's positions
            path = Path(own) / f"{stage.name}.snapshot"
            if (source := element.directory / path.name).exists():
                shutil.copy(source, path)
            driver = StageDriver(
                stage, log, bounded, path, f"stage/{element.chain}/{stage.name}", stage.initial()
            )
            driver.restart()
            while driver.run_once(0.0, element.now_millis):
                pass
            state = stage.snapshot(driver.state)
        body = _encode(element, bounded.outputs, state)
        write_snapshot(element.result(stage.name), _kind(element.chain, stage.name), body)
        yield stage.name


def run_range(
    build: Callable[[], Stage[Any]],
    log: EventLog,
    directory: Path,
    chain: int,
    *,
    now_millis: int,
    max_records: int,
) -> int:
    """Runs a stage over what the log has for it, as one bounded pipeline, and commits the outcome.

    Args:
        build: Makes the stage; importable or a `functools.partial` of what is.
        log: The log.
        directory: Where the stage's snapshot is.
        chain: Chain number.
        now_millis: Time of the outputs, UTC milliseconds.
        max_records: Offsets of each topic that are taken in at most.

    Returns:
        The number of offsets taken in.

    Raises:
        FencedError: The stage ran elsewhere meanwhile; nothing was committed.
        InvariantError: The stage found its own state broken.
    """
    stage = build()
    starts = dict(log.reader(stage.name, stage.inputs).committed())
    ends = {
        (topic, partition): min(log.end_offset(topic, partition), at + max_records)
        for (topic, partition), at in starts.items()
    }
    if ends == starts:
        return 0
    wanted = StageRange(
        build, log.url, chain, directory, _as_rows(starts), _as_rows(ends), now_millis
    )
    run_here(lambda pipeline: _build(pipeline, wanted))
    _commit(wanted, log, stage)
    return sum(ends.values()) - sum(starts.values())


def _build(pipeline: beam.Pipeline, wanted: StageRange) -> None:
    _ = pipeline | beam.Create([wanted], reshuffle=False) | beam.ParDo(RunStage())


def _commit(wanted: StageRange, log: EventLog, stage: Stage[Any]) -> None:
    path = wanted.result(stage.name)
    body = read_snapshot(path, _kind(wanted.chain, stage.name))
    if body is None:
        raise InvariantError(f"the pipeline left no result in {path}")
    outputs, state = _decode(body, wanted)
    driver = open_driver(stage, log, wanted.directory, wanted.chain)
    if dict(driver.reader.committed()) != _by_place(wanted.starts):
        raise FencedError(
            f"{stage.name} ran elsewhere meanwhile", "only one driver may run a stage"
        )
    for topic, partition, offset in wanted.ends:
        driver.reader.seek(topic, partition, offset)
    driver.reader.commit(outputs)
    driver.state = stage.restore(state)
    driver.save()
    path.unlink()


def _kind(chain: int, name: str) -> str:
    return f"range/{chain}/{name}"


def _by_place(rows: Iterable[tuple[str, int, int]]) -> dict[Place, int]:
    return {(topic, partition): offset for topic, partition, offset in rows}


def _as_rows(positions: Positions) -> tuple[tuple[str, int, int], ...]:
    return tuple((topic, partition, at) for (topic, partition), at in sorted(positions.items()))


def _encode(wanted: StageRange, outputs: list[Append], state: bytes) -> bytes:
    writer = Writer().sized(_place_bytes(wanted)).sized(state).u32(len(outputs))
    for output in outputs:
        writer.sized(output.topic.encode()).u32(output.partition).u32(len(output.records))
        for record in output.records:
            writer.sized(record.value).sized(record.key).u16(len(record.headers))
            for name, value in record.headers:
                writer.sized(name.encode()).sized(value)
    return writer.finish()


def _decode(body: bytes, wanted: StageRange) -> tuple[list[Append], bytes]:
    reader = Reader(body, "range")
    if reader.sized("place", MAX_BYTES) != _place_bytes(wanted):
        raise InvariantError("the result on file is of another range")
    state = reader.sized("state", MAX_BYTES)
    outputs = []
    for _ in range(reader.u32("outputs")):
        topic, partition = reader.sized("topic", 256).decode(), reader.u32("partition")
        records = []
        for _ in range(reader.u32("records")):
            value, key = reader.sized("value", MAX_BYTES), reader.sized("key", MAX_BYTES)
            headers = tuple(
                (reader.sized("name", MAX_BYTES).decode(), reader.sized("header", MAX_BYTES))
                for _ in range(reader.u16("headers"))
            )
            records.append(Record(value, headers, key))
        outputs.append(Append(topic, records, partition))
    reader.finish()
    return outputs, state


def _place_bytes(wanted: StageRange) -> bytes:
    writer = Writer()
    for rows in (wanted.starts, wanted.ends):
        for topic, partition, offset in rows:
            writer.sized(topic.encode()).u32(partition).u64(offset)
    return writer.finish()


_reader: type[LogReader] = RangeReader
