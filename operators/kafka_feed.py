"""What a Kafka consumer has fetched, kept per partition until it is asked for, and merged by the time of appending.

A broker tells where its records end, but not which offsets hold records: every transaction leaves a marker that
nobody gets to see. So that an empty answer is sure at once, our own transactions say on their last record that a
marker follows (`LAST_HEADER`), and a feed counts those; for other writers' it waits for the end of the partition.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from operators.event_log import Lag, LogCorrupt, LogUnreachable, Place, StoredRecord
from operators.kafka_address import KafkaAddress
from operators.kafka_client import STALL_SECONDS, Ends, is_away, port_error, translated

LAST_HEADER = "ecliptica-last"
"""Stands on the last record of a transaction in a partition; readers do not get to see it."""

MAX_POLL_BYTES = 32 * 2**20
PAUSE_BYTES = 8 * 2**20
"""Bytes waiting in one partition after which the broker is asked for no more of it, until half are taken."""

CONSUME_RECORDS = 500
LOOK_SECONDS = 0.05


@dataclass(slots=True)
class _Lane:
    """One partition of a feed.

    Attributes:
        position: Offset of the next record to hand out.
        fetched: Offset up to which all records are here or were handed out.
        markers: Offsets from `fetched` on that are known to be markers; never too many.
        waiting: Records that are here.
        waiting_bytes: Their values' bytes.
    """

    position: int = 0
    fetched: int = 0
    markers: int = 0
    waiting: deque[StoredRecord] = field(default_factory=deque)
    waiting_bytes: int = 0
    is_paused: bool = False

    def is_complete(self, end: int) -> bool:
        """Says whether no record below an end is missing."""
        return end - self.fetched <= self.markers

    def take_in(self, record: StoredRecord, is_last: bool) -> None:
        """Adds a record behind those that are here."""
        self.markers = max(0, self.markers - (record.offset - self.fetched)) + is_last
        self.fetched = record.offset + 1
        self.waiting.append(record)
        self.waiting_bytes += len(record.value)

    def reach(self, end: int) -> None:
        """Takes note that no record lies below `end`."""
        if end > self.fetched:
            self.fetched, self.markers = end, 0

    def hand_out(self) -> StoredRecord:
        """Removes the oldest record that is here."""
        record = self.waiting.popleft()
        self.waiting_bytes -= len(record.value)
        self.position = record.offset + 1
        return record


class Feed:
    """Reads some partitions from given positions on.

    Attributes:
        heard_at: When a record came last, by the monotonic clock; 0 if none has come.
    """

    def __init__(
        self, consumer: Consumer, address: KafkaAddress, ends: Ends, places: Sequence[Place]
    ) -> None:
        self._consumer = consumer
        self._address = address
        self._ends = ends
        self._lanes = {place: _Lane() for place in places}
        self._ranks = {place: rank for rank, place in enumerate(places)}
        self._is_started = False
        self.heard_at = 0.0

    @property
    def places(self) -> list[Place]:
        """What it reads."""
        return list(self._lanes)

    def positions(self) -> dict[Place, int]:
        """Returns the offset of the next record to hand out, per partition."""
        return {place: lane.position for place, lane in self._lanes.items()}

    def move(self, positions: Mapping[Place, int]) -> None:
        """Goes on elsewhere; what was fetched is dropped."""
        for place, lane in self._lanes.items():
            at = positions.get(place, lane.position)
            self._lanes[place] = _Lane(at, at)
        self._is_started = False

    def take(self, max_records: int) -> list[StoredRecord]:
        """Returns what is there now, oldest append first; empty only if nothing is.

        A record comes no earlier than what its writer had read: before a record of one partition is handed out,
        the others have been asked for all that they had by then.

        Raises:
            LogError: Brokers refuse, or are away for too long.
            LogCorrupt: A position lies beyond the end of its partition.
        """
        self.drain(0.0)
        while True:
            here = {place: len(lane.waiting) for place, lane in self._lanes.items()}
            if len(here) == 1 and any(here.values()):
                return self._merge(max_records, here, {})
            ends = self._ends.last(self.places)
            self._fill(ends)
            if found := self._merge(max_records, here, ends):
                return found
            if not any(lane.waiting for lane in self._lanes.values()):
                return []

    def drain(self, timeout_seconds: float) -> bool:
        """Takes in what the consumer has; waits so long for a first record. Says whether one came."""
        self._start()
        with translated("reading"):
            first = self._consumer.poll(timeout_seconds)
            if first is None:
                return False
            has_news = self._take_in([first])
            while messages := self._consumer.consume(CONSUME_RECORDS, 0):
                has_news = self._take_in(messages) or has_news
        return has_news

    def park(self) -> None:
        """Asks brokers for nothing until the next `take`; what was fetched is dropped."""
        if self._is_started:
            self._consumer.unassign()
            self.move({})

    def lag(self, now_millis: int) -> Lag:
        """Returns how far it is behind, markers counted; fetches the oldest record of each partition."""
        self.drain(0.0)
        ends = self._ends.last(self.places)
        self._fill(ends)
        behind = [(ends[place], lane) for place, lane in self._lanes.items() if lane.waiting]
        oldest = min((lane.waiting[0].append_millis for _, lane in behind), default=now_millis)
        records = sum(max(1, end - lane.position) for end, lane in behind)
        return Lag(records, max(0, now_millis - oldest))

    def close(self) -> None:
        """Ends the connection."""
        self._consumer.close()

    def _start(self) -> None:
        if self._is_started:
            return
        first, last = self._ends.first(self.places), self._ends.last(self.places)
        for place, lane in self._lanes.items():
            if lane.position > last[place]:
                raise LogCorrupt(
                    f"{place[0]}/{place[1]} ends at {last[place]}, before position {lane.position}",
                    "these positions are of another log, or the brokers have lost records",
                )
            lane.fetched = max(lane.position, first[place])
        wanted = [
            TopicPartition(self._address.full_name(topic), partition, lane.fetched)
            for (topic, partition), lane in self._lanes.items()
        ]
        with translated("reading"):
            self._consumer.assign(wanted)
            self._consumer.resume(wanted)  # the client keeps a pause from before
        self._is_started = True

    def _fill(self, ends: Mapping[Place, int]) -> None:
        """Waits until every partition has a record here or is complete up to its end."""
        deadline = time.monotonic() + STALL_SECONDS
        while any(
            not lane.waiting and not lane.is_complete(ends[place])
            for place, lane in self._lanes.items()
        ):
            self.drain(LOOK_SECONDS)
            if time.monotonic() > deadline:
                raise LogUnreachable(f"no records from {self._address.brokers}")

    def _merge(
        self, max_records: int, here: dict[Place, int], ends: Mapping[Place, int]
    ) -> list[StoredRecord]:
        """Hands out records by append time, then in the order of the places.

        Args:
            max_records: How many at most.
            here: Records per partition that were here before the ends were asked for. Others may have causes
                beyond those ends, unless they are older than one of these.
            ends: Offsets up to which the partitions were asked.
        """
        newest = max(
            (
                lane.waiting[here[place] - 1].append_millis
                for place, lane in self._lanes.items()
                if here[place]
            ),
            default=None,
        )
        found: list[StoredRecord] = []
        size = 0
        while newest is not None and len(found) < max_records:
            heads = [
                (lane.waiting[0].append_millis, self._ranks[place], place)
                for place, lane in self._lanes.items()
                if lane.waiting
            ]
            if not heads:
                break
            millis, _, place = min(heads)
            lane = self._lanes[place]
            size += len(lane.waiting[0].value)
            if (here[place] < 1 and millis >= newest) or (found and size > MAX_POLL_BYTES):
                break
            found.append(lane.hand_out())
            here[place] -= 1
            if not lane.waiting and ends and not lane.is_complete(ends[place]):
                break
        self._resume()
        return found

    def _take_in(self, messages: Sequence[Message]) -> bool:
        has_news = False
        for message in messages:
            error = message.error()
            if error is None:
                has_news = self._add(message) or has_news
            elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - its public name
                if (place := self._place(message)) is not None:
                    self._lanes[place].reach(message.offset() or 0)
            elif error.code() in (
                KafkaError._AUTO_OFFSET_RESET,  # noqa: SLF001
                KafkaError.OFFSET_OUT_OF_RANGE,
            ):
                self._is_started = False  # retention has overtaken it: start at what is kept
                self.move({})
                return True
            elif not is_away(error):
                raise port_error(error, "reading")
        return has_news

    def _add(self, message: Message) -> bool:
        place = self._place(message)
        offset = message.offset()
        if place is None or offset is None or offset < self._lanes[place].fetched:
            return False
        lane = self._lanes[place]
        record, is_last = stored_record(message, place)
        lane.take_in(record, is_last)
        self.heard_at = time.monotonic()
        if lane.waiting_bytes > PAUSE_BYTES and not lane.is_paused:
            self._consumer.pause([self._partition(place)])
            lane.is_paused = True
        return True

    def _resume(self) -> None:
        for place, lane in self._lanes.items():
            if lane.is_paused and lane.waiting_bytes <= PAUSE_BYTES // 2:
                self._consumer.resume([self._partition(place)])
                lane.is_paused = False

    def _place(self, message: Message) -> Place | None:
        topic, partition = message.topic(), message.partition()
        own = None if topic is None else self._address.own_name(topic)
        place = None if own is None or partition is None else (own, partition)
        return place if place in self._lanes else None

    def _partition(self, place: Place) -> TopicPartition:
        return TopicPartition(self._address.full_name(place[0]), place[1])


def _headers(message: Message) -> tuple[tuple[str, bytes], ...]:
    found = message.headers() or []
    pairs = found.items() if isinstance(found, dict) else found
    return tuple(
        (name, value.encode() if isinstance(value, str) else value or b"") for name, value in pairs
    )


def stored_record(message: Message, place: Place) -> tuple[StoredRecord, bool]:
    """Returns a message as the port's record, and whether it is its transaction's last."""
    headers = _headers(message)
    is_last = bool(headers) and headers[-1][0] == LAST_HEADER
    record = StoredRecord(
        place[0],
        place[1],
        message.offset() or 0,
        message.timestamp()[1],
        bytes(message.value() or b""),
        headers[:-1] if is_last else headers,
        bytes(message.key() or b""),
    )
    return record, is_last
