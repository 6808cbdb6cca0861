"""`ecliptica bench rival`: our prover and Plonky3's take turns on the same work, and the ratios of their times.

The rival's driver is Rust source in the checkout's `tests/bench/rival`; it is built once with cargo, for this CPU, in the
folder that keeps compiled code.
Nothing else needs it: without a checkout or cargo this one bench ends with exit code 5.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from operators.proof_worker import process_backend
from pipelines.bench_permutations import (
    DEFAULT_ROWS,
    LANES,
    PermutationProver,
    log_rows,
    proof_parameters,
    refuse_what_does_not_fit,
)
from pipelines.bench_work import BenchWork, Timings
from pipelines.checkout import PACKAGE_ROOT
from pipelines.forge import usable_cores
from proving.arithmetic.modulus import GENERATOR, P
from proving.backends.machine_code import cache_folder
from proving.backends.port import FieldArray
from proving.commitments.merkle import commit_rows
from proving.permutation_air import LANE_COLUMNS
from schemas.errors import EnvironmentMissing, InvariantError

DRIVER = PACKAGE_ROOT / "tests" / "bench" / "rival"
"""Source of the rival's driver; it says there what its commands answer."""

RUST_FLAGS = "-C target-cpu=native"
"""The rival at its best; ours chooses its vectors from the CPU too."""

KERNEL_STATES, KERNEL_PASSES = 1 << 14, 16
KERNEL_LOG_ROWS, KERNEL_COLUMNS, KERNEL_LOG_CAP = 17, 64, 4
"""What the driver's kernels work on, so that ours do the same."""

STOP_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Comparison:
    """The same work on both sides.

    Attributes:
        what: The work.
        amount: How much of it a run does.
        unit: What is counted.
        ours: Our runs.
        rival: The rival's.
    """

    what: str
    amount: int
    unit: str
    ours: Timings
    rival: Timings

    def row(self) -> dict[str, Any]:
        """Returns the line of the table; every ratio is our time over the rival's, below 1 is faster."""
        ours, rival = self.ours.fields(), self.rival.fields()
        names = ("seconds_median", "seconds_min", "cpu_seconds_median")
        median, least, cpu = (round(ours[name] / rival[name], 3) for name in names)
        return {
            "what": self.what,
            "unit": f"{self.unit}/s",
            "ours": round(self.amount / self.ours.median),
            "rival": round(self.amount / self.rival.median),
            "time_ratio": median,
            "least_time_ratio": least,
            "cpu_ratio": cpu,
            "spread_ours": ours["spread"],
            "spread_rival": rival["spread"],
        }


@dataclass(slots=True)
class Rival:
    """The driver's process, asked one command at a time.

    Attributes:
        answers: What it said to each command, by the command's first word.
    """

    process: subprocess.Popen[str]
    answers: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def ask(self, *words: object) -> dict[str, Any]:
        """Sends a command and returns its answer.

        Raises:
            InvariantError: The driver ended instead of answering.
        """
        if self.process.stdin is None or self.process.stdout is None:
            raise InvariantError("the rival has no pipes")
        self.process.stdin.write(" ".join(map(str, words)) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise InvariantError(f"the rival ended at {words[0]!r} with {self.process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        self.answers.setdefault(str(words[0]), []).append(answer)
        return answer

    def timings(self, command: str, name: str) -> Timings:
        """Returns the times under one name of every answer to a command; the first is the warm-up."""
        warm_up, *measured = self.answers[command]
        seconds = tuple(answer[f"{name}_seconds"] for answer in measured)
        cpu_seconds = tuple(answer[f"{name}_cpu_seconds"] for answer in measured)
        return Timings(warm_up[f"{name}_seconds"], seconds, cpu_seconds)


def rival(work: BenchWork) -> dict[str, Any]:
    """Runs both provers in turns on the kernels and on the circuit of permutations."""
    rows = work.rows or DEFAULT_ROWS
    refuse_what_does_not_fit(rows, 2 * LANES)
    work.report.note("building the rival, minutes the first time")
    program = build_driver()
    threads = usable_cores()
    with tempfile.TemporaryDirectory(prefix="ecliptica-rival-") as folder:
        file = Path(folder) / "rival.proof"
        with _started(program, threads) as process:
            opponent = Rival(process)
            kernels = _compare_kernels(work, opponent, threads)
            circuit, prover = _compare_circuits(work, opponent, rows, file)
            peak = _peak_memory_bytes(process.pid)
        ours = prover.verify_apart()
        with _started(program, threads) as process:
            theirs = Rival(process).ask("verify", *_shape(prover), file)
    last = opponent.answers["prove"][-1]
    cells = circuit.amount * LANE_COLUMNS
    return {
        "name": "rival",
        "permutations": circuit.amount,
        **circuit.ours.fields(),
        "table": [comparison.row() for comparison in (*kernels, circuit)],
        "trace_cells_per_second": round(cells / circuit.ours.median),
        "verify_seconds": ours.seconds,
        "proof_bytes": len(prover.proof),
        "proven_bits": ours.proven_bits,
        "verified": bool(theirs["verified"]),
        "rival": {
            **circuit.rival.fields(),
            "trace_cells_per_second": round(cells / circuit.rival.median),
            "verify_seconds": theirs["seconds"],
            "proof_bytes": last["proof_bytes"],
            "proven_bits_by_its_own_calculator": last["proven_bits"],
            "peak_memory_bytes": peak,
        },
        "parameters": {**proof_parameters(prover), "rows": rows, "threads": threads},
    }


def build_driver() -> Path:
    """Builds the driver, or finds it built, and returns the program.

    Raises:
        EnvironmentMissing: There is no checkout or no cargo, or the build failed.
    """
    cargo = shutil.which("cargo")
    if not (DRIVER / "Cargo.toml").is_file():
        raise EnvironmentMissing(
            "the rival's driver is not here: it is no part of the installed package",
            "run the bench from a checkout of the source",
        )
    if cargo is None:
        raise EnvironmentMissing(
            "the rival is built with cargo, which is not on this machine",
            "install Rust (edition 2024, so 1.85 or newer) and run again",
        )
    target = cache_folder() / "rival"
    done = subprocess.run(  # noqa: S603 - the user's own cargo on our own source
        [cargo, "build", "--release", "--quiet", "--target-dir", str(target)],
        cwd=DRIVER,
        env={**os.environ, "RUSTFLAGS": RUST_FLAGS},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.startswith("error")]
        raise EnvironmentMissing(
            f"the rival does not build: {' '.join(said[:2]) or done.returncode}",
            f"run `cargo build --release --target-dir {target}` in {DRIVER} to see all of it",
        )
    return target / "release" / "rival"


@contextmanager
def _started(program: Path, threads: int) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(  # noqa: S603 - built above
        [str(program)],
        env={**os.environ, "RAYON_NUM_THREADS": str(threads)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        if process.stdin is not None:
            process.stdin.close()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _compare_kernels(work: BenchWork, opponent: Rival, threads: int) -> list[Comparison]:
    """Takes turns on permutations (one thread), the extension of columns, and a tree over rows."""
    single, backend = process_backend(), process_backend(threads)
    rng = np.random.default_rng(work.seed)
    states = _residues(rng, 8, KERNEL_STATES)
    columns = _residues(rng, KERNEL_COLUMNS, 1 << KERNEL_LOG_ROWS)
    rows = _residues(rng, KERNEL_COLUMNS, 2 << KERNEL_LOG_ROWS)

    def permute() -> None:
        for _ in range(KERNEL_PASSES):
            single.hash_rows(states)

    def extend() -> None:
        coefficients = backend.interpolate(columns)
        backend.evaluate_on_coset(coefficients, KERNEL_LOG_ROWS + 1, GENERATOR)

    ours = work.interleaved(
        [
            permute,
            extend,
            lambda: commit_rows(backend, rows, KERNEL_LOG_CAP),
            lambda: opponent.ask("kernels"),
        ]
    )
    theirs = [opponent.timings("kernels", name) for name in ("permutations", "extension", "tree")]
    works = (
        ("Poseidon2-16 permutation, one thread", KERNEL_STATES * KERNEL_PASSES, "permutations"),
        ("extension 2^17 to 2^18 of 64 columns", columns.size, "cells"),
        ("Merkle tree over 2^18 rows of 64", rows.size, "cells"),
    )
    return [
        Comparison(*entry, mine, other)
        for entry, mine, other in zip(works, ours, theirs, strict=False)
    ]


def _compare_circuits(
    work: BenchWork, opponent: Rival, rows: int, file: Path
) -> tuple[Comparison, PermutationProver]:
    """Takes turns on the circuit of permutations; making the trace is on neither side's clock."""
    prover = PermutationProver(rows, LANES, work.seed, process_backend(usable_cores()))
    command = ("prove", *_shape(prover), file)
    ours, _ = work.interleaved([prover.prove, lambda: opponent.ask(*command)])
    theirs = opponent.timings("prove", "proof")
    what = f"circuit of permutations, 2^{log_rows(rows)} rows of {LANES}"
    return Comparison(what, prover.air.permutations, "permutations", ours, theirs), prover


def _shape(prover: PermutationProver) -> tuple[int, int, int]:
    parameters = prover.key.verifying_key.parameters
    return prover.air.log_height, parameters.num_queries, parameters.query_pow_bits


def _residues(rng: np.random.Generator, columns: int, rows: int) -> FieldArray:
    drawn: FieldArray = rng.integers(0, P, (columns, rows), dtype=np.uint32)
    return drawn


def _peak_memory_bytes(process: int) -> int | None:
    """Returns the most memory that a running process has held; None where the system does not say."""
    try:
        lines = Path(f"/proc/{process}/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")), None)
