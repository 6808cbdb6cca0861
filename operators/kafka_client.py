"""Clients of a Kafka broker: how they are set up, and what their errors mean to the port."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from confluent_kafka import (
    OFFSET_BEGINNING,
    OFFSET_END,
    Consumer,
    KafkaError,
    KafkaException,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient

from operators.event_log import (
    MAX_RECORD_BYTES,
    FencedError,
    LogError,
    LogFull,
    LogUnreachable,
    Place,
    RecordTooLarge,
)
from operators.kafka_address import KafkaAddress

MESSAGE_BYTES = MAX_RECORD_BYTES + 2**20
"""Largest message with key and headers, bytes; topics are made with it and brokers must allow it."""

RETRY_SECONDS = 0.05
"""Between two attempts while brokers are away."""

ANSWER_SECONDS = 20.0
"""How long one request may take; a broker that was killed is back and has loaded its log within it."""

DEAF_SECONDS = 10.0
"""After so long without an answer a connection is given up for a new one. Behind a cut wire TCP itself asks at intervals that
double: it would be heard again only when the cut has lasted as long once more."""

CONNECT_SECONDS = 5.0
"""How long a new connection may take, handshakes included; the first packet is repeated after 1 s and 3 s."""

STALL_SECONDS = 120.0
"""How long an append, a commit or a poll waits for brokers that are away before it fails."""

FETCH_WAIT_MILLIS = 100
"""How long a broker holds a request for records that are not there yet; it answers at once when one comes."""

READ_WAIT_MILLIS = 10
"""The same for single reads, whose next one must wait until the broker has answered."""

BACKOFF_MILLIS = 5
"""First wait before a request is made again; the client's own 100 ms would be most of a commit."""

LONGEST_BACKOFF_MILLIS = 500

QUEUE_KILOBYTES = 32 * 2**10
"""Records that a consumer fetches ahead, KiB; the largest record fits."""

TRANSACTION_MILLIS = 15_000
"""After so long the broker ends the transaction of a process that is gone; until then readers wait behind it."""

_logger = logging.getLogger("ecliptica.kafka")

_FENCED = {
    KafkaError._FENCED,  # noqa: SLF001 - the client's public names begin with an underscore
    KafkaError.INVALID_PRODUCER_EPOCH,
    KafkaError.PRODUCER_FENCED,
}
_TOO_LARGE = {KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.RECORD_LIST_TOO_LARGE}
_REFUSED = {
    KafkaError._AUTHENTICATION,  # noqa: SLF001
    KafkaError._SSL,  # noqa: SLF001
    KafkaError.SASL_AUTHENTICATION_FAILED,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
}
_AWAY = {
    KafkaError._TRANSPORT,  # noqa: SLF001
    KafkaError._ALL_BROKERS_DOWN,  # noqa: SLF001
    KafkaError._TIMED_OUT,  # noqa: SLF001
    KafkaError._MSG_TIMED_OUT,  # noqa: SLF001
    KafkaError._RESOLVE,  # noqa: SLF001
    KafkaError._DESTROY,  # noqa: SLF001 - a connection given up while the question waited on it
    KafkaError._DESTROY_BROKER,  # noqa: SLF001 - the same, told of the broker it led to
}
_STALE = {
    KafkaError.FENCED_LEADER_EPOCH,
    KafkaError.UNKNOWN_LEADER_EPOCH,
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError._UNKNOWN_PARTITION,  # noqa: SLF001
    KafkaError._UNKNOWN_TOPIC,  # noqa: SLF001
}
"""What is said of partitions that were there while a broker starts again and has not loaded all it knows."""


class Complaints:
    """Remembers why a client cannot work, which the client itself tells only in the background."""

    def __init__(self) -> None:
        self.refusal: KafkaError | None = None

    def take(self, error: KafkaError) -> None:
        """Is told of every error of a client's connections."""
        if error.code() in _REFUSED:
            self.refusal = error
        _logger.info("%s", error.str())


def common_settings(address: KafkaAddress, complaints: Complaints) -> dict[str, object]:
    """Returns what all clients of a log are set up with."""
    return {
        "bootstrap.servers": address.brokers,
        "error_cb": complaints.take,
        "logger": _logger,
        "log_level": 2,  # refused connections are told once, by the error of whoever waits
        "retry.backoff.ms": BACKOFF_MILLIS,
        "retry.backoff.max.ms": LONGEST_BACKOFF_MILLIS,
        "reconnect.backoff.ms": 50,
        "reconnect.backoff.max.ms": LONGEST_BACKOFF_MILLIS,
        "socket.nagle.disable": True,
        "socket.timeout.ms": int(DEAF_SECONDS * 1000),
        "socket.connection.setup.timeout.ms": int(CONNECT_SECONDS * 1000),
        "topic.metadata.refresh.fast.interval.ms": 20,
        "allow.auto.create.topics": False,
        **address.client,
    }


def new_producer(common: Mapping[str, object], transactional_id: str = "") -> Producer:
    """Returns an idempotent producer that asks every in-sync copy, with transactions if it has an id for them."""
    settings: dict[str, object] = {
        **common,
        "enable.idempotence": True,
        "acks": "all",
        "linger.ms": 0,
        "compression.type": "none",  # signatures and proofs do not compress
        "message.max.bytes": MESSAGE_BYTES,
        "delivery.timeout.ms": int(STALL_SECONDS * 1000),
        "queue.buffering.max.kbytes": 64 * 2**10,
    }
    if transactional_id:
        settings |= {
            "transactional.id": transactional_id,
            "transaction.timeout.ms": TRANSACTION_MILLIS,
            "delivery.timeout.ms": TRANSACTION_MILLIS,
        }
    return Producer(settings)


def new_consumer(
    common: Mapping[str, object], group: str, wait_millis: int = FETCH_WAIT_MILLIS
) -> Consumer:
    """Returns a consumer that sees committed records alone and says where a partition ends."""
    return Consumer(
        {
            **common,
            "group.id": group,
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "error",
            "fetch.wait.max.ms": wait_millis,
            "fetch.error.backoff.ms": BACKOFF_MILLIS,
            "fetch.queue.backoff.ms": BACKOFF_MILLIS,
            "fetch.message.max.bytes": 2**20,
            "fetch.max.bytes": 2 * MESSAGE_BYTES,
            "receive.message.max.bytes": 4 * MESSAGE_BYTES,
            "queued.max.messages.kbytes": QUEUE_KILOBYTES,
        }
    )


def new_admin(common: Mapping[str, Any]) -> AdminClient:
    """Returns what makes topics and deletes records."""
    return AdminClient(dict(common))


def is_away(error: KafkaError) -> bool:
    """Says whether an error may go away when the broker is back."""
    return error.code() in _AWAY | _STALE or bool(error.retriable())


def is_refused(error: KafkaError) -> bool:
    """Says whether brokers do not let this user do it."""
    return error.code() in _REFUSED


def port_error(error: KafkaError, doing: str) -> LogError:
    """Returns what an error of the client is called by the port."""
    code = error.code()
    said = f"{doing}: {error.str()}"
    if code in _FENCED:
        return FencedError(said, "only one process may run this role")
    if code in _TOO_LARGE:
        return RecordTooLarge(said)
    if code in _REFUSED:
        return LogError(
            said, "check user, password, certificates and deploy/kafka/acl.json for this role"
        )
    if code == KafkaError.KAFKA_STORAGE_ERROR:
        return LogFull(said, "free some space on the broker")
    if code in _AWAY:
        return LogUnreachable(said, "start the broker: `make kafka`, or correct the address")
    return LogError(said)


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """Turns errors of the client into those of the port."""
    try:
        yield
    except KafkaException as error:
        raise port_error(error.args[0], doing) from error
    except RuntimeError as error:  # what a closed client says
        raise LogError(f"{doing}: {error}") from error


class Ends:
    """Asks brokers where partitions begin and end, on a connection that no waiting request blocks."""

    def __init__(self, consumer: Consumer, address: KafkaAddress, complaints: Complaints) -> None:
        self._consumer = consumer
        self._address = address
        self._complaints = complaints

    def last(self, places: Sequence[Place]) -> dict[Place, int]:
        """Returns the offset below which every record is decided, per partition."""
        return self._ask(places, OFFSET_END)

    def first(self, places: Sequence[Place]) -> dict[Place, int]:
        """Returns the offset of the oldest kept record or marker, per partition."""
        return self._ask(places, OFFSET_BEGINNING)

    def close(self) -> None:
        """Ends the connection."""
        self._consumer.close()

    def _ask(self, places: Sequence[Place], which: int) -> dict[Place, int]:
        """One request per broker; repeated while brokers are away."""
        wanted = [TopicPartition(self._address.full_name(t), p, which) for t, p in places]
        deadline = time.monotonic() + STALL_SECONDS
        while True:
            try:
                found = self._consumer.offsets_for_times(wanted, timeout=ANSWER_SECONDS)
                failed = next((one.error for one in found if one.error is not None), None)
            except KafkaException as error:
                failed = error.args[0]
                found = []
            if failed is None:
                offsets = {(one.topic, one.partition): one.offset for one in found}
                return {(t, p): offsets[self._address.full_name(t), p] for t, p in places}
            if self._complaints.refusal is not None:
                raise port_error(self._complaints.refusal, self._address.brokers)
            if not is_away(failed) or time.monotonic() > deadline:
                raise port_error(failed, f"the ends of {places[0][0]}")
            if failed.code() in _STALE:
                with suppress(
                    KafkaException
                ):  # the question itself tells what is wrong, or is put again
                    self._consumer.list_topics(timeout=ANSWER_SECONDS)
            self._consumer.poll(RETRY_SECONDS)
