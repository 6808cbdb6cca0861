"""`campaign byzantine`: seeded consensus schedules with the tolerated number of traitors, and with one more.

With at most f Byzantine validators no schedule may end in disagreement. With f + 1 the same checker must find
one, or it would be blind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from operators.consensus_campaign import run_schedules
from pipelines.progress import Progress
from pipelines.shifts import in_parallel
from schemas.block import fault_bound

DEFAULT_RUNS = 100_000
COMMITTEES = (4, 7)
"""Sizes of committee, by turns."""

BLIND_CHECK_RUNS = 400
"""Most schedules tried with f + 1 traitors until a disagreement is found."""

CHUNK = 250


@dataclass(frozen=True, slots=True)
class Shift:
    """A piece of a campaign for one process.

    Attributes:
        seed: Seed of the campaign.
        first: Number of its first schedule.
        count: Schedules.
        validators: Size of the committee.
        byzantine: Traitors among them.
    """

    seed: int
    first: int
    count: int
    validators: int
    byzantine: int

    def run(self) -> dict[str, Any]:
        """Runs the schedules."""
        return run_schedules(
            self.seed, self.count, self.validators, self.byzantine, first=self.first
        )


def shifts(seed: int, runs: int) -> Iterator[Shift]:
    """Cuts a campaign with f traitors into pieces, committee sizes by turns."""
    for place, first in enumerate(range(0, runs, CHUNK)):
        validators = COMMITTEES[place % len(COMMITTEES)]
        count = min(CHUNK, runs - first)
        yield Shift(seed, first, count, validators, fault_bound(validators))


def run_byzantine(
    seed: int, runs: int, workers: int, report: Progress, is_stopped: Callable[[], bool]
) -> dict[str, Any]:
    """Runs the campaign and returns its evidence.

    `accepted` counts disagreements with at most f traitors. It exits 0 only when there is none, every schedule
    got its blocks final, and a disagreement with f + 1 was found.
    """
    report.phase("schedules", runs)
    totals = dict.fromkeys(
        (
            "schedules",
            "events",
            "schedules_with_disagreement",
            "schedules_with_violation",
            "schedules_with_evidence",
            "schedules_unfinished",
        ),
        0,
    )
    found: list[Any] = []
    for _, result in in_parallel(list(shifts(seed, runs)), workers, is_stopped):
        report.advance(result["schedules"])
        for name in totals:
            totals[name] += result[name]
        found += result["disagreements"] + result["violations"] + result["unfinished"]
    blind = _disagreement_with_one_more(seed)
    broken = totals["schedules_with_disagreement"] + totals["schedules_with_violation"]
    return {
        "name": "byzantine",
        "seed": seed,
        "runs": totals["schedules"],
        "accepted": totals["schedules_with_disagreement"],
        "evidence": {
            **totals,
            "committees": list(COMMITTEES),
            "found": found[:20],
            "one_traitor_more": blind,
        },
        "ok": not broken
        and not totals["schedules_unfinished"]
        and blind["disagreement"] is not None,
    }


def _disagreement_with_one_more(seed: int) -> dict[str, Any]:
    """Looks for a disagreement with f + 1 traitors among four validators."""
    byzantine = fault_bound(4) + 1
    for first in range(0, BLIND_CHECK_RUNS, 20):
        result: dict[str, Any] = run_schedules(seed, 20, 4, byzantine, first=first)
        if result["disagreements"]:
            found = result["disagreements"][0]
            return {"byzantine": byzantine, "schedules": first + 20, "disagreement": found}
    return {"byzantine": byzantine, "schedules": BLIND_CHECK_RUNS, "disagreement": None}
