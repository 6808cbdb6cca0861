"""Real processes of `ecliptica run` answer about themselves, and drain when they are told to."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from pipelines.node_plan import metrics_ports
from pipelines.settings import load_settings
from schemas.config import Configuration

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_SECONDS = 120.0
PROCESSES = ("run-consensus", "validator-0", "validator-3", "beacon-0", "chain")


def free_ports() -> dict[str, int]:
    """Ports of the plan from the first base at which all are free."""
    for base in range(21_000, 60_000, 300):
        ports = metrics_ports(configuration(base))
        if all(is_free(port) for port in ports.values()):
            return ports
    raise AssertionError("no free ports")


def configuration(base: int) -> Configuration:
    return load_settings(environment={"ECLIPTICA_METRICS_PORT": str(base)}).configuration


def is_free(port: int) -> bool:
    with closing(socket.socket()) as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def get(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()
    except OSError as error:
        return 0, str(error)


@pytest.fixture
def ports() -> dict[str, int]:
    return free_ports()


@pytest.fixture
def service(tmp_path: Path, ports: dict[str, int]) -> Iterator[subprocess.Popen[bytes]]:
    variables = {
        **os.environ,
        "ECLIPTICA_METRICS_PORT": str(min(ports.values())),
        "PYTHONPATH": str(ROOT),
    }
    arguments = ["run", "consensus", "--data", str(tmp_path / "data"), "--shards", "1"]
    with (tmp_path / "stderr").open("wb") as stderr:
        running = subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", "pipelines.cli", *arguments, "--log-format", "json"],
            env=variables,
            cwd=ROOT,
            stderr=stderr,
            stdout=subprocess.DEVNULL,
        )
    yield running
    running.kill()
    running.wait()


@pytest.mark.slow
def test_processes_become_ready_tell_their_figures_and_drain(
    tmp_path: Path, ports: dict[str, int], service: subprocess.Popen[bytes]
) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not all(get(ports[name], "/ready")[0] == 200 for name in PROCESSES):
        assert service.poll() is None, (tmp_path / "stderr").read_text()
        assert time.monotonic() < deadline, [get(ports[name], "/ready") for name in PROCESSES]
        time.sleep(0.2)
    for name in PROCESSES:
        assert get(ports[name], "/health")[0] == 200
        families = {
            family.name: family
            for family in text_string_to_metric_families(get(ports[name], "/metrics")[1])
        }
        (told,) = families["ecliptica_process_info"].samples
        assert told.labels["process"] == name
        assert families["process_resident_memory_bytes"].samples[0].value > 0
        if name != "run-consensus":
            assert families["ecliptica_reader_lag_records"].samples

    service.send_signal(signal.SIGTERM)
    assert service.wait(PATIENCE_SECONDS) == 0
    for name in PROCESSES[1:]:
        written = (tmp_path / "data" / "run" / f"{name}.log").read_text(encoding="utf-8")
        lines = [json.loads(line) for line in written.splitlines()]
        assert [line["message"] for line in lines][-1] == "drained"
        assert all((line["process"], line["chain"]) == (name, 2) for line in lines)
    told_people = (tmp_path / "stderr").read_text(encoding="utf-8")
    for name in PROCESSES:
        assert f"{name}: http://127.0.0.1:{ports[name]}/metrics" in told_people
