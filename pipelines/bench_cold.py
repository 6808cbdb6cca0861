"""`ecliptica bench cold`: the first proof ever, in a process of its own with nothing compiled before.

Run as `python -m pipelines.bench_cold TRANSACTIONS SEED FILE` it is that process: it proves one segment and says
what took how long. Object code and Python's bytecode go to empty folders; the system's own file cache stays warm.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from operators.proof_worker import process_backend
from pipelines.bench_verdicts import verified_apart
from pipelines.bench_work import BenchWork
from pipelines.forge import usable_cores
from pipelines.sample_window import sample_window
from proving.backends.machine_code import CACHE_VARIABLE
from proving.kinds import proving_key
from proving.segment_proofs import SEGMENT_KIND, prove_segment
from schemas.errors import InvariantError

TARGET_SECONDS = 30.0
"""Aim for the first proof ever on a machine of two cores."""

TIMEOUT_SECONDS = 900.0


@dataclass(frozen=True, slots=True)
class FirstProof:
    """One run of the process.

    Attributes:
        seconds: From its start to its end.
        cpu_seconds: Processor time of all its threads.
        parts: Seconds of the stages that it timed itself.
        proof: What it made.
    """

    seconds: float
    cpu_seconds: float
    parts: dict[str, float]
    proof: bytes


def cold(work: BenchWork) -> dict[str, Any]:
    """Measures the first proof with empty caches and the first of a later process, again and again."""
    first: list[FirstProof] = []
    later: list[FirstProof] = []
    for _ in range(work.repeat):
        with tempfile.TemporaryDirectory(prefix="ecliptica-cold-") as folder:
            first.append(first_proof(Path(folder), work.transactions, work.seed))
            later.append(first_proof(Path(folder), work.transactions, work.seed))
            cached = sum(1 for _ in (Path(folder) / "code").iterdir())
        work.report.advance(1)
    median = statistics.median(run.seconds for run in first)
    return {
        "name": "cold",
        "transactions": work.transactions,
        "seconds_median": round(median, 4),
        "seconds_min": round(min(run.seconds for run in first), 4),
        "cpu_seconds_median": round(statistics.median(run.cpu_seconds for run in first), 4),
        "target_seconds": TARGET_SECONDS,
        "is_within_target": median < TARGET_SECONDS,
        "later_process_seconds_median": round(statistics.median(run.seconds for run in later), 4),
        "later_process_cpu_seconds_median": round(
            statistics.median(run.cpu_seconds for run in later), 4
        ),
        "parts": first[-1].parts,
        "later_process_parts": later[-1].parts,
        "cached_files": cached,
        "proof_bytes": len(first[-1].proof),
        "proven_bits": verified_apart([run.proof for run in (*first, *later)]),
        "verified": True,
        "parameters": {"kind": SEGMENT_KIND, "threads": usable_cores()},
    }


def first_proof(folder: Path, transactions: int, seed: int) -> FirstProof:
    """Proves a segment in a process of its own that keeps its caches in a folder.

    Raises:
        InvariantError: The process failed.
    """
    caches = {CACHE_VARIABLE: str(folder / "code"), "PYTHONPYCACHEPREFIX": str(folder / "bytecode")}
    file = folder / "first.proof"
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    done = subprocess.run(  # noqa: S603 - our own interpreter and module
        [sys.executable, "-m", __name__, str(transactions), str(seed), str(file)],
        env={**os.environ, **caches},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )
    seconds = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or ["no word"]
        raise InvariantError(f"the process of a first proof failed: {last[0]}")
    cpu_seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return FirstProof(seconds, cpu_seconds, json.loads(done.stdout), file.read_bytes())


def _main(write: Callable[[str], Any], transactions: str, seed: str, file: str) -> None:
    marks = [time.perf_counter()]
    backend = process_backend(usable_cores())
    marks.append(time.perf_counter())
    proving_key(SEGMENT_KIND, backend)
    marks.append(time.perf_counter())
    segment = sample_window(int(transactions), int(seed))[0]
    marks.append(time.perf_counter())
    Path(file).write_bytes(prove_segment(segment, backend).data)
    marks.append(time.perf_counter())
    names = ("backend", "proving key", "witness", "proof")
    spent = [end - start for start, end in pairwise(marks)]
    write(json.dumps({name: round(s, 4) for name, s in zip(names, spent, strict=True)}))


if __name__ == "__main__":
    _main(sys.stdout.write, *sys.argv[1:])
