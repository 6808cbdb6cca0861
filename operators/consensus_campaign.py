"""Campaigns over seeded consensus schedules: how many ran, what broke, and the evidence as JSON values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from operators.consensus_adversary import Adversary, Habits
from operators.consensus_ports import ConsensusConfig
from operators.consensus_simulation import Medium, World
from schemas.block import fault_bound, quorum_size
from schemas.errors import InvariantError, ParameterError

SCHEDULE_CONFIG = ConsensusConfig(
    view_timeout_millis=200,
    max_timeout_millis=1600,
    resend_millis=80,
    max_resend_millis=320,
    block_interval_millis=5,
    empty_delay_millis=60,
)
"""Milliseconds of virtual time; short against the storms so that a schedule has many views."""


@dataclass(frozen=True, slots=True)
class ScheduleResult:
    """What one schedule came to.

    Attributes:
        number: Its number within the campaign.
        events: Events handled.
        height: Lowest height reached by an honest validator.
        millis: Virtual time at the end.
        finished: Every honest validator reached the target.
        violations: Broken invariants, in words.
        disagreements: Evidence of each disagreement, JSON values.
        offenders: Validators against which evidence was found.
        traits: What the schedule was made of.
    """

    number: int
    events: int
    height: int
    millis: int
    finished: bool
    violations: tuple[str, ...]
    disagreements: tuple[dict[str, object], ...]
    offenders: tuple[int, ...]
    traits: tuple[str, ...]


def build_world(
    rng: Random, validators: int, byzantine: int, target: int
) -> tuple[World, list[str]]:
    """Draws a schedule: the medium, who is Byzantine, and how.

    Returns:
        The world, not started, and a few words on what was drawn.
    """
    storm = rng.random() < 0.8
    medium = Medium(
        drop=rng.choice((0.0, 0.1, 0.3, 0.6)) if storm else 0.0,
        duplicate=rng.choice((0.0, 0.2)),
        delay=(1, 10),
        storm_delay=(1, rng.choice((10, 60, 250))),
        replay=rng.choice((0.0, 0.05)),
        calm_at=rng.randrange(100, 900) if storm else 0,
        partition_millis=rng.choice((0, 60, 250)) if storm else 0,
        crash=rng.choice((0.0, 0.01, 0.03)) if storm else 0.0,
    )
    bad = rng.sample(range(validators), byzantine)
    modes = {index: rng.choice(("twins", "twins", "adversary", "silent")) for index in bad}
    if byzantine > fault_bound(validators):
        mode = rng.choice(("twins", "adversary"))
        modes = dict.fromkeys(bad, mode)
    twins = [index for index in bad if modes[index] == "twins"]
    absent = [index for index in bad if modes[index] != "twins"]
    world = World(
        rng,
        validators,
        twins=twins,
        absent=absent,
        medium=medium,
        config=SCHEDULE_CONFIG,
        target=target,
    )
    for node in world.nodes:
        node.makes_invalid = not node.is_honest and rng.random() < 0.5
    played = [index for index in bad if modes[index] == "adversary"]
    if played:
        Adversary(world, played, Habits(), rng)
    names = [f"{modes[index]}:{index}" for index in sorted(bad)]
    traits = [f"drop={medium.drop}", f"partition={medium.partition_millis}"]
    return world, names + traits


def run_schedule(
    seed: int,
    number: int,
    validators: int,
    byzantine: int,
    *,
    target: int = 2,
    max_events: int = 6000,
) -> ScheduleResult:
    """Runs one schedule; the same arguments give the same result."""
    rng = Random(f"{seed}/{number}/{validators}/{byzantine}")  # noqa: S311 - a schedule, not a secret
    world, traits = build_world(rng, validators, byzantine, target)
    world.start_all()
    finished = world.run(target, max_events)
    checker = world.checker
    return ScheduleResult(
        number,
        world.events,
        min(checker.heights.values(), default=0),
        world.now,
        finished,
        tuple(checker.violations),
        tuple(checker.disagreement_evidence()),
        tuple(sorted(checker.offenders)),
        tuple(traits),
    )


def run_schedules(
    seed: int,
    count: int,
    n: int = 4,
    byzantine: int | None = None,
    *,
    target: int = 2,
    first: int = 0,
    progress: Callable[[int], None] | None = None,
) -> dict[str, object]:
    """Runs many schedules and sums them up.

    Args:
        seed: Seed of the campaign.
        count: Schedules to run.
        n: Size of the committee.
        byzantine: Byzantine validators; None for the most that is tolerated. More than that is allowed, and
            then disagreements are expected.
        target: Blocks that every honest validator must make final.
        first: Number of the first schedule, so that processes can share a campaign.
        progress: Called with the number of schedules done.

    Returns:
        JSON values: counts, and of what broke the first twenty with their schedule numbers.

    Raises:
        ParameterError: Counts outside their range.
    """
    bad = fault_bound(n) if byzantine is None else byzantine
    if count < 1 or n < 1 or not 0 <= bad < n:
        raise ParameterError("a campaign has schedules, validators and an honest one among them")
    totals: Counter[str] = Counter()
    broken: list[dict[str, object]] = []
    unfinished: list[int] = []
    disagreements: list[dict[str, object]] = []
    for number in range(first, first + count):
        result = run_schedule(seed, number, n, bad, target=target)
        totals["events"] += result.events
        totals["violated"] += bool(result.violations)
        totals["disagreed"] += bool(result.disagreements)
        totals["with_evidence"] += bool(result.offenders)
        totals["unfinished"] += not result.finished
        if not result.finished:
            unfinished.append(number)
        if result.violations:
            broken.append({"schedule": number, "violations": list(result.violations[:5])})
        disagreements += [{"schedule": number, **found} for found in result.disagreements[:1]]
        if progress is not None:
            progress(number - first + 1)
    return {
        "seed": seed,
        "schedules": count,
        "validators": n,
        "quorum": quorum_size(n),
        "byzantine": bad,
        "tolerated": fault_bound(n),
        "events": totals["events"],
        "schedules_with_disagreement": totals["disagreed"],
        "schedules_with_violation": totals["violated"],
        "schedules_with_evidence": totals["with_evidence"],
        "schedules_unfinished": totals["unfinished"],
        "violations": broken[:20],
        "unfinished": unfinished[:20],
        "disagreements": disagreements[:20],
    }


def finality_latency(
    seed: int, n: int, blocks: int, delay_millis: tuple[int, int], block_interval_millis: int = 50
) -> dict[str, object]:
    """Measures proposal to finality in virtual time on a medium without faults.

    Signature and execution costs are not in it: it shows what the protocol and the distances cost.

    Args:
        seed: Seed of the delays.
        n: Size of the committee.
        blocks: Blocks to make final.
        delay_millis: Shortest and longest one-way delay, uniform per message and receiver.
        block_interval_millis: Pace of blocks.

    Returns:
        JSON values: percentiles over validators and blocks in milliseconds and in mean one-way delays.

    Raises:
        ParameterError: Nothing to measure.
    """
    if blocks < 1 or not 1 <= delay_millis[0] <= delay_millis[1]:
        raise ParameterError("latency needs blocks and delays of at least one millisecond")
    slowest = delay_millis[1]
    config = ConsensusConfig(
        view_timeout_millis=max(1000, 10 * slowest),
        max_timeout_millis=max(8000, 80 * slowest),
        resend_millis=max(300, 5 * slowest),
        max_resend_millis=max(2400, 40 * slowest),
        block_interval_millis=block_interval_millis,
        empty_delay_millis=max(250, 4 * slowest),
    )
    rng = Random(seed)  # noqa: S311 - delays, not a secret
    world = World(rng, n, medium=Medium(delay=delay_millis), config=config, target=blocks)
    world.start_all()
    finished = world.run(blocks, 40 * n * n * (blocks + 1) + 1000)
    final = world.checker.final_blocks
    waits = sorted(
        at - world.proposed_times[final[height][0].hash]
        for (_, height), at in world.final_times.items()
    )
    if not finished or world.checker.violations:
        raise InvariantError("a committee without faults did not make its blocks final")
    mean = sum(delay_millis) / 2
    named = {"p50": 0.5, "p90": 0.9, "p99": 0.99}
    picked = {name: waits[min(len(waits) - 1, int(q * len(waits)))] for name, q in named.items()}
    picked["max"] = waits[-1]
    return {
        "validators": n,
        "blocks": blocks,
        "delay_millis": list(delay_millis),
        "latency_ms": picked,
        "hops": {name: round(wait / mean, 2) for name, wait in picked.items()},
        "blocks_per_second": round(1000 * blocks / max(1, world.now), 2),
        "messages": len(world.sent),
        "events": world.events,
    }
