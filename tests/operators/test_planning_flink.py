"""Window closing and job planning by a job on Flink, against the loop driver, also when its server or its process is killed."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deploy.flink_job_server import JobServer
from deploy.java_service import free_port
from operators.analytics_feed import feed_topics
from operators.event_log import Record, open_log
from pipelines.analytics import open_counting
from pipelines.node_plan import node_plans, write_node_configuration
from pipelines.settings import Settings
from pipelines.supervisor import Supervisor
from schemas.config import Configuration
from tests.suites.counted_chain import (
    SHARDS,
    count_alone,
    counted_chain,
    feed_items,
    files_of,
    two_shards,
)
from tests.suites.flink_servers import JARS, flink_server
from tests.suites.kafka_brokers import kafka_broker, log_url
from tests.suites.planned_chain import (
    chain_records,
    plan_by_loop,
    planned_place,
    planned_records,
    unplanned_log,
)

pytestmark = [pytest.mark.beam, pytest.mark.flink]

PATIENCE_SECONDS = 300.0

AGO_MILLIS = 60_000

INPUTS = ("tx.0", "tx.1", "blocks.0", "blocks.1")
"""What the windows stage reads."""


def _await(is_done: Callable[[], bool], turn: Callable[[], None]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not is_done():
        assert time.monotonic() < deadline
        turn()


def _alone(root: Path) -> dict[str, bytes]:
    for shard in range(SHARDS):
        count_alone(counted_chain(), root, feed_items(counted_chain(), shard))
    return files_of(root)


def test_flink_plans_what_the_loop_plans_byte_for_byte(tmp_path: Path) -> None:
    loop, url = unplanned_log(tmp_path / "loop.sqlite"), unplanned_log(tmp_path / "flink.sqlite")
    plan_by_loop(loop, tmp_path / "loop")
    expected, files = planned_records(loop), _alone(tmp_path / "alone")
    root = tmp_path / "flink"
    with open_log(url) as log:
        counting = open_counting("flink", planned_place(log, root), flink_server().address)
        try:
            _await(
                lambda: planned_records(url) == expected and files_of(root) == files,
                lambda: _turn(log.wait, counting.turn),
            )
        finally:
            counting.close()
    assert len(expected["windows.0"]) > 2


@pytest.mark.kafka
def test_flink_plans_from_a_broker_what_the_loop_plans_from_a_copy(tmp_path: Path) -> None:
    """A broker stamps records itself, so the chain is one whose windows are over when it gets them."""
    url = log_url(kafka_broker())
    genesis = counted_chain().genesis.model_copy(
        update={"start_millis": time.time_ns() // 1_000_000 - AGO_MILLIS}
    )
    with open_log(url) as log, open_log(counted_chain().log_url) as source:
        log.create_topics(dict(source.topics()))
        wanted = {*INPUTS, *feed_topics(0), *feed_topics(1)}
        for record in chain_records():
            if record.topic not in wanted:
                continue
            log.append(record.topic, [Record(record.value, record.headers, record.key)])
        stamped = [record for topic in INPUTS for record in log.read(topic, 0, 10_000)]
        loop = unplanned_log(tmp_path / "loop.sqlite", stamped)
        plan_by_loop(loop, tmp_path / "loop")
        expected, root = planned_records(loop), tmp_path / "flink"
        place = planned_place(log, root, genesis=genesis)
        counting = open_counting("flink", place, flink_server().address)
        try:
            _await(
                lambda: planned_records(url) == expected,
                lambda: _turn(log.wait, counting.turn),
            )
        finally:
            counting.close()
    assert len(expected["windows.0"]) > 2


def _turn(wait: Callable[[float], bool], turn: Callable[[int], int]) -> None:
    if not turn(time.time_ns() // 1_000_000):
        wait(0.1)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[JobServer]:
    """A job server of the test's own."""
    flink_server()  # skips where there is none
    own = JobServer(tmp_path / "server", free_port(), jars=JARS)
    own.start()
    yield own
    own.kill()


@pytest.mark.parametrize("victim", ["job server", "process"])
def test_killed_with_its_server_or_alone_the_process_plans_nothing_twice(
    victim: str, server: JobServer, tmp_path: Path
) -> None:
    records = chain_records()
    cut = 3 * len(records) // 4  # the third window has begun
    loop, data = unplanned_log(tmp_path / "loop.sqlite"), tmp_path / "data"
    plan_by_loop(loop, tmp_path / "loop")
    expected, files = planned_records(loop), _alone(tmp_path / "alone")
    data.mkdir()
    url = unplanned_log(data / "log.sqlite", records[:cut])
    shutil.copy(counted_chain().data / "genesis.json", data)
    settings = _settings(data, url, server)
    write_node_configuration(settings)
    plans = node_plans(data, settings.configuration, ("windows",))
    supervisor = Supervisor(plans, data / "run")
    supervisor.start()
    try:
        _await(lambda: bool(planned_records(url)["windows.0"]), lambda: supervisor.poll(0.1))
        if victim == "job server":
            server.kill()
            _await(lambda: supervisor.restarts["windows"] > 0, lambda: supervisor.poll(0.1))
        else:
            os.kill(supervisor.pids()["windows"], signal.SIGKILL)
        assert planned_records(url) != expected
        unplanned_log(data / "log.sqlite", records[cut:])
        server.start()
        _await(
            lambda: planned_records(url) == expected and files_of(data) == files,
            lambda: supervisor.poll(0.1),
        )
        assert supervisor.restarts["windows"] > 0
    finally:
        supervisor.stop()
    assert planned_records(url) == expected


def _settings(data: Path, url: str, server: JobServer) -> Settings:
    update = {
        "storage": {"data": str(data), "log_url": url},
        "streaming": {"runner": "flink", "job_server": server.address},
    }
    return Settings(Configuration.model_validate({**two_shards().model_dump(), **update}), {})
