from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from operators.prover_pool import CALLS_PER_ACTOR, DirectPool, Outcome, ProverPool, RayPool
from proving.errors import DeviceFailed
from schemas.errors import ParameterError


def double_or_fail(envelope: bytes) -> bytes:
    if envelope == b"refuse":
        raise ParameterError("not provable")
    if envelope == b"overheat":
        raise DeviceFailed("the GPU failed")
    if envelope == b"die":
        os.kill(os.getpid(), signal.SIGKILL)
    return envelope * 2


def drain(pool: ProverPool, count: int) -> dict[bytes, Outcome]:
    found: dict[bytes, Outcome] = {}
    for _ in range(300):
        found.update({outcome.ticket: outcome for outcome in pool.collect(0.5)})
        if len(found) == count:
            return found
    pytest.fail(f"only {sorted(found)} came back")


def test_the_direct_pool_takes_one_ticket_and_reports_failures_by_name() -> None:
    pool = DirectPool(double_or_fail)
    pool.submit(b"1", b"ab")
    with pytest.raises(ParameterError, match="full"):
        pool.submit(b"2", b"cd")
    assert pool.collect(0) == [Outcome(b"1", b"abab")]
    pool.submit(b"3", b"refuse")
    assert pool.collect(0) == [Outcome(b"3", None, "ParameterError: not provable")]
    assert pool.free() == 1


def test_a_device_that_failed_loses_the_ticket_and_blames_nobody() -> None:
    pool = DirectPool(double_or_fail)
    pool.submit(b"1", b"overheat")
    told = "DeviceFailed: the GPU failed"
    assert pool.collect(0) == [Outcome(b"1", None, told, is_lost=True)]


@pytest.fixture(scope="module")
def ray_pool() -> Iterator[RayPool]:
    pool = RayPool(double_or_fail, actors=1)
    yield pool
    pool.close()


@pytest.mark.ray
def test_ray_actors_prove_and_report_failures_by_name(ray_pool: RayPool) -> None:
    ray_pool.submit(b"1", b"ab")
    ray_pool.submit(b"2", b"refuse")
    assert ray_pool.free() == 0
    with pytest.raises(ParameterError, match="full"):
        ray_pool.submit(b"3", b"")
    assert drain(ray_pool, 2) == {
        b"1": Outcome(b"1", b"abab"),
        b"2": Outcome(b"2", None, "ParameterError: not provable"),
    }
    assert ray_pool.free() == CALLS_PER_ACTOR


@pytest.mark.ray
@pytest.mark.parametrize(
    ("envelope", "told"), [(b"die", "worker lost"), (b"overheat", "DeviceFailed: the GPU failed")]
)
def test_a_lost_worker_fails_its_ticket_and_is_started_again(
    ray_pool: RayPool, envelope: bytes, told: str
) -> None:
    before = ray_pool.worker_pids()
    ray_pool.submit(b"doomed", envelope)
    lost = drain(ray_pool, 1)[b"doomed"]
    assert lost.result is None
    assert lost.is_lost
    assert lost.failure.startswith(told)
    for attempt in range(3000):  # EnvironmentMissing ends it earlier if the actor never comes back
        ticket = b"again-%d" % attempt
        ray_pool.submit(ticket, b"xy")
        is_done = drain(ray_pool, 1)[ticket].result == b"xyxy"
        if is_done and not set(before) & set(ray_pool.worker_pids()):
            return
    pytest.fail(f"{before} were not replaced")


def test_a_pool_without_actors_is_refused() -> None:
    with pytest.raises(ParameterError):
        RayPool(double_or_fail, actors=0)
