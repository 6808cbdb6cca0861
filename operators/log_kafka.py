"""The event log on Kafka: topics of one namespace, commits as transactions, appends as idempotent writes.

What this adapter makes of the port's promises, and why, is in `operators/README.md` "Kafka".
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self

from confluent_kafka import (
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, NewTopic

from operators.event_log import (
    MAX_RECORD_BYTES,
    Append,
    Lag,
    LogError,
    LogUnreachable,
    Place,
    Record,
    RecordTooLarge,
    StoredRecord,
    check_max_records,
    check_seek,
)
from operators.kafka_address import KafkaAddress, read_address
from operators.kafka_client import (
    ANSWER_SECONDS,
    FETCH_WAIT_MILLIS,
    MESSAGE_BYTES,
    READ_WAIT_MILLIS,
    STALL_SECONDS,
    Complaints,
    Ends,
    common_settings,
    new_admin,
    new_consumer,
    new_producer,
    port_error,
    translated,
)
from operators.kafka_commit import (
    Committer,
    encode_positions,
    last_positions,
    produce,
)
from operators.kafka_feed import Feed
from schemas.errors import EnvironmentMissing, ParameterError
from schemas.topics import POSITIONS_STEM, SCRATCH_GROUP, plan_of, positions_topic

SHORTEST_NAP_SECONDS = 0.001
LONGEST_NAP_SECONDS = 0.02
IDLE_GROWTH = 1.2
"""A process with several readers waits at one of them between looks at the others, a little longer each time."""

SHOWN_SECONDS = 1.0
"""Least time between two updates of the group offsets that Kafka's tools show."""

VISIBLE_SECONDS = 1.0
"""Longest wait of a commit for its own records; they are stored, and the next commit waits for the rest anyway."""

METADATA_SECONDS = 2.0
"""How long one question for the topics may take before it is put again, within `ANSWER_SECONDS`."""

READ_RECORDS = 10_000


def open_kafka(url: str) -> KafkaLog:
    """Opens a log; its topics are made by `create_topics`.

    Raises:
        ParameterError: The address is none.
        LogUnreachable: No broker answers within `ANSWER_SECONDS`.
        LogError: Brokers refuse the user.
    """
    return KafkaLog(read_address(url))


class KafkaLog:
    """Connections to one log; see `operators.event_log.EventLog`."""

    def __init__(self, address: KafkaAddress) -> None:
        self._address = address
        self._complaints = Complaints()
        self._common = common_settings(address, self._complaints)
        self._admin: AdminClient = new_admin(self._common)
        self._partitions: dict[str, int] = {}
        self._readers: list[KafkaReader] = []
        self._seen: dict[Place, int] = {}
        self._is_closed = False
        self._producer: Producer | None = None
        self._cursor: tuple[Place, Feed] | None = None
        self._refresh()
        self._ends = Ends(self.consumer(SCRATCH_GROUP), address, self._complaints)

    @property
    def url(self) -> str:
        """See `EventLog`."""
        return self._address.url

    def create_topics(self, topics: Mapping[str, int]) -> None:
        """See `EventLog`; retention and compaction are those of `schemas.topics.plan_of`."""
        for name, partitions in topics.items():
            if not name or partitions < 1:
                raise ParameterError(f"no topic {name!r} with {partitions} partitions")
        self._refresh()
        for name, partitions in topics.items():
            found = self._partitions.get(name, partitions)
            if found != partitions:
                raise ParameterError(f"topic {name} has {found} partitions, not {partitions}")
        self._make({name: n for name, n in topics.items() if name not in self._partitions})

    def topics(self) -> Mapping[str, int]:
        """See `EventLog`."""
        self._refresh()
        own = {n: p for n, p in self._partitions.items() if n.partition(".")[0] != POSITIONS_STEM}
        return dict(sorted(own.items()))

    def append(
        self,
        topic: str,
        records: Sequence[Record],
        partition: int = 0,
        *,
        is_durable: bool = True,
    ) -> int:
        """See `EventLog`; all in-sync copies have the records either way.

        Raises:
            LogUnreachable: Brokers are away for too long; it is not known whether records were stored.
        """
        if not records:
            raise ParameterError("nothing to append")
        self.check(topic, partition, records)
        if self._producer is None:
            self._producer = new_producer(self._common)
        offsets: list[int] = []
        failures: list[KafkaError] = []

        def delivered(error: KafkaError | None, message: Message) -> None:
            if error is not None:
                failures.append(error)
            else:
                offsets.append(message.offset() or 0)

        output = Append(topic, records, partition)
        with translated(f"appending to {topic}"):
            for record in records:
                produce(
                    self._producer,
                    self._address,
                    output,
                    record,
                    list(record.headers),
                    delivered,
                )
            while len(offsets) + len(failures) < len(records):
                self._producer.poll(1.0)
        if failures:
            self._producer = None  # its sequence is broken; the next append begins another
            raise port_error(failures[0], f"appending to {topic}")
        return min(offsets)

    def read(
        self, topic: str, start: int, max_records: int, partition: int = 0
    ) -> list[StoredRecord]:
        """See `EventLog`."""
        self.check(topic, partition)
        place = (topic, partition)
        first, end = self._ends.first([place])[place], self._ends.last([place])[place]
        self._seen[place] = end
        start = max(start, first)
        if start >= end:
            return []
        feed = self._cursor_at(place, start)
        found: list[StoredRecord] = []
        while len(found) < max_records and (more := feed.take(max_records - len(found))):
            found += more
            if found[-1].offset + 1 >= end:
                break
        if not found or found[-1].offset + 1 >= end:
            feed.park()
        return found

    def first_offset(self, topic: str, partition: int = 0) -> int:
        """See `EventLog`."""
        self.check(topic, partition)
        return self._ends.first([(topic, partition)])[topic, partition]

    def end_offset(self, topic: str, partition: int = 0) -> int:
        """See `EventLog`; counts decided records and the markers of transactions."""
        self.check(topic, partition)
        return self._ends.last([(topic, partition)])[topic, partition]

    def reader(self, name: str, topics: Iterable[str]) -> KafkaReader:
        """See `EventLog`."""
        places: list[Place] = []
        for topic in topics:
            self.check(topic, 0)
            places += [(topic, part) for part in range(self._partitions[topic])]
        reader = KafkaReader(self, name, tuple(places))
        self._readers.append(reader)
        return reader

    def wait(self, timeout_seconds: float) -> bool:
        """See `EventLog`; with readers, news is what they are sent, else a look at the ends of all topics."""
        deadline = time.monotonic() + timeout_seconds
        nap = SHORTEST_NAP_SECONDS
        while True:
            left = max(0.0, deadline - time.monotonic())
            turn = left if len(self._readers) == 1 else min(nap, left)
            if self._hear(turn) if self._readers else self._have_ends_moved():
                return True
            if time.monotonic() >= deadline:
                return False
            if not self._readers:
                time.sleep(turn)
            nap = min(nap * IDLE_GROWTH, LONGEST_NAP_SECONDS)

    def retain(self, topic: str, first_kept: int, partition: int = 0) -> None:
        """See `EventLog`; brokers remove whole segments, in their own time."""
        self.check(topic, partition)
        place = TopicPartition(self._address.full_name(topic), partition, first_kept)
        with translated(f"retention of {topic}"):
            for future in self._admin.delete_records([place]).values():
                future.result(ANSWER_SECONDS)

    def size_bytes(self) -> int:
        """Is not told by the client.

        Raises:
            EnvironmentMissing: Always.
        """
        raise EnvironmentMissing(
            "the client does not tell how much a Kafka log takes on disk",
            "ask the broker: kafka-log-dirs --describe",
        )

    def close(self) -> None:
        """See `EventLog`."""
        if self._is_closed:
            return
        self._is_closed = True
        for reader in self._readers:
            reader.close()
        if self._cursor is not None:
            self._cursor[1].close()
        self._ends.close()
        if self._producer is not None:
            self._producer.flush(ANSWER_SECONDS)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def consumer(self, group: str, wait_millis: int = READ_WAIT_MILLIS) -> Consumer:
        """Returns a new consumer of this log's brokers."""
        return new_consumer(self._common, self._address.full_name(group), wait_millis)

    def feed(self, consumer: Consumer, places: Sequence[Place]) -> Feed:
        """Returns a feed of this log."""
        return Feed(consumer, self._address, self._ends, places)

    def committer(self, name: str) -> Committer:
        """Returns the transactional producer of a reader; fences the one before."""
        return Committer(self._common, self._address, name)

    def stored_positions(self, name: str) -> dict[Place, int]:
        """Returns the positions of the last commit under a name; none if there is none."""
        topic = positions_topic(name)
        if topic not in self._partitions:
            self._refresh()
        if topic not in self._partitions:
            return {}
        first, end = self.first_offset(topic), self.end_offset(topic)
        return last_positions(first, end, lambda start: self.read(topic, start, READ_RECORDS))

    def make_positions_topic(self, name: str) -> None:
        """Makes the topic of a reader's positions, unless it is there."""
        topic = positions_topic(name)
        if topic not in self._partitions:
            self.create_topics({topic: 1})

    def await_visible(self, written: Mapping[Place, int]) -> None:
        """Waits until committed records can be read, or `VISIBLE_SECONDS` behind another's open transaction."""
        deadline = time.monotonic() + VISIBLE_SECONDS
        waiting = dict(written)
        while waiting and time.monotonic() < deadline:
            ends = self._ends.last(list(waiting))
            waiting = {place: at for place, at in waiting.items() if ends[place] <= at}

    def group_offsets(self, positions: Mapping[Place, int]) -> list[TopicPartition]:
        """Returns positions as the client's offsets of a group."""
        return [
            TopicPartition(self._address.full_name(topic), partition, offset)
            for (topic, partition), offset in positions.items()
        ]

    def check(self, topic: str, partition: int, records: Sequence[Record] = ()) -> None:
        """Refuses places that do not exist and records that are too large."""
        if self._is_closed:
            raise LogError(f"{self.url} is closed")
        if topic not in self._partitions:
            self._refresh()
        partitions = self._partitions.get(topic)
        if partitions is None:
            raise ParameterError(
                f"there is no topic {topic} on {self.url}",
                "start the chain first; a user without a right to a topic is not shown it",
            )
        if not 0 <= partition < partitions:
            raise ParameterError(f"topic {topic} has {partitions} partitions, not {partition}")
        for record in records:
            if len(record.value) > MAX_RECORD_BYTES:
                raise RecordTooLarge(
                    f"a record of {len(record.value)} bytes; {MAX_RECORD_BYTES} is the most"
                )

    def _cursor_at(self, place: Place, start: int) -> Feed:
        if self._cursor is None or self._cursor[0] != place:
            if self._cursor is not None:
                self._cursor[1].close()
            self._cursor = (place, self.feed(self.consumer(SCRATCH_GROUP), [place]))
        feed = self._cursor[1]
        if feed.positions()[place] != start:
            feed.move({place: start})
        return feed

    def _hear(self, seconds: float) -> bool:
        """Looks at all readers, and waits so long at the one that was sent something last."""
        liveliest = max(self._readers, key=KafkaReader.heard_at)
        others = [reader for reader in self._readers if reader is not liveliest]
        return sum(reader.has_news(0.0) for reader in others) > 0 or liveliest.has_news(seconds)

    def _have_ends_moved(self) -> bool:
        self._refresh()
        places = [(t, p) for t, count in self._partitions.items() for p in range(count)]
        if not places:
            return False
        ends = self._ends.last(places)
        has_moved = any(end != self._seen.get(place, 0) for place, end in ends.items())
        self._seen = ends
        return has_moved

    def _make(self, topics: Mapping[str, int]) -> None:
        if not topics:
            return
        wanted = [
            NewTopic(
                self._address.full_name(name),
                partitions,
                self._address.replication,
                config={
                    **plan_of(name).settings(),
                    "message.timestamp.type": "LogAppendTime",
                    "max.message.bytes": str(MESSAGE_BYTES),
                    "min.insync.replicas": str(self._address.min_insync),
                },
            )
            for name, partitions in topics.items()
        ]
        with translated("making topics"):
            futures = self._admin.create_topics(wanted, operation_timeout=ANSWER_SECONDS)
        for name, future in futures.items():
            try:
                future.result(ANSWER_SECONDS)
            except KafkaException as error:
                failed = error.args[0]
                if failed.code() == KafkaError.TOPIC_ALREADY_EXISTS:
                    continue  # another process was faster
                if failed.code() == KafkaError.TOPIC_EXCEPTION:
                    raise ParameterError(f"no topic {name!r}: {failed.str()}") from error
                raise port_error(failed, f"making topic {name}") from error
        self._await_topics(topics)

    def _await_topics(self, topics: Mapping[str, int]) -> None:
        deadline = time.monotonic() + STALL_SECONDS
        while not self._partitions.keys() >= topics.keys():
            self._refresh()
            if time.monotonic() > deadline:
                raise LogUnreachable(f"{self._address.brokers} does not show new topics")
        for name, partitions in topics.items():
            if self._partitions[name] != partitions:
                raise ParameterError(
                    f"topic {name} has {self._partitions[name]} partitions, not {partitions}"
                )

    def _refresh(self) -> None:
        """Learns the topics of the namespace.

        Raises:
            LogUnreachable: No broker answers.
            LogError: They refuse the user.
        """
        found = self._metadata()
        named = {
            self._address.own_name(topic): len(entry.partitions)
            for topic, entry in found.topics.items()
            if not topic.startswith("__") and entry.error is None
        }
        self._partitions = {name: n for name, n in named.items() if name is not None}

    def _metadata(self) -> Any:
        """Asks again until brokers answer or refuse, for what a client tells of a refusal it tells later."""
        deadline = time.monotonic() + ANSWER_SECONDS
        while True:
            try:
                return self._admin.list_topics(timeout=min(METADATA_SECONDS, ANSWER_SECONDS))
            except KafkaException as error:
                self._admin.poll(0)
                refusal = self._complaints.refusal
                if refusal is not None or time.monotonic() > deadline:
                    raise port_error(refusal or error.args[0], self._address.brokers) from error


class KafkaReader:
    """A named reader; see `operators.event_log.LogReader`."""

    def __init__(self, log: KafkaLog, name: str, places: tuple[Place, ...]) -> None:
        self._log = log
        self._name = name
        self._committer = log.committer(name)
        self._consumer = log.consumer(name, FETCH_WAIT_MILLIS)
        self._feed = log.feed(self._consumer, places)
        self._feed.move(log.stored_positions(name))
        self._shown_at = 0.0

    @property
    def name(self) -> str:
        """See `LogReader`."""
        return self._name

    def poll(self, max_records: int, timeout_seconds: float = 0.0) -> list[StoredRecord]:
        """See `LogReader`; across partitions by the brokers' append times."""
        check_max_records(max_records)
        deadline = time.monotonic() + timeout_seconds
        while True:
            found = self._feed.take(max_records)
            left = deadline - time.monotonic()
            if found or left <= 0:
                return found
            self._feed.drain(left)

    def positions(self) -> Mapping[Place, int]:
        """See `LogReader`."""
        return self._feed.positions()

    def seek(self, topic: str, partition: int, offset: int) -> None:
        """See `LogReader`."""
        check_seek(self._name, self._feed.places, (topic, partition), offset)
        self._feed.move({(topic, partition): offset})

    def committed(self) -> Mapping[Place, int]:
        """See `LogReader`."""
        stored = self._log.stored_positions(self._name)
        return {place: stored.get(place, 0) for place in self._feed.places}

    def commit(self, outputs: Iterable[Append] = ()) -> None:
        """See `LogReader`; one transaction, begun again while the broker aborts it."""
        listed = [output for output in outputs if output.records]
        for output in listed:
            self._log.check(output.topic, output.partition, output.records)
        self._log.make_positions_topic(self._name)
        positions = self._feed.positions()
        kept = Record(encode_positions(positions), key=self._name.encode())
        try:
            written = self._committer.commit([*listed, Append(positions_topic(self._name), [kept])])
        except LogError:
            self._feed.move(self.committed())
            raise
        self._log.await_visible(written)
        self._show(positions)

    def lag(self, now_millis: int) -> Lag:
        """See `LogReader`; transactions' markers count as records."""
        return self._feed.lag(now_millis)

    def has_news(self, timeout_seconds: float) -> bool:
        """Says whether records come within a time that were not there at the last poll or look."""
        return self._feed.drain(timeout_seconds)

    def heard_at(self) -> float:
        """Returns when it was last sent a record, by the monotonic clock; 0 if never."""
        return self._feed.heard_at

    def close(self) -> None:
        """Ends its connections."""
        self._feed.close()
        self._committer.close()

    def _show(self, positions: Mapping[Place, int]) -> None:
        """Lets Kafka's tools see about where the reader is."""
        now = time.monotonic()
        if now - self._shown_at >= SHOWN_SECONDS:
            self._shown_at = now
            offsets = self._log.group_offsets(positions)
            with translated(f"group {self._name}"):
                self._consumer.commit(offsets=offsets, asynchronous=True)
