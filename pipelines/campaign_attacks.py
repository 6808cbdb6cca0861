"""`campaign inflate`, `theft`, `double-spend`: seeded attacks by aim on circuit, prover and validators.

Each run takes honest random traffic and a randomly chosen attack with random numbers. Attacks on the circuit
forge a trace, which every row's constraints and the buses judge; some are also proven by a prover that was
told not to refuse, and judged by the verifier. Attacks on blocks, signatures and witnesses, and on what shards send to
each other, meet the checks that validators, admission and provers run.
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
from pipelines.adversary.block_attacks import BLOCK_ATTACKS
from pipelines.adversary.crossing_attacks import CROSSING_ATTACKS
from pipelines.adversary.honest_traffic import Base, base
from pipelines.adversary.ledger_edits import AIR, checker
from pipelines.adversary.ledger_forgery import Forgery
from pipelines.adversary.trace_attacks import FINISHED_ATTACKS, LANE_ATTACKS
from pipelines.progress import Progress
from pipelines.shifts import in_parallel
from proving.errors import ProofError
from proving.kinds import kind_named
from proving.prover import prove_stark
from proving.segment_proofs import SEGMENT_KIND
from proving.stark.check import verify_stark
from proving.stark.setup import ProvingKey, make_proving_key

AIMS = tuple(LANE_ATTACKS)
DEFAULT_RUNS = 1000
CHUNK = 40
"""Runs of one process that share their honest traffic."""

PROVE_EVERY = 20
"""Of so many runs, one forged trace goes through prover and verifier: half a second each."""

NOT_COVERED = {
    "inflate": ("turnstiles of the private tiers, which are not built",),
    "theft": ("spending notes of the private tiers, which are not built",),
    "double-spend": ("nullifiers spent twice: the private tiers are not built",),
}
"""What an aim would also mean and no attack here tries."""


@dataclass(frozen=True, slots=True)
class AttackResult:
    """What became of an attack.

    Attributes:
        attack: Its name.
        refused: Constraints and buses, or checks, that refused it; empty if it was accepted.
        verifier: The verifier's reason; empty if it accepted, None if it was not asked.
    """

    attack: str
    refused: tuple[str, ...]
    verifier: str | None

    @property
    def is_accepted(self) -> bool:
        """Whether it got through anywhere."""
        return not self.refused or self.verifier == ""


@dataclass(frozen=True, slots=True)
class AttackShift:
    """A piece of a campaign for one process.

    Attributes:
        aim: What the attacks are for.
        seed: Seed of the campaign.
        first: Number of its first run.
        count: Runs.
    """

    aim: str
    seed: int
    first: int
    count: int

    def run(self) -> list[AttackResult]:
        """Makes the attacks on one piece of honest traffic."""
        given = base(f"{self.seed}/{self.first}")
        return [
            attack(self.aim, given, random.Random(f"{self.seed}/{self.aim}/{n}"), n)  # noqa: S311
            for n in range(self.first, self.first + self.count)
        ]


def attack(aim: str, given: Base, rng: random.Random, number: int) -> AttackResult:
    """Makes one random attack.

    Args:
        aim: One of `AIMS`.
        given: Honest traffic.
        rng: Of the attack's choice and numbers.
        number: Of the run; every `PROVE_EVERY`-th forged trace is proven too.
    """
    lane, finished = LANE_ATTACKS[aim], FINISHED_ATTACKS[aim]
    block = (*BLOCK_ATTACKS[aim], *CROSSING_ATTACKS[aim])
    place = rng.randrange(len(lane) + len(finished) + len(block))
    if place >= len(lane) + len(finished):
        chosen = block[place - len(lane) - len(finished)]
        reason = chosen(given, rng)
        return AttackResult(chosen.__name__, () if reason is None else (reason,), None)
    forged = given.forgery()
    if place < len(lane):
        forge = lane[place]
        forge(forged, rng)
        forged.finish()
    else:
        forge = finished[place - len(lane)]
        forged.finish()
        forge(forged, rng)
    report = checker(AIR).check(forged.trace, forged.publics)
    buses = {f"bus {bus}" for bus, _ in report.unbalanced}
    refused = tuple(sorted({*report.violations, *buses}))
    verifier = _verifier_says(forged) if number % PROVE_EVERY == 0 else None
    return AttackResult(forge.__name__, refused, verifier)


def run_attacks(
    seed: int,
    runs: int,
    processes: int,
    report: Progress,
    is_stopped: Callable[[], bool],
    *,
    aim: str,
) -> dict[str, Any]:
    """Runs a campaign.

    Args:
        seed: Of the attacks.
        runs: Attacks.
        processes: Processes side by side.
        report: Progress.
        is_stopped: Ends the campaign after the present pieces.
        aim: One of `AIMS`.

    Returns:
        The campaign's evidence; `ok` when every attack was refused.
    """
    started = time.monotonic()
    report.phase("attacks", runs)
    shifts = [
        AttackShift(aim, seed, first, min(CHUNK, runs - first)) for first in range(0, runs, CHUNK)
    ]
    results: list[AttackResult] = []
    for _, found in in_parallel(shifts, processes, is_stopped):
        results += found
        report.advance(len(found))
    accepted = [result for result in results if result.is_accepted]
    refused = Counter(name for result in results for name in result.refused)
    asked = Counter(result.verifier for result in results if result.verifier is not None)
    return {
        "name": aim,
        "seed": seed,
        "runs": len(results),
        "accepted": len(accepted),
        "evidence": {
            "attacks": dict(sorted(Counter(result.attack for result in results).items())),
            "refused_by": dict(sorted(refused.items())),
            "verifier": dict(asked),
            "circuit": AIR.name,
            "accepted": [str(result) for result in accepted[:20]],
            "not_covered": list(NOT_COVERED[aim]),
            "seconds": round(time.monotonic() - started, 1),
        },
        "ok": not accepted and len(results) == runs,
    }


def _verifier_says(forged: Forgery) -> str:
    backend, key = process_backend(), _key()
    proof = prove_stark(key, forged.publics, forged.trace, backend, check_witness=False)
    try:
        verify_stark(key.verifying_key, forged.publics, proof.data, backend)
    except ProofError as error:
        return error.reason.value
    return ""


@cache
def _key() -> ProvingKey:
    parameters = replace(kind_named(SEGMENT_KIND).parameters, log_final_length=1)
    return make_proving_key(1, AIR, parameters, process_backend())
