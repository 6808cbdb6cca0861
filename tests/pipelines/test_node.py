from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipelines.chain_setup import prepare_chain
from pipelines.node import IDLE_SECONDS, Role, Roles, idle_seconds
from pipelines.node_plan import write_node_configuration
from pipelines.settings import Settings
from pipelines.supervisor import WAITING_CODE
from schemas.config import Configuration, profile_configuration

NOW = 1_800_000_000_000


@dataclass
class Waiting:
    """A role that only waits for a time."""

    tick: int | None

    def pump(self, now_millis: int) -> bool:
        return False

    def next_tick(self) -> int | None:
        return self.tick

    def measure(self) -> None:
        """Has nothing to tell."""

    def close(self) -> None:
        """Has nothing to drain."""


@pytest.mark.parametrize(
    ("tick", "seconds"),
    [
        (None, IDLE_SECONDS),
        (NOW - 5, 0.0),
        (NOW, 0.0),
        (NOW + 7, 0.007),
        (NOW + 10_000, IDLE_SECONDS),
    ],
)
def test_a_process_sleeps_no_longer_than_its_timer(tick: int | None, seconds: float) -> None:
    assert idle_seconds(tick, NOW * 1_000_000) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("ticks", "first"), [((), None), ((None, None), None), ((None, 9, 4), 4), ((7,), 7)]
)
def test_the_first_timer_of_several_roles_counts(
    ticks: Sequence[int | None], first: int | None
) -> None:
    roles: list[Role] = [Waiting(tick) for tick in ticks]
    assert Roles(roles).next_tick() == first


def test_a_process_without_space_says_so_by_its_code_even_if_its_log_is_on_the_full_disk(
    tmp_path: Path,
) -> None:
    data = tmp_path / "data"
    storage = {"data": str(data), "log_url": "sqlite:////proc/nowhere/log.sqlite"}
    base = profile_configuration("local")
    configuration = Configuration.model_validate({**base.model_dump(), "storage": storage})
    prepare_chain(data, configuration, 1, lambda: NOW)
    write_node_configuration(Settings(configuration, {}))
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(  # noqa: S603
            [sys.executable, "-m", "pipelines.node", "admission", "--data", str(data)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=full,
            timeout=60,
            check=False,
            cwd=Path(__file__).resolve().parents[2],
        )
    assert done.returncode == WAITING_CODE
