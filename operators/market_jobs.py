"""The jobs of an epoch for a simulated market: how much work each is, and which come after which."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from operators.market_provers import CELLS_PER_REFERENCE_SECOND
from schemas.config import ClockConfig
from schemas.economics import QUALITY_BYTES
from schemas.errors import ParameterError
from schemas.job import ProofLevel

SEGMENT_S_SECONDS, SEGMENT_L_SECONDS = 0.19, 4.2
LIFT_S_SECONDS, LIFT_L_SECONDS = 3.4, 3.5
JOIN_SECONDS, EPOCH_SECONDS = 3.7, 3.6
"""Seconds of one proof on the reference machine. Measured: proving/recursion/README.md "Figures"."""

SEGMENT_S_TRANSACTIONS, SEGMENT_L_TRANSACTIONS = 1_000, 50_000
"""Transactions of a full segment. Measured: proving/README.md, `bench batch` and `bench segment`."""

LIFT_S_SLOTS, JOIN_SLOTS = 6, 8
"""Children of a lift of small segments and of a join: the circuits' own."""

MOST_SMALL = SEGMENT_S_TRANSACTIONS * LIFT_S_SLOTS
"""Transactions up to which a window is proven in small segments: one lift takes them all."""

SHARDS = 8
"""Design: ARCHITECTURE "The clock"."""

PROOF_BYTES: Final = {level: size * 3 // 4 for level, size in QUALITY_BYTES.items()}
"""Sizes of simulated proofs: within the bonus, as the measured ones are."""


@dataclass(frozen=True, slots=True)
class SimulatedJob:
    """A job.

    Attributes:
        id: Its id; sorts by level and place.
        level: What it proves.
        seconds: Reference seconds of work.
        parent: Place of the job that it is a child of, or -1.
        begins: Slot of the epoch from which it can be planned if it has no children.
    """

    id: bytes
    level: ProofLevel
    seconds: float
    parent: int
    begins: int

    @property
    def cells(self) -> int:
        """Trace cells: the weight of the job in rewards."""
        return max(1, round(self.seconds * CELLS_PER_REFERENCE_SECOND))


def window_seconds(transactions: float) -> float:
    """Returns the work of a window: segments, their lifts, and joins until one proof is left.

    Raises:
        ParameterError: Fewer than no transactions.
    """
    if transactions < 0:
        raise ParameterError("a window has no fewer than no transactions")
    if transactions <= MOST_SMALL:
        count = max(1, -int(-transactions // SEGMENT_S_TRANSACTIONS))
        return count * SEGMENT_S_SECONDS + LIFT_S_SECONDS
    count = -int(-transactions // SEGMENT_L_TRANSACTIONS)
    return count * (SEGMENT_L_SECONDS + LIFT_L_SECONDS) + joins(count) * JOIN_SECONDS


def joins(children: int) -> int:
    """Returns how many joins make one proof of so many."""
    return -(-(children - 1) // (JOIN_SLOTS - 1))


def epoch_jobs(epoch: int, transactions: float, clock: ClockConfig) -> list[SimulatedJob]:
    """Returns the jobs of an epoch, parents first: the global epoch, hours, shard epochs, windows.

    Args:
        epoch: Its number, part of the ids.
        transactions: Of the whole epoch, spread evenly over shards and windows.
        clock: The clock.
    """
    span, per_hour = clock.windows_per_shard_epoch, clock.shard_epochs_per_hour
    windows = SHARDS * per_hour * span
    work = window_seconds(transactions / windows)
    jobs: list[SimulatedJob] = []

    def add(level: ProofLevel, seconds: float, parent: int, begins: int = 0) -> int:
        name = b"%06d/%04d" % (epoch, len(jobs))
        jobs.append(SimulatedJob(name, level, seconds, parent, begins))
        return len(jobs) - 1

    top = add(ProofLevel.EPOCH, EPOCH_SECONDS, -1)
    for _ in range(SHARDS):
        hour = add(ProofLevel.SHARD_HOUR, max(1, joins(per_hour)) * JOIN_SECONDS, top)
        for part in range(per_hour):
            run = add(ProofLevel.SHARD_EPOCH, max(1, joins(span)) * JOIN_SECONDS, hour)
            for place in range(span):
                ends = (part * span + place + 1) * clock.slots_per_window
                add(ProofLevel.WINDOW, work, run, ends)
    return jobs
