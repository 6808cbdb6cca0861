"""Compares what became of sent traffic with what its corpus expects, and times its finality.

Valid transactions are followed by digest. Rejections are compared by count per reason, because a replay has
the digest of the transaction that it repeats.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipelines.corpus import ADMITTED, TRAFFIC_PHASE, CorpusRow
from pipelines.latency import NANOS_PER_MILLI, LatencySummary, TimedLatencies
from schemas.receipt import ReceiptState


@dataclass(frozen=True, slots=True)
class VerdictReport:
    """What became of the sent transactions.

    Attributes:
        expected: Transactions by expected verdict: `admitted` or a rejection reason.
        observed: Transactions by verdict found on the log.
        differences: Verdicts whose counts differ, as (expected, observed).
        unresolved: Valid transactions that are neither final nor rejected.
        final_latency_ms: From the scheduled send time to `bft_final`, for the traffic phase.
    """

    expected: dict[str, int]
    observed: dict[str, int]
    differences: dict[str, tuple[int, int]]
    unresolved: int
    final_latency_ms: LatencySummary | None

    @property
    def is_as_expected(self) -> bool:
        """Whether every verdict is as the corpus says."""
        return not self.differences and not self.unresolved


@dataclass(slots=True)
class VerdictTracker:
    """Follows sent rows through receipts and dead letters; about 120 bytes per valid transaction.

    Attributes:
        topic: Where the rows were sent.
        first_offset: Rejections of earlier records are of others.
        places: Offset and row of what was sent, where that is known; rejections elsewhere are of others.
    """

    topic: str
    first_offset: int = 0
    places: frozenset[tuple[int, int]] | None = None
    _expected: Counter[str] = field(default_factory=Counter)
    _waiting: dict[bytes, bool] = field(default_factory=dict)
    _final: int = 0
    _rejected: Counter[str] = field(default_factory=Counter)
    _seen: set[tuple[int, int]] = field(default_factory=set)
    _latency: TimedLatencies = field(default_factory=TimedLatencies)

    def add_sent(self, row: CorpusRow) -> None:
        """Notes a row that was sent."""
        self._expected[row.expected] += 1
        if row.expected == ADMITTED:
            self._waiting[hashlib.sha256(row.body).digest()] = row.phase == TRAFFIC_PHASE

    def add_receipts(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Reads rows of `receipts`."""
        for row in rows:
            if row["state"] == ReceiptState.BFT_FINAL:
                is_traffic = self._waiting.pop(row["digest"], None)
                if is_traffic is None:
                    continue
                self._final += 1
                if is_traffic:
                    submitted = row["submitted_millis"]
                    late = (row["at_millis"] - submitted) * NANOS_PER_MILLI
                    self._latency.add(submitted * NANOS_PER_MILLI, late)

    def add_rejections(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Reads rows of `rejected`; each row of a record counts once."""
        for row in rows:
            place = (row["offset"], row["row"])
            if row["topic"] == self.topic and place not in self._seen and self._is_ours(place):
                self._seen.add(place)
                self._rejected[row["reason"]] += 1

    @property
    def is_complete(self) -> bool:
        """Whether as many verdicts were found as transactions were sent."""
        return self.done >= self._expected.total()

    @property
    def done(self) -> int:
        """Verdicts found so far."""
        return self._final + self._rejected.total()

    def report(self) -> VerdictReport:
        """Returns the comparison."""
        return joined_report([self])

    @property
    def counts(self) -> tuple[Counter[str], Counter[str]]:
        """Verdicts expected and observed."""
        observed = Counter(self._rejected)
        if self._final:
            observed[ADMITTED] = self._final
        return self._expected, observed

    @property
    def unresolved(self) -> int:
        """Valid transactions that are neither final nor rejected."""
        return min(len(self._waiting), max(0, self._expected.total() - self.done))

    @property
    def latency(self) -> TimedLatencies:
        """From the scheduled send time, since 1970, to `bft_final`, for the traffic phase."""
        return self._latency

    def _is_ours(self, place: tuple[int, int]) -> bool:
        if self.places is not None:
            return place in self.places
        return place[0] >= self.first_offset


def joined_report(trackers: Sequence[VerdictTracker]) -> VerdictReport:
    """Returns the comparison over the traffic of several shards.

    What differs on one shard is not made good by another.
    """
    expected: Counter[str] = Counter()
    observed: Counter[str] = Counter()
    differing: set[str] = set()
    latency = TimedLatencies()
    for tracker in trackers:
        wanted, found = tracker.counts
        expected += wanted
        observed += found
        differing |= {name for name in set(wanted) | set(found) if wanted[name] != found[name]}
        latency.add_all(tracker.latency)
    return VerdictReport(
        expected=dict(sorted(expected.items())),
        observed=dict(sorted(observed.items())),
        differences={name: (expected[name], observed[name]) for name in sorted(differing)},
        unresolved=sum(tracker.unresolved for tracker in trackers),
        final_latency_ms=latency.summary(),
    )
