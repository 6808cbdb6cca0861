"""`ecliptica bench hop`: from a record's due time to its arrival, over one topic and over five in a row.

Open loop: send times are fixed in advance and latency counts from them, so a stall is counted. Every hop beyond the
first is a process of its own that reads a topic and appends to the next, run as `python -m pipelines.bench_hop URL HOP`.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

from operators.event_log import Append, EventLog, LogReader, Record, StoredRecord, open_log
from pipelines.bench_work import BenchWork
from pipelines.latency import LatencyRecorder, LatencySummary
from schemas.errors import InvariantError

DEFAULT_RECORDS = 1000
RATE_PER_SECOND = 100
RECORD_BYTES = 64 * 2**10
WARM_UP_RECORDS = 500
"""Records before those that count: connections, producers that learn of new topics (two seconds on Kafka), compiled
brokers, files of the first size."""

TARGETS_MILLIS = {1: 8.0, 5: 15.0}
"""Hops and the p99 that must hold, milliseconds."""

WAYS = ("append", "commit")
"""A hop appends on its own, as consensus does, or commits output and position together, as stages do."""

POLL_SECONDS = 0.05
DUE, STOP = "due", "stop"


def hop(work: BenchWork) -> dict[str, Any]:
    """Measures every way over one and over five hops, on the log that was asked for or on an embedded one."""
    with tempfile.TemporaryDirectory(prefix="ecliptica-hop-") as folder:
        url = work.log_url or f"sqlite:///{Path(folder) / 'log.sqlite'}"
        rows = []
        for hops, target in TARGETS_MILLIS.items():
            for way in WAYS:
                summary = measure(url, hops, way, work.transactions)
                rows.append(_row(url, hops, way, summary, target))
                work.report.advance(1)
    first = rows[0]
    return {
        "name": "hop",
        "transactions": work.transactions,
        "seconds_median": first["p50_ms"] / 1000,
        "seconds_min": None,
        "table": rows,
        "proof_bytes": None,
        "proven_bits": None,
        "verified": None,
        "parameters": {
            "rate_per_second": RATE_PER_SECOND,
            "record_bytes": RECORD_BYTES,
            "log": url.partition(":")[0],
        },
    }


def measure(url: str, hops: int, way: str, count: int) -> LatencySummary:
    """Sends records at the rate through a chain of topics and returns their latencies.

    Raises:
        InvariantError: A record was lost, doubled or out of order.
    """
    chain = uuid.uuid4().hex[:8]
    topics = [f"hop-{chain}.{number}" for number in range(hops)]
    recorder = LatencyRecorder()
    with open_log(url) as log, _relays(url, topics, way) as begin:
        log.create_topics(dict.fromkeys(topics, 1))
        reader = log.reader(f"hop-{chain}", topics[-1:])
        reader.poll(1)
        begin()
        total = WARM_UP_RECORDS + count
        sender = threading.Thread(target=_send, args=(url, topics[0], total))
        sender.start()
        for number, record in enumerate(_arrivals(reader, total)):
            late = time.monotonic_ns() - int(record.header(DUE))
            if int.from_bytes(record.value[:4], "little") != number:
                raise InvariantError(f"record {number} did not arrive in its place")
            if number >= WARM_UP_RECORDS:
                recorder.add(late)
        sender.join()
    summary = recorder.summary()
    if summary is None:
        raise InvariantError("no record arrived")
    return summary


def _row(url: str, hops: int, way: str, found: LatencySummary, target: float) -> dict[str, Any]:
    return {
        "log": url.partition(":")[0],
        "hops": hops,
        "way": way,
        "records": found.count,
        "p50_ms": found.p50,
        "p99_ms": found.p99,
        "max_ms": found.max,
        "target_p99_ms": target,
        "is_within_target": found.p99 < target,
    }


def _send(url: str, topic: str, total: int) -> None:
    with open_log(url) as log:
        start = time.monotonic_ns()
        for number in range(total):
            due = start + number * 1_000_000_000 // RATE_PER_SECOND
            time.sleep(max(0, due - time.monotonic_ns()) / 1e9)
            value = number.to_bytes(4, "little").ljust(RECORD_BYTES, b"\x5a")
            log.append(topic, [Record(value, ((DUE, str(due).encode()),))])
        log.append(topic, [Record(b"", ((STOP, b""),))])


def _arrivals(reader: LogReader, total: int) -> Iterator[StoredRecord]:
    seen = 0
    while seen < total:
        for record in reader.poll(64, POLL_SECONDS):
            if not any(name == STOP for name, _ in record.headers):
                seen += 1
                yield record


@contextmanager
def _relays(url: str, topics: Sequence[str], way: str) -> Iterator[Any]:
    """Runs a process per pair of topics; yields what waits until all of them read."""
    running = [
        subprocess.Popen(  # noqa: S603 - our own interpreter and module
            [sys.executable, "-m", __name__, url, source, target, way],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for source, target in pairwise(topics)
    ]

    def begin() -> None:
        for process in running:
            if process.stdin is None or process.stdout is None:
                raise InvariantError("a relay has no pipes")
            process.stdin.write(b"\n")
            process.stdin.flush()
        for process in running:
            if process.stdout is not None and process.stdout.readline() != b"ready\n":
                raise InvariantError("a relay did not start")

    try:
        yield begin
    finally:
        for process in running:
            process.terminate()
            process.wait()
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    stream.close()


def relay(log: EventLog, source: str, target: str, way: str) -> None:
    """Carries records from a topic to the next until one says stop."""
    reader = log.reader(f"relay-{source}", [source])
    reader.poll(1)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    while True:
        records = reader.poll(64, POLL_SECONDS)
        if not records:
            continue
        output = [Record(record.value, record.headers) for record in records]
        if way == "commit":
            reader.commit([Append(target, output)])
        else:
            for record in output:
                log.append(target, [record])
        if any(name == STOP for name, _ in records[-1].headers):
            return


def _main(url: str, source: str, target: str, way: str) -> None:
    sys.stdin.readline()  # the topics are made by then
    with open_log(url) as log:
        relay(log, source, target, way)


if __name__ == "__main__":
    _main(*sys.argv[1:])
