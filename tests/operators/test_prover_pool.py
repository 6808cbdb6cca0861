from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator

import pytest

from operators.prover_pool import (
    CALLS_PER_ACTOR,
    THREADS_VARIABLE,
    Crew,
    DirectPool,
    Outcome,
    ProverPool,
    RayPool,
)
from operators.ray_cluster import NodeSize, RayCluster
from pipelines.node_roles import crews_of
from proving.errors import DeviceFailed
from schemas.config import ProvingConfig
from schemas.errors import ParameterError
from schemas.job import ProofLevel

SEGMENT = ProofLevel.SEGMENT


def double_or_fail(envelope: bytes) -> bytes:
    if envelope == b"refuse":
        raise ParameterError("not provable")
    if envelope == b"overheat":
        raise DeviceFailed("the GPU failed")
    if envelope == b"threads":
        return (os.environ[THREADS_VARIABLE] + os.environ.get("PREPARED", "")).encode()
    if envelope == b"die":
        os.kill(os.getpid(), signal.SIGKILL)
    return envelope * 2


def leave_a_mark() -> None:
    os.environ["PREPARED"] = "1"


def drain(pool: ProverPool, count: int) -> dict[bytes, Outcome]:
    found: dict[bytes, Outcome] = {}
    for _ in range(300):
        found.update({outcome.ticket: outcome for outcome in pool.collect(0.5)})
        if len(found) == count:
            return found
    pytest.fail(f"only {sorted(found)} came back")


def await_free(pool: ProverPool, level: ProofLevel) -> None:
    """Lets a pool ask its absent workers until one takes work."""
    deadline = time.monotonic() + 120
    while pool.free(level) < 1:
        assert time.monotonic() < deadline, "no worker came back"
        assert pool.collect(0.5) == []
        time.sleep(0.05)  # pace of asking; what is awaited is the worker's answer


def test_the_direct_pool_takes_one_ticket_and_reports_failures_by_name() -> None:
    pool = DirectPool(double_or_fail)
    pool.submit(b"1", SEGMENT, b"ab")
    with pytest.raises(ParameterError, match="full"):
        pool.submit(b"2", SEGMENT, b"cd")
    assert pool.collect(0) == [Outcome(b"1", b"abab")]
    pool.submit(b"3", SEGMENT, b"refuse")
    assert pool.collect(0) == [Outcome(b"3", None, "ParameterError: not provable")]
    assert pool.free(SEGMENT) == 1


def test_a_device_that_failed_loses_the_ticket_and_blames_nobody() -> None:
    pool = DirectPool(double_or_fail)
    pool.submit(b"1", SEGMENT, b"overheat")
    told = "DeviceFailed: the GPU failed"
    assert pool.collect(0) == [Outcome(b"1", None, told, is_lost=True)]


@pytest.fixture(scope="module")
def ray_pool() -> Iterator[RayPool]:
    crews = [
        Crew("segments", 1, 1, frozenset({SEGMENT})),
        Crew("pyramid", 1, 2, frozenset({ProofLevel.WINDOW, ProofLevel.EPOCH}), leave_a_mark),
    ]
    pool = RayPool(double_or_fail, crews)
    yield pool
    pool.close()


@pytest.mark.ray
def test_ray_actors_prove_and_report_failures_by_name(ray_pool: RayPool) -> None:
    ray_pool.submit(b"1", SEGMENT, b"ab")
    ray_pool.submit(b"2", SEGMENT, b"refuse")
    assert ray_pool.free(SEGMENT) == 0
    with pytest.raises(ParameterError, match="full"):
        ray_pool.submit(b"3", SEGMENT, b"")
    assert drain(ray_pool, 2) == {
        b"1": Outcome(b"1", b"abab"),
        b"2": Outcome(b"2", None, "ParameterError: not provable"),
    }
    assert ray_pool.free(SEGMENT) == CALLS_PER_ACTOR


@pytest.mark.ray
def test_a_level_goes_to_its_crew_which_has_its_threads_and_is_prepared(ray_pool: RayPool) -> None:
    for ticket in (b"1", b"2"):
        ray_pool.submit(ticket, ProofLevel.WINDOW, b"threads")
    assert (ray_pool.free(ProofLevel.EPOCH), ray_pool.free(SEGMENT)) == (0, CALLS_PER_ACTOR)
    ray_pool.submit(b"3", SEGMENT, b"threads")
    found = drain(ray_pool, 3)
    assert [found[ticket].result for ticket in (b"1", b"2", b"3")] == [b"21", b"21", b"1"]
    assert ray_pool.free(ProofLevel.DAY) == 0


@pytest.mark.ray
@pytest.mark.parametrize(
    ("envelope", "told"), [(b"die", "worker lost"), (b"overheat", "DeviceFailed: the GPU failed")]
)
def test_a_lost_worker_fails_its_ticket_and_is_started_again(
    ray_pool: RayPool, envelope: bytes, told: str
) -> None:
    await_free(ray_pool, SEGMENT)
    before = ray_pool.worker_pids()
    ray_pool.submit(b"doomed", SEGMENT, envelope)
    lost = drain(ray_pool, 1)[b"doomed"]
    assert lost.result is None
    assert lost.is_lost
    assert lost.failure.startswith(told)
    assert ray_pool.free(SEGMENT) == 0
    again = None
    while again is None:  # one that is being killed may still have said that it is there
        await_free(ray_pool, SEGMENT)
        ray_pool.submit(b"again", SEGMENT, b"xy")
        again = drain(ray_pool, 1)[b"again"].result
    assert again == b"xyxy"
    await_free(ray_pool, ProofLevel.EPOCH)
    assert ray_pool.free(ProofLevel.EPOCH) == CALLS_PER_ACTOR
    after = ray_pool.worker_pids()
    assert len(set(before) & set(after)) == len(before) - 1


@pytest.mark.parametrize(
    "crews",
    [
        [],
        [Crew("segments", 0, 1, frozenset({SEGMENT}))],
        [Crew("segments", 1, 0, frozenset({SEGMENT}))],
        [Crew("a", 1, 1, frozenset({SEGMENT})), Crew("b", 1, 1, frozenset({SEGMENT}))],
    ],
)
def test_a_pool_of_impossible_crews_is_refused(crews: list[Crew]) -> None:
    with pytest.raises(ParameterError):
        RayPool(double_or_fail, crews)


def test_crews_use_the_nodes_they_have() -> None:
    def shapes(proving: ProvingConfig, *cores: int, gpus: int = 0) -> list[tuple[str, int, int]]:
        crews = crews_of(proving, [NodeSize(count, gpus) for count in cores])
        assert frozenset().union(*(crew.levels for crew in crews)) == frozenset(ProofLevel)
        return [(crew.name, crew.workers, crew.threads) for crew in crews]

    assert shapes(ProvingConfig(), 1) == [("segments", 1, 1), ("pyramid", 1, 1)]
    assert shapes(ProvingConfig(), 2) == [("segments", 2, 1), ("pyramid", 1, 2)]
    assert shapes(ProvingConfig(), 16) == [("segments", 16, 1), ("pyramid", 4, 4)]
    assert shapes(ProvingConfig(workers=3, pyramid_workers=2), 4) == [
        ("segments", 3, 1),
        ("pyramid", 2, 4),
    ]
    assert shapes(ProvingConfig(), 2, 8) == [("segments", 10, 1), ("pyramid", 5, 2)]
    assert shapes(ProvingConfig(backend="cuda"), 16) == [("gpu", 1, 1)]
    assert shapes(ProvingConfig(backend="cuda"), 16, 16, gpus=4) == [("gpu", 8, 1)]


@pytest.mark.parametrize("cores", [1, 2, 3, 4, 7, 16])
def test_what_crews_ask_of_a_joined_cluster_fits_a_node(cores: int) -> None:
    node = NodeSize(cores)
    cluster = RayCluster(None, (node,), "head:6379")
    asked = [
        cluster.options(crew.threads, crew.gpus, crew.memory_bytes)["num_cpus"] * crew.workers
        for crew in crews_of(ProvingConfig(), [node])
    ]
    assert 0 < sum(asked) <= cores
