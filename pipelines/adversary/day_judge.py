"""What the light client says of changed files, in a bare interpreter: the worker of `campaign mutate-day`."""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipelines.adversary.day_case import DayCase, read_case, run_of
from pipelines.adversary.day_mutants import DayAttacker
from proving.light.certificate import CertifiedDay, check_certificate, decode_certificate
from proving.light.day import DayFiles, verify_day
from proving.light.errors import ProofError
from proving.light.inclusion import check_inclusion, decode_inclusion
from proving.light.signature_check import PLAIN_PYTHON
from proving.light.wrap import verify_wrap

FILES = (
    *("pipelines/__init__.py", "pipelines/adversary/__init__.py"),
    *("pipelines/adversary/day_case.py", "pipelines/adversary/day_mutants.py"),
    "pipelines/adversary/day_judge.py",
)
"""What a bare interpreter needs beside the light client's files; those import none of these."""

LAUNCHER = (
    "import sys; sys.path.insert(0, '.'); "
    "from pipelines.adversary.day_judge import main; main(sys.argv[1:])"
)
"""Runs this module with `python -I -S -c` in the folder that holds the copies."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the light client said.

    Attributes:
        error: Name of the error; empty if it accepted.
        reason: The error's reason.
        seconds: Wall time.
        cpu_seconds: Processor time.
    """

    error: str
    reason: str
    seconds: float
    cpu_seconds: float


def judge(files: DayFiles) -> Verdict:
    """Verifies files with plain Python; any exception but the client's own is named as what it is."""
    started, cpu = time.perf_counter(), time.process_time()
    error = reason = ""
    try:
        verify_day(files, PLAIN_PYTHON)
    except ProofError as refused:
        error, reason = type(refused).__name__, str(refused.reason)
    except Exception as failed:
        error, reason = f"not a refusal: {type(failed).__name__}", str(failed)
    return Verdict(error, reason, time.perf_counter() - started, time.process_time() - cpu)


def main(arguments: Sequence[str]) -> None:
    """Runs as a process of its own: `mutants SEED FIRST COUNT STRIDE`, or `measure WHAT`, in a folder with `case`."""
    what, *rest = arguments
    case = read_case(Path("case"))
    if what == "measure":
        _say(measure(case, rest[0]))
        return
    seed, first, count, stride = map(int, rest)
    kinds: dict[str, dict[str, dict[str, float]]] = {}
    sampled: dict[int, tuple[str, str]] = {}
    accepted: list[str] = []
    attacker, before = DayAttacker(case, seed), peak_bytes()
    for number in range(first, first + count):
        made = attacker.mutant(number)
        verdict = judge(made.files)
        if verdict.error not in ("ProofMalformed", "ProofRejected"):
            accepted.append(f"mutant {number} {made.kind}: {verdict.error or 'accepted'}")
        if number % stride == 0:
            sampled[number] = (verdict.error, verdict.reason)
        entry = kinds.setdefault(made.kind, {}).setdefault(
            verdict.reason or "accepted", {"count": 0, "seconds": 0.0, "cpu_seconds": 0.0}
        )
        entry["count"] += 1
        entry["seconds"] = max(entry["seconds"], verdict.seconds)
        entry["cpu_seconds"] = max(entry["cpu_seconds"], verdict.cpu_seconds)
    _say(
        {
            "kinds": kinds,
            "sampled": sampled,
            "accepted": accepted,
            "memory_before": before,
            "memory_peak": peak_bytes(),
            "foreign_modules": foreign_modules(),
        }
    )


def measure(case: DayCase, what: str) -> dict[str, float | int]:
    """Checks a part of the honest day once, in this process: `start` for nothing, a part's name, or `all`.

    Raises:
        ProofError: It does not hold.
    """
    check = _checks(case)[what]
    started, cpu = time.perf_counter(), time.process_time()
    check()
    return {
        "seconds": round(time.perf_counter() - started, 6),
        "cpu_seconds": round(time.process_time() - cpu, 6),
        "peak_memory_bytes": peak_bytes(),
    }


def _checks(case: DayCase) -> dict[str, Callable[[], object]]:
    files = case.honest()

    def certified() -> CertifiedDay:
        return check_certificate(decode_certificate(files.certificate), PLAIN_PYTHON)

    checks: dict[str, Callable[[], object]] = {
        "start": lambda: None,
        "proof": lambda: verify_wrap(files.proof),
        "certificate": certified,
        "all": lambda: verify_day(files, PLAIN_PYTHON),
    }
    path = files.inclusion
    if path is not None:
        run = run_of(decode_certificate(files.certificate))
        checks["inclusion"] = lambda: check_inclusion(decode_inclusion(path), run)
    return checks


def peak_bytes() -> int:
    """Returns the most memory that this process has held; where the system tells only that of its ancestry too, that."""
    try:
        lines = Path("/proc/self/status").read_text("ascii", "replace").splitlines()
    except OSError:
        lines = []
    for line in lines:
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def foreign_modules() -> list[str]:
    """Returns the packages that were imported and are neither the standard library's nor copied here."""
    own = {"__main__", "pipelines", "proving", "schemas"}
    return sorted(
        {name.partition(".")[0] for name in sys.modules} - set(sys.stdlib_module_names) - own
    )


def _say(fields: Mapping[str, object]) -> None:
    sys.stdout.write(json.dumps(fields) + "\n")
    sys.stdout.flush()
