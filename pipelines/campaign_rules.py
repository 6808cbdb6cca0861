"""`campaign rules`: the rules of fraud, market and fees in every order of events, and each rule broken and found.

Scenes are small and their terms are small money; what is shown there holds for the rules and not for a run of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from operators.fee_model import CAPACITY, FEE_TERMS, FeeModel, elastic, proportional, rigid, settle
from operators.fee_rules import FeeRules
from operators.fraud_model import DEEP_FRAUD_SCENES, FRAUD_SCENES, SCENE_TERMS, FraudModel
from operators.fraud_rules import FraudRules
from operators.market_model import (
    DEEP_MARKET_SCENES,
    MARKET_SCENES,
    MARKET_TERMS,
    MarketModel,
)
from operators.market_rules import MarketRules
from operators.rules_exploration import RuleExploration, explore_rules
from pipelines.adversary.broken_fraud import BROKEN_FRAUD
from pipelines.adversary.broken_market import BROKEN_FEES, BROKEN_MARKET
from pipelines.progress import Progress
from pipelines.shifts import in_parallel
from schemas.refusal import FeeRefusal, FraudRefusal, MarketRefusal

DEFAULT_STATES = 200_000
"""Most states of one scene."""

STEPS = "steps"
"""The scene of fees in which demand answers; its states are the steps of load that were followed."""

MONEY_REFUSALS: Final = frozenset({"amount_out_of_range", "balance_too_small"})
"""Refusals of deposits, which no scene needs; tests of the rules try them."""


class Machine(StrEnum):
    """What is explored."""

    FRAUD = "fraud"
    MARKET = "market"
    FEES = "fees"


REFUSALS: Final = {
    Machine.FRAUD: frozenset(reason.value for reason in FraudRefusal),
    Machine.MARKET: frozenset(reason.value for reason in MarketRefusal),
    Machine.FEES: frozenset(reason.value for reason in FeeRefusal),
}


@dataclass(frozen=True, slots=True)
class SceneShift:
    """One scene to explore.

    Attributes:
        machine: Which machine.
        scene: Name of the scene.
        states: Most states.
    """

    machine: Machine
    scene: str
    states: int

    def run(self) -> RuleExploration:
        """Explores it."""
        return _explored(self, _KINDS[self.machine])


@dataclass(frozen=True, slots=True)
class Caught:
    """What became of a broken rule.

    Attributes:
        rule: Its name.
        says: What is broken about it.
        scene: The scene that shows it.
        broken: The properties it breaks there; empty if it escaped.
        way: The shortest way there.
    """

    rule: str
    says: str
    scene: str
    broken: tuple[str, ...]
    way: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BrokenShift:
    """One broken rule to find.

    Attributes:
        machine: Which machine.
        place: Its place among the broken ones.
    """

    machine: Machine
    place: int

    def run(self) -> Caught:
        """Explores the scene that shows it."""
        kind, scene = list(_BROKEN[self.machine].items())[self.place]
        found = _explored(SceneShift(self.machine, scene, DEFAULT_STATES), kind)
        return Caught(kind.__name__, (kind.__doc__ or "").strip(), scene, found.broken, found.way)


_KINDS: Final[dict[Machine, type[Any]]] = {
    Machine.FRAUD: FraudRules,
    Machine.MARKET: MarketRules,
    Machine.FEES: FeeRules,
}

_BROKEN: Final[dict[Machine, Mapping[type[Any], str]]] = {
    Machine.FRAUD: BROKEN_FRAUD,
    Machine.MARKET: BROKEN_MARKET,
    Machine.FEES: BROKEN_FEES,
}


def _explored(shift: SceneShift, kind: type[Any]) -> RuleExploration:
    """Explores a scene with rules of a kind."""
    if shift.machine is Machine.FEES:
        rules = kind(FEE_TERMS)
        return (
            settled(rules) if shift.scene == STEPS else explore_rules(FeeModel(rules), shift.states)
        )
    if shift.machine is Machine.FRAUD:
        fraud = next(s for s in FRAUD_SCENES + DEEP_FRAUD_SCENES if s.name == shift.scene)
        return explore_rules(FraudModel(fraud, kind(SCENE_TERMS)), shift.states)
    market = next(s for s in MARKET_SCENES + DEEP_MARKET_SCENES if s.name == shift.scene)
    return explore_rules(MarketModel(market, kind(MARKET_TERMS)), shift.states)


def settled(rules: FeeRules) -> RuleExploration:
    """Puts steps of three kinds of demand on every fee, and says what does not come to rest or swings."""
    floor = rules.terms.floors[0]
    cap = floor * rules.terms.cap_factor
    tried, longest = 0, 0
    for volume in range(1, 2 * cap, 3):
        target = CAPACITY // 2
        demands = (
            proportional(volume * target), elastic(volume * volume * target), rigid(volume)
        )  # fmt: skip
        for place, demand in enumerate(demands):
            for fee in range(floor, cap + 1, 7):
                found = settle(rules, fee, floor, demand, CAPACITY)
                tried, longest = tried + 1, max(longest, found.epochs)
                if found.broken:
                    way = (f"demand {place}, volume {volume}, from fee {fee}",)
                    return RuleExploration(tried, tried, longest, False, (), found.broken, way)
    return RuleExploration(tried, tried, longest, True, ())


def broken_rules() -> list[BrokenShift]:
    """Returns every broken rule."""
    return [
        BrokenShift(machine, place) for machine in Machine for place in range(len(_BROKEN[machine]))
    ]


def scenes(states: int, *, deep: bool) -> list[SceneShift]:
    """Returns every scene, the large ones first."""
    fraud = (*DEEP_FRAUD_SCENES, *FRAUD_SCENES) if deep else FRAUD_SCENES
    market = (*DEEP_MARKET_SCENES, *MARKET_SCENES) if deep else MARKET_SCENES
    found = [SceneShift(Machine.FRAUD, scene.name, states) for scene in fraud]
    found += [SceneShift(Machine.MARKET, scene.name, states) for scene in market]
    fees = [SceneShift(Machine.FEES, "loads", states), SceneShift(Machine.FEES, STEPS, states)]
    return [*found, *fees]


def unmet(found: Iterable[tuple[SceneShift, RuleExploration]]) -> dict[str, list[str]]:
    """Returns the refusals of each machine that no scene met."""
    met: dict[Machine, set[str]] = {machine: set(MONEY_REFUSALS) for machine in Machine}
    for shift, exploration in found:
        met[shift.machine] |= {name for name, _ in exploration.refusals}
    return {machine.value: sorted(REFUSALS[machine] - met[machine]) for machine in Machine}


def run_rules(
    states: int | None, processes: int, report: Progress, is_stopped: Callable[[], bool]
) -> dict[str, Any]:
    """Runs the campaign.

    Args:
        states: Most states of one scene; None for `DEFAULT_STATES`.
        processes: Processes side by side.
        report: Progress.
        is_stopped: Ends it with the next scene.

    Returns:
        The evidence. `runs` counts events tried, `accepted` those that broke a property. It exits 0 only if no scene is
        broken, every scene was explored whole, every refusal was met, fees come to rest, and every broken rule is found.
    """
    limit = states or DEFAULT_STATES
    listed, broken = scenes(limit, deep=True), broken_rules()
    report.phase("scenes", len(listed))
    found: list[tuple[SceneShift, RuleExploration]] = []
    for number, exploration in in_parallel(listed, processes, is_stopped):
        report.advance(1)
        found.append((listed[number], exploration))
    found.sort(key=lambda pair: listed.index(pair[0]))
    report.phase("broken rules", len(broken))
    caught: list[tuple[int, Caught]] = []
    for number, one in in_parallel(broken, processes, is_stopped):
        report.advance(1)
        caught.append((number, one))
    missing = unmet(found)
    wrong = [shift.scene for shift, exploration in found if exploration.broken]
    whole = all(exploration.is_complete for _, exploration in found)
    escaped = [one.rule for _, one in caught if not one.broken]
    done = len(found) == len(listed) and len(caught) == len(broken)
    return {
        "name": "rules",
        "seed": 0,
        "runs": sum(exploration.events for _, exploration in found),
        "accepted": len(wrong),
        "evidence": {
            "states": sum(exploration.states for _, exploration in found),
            "scenes": [_scene_line(shift, exploration) for shift, exploration in found],
            "refusals_not_met": missing,
            "broken_rules": [_caught_line(one) for _, one in sorted(caught, key=lambda p: p[0])],
            "not_found": escaped,
        },
        "ok": done and whole and not (wrong or escaped or any(missing.values())),
    }


def _scene_line(shift: SceneShift, found: RuleExploration) -> dict[str, Any]:
    line: dict[str, Any] = {
        "machine": shift.machine.value,
        "scene": shift.scene,
        "states": found.states,
        "events": found.events,
        "depth": found.depth,
        "whole": found.is_complete,
    }
    return line if not found.broken else {**line, "broken": found.broken, "way": found.way}


def _caught_line(one: Caught) -> dict[str, Any]:
    return {
        "rule": one.rule,
        "says": one.says,
        "scene": one.scene,
        "broken": sorted(set(one.broken)),
        "events": len(one.way),
    }
