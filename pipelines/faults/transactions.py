"""Open-loop traffic that nothing stops, and the transactions that still wait for their verdict.

Send times are fixed in advance. What the log refuses is sent again until the log takes it, as a careful user would; a
refusal that leaves open whether the record was stored may so send a transaction twice, and then its second copy must be
refused as a repeat.
"""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice

from operators.event_log import LogError, open_log
from operators.topic_view import TopicView
from pipelines.corpus import CorpusRow
from schemas.tables import TRANSACTIONS, encode
from schemas.topics import shard_topic

TURN_SECONDS = 0.05
"""Between two records of the schedule."""

RETRY_SECONDS = 0.2
MAX_RECORD_ROWS = 400
"""Rows of one record when a backlog is sent; about 1 MB."""

_logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Fates:
    """What became of every transaction that was sent; one thread sends, another one reads verdicts.

    Attributes:
        sent: Transactions handed to the log.
        repeats: Digests that were handed over again after a refusal that left their fate open.
        final: Times each became final.
        rejected: Rejections by reason, repeats of final transactions left out.
        problems: What must not be, in words.
    """

    sent: int = 0
    repeats: set[bytes] = field(default_factory=set)
    final: Counter[bytes] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    _waiting: dict[bytes, float] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def hand_over(self, digest: bytes, due: float) -> None:
        """Notes a transaction that is due at a time of the monotonic clock, seconds."""
        with self._lock:
            self._waiting[digest] = due
            self.sent += 1

    def make_final(self, digest: bytes) -> None:
        """Notes that a transaction became final."""
        with self._lock:
            self.final[digest] += 1
            self._waiting.pop(digest, None)
            if self.final[digest] == 2:
                self.problems.append(f"transaction {digest.hex()[:16]} is final twice")

    def reject(self, digest: bytes, reason: str) -> None:
        """Notes a rejection; all that is sent is valid, so only a copy may be refused."""
        with self._lock:
            if digest in self.repeats:
                return  # the first copy is followed to its own verdict
            self._waiting.pop(digest, None)
            self.rejected[reason] += 1
            self.problems.append(f"transaction {digest.hex()[:16]} was refused: {reason}")

    @property
    def doubled(self) -> int:
        """Transactions that became final more than once."""
        with self._lock:
            return sum(count > 1 for count in self.final.values())

    def oldest(self) -> float | None:
        """Returns when the oldest transaction without a verdict was due; None when all have one."""
        with self._lock:
            return next(iter(self._waiting.values()), None)

    def waiting_before(self, due: float) -> int:
        """Returns how many transactions that were due before a time have no verdict."""
        with self._lock:
            return sum(at < due for at in self._waiting.values())

    def lag(self, now: float) -> float:
        """Returns how long the oldest transaction without a verdict has waited, seconds."""
        oldest = self.oldest()
        return 0.0 if oldest is None else max(0.0, now - oldest)


@dataclass(slots=True)
class Traffic:
    """Sends rows at a rate in a thread of its own, over a connection of its own.

    Attributes:
        url: The log.
        rows: What to send.
        rate: Transactions per second.
        fates: Told about every transaction.
        refusals: What the log said, by error and how often.
        failure: What ended the thread; None while all is well.
    """

    url: str
    rows: Iterator[CorpusRow]
    rate: int
    fates: Fates
    refusals: Counter[str] = field(default_factory=Counter)
    failure: BaseException | None = None
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        """Begins."""
        self._thread = threading.Thread(target=self._run, name="traffic", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Sends no more; returns when what the log was asked for is answered. What it refused then has no verdict."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        try:
            with closing(open_log(self.url)) as log:
                self._send(TopicView(log))
        except BaseException as error:
            self.failure = error

    def _send(self, view: TopicView) -> None:
        begun, taken = time.monotonic(), 0
        while not self._stop.is_set():
            due_rows = int((time.monotonic() - begun) * self.rate) - taken
            batch = list(islice(self.rows, min(due_rows, MAX_RECORD_ROWS)))
            if due_rows and not batch:
                raise EOFError("the corpus has ended before the faults")
            if batch:
                dues = [begun + (taken + place) / self.rate for place in range(len(batch))]
                taken += len(batch)
                self._append(view, batch, dues)
            if len(batch) < MAX_RECORD_ROWS:
                self._stop.wait(TURN_SECONDS)

    def _append(self, view: TopicView, batch: Sequence[CorpusRow], dues: Sequence[float]) -> None:
        digests = [hashlib.sha256(row.body).digest() for row in batch]
        behind = time.time() - time.monotonic()
        rows = [
            {
                "body": row.body,
                "signature": row.signature,
                "submitted_millis": int((behind + due) * 1000),
            }
            for row, due in zip(batch, dues, strict=True)
        ]
        headers, body = encode(TRANSACTIONS, TRANSACTIONS.batch(rows))
        for digest, due in zip(digests, dues, strict=True):
            self.fates.hand_over(digest, due)
        while True:
            try:
                view.append(shard_topic("tx", 0), headers, body)
            except LogError as error:
                said = f"{type(error).__name__}: {_short(str(error))}"
                if not self.refusals[said]:
                    _logger.info("the sender was refused: %s", error)
                self.refusals[said] += 1
                self.fates.repeats.update(digests)
                if self._stop.wait(RETRY_SECONDS):
                    return
            else:
                return


def _short(text: str) -> str:
    """Returns the part of a message that does not name a path or an address."""
    return text.rpartition(": ")[2][:80]
