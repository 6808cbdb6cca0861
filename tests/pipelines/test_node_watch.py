from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from operators.event_log import Lag
from operators.log_memory import MemoryLog, MemoryStore
from operators.metered_log import MeteredLog
from operators.metrics import NO_METRICS, PrometheusMetrics
from pipelines.node import Roles, look, run_role
from pipelines.node_watch import MEASURE_SECONDS, Endpoint, NodeWatch, watched
from schemas.config import MetricsConfig
from schemas.errors import ParameterError

CONFIG = MetricsConfig(port=1, stalled_seconds=5, ready_lag_millis=1000)


@dataclass
class ManualClock:
    now: float = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def watch(clock: ManualClock) -> NodeWatch:
    return NodeWatch("admission", CONFIG, clock)


@pytest.fixture
def endpoint(watch: NodeWatch) -> Iterator[Endpoint]:
    served = Endpoint(watch, PrometheusMetrics())
    served.start("127.0.0.1", 0)
    yield served
    served.stop()


def get(endpoint: Endpoint, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(endpoint.address + path, timeout=10) as answer:  # noqa: S310
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_a_starting_process_is_alive_and_not_ready(endpoint: Endpoint) -> None:
    assert get(endpoint, "/health")[0] == 200
    status, body = get(endpoint, "/ready")
    assert status == 503
    assert json.loads(body) == {
        "process": "admission",
        "ok": False,
        "reason": "starting: snapshot and replay are not done",
        "busy_with": "",
        "loop_age_seconds": None,
        "lag_records": 0,
        "lag_millis": 0,
    }


def test_a_loop_that_stands_still_is_found(
    endpoint: Endpoint, watch: NodeWatch, clock: ManualClock
) -> None:
    watch.turned()
    clock.now += 5
    assert [get(endpoint, path)[0] for path in ("/health", "/ready")] == [200, 200]
    clock.now += 1
    for path in ("/health", "/ready"):
        status, body = get(endpoint, path)
        assert status == 503
        assert json.loads(body)["reason"] == "the loop has not turned for 6 s"
    watch.turned()
    assert get(endpoint, "/health")[0] == 200


def test_a_loop_that_stands_for_long_work_is_alive_while_it_lasts(
    endpoint: Endpoint, watch: NodeWatch, clock: ManualClock
) -> None:
    watch.turned()
    with watch.busy("export"):
        clock.now += 600
        status, body = get(endpoint, "/health")
        assert (status, json.loads(body)["busy_with"]) == (200, "export")
    assert get(endpoint, "/health")[0] == 200
    clock.now += 6
    assert get(endpoint, "/health")[0] == 503


def test_a_process_that_is_behind_or_incomplete_is_alive_and_not_ready(
    endpoint: Endpoint, watch: NodeWatch
) -> None:
    watch.turned()
    watch.lag = Lag(7, 1001)
    assert get(endpoint, "/health")[0] == 200
    status, body = get(endpoint, "/ready")
    assert (status, json.loads(body)["lag_records"]) == (503, 7)
    watch.lag = Lag(7, 1000)
    assert get(endpoint, "/ready")[0] == 200
    watch.wait_for("not running: prover")
    assert json.loads(get(endpoint, "/ready")[1])["reason"] == "not running: prover"
    watch.wait_for("")
    assert get(endpoint, "/ready")[0] == 200


def test_metrics_are_text_that_says_whether_the_process_is_ready(
    endpoint: Endpoint, watch: NodeWatch
) -> None:
    assert 'ecliptica_process_ready_state{process="admission"} 0.0' in get(endpoint, "/metrics")[1]
    watch.turned()
    assert 'ecliptica_process_ready_state{process="admission"} 1.0' in get(endpoint, "/metrics")[1]
    assert get(endpoint, "/anything")[0] == 404


def test_a_taken_port_is_named(endpoint: Endpoint, watch: NodeWatch) -> None:
    port = int(endpoint.address.rpartition(":")[2])
    with pytest.raises(ParameterError, match=f"metrics of admission: 127.0.0.1:{port}"):
        Endpoint(watch, PrometheusMetrics()).start("127.0.0.1", port)


def test_nothing_is_opened_unless_a_port_is_set() -> None:
    with watched("admission", MetricsConfig(), 0) as (_, metrics):
        assert metrics is NO_METRICS


def test_the_loop_looks_at_its_lags_every_few_seconds(watch: NodeWatch, clock: ManualClock) -> None:
    log = MeteredLog(MemoryLog("memory://m", MemoryStore()), PrometheusMetrics())
    assert watch.turned()
    clock.now += MEASURE_SECONDS / 2
    assert not watch.turned()
    clock.now += MEASURE_SECONDS
    turns = 3

    def is_stopped() -> bool:
        nonlocal turns
        turns -= 1
        return turns < 0

    watch.lag = Lag(9, 9)
    role = Roles([])
    run_role(role, log, is_stopped, lambda: look(watch, role, log))
    assert watch.lag == Lag(0, 0)
    assert watch.readiness().is_good
