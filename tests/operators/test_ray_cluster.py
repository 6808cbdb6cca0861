"""A prover's pool on a cluster that it joins: two nodes of real processes, killed one after the other."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from operators.prover_pool import Crew, Outcome, ProverPool, RayPool
from operators.ray_cluster import join_cluster
from pipelines.campaign_chaos import descendants
from schemas.errors import EnvironmentMissing
from schemas.job import ProofLevel
from tests.suites.ray_nodes import RayNodes, ray_nodes

pytestmark = pytest.mark.ray

SEGMENT = ProofLevel.SEGMENT
PATIENCE_SECONDS = 120.0


def node_and_setting(envelope: bytes) -> bytes:
    """Work that tells where it was done and with what."""
    return envelope + os.environ["ECLIPTICA_TOLD"].encode()


@pytest.fixture
def nodes(monkeypatch: pytest.MonkeyPatch) -> Iterator[RayNodes]:
    monkeypatch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))  # this machine may have none yet
    folder = Path(tempfile.mkdtemp(prefix="eclr-"))
    with ray_nodes(folder) as found:
        yield found
    shutil.rmtree(folder, ignore_errors=True)


def results(pool: ProverPool, count: int) -> list[Outcome]:
    found: list[Outcome] = []
    deadline = time.monotonic() + PATIENCE_SECONDS
    while len(found) < count:
        assert time.monotonic() < deadline, f"{len(found)} of {count} came back"
        found += pool.collect(0.5)
    return found


def await_free(pool: ProverPool, count: int) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while pool.free(SEGMENT) < count:
        assert time.monotonic() < deadline, "no worker came back"
        assert pool.collect(0.5) == []
        time.sleep(0.05)  # pace of asking; what is awaited is the workers' answer


def test_no_cluster_is_said_at_once_and_by_address() -> None:
    with pytest.raises(EnvironmentMissing, match=r"no Ray cluster to join at 127\.0\.0\.1:1"):
        join_cluster("127.0.0.1:1")


@pytest.mark.slow
def test_workers_are_spread_over_nodes_and_outlive_a_worker_a_node_and_are_missed_with_the_head(
    nodes: RayNodes,
) -> None:
    nodes.start_head(1)
    nodes.add_node(1)
    cluster = join_cluster(nodes.address)
    assert [node.cores for node in cluster.nodes] == [1, 1]
    crew = Crew("segments", 2, 1, frozenset({SEGMENT}))
    pool = RayPool(node_and_setting, [crew], cluster, {"ECLIPTICA_TOLD": "!"})
    try:
        places = pool.worker_nodes()
        assert len(set(places)) == 2
        for ticket in (b"1", b"2", b"3", b"4"):
            pool.submit(ticket, SEGMENT, ticket)
        assert pool.free(SEGMENT) == 0
        assert {one.result for one in results(pool, 4)} == {b"1!", b"2!", b"3!", b"4!"}

        os.kill(pool.worker_pids()[0], signal.SIGKILL)
        work_until_all_are_back(pool)

        nodes.kill(1)
        work_until_all_are_back(pool)
        assert len(set(pool.worker_nodes())) == 1

        nodes.kill(0)
        with pytest.raises(EnvironmentMissing, match="lost"):
            work_until_all_are_back(pool)
    finally:
        pool.close()


def work_until_all_are_back(pool: RayPool) -> None:
    """Keeps the pool busy until both workers do work; what is lost meanwhile is said to be."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    number = 0
    while True:
        count = pool.free(SEGMENT)
        for _ in range(count):
            number += 1
            pool.submit(b"%d" % number, SEGMENT, b"x")
        found = results(pool, count) if count else pool.collect(0.5)
        for one in found:
            assert one.result == b"x!" if not one.is_lost else one.failure.startswith("worker lost")
        if count == 4 and not any(one.is_lost for one in found):
            return
        assert time.monotonic() < deadline
        time.sleep(0.05)  # pace of asking


@pytest.mark.slow
def test_a_killed_daemon_ends_the_pool_though_a_crew_had_nothing_to_do() -> None:
    crews = [
        Crew("segments", 2, 1, frozenset({SEGMENT})),
        Crew("pyramid", 1, 1, frozenset({ProofLevel.WINDOW})),
    ]
    pool = RayPool(node_and_setting, crews, environment={"ECLIPTICA_TOLD": "!"})
    try:
        pool.submit(b"1", SEGMENT, b"x")
        assert results(pool, 1)[0].result == b"x!"
        for victim in descendants(os.getpid()):
            if "raylet/raylet" in Path(f"/proc/{victim}/cmdline").read_text("utf-8", "replace"):
                os.kill(victim, signal.SIGKILL)
        with pytest.raises(EnvironmentMissing, match="are lost"):
            work_until_told(pool)
    finally:
        pool.close()


def work_until_told(pool: RayPool) -> None:
    """Gives work to whoever seems to be there, until the pool says that nobody is."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    number = 0
    while time.monotonic() < deadline:
        for _ in range(pool.free(SEGMENT)):
            number += 1
            pool.submit(b"%d" % number, SEGMENT, b"x")
        pool.collect(0.5)
        time.sleep(0.05)  # pace of asking
