"""The process that closes windows under Beam, as `pipelines.node` builds it; on Flink: `tests/operators/test_planning_flink.py`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from operators.event_log import EventLog, open_log
from pipelines.node import NodePlace, Role, Roles, build_role
from pipelines.node_roles import STAGES, BoundedWindows
from pipelines.window_roles import DirectWindows
from schemas.config import Configuration
from schemas.errors import EnvironmentMissing, ParameterError
from tests.suites.counted_chain import SHARDS, counted_chain, two_shards
from tests.suites.planned_chain import NOW, plan_by_loop, planned_records, unplanned_log

pytestmark = pytest.mark.beam


def _configuration(**streaming: Any) -> Configuration:
    return Configuration.model_validate({**two_shards().model_dump(), "streaming": streaming})


def _role(name: str, data: Path, log: EventLog, **streaming: Any) -> Role:
    place = NodePlace(data, _configuration(**streaming), counted_chain().genesis, log, 0)
    return build_role(name, place)


def test_the_process_plans_with_bounded_pipelines_and_drains_with_a_snapshot(
    tmp_path: Path,
) -> None:
    loop, url = unplanned_log(tmp_path / "loop.sqlite"), unplanned_log(tmp_path / "log.sqlite")
    plan_by_loop(loop, tmp_path / "loop")
    with open_log(url) as log:
        role = _role("windows", tmp_path, log, runner="direct")
        assert isinstance(role, DirectWindows)
        while role.pump(NOW):
            pass
        role.close()
    assert planned_records(url) == planned_records(loop)
    for shard in range(SHARDS):
        assert (tmp_path / STAGES / f"windows.{shard}.snapshot").exists()


def test_under_the_loop_there_is_no_such_process(tmp_path: Path) -> None:
    with (
        open_log(unplanned_log(tmp_path / "log.sqlite")) as log,
        pytest.raises(ParameterError, match="no pipeline closes windows on the runner loop"),
    ):
        _role("windows", tmp_path, log)


def test_without_a_job_server_the_process_ends_as_one_that_misses_something(
    tmp_path: Path,
) -> None:
    with (
        open_log(unplanned_log(tmp_path / "log.sqlite")) as log,
        pytest.raises(EnvironmentMissing, match="no Flink job server answers"),
    ):
        _role("windows", tmp_path, log, runner="flink", job_server="127.0.0.1:1")


@pytest.mark.parametrize(("runner", "count"), [("loop", SHARDS), ("direct", 0), ("flink", 0)])
def test_the_process_chain_closes_windows_under_the_loop_alone(
    runner: str, count: int, tmp_path: Path
) -> None:
    with open_log(unplanned_log(tmp_path / "log.sqlite")) as log:
        role = _role("chain", tmp_path, log, runner=runner)
        assert isinstance(role, Roles)
        assert sum(isinstance(part, BoundedWindows) for part in role.parts) == count
