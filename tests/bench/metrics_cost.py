"""What metrics cost: one call, and a whole chain in one process with and without them, in turns.

Run as `python -m tests.bench.metrics_cost`; prints one JSON object.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import sys
import tempfile
import time
from pathlib import Path

from operators.metered_log import MeteredLog
from operators.metrics import NO_METRICS, Metrics, PrometheusMetrics
from operators.topic_view import TopicView
from pipelines.node import NodePlace, build_role
from schemas.metrics import LOG_APPEND_SECONDS, LOG_RECORDS, Metric
from schemas.workload import Workload
from tests.suites.mini_chain import MiniChain, small_traffic

ROLES = ("admission", "validator-0", "validator-1", "validator-2", "validator-3", "chain")
CALLS = 200_000
ROUNDS = 9
TRANSACTIONS = 1_000
WINDOWS = 2


def call_nanos(metrics: Metrics) -> dict[str, float]:
    """Returns the time of one call of a counter and of a histogram, nanoseconds."""
    begun = time.perf_counter_ns()
    for _ in range(CALLS):
        metrics.count(LOG_RECORDS, "tx.0", by=7)
    counted = time.perf_counter_ns()
    for _ in range(CALLS):
        metrics.observe(LOG_APPEND_SECONDS, 0.003, "tx.0")
    done = time.perf_counter_ns()
    return {"count": (counted - begun) / CALLS, "observe": (done - counted) / CALLS}


class CountedMetrics(PrometheusMetrics):
    """Also counts its calls."""

    calls = 0

    def count(self, metric: Metric, *labels: str, by: float = 1.0) -> None:
        """See `Metrics`."""
        self.calls += 1
        super().count(metric, *labels, by=by)

    def observe(self, metric: Metric, value: float, *labels: str) -> None:
        """See `Metrics`."""
        self.calls += 1
        super().observe(metric, value, *labels)


def chain_seconds(folder: Path, metrics: Metrics) -> float:
    """Returns the processor time that the roles of a chain take for the same transactions, seconds."""
    chain = MiniChain(folder / "data")
    rows = small_traffic(folder, chain.genesis, Workload(accounts=50, funding=10**12), TRANSACTIONS)
    for name in ROLES:
        role, _, index = name.partition("-")
        plain = chain.log()
        log = MeteredLog(plain, metrics) if isinstance(metrics, PrometheusMetrics) else plain
        place = NodePlace(
            chain.data, chain.configuration, chain.genesis, log, int(index or 0), metrics=metrics
        )
        chain.roles[name] = build_role(role, place)
    chain.send(rows, per_record=50)
    view = TopicView(chain.log())
    begun = time.process_time()
    chain.run_until(lambda: view.end("windows.0") >= WINDOWS, 120)
    seconds = time.process_time() - begun
    chain.close()
    return seconds


def main() -> int:
    """Measures and prints; returns how the process ends."""
    without: list[float] = []
    recorded: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(ROUNDS + 1):
            for name, metrics, into in (
                ("off", NO_METRICS, without),
                ("on", PrometheusMetrics(), recorded),
            ):
                place = Path(folder) / f"{number}-{name}"
                place.mkdir()
                seconds = chain_seconds(place, metrics)
                if number:  # the first round warms up
                    into.append(seconds)
        counted = CountedMetrics()
        (Path(folder) / "counted").mkdir()
        chain_seconds(Path(folder) / "counted", counted)
    off, on = statistics.median(without), statistics.median(recorded)
    found = {
        "call_nanos": {"off": call_nanos(NO_METRICS), "on": call_nanos(PrometheusMetrics())},
        "transactions": TRANSACTIONS,
        "calls": counted.calls,
        "cpu_seconds_min": {"off": min(without), "on": min(recorded)},
        "cpu_seconds_median": {"off": off, "on": on},
        "machine": {
            "cpus": os.cpu_count(),
            "processor": platform.machine(),
            "load": os.getloadavg(),
        },
    }
    sys.stdout.write(json.dumps(found) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
