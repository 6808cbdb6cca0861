"""What the log does to consensus messages: drop, repeat, reorder, replay, fork. Simulated, since no real log does it.

Seeded schedules of four validators on a virtual clock (`operators.consensus_simulation`); the invariants are checked after
every action of every honest validator. The fault lasts until `CALM_MILLIS`; recovery counts from there.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Any

from operators.consensus_campaign import SCHEDULE_CONFIG
from operators.consensus_simulation import Medium, World

CALM_MILLIS = 900
SCHEDULES = 100
VALIDATORS = 4
BLOCKS = 6
"""Height that every honest validator must reach."""

MAX_EVENTS = 30_000
REORDER_MILLIS = (1, 250)
"""Delays of a message: views take 60 ms, so that messages of four views arrive in any order."""


@dataclass(frozen=True, slots=True)
class MediumFault:
    """What the medium does to every message.

    Attributes:
        name: Unique; what the table calls it.
        means: How, in a few words.
        medium: Its behaviour.
        groups: Branch of the log that each endpoint is on until the calm; empty for one log.
        twins: Validators with a copy on two branches, with one key.
    """

    name: str
    means: str
    medium: Medium
    groups: tuple[int, ...] = ()
    twins: tuple[int, ...] = ()


def medium_faults() -> list[MediumFault]:
    """Returns the faults."""
    forked = Medium(partition_millis=CALM_MILLIS, calm_at=CALM_MILLIS)
    return [
        MediumFault("log drops", "60 % of messages", Medium(drop=0.6, calm_at=CALM_MILLIS)),
        MediumFault("log repeats", "every message twice", Medium(duplicate=1.0)),
        MediumFault(
            "log reorders",
            "delays of {} to {} ms".format(*REORDER_MILLIS),
            Medium(storm_delay=REORDER_MILLIS, calm_at=CALM_MILLIS),
        ),
        MediumFault("log replays", "an old message with every fifth", Medium(replay=0.2)),
        MediumFault("log forks", "two branches of two validators", forked, (0, 0, 1, 1)),
        MediumFault(
            "log forks under a liar",
            "two branches of two, the fourth votes on both",
            forked,
            (0, 0, 1, 0, 1),
            (3,),
        ),
    ]


def try_medium(fault: MediumFault, seed: int, schedules: int = SCHEDULES) -> dict[str, Any]:
    """Runs schedules of a fault and returns its row, like `pipelines.faults.scene.try_fault`."""
    problems: list[str] = []
    worst, blocks = 0, 0
    for number in range(schedules):
        world = run_schedule(fault, seed, number)
        checker = world.checker
        lowest = min(checker.heights.values())
        blocks += len(checker.final_blocks)
        worst = max(worst, world.now - fault.medium.calm_at)
        problems += [f"schedule {number}: {one}" for one in checker.violations]
        if lowest < BLOCKS:
            problems.append(f"schedule {number}: it ended at height {lowest}")
        if len(checker.disagreements):
            problems.append(f"schedule {number}: two histories")
    return {
        "log": "simulated",
        "fault": fault.name,
        "means": fault.means,
        "held_seconds": fault.medium.calm_at / 1000,
        "happened": f"{schedules} schedules, {blocks} final blocks, one history in each",
        "longest_wait_seconds": None,
        "recovery_seconds": round(max(0, worst) / 1000, 2),
        "votes_again_seconds": None,
        "sent": 0,
        "lost": 0,
        "doubled": 0,
        "problems": problems,
    }


def run_schedule(fault: MediumFault, seed: int, number: int) -> World:
    """Runs one schedule until every honest validator has reached the height."""
    rng = Random(f"{seed}/{number}/{fault.name}")  # noqa: S311 - a schedule, not a secret
    world = World(
        rng,
        VALIDATORS,
        twins=fault.twins,
        medium=fault.medium,
        config=SCHEDULE_CONFIG,
        target=BLOCKS,
    )
    if fault.groups:
        world.set_groups(fault.groups, CALM_MILLIS)
    world.start_all()
    world.run(BLOCKS, MAX_EVENTS)
    return world
