"""`campaign mutate-proofs`: proofs with one thing changed, and bytes that never were proofs; none may be accepted.

Every mutant starts from a real segment proof that is accepted unchanged. Anything but a named refusal, such as
another exception, counts as a failure of the verifier too.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from operators.proof_worker import process_backend
from pipelines.adversary.proof_mutations import (
    MUTATIONS,
    Sections,
    section_places,
    sections_changed,
)
from pipelines.progress import Progress
from pipelines.sample_window import sample_window
from pipelines.shifts import in_parallel
from proving.arithmetic.poseidon2 import NumpyHasher
from proving.errors import ProofError
from proving.kinds import verifying_key
from proving.segment_proofs import SEGMENT_KIND, prove_segment, verify_segment

DEFAULT_RUNS = 10_000
CHUNK = 50


@dataclass(frozen=True, slots=True)
class MutationShift:
    """A piece of a campaign for one process.

    Attributes:
        seed: Seed of the campaign.
        first: Number of its first mutant.
        count: Mutants.
        proof: What is mutated.
        other: A proof of another statement.
    """

    seed: int
    first: int
    count: int
    proof: bytes
    other: bytes

    def run(self) -> dict[str, Any]:
        """Makes the mutants and verifies each; returns counts by mutation and reason, and what was accepted."""
        reasons: Counter[str] = Counter()
        kinds: Counter[str] = Counter()
        sections: Counter[str] = Counter()
        accepted: list[str] = []
        hasher = process_backend()  # bit for bit the NumPy one, and four times as fast
        names = list(MUTATIONS)
        for number in range(self.first, self.first + self.count):
            rng = random.Random(f"{self.seed}/{number}")  # noqa: S311 - reproducible, no secret
            name = names[number % len(names)]
            mutant = MUTATIONS[name](_sections(), self.proof, self.other, rng)
            kinds[name] += 1
            sections.update(sections_changed(_sections(), mutant, self.proof))
            if mutant in (self.proof, self.other):
                reasons["unchanged"] += 1
                continue
            try:
                verify_segment(mutant, hasher)
            except ProofError as error:
                reasons[error.reason.value] += 1
            except Exception as error:
                accepted.append(f"mutant {number} {name}: {type(error).__name__}: {error}")
            else:
                accepted.append(f"mutant {number} {name}: accepted")
        found = {"reasons": reasons, "kinds": kinds, "sections": sections}
        return {**found, "accepted": accepted}


def run_mutations(
    seed: int, runs: int, processes: int, report: Progress, is_stopped: Callable[[], bool]
) -> dict[str, Any]:
    """Runs the campaign.

    Args:
        seed: Of the mutations.
        runs: Mutants.
        processes: Processes side by side.
        report: Progress.
        is_stopped: Ends the campaign after the present pieces.

    Returns:
        The campaign's evidence; `ok` when every mutant was refused by name.
    """
    started = time.monotonic()
    report.phase("two proofs to start from", 2)
    proofs = []
    for number in range(2):
        witness = sample_window(8, seed + number)[0]
        proofs.append(prove_segment(witness, process_backend()).data)
        verify_segment(proofs[-1], NumpyHasher())
        report.advance(1)
    report.phase("mutants", runs)
    reasons: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    sections: Counter[str] = Counter()
    accepted: list[str] = []
    shifts = [
        MutationShift(seed, first, min(CHUNK, runs - first), *proofs)
        for first in range(0, runs, CHUNK)
    ]
    for _, found in in_parallel(shifts, processes, is_stopped):
        reasons += found["reasons"]
        kinds += found["kinds"]
        sections += found["sections"]
        accepted += found["accepted"]
        report.advance(sum(found["kinds"].values()))
    done = kinds.total()
    return {
        "name": "mutate-proofs",
        "seed": seed,
        "runs": done,
        "accepted": len(accepted),
        "evidence": {
            "mutations": dict(sorted(kinds.items())),
            "refused": dict(sorted(reasons.items())),
            "sections": {place.name: sections[place.name] for place in _sections()},
            "accepted": accepted[:20],
            "proof_bytes": len(proofs[0]),
            "seconds": round(time.monotonic() - started, 1),
        },
        "ok": not accepted and done == runs and not reasons["unchanged"],
    }


@cache
def _sections() -> Sections:
    return section_places(verifying_key(SEGMENT_KIND, NumpyHasher()))
