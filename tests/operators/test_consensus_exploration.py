"""Breadth-first exploration: S1, S5 and S6 in every order of deliveries and timeouts up to a depth."""

from __future__ import annotations

import pytest

from operators import consensus_votes
from operators.consensus_exploration import explore
from schemas.block import Phase
from schemas.errors import ParameterError

SPACES = [
    (1, (), 12, 100),
    (2, (), 12, 8_000),
    (3, (), 8, 8_000),
    (4, (), 6, 6_000),
    (4, (1,), 6, 6_000),
]


@pytest.mark.parametrize(("n", "twins", "depth", "limit"), SPACES)
def test_no_reachable_state_breaks_an_invariant(
    n: int, twins: tuple[int, ...], depth: int, limit: int, capsys: pytest.CaptureFixture[str]
) -> None:
    found = explore(n, depth, twins=twins, max_states=limit)
    with capsys.disabled():
        print(f"\nn={n} twins={twins}: {found.states} states, depth {found.depth}", end=" ")  # noqa: T201
    assert found.violations == ()
    assert found.states == limit or found.is_complete
    assert found.depth >= min(depth, 2)


@pytest.mark.slow
def test_two_validators_are_explored_further() -> None:
    found = explore(2, 30, max_states=100_000)
    assert found.violations == ()
    assert found.final_states > 0


def test_the_exploration_finds_a_core_without_the_rule_of_simplex(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Test of the test: a lone validator that may nullify and finalise one view."""
    lax = dict.fromkeys(Phase, Phase.STATUS)
    monkeypatch.setattr(consensus_votes, "_CONTRADICTED_BY", lax)
    found = explore(2, 12, max_states=6_000)
    assert any(violation.startswith("S5") for violation in found.violations)


def test_a_committee_of_twins_alone_is_refused() -> None:
    with pytest.raises(ParameterError):
        explore(1, 3, twins=(0,))
