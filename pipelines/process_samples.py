"""What processes of a chain take while they run: memory, and how far they are behind, looked at every few seconds.

Memory is the resident set as the system counts it; distance behind is what a process answers on `/ready`.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

import numpy as np

from schemas.errors import EclipticaError

PATIENCE_SECONDS = 2.0
"""How long a process may take to answer; one that does not has no lag in that sample."""

PORT_TRIES = 50


@dataclass(frozen=True, slots=True)
class Sample:
    """One look at all processes.

    Attributes:
        seconds: Since the first look.
        resident_bytes: By process.
        lag_millis: Age of the oldest record that a process has not read, by process.
        log_bytes: What the log takes; 0 where that is not on this machine.
    """

    seconds: float
    resident_bytes: Mapping[str, int]
    lag_millis: Mapping[str, int]
    log_bytes: int


@dataclass(slots=True)
class ProcessSampler:
    """Looks at processes from a thread of its own.

    Attributes:
        pids: Returns the processes' numbers by name.
        ports: Ports on loopback where they answer, by name.
        log_file: The embedded log, or None.
        interval_seconds: Between two looks.
        samples: What was seen.
    """

    pids: Callable[[], Mapping[str, int]]
    ports: Mapping[str, int]
    log_file: Path | None
    interval_seconds: float
    samples: list[Sample] = field(default_factory=list)
    _began: float = field(default_factory=time.monotonic)
    _stop: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def running(self) -> Iterator[ProcessSampler]:
        """Samples while the block runs."""
        thread = threading.Thread(target=self._run, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            thread.join()

    def now(self) -> float:
        """Returns the time on the samples' axis, seconds."""
        return time.monotonic() - self._began

    def look(self) -> None:
        """Takes one sample."""
        pids = self.pids()
        resident = {name: found for name, pid in pids.items() if (found := resident_bytes(pid))}
        lags = {name: lag for name in pids if (lag := self._lag(name)) is not None}
        self.samples.append(Sample(round(self.now(), 2), resident, lags, self._log_bytes()))

    def _run(self) -> None:
        while not self._stop.is_set():
            self.look()
            self._stop.wait(self.interval_seconds)

    def _lag(self, name: str) -> int | None:
        port = self.ports.get(name)
        if port is None:
            return None
        url = f"http://127.0.0.1:{port}/ready"
        try:
            with urlopen(url, timeout=PATIENCE_SECONDS) as answer:
                body = answer.read()
        except HTTPError as error:
            body = error.read()
        except (URLError, OSError):
            return None  # starting, ending, or too busy: no lag in this sample
        return int(json.loads(body)["lag_millis"])

    def _log_bytes(self) -> int:
        if self.log_file is None:
            return 0
        total = 0
        for path in self.log_file.parent.glob(f"{self.log_file.name}*"):
            with suppress(FileNotFoundError):  # the write-ahead file comes and goes
                total += path.stat().st_size
        return total


@dataclass(frozen=True, slots=True)
class Trend:
    """How the memory of a process moves over a stretch of samples.

    Attributes:
        process: Its name.
        first_bytes: Median of the first tenth.
        last_bytes: Median of the last tenth.
        most_bytes: Largest.
        slope_bytes_per_minute: Median of the slopes between all pairs of samples (Theil-Sen), which a few outliers
            do not move.
        growth_share: What the slope comes to over the stretch, as a share of the first value.
    """

    process: str
    first_bytes: int
    last_bytes: int
    most_bytes: int
    slope_bytes_per_minute: float
    growth_share: float


def trends(samples: Sequence[Sample]) -> list[Trend]:
    """Returns the trend of every process that is in all samples; none of fewer than three."""
    if len(samples) < 3:
        return []
    names = [
        name for name in samples[0].resident_bytes if all(name in s.resident_bytes for s in samples)
    ]
    times = np.array([sample.seconds for sample in samples])
    return [_trend(name, times, [s.resident_bytes[name] for s in samples]) for name in names]


def theil_sen(times: Sequence[float], values: Sequence[float]) -> float:
    """Returns the median slope between all pairs; times must differ.

    Source: Sen, Estimates of the regression coefficient based on Kendall's tau, 1968.
    """
    x, y = np.asarray(times, float), np.asarray(values, float)
    first, second = np.triu_indices(len(x), 1)
    return float(np.median((y[second] - y[first]) / (x[second] - x[first])))


def _trend(name: str, times: np.ndarray, values: Sequence[int]) -> Trend:
    tenth = max(1, len(values) // 10)
    first, last = (int(np.median(part)) for part in (values[:tenth], values[-tenth:]))
    slope = theil_sen(list(times), list(values))
    growth = slope * float(times[-1] - times[0]) / first
    return Trend(name, first, last, max(values), round(slope * 60, 1), round(growth, 4))


def resident_bytes(pid: int) -> int:
    """Returns the resident memory of a process; 0 if it is gone."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def free_ports(count: int) -> int:
    """Returns the first of so many neighbouring ports that are free on loopback.

    Raises:
        EclipticaError: None were found.
    """
    for _ in range(PORT_TRIES):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            first = int(probe.getsockname()[1])
        if first + count <= 65_000 and all(_is_free(first + place) for place in range(count)):
            return first
    raise EclipticaError(f"no {count} neighbouring ports are free", "stop what listens on loopback")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
