"""`campaign pyramid`: every claim of the pyramid's statements forged, refused by name, and accepted without it.

A statement's part of a program is what it claims beside the verification of the children's proofs. Of every claim in
it there is a forgery that breaks it and nothing else, judged by the circuit and, where there is one, by the native
twin; without the claim the circuit accepts. Claims that follow from others are shown to. One forgery of each sort
is also laid out as a trace, for the constraint system; and real proofs are shown to provers and verifiers.
"""

from __future__ import annotations

import random
import re
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from operators.proof_worker import process_backend
from pipelines.adversary.pyramid_attacks import pyramid_attacks
from pipelines.adversary.pyramid_book import PYRAMID_KINDS, forgeries_of, statement_part
from pipelines.adversary.statement_forgeries import Attempt, Outcome, fitted, judge, refusal_of
from pipelines.adversary.statement_implied import implied_claims
from pipelines.adversary.statement_part import Claim, StatementPart
from pipelines.progress import Progress
from pipelines.sample_children import SampleChildren, sample_children
from pipelines.shifts import in_parallel
from proving.recursion.air import RecursionAir
from proving.recursion.execution import Execution
from proving.recursion.tape import Tape
from proving.recursion.trace import fill_trace
from proving.recursion.wiring import wire
from proving.stark.trace_check import TraceChecker

CHUNK = 60
"""Forgeries of one process at a time."""


@dataclass(frozen=True, slots=True)
class StatementShift:
    """A piece of the campaign for one process.

    Attributes:
        kind: Kind of the pyramid.
        numbers: Which of its forgeries.
        traced: Which of them are laid out as traces too.
    """

    kind: str
    numbers: tuple[int, ...]
    traced: frozenset[int]

    def run(self) -> list[tuple[Outcome, bool | None]]:
        """Tries each; with whether the constraint systems say the same, None if they were not asked."""
        part, hasher = statement_part(self.kind), process_backend()
        wanted = set(self.numbers)
        found: list[tuple[Outcome, bool | None]] = []
        for number, attempt in enumerate(forgeries_of(self.kind)):
            if number in wanted:
                agrees = traces_agree(part, attempt) if number in self.traced else None
                found.append((judge(part, attempt, hasher), agrees))
        return found


@dataclass(slots=True)
class KindFindings:
    """What became of the forgeries of a kind.

    Attributes:
        claims: The claims of its statement's part.
        implied: Those that follow from others, with the reason.
        planned: Forgeries to try.
        alone: Claims that a forgery breaks alone.
        together: Claims that a forgery breaks together with the other elements of a digest.
        tried: Forgeries tried.
        native: Those that a native twin refused too.
        traced: Those that the constraint systems judged too.
    """

    claims: frozenset[Claim]
    implied: dict[Claim, str]
    planned: int
    alone: set[Claim] = field(default_factory=set)
    together: set[Claim] = field(default_factory=set)
    tried: int = 0
    native: int = 0
    traced: int = 0

    @property
    def covered(self) -> frozenset[Claim]:
        """Claims that are broken by a forgery or implied."""
        return frozenset(self.alone | self.together | self.implied.keys()) & self.claims

    def count(self, outcome: Outcome, agrees: bool | None) -> bool:
        """Counts a forgery; returns whether it did what it should."""
        self.tried += 1
        self.native += bool(outcome.native)
        self.traced += agrees is not None
        if not outcome.holds or agrees is False:
            return False
        if len(outcome.targets) == 1:
            self.alone |= outcome.targets
        elif len({claim.what for claim in outcome.targets}) == 1:
            self.together |= outcome.targets
        return True

    def evidence(self) -> dict[str, Any]:
        """Returns the figures."""
        return {
            "claims": len(self.claims),
            "labels": len({claim.what for claim in self.claims}),
            "forgeries": self.tried,
            "broken_alone": len(self.alone),
            "broken_as_a_word": len(self.together - self.alone),
            "implied": len(self.implied),
            "refused_by_the_native_twin": self.native,
            "judged_by_the_constraint_system": self.traced,
        }


def run_pyramid(
    seed: int,
    runs: int | None,
    processes: int,
    report: Progress,
    is_stopped: Callable[[], bool],
    *,
    may_end_early: bool = False,
) -> dict[str, Any]:
    """Runs the campaign.

    Args:
        seed: Of the sample.
        runs: Forgeries of each kind to try; None for all.
        processes: Processes side by side.
        report: Progress.
        is_stopped: Ends the campaign after the present pieces.
        may_end_early: Whether a part of the forgeries is enough.

    Returns:
        The campaign's evidence; `ok` when every claim is covered, or all that was tried if the budget is smaller.
    """
    started = time.monotonic()
    report.phase("programs", len(PYRAMID_KINDS))
    kinds: dict[str, KindFindings] = {}
    shifts: list[StatementShift] = []
    for kind in PYRAMID_KINDS:
        kinds[kind], numbers, traced = plan_kind(kind, seed, runs)
        shifts += [
            StatementShift(kind, tuple(part), traced & frozenset(part))
            for part in (numbers[at : at + CHUNK] for at in range(0, len(numbers), CHUNK))
        ]
        report.advance(1)
    failed, accepted = _try_all(shifts, kinds, processes, report, is_stopped)
    sample = sample_children(seed, process_backend(), report, is_stopped, large=False)
    refusals = {} if sample is None else real_attacks(sample, report)
    found = evidence_of(seed, kinds, failed, accepted, refusals)
    complete = sample is not None and all(one.tried == one.planned for one in kinds.values())
    found["ok"] &= may_end_early or complete
    if runs is None and not may_end_early:
        found["ok"] &= found["covered"] == found["constraints"]
    found["evidence"]["seconds"] = round(time.monotonic() - started, 1)
    return found


def _try_all(
    shifts: list[StatementShift],
    kinds: dict[str, KindFindings],
    processes: int,
    report: Progress,
    is_stopped: Callable[[], bool],
) -> tuple[list[str], int]:
    """Tries the forgeries; returns those that did not do what they should, and how many were accepted."""
    report.phase("forgeries", sum(len(shift.numbers) for shift in shifts))
    failed: list[str] = []
    accepted = 0
    for number, found in in_parallel(shifts, processes, is_stopped):
        kind = shifts[number].kind
        for outcome, agrees in found:
            accepted += not outcome.is_refused
            if not kinds[kind].count(outcome, agrees):
                failed.append(f"{kind}: {described(outcome, agrees)}")
        report.advance(len(found))
    return failed, accepted


def evidence_of(
    seed: int,
    kinds: dict[str, KindFindings],
    failed: list[str],
    accepted: int,
    refusals: dict[str, tuple[str, str]],
) -> dict[str, Any]:
    """Returns the campaign's evidence; `ok` when nothing that was tried did what it should not."""
    wrong = [name for name, (said, wanted) in refusals.items() if not said or wanted not in said]
    return {
        "name": "pyramid",
        "seed": seed,
        "runs": sum(one.tried for one in kinds.values()) + len(refusals),
        "accepted": accepted + sum(not said for said, _ in refusals.values()),
        "constraints": sum(len(one.claims) for one in kinds.values()),
        "covered": sum(len(one.covered) for one in kinds.values()),
        "evidence": {
            "kinds": {kind: one.evidence() for kind, one in kinds.items()},
            "implied": dict(Counter(r for one in kinds.values() for r in one.implied.values())),
            "not_covered": [
                f"{kind}: {claim}"
                for kind, one in kinds.items()
                for claim in sorted(one.claims - one.covered)
            ][:20],
            "failed": failed[:20],
            "shown_to_provers_and_verifiers": {n: said for n, (said, _) in refusals.items()},
            "refused_otherwise": wrong,
        },
        "ok": not failed and not wrong,
    }


def plan_kind(
    kind: str, seed: int, runs: int | None
) -> tuple[KindFindings, list[int], frozenset[int]]:
    """Returns what is known of a kind beforehand, the forgeries to try, and those to lay out as traces."""
    part = statement_part(kind)
    sorts: dict[str, int] = {}
    numbers: list[int] = []
    for number, attempt in enumerate(forgeries_of(kind)):
        numbers.append(number)
        sorts.setdefault(re.sub(r"\d+", "", attempt.targets[0].what), number)
    if runs is not None:
        random.Random(seed).shuffle(numbers)  # noqa: S311 - reproducible sample
        numbers = sorted(numbers[:runs])
    implied = implied_claims(kind, part)
    findings = KindFindings(frozenset(part.claims), implied, len(numbers))
    return findings, numbers, frozenset(sorts.values())


def traces_agree(part: StatementPart, attempt: Attempt) -> bool:
    """Whether the constraint system refuses a forgery's trace, and accepts it without the claims it is about."""
    given = fitted(part, attempt, process_backend())
    publics = [int(cell) for cell in given.publics.reshape(-1)]
    verdicts: list[bool] = []
    for tape in (part.tape, part.tape_without(attempt.targets)):
        execution, wiring = Execution(tape), wire(tape, _log_rows(tape))
        values = execution.run(given.publics, given.inputs, process_backend())
        trace = fill_trace(execution, wiring, values, process_backend())
        checker = TraceChecker(RecursionAir.of("statement", wiring), process_backend())
        verdicts.append(checker.check(trace, publics).holds)
    return verdicts == [False, True]


def _log_rows(tape: Tape) -> int:
    return max(tape.arithmetic_rows, tape.permutation_rows, 2).bit_length()


def real_attacks(sample: SampleChildren, report: Progress) -> dict[str, tuple[str, str]]:
    """Tries the attacks with real proofs: name -> refusal, empty if there is none, and what it must contain."""
    attacks = pyramid_attacks(sample, process_backend())
    report.phase("real proofs", len(attacks))
    found: dict[str, tuple[str, str]] = {}
    for name, (attack, wanted) in attacks.items():
        found[name] = refusal_of(attack)[:120], wanted
        report.advance(1)
    return found


def described(outcome: Outcome, agrees: bool | None) -> str:
    """Returns what became of a forgery, in a line."""
    broken = ", ".join(map(str, sorted(outcome.broken)[:4]))
    passes = "accepted" if outcome.accepted else "refused"
    twin = f"native {outcome.native!r}, wanted {outcome.names!r}"
    return f"{outcome.name}: breaks {broken}; {passes} without; {twin}; traces agree: {agrees}"
