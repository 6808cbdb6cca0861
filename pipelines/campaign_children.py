"""`campaign mutate-children`: changed proofs before the native verifier and before the pyramid's own circuits.

Every mutant starts from a real proof of a kind that a circuit of the pyramid verifies. The shipped programs run on
it, all slots with a mutant each, and nothing else is asked of them than what they say about the proof. Both
verifiers must refuse every mutant, for the same reason at the same place.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from operators.proof_worker import process_backend
from pipelines.adversary.child_slots import child_slots
from pipelines.adversary.circuit_verdicts import ACCEPTED, Verdict, native_verdict, unreadable
from pipelines.adversary.proof_mutations import MUTATIONS, Sections, section_places
from pipelines.progress import Progress
from pipelines.sample_children import sample_children
from pipelines.shifts import in_parallel
from proving.errors import ProvingError
from proving.kinds import verifying_key
from proving.recursion.day import DAY_SLOTS
from proving.recursion.epoch import EPOCH_SLOTS
from proving.recursion.global_proofs import DAY_KIND, EPOCH_KIND
from proving.recursion.join import JOIN_SLOTS
from proving.recursion.lift import LARGE_LIFT_SLOTS, LIFT_SLOTS
from proving.recursion.span_proofs import JOIN_KIND, LARGE_LIFT_KIND, LIFT_KIND, SPAN_KINDS
from proving.recursion.wrap import WRAP_KIND

DEFAULT_RUNS = 10_000

SHARES: Mapping[str, int] = {
    LIFT_KIND: 36,
    JOIN_KIND: 28,
    DAY_KIND: 22,
    EPOCH_KIND: 11,
    WRAP_KIND: 2,
    LARGE_LIFT_KIND: 1,
}
"""Of a hundred mutants, those before the circuit of each kind; one run of a lift of a large segment takes a second."""

SLOTS: Mapping[str, int] = {
    LIFT_KIND: LIFT_SLOTS,
    JOIN_KIND: JOIN_SLOTS,
    DAY_KIND: DAY_SLOTS,
    EPOCH_KIND: EPOCH_SLOTS,
    WRAP_KIND: 1,
    LARGE_LIFT_KIND: LARGE_LIFT_SLOTS,
}
"""Proofs that each circuit verifies."""

RUNS_PER_SHIFT = 4
"""Runs of a circuit that one piece of the campaign makes."""

MALFORMED_EVERY = 8
"""Of so many mutants of a shift, one may be bytes that cannot be read as a proof; the others are made again."""

RECURSIVE = (*SPAN_KINDS, EPOCH_KIND, DAY_KIND)
"""Kinds whose proofs have one layout, so that pieces of one can be put into another."""

NOT_COVERED = (
    "proofs of kind wrap: no circuit verifies them",
    "fold_mismatch and final_polynomial: a changed proof fails at a path before; they take a prover that cheats",
)
"""What no mutant tries."""

Proofs = Mapping[str, tuple[bytes, ...]]
"""Kind -> honest proofs."""

_given: dict[str, tuple[bytes, ...]] = {}
"""What this process mutates."""


@dataclass(slots=True)
class ChildFindings:
    """What a piece of the campaign found.

    Attributes:
        reasons: Reason on which both agree -> mutants.
        places: Reason and place without the query -> mutants.
        kinds: Kind of the mutated proof -> mutants.
        mutations: Kind of change -> mutants.
        unread: Reason why bytes could not be read as a proof, and so were given to no circuit -> mutants.
        accepted: Mutants that either verifier accepts.
        disagreements: Mutants of which they do not say the same.
    """

    reasons: Counter[str] = field(default_factory=Counter)
    places: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    mutations: Counter[str] = field(default_factory=Counter)
    unread: Counter[str] = field(default_factory=Counter)
    accepted: list[str] = field(default_factory=list)
    disagreements: list[str] = field(default_factory=list)

    def add(self, other: ChildFindings) -> None:
        """Takes in another piece's."""
        self.reasons += other.reasons
        self.places += other.places
        self.kinds += other.kinds
        self.mutations += other.mutations
        self.unread += other.unread
        self.accepted += other.accepted
        self.disagreements += other.disagreements

    def compare(self, name: str, native: Verdict, circuit: Verdict) -> None:
        """Counts a mutant that both have judged."""
        if ACCEPTED in (native.reason, circuit.reason):
            self.accepted.append(f"{name}: native {native}, circuit {circuit}")
        if native != circuit:
            self.disagreements.append(f"{name}: native {native}, circuit {circuit}")
            return
        self.reasons[native.reason] += 1
        self.places[f"{native.reason} at {native.where.partition('/query')[0]}"] += 1


@dataclass(frozen=True, slots=True)
class ChildShift:
    """A piece of a campaign for one process.

    Attributes:
        program: Kind whose circuit judges.
        seed: Seed of the campaign.
        first: Number of its first mutant.
        count: Mutants.
    """

    program: str
    seed: int
    first: int
    count: int

    def run(self) -> ChildFindings:
        """Makes the mutants and has both verifiers judge each."""
        found = ChildFindings()
        hasher = process_backend()
        slots = child_slots(self.program, hasher)
        readable: list[tuple[str, str, bytes]] = []
        for number in range(self.first, self.first + self.count):
            rng = random.Random(f"{self.seed}/{number}")  # noqa: S311 - reproducible, no secret
            kind = rng.choice([one for one in slots.kinds if _given.get(one)])
            name, mutant = self._mutant(kind, number, rng)
            found.kinds[kind] += 1
            found.mutations[name] += 1
            refusal = unreadable(verifying_key(kind, hasher), mutant)
            if refusal is None:
                readable.append((f"mutant {number} {name} of {kind}", kind, mutant))
            else:
                found.unread[refusal.reason] += 1
        for start in range(0, len(readable), slots.verifier.slots):
            self._judge(readable[start : start + slots.verifier.slots], found)
        return found

    def _mutant(self, kind: str, number: int, rng: random.Random) -> tuple[str, bytes]:
        key, places = verifying_key(kind, process_backend()), _places(kind)
        while True:
            name, mutant = mutant_of(kind, places, _given, rng)
            if number % MALFORMED_EVERY == 0 or unreadable(key, mutant) is None:
                return name, mutant

    def _judge(self, mutants: Sequence[tuple[str, str, bytes]], found: ChildFindings) -> None:
        hasher = process_backend()
        slots = child_slots(self.program, hasher)
        filled = [proof for _, _, proof in mutants]
        filled += [filled[-1]] * (slots.verifier.slots - len(filled))
        natives = [native_verdict(verifying_key(kind, hasher), p, hasher) for _, kind, p in mutants]
        try:
            said = slots.verdicts(filled, hasher)
        except ProvingError as error:
            said = [Verdict(str(error))] * len(filled)
        for (name, _, _), native, circuit in zip(mutants, natives, said, strict=False):
            found.compare(name, native, circuit)


def mutant_of(kind: str, places: Sections, given: Proofs, rng: random.Random) -> tuple[str, bytes]:
    """Returns a random change of a random proof of a kind: the change's name and bytes that are no honest proof."""
    proofs = given[kind]
    others = [proof for one in RECURSIVE for proof in given[one]] if kind in RECURSIVE else proofs
    while True:
        name = rng.choice(tuple(MUTATIONS))
        proof = rng.choice(proofs)
        other = rng.choice([one for one in others if one != proof])
        mutant = MUTATIONS[name](places, proof, other, rng)
        if mutant not in others:
            return name, mutant


def run_children(
    seed: int,
    runs: int,
    processes: int,
    report: Progress,
    is_stopped: Callable[[], bool],
    *,
    may_end_early: bool = False,
) -> dict[str, Any]:
    """Runs the campaign.

    Args:
        seed: Of the mutations.
        runs: Mutants.
        processes: Processes side by side.
        report: Progress.
        is_stopped: Ends the campaign after the present pieces.
        may_end_early: Whether a part of the mutants is enough.

    Returns:
        The campaign's evidence; `ok` when every mutant was refused by both verifiers for the same reason.
    """
    started = time.monotonic()
    sample = sample_children(seed, process_backend(), report, is_stopped)
    found = ChildFindings()
    honest: dict[str, int] = {}
    made = round(time.monotonic() - started, 1)
    if sample is not None:
        given = dict(sample.by_kind())
        remember(given)
        report.phase("honest proofs", len(SHARES))
        for program in SHARES:
            honest[program] = honest_verdicts(program)
            report.advance(1)
        report.phase("mutants", runs)
        shifts = shifts_of(seed, runs)
        for _, part in in_parallel(shifts, processes, is_stopped, remember, (given,)):
            found.add(part)
            report.advance(part.mutations.total())
    evidence = children_evidence(seed, found, honest, (made, time.monotonic() - started))
    done = evidence["runs"]
    evidence["ok"] &= (done > 0 if may_end_early else done == runs) and len(honest) == len(SHARES)
    return evidence


def children_evidence(
    seed: int,
    found: ChildFindings,
    honest: Mapping[str, int],
    seconds: tuple[float, float],
) -> dict[str, Any]:
    """Returns a campaign's evidence; `ok` when nothing was accepted that is not honest and both say the same."""
    return {
        "name": "mutate-children",
        "seed": seed,
        "runs": found.mutations.total(),
        "accepted": len(found.accepted),
        "evidence": {
            "disagreements": len(found.disagreements),
            "refused_by_both": dict(sorted(found.reasons.items())),
            "places": dict(sorted(found.places.items())),
            "unreadable": dict(sorted(found.unread.items())),
            "kinds": dict(sorted(found.kinds.items())),
            "mutations": dict(sorted(found.mutations.items())),
            "honest_accepted": dict(honest),
            "accepted": found.accepted[:20],
            "disagreed": found.disagreements[:20],
            "not_covered": list(NOT_COVERED),
            "seconds_of_proofs": seconds[0],
            "seconds": round(seconds[1], 1),
        },
        "ok": not found.accepted and not found.disagreements and all(honest.values()),
    }


def remember(given: Proofs) -> None:
    """Takes the honest proofs that this process mutates."""
    _given.update(given)


def honest_verdicts(program: str) -> int:
    """Returns how many honest proofs both verifiers accept, those of every kind that a circuit takes; 0 if not all."""
    hasher = process_backend()
    slots = child_slots(program, hasher)
    proofs = [(kind, proof) for kind in slots.kinds for proof in _given[kind]]
    accepted = 0
    for start in range(0, len(proofs), slots.verifier.slots):
        part = proofs[start : start + slots.verifier.slots]
        filled = [proof for _, proof in part]
        filled += [filled[-1]] * (slots.verifier.slots - len(filled))
        said = slots.verdicts(filled, hasher)[: len(part)]
        said += [native_verdict(verifying_key(kind, hasher), p, hasher) for kind, p in part]
        if any(verdict.reason != ACCEPTED for verdict in said):
            return 0
        accepted += len(part)
    return accepted


def shifts_of(seed: int, runs: int) -> list[ChildShift]:
    """Returns the pieces of a campaign: each circuit's share, in runs of whole slots; long ones first."""
    counts = {program: runs * share // 100 for program, share in SHARES.items()}
    counts[LIFT_KIND] += runs - sum(counts.values())
    shifts: list[ChildShift] = []
    first = 0
    for program, count in sorted(counts.items(), key=lambda entry: SLOTS[entry[0]]):
        size = RUNS_PER_SHIFT * SLOTS[program]
        shifts += [
            ChildShift(program, seed, first + start, min(size, count - start))
            for start in range(0, count, size)
        ]
        first += count
    return shifts


@cache
def _places(kind: str) -> Sections:
    return section_places(verifying_key(kind, process_backend()))
