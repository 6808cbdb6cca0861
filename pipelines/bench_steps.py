"""`ecliptica bench steps`: a window's proofs by the steps of the mission's table, CPU and GPU side by side."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from operators.proof_worker import open_backend
from pipelines.bench_aggregation import aggregate, verify_aggregate_apart
from pipelines.bench_verdicts import verified_apart
from pipelines.bench_work import BenchWork, Stopwatch
from pipelines.forge import usable_cores
from pipelines.sample_window import sample_window
from proving.backends.port import Backend
from proving.kinds import kind_named
from proving.ledger.witness import SegmentWitness
from proving.prover import PhaseSpan
from proving.segment_proofs import SEGMENT_KIND, prove_segment
from schemas.errors import EclipticaError

CIRCUIT_BUILD, TRACE, COMMITMENTS, FRI = "circuit build", "trace generation", "commitments", "FRI"
AGGREGATION = "aggregation"

STEP_OF_PHASE: Mapping[str, str] = {
    "witness": TRACE,
    "trace": COMMITMENTS,
    "lookups": COMMITMENTS,
    "quotient": COMMITMENTS,
    "openings": FRI,
    "fri": FRI,
    "queries": FRI,
}
"""Where a phase of the prover belongs. The quotient is computed and committed in one phase."""

STEPS = (CIRCUIT_BUILD, TRACE, COMMITMENTS, FRI, AGGREGATION)


@dataclass(frozen=True, slots=True)
class StepTimes:
    """One backend's column.

    Attributes:
        seconds: Median seconds per step for the whole window; the segments' circuit is built once, that of the
            aggregation in the warm-up. A step that is left out is not there.
        total: Median seconds of proving, the circuit at hand.
        fields: Summary of the runs for the record.
        proofs: The segments' of the last run.
        aggregate: The one proof of the last run, or None if aggregation is left out.
    """

    seconds: Mapping[str, float]
    total: float
    fields: Mapping[str, float]
    proofs: Sequence[bytes]
    aggregate: bytes | None

    def verify_apart(self) -> int:
        """Has all proofs verified by other processes; returns the least proven bits."""
        bits = verified_apart(self.proofs)
        if self.aggregate is None:
            return bits
        return min(bits, verify_aggregate_apart(self.aggregate, self.proofs))


def steps(work: BenchWork) -> dict[str, Any]:
    """Measures every step on the CPU, and on the GPU where there is one."""
    segments = sample_window(work.transactions, work.seed)
    threads = usable_cores()
    cpu = _measure(work, segments, open_backend("cpu", threads))
    gpu_backend, why_not = _gpu()
    gpu = None if gpu_backend is None else _measure(work, segments, gpu_backend)
    bits = min(column.verify_apart() for column in (cpu, gpu) if column is not None)
    notes = [] if gpu else [f"GPU: not measured, {why_not}"]
    if not work.aggregates:
        notes.append(f"{AGGREGATION}: left out")
    return {
        "name": "steps",
        "transactions": work.transactions,
        **cpu.fields,
        "segments": len(segments),
        "table": [_row(step, cpu, gpu) for step in STEPS],
        "notes": notes,
        "gpu_seconds_median": None if gpu is None else gpu.total,
        "proof_bytes": max(map(len, cpu.proofs)),
        "aggregate_bytes": None if cpu.aggregate is None else len(cpu.aggregate),
        "proven_bits": bits,
        "verified": True,
        "parameters": {"kind": SEGMENT_KIND, "threads": threads},
    }


def _measure(work: BenchWork, segments: Sequence[SegmentWitness], backend: Backend) -> StepTimes:
    proofs: list[bytes] = []
    spans: list[PhaseSpan] = []
    measured: list[dict[str, float]] = []
    watch, aggregated = Stopwatch(), None

    def prove() -> None:
        proofs[:] = [prove_segment(one, backend, spans.append).data for one in segments]

    for _ in range(work.repeat + 1):
        spans.clear()
        started = time.perf_counter()
        kind_named(SEGMENT_KIND).proving_key(backend)
        found = dict.fromkeys(STEP_OF_PHASE.values(), 0.0)
        found[CIRCUIT_BUILD] = time.perf_counter() - started
        watch.run(prove)
        for span in spans:
            found[STEP_OF_PHASE[span.name]] += span.seconds
        if work.aggregates:
            started = time.perf_counter()
            aggregated = aggregate(proofs, backend).data
            found[AGGREGATION] = time.perf_counter() - started
        measured.append(found)
        work.report.advance(1)
    medians = {step: statistics.median(run[step] for run in measured[1:]) for step in measured[0]}
    timings = watch.timings()
    return StepTimes(medians, timings.median, timings.fields(), proofs, aggregated)


def _row(step: str, cpu: StepTimes, gpu: StepTimes | None) -> dict[str, Any]:
    seconds = cpu.seconds.get(step)
    of_gpu = None if gpu is None else gpu.seconds.get(step)
    return {
        "step": step,
        "cpu_seconds": None if seconds is None else round(seconds, 4),
        "cpu_share": None if seconds is None else round(seconds / sum(cpu.seconds.values()), 3),
        "gpu_seconds": None if of_gpu is None else round(of_gpu, 4),
    }


def _gpu() -> tuple[Backend | None, str]:
    """Returns the GPU's backend, or why there is none."""
    try:
        return open_backend("cuda"), ""
    except EclipticaError as error:
        return None, str(error)
