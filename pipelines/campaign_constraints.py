"""`campaign mutate-constraints`: every claim of every circuit broken alone, rejected, and accepted without it.

For each constraint and bus message a trace is forged that breaks nothing else. The prover, told not to refuse,
proves it; the verifier must reject that proof, and must accept the same trace under the key of the circuit
from which the claim is deleted. Forgeries run on a small instance of the kind's circuit, which is checked to
claim the same, with the kind's own parameters.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from operators.proof_worker import process_backend
from pipelines.adversary.claim_books import ClaimBook, book_of
from pipelines.adversary.forged_trace import ForgedTrace, claims_of
from pipelines.adversary.weaker import Weaker
from pipelines.progress import Progress
from pipelines.shifts import in_parallel
from proving.errors import ProofError, RejectionReason
from proving.kinds import kind_named, registered_kinds
from proving.prover import prove_stark
from proving.stark.air import Air
from proving.stark.check import verify_stark
from proving.stark.parameters import ProofParameters
from proving.stark.setup import ProvingKey, make_proving_key
from proving.stark.trace_check import TraceChecker
from schemas.errors import InvariantError, ParameterError

CHUNK = 8
FINAL_LENGTH = 1
"""Logarithm of the final polynomial's length here: the kinds' own is too long for the least instance."""


_keys: dict[tuple[str, ProofParameters], ProvingKey] = {}
_checkers: dict[str, TraceChecker] = {}


@dataclass(frozen=True, slots=True)
class ClaimVerdict:
    """What became of the forgery of a claim.

    Attributes:
        claim: Constraint or message.
        missing: What was deleted: the claim, or its bus.
        alone: Whether the forgery breaks only it: one constraint, or one bus.
        refused: Why the whole circuit's verifier refuses the proof; empty if it does not.
        bites: Whether the verifier of the circuit without it accepts the same trace.
    """

    claim: str
    missing: str
    alone: bool
    refused: str
    bites: bool

    @property
    def holds(self) -> bool:
        """Whether the claim is needed and enforced."""
        expected = RejectionReason.CONSTRAINTS_NOT_SATISFIED.value
        return self.alone and self.bites and self.refused == expected


@dataclass(frozen=True, slots=True)
class ClaimShift:
    """A piece of the campaign for one process.

    Attributes:
        kind: Kind of proof.
        claims: Their names.
    """

    kind: str
    claims: tuple[str, ...]

    def run(self) -> list[ClaimVerdict]:
        """Forges, proves and verifies each."""
        settings = replace(kind_named(self.kind).parameters, log_final_length=FINAL_LENGTH)
        book = _book(self.kind)
        if book is None:
            raise InvariantError(f"no forgeries of {self.kind} are known")
        return [judge(book.forge(claim), settings) for claim in self.claims]


def judge(forged: ForgedTrace, parameters: ProofParameters) -> ClaimVerdict:
    """Proves and verifies a forged trace under the whole circuit and under the one it was made for.

    Args:
        forged: The trace.
        parameters: Of both keys.
    """
    whole = _whole_key(forged.air, parameters)
    lacking = _key(Weaker(forged.air, forged.missing), parameters)
    return ClaimVerdict(
        forged.claim,
        forged.missing,
        _breaks_alone(forged),
        _refusal(whole, forged),
        lacking.verifying_key.digest != whole.verifying_key.digest
        and not _refusal(lacking, forged),
    )


def run_constraints(
    seed: int,
    runs: int | None,
    processes: int,
    report: Progress,
    is_stopped: Callable[[], bool],
    *,
    circuit: str | None = None,
) -> dict[str, Any]:
    """Runs the campaign over every registered kind.

    Args:
        seed: Of the sample, and of the points where circuits are compared.
        runs: Claims to try of each kind; None for all.
        processes: Processes side by side.
        report: Progress.
        is_stopped: Ends the campaign after the present pieces.
        circuit: Name of the only circuit to try; None for all.

    Returns:
        The campaign's evidence; `ok` when every claim that was tried is covered.

    Raises:
        ParameterError: There is no such circuit.
    """
    started = time.monotonic()
    shifts: list[ClaimShift] = []
    circuits: dict[str, dict[str, Any]] = {}
    known: dict[str, str] = {}
    for kind in registered_kinds().kinds:
        first = known.setdefault(kind.make_air().name, kind.name)
        if first != kind.name:  # one circuit; heights, settings and what is preprocessed differ
            if first in circuits:
                circuits[first]["kinds"].append(kind.name)
            continue
        if circuit not in (None, kind.make_air().name):
            continue
        circuits[kind.name], chosen = _plan(kind.name, seed, runs)
        shifts += [
            ClaimShift(kind.name, tuple(chosen[start : start + CHUNK]))
            for start in range(0, len(chosen), CHUNK)
        ]
    if not circuits:
        names = sorted({kind.make_air().name for kind in registered_kinds().kinds})
        raise ParameterError(f"there is no circuit {circuit!r}", f"circuits: {', '.join(names)}")
    report.phase("claims", sum(len(shift.claims) for shift in shifts))
    verdicts: list[ClaimVerdict] = []
    for number, found in in_parallel(shifts, processes, is_stopped):
        circuits[shifts[number].kind]["bitten"] += sum(verdict.holds for verdict in found)
        verdicts += found
        report.advance(len(found))
    return _evidence(seed, circuits, verdicts, round(time.monotonic() - started, 1))


def _evidence(
    seed: int, circuits: dict[str, dict[str, Any]], verdicts: list[ClaimVerdict], seconds: float
) -> dict[str, Any]:
    claims = sum(entry["claims"] for entry in circuits.values())
    implied = sum(len(entry["implied"]) for entry in circuits.values())
    covered = implied + sum(entry["bitten"] for entry in circuits.values())
    planned = sum(entry.pop("planned") for entry in circuits.values())
    with_bus = sorted({verdict.claim for verdict in verdicts if verdict.missing != verdict.claim})
    failed = [verdict for verdict in verdicts if not verdict.holds]
    return {
        "name": "mutate-constraints",
        "seed": seed,
        "runs": len(verdicts),
        "accepted": sum(not verdict.refused for verdict in verdicts),
        "constraints": claims,
        "covered": covered,
        "evidence": {
            "coverage": f"{covered} of {claims}, {100 * covered / claims:.1f} %",
            "circuits": circuits,
            "refused": dict(Counter(verdict.refused for verdict in verdicts)),
            "accepted_when_deleted": sum(verdict.bites for verdict in verdicts),
            "deleted_with_their_bus": with_bus,
            "not_covered": [str(verdict) for verdict in failed[:20]],
            "seconds": seconds,
        },
        "ok": not failed
        and len(verdicts) == planned
        and all(entry["same_claims"] for entry in circuits.values()),
    }


def _plan(name: str, seed: int, runs: int | None) -> tuple[dict[str, Any], list[str]]:
    """Returns what is known of a kind's circuit beforehand, and the claims to try."""
    air = kind_named(name).make_air()
    constraints, messages = claims_of(air)
    names = [*constraints, *messages]
    entry: dict[str, Any] = {
        "circuit": air.name,
        "kinds": [name],
        "constraints": len(constraints),
        "messages": len(messages),
        "claims": len(names),
        "bitten": 0,
        "implied": {},
        "same_claims": False,
        "planned": 0,
    }
    book = _book(name)
    if book is None:
        return entry, []  # its claims count as not covered
    entry["instance"] = book.instance
    entry["same_claims"] = book.same_claims(seed)
    entry["implied"] = book.implied(names)
    chosen = [n for n in names if n not in entry["implied"]]
    random.Random(seed).shuffle(chosen)  # noqa: S311 - reproducible sample
    chosen = chosen[:runs]
    entry["planned"] = len(chosen)
    return entry, chosen


def _breaks_alone(forged: ForgedTrace) -> bool:
    check = _checker(forged.air)
    found = check.check(forged.trace, forged.publics)
    bus = {i.name: i.bus.name for i in check.interactions}.get(forged.claim)
    if bus is None:
        return set(found.violations) == {forged.claim} and not found.unbalanced
    return not found.violations and {name for name, _ in found.unbalanced} == {bus}


def _refusal(key: ProvingKey, forged: ForgedTrace) -> str:
    """Returns why the verifier refuses the proof of a trace; empty if it accepts it."""
    backend = process_backend()
    proof = prove_stark(key, forged.publics, forged.trace, backend, check_witness=False)
    try:
        verify_stark(key.verifying_key, forged.publics, proof.data, backend)
    except ProofError as error:
        return error.reason.value
    return ""


def _whole_key(air: Air, parameters: ProofParameters) -> ProvingKey:
    """Returns the key of an instance, kept by its name."""
    place = (air.name, parameters)
    if place not in _keys:
        _keys[place] = _key(air, parameters)
    return _keys[place]


def _key(air: Air, parameters: ProofParameters) -> ProvingKey:
    return make_proving_key(1, air, parameters, process_backend())


def _checker(air: Air) -> TraceChecker:
    """Returns the direct check of an instance, kept by its name."""
    if air.name not in _checkers:
        _checkers[air.name] = TraceChecker(air, process_backend())
    return _checkers[air.name]


@cache
def _book(kind: str) -> ClaimBook | None:
    return book_of(kind_named(kind).make_air())
