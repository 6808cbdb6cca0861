"""Reads a running chain's log in a thread of its own and folds it: fates of transactions, history, supply."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from operators.consensus_messages import decode_certificate
from operators.event_log import EventLog, LogError, StoredRecord, open_log
from operators.final_history import CertifiedChain
from operators.shard_start import ShardPlace, open_shard
from operators.topic_view import TopicView
from operators.validator import identity_of
from pipelines.faults.history import History
from pipelines.faults.transactions import Fates
from schemas.block import Block, header_from_bytes
from schemas.receipt import ReceiptState
from schemas.tables import BLOCKS, CONSENSUS, RECEIPTS, Table
from schemas.topics import RECEIPTS as RECEIPTS_TOPIC
from schemas.topics import shard_topic

SHARD = 0
WAIT_SECONDS = 0.1
MESSAGE_TOPICS = tuple(shard_topic(kind, SHARD) for kind in ("proposals", "votes", "certificates"))
BLOCKS_TOPIC = shard_topic("blocks", SHARD)


@dataclass(slots=True)
class LogWatch:
    """Follows a log until it is stopped.

    Attributes:
        url: The log.
        place_on: Returns where the watched shard is, given a connection.
        fates: Told about every verdict.
        history: What was read; None before the thread has begun.
        rounds: Times that everything there was has been read.
        refusals: Reads that the log could not answer.
        failure: What ended the thread; None while all is well.
    """

    url: str
    place_on: Callable[[EventLog], ShardPlace]
    fates: Fates
    history: History | None = None
    rounds: int = 0
    refusals: int = 0
    failure: BaseException | None = None
    _offsets: dict[str, int] = field(default_factory=dict)
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        """Begins."""
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Reads what is there and ends."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        try:
            with closing(open_log(self.url)) as log:
                place = self.place_on(log)
                self.history = begin_history(place)
                view = TopicView(log)
                while True:
                    is_last = self._stop.is_set()
                    try:
                        self.read(view, self.history)
                        self.rounds += 1
                        if not is_last:
                            log.wait(WAIT_SECONDS)
                    except LogError:
                        self.refusals += 1
                        self._stop.wait(WAIT_SECONDS)
                    if is_last:
                        return
        except BaseException as error:
            self.failure = error

    def read(self, view: TopicView, history: History) -> None:
        """Reads what is new."""
        for topic in MESSAGE_TOPICS:
            for record, row in self._rows(view, topic, CONSENSUS):
                history.take_message(row["message"], record.offset)
        for _, row in self._rows(view, BLOCKS_TOPIC, BLOCKS):
            block = Block(header_from_bytes(row["header"]), row["payload"])
            history.take_block(block, decode_certificate(row["certificate"]))
        for _, row in self._rows(view, RECEIPTS_TOPIC, RECEIPTS):
            if row["state"] == ReceiptState.BFT_FINAL:
                self.fates.make_final(row["digest"])
            elif row["state"] == ReceiptState.REJECTED:
                self.fates.reject(row["digest"], row["reason"])

    def _rows(
        self, view: TopicView, topic: str, table: Table
    ) -> Iterator[tuple[StoredRecord, Mapping[str, Any]]]:
        start = self._offsets.get(topic, 0)
        for record, row in view.placed_rows(topic, table, start):
            self._offsets[topic] = record.offset + 1
            yield record, row


def begin_history(place: ShardPlace) -> History:
    """Returns what executes the shard again from the genesis; it reads the transactions of a block when it meets them."""
    state = open_shard(place, None)
    identity = identity_of(place.genesis, place.shard, None, None)
    chain = CertifiedChain(identity, state.tip.hash, state.tip.height)
    return History(chain, state.application, state.tip)
