"""`ecliptica bench overload` and `bench soak`: real processes under load for minutes, their memory and delays over time.

`overload` finds what the chain holds, plays half of it and then twice as much, and counts on the log that nothing was
lost. `soak` plays half for as long as asked and judges whether memory and disk per transaction stay level. Traffic is
signed before, on no running chain, and sent at times fixed in advance.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from operators.event_log import EventLog
from operators.topic_view import TopicView
from pipelines.bench_stream import WORKLOAD, sign_traffic
from pipelines.bench_work import BenchWork
from pipelines.corpus import CorpusRow, read_corpus, read_corpus_info
from pipelines.final_record import FinalRecord
from pipelines.latency import LatencySummary, Rate, SystemClock, summary_of
from pipelines.live_chain import ROLES, SHARD, LiveChain, live_chain
from pipelines.node_plan import metrics_ports
from pipelines.process_samples import ProcessSampler, Sample, Trend, free_ports, trends
from pipelines.traffic_sender import Pace, Sender
from proving.signatures import default_backend
from schemas.config import Configuration, profile_configuration
from schemas.topics import shard_topic
from schemas.units import EXPIRY_SPAN

OVERLOAD_SECONDS, SOAK_SECONDS = 300, 1800
REFERENCE_SECONDS = 60
"""How long half of the capacity is played before the overload, for the delays to compare with."""

BURST = 6_000
"""Transactions sent at once to find the capacity, of a chain of its own."""

WARM_UP = 500
"""Transactions before anything is measured: compiled programs, files and caches."""

SETTLED_SHARE = (0.2, 0.95)
"""Part of a burst's final transactions that the capacity is taken from: neither its start nor its end."""

INTERVAL_SECONDS = 2.0
PATIENCE_SECONDS = 60.0
"""How long nothing may become final before what is left counts as lost."""

READ_SECONDS = 0.5
"""Between two looks at the log while a load drains."""

SETTLING_SHARE = 0.25
"""Part of a stretch that memory may take to find its level: buffers and queues fill."""

FLAT_SHARE, FLAT_BYTES = 0.05, 16 * 2**20
"""Memory is level when its slope comes to less than this share of what it was, or to fewer bytes."""

FLAT_DISK_SHARE = 0.1
"""Disk per transaction is level when its last third differs from its first by less."""

RATIO_TARGET = 3.0
"""p99 from admission to finality at twice the capacity over that at half of it; must be below."""

MESSAGES = ("proposals", "votes", "certificates")
"""Stems of what `retention.messages` removes from epochs that are exported with their proofs."""

CURVE_POINTS = 150


@dataclass(frozen=True, slots=True)
class Stretch:
    """Traffic of one rate.

    Attributes:
        rate: Transactions per second that were offered.
        sent: Transactions.
        final: Those that became final, each once.
        refused: Those that a dead letter names.
        doubled: Times that one became final again.
        seconds: From the first scheduled time until everything was settled.
        admitted_ms: From admission to finality.
        curve: Per second of admission: seconds since the first look, transactions admitted, p50 and p99.
        begins: When it began, seconds since the first look.
        ends: When the last was sent.
    """

    rate: float
    sent: int
    final: int
    refused: int
    doubled: int
    seconds: float
    admitted_ms: LatencySummary | None
    curve: Sequence[tuple[float, int, float, float]]
    begins: float
    ends: float

    def row(self, name: str) -> dict[str, Any]:
        """Returns its row of a table."""
        known = asdict(self.admitted_ms) if self.admitted_ms else {}
        return {
            "load": name,
            "rate": round(self.rate, 1),
            "sent": self.sent,
            "final": self.final,
            "refused": self.refused,
            "lost": self.sent - self.final - self.refused,
            "doubled": self.doubled,
            "seconds": round(self.seconds, 1),
            **{f"admitted_ms_{part}": known.get(part) for part in ("p50", "p99", "max")},
        }


@dataclass(slots=True)
class _Run:
    """A chain whose accounts are registered, and what is seen of it."""

    chain: LiveChain
    sampler: ProcessSampler
    rows: Iterator[CorpusRow]

    def play(self, rate: Rate, count: int) -> Stretch:
        """Sends transactions at a rate, then waits until each is settled or nothing moves any more."""
        view, topic = TopicView(self.chain.log), shard_topic("tx", SHARD)
        record, first = FinalRecord(view, SHARD), view.end(topic)
        began, offset = self.sampler.now(), time.time() - self.sampler.now()
        sender = Sender(
            lambda headers, body: view.append(topic, headers, body), Pace(rate), SystemClock()
        )
        sent = sender.send_traffic(islice(self.rows, count)).sent
        ends, moved = self.sampler.now(), time.monotonic()
        while record.settled < sent and time.monotonic() < moved + PATIENCE_SECONDS:
            if record.read():
                moved = time.monotonic()
            self.chain.log.wait(READ_SECONDS)
        self.chain.check()
        waits, admitted = record.waits(first, view.end(topic))
        return Stretch(
            rate.per_second or 0.0,
            sent,
            len(record.final),
            len(record.refused - record.final),
            record.twice,
            self.sampler.now() - began,
            summary_of(np.asarray(waits) * 1e6),
            curve_of(np.asarray(waits), np.asarray(admitted) / 1000 - offset),
            began,
            ends,
        )


def overload(work: BenchWork) -> dict[str, Any]:
    """Finds the capacity, plays half and twice of it, and says what that did to delays and memory."""
    seconds = work.seconds or OVERLOAD_SECONDS
    capacity = find_capacity(work)
    half, twice = max(1.0, capacity / 2), 2 * capacity
    counts = [int(half * min(seconds, REFERENCE_SECONDS)), int(twice * seconds)]
    with _running(work, sum(counts)) as run:
        work.report.phase("half", None)
        calm = run.play(Rate(per_second=half), counts[0])
        work.report.advance(1)
        work.report.phase("twice", None)
        loaded = run.play(Rate(per_second=twice), counts[1])
        work.report.advance(1)
        samples = run.sampler.samples
    table = [calm.row("half"), loaded.row("twice")]
    calm_p99, loaded_p99 = (row["admitted_ms_p99"] for row in table)
    ratio = round(loaded_p99 / calm_p99, 2) if calm_p99 and loaded_p99 else None
    found = trends(between(samples, loaded, SETTLING_SHARE))
    return {
        **_record("overload", table, [calm, loaded], samples),
        "capacity_per_second": round(capacity, 1),
        "seconds": seconds,
        "p99_ratio": ratio,
        "is_ratio_within_target": ratio is not None and ratio < RATIO_TARGET,
        "lost": sum(row["lost"] for row in table),
        "doubled": sum(row["doubled"] for row in table),
        **_memory(found, loaded.ends - loaded.begins),
        **_parameters(work),
    }


def soak(work: BenchWork) -> dict[str, Any]:
    """Plays half of the capacity for long, and judges memory, disk per transaction and distance behind."""
    seconds = work.seconds or SOAK_SECONDS
    capacity = find_capacity(work)
    rate = max(1.0, capacity / 2)
    with _running(work, int(rate * seconds)) as run:
        work.report.phase("soak", None)
        before = topic_bytes(run.chain.log)
        played = run.play(Rate(per_second=rate), int(rate * seconds))
        work.report.advance(1)
        grown = {
            name: size - before.get(name, 0) for name, size in topic_bytes(run.chain.log).items()
        }
        samples = run.sampler.samples
    inside = between(samples, played, SETTLING_SHARE)
    lags = [max(one.lag_millis.values()) for one in inside if one.lag_millis]
    thirds = disk_per_transaction(between(samples, played, 0.0), played)
    by_topic = {
        name: round(size / max(1, played.sent), 1) for name, size in sorted(grown.items()) if size
    }
    kept = sum(size for name, size in by_topic.items() if name.partition(".")[0] not in MESSAGES)
    is_level = len(thirds) == 2 and abs(thirds[1] / thirds[0] - 1) < FLAT_DISK_SHARE
    return {
        **_record("soak", [played.row("half")], [played], samples),
        "capacity_per_second": round(capacity, 1),
        "seconds": seconds,
        "lost": played.sent - played.final - played.refused,
        "doubled": played.doubled,
        **_memory(trends(inside), played.ends - played.begins),
        "lag_ms_median": float(np.median(lags)) if lags else None,
        "lag_ms_max": max(lags, default=None),
        "disk_bytes_per_transaction_thirds": thirds,
        "is_disk_level": is_level,
        "log_bytes_per_transaction": by_topic,
        "log_bytes_per_transaction_after_retention": round(kept, 1),
        **_parameters(work),
    }


def find_capacity(work: BenchWork) -> float:
    """Returns how many transactions a second become final while more than that wait, on a chain of its own."""
    with _running(work, work.transactions) as run:
        work.report.phase("burst", None)
        run.play(Rate(), work.transactions)
        view = TopicView(run.chain.log)
        capacity = rate_of(certified_times(view, work.transactions))
    work.report.advance(1)
    work.report.note(f"capacity {capacity:.0f} transactions a second")
    return capacity


def certified_times(view: TopicView, count: int) -> list[int]:
    """Returns when each of the last `count` transactions became final, UTC milliseconds, rising."""
    record = FinalRecord(view, SHARD, is_from_start=True)
    record.read()
    return sorted(record.certified)[-count:]


def rate_of(times: Sequence[int]) -> float:
    """Returns the rate of events in the middle of a burst, per second."""
    low, high = (int(share * (len(times) - 1)) for share in SETTLED_SHARE)
    return 1000 * (high - low) / max(1, times[high] - times[low])


def curve_of(waits: np.ndarray, at: np.ndarray) -> list[tuple[float, int, float, float]]:
    """Returns (time, transactions, p50, p99) of pieces of equal length, at most `CURVE_POINTS`; empty ones left out.

    Args:
        waits: Milliseconds of each transaction.
        at: Its time, seconds.
    """
    if not len(at):
        return []
    first, length = float(at.min()), max(1.0, float(np.ptp(at)) / CURVE_POINTS)
    pieces = ((at - first) // length).astype(int)
    found = []
    for piece in np.unique(pieces):
        held = waits[pieces == piece]
        p50, p99 = np.quantile(held, (0.5, 0.99), method="higher")
        found.append((round(first + piece * length, 1), len(held), float(p50), float(p99)))
    return found


def between(samples: Sequence[Sample], stretch: Stretch, settling: float) -> list[Sample]:
    """Returns the samples while a stretch was sent, without the share in which memory finds its level."""
    begins = stretch.begins + settling * (stretch.ends - stretch.begins)
    return [sample for sample in samples if begins <= sample.seconds <= stretch.ends]


def is_flat(trend: Trend) -> bool:
    """Says whether a process kept its memory."""
    grown = trend.growth_share * trend.first_bytes
    return trend.growth_share < FLAT_SHARE or grown < FLAT_BYTES


def disk_per_transaction(samples: Sequence[Sample], stretch: Stretch) -> list[float]:
    """Returns bytes of the log per transaction in the first and the last third of a stretch; nothing of few samples."""
    third = len(samples) // 3
    if third < 2 or not samples[0].log_bytes:
        return []
    found = []
    for part in (samples[:third], samples[-third:]):
        sent = stretch.rate * (part[-1].seconds - part[0].seconds)
        found.append(round((part[-1].log_bytes - part[0].log_bytes) / max(1.0, sent), 1))
    return found


def topic_bytes(log: EventLog) -> dict[str, int]:
    """Returns the bytes of values, keys and headers of every topic."""
    view, found = TopicView(log), {}
    for topic in log.topics():
        found[topic] = sum(
            len(record.value) + len(record.key) + sum(len(n) + len(v) for n, v in record.headers)
            for record in view.records(topic)
        )
    return found


@contextmanager
def _running(work: BenchWork, count: int) -> Iterator[_Run]:
    """Signs traffic, starts a chain, registers the accounts and warms up."""
    with tempfile.TemporaryDirectory(prefix="ecliptica-endurance-") as folder:
        data, configuration = Path(folder) / "chain", endurance_configuration()
        corpus = sign_traffic(Path(folder), WARM_UP + count, work.seed, work.report, configuration)
        genesis = read_corpus_info(corpus).genesis_rows
        with live_chain(configuration, data, work.log_url, work.seed) as chain:
            sampler = ProcessSampler(
                chain.supervisor.pids,
                metrics_ports(configuration),
                None if work.log_url else data / "log.sqlite",
                INTERVAL_SECONDS,
            )
            run = _Run(chain, sampler, read_corpus(corpus))
            run.play(Rate(), genesis)
            run.play(Rate(), WARM_UP)
            with sampler.running():
                yield run


def endurance_configuration() -> Configuration:
    """Returns the configuration: transactions live as long as they can, for those that wait on the log in an overload."""
    document = profile_configuration("local").model_dump()
    document["admission"]["max_expiry_slots"] = EXPIRY_SPAN - 1
    document["metrics"]["port"] = free_ports(len(metrics_ports_of(document)))
    return Configuration.model_validate(document)


def metrics_ports_of(document: dict[str, Any]) -> dict[str, int]:
    """Returns the places of all ports of a configuration."""
    counted = {**document, "metrics": {**document["metrics"], "port": 1}}
    return metrics_ports(Configuration.model_validate(counted))


def _memory(found: Sequence[Trend], seconds: float) -> dict[str, Any]:
    return {
        "memory": [{**asdict(one), "is_flat": is_flat(one)} for one in found],
        "is_memory_flat": all(map(is_flat, found)) if found else None,
        "memory_seconds": round(seconds * (1 - SETTLING_SHARE), 1),
    }


def _record(
    name: str,
    table: list[dict[str, Any]],
    stretches: Sequence[Stretch],
    samples: Sequence[Sample],
) -> dict[str, Any]:
    step = -(-len(samples) // CURVE_POINTS) or 1
    return {
        "name": name,
        "transactions": sum(one.sent for one in stretches),
        "seconds_median": None,
        "seconds_min": None,
        "table": table,
        "curves": [one.curve for one in stretches],
        "samples": [asdict(sample) for sample in samples[::step]],
        "load_1min_end": round(os.getloadavg()[0], 2),
        "proof_bytes": None,
        "proven_bits": None,
        "verified": None,
    }


def _parameters(work: BenchWork) -> dict[str, Any]:
    configuration = profile_configuration("local")
    values = {
        "validators": configuration.chain.validators,
        "shards": 1,
        "roles": list(ROLES),
        "signatures": default_backend().name,
        "log": work.log_url.partition(":")[0] or "sqlite",
        "workload": WORKLOAD,
        "target_wait_millis": configuration.admission.target_wait_millis,
        "max_waiting": configuration.admission.max_waiting,
    }
    return {"parameters": values}
