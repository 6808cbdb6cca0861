"""How a process is seen from outside: whether its loop turns, whether it is caught up, and its metrics.

The loop says when it turned; the endpoint's threads only read what it left. An endpoint answers `/metrics` (Prometheus
text), `/health` (200 while the loop turns) and `/ready` (200 when it does its work and is caught up).
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from typing import Any, ClassVar

from operators.event_log import Lag
from operators.metrics import NO_METRICS, Metrics, PrometheusMetrics
from schemas.config import MetricsConfig
from schemas.errors import ParameterError
from schemas.metrics import PROCESS_INFO, PROCESS_READY

MEASURE_SECONDS = 2.0
"""Between two looks at lags and queues: below the usual scrape interval, and each look costs the log a few queries."""

_logger = logging.getLogger("ecliptica.watch")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What `/health` or `/ready` says.

    Attributes:
        is_good: Whether the answer is 200 or 503.
        reason: Why not; empty if it is.
    """

    is_good: bool
    reason: str = ""


@dataclass(slots=True)
class NodeWatch:
    """What a process says of itself.

    Attributes:
        process: Name of the process.
        config: Bounds of health and readiness.
        clock: Monotonic seconds.
        lag: How far its readers were behind at the last look.
    """

    process: str
    config: MetricsConfig
    clock: Callable[[], float] = time.monotonic
    lag: Lag = field(default_factory=lambda: Lag(0, 0))
    _turned_at: float | None = None
    _measured_at: float | None = None
    _waits_for: str = ""
    _does: str = ""

    def turned(self) -> bool:
        """Notes a turn of the loop; says whether it is time to measure."""
        self._turned_at = now = self.clock()
        if self._measured_at is not None and now - self._measured_at < MEASURE_SECONDS:
            return False
        self._measured_at = now
        return True

    def wait_for(self, what: str) -> None:
        """Says what it cannot work without, or with an empty string that it can."""
        self._waits_for = what

    @contextmanager
    def busy(self, what: str) -> Iterator[None]:
        """Says that the loop stands for good reason while the block runs; nothing tells whether that ends."""
        self._does = what
        try:
            yield
        finally:
            self._does = ""
            self.turned()

    def health(self) -> Verdict:
        """Says whether the loop turns; a process that is still starting, or busy, is alive."""
        age = self._age()
        if age is None or age <= self.config.stalled_seconds or self._does:
            return Verdict(is_good=True)
        return Verdict(is_good=False, reason=f"the loop has not turned for {age:.0f} s")

    def readiness(self) -> Verdict:
        """Says whether it is started, turning, complete and caught up."""
        if self._age() is None:
            return Verdict(is_good=False, reason="starting: snapshot and replay are not done")
        health = self.health()
        if not health.is_good:
            return health
        if self._waits_for:
            return Verdict(is_good=False, reason=self._waits_for)
        if self.lag.millis > self.config.ready_lag_millis:
            reason = f"behind by {self.lag.records} records, the oldest {self.lag.millis} ms old"
            return Verdict(is_good=False, reason=reason)
        return Verdict(is_good=True)

    def document(self, verdict: Verdict) -> Mapping[str, Any]:
        """Returns what an answer says."""
        age = self._age()
        return {
            "process": self.process,
            "ok": verdict.is_good,
            "reason": verdict.reason,
            "busy_with": self._does,
            "loop_age_seconds": None if age is None else round(age, 3),
            "lag_records": self.lag.records,
            "lag_millis": self.lag.millis,
        }

    def _age(self) -> float | None:
        return None if self._turned_at is None else self.clock() - self._turned_at


@dataclass(slots=True)
class Endpoint:
    """The HTTP server of a process, on threads of its own.

    Attributes:
        watch: What it answers about.
        metrics: What `/metrics` shows.
        address: URL without a path.
    """

    watch: NodeWatch
    metrics: PrometheusMetrics
    address: str = ""
    _server: ThreadingHTTPServer | None = field(default=None)

    def start(self, host: str, port: int) -> None:
        """Begins to answer; port 0 takes a free one.

        Raises:
            ParameterError: The port is taken, or the host is none of this machine.
        """
        handler = type("Handler", (_Handler,), {"endpoint": self})
        try:
            self._server = ThreadingHTTPServer((host, port), handler)
        except OSError as error:
            raise ParameterError(
                f"metrics of {self.watch.process}: {host}:{port}: {error.strerror or error}",
                "choose another metrics.port or metrics.host; 0 switches metrics off",
            ) from error
        self._server.daemon_threads = True
        self.address = f"http://{host}:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        """Gives the port back."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()

    def answer(self, path: str) -> tuple[int, str, bytes]:
        """Returns status, content type and body of a request."""
        if path == "/metrics":
            ready = float(self.watch.readiness().is_good)
            self.metrics.set(PROCESS_READY, ready, self.watch.process)
            return 200, self.metrics.content_type, self.metrics.exposition()
        checks = {"/health": self.watch.health, "/ready": self.watch.readiness}
        check = checks.get(path)
        if check is None:
            return 404, "text/plain; charset=utf-8", b"/metrics, /health, /ready\n"
        verdict = check()
        body = json.dumps(self.watch.document(verdict)) + "\n"
        return (200 if verdict.is_good else 503), "application/json", body.encode()


class _Handler(BaseHTTPRequestHandler):
    endpoint: ClassVar[Endpoint]
    protocol_version = "HTTP/1.1"
    timeout = 10

    def do_GET(self) -> None:
        """Answers."""
        status, kind, body = self.endpoint.answer(self.path.partition("?")[0])
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - of http.server
        """Says nothing: every scrape would be a line."""


@contextmanager
def watched(process: str, config: MetricsConfig, port: int) -> Iterator[tuple[NodeWatch, Metrics]]:
    """Opens the endpoint of a process while the block runs; with `metrics.port` 0 nothing is opened or recorded.

    Args:
        process: Its name in the plan.
        config: Host and bounds; port 0 switches everything off.
        port: Of this process.

    Raises:
        ParameterError: The port is taken.
        EnvironmentMissing: prometheus-client is not installed.
    """
    watch = NodeWatch(process, config)
    if not config.port:
        yield watch, NO_METRICS
        return
    metrics = PrometheusMetrics()
    metrics.set(PROCESS_INFO, 1, process, version("ecliptica"))
    endpoint = Endpoint(watch, metrics)
    endpoint.start(config.host, port)
    _logger.info("metrics, health and readiness at %s", endpoint.address)
    try:
        yield watch, metrics
    finally:
        endpoint.stop()
