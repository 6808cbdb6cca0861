"""What every bench has: a size, a warm-up apart from the measured runs, and the machine beside the figures."""

from __future__ import annotations

import os
import platform
import resource
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipelines.checkout import PACKAGE_ROOT, checkout_commit
from pipelines.forge import usable_cores
from pipelines.progress import Progress
from schemas.config import StreamingConfig

"""The checkout that the code runs from, if it is one."""


@dataclass(frozen=True, slots=True)
class Timings:
    """Seconds of the same work, again and again.

    Attributes:
        warm_up: Of the first run, which may compile, load and allocate.
        seconds: Of each measured run.
        cpu_seconds: Processor time of each measured run over all threads; says more than seconds on a busy machine.
    """

    warm_up: float
    seconds: tuple[float, ...]
    cpu_seconds: tuple[float, ...]

    def __iter__(self) -> Iterator[float]:
        return iter(self.seconds)

    @property
    def median(self) -> float:
        """Median of the measured runs."""
        return statistics.median(self.seconds)

    def fields(self) -> dict[str, float]:
        """Returns median, least and spread (largest less least, over the median) for a record."""
        spread = (max(self.seconds) - min(self.seconds)) / max(self.median, 1e-9)
        return {
            "seconds_median": round(self.median, 6),
            "seconds_min": round(min(self.seconds), 6),
            "spread": round(spread, 4),
            "cpu_seconds_median": round(statistics.median(self.cpu_seconds), 6),
            "warm_up_seconds": round(self.warm_up, 6),
        }


class Stopwatch:
    """Collects runs one at a time, for benches that take turns between several kinds of work."""

    def __init__(self) -> None:
        self._runs: list[tuple[float, float]] = []

    def run(self, work: Callable[[], Any]) -> None:
        """Runs the work once; the first run is the warm-up."""
        started, cpu = time.perf_counter(), time.process_time()
        work()
        self._runs.append((time.perf_counter() - started, time.process_time() - cpu))

    def timings(self) -> Timings:
        """Returns the runs, of which there are two at least."""
        (warm_up, _), *measured = self._runs
        return Timings(warm_up, tuple(s for s, _ in measured), tuple(c for _, c in measured))


@dataclass(frozen=True, slots=True)
class BenchWork:
    """What a bench is asked for.

    Attributes:
        transactions: Size of the work, for benches of transactions.
        repeat: Measured runs after the warm-up.
        seed: Of whatever is random.
        report: Progress, one step per run.
        rows: Rows of a circuit of permutations, a power of two; the most rows for `scaling`.
        out: Where a plot goes, or None.
        records: Files with records of earlier benches, to be drawn.
        aggregates: Whether `steps` measures aggregation, which takes many times as long as the rest.
        accounts: Accounts of the state, for `segment`.
        epochs: Epochs of the day, for `compress`; 0 for its own number.
        data: Where proofs that a bench starts from are kept.
        log_url: Log for `hop`; empty for an embedded one of its own.
        seconds: How long `overload` and `soak` play; 0 for their own time.
        streaming: Who closes windows in `windows`.
    """

    transactions: int
    repeat: int
    seed: int
    report: Progress
    rows: int = 0
    out: Path | None = None
    records: Sequence[Path] = ()
    aggregates: bool = True
    accounts: int = 0
    epochs: int = 0
    data: Path = Path("ecliptica-data")
    log_url: str = ""
    seconds: int = 0
    streaming: StreamingConfig = field(default_factory=StreamingConfig)

    def timed(self, run: Callable[[], Any]) -> Timings:
        """Runs once to warm up and then `repeat` times."""
        return self.interleaved([run])[0]

    def interleaved(self, runs: Sequence[Callable[[], Any]]) -> list[Timings]:
        """Times several kinds of work in turns, so that each meets the same load of the machine."""
        watches = [Stopwatch() for _ in runs]
        for turn in range(self.repeat + 1):
            for watch, run in zip(watches, runs, strict=True):
                watch.run(run)
            self.report.advance(min(turn, 1))
        return [watch.timings() for watch in watches]


def environment() -> dict[str, Any]:
    """Returns machine, commit and peak memory of this process."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {
        "peak_memory_bytes": peak,
        "machine": {
            "cpu": _cpu_name(),
            "cores": usable_cores(),
            "load_1min": round(os.getloadavg()[0], 2),
            "system": platform.system(),
            "python": platform.python_version(),
        },
        "commit": checkout_commit(PACKAGE_ROOT),
    }


def available_memory_bytes() -> int:
    """Returns how much memory a process may still take without swapping; all of it where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        lines = []
    for line in lines:
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
