"""`campaign mutate-day`: the light client alone in an empty folder, against files of a day that were tampered with.

Proof, certificate, what is trusted of the day before, and a transaction's path are changed at random, put in each
other's place, and replaced by those of other days, chains and committees; none may be accepted. With the sample chain
it is shown too what happens to a day that is honestly proven over a transfer that its sender never signed.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from math import gcd
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from operators.proof_worker import process_backend
from pipelines.adversary.attacked_days import (
    ProvenDays,
    demo_case,
    prove_days,
    sample_case,
)
from pipelines.adversary.bare_light import BareLight
from pipelines.adversary.day_case import DayCase
from pipelines.adversary.day_judge import Verdict
from pipelines.adversary.day_mutants import MUTATIONS, DayAttacker
from pipelines.adversary.unsigned_day import show_unsigned
from pipelines.progress import Progress
from schemas.config import Configuration

DEFAULT_RUNS = 10_000

CHUNK = 250
"""Mutants of one bare process."""

SAMPLE = 50
"""Mutants that go through the real command line, each as a process of its own."""

MEASURED = ("start", "proof", "certificate", "inclusion", "all")
"""What is measured of the honest day; `start` is importing alone."""

REPEATS = 5
"""Processes per measurement; the least time and the most memory count."""


@dataclass(slots=True)
class Tally:
    """What workers have found.

    Attributes:
        kinds: Of every kind of mutant, per reason: count, and the most seconds and processor seconds of a check.
        sampled: Verdicts of the sample, by number.
        accepted: What was accepted or ended in another error than a refusal.
        memory_before: Most bytes that a worker held before its first check.
        memory_peak: Most bytes that a worker held.
        foreign_modules: Packages that a worker had imported and should not.
    """

    kinds: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)
    sampled: dict[int, Verdict] = field(default_factory=dict)
    accepted: list[str] = field(default_factory=list)
    memory_before: int = 0
    memory_peak: int = 0
    foreign_modules: set[str] = field(default_factory=set)

    def add(self, found: Mapping[str, Any]) -> None:
        """Takes a worker's last word."""
        for kind, reasons in found["kinds"].items():
            for reason, entry in reasons.items():
                held = self.kinds.setdefault(kind, {}).setdefault(reason, dict.fromkeys(entry, 0))
                held["count"] += entry["count"]
                for name in ("seconds", "cpu_seconds"):
                    held[name] = max(held[name], entry[name])
        for number, (error, reason) in found["sampled"].items():
            self.sampled[int(number)] = Verdict(error, reason, 0.0, 0.0)
        self.accepted += found["accepted"]
        self.memory_before = max(self.memory_before, found["memory_before"])
        self.memory_peak = max(self.memory_peak, found["memory_peak"])
        self.foreign_modules.update(found["foreign_modules"])

    def done(self) -> int:
        """Returns how many mutants were judged."""
        return sum(self.counts().values())

    def counts(self) -> Counter[str]:
        """Returns mutants per reason."""
        found: Counter[str] = Counter()
        for reasons in self.kinds.values():
            found.update({reason: int(entry["count"]) for reason, entry in reasons.items()})
        return found

    def most(self, name: str) -> float:
        """Returns the most `seconds` or `cpu_seconds` of a check."""
        entries = (entry for reasons in self.kinds.values() for entry in reasons.values())
        return round(max((entry[name] for entry in entries), default=0.0), 4)

    def table(self) -> dict[str, dict[str, Any]]:
        """Returns kinds with their counts and longest checks."""
        return {
            kind: {
                "count": int(sum(entry["count"] for entry in reasons.values())),
                "refused": {name: int(reasons[name]["count"]) for name in sorted(reasons)},
                "max_seconds": round(max(entry["seconds"] for entry in reasons.values()), 4),
            }
            for kind, reasons in sorted(self.kinds.items())
        }


@dataclass(frozen=True, slots=True)
class DayCampaign:
    """What a campaign is asked for.

    Attributes:
        seed: Of the mutants.
        runs: Mutants.
        processes: Bare processes side by side.
        data: Where the sample's proofs are kept.
        demo: Data directory of a demo whose last day is attacked, or None for the sample's.
        configuration: That the demo ran with.
    """

    seed: int
    runs: int
    processes: int
    data: Path
    demo: Path | None
    configuration: Configuration


def run_day(work: DayCampaign, report: Progress, is_stopped: Callable[[], bool]) -> dict[str, Any]:
    """Runs the campaign.

    Returns:
        The campaign's evidence; `ok` when the honest day was accepted and every mutant refused by name.

    Raises:
        ParameterError: The demo has made no day.
        ProofError: A proof of the sample does not hold.
    """
    started = time.monotonic()
    days: ProvenDays | None = None
    if work.demo:
        case = demo_case(work.demo, work.configuration)
    else:
        days = prove_days(work.data, process_backend(work.processes), report)
        case = sample_case(days)
    with TemporaryDirectory(prefix="ecliptica-light-") as folder:
        light = BareLight.make(Path(folder), case)
        copied = light.copied()
        honest = _measure_honest(light, case, report)
        stride = _stride(work.runs)
        tally = _attack(light, work, stride, report, is_stopped)
        command = _through_the_command(light, DayAttacker(case, work.seed), tally, report)
        unsigned = None if days is None else show_unsigned(light, case, days)
    done = tally.done()
    holds = honest["accepted"] and not tally.accepted and not command["disagreed"]
    return {
        "name": "mutate-day",
        "seed": work.seed,
        "runs": done,
        "accepted": len(tally.accepted),
        "evidence": {
            "attacked": str(work.demo) if work.demo else "the sample chain's second day",
            "honest": honest,
            "mutants": tally.table(),
            "refused": dict(sorted(tally.counts().items())),
            "accepted": tally.accepted[:20],
            "max_seconds": tally.most("seconds"),
            "max_cpu_seconds": tally.most("cpu_seconds"),
            "memory_before_bytes": tally.memory_before,
            "peak_memory_bytes": tally.memory_peak,
            "third_party_modules": sorted(tally.foreign_modules),
            "command_line": command,
            "unsigned_transfer": unsigned,
            "copied": copied,
            "proofs_made": None if days is None else days.made,
            "seconds": round(time.monotonic() - started, 1),
        },
        "ok": holds
        and done == work.runs
        and not tally.foreign_modules
        and (unsigned is None or unsigned["ok"]),
    }


def _stride(runs: int) -> int:
    """Returns the distance of sampled mutants, such that the sample meets every kind in turn."""
    stride = max(runs // SAMPLE, 1)
    while stride > 1 and gcd(stride, len(MUTATIONS)) > 1:
        stride -= 1
    return stride


def _measure_honest(light: BareLight, case: DayCase, report: Progress) -> dict[str, Any]:
    """Returns time and memory of the honest day's parts, and what the real command says of the whole."""
    parts = [what for what in MEASURED if what != "inclusion" or what in case.files]
    report.phase("the honest day", REPEATS * len(parts))
    found: dict[str, Any] = {}
    for what in parts:
        measured = []
        for _ in range(REPEATS):
            measured.append(light.measure(what))
            report.advance(1)
        found[what] = {
            "seconds": min(one["seconds"] for one in measured),
            "cpu_seconds": min(one["cpu_seconds"] for one in measured),
            "peak_memory_bytes": max(one["peak_memory_bytes"] for one in measured),
        }
    answers = [
        light.verify("honest", replace(case.honest(), previous=case.files[name]))
        for name in case.trusted()
    ]
    found["sizes"] = {name: len(data) for name, data in case.files.items()}
    found["accepted"] = all(answer.exit_code == 0 for answer in answers)
    found["command_says"] = answers[0].output.splitlines()
    return found


def _attack(
    light: BareLight,
    work: DayCampaign,
    stride: int,
    report: Progress,
    is_stopped: Callable[[], bool],
) -> Tally:
    report.phase("mutants", work.runs)
    tally = Tally()
    firsts = range(0, work.runs, CHUNK)
    with ThreadPoolExecutor(work.processes) as pool:
        waiting = {
            pool.submit(
                light.mutants, work.seed, first, min(CHUNK, work.runs - first), stride
            ): first
            for first in firsts
        }
        for future in as_completed(waiting):
            if is_stopped():
                pool.shutdown(wait=False, cancel_futures=True)
                break
            tally.add(future.result())
            report.advance(min(CHUNK, work.runs - waiting[future]))
    return tally


def _through_the_command(
    light: BareLight, attacker: DayAttacker, tally: Tally, report: Progress
) -> dict[str, Any]:
    """Gives the sample to the real command, a process each, and compares its word with the workers'."""
    report.phase("the real command", len(tally.sampled))
    codes: Counter[int] = Counter()
    kinds: Counter[str] = Counter()
    disagreed: list[str] = []
    for number, verdict in sorted(tally.sampled.items()):
        made = attacker.mutant(number)
        answer = light.verify(f"mutant-{number}", made.files)
        codes[answer.exit_code] += 1
        kinds[made.kind] += 1
        if not answer.agrees(verdict) or answer.exit_code == 0:
            disagreed.append(
                f"mutant {number} {made.kind}: exit {answer.exit_code} {answer.reason}, not "
                f"{verdict.error} {verdict.reason}"
            )
        report.advance(1)
    return {
        "runs": codes.total(),
        "exit_codes": {str(code): count for code, count in sorted(codes.items())},
        "kinds": len(kinds),
        "disagreed": disagreed,
    }
