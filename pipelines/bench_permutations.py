"""`ecliptica bench permutations` and `scaling`: a circuit of Poseidon2 permutations, proven and verified apart.

Run as `python -m pipelines.bench_permutations ROWS LANES FILE` it verifies one such proof: the process makes the
key from the circuit alone and shares nothing with the one that proved.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from operators.proof_worker import process_backend
from pipelines.bench_verdicts import module_says
from pipelines.bench_work import BenchWork, available_memory_bytes
from pipelines.forge import usable_cores
from proving.arithmetic.modulus import PERMUTATION_WIDTH, P
from proving.arithmetic.poseidon2 import NumpyHasher
from proving.backends.port import Backend, FieldArray
from proving.permutation_air import LANE_COLUMNS, LOG_BLOWUP, PermutationAir, permutation_key
from proving.prover import PhaseSpan, prove_stark
from proving.stark.setup import ProvingKey
from proving.stark.soundness import MINIMUM_PROVEN_BITS
from proving.verifier import AcceptancePolicy, KeyRing, verify
from schemas.errors import ParameterError

LANES = 8
"""Permutations in a row, as many as the rival has."""

DEFAULT_ROWS = 1 << 15
LEAST_ROWS = 1 << 4
"""Fewer leave nothing to fold."""

LEAST_SCALED_ROWS = 1 << 10
DEFAULT_MOST_ROWS = 1 << 20

FITTED_FROM_ROWS = 1 << 12
"""The slope is fitted from here on: below, query grinding is most of the time."""

WORDS_PER_CELL = 3 + (1 << LOG_BLOWUP)
"""Words of memory per trace cell: trace, coefficients, extension, and one more for trees, quotient and copies."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the verifying process said.

    Attributes:
        proven_bits: Soundness of the key.
        seconds: Time of the check alone.
    """

    proven_bits: int
    seconds: float


@dataclass(frozen=True, slots=True)
class PhaseTime:
    """Wall and processor seconds of a phase."""

    seconds: float
    cpu_seconds: float


class PermutationProver:
    """Proves one shape again and again; the last proof, trace time and phases are kept."""

    def __init__(self, rows: int, lanes: int, seed: int, backend: Backend) -> None:
        """Makes key and inputs.

        Raises:
            ParameterError: `rows` is no power of two from 16 on, or exceeds what the field allows.
        """
        self.air = PermutationAir(log_rows(rows), lanes)
        started = time.perf_counter()
        self.key: ProvingKey = permutation_key(self.air, MINIMUM_PROVEN_BITS, backend)
        self.key_seconds = time.perf_counter() - started
        self.trace_seconds: list[float] = []
        self.spans: list[dict[str, PhaseTime]] = []
        self.proof = b""
        self._backend = backend
        rng = np.random.default_rng(seed)
        shape = (lanes, PERMUTATION_WIDTH, rows)
        self._inputs: FieldArray = rng.integers(0, P, shape, dtype=np.uint32)
        self._trace = self.make_trace()

    def make_trace(self) -> FieldArray:
        """Returns the trace, and takes the time of it."""
        started = time.perf_counter()
        trace = self.air.trace(self._inputs, self._backend)
        self.trace_seconds.append(time.perf_counter() - started)
        return trace

    def prove(self) -> None:
        """Makes one proof of the trace."""
        spans: dict[str, PhaseTime] = {}
        mark = time.process_time()

        def on_phase(span: PhaseSpan) -> None:
            nonlocal mark
            now = time.process_time()
            spans[span.name] = PhaseTime(span.seconds, now - mark)
            mark = now

        self.proof = prove_stark(self.key, (), self._trace, self._backend, on_phase).data
        self.spans.append(spans)

    def phases(self) -> dict[str, float]:
        """Returns the median seconds per phase over the measured proofs."""
        measured = self.spans[1:]
        return {
            name: round(statistics.median(spans[name].seconds for spans in measured), 6)
            for name in measured[0]
        }

    def cpu_seconds_without_queries(self) -> float:
        """Returns the median processor time of all phases but the last, whose grinding is a matter of luck."""
        sums = [
            sum(spent.cpu_seconds for name, spent in spans.items() if name != "queries")
            for spans in self.spans[1:]
        ]
        return round(statistics.median(sums), 6)

    def verify_apart(self) -> Verdict:
        """Verifies the last proof in a process of its own.

        Raises:
            InvariantError: It does not hold.
        """
        rows = str(1 << self.air.log_height)
        said = module_says(__name__, [self.proof], rows, str(self.air.lanes))
        return Verdict(**json.loads(said))


def log_rows(rows: int) -> int:
    """Returns the base-2 logarithm of a number of rows.

    Raises:
        ParameterError: It is no power of two, or below 16.
    """
    if rows < LEAST_ROWS or rows & (rows - 1):
        raise ParameterError(f"rows are a power of two from {LEAST_ROWS} on, got {rows}")
    return rows.bit_length() - 1


def needed_memory_bytes(rows: int, lanes: int) -> int:
    """Returns about how much memory a proof takes."""
    return 4 * WORDS_PER_CELL * LANE_COLUMNS * lanes * rows


def permutations(work: BenchWork) -> dict[str, Any]:
    """Proves a circuit of permutations of the rival's shape: permutations and trace cells per second."""
    rows = work.rows or DEFAULT_ROWS
    refuse_what_does_not_fit(rows, LANES)
    threads = usable_cores()
    backend = process_backend(threads)
    prover = PermutationProver(rows, LANES, work.seed, backend)
    timings = work.timed(prover.prove)
    traces = work.timed(prover.make_trace)
    verdict = prover.verify_apart()
    count = prover.air.permutations
    return {
        "name": "permutations",
        "permutations": count,
        **timings.fields(),
        "permutations_per_second": round(count / timings.median),
        "trace_cells_per_second": round(count * LANE_COLUMNS / timings.median),
        "trace_seconds": round(traces.median, 6),
        "key_seconds": round(prover.key_seconds, 6),
        "verify_seconds": verdict.seconds,
        "phases": prover.phases(),
        "proof_bytes": len(prover.proof),
        "proven_bits": verdict.proven_bits,
        "verified": True,
        "parameters": {
            **proof_parameters(prover),
            "rows": rows,
            "backend": backend.describe(),
            "threads": threads,
        },
    }


def scaling(work: BenchWork) -> dict[str, Any]:
    """Proves one lane of permutations at 2^10 rows and on, and fits how the time grows."""
    most = work.rows or DEFAULT_MOST_ROWS
    log_rows(most)
    threads = usable_cores()
    backend = process_backend(threads)
    points: list[dict[str, Any]] = []
    skipped: list[dict[str, Any]] = []
    rows = min(LEAST_SCALED_ROWS, most)
    while rows <= most:
        if needed_memory_bytes(rows, 1) > available_memory_bytes():
            skipped.append({"rows": rows, "needed_bytes": needed_memory_bytes(rows, 1)})
        else:
            points.append(_scaled_point(work, rows, backend))
            work.report.note(f"{rows} rows: {points[-1]['permutations_per_second']} a second")
        rows *= 2
    if not points:
        refuse_what_does_not_fit(min(LEAST_SCALED_ROWS, most), 1)
    fitted = [point for point in points if point["rows"] >= FITTED_FROM_ROWS] or points
    largest = points[-1]
    return {
        "name": "scaling",
        "permutations": sum(point["rows"] for point in points),
        "seconds_median": largest["seconds_median"],
        "seconds_min": largest["seconds_min"],
        "slope": slope(fitted, "seconds_median"),
        "slope_without_queries": slope(fitted, "seconds_without_queries"),
        "cpu_slope_without_queries": slope(fitted, "cpu_seconds_without_queries"),
        "fitted_from_rows": fitted[0]["rows"],
        "points": points,
        "skipped_for_memory": skipped,
        "proof_bytes": largest["proof_bytes"],
        "proven_bits": min(point["proven_bits"] for point in points),
        "verified": True,
        "parameters": {"lanes": 1, "backend": backend.describe(), "threads": threads},
    }


def _scaled_point(work: BenchWork, rows: int, backend: Backend) -> dict[str, Any]:
    prover = PermutationProver(rows, 1, work.seed, backend)
    timings = work.timed(prover.prove)
    verdict = prover.verify_apart()
    phases = prover.phases()
    return {
        "rows": rows,
        **timings.fields(),
        "permutations_per_second": round(rows / timings.median),
        "seconds_without_queries": round(sum(phases.values()) - phases["queries"], 6),
        "cpu_seconds_without_queries": prover.cpu_seconds_without_queries(),
        "trace_seconds": round(statistics.median(prover.trace_seconds), 6),
        "phases": phases,
        "verify_seconds": verdict.seconds,
        "proof_bytes": len(prover.proof),
        "proven_bits": verdict.proven_bits,
        **proof_parameters(prover),
    }


def slope(points: list[dict[str, Any]], key: str) -> float | None:
    """Returns the exponent e of time ~ rows^e by least squares of the logarithms; None below two points."""
    if len(points) < 2:
        return None
    rows = np.log2([float(point["rows"]) for point in points])
    seconds = np.log2([max(float(point[key]), 1e-9) for point in points])
    return round(float(np.polyfit(rows, seconds, 1)[0]), 4)


def proof_parameters(prover: PermutationProver) -> dict[str, Any]:
    """Returns the parameters of the proof system, for a record."""
    parameters = asdict(prover.key.verifying_key.parameters)
    kept: Mapping[str, int] = {name: value for name, value in parameters.items() if value}
    return {**kept, "columns": prover.air.num_main}


def refuse_what_does_not_fit(rows: int, lanes: int) -> None:
    """Checks that a proof fits into memory.

    Raises:
        ParameterError: It does not.
    """
    needed, free = needed_memory_bytes(rows, lanes), available_memory_bytes()
    if needed > free:
        raise ParameterError(
            f"{rows} rows of {lanes} lanes need about {needed >> 20} MiB, {free >> 20} are free",
            "take fewer --rows",
        )


def check_proof(rows: int, lanes: int, proof: bytes) -> Verdict:
    """Verifies a proof of this circuit.

    Raises:
        ProofMalformed: The bytes are no proof under the circuit's key.
        ProofRejected: They are, of something that does not hold.
    """
    hasher = NumpyHasher()
    air = PermutationAir(log_rows(rows), lanes)
    key = permutation_key(air, MINIMUM_PROVEN_BITS, hasher).verifying_key
    policy = AcceptancePolicy(KeyRing.of([key]), hasher)
    started = time.perf_counter()
    verdict = verify(proof, policy)
    return Verdict(verdict.proven_bits, round(time.perf_counter() - started, 6))


def _main(write: Callable[[str], Any], rows: str, lanes: str, file: str) -> None:
    verdict = check_proof(int(rows), int(lanes), Path(file).read_bytes())
    write(json.dumps(asdict(verdict)))


if __name__ == "__main__":
    _main(sys.stdout.write, *sys.argv[1:])
