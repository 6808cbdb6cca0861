"""Simulated provers: what they have, cost and fail at, drawn by a seeded generator. No prover here is a real one.

What is measured says so; everything else is assumed, with the reason, and belongs to whoever reads the results.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Final

from schemas.economics import ECLIPT

REFERENCE_CORES = 2
"""Cores of the machine whose times are the unit of work: "reference seconds". Measured: proving/recursion/README.md
"Figures", `bench levels` on two cores of a Xeon with AVX-512."""

CELLS_PER_REFERENCE_SECOND = 45_000_000
"""Trace cells that machine proves a second. Measured: proving/README.md "Speed, and the others", the circuit of
permutations."""

CORES: Final = ((2, 15), (4, 20), (8, 25), (16, 20), (32, 12), (64, 8))
"""Cores of a prover's machine and how often it is met, percent. Assumed: from a desktop to the mission's prover of 64 cores;
few are large. No GPU: none has been measured."""

SCALING_EXPONENT = 0.9
"""Speed grows with cores to this power. Assumed: memory is shared between cores."""

SPEED_SPREAD, COST_SPREAD, STAKE_SPREAD = 0.15, 0.3, 0.5
"""Standard deviations of the logarithms. Assumed: processors of three years, offers of clouds and homes, owners' means."""

CORE_DOLLARS_PER_HOUR = 0.045
"""Median price of a core. Assumed: about what large clouds list for general machines on demand."""

IDLE_PART = 0.6
"""Part of the price that an idle machine costs. Assumed: rent or wear, the rest is power and what else it could do."""

HYBRID_IDLE_PART = 0.05
"""The same for a validator-prover, whose machine is paid by validating. Assumed."""

HYBRID_CORES = 16
"""Cores of a validator. Design: CONSENSUS "Node roles"."""

HYBRID_PRESENCE = 0.7
"""Part of the epochs in which a validator-prover is idle enough to prove. Assumed."""

STAKE_PER_CORE = 1_000 * ECLIPT
"""Median units that a prover locks per core. Assumed: one claim's escrow for every core."""

LEAST_STAKE = 2_000 * ECLIPT
"""Two claims' escrow, so that a prover can lease one job while another is its own."""

RUNWAY_HOURS = (24 * 30, 24 * 120)
"""Hours of full cost that an owner brings beside the stake, from and to. Assumed: one to four months."""

PRESENCE = (0.97, 0.9995)
"""Part of the epochs in which a prover answers, from and to. Assumed: home lines to data centres."""

CRASH_DECADES = (-4.0, -2.0)
"""Log10 of the chance that a job dies with its worker, from and to. Assumed."""

INVALID_DECADES = (-7.0, -5.0)
"""Log10 of the chance that a proof is invalid. Assumed: memory errors; honest provers check before they send."""


@dataclass(frozen=True, slots=True)
class SimulatedProver:
    """One prover.

    Attributes:
        id: Its name in the market.
        cores: Cores of its machine.
        speed: Reference seconds of work that it does in a second.
        idle_dollars: What an hour costs it in which it has nothing to do.
        busy_dollars: What an hour of work costs more.
        presence: Part of the epochs in which it answers.
        crash_chance: Per job.
        invalid_chance: Per proof.
        stake: Units that it locks.
        capital_dollars: Money that it brings beside the stake.
        is_hybrid: It validates, too.
    """

    id: bytes
    cores: int
    speed: float
    idle_dollars: float
    busy_dollars: float
    presence: float
    crash_chance: float
    invalid_chance: float
    stake: int
    capital_dollars: float
    is_hybrid: bool = False

    def dollars(self, hours: float, busy_hours: float) -> float:
        """Returns what hours cost of which it worked in some."""
        return self.idle_dollars * hours + self.busy_dollars * busy_hours


def draw_prover(number: int, rng: Random, *, is_hybrid: bool = False) -> SimulatedProver:
    """Draws a prover.

    Args:
        number: Its place among all that were drawn; makes its id.
        rng: What decides.
        is_hybrid: Whether it is a validator-prover.
    """
    sizes, weights = zip(*CORES, strict=True)
    cores = HYBRID_CORES if is_hybrid else rng.choices(sizes, weights)[0]
    speed = (cores / REFERENCE_CORES) ** SCALING_EXPONENT * rng.lognormvariate(0, SPEED_SPREAD)
    price = cores * CORE_DOLLARS_PER_HOUR * rng.lognormvariate(0, COST_SPREAD)
    presence = rng.uniform(*PRESENCE) * (HYBRID_PRESENCE if is_hybrid else 1)
    stake = int(cores * STAKE_PER_CORE * rng.lognormvariate(0, STAKE_SPREAD))
    return SimulatedProver(
        id=b"prover-%05d" % number,
        cores=cores,
        speed=speed,
        idle_dollars=price * (HYBRID_IDLE_PART if is_hybrid else IDLE_PART),
        busy_dollars=price * (1 - IDLE_PART),
        presence=presence,
        crash_chance=10 ** rng.uniform(*CRASH_DECADES),
        invalid_chance=10 ** rng.uniform(*INVALID_DECADES),
        stake=max(stake, LEAST_STAKE),
        capital_dollars=price * rng.uniform(*RUNWAY_HOURS),
        is_hybrid=is_hybrid,
    )
