"""One shard's log as timestamped Arrow batches, and the moment at which each window has all of them.

The event time of a batch is a slot of the chain's clock: a certified block's own, a final receipt's window, and for votes and dead
letters the slot in which the log stored them. A window is closed once a certified block of a later one is there and the log's time
is `CLOSING_MILLIS` past it and past the window's end. What comes later than that is left out. So batches and closings depend on
the log alone, wherever reading begins and however it is cut.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from operators.consensus_messages import decode_certificate
from operators.consensus_votes import CertificateRejected, check_certificate
from operators.event_log import EventLog, LogReader, StoredRecord
from operators.final_headers import FinalHeaders
from operators.log_schemas import registry_of
from operators.record_input import input_of
from operators.validator import identity_of
from schemas.block import BlockHeader, Phase, header_from_bytes
from schemas.errors import ParameterError, WireError
from schemas.genesis import Genesis
from schemas.receipt import ReceiptState
from schemas.tables import BLOCKS, CONSENSUS, RECEIPTS, REJECTED, SchemaRegistry, Table
from schemas.topics import RECEIPTS as RECEIPTS_TOPIC
from schemas.topics import REJECTED as REJECTED_TOPIC
from schemas.topics import shard_topic

CLOSING_MILLIS = 200
"""Log time between a closing block and the closing, milliseconds: what is committed with a block may be stored a little later."""

IDLE_MILLIS = 1000
"""How far the log's time may be behind the reader's clock, milliseconds; matters while nothing is appended."""

POLL_RECORDS = 256

READER = "analytics"
"""Readers are named `analytics.<shard>`."""


class Source(StrEnum):
    """What a batch holds.

    `rivals` are certified blocks that are not in the chain that was followed: a second final block of a height, or a copy of one.
    """

    BLOCKS = "blocks"
    RIVALS = "rivals"
    VOTES = "votes"
    RECEIPTS = "receipts"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class FeedPlace:
    """Where reading goes on.

    Attributes:
        offsets: Topic and the offset of the next record, in the order of the topics.
        height: Height of the last certified block before it.
        tip: Hash of that block; empty at the genesis.
    """

    offsets: tuple[tuple[str, int], ...]
    height: int = 0
    tip: bytes = b""


@dataclass(frozen=True, slots=True)
class FeedPosition:
    """All that a feed knows between two records.

    Attributes:
        place: Where reading goes on.
        open_window: First window that is not closed.
        pending: Windows of certified blocks above it, rising, and the log time at which each closes those below.
        openings: Windows with batches, rising, and a place before the first batch of that or a later window.
    """

    place: FeedPlace
    open_window: int = 0
    pending: tuple[tuple[int, int], ...] = ()
    openings: tuple[tuple[int, FeedPlace], ...] = ()


def position_fields(position: FeedPosition) -> dict[str, Any]:
    """Returns a position at which a window begins as plain data.

    Raises:
        ParameterError: Windows are open on both sides of it.
    """
    if position.pending or position.openings:
        raise ParameterError("only a place where a window begins can be gone on from")
    place = position.place
    return {
        "window": position.open_window,
        "height": place.height,
        "tip": place.tip.hex(),
        "offsets": [list(entry) for entry in place.offsets],
    }


def position_from(fields: Mapping[str, Any], shard: int) -> FeedPosition:
    """Inverse of `position_fields`.

    Raises:
        ValueError, KeyError, TypeError: They are no position of the shard.
    """
    offsets = tuple((str(topic), int(offset)) for topic, offset in fields["offsets"])
    if [topic for topic, _ in offsets] != list(feed_topics(shard)):
        raise ValueError(f"not the topics of shard {shard}")
    place = FeedPlace(offsets, int(fields["height"]), bytes.fromhex(fields["tip"]))
    return FeedPosition(place, int(fields["window"]))


@dataclass(frozen=True, slots=True)
class FeedBatch:
    """Rows of one record that belong to one window.

    Attributes:
        shard: Shard.
        source: What the rows are.
        slot: Event time.
        window: Window of the slot.
        offset: Of the record.
        row: Of the first row within the record.
        batch: The rows; of `BLOCKS` and `RIVALS` one.
    """

    shard: int
    source: Source
    slot: int
    window: int
    offset: int
    row: int
    batch: pa.RecordBatch


@dataclass(frozen=True, slots=True)
class ClosedWindow:
    """All batches of a window have come.

    Attributes:
        shard: Shard.
        window: The window; it has at least one batch.
        slot: Its last slot.
        next: Where a feed begins that is to find every later batch.
    """

    shard: int
    window: int
    slot: int
    next: FeedPosition


FeedItem = FeedBatch | ClosedWindow


def feed_topics(shard: int) -> dict[str, Table]:
    """Returns the topics of a shard's feed with their tables; a topic that others refer to comes first."""
    return {
        shard_topic("votes", shard): CONSENSUS,
        shard_topic("blocks", shard): BLOCKS,
        RECEIPTS_TOPIC: RECEIPTS,
        REJECTED_TOPIC: REJECTED,
    }


def first_position(shard: int) -> FeedPosition:
    """Returns the position before the first record."""
    return FeedPosition(FeedPlace(tuple((topic, 0) for topic in feed_topics(shard))))


@dataclass(slots=True)
class ShardFeed:
    """Turns the records of a shard into batches and closings; sees no log.

    Attributes:
        genesis: The chain.
        shard: Shard.
        position: After the last record taken.
        late: Batches left out because their window was closed.
        registry: The schemas that can be read.
    """

    genesis: Genesis
    shard: int
    position: FeedPosition
    late: int = 0
    registry: SchemaRegistry = field(default_factory=SchemaRegistry)
    _final: FinalHeaders = field(init=False)
    _rows: dict[bytes, Mapping[str, Any]] = field(default_factory=dict)
    _offsets: dict[str, int] = field(init=False)
    _tables: Mapping[str, Table] = field(init=False)

    def __post_init__(self) -> None:
        """Begins at the position."""
        place = self.position.place
        identity = identity_of(self.genesis, self.shard, None, None)
        self._final = FinalHeaders(
            identity.committee,
            identity.verifier,
            place.height,
            place.tip,
            on_final=lambda *_: None,
            registry=self.registry,
        )
        self._offsets = dict(place.offsets)
        self._tables = feed_topics(self.shard)

    def take(self, record: StoredRecord) -> list[FeedItem]:
        """Takes the next record and returns what follows from it: closings, then its batches."""
        items: list[FeedItem] = [*self.tick(record.append_millis)]
        before = self._place()
        for batch in self._batches(record):
            if batch.window < self.position.open_window:
                self.late += 1
                continue
            self._open(batch.window, before)
            items.append(batch)
        self._offsets[record.topic] = record.offset + 1
        self.position = replace(self.position, place=self._place())
        return items

    def tick(self, log_millis: int) -> list[ClosedWindow]:
        """Returns the windows that close by a log time, UTC milliseconds; no earlier record may come after it."""
        due = [window for window, at in self.position.pending if at <= log_millis]
        if not due:
            return []
        end = due[-1]
        pending = tuple(entry for entry in self.position.pending if entry[0] > end)
        closing = [window for window, _ in self.position.openings if window < end]
        closed = [self._closed(window) for window in closing]
        openings = tuple(entry for entry in self.position.openings if entry[0] >= end)
        self.position = FeedPosition(self._place(), end, pending, openings)
        self._final.forget(self._final.height - 1)
        return closed

    def _closed(self, window: int) -> ClosedWindow:
        later = [place for opened, place in self.position.openings if opened > window]
        place = later[0] if later else self._place()
        slot = (window + 1) * self.genesis.slots_per_window - 1
        return ClosedWindow(self.shard, window, slot, FeedPosition(place, window + 1))

    def _place(self) -> FeedPlace:
        offsets = dict(self._offsets)
        if (waiting := self._final.first_open) is not None:
            offsets[shard_topic("blocks", self.shard)] = waiting
        return FeedPlace(tuple(offsets.items()), self._final.height, self._final.tip)

    def _open(self, window: int, before: FeedPlace) -> None:
        openings = list(self.position.openings)
        at = bisect_left(openings, window, key=lambda entry: entry[0])
        if at < len(openings) and openings[at][0] == window:
            return
        openings.insert(at, (window, openings[at][1] if at < len(openings) else before))
        self.position = replace(self.position, openings=tuple(openings))

    def _batches(self, record: StoredRecord) -> Iterator[FeedBatch]:
        entry = input_of(record, self._tables[record.topic], self.registry)
        if entry.batch is None:
            return
        if record.topic == shard_topic("blocks", self.shard):
            yield from self._blocks(record, entry.batch)
        elif record.topic == RECEIPTS_TOPIC:
            yield from self._receipts(record, entry.batch)
        else:
            source, batch = Source.VOTES, entry.batch
            if record.topic == REJECTED_TOPIC:
                own = pc.equal(batch["topic"], shard_topic("tx", self.shard))
                source, batch = Source.REJECTED, batch.filter(own)
            if batch.num_rows:
                yield self._batch(source, self.genesis.slot_at(record.append_millis), record, batch)

    def _batch(
        self, source: Source, slot: int, record: StoredRecord, batch: pa.RecordBatch, row: int = 0
    ) -> FeedBatch:
        window = self.genesis.window_of(slot)
        return FeedBatch(self.shard, source, slot, window, record.offset, row, batch)

    def _receipts(self, record: StoredRecord, batch: pa.RecordBatch) -> Iterator[FeedBatch]:
        """Yields final receipts by window; a window that no certified block has reached is nobody's word."""
        own = pc.and_(
            pc.equal(batch["shard"], self.shard),
            pc.equal(batch["state"], ReceiptState.BFT_FINAL.value),
        )
        batch = batch.filter(own)
        newest = max([self.position.open_window, *(w for w, _ in self.position.pending)])
        for window in pc.unique(batch["window"]).to_pylist():
            if window is not None and 0 <= window <= newest:
                rows = batch.filter(pc.equal(batch["window"], window))
                slot = window * self.genesis.slots_per_window
                yield self._batch(Source.RECEIPTS, slot, record, rows, row=window)

    def _blocks(self, record: StoredRecord, batch: pa.RecordBatch) -> Iterator[FeedBatch]:
        certified: list[tuple[Mapping[str, Any], int]] = []

        def keep(header: BlockHeader, _: bytes) -> None:
            certified.append((self._rows.pop(header.block_hash()), header.slot))

        self._final.on_final = keep
        for place, row in enumerate(batch.to_pylist()):
            try:
                yield from self._row(record, place, row, certified)
            except (WireError, CertificateRejected):
                continue  # anyone may write to the log

    def _row(
        self,
        record: StoredRecord,
        place: int,
        row: Mapping[str, Any],
        certified: list[tuple[Mapping[str, Any], int]],
    ) -> Iterator[FeedBatch]:
        header = header_from_bytes(row["header"])
        if header.height <= self._final.height:
            yield from self._rival(record, place, row, header)
            return
        if (header.height, header.parent_hash) == (self._final.height + 1, self._final.tip):
            self._rows.clear()
        own_hash = header.block_hash()
        before = self._rows.get(own_hash)
        self._rows[own_hash] = row
        try:
            self._final.take_row(row, record.offset)
        except (WireError, CertificateRejected):
            if before is None:
                self._rows.pop(own_hash, None)
            else:
                self._rows[own_hash] = before
            raise
        for number, (final, slot) in enumerate(certified):
            self._reach(self.genesis.window_of(slot), record.append_millis)
            one = BLOCKS.batch([final])
            yield self._batch(Source.BLOCKS, slot, record, one, row=(place << 16) + number)
        certified.clear()

    def _rival(
        self, record: StoredRecord, place: int, row: Mapping[str, Any], header: BlockHeader
    ) -> Iterator[FeedBatch]:
        """Yields a certified block at or below the height that was reached, unless its window is long over."""
        if self.genesis.window_of(header.slot) < self.position.open_window:
            return
        certificate = decode_certificate(row["certificate"])
        committee = self._final.committee
        is_own = certificate.ballot.block_hash == header.block_hash()
        if is_own and certificate.ballot.phase is Phase.FINALIZE:
            check_certificate(certificate, committee, self._final.verifier)
            yield self._batch(Source.RIVALS, header.slot, record, BLOCKS.batch([row]), row=place)

    def _reach(self, window: int, append_millis: int) -> None:
        """Notes that a certified block of a window is there."""
        if window <= max([self.position.open_window, *(w for w, _ in self.position.pending)]):
            return
        micros = window * self.genesis.slots_per_window * self.genesis.slot_micros
        begin = self.genesis.start_millis - (-micros // 1000)
        due = max(append_millis + CLOSING_MILLIS, begin)
        pending = (*self.position.pending, (window, due))
        self.position = replace(self.position, pending=pending)


@dataclass(slots=True)
class FeedReader:
    """A feed that polls a log.

    Attributes:
        reader: Reads the feed's topics; its positions are never committed here.
        feed: The feed.
    """

    reader: LogReader
    feed: ShardFeed

    def move(self, position: FeedPosition) -> None:
        """Goes on at another position."""
        self.feed = ShardFeed(
            self.feed.genesis, self.feed.shard, position, registry=self.feed.registry
        )
        for topic, offset in position.place.offsets:
            self.reader.seek(topic, 0, offset)

    def advance(
        self, now_millis: int, max_records: int = POLL_RECORDS, timeout_seconds: float = 0.0
    ) -> tuple[list[FeedItem], int]:
        """Returns what the records that are there now give, of `max_records` at most, and their number.

        Args:
            now_millis: The reader's clock, UTC milliseconds; closes windows while nothing is appended.
            max_records: Most records.
            timeout_seconds: How long to wait for records when none is there.
        """
        records = self.reader.poll(max_records, timeout_seconds)
        if not records:
            return [*self.feed.tick(now_millis - IDLE_MILLIS)], 0
        return [item for record in records for item in self.feed.take(record)], len(records)


def open_feed(
    log: EventLog, genesis: Genesis, shard: int, position: FeedPosition, purpose: str = "feed"
) -> FeedReader:
    """Opens a feed at a position.

    Args:
        log: The log.
        genesis: The chain.
        shard: Shard.
        position: Where it begins.
        purpose: Ends the reader's name, so that several may read at once.

    Raises:
        ParameterError: The log lacks one of its topics.
    """
    reader = log.reader(f"{READER}.{shard}.{purpose}", feed_topics(shard))
    found = FeedReader(reader, ShardFeed(genesis, shard, position, registry=registry_of(log)))
    found.move(position)
    return found
