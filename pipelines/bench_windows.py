"""`ecliptica bench windows`: how long after a window's end, and after the block that closes it, its result is there.

A chain of real processes plays traffic at a low, steady rate, so that every window holds transactions: one without is closed only
with its epoch. `--runner` says who closes windows. A result is the row of `windows.0`, with its jobs, and under Beam the folder of
the counted window.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from operators.analytics_files import window_folder
from operators.topic_view import TopicView
from pipelines.bench_stream import WORKLOAD, sign_traffic
from pipelines.bench_work import BenchWork
from pipelines.corpus import read_corpus, read_corpus_info
from pipelines.latency import NANOS_PER_MILLI, LatencyRecorder, Rate
from pipelines.live_chain import ROLES, SHARD, LiveChain, live_chain
from proving.signatures import default_backend
from schemas.block import header_from_bytes
from schemas.config import Configuration, profile_configuration
from schemas.errors import EclipticaError
from schemas.genesis import Genesis
from schemas.tables import BLOCKS, WINDOWS
from schemas.topics import shard_topic

RATE = 20
"""Transactions per second."""

WINDOWED_TRANSACTIONS = 3_000
"""Thirty windows of profile local."""

WARM_UP = 200
"""Transactions before what counts: compiled programs, files, and the first windows of a job."""

PATIENCE_SECONDS = 60.0
"""Longest wait for the last results."""

TARGET_MILLIS = 2_000.0
"""The p99 from a window's end to its results that is aimed at, milliseconds."""


@dataclass(frozen=True, slots=True)
class WindowTimes:
    """When what became of a window, UTC milliseconds.

    Attributes:
        end: It ended by the clock.
        closing: The log stored the block of a later window that closes it.
        planned: The log stored its row.
        counted: Its folder was there; None where nobody counts.
    """

    end: float
    closing: float
    planned: float
    counted: float | None


def windows(work: BenchWork) -> dict[str, Any]:
    """Plays traffic and measures every window with transactions that ended within it."""
    is_counting = work.streaming.runner != "loop"
    base = Configuration.model_validate(
        {**profile_configuration("local").model_dump(), "streaming": work.streaming.model_dump()}
    )
    roles = (*ROLES, "windows") if is_counting else ROLES
    with tempfile.TemporaryDirectory(prefix="ecliptica-windows-") as folder:
        data = Path(folder) / "chain"
        corpus = sign_traffic(
            Path(folder), WARM_UP + work.transactions, work.seed, work.report, base
        )
        with live_chain(base, data, work.log_url, work.seed, roles=roles) as chain:
            rows = read_corpus(corpus)
            chain.play(list(islice(rows, read_corpus_info(corpus).genesis_rows)), Rate())
            chain.play(list(islice(rows, WARM_UP)), Rate(per_second=float(RATE)))
            begun = time.time_ns() / NANOS_PER_MILLI
            played = chain.play(list(rows), Rate(per_second=float(RATE)))
            ended = time.time_ns() / NANOS_PER_MILLI
            times = _results(chain, data, (begun, ended), is_counting=is_counting)
    return _record(work, played.sent, times)


def _results(
    chain: LiveChain, data: Path, span: tuple[float, float], *, is_counting: bool
) -> list[WindowTimes]:
    """Returns the windows with transactions that ended within a span, once all their results are there.

    Raises:
        EclipticaError: They do not come, or a process died.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        wanted = [
            window
            for window in _windows_with_transactions(chain)
            if span[0] <= _end_millis(chain.genesis, window) < span[1]
        ]
        found = {one: _times(chain, data, one, is_counting=is_counting) for one in wanted}
        complete = [one for one in found.values() if one is not None]
        if wanted and len(complete) == len(wanted):
            return complete
        if time.monotonic() > deadline:
            missing = [window for window, one in found.items() if one is None]
            raise EclipticaError(f"no result after {PATIENCE_SECONDS:g} s of windows {missing}")
        chain.supervisor.poll(0.2)


def _blocks(chain: LiveChain) -> Iterator[tuple[int, int, int]]:
    """Yields window, transactions and time of storing of every block."""
    view = TopicView(chain.log)
    for record, row in view.placed_rows(shard_topic("blocks", SHARD), BLOCKS):
        header = header_from_bytes(row["header"])
        window = chain.genesis.window_of(header.slot)
        yield window, header.transaction_count, record.append_millis


def _windows_with_transactions(chain: LiveChain) -> list[int]:
    return sorted({window for window, count, _ in _blocks(chain) if count})


def _times(chain: LiveChain, data: Path, window: int, *, is_counting: bool) -> WindowTimes | None:
    """Returns when the results of a window were there; None while one is not."""
    closing = next((at for other, _, at in _blocks(chain) if other > window), None)
    view, topic = TopicView(chain.log), shard_topic("windows", SHARD)
    planned = next(
        (
            record.append_millis
            for record, row in view.placed_rows(topic, WINDOWS)
            if row["window"] == window
        ),
        None,
    )
    folder = window_folder(data, chain.genesis, SHARD, window)
    counted = folder.stat().st_ctime_ns / NANOS_PER_MILLI if folder.exists() else None
    if closing is None or planned is None or (is_counting and counted is None):
        return None
    return WindowTimes(_end_millis(chain.genesis, window), closing, planned, counted)


def _end_millis(genesis: Genesis, window: int) -> float:
    micros = (window + 1) * genesis.slots_per_window * genesis.slot_micros
    return genesis.start_millis + micros / 1000


def _record(work: BenchWork, sent: int, times: list[WindowTimes]) -> dict[str, Any]:
    delays = {
        "closing block after end": [one.closing - one.end for one in times],
        "planned after end": [one.planned - one.end for one in times],
        "planned after block": [one.planned - one.closing for one in times],
    }
    counted = [one for one in times if one.counted is not None]
    if counted:
        delays |= {
            "counted after end": [(one.counted or 0.0) - one.end for one in counted],
            "counted after block": [(one.counted or 0.0) - one.closing for one in counted],
        }
    table = [{"from": name, **_summary(values)} for name, values in delays.items()]
    last = [max(one.planned, one.counted or 0.0) - one.end for one in times]
    result = _summary(last)
    return {
        "name": "windows",
        "transactions": sent,
        "windows": len(times),
        "seconds_median": result["p50_ms"] / 1000,
        "seconds_min": None,
        "result_ms": result,
        "is_result_within_target": result["p99_ms"] < TARGET_MILLIS,
        "table": table,
        "proof_bytes": None,
        "proven_bits": None,
        "verified": None,
        "parameters": {
            "runner": work.streaming.runner,
            "rate": RATE,
            "shards": 1,
            "validators": profile_configuration("local").chain.validators,
            "signatures": default_backend().name,
            "log": work.log_url.partition(":")[0] or "sqlite",
            "workload": WORKLOAD,
        },
    }


def _summary(millis: list[float]) -> dict[str, float]:
    recorder = LatencyRecorder()
    for value in millis:
        recorder.add(int(max(0.0, value) * NANOS_PER_MILLI))
    found = recorder.summary()
    values = {} if found is None else asdict(found)
    return {f"{name}_ms": float(values[name]) for name in ("p50", "p99", "max")}
