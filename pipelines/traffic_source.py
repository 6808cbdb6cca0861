"""Where a replay has its traffic from: a corpus file, or what another chain's log has on `tx.<shard>`.

A topic is replayed with the times at which its log stored the records, and what is expected of each transaction is the
verdict that it got there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from operators.event_log import open_existing_log
from operators.topic_view import TopicView
from pipelines.corpus import ADMITTED, TRAFFIC_PHASE, CorpusRow, read_corpus, read_corpus_info
from schemas.errors import ParameterError
from schemas.tables import ADMITTED as VERDICTS
from schemas.tables import REJECTED, TRANSACTIONS
from schemas.topics import REJECTED as REJECTED_TOPIC
from schemas.topics import shard_topic

UNJUDGED = "unjudged"
"""Expected verdict of a transaction that its own log has no verdict of."""

FROM_TOPIC = "topic"
"""Origin of a row that was on a log."""


class TrafficSource(Protocol):
    """Traffic that can be read again, also by another process."""

    @property
    def name(self) -> str:
        """What it is, for people."""
        ...

    @property
    def genesis_rows(self) -> int:
        """Rows of the genesis phase, which come first."""
        ...

    @property
    def traffic_rows(self) -> int | None:
        """Rows after them; None if that is not known before they are read."""
        ...

    def check(self, shard: int) -> None:
        """Checks that it can be sent to a shard.

        Raises:
            ParameterError: It cannot.
        """
        ...

    def rows(self) -> Iterator[CorpusRow]:
        """Yields the rows in order."""
        ...


@dataclass(frozen=True, slots=True)
class CorpusSource:
    """A corpus file."""

    path: Path

    @property
    def name(self) -> str:
        """See `TrafficSource`."""
        return self.path.name

    @property
    def genesis_rows(self) -> int:
        """See `TrafficSource`."""
        return read_corpus_info(self.path).genesis_rows

    @property
    def traffic_rows(self) -> int | None:
        """See `TrafficSource`."""
        return read_corpus_info(self.path).traffic_rows

    def check(self, shard: int) -> None:
        """See `TrafficSource`."""
        signed_for = read_corpus_info(self.path).shard
        if signed_for != shard:
            raise ParameterError(
                f"{self.path} is signed for shard {signed_for}, not {shard}",
                f"use --shard {signed_for}",
            )

    def rows(self) -> Iterator[CorpusRow]:
        """See `TrafficSource`."""
        return read_corpus(self.path)


@dataclass(frozen=True, slots=True)
class TopicSource:
    """`tx.<shard>` of a log that is not the one it is sent to; all of it is traffic.

    Attributes:
        url: The log.
        topic: The topic.
    """

    url: str
    topic: str

    @property
    def name(self) -> str:
        """See `TrafficSource`."""
        return f"{self.topic} of a {self.url.partition(':')[0]} log"

    @property
    def genesis_rows(self) -> int:
        """See `TrafficSource`."""
        return 0

    @property
    def traffic_rows(self) -> int | None:
        """See `TrafficSource`."""
        return None

    def check(self, shard: int) -> None:
        """See `TrafficSource`."""
        if self.topic != shard_topic("tx", shard):
            raise ParameterError(
                f"{self.topic} cannot be sent to shard {shard}: its transactions are signed for their own",
                f"replay {shard_topic('tx', shard)}, or use --shard",
            )
        with closing(open_existing_log(self.url)) as log:
            if self.topic not in log.topics():
                raise ParameterError(f"there is no topic {self.topic} on {self.url}")

    def rows(self) -> Iterator[CorpusRow]:
        """See `TrafficSource`; records that are no transactions are left out."""
        with closing(open_existing_log(self.url)) as log:
            view = TopicView(log)
            reasons = {
                (row["offset"], row["row"]): str(row["reason"])
                for row in view.rows(REJECTED_TOPIC, REJECTED)
                if row["topic"] == self.topic
            }
            shard = int(self.topic.rpartition(".")[2])
            verdicts = view.rows(shard_topic("admitted", shard), VERDICTS)
            verdict: Mapping[str, Any] | None = next(verdicts, None)
            offset, number = -1, 0
            for record, row in view.placed_rows(self.topic, TRANSACTIONS):
                offset, number = record.offset, number + 1 if record.offset == offset else 0
                while verdict is not None and verdict["source_offset"] < offset:
                    verdict = next(verdicts, None)
                is_judged = verdict is not None and verdict["source_offset"] == offset
                place = (offset, number)
                unknown = reasons.get((offset, -1), UNJUDGED if not is_judged else ADMITTED)
                yield CorpusRow(
                    TRAFFIC_PHASE,
                    row["body"],
                    row["signature"],
                    reasons.get(place, unknown),
                    FROM_TOPIC,
                    record.append_millis,
                )


def _are_sources(corpus: CorpusSource, topic: TopicSource) -> tuple[TrafficSource, TrafficSource]:
    return corpus, topic
