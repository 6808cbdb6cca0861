from __future__ import annotations

from dataclasses import replace

import pytest

from pipelines.faults.medium import (
    CALM_MILLIS,
    MediumFault,
    medium_faults,
    run_schedule,
    try_medium,
)


@pytest.mark.parametrize("fault", medium_faults(), ids=lambda fault: fault.name)
def test_no_fault_of_the_medium_makes_two_histories_and_all_get_over_it(fault: MediumFault) -> None:
    row = try_medium(fault, 5, 4)
    assert row["problems"] == []
    assert 0 < row["recovery_seconds"] < 60


def test_a_fork_that_holds_more_liars_than_are_tolerated_is_found() -> None:
    """A test of the test: with two of four on both branches, each branch has a quorum of its own."""
    fault = next(one for one in medium_faults() if one.twins)
    worse = replace(fault, twins=(2, 3), groups=(0, 1, 0, 1, 0, 1))
    assert any("two histories" in one for one in try_medium(worse, 5, 4)["problems"])


def test_two_branches_without_a_quorum_make_nothing_final() -> None:
    fork = next(one for one in medium_faults() if one.groups and not one.twins)
    world = run_schedule(fork, 5, 0)
    assert min(world.final_times.values()) > CALM_MILLIS
