"""The small scenes of fraud, market and fees in every order of events."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from operators.rules_exploration import RuleExploration, Trial, explore_rules
from pipelines.campaign_rules import BrokenShift, SceneShift, broken_rules, scenes, unmet
from schemas.errors import InvariantError

SCENES = scenes(100_000, deep=False)
FOUND: dict[SceneShift, RuleExploration] = {}


@pytest.mark.parametrize("shift", SCENES, ids=lambda s: f"{s.machine.value}-{s.scene}")
def test_no_order_of_events_breaks_a_property(
    shift: SceneShift, capsys: pytest.CaptureFixture[str]
) -> None:
    found = FOUND[shift] = shift.run()
    with capsys.disabled():
        print(f"\n{shift.machine.value} {shift.scene}: {found.states} states", end=" ")  # noqa: T201
    assert (found.broken, found.way) == ((), ())
    assert found.is_complete


def test_every_refusal_is_met_in_some_scene() -> None:
    explored = [(shift, FOUND.get(shift) or shift.run()) for shift in SCENES]
    assert unmet(explored) == {"fraud": [], "market": [], "fees": []}


BROKEN = broken_rules()


@pytest.mark.parametrize("shift", BROKEN, ids=lambda s: f"{s.machine.value}-{s.place}")
def test_every_broken_rule_is_found(shift: BrokenShift) -> None:
    found = shift.run()
    assert found.broken, f"{found.rule} escaped: {found.says}"
    assert found.says
    assert found.way


@dataclass(frozen=True, slots=True)
class Counting:
    """A machine that counts to a limit and breaks at a place."""

    limit: int = 5
    bad: int = 99

    def start(self) -> int:
        return 0

    def events(self, state: int) -> Iterator[int]:
        yield from (1, 2, -1)

    def trial(self, state: int, event: int) -> Trial[int]:
        if not 0 <= state + event <= self.limit:
            return Trial(state, "out_of_range")
        if state + event == self.bad:
            if event == 2:
                raise InvariantError("it jumps")
            return Trial(self.bad, broken=("it is bad",))
        return Trial(state + event)


def test_an_exploration_counts_states_and_finds_the_shortest_way() -> None:
    assert explore_rules(Counting(), 100) == RuleExploration(
        6, 18, 3, is_complete=True, refusals=(("out_of_range", 4),)
    )
    found = explore_rules(Counting(bad=3), 100)
    assert (found.broken, found.way) == (("the rules contradict themselves: it jumps",), ("1", "2"))
    cut = explore_rules(Counting(), 3)
    assert (cut.states, cut.is_complete) == (3, False)
