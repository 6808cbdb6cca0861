"""Admission with a bound: it reads on while what is admitted and not final leaves room, and waits otherwise.

Excess stays on `tx.<shard>`, where it costs disk and no memory, in the order in which it came. What it is waiting for is
on the log too: final blocks, and the dead letters of what no block could hold.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from operators.admission import Admission
from operators.admission_backlog import AdmissionBacklog, AdmissionRoom
from operators.admission_supply import AdmissionSupply
from operators.admission_view import AdmissionView
from operators.event_log import EventLog, LogReader, StoredRecord
from operators.log_schemas import registry_of
from operators.metrics import NO_METRICS, Metrics
from operators.record_input import input_of
from operators.snapshot_file import read_snapshot, write_snapshot
from operators.stage import Output
from operators.stage_driver import POLL_RECORDS, SNAPSHOT_COMMITS, StageDriver, open_driver
from operators.topic_view import TopicView
from schemas.config import Configuration
from schemas.metrics import ADMISSION_HELD, ADMISSION_ROOM, ADMISSION_WAITING
from schemas.tables import ADMITTED, BLOCKS, REJECTED, SchemaRegistry
from schemas.topics import REJECTED as REJECTED_TOPIC
from schemas.topics import shard_topic
from schemas.units import SIGNATURE_BYTES
from schemas.wire import Reader, Writer

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class AdmissionPlace:
    """Where an admission stage works.

    Attributes:
        log: The log.
        directory: Where its snapshots are.
        chain: Chain number.
        metrics: Where it records.
    """

    log: EventLog
    directory: Path
    chain: int
    metrics: Metrics = NO_METRICS


class BoundedAdmission:
    """The admission of one shard under its driver.

    Attributes:
        driver: The stage.
        backlog: What it waits for.
    """

    def __init__(self, stage: Admission, place: AdmissionPlace, backlog: AdmissionBacklog) -> None:
        """Starts from the directory and the log; what the directory lacks is read from the first record."""
        self._place, self._shard = place, stage.shard
        self._tx, self._blocks, self._admitted = (
            shard_topic(stem, stage.shard) for stem in ("tx", "blocks", "admitted")
        )
        self._supply = AdmissionSupply(place.log, stage.shard)
        self.driver: StageDriver[AdmissionView] = open_driver(
            stage, place.log, place.directory, place.chain, place.metrics, self._supply, [self._tx]
        )
        self.driver.on_commit = self._on_commit
        self.backlog = backlog
        self._registry: SchemaRegistry = registry_of(place.log)
        self._news: LogReader = place.log.reader(
            f"{stage.name}/backlog", [self._blocks, REJECTED_TOPIC]
        )
        self._snapshot = place.directory / f"{stage.name}.backlog.snapshot"
        self._kind = f"backlog/{place.chain}/{stage.name}"
        self._unread: int | None = self._restore()
        self._supply.begin(self._news.positions()[self._blocks, 0])
        self._now, self._commits, self._record_rows = 0, 0, 1

    def pump(self, now_millis: int) -> bool:
        """Takes in what became final, then judges as much as there is room for; says whether anything was there.

        Raises:
            FencedError, LogError, InvariantError: As `StageDriver.run_once`.
        """
        self._now = now_millis
        if self._unread is not None:
            rows = TopicView(self._place.log).rows(self._admitted, ADMITTED, self._unread)
            self.backlog.take_verdicts(rows, now_millis)
            self._unread = None
        news = self._news.poll(POLL_RECORDS)
        for record in news:
            self._take(record)
        blocks = [record for record in news if record.topic == self._blocks]
        self._supply.take(blocks, self._news.positions()[self._blocks, 0])
        left = self.backlog.left(now_millis)
        if left <= 0:
            return bool(news)
        most = max(1, min(POLL_RECORDS, left // self._record_rows))
        taken = self.driver.run_once(0.0, now_millis, most, lambda found: self._cut(found, left))
        if self._commits >= SNAPSHOT_COMMITS:
            self.save()
        return bool(news) or taken > 0

    def next_tick(self) -> int | None:
        """Returns None: news alone moves it."""
        return None

    def measure(self) -> None:
        """Records what waits, how much may, and whether transactions wait on the log for that."""
        metrics, shard = self._place.metrics, str(self._shard)
        waiting, room = len(self.backlog.waiting), int(self.backlog.room.size)
        metrics.set(ADMISSION_WAITING, waiting, shard)
        metrics.set(ADMISSION_ROOM, room, shard)
        metrics.set(ADMISSION_HELD, float(waiting >= room), shard)

    def save(self) -> None:
        """Writes what is waited for and where the topics that tell of it were read to."""
        positions = self._news.positions()
        writer = Writer().u64(self._place.log.end_offset(self._admitted))
        writer.u64(positions[self._blocks, 0]).u64(positions[REJECTED_TOPIC, 0])
        writer.sized(self.backlog.encode())
        write_snapshot(self._snapshot, self._kind, writer.finish())
        self._commits = 0

    def close(self) -> None:
        """Drains."""
        self.driver.close()
        if self._unread is None:
            self.save()

    def _cut(self, records: Sequence[StoredRecord], left: int) -> int:
        """Learns how large records are, so that few are read in vain, and says how many fit."""
        self._record_rows = max(1, *map(most_rows, records))
        return fitting(records, left)

    def _on_commit(self, outputs: Sequence[Output]) -> None:
        self._commits += 1
        for output in outputs:
            if output.topic == self._admitted:
                self.backlog.take_verdicts(output.rows, self._now)

    def _take(self, record: StoredRecord) -> None:
        is_block = record.topic == self._blocks
        batch = input_of(record, BLOCKS if is_block else REJECTED, self._registry).batch
        rows = [] if batch is None else batch.to_pylist()
        if is_block:
            self.backlog.take_blocks(rows, self._now)
        else:
            self.backlog.take_letters(rows, self._tx)

    def _restore(self) -> int:
        """Goes on from the snapshot, if there is one; returns where verdicts are to be read from."""
        saved = read_snapshot(self._snapshot, self._kind)
        reader = Reader(saved or b"", "backlog snapshot")
        at = dict.fromkeys((self._blocks, REJECTED_TOPIC), 0)
        admitted = 0
        if saved is not None:
            admitted, at[self._blocks], at[REJECTED_TOPIC] = (
                reader.u64(name) for name in ("admitted", "blocks", "rejected")
            )
            backlog = reader.sized("backlog", 2**31)
            reader.finish()
            if admitted > self._place.log.end_offset(self._admitted):
                _logger.warning("%s is ahead of the log: starting from the log", self._snapshot)
                admitted, at = 0, dict.fromkeys(at, 0)
            else:
                self.backlog.restore(backlog)
        for topic, offset in at.items():
            self._news.seek(topic, 0, offset)
        return admitted


def fitting(records: Sequence[StoredRecord], left: int) -> int:
    """Returns how many of the first records can hold `left` transactions that are admitted, and no more."""
    for count, record in enumerate(records):
        left -= most_rows(record)
        if left < 0:
            return count
    return len(records)


def most_rows(record: StoredRecord) -> int:
    """Returns how many transactions of a record can be admitted: each has a signature of its own."""
    return len(record.value) // SIGNATURE_BYTES


def open_admission(
    stage: Admission, place: AdmissionPlace, configuration: Configuration
) -> BoundedAdmission:
    """Starts the admission of a shard with the configured bounds.

    Raises:
        ParameterError: One of its topics does not exist.
    """
    limits, slot_micros = configuration.admission, stage.genesis.slot_micros
    lifetime = limits.max_expiry_slots * slot_micros // 1000
    room = AdmissionRoom(limits.target_wait_millis, limits.max_waiting)
    # a block is voted on for a while after the slot up to which its transactions were good
    backlog = AdmissionBacklog(room, lifetime + configuration.consensus.max_timeout_millis)
    return BoundedAdmission(stage, place, backlog)
