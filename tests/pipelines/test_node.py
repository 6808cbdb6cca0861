from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from pipelines.node import IDLE_SECONDS, Role, Roles, idle_seconds

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
