"""A reader's commits on Kafka: positions and outputs in one transaction, under an id that fences earlier holders.

The positions stand in a topic of the reader's own, whose last committed record they are. A group's offsets would
do, were they not forgotten after a time without commits; groups are kept too, for Kafka's tools to show, and
nothing here reads them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from operators.event_log import (
    Append,
    FencedError,
    LogError,
    LogUnreachable,
    Place,
    Record,
    StoredRecord,
)
from operators.kafka_address import KafkaAddress
from operators.kafka_client import (
    ANSWER_SECONDS,
    STALL_SECONDS,
    TRANSACTION_MILLIS,
    is_away,
    is_refused,
    new_producer,
    port_error,
)
from operators.kafka_feed import LAST_HEADER
from schemas.wire import Reader, Writer

_DECIDED = {KafkaError.INVALID_TXN_STATE}
"""What a broker answers about a transaction whose outcome stands already."""

POSITIONS_LOOK = (8, 256, 8192)
"""How far back the last positions are looked for; aborted ones and markers lie between."""


def encode_positions(positions: Mapping[Place, int]) -> bytes:
    """Returns positions as canonical bytes."""
    writer = Writer().u32(len(positions))
    for (topic, partition), offset in sorted(positions.items()):
        writer.sized(topic.encode()).u32(partition).u64(offset)
    return writer.finish()


def decode_positions(data: bytes) -> dict[Place, int]:
    """Returns what `encode_positions` was given.

    Raises:
        WireError: It is something else.
    """
    reader = Reader(data, "positions")
    found = {
        (reader.sized("topic", 256).decode(), reader.u32("partition")): reader.u64("offset")
        for _ in range(reader.u32("count"))
    }
    reader.finish()
    return found


def commit_error(failed: KafkaError, name: str, seconds: float) -> LogError:
    """Returns what it is called that a transaction under a name failed after so long.

    Brokers end one that takes longer than `TRANSACTION_MILLIS`, and then answer as if another process held the name.
    """
    refusal = port_error(failed, f"a commit of {name}")
    if isinstance(refusal, FencedError) and 1000 * seconds >= TRANSACTION_MILLIS:
        return LogUnreachable(
            f"a commit of {name}: brokers were away for {seconds:.0f} s and have ended it",
            "start the process again: it goes on where the log says",
        )
    return refusal


class Committer:
    """The transactional producer of one reader."""

    def __init__(self, common: Mapping[str, object], address: KafkaAddress, name: str) -> None:
        """Fences earlier holders of the name and ends what they have left open.

        Raises:
            LogError: Brokers refuse or do not answer.
        """
        self._name = name
        self._address = address
        self._offsets: dict[Place, int] = {}
        self._producer = new_producer(common, address.full_name(name))
        self._retry(lambda: self._producer.init_transactions(ANSWER_SECONDS), f"opening {name}")

    def commit(self, outputs: Sequence[Append]) -> dict[Place, int]:
        """Appends all outputs in one transaction; begins again if the broker aborts it.

        Returns:
            The offset of the last record per partition. Readers see them a moment later: the broker answers
            when the outcome is decided and then writes it to the partitions.

        Raises:
            FencedError: The name was opened elsewhere.
            LogError: It could not be done; nothing was written.
        """
        deadline = time.monotonic() + STALL_SECONDS
        while True:
            begun = time.monotonic()
            try:
                self._producer.begin_transaction()
                self._offsets = {}
                self._produce_all(outputs)
                self._retry(
                    lambda: self._producer.commit_transaction(ANSWER_SECONDS),
                    f"a commit of {self._name}",
                )
            except KafkaException as error:
                failed = error.args[0]
                if failed.fatal() or not (failed.txn_requires_abort() or is_away(failed)):
                    raise commit_error(failed, self._name, time.monotonic() - begun) from error
                self._abort(failed)
                if is_refused(failed) or time.monotonic() > deadline:
                    raise port_error(
                        failed, f"a commit of {self._name}, nothing was written"
                    ) from error
            else:
                return self._offsets

    def close(self) -> None:
        """Gives up what is in flight."""
        self._producer.purge()
        with suppress(
            KafkaException
        ):  # a fenced producer says so again; nothing of it is in flight
            self._producer.flush(0)

    def _produce_all(self, outputs: Sequence[Append]) -> None:
        """Hands everything over, until something spoils the transaction; its commit tells what that was."""
        try:
            for output in outputs:
                self._produce(output)
        except KafkaException as error:
            if error.args[0].code() != KafkaError._STATE:  # noqa: SLF001 - its public name
                raise

    def _produce(self, output: Append) -> None:
        last = len(output.records) - 1
        place = (output.topic, output.partition)

        def delivered(error: KafkaError | None, message: Message) -> None:
            if error is None:
                self._offsets[place] = max(self._offsets.get(place, 0), message.offset() or 0)

        for number, record in enumerate(output.records):
            headers: list[tuple[str, str | bytes | None]] = list(record.headers)
            if number == last:
                headers.append((LAST_HEADER, b""))
            produce(self._producer, self._address, output, record, headers, delivered)

    def _abort(self, failed: KafkaError) -> None:
        """Gives up the transaction, for what failed.

        Raises:
            LogError: Brokers refused a topic; on a busy machine they may have opened nothing that could be given up.
            LogUnreachable: A broker died while it decided the outcome, and does not know the transaction any more:
                the positions on the log tell who opens it again whether it was done.
        """
        try:
            self._retry(
                lambda: self._producer.abort_transaction(ANSWER_SECONDS),
                f"an abort of {self._name}",
            )
        except LogError as error:
            cause = error.__cause__
            if isinstance(cause, KafkaException) and cause.args[0].code() in _DECIDED:
                if is_refused(failed):  # before anything was asked to be committed
                    raise port_error(failed, f"a commit of {self._name}") from error
                raise LogUnreachable(
                    f"a commit of {self._name}: it is not known whether it was done",
                    "start the process again: it goes on where the log says",
                ) from error
            raise

    def _retry(self, call: Callable[[], object], doing: str) -> None:
        """Makes a request again for as long as its answer may still come."""
        deadline = time.monotonic() + STALL_SECONDS
        while True:
            try:
                call()
            except KafkaException as error:
                failed = error.args[0]
                if failed.fatal():
                    raise port_error(failed, doing) from error
                if failed.txn_requires_abort():
                    raise
                if not failed.retriable() or time.monotonic() > deadline:
                    raise port_error(failed, doing) from error
                self._producer.poll(0.01)
            else:
                return


def produce(  # noqa: PLR0917 - what a message is made of
    producer: Producer,
    address: KafkaAddress,
    output: Append,
    record: Record,
    headers: list[tuple[str, str | bytes | None]],
    delivered: Callable[..., None] | None = None,
) -> None:
    """Hands a record to a producer; waits while its queue is full."""
    deadline = time.monotonic() + STALL_SECONDS
    while True:
        try:
            producer.produce(
                address.full_name(output.topic),
                record.value,
                record.key or None,
                output.partition,
                on_delivery=delivered,
                headers=headers,
            )
        except BufferError as error:
            if time.monotonic() > deadline:
                raise LogError(f"{output.topic} takes no more records") from error
            producer.poll(0.01)
        else:
            return


def last_positions(
    first: int, end: int, read: Callable[[int], Sequence[StoredRecord]]
) -> dict[Place, int]:
    """Returns the positions that stand last in a reader's topic; none if it is empty.

    Args:
        first: Its oldest kept offset.
        end: Its end.
        read: Returns its committed records from an offset on.
    """
    for back in (*POSITIONS_LOOK, end):
        start = max(first, end - back)
        records = read(start) if start < end else []
        if records:
            return decode_positions(records[-1].value)
        if start == first:
            break
    return {}
