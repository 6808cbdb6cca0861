"""The liveness properties of consensus, L1 to L6, silence, and latency in message delays."""

from __future__ import annotations

from random import Random

import pytest

from operators.consensus_campaign import SCHEDULE_CONFIG, finality_latency, run_schedule
from operators.consensus_ports import ConsensusConfig
from operators.consensus_simulation import Medium, World
from schemas.block import fault_bound

HOP = 10
FIXED = Medium(delay=(HOP, HOP))


def world_of(seed: int, n: int = 4, **more: object) -> World:
    rng = Random(seed)  # noqa: S311
    arguments: dict[str, object] = {"config": SCHEDULE_CONFIG, "target": 2, **more}
    return World(rng, n, **arguments)  # type: ignore[arg-type]


def views(world: World) -> list[int]:
    return [node.core.view for node in world.nodes if node.core is not None]


def until(world: World, millis: int) -> None:
    while world.now < millis and world.advance():
        pass


@pytest.mark.parametrize("n", [1, 2, 3, 4, 7, 10])
def test_a_block_is_final_three_message_delays_after_its_proposal(n: int) -> None:
    world = world_of(0, n, medium=FIXED)
    world.start_all()
    assert world.run(2, 10_000)
    first = world.checker.final_blocks[1][0]
    waits = {
        at - world.proposed_times[first.hash]
        for (_, height), at in world.final_times.items()
        if height == 1
    }
    # Whoever completes a quorum with its own vote is a delay ahead of the others.
    expected = {1: {0}, 2: {2 * HOP, 3 * HOP}}.get(n, {3 * HOP, 2 * HOP})
    assert waits <= expected
    assert max(waits) <= 3 * HOP


@pytest.mark.parametrize("n", [1, 2, 4, 7])
def test_a_committee_without_work_falls_silent(n: int) -> None:
    world = world_of(1, n, medium=Medium(delay=(1, 20)), target=3)
    world.start_all()
    for _ in range(20_000):
        if not world.advance():
            break
    assert not world.advance()
    assert world.checker.heights == dict.fromkeys(range(n), 3)


def test_a_committee_that_never_had_work_falls_silent_without_a_vote() -> None:
    world = world_of(1, 4, target=0)
    world.start_all()
    for _ in range(2_000):
        if not world.advance():
            break
    assert not world.advance()
    assert {message[1] for _, message in world.sent} == {4}
    assert views(world) == [1, 1, 1, 1]


def test_l1_after_stabilisation_a_block_is_final_within_a_few_views() -> None:
    """With f of 4 crashed, at most two views pass without a block, and two may be open at the calm."""
    most = 0
    for seed in range(40):
        medium = Medium(drop=0.5, storm_delay=(1, 300), partition_millis=150, calm_at=1200)
        world = world_of(seed, 4, absent=[seed % 4], medium=medium, target=50)
        world.start_all()
        until(world, 1200)
        reached = max(world.checker.heights.values())
        before = max(views(world))
        assert world.run(reached + 1, 20_000), seed
        most = max(most, min(views(world)) - before)
    assert most <= 6


def test_l2_a_crashed_leader_costs_one_timeout() -> None:
    world = world_of(0, 4, absent=[1], medium=FIXED)
    world.start_all()
    assert world.run(1, 5_000)
    timeout = SCHEDULE_CONFIG.view_timeout_millis
    # Timeout, nullify votes, proposal, notarize votes, finalize votes.
    assert {at for (_, height), at in world.final_times.items() if height == 1} <= {
        timeout + 3 * HOP,
        timeout + 4 * HOP,
    }


def test_l3_halves_finalise_nothing_and_heal() -> None:
    world = world_of(0, 4, medium=Medium(calm_at=3000, partition_millis=1))
    world.set_groups([0, 0, 1, 1], 3000)
    world.start_all()
    until(world, 2900)
    assert set(world.checker.heights.values()) == {0}
    assert world.run(2, 10_000)
    assert world.checker.violations == []


def test_l3_a_majority_goes_on_and_the_minority_follows_after_healing() -> None:
    world = world_of(0, 4, medium=Medium(calm_at=3000, partition_millis=1))
    world.set_groups([0, 0, 0, 1], 3000)
    world.start_all()
    until(world, 2900)
    assert world.checker.heights == {0: 2, 1: 2, 2: 2, 3: 0}
    assert world.run(2, 10_000)
    assert world.checker.violations == []


def test_l4_a_late_joiner_catches_up_from_the_others() -> None:
    world = world_of(0, 4, target=40)
    for endpoint in range(3):
        world.start(endpoint)
    world.checker.heights[3] = 40
    assert world.run(40, 50_000)
    world.start(3)
    assert world.run(40, 80_000)
    assert world.checker.violations == []
    assert world.nodes[3].final[-1][0].hash == world.nodes[0].final[-1][0].hash


def test_l4_a_late_joiner_catches_up_from_the_log_alone() -> None:
    world = world_of(0, 4, target=40)
    for endpoint in range(3):
        world.start(endpoint)
    world.checker.heights[3] = 40
    assert world.run(40, 50_000)
    for endpoint in range(3):
        world.stop(endpoint)
    world.start(3)
    world.feed_from_log(3, 0)
    assert world.run(40, 80_000)
    assert world.nodes[3].final[-1][0].hash == world.nodes[0].final[-1][0].hash


def test_l4_a_chain_longer_than_one_message_is_fetched_in_pieces() -> None:
    config = ConsensusConfig(chain_blocks=2, answer_items=1, block_interval_millis=0)
    world = world_of(0, 4, target=12, config=config)
    for endpoint in range(3):
        world.start(endpoint)
    world.checker.heights[3] = 12
    assert world.run(12, 50_000)
    world.start(3)
    assert world.run(12, 80_000)


@pytest.mark.parametrize("loss", [0.2, 0.4, 0.6])
def test_l5_lasting_loss_is_survived(loss: float) -> None:
    for seed in range(12):
        world = world_of(seed, 4, medium=Medium(drop=loss, calm_at=10**12), target=3)
        world.start_all()
        assert world.run(3, 30_000), (loss, seed)
        assert world.checker.violations == []


def test_l6_the_timeout_doubles_is_bounded_and_falls_back_with_finality() -> None:
    config = ConsensusConfig()
    spans = [config.timeout_millis(view, 0) for view in range(1, 40)]
    assert spans[:8] == [1000, 1000, 1000, 1000, 2000, 4000, 8000, 8000]
    assert max(spans) == 8000
    assert config.timeout_millis(10**9, 0) == 8000
    assert config.timeout_millis(40, 38) == 1000
    assert [config.resend_after_millis(i) for i in range(6)] == [300, 600, 1200, 2400, 2400, 2400]


def test_l6_a_committee_without_a_quorum_does_not_flood_the_log() -> None:
    world = world_of(0, 4, absent=[2, 3])
    world.start_all()
    until(world, 60_000)
    assert set(world.checker.heights.values()) == {0}
    # Two validators repeat at most every 320 ms: one status and a handful of votes and certificates.
    assert len(world.sent) < 2 * (60_000 // SCHEDULE_CONFIG.max_resend_millis + 10) * 5


def test_latency_over_wide_distances_stays_near_three_delays() -> None:
    report = finality_latency(1, 7, 10, (20, 80))
    hops, latency = report["hops"], report["latency_ms"]
    assert isinstance(hops, dict)
    assert isinstance(latency, dict)
    assert 1.5 <= hops["p50"] <= 4.5
    assert latency["p50"] <= latency["p99"] <= latency["max"] <= 240


@pytest.mark.parametrize(
    ("number", "n"),
    [(39367, 7), (48680, 4), (82868, 7), (54102, 4)],
    ids=["lost_7", "lost_4", "lost_again_7", "jumped_over_4"],
)
def test_a_view_whose_certificate_nobody_has_is_made_good(number: int, n: int) -> None:
    """Schedules of `campaign byzantine` with seed 6 that never ended: the certificate of a view was lost with the
    validator that had put it together, or a validator had passed a view without a vote in it."""
    found = run_schedule(6, number, n, fault_bound(n))
    assert (found.finished, found.violations, found.disagreements) == (True, (), ())
