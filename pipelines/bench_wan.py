"""`ecliptica bench wan`: how long a block takes from proposal to certificate in a committee spread over the world.

A simulation: the consensus core as it is, a virtual clock in tenths of a millisecond, messages that take the time of their way
and validators that take time for every signature, one after the other. Nothing is lost; the log between validators is left out.
"""

from __future__ import annotations

from collections import deque
from random import Random
from typing import Any

from operators.consensus_ports import ConsensusConfig, Event, MessageReceived
from operators.consensus_simulation import Medium, Node, World
from pipelines.bench_work import BenchWork
from pipelines.latency import NANOS_PER_MILLI, LatencyRecorder, LatencySummary
from schemas.block import Block, fault_bound
from schemas.errors import InvariantError

TICKS = 10
"""Ticks of the virtual clock in a millisecond."""

COMMITTEES = (4, 13, 49)

SPREADS = {
    "continent": (
        (1, 8, 12, 20, 30),
        (8, 1, 10, 15, 28),
        (12, 10, 1, 12, 22),
        (20, 15, 12, 1, 18),
        (30, 28, 22, 18, 1),
    ),
    "world": (
        (1, 35, 45, 110, 75),
        (35, 1, 70, 85, 50),
        (45, 70, 1, 80, 115),
        (110, 85, 80, 1, 35),
        (75, 50, 115, 35, 1),
    ),
}
"""One-way milliseconds between five regions, assumed: cities of one continent, and data centres in Virginia, Oregon,
Frankfurt, Singapore and Tokyo, about half of the round trips between such places."""

JITTER = 0.1
"""Longest addition to a way, as a share of it; uniform."""

SIGNATURE_MILLIS = 0.1
"""Checking a signature on one core of a validator; `bench signatures` says what this machine takes."""

EXECUTION_MILLIS = 40
"""Executing a block of a thousand transactions and its root; `bench execution` says what this machine takes."""

WARM_UP_BLOCKS = 2

MAX_EVENTS_PER_BLOCK = 50
"""Per pair of validators; a block takes some five."""

CONFIG = ConsensusConfig(
    view_timeout_millis=1000 * TICKS,
    max_timeout_millis=30_000 * TICKS,
    resend_millis=500 * TICKS,
    max_resend_millis=4000 * TICKS,
    block_interval_millis=50 * TICKS,
    empty_delay_millis=1000 * TICKS,
)


class WanWorld(World):
    """A committee whose validators sit in regions by turns and work through what they get in order."""

    def __init__(self, rng: Random, validators: int, target: int, absent: int, spread: str) -> None:
        """Builds the committee; the last `absent` validators are down."""
        down = range(validators - absent, validators)
        super().__init__(
            rng, validators, absent=tuple(down), medium=Medium(), config=CONFIG, target=target
        )
        self._ways = SPREADS[spread]
        self._free_at = [0] * len(self.nodes)

    def transmit(self, sender: int, receiver: int, message: bytes) -> None:
        """Carries a message over its way; its signature is checked when all before it are."""
        places = [self.nodes[end].validator % len(self._ways) for end in (sender, receiver)]
        way = self._ways[places[0]][places[1]] * (1 + self.rng.random() * JITTER)
        arrival = self.now + round(way * TICKS)
        done = max(arrival, self._free_at[receiver]) + round(SIGNATURE_MILLIS * TICKS)
        self._free_at[receiver] = done
        self.post(receiver, MessageReceived(message), done - self.now)

    def _check(self, node: Node, block: Block, inbox: deque[Event]) -> None:
        verdicts: deque[Event] = deque()
        super()._check(node, block, verdicts)
        for verdict in verdicts:
            self.post(node.endpoint, verdict, EXECUTION_MILLIS * TICKS)


def wan(work: BenchWork) -> dict[str, Any]:
    """Simulates committees of several sizes, with nobody and with as many validators down as may be.

    Raises:
        InvariantError: A committee did not get its blocks final, or disagreed.
    """
    table = [
        _row(validators, absent, spread, work)
        for spread in SPREADS
        for validators in COMMITTEES
        for absent in (0, fault_bound(validators))
    ]
    return {
        "name": "wan",
        "transactions": work.transactions,
        "seconds_median": table[-2]["p50_ms"] / 1000,
        "seconds_min": None,
        "table": table,
        "proof_bytes": None,
        "proven_bits": None,
        "verified": None,
        "parameters": {
            "is_simulated": True,
            "one_way_millis": SPREADS,
            "jitter": JITTER,
            "signature_millis": SIGNATURE_MILLIS,
            "execution_millis": EXECUTION_MILLIS,
            "blocks": work.transactions,
        },
    }


def _row(validators: int, absent: int, spread: str, work: BenchWork) -> dict[str, Any]:
    rng = Random(f"{work.seed}/{validators}/{absent}/{spread}")  # noqa: S311 - a schedule, not a secret
    target = WARM_UP_BLOCKS + work.transactions
    world = WanWorld(rng, validators, target, absent, spread)
    world.start_all()
    if not world.run(target, MAX_EVENTS_PER_BLOCK * target * validators**2):
        raise InvariantError(f"{validators} validators did not make {target} blocks final")
    if world.checker.violations or world.checker.disagreements:
        raise InvariantError(f"{validators} validators: {world.checker.violations}")
    found = _latency(world)
    work.report.advance(1)
    return {
        "spread": spread,
        "validators": validators,
        "down": absent,
        "blocks": work.transactions,
        "p50_ms": found.p50,
        "p99_ms": found.p99,
        "max_ms": found.max,
        "messages": len(world.sent),
    }


def _latency(world: World) -> LatencySummary:
    """Returns the times from a block's first publication to a validator's certificate of it, over all validators."""
    recorder = LatencyRecorder()
    for node in world.nodes:
        for block, _ in node.final:
            height = block.header.height
            if height > WARM_UP_BLOCKS:
                ticks = world.final_times[node.validator, height] - world.proposed_times[block.hash]
                recorder.add(ticks * NANOS_PER_MILLI // TICKS)
    summary = recorder.summary()
    if summary is None:
        raise InvariantError("no block became final")
    return summary
