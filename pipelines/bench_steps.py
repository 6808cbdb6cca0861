"""`ecliptica bench steps`: a window's proofs by the steps of the mission's table, CPU and GPU side by side."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from operators.proof_worker import open_backend
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

STEPS = (CIRCUIT_BUILD, TRACE, COMMITMENTS, FRI)


@dataclass(frozen=True, slots=True)
class StepTimes:
    """One backend's column.

    Attributes:
        seconds: Median seconds per step for the whole window; the circuit is built once.
        total: Median seconds of proving, the circuit at hand.
        fields: Summary of the runs for the record.
        proofs: Of the last run.
    """

    seconds: Mapping[str, float]
    total: float
    fields: Mapping[str, float]
    proofs: Sequence[bytes]


def steps(work: BenchWork) -> dict[str, Any]:
    """Measures every step on the CPU, and on the GPU where there is one."""
    segments = sample_window(work.transactions, work.seed)
    threads = usable_cores()
    cpu = _measure(work, segments, open_backend("cpu", threads))
    gpu_backend, why_not = _gpu()
    gpu = None if gpu_backend is None else _measure(work, segments, gpu_backend)
    bits = verified_apart([*cpu.proofs, *(gpu.proofs if gpu else ())])
    rows = [_row(step, cpu, gpu) for step in STEPS]
    rows.append({"step": AGGREGATION, "cpu_seconds": None, "cpu_share": None, "gpu_seconds": None})
    notes = [f"{AGGREGATION}: not built, it needs the recursive proofs"]
    if gpu is None:
        notes.append(f"GPU: not measured, {why_not}")
    return {
        "name": "steps",
        "transactions": work.transactions,
        **cpu.fields,
        "segments": len(segments),
        "table": rows,
        "notes": notes,
        "gpu_seconds_median": None if gpu is None else gpu.total,
        "proof_bytes": max(map(len, cpu.proofs)),
        "proven_bits": bits,
        "verified": True,
        "parameters": {"kind": SEGMENT_KIND, "threads": threads},
    }


def _measure(work: BenchWork, segments: Sequence[SegmentWitness], backend: Backend) -> StepTimes:
    proofs: list[bytes] = []
    spans: list[PhaseSpan] = []
    measured: list[dict[str, float]] = []
    watch = Stopwatch()

    def prove() -> None:
        proofs[:] = [prove_segment(one, backend, spans.append).data for one in segments]

    for _ in range(work.repeat + 1):
        spans.clear()
        started = time.perf_counter()
        kind_named(SEGMENT_KIND).proving_key(backend)
        found = dict.fromkeys(STEPS, 0.0)
        found[CIRCUIT_BUILD] = time.perf_counter() - started
        watch.run(prove)
        for span in spans:
            found[STEP_OF_PHASE[span.name]] += span.seconds
        measured.append(found)
        work.report.advance(1)
    medians = {step: statistics.median(run[step] for run in measured[1:]) for step in STEPS}
    timings = watch.timings()
    return StepTimes(medians, timings.median, timings.fields(), proofs)


def _row(step: str, cpu: StepTimes, gpu: StepTimes | None) -> dict[str, Any]:
    seconds = cpu.seconds[step]
    return {
        "step": step,
        "cpu_seconds": round(seconds, 4),
        "cpu_share": round(seconds / sum(cpu.seconds.values()), 3),
        "gpu_seconds": None if gpu is None else round(gpu.seconds[step], 4),
    }


def _gpu() -> tuple[Backend | None, str]:
    """Returns the GPU's backend, or why there is none."""
    try:
        return open_backend("cuda"), ""
    except EclipticaError as error:
        return None, str(error)
