"""`ecliptica bench`: what this machine does per second, each figure from a median of repeats after a warm-up.

A bench that makes proofs has every one verified by another process; with a proof that does not hold it reports no
figure.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from operators.proof_worker import process_backend
from pipelines.bench_cold import cold
from pipelines.bench_compress import compress
from pipelines.bench_endurance import BURST, overload, soak
from pipelines.bench_hop import DEFAULT_RECORDS, hop
from pipelines.bench_levels import levels
from pipelines.bench_permutations import permutations, scaling
from pipelines.bench_plot import DRAWN, check_plot, draw, draw_records
from pipelines.bench_reuse import reuse
from pipelines.bench_rival import rival
from pipelines.bench_segment import DEFAULT_SEGMENT_TRANSACTIONS, segment
from pipelines.bench_sizes import sizes
from pipelines.bench_steps import steps
from pipelines.bench_stream import FINALITY_RATE, SECONDS, finality, stream
from pipelines.bench_validator import admission, execution
from pipelines.bench_verdicts import verified_apart
from pipelines.bench_wan import wan
from pipelines.bench_windows import WINDOWED_TRANSACTIONS, windows
from pipelines.bench_work import BenchWork, environment
from pipelines.endurance_plot import DRAWN_OVER_TIME, draw_over_time
from pipelines.forge import usable_cores
from pipelines.sample_window import sample_window
from proving.arithmetic.poseidon2 import NumpyHasher
from proving.backends.port import FieldArray
from proving.kinds import verifying_key
from proving.ledger.air import LedgerAir
from proving.ledger.trace import build_trace
from proving.prover import PhaseSpan
from proving.segment_proofs import SEGMENT_KIND, prove_segment, verify_segment
from proving.signatures import KeyPair, default_backend, verify_many
from schemas.errors import InvariantError
from schemas.transactions import SIGNATURE_CONTEXT
from schemas.units import MODULUS, ZERO_WORD

DEFAULT_TRANSACTIONS = {
    "batch": 64,
    "verify": 64,
    "witness": 64,
    "signatures": 2000,
    "steps": 64,
    "levels": 1000,
    "cold": 16,
    "reuse": 5000,
    "hop": DEFAULT_RECORDS,
    "segment": DEFAULT_SEGMENT_TRANSACTIONS,
    "admission": 10_000,
    "execution": 10_000,
    "finality": FINALITY_RATE * SECONDS,
    "stream": 40_000,
    "wan": 50,
    "overload": BURST,
    "soak": BURST,
    "windows": WINDOWED_TRANSACTIONS,
}
KERNEL_STATES = 1 << 14


def run_bench(work: BenchWork, name: str) -> dict[str, Any]:
    """Runs a bench by name.

    Raises:
        ProofError: A proof that was made does not hold.
    """
    benches: Mapping[str, Callable[[BenchWork], dict[str, Any]]] = {
        "kernels": kernels,
        "witness": witness,
        "batch": batch,
        "verify": verify,
        "signatures": signatures,
        "segment": lambda one: segment(one.transactions, one.accounts, one.seed, one.report),
        "permutations": permutations,
        "scaling": scaling,
        "rival": rival,
        "steps": steps,
        "compress": compress,
        "levels": levels,
        "cold": cold,
        "reuse": reuse,
        "sizes": sizes,
        "hop": hop,
        "admission": admission,
        "execution": execution,
        "wan": wan,
        "finality": finality,
        "stream": stream,
        "overload": overload,
        "soak": soak,
        "windows": windows,
        "plot": draw_records,
    }
    check_plot(work, name)
    work.report.phase(name, None)
    record = {**benches[name](work), **environment()}
    if name in DRAWN and work.out is not None:
        draw([record], work.out)
    if name in DRAWN_OVER_TIME and work.out is not None:
        draw_over_time(record, work.out)
    return record


def kernels(work: BenchWork) -> dict[str, Any]:
    """Poseidon2 permutations and hashed cells per second on one thread."""
    backend = process_backend()
    rng = np.random.default_rng(work.seed)
    states: FieldArray = rng.integers(0, MODULUS, (KERNEL_STATES, 16), dtype=np.uint32)
    seconds = work.timed(lambda: backend.permute(states))
    columns: FieldArray = rng.integers(0, MODULUS, (64, KERNEL_STATES), dtype=np.uint32)
    held = backend.hold(columns)

    def finished(call: Callable[[], FieldArray]) -> Callable[[], None]:
        def run() -> None:
            call()
            backend.finish()

        return run

    rows = work.timed(finished(lambda: backend.hash_rows(held)))
    extended = work.timed(finished(lambda: backend.evaluate_on_coset(held, 16, 3)))
    return {
        "name": "kernels",
        "permutations": KERNEL_STATES,
        **seconds.fields(),
        "permutations_per_second": round(KERNEL_STATES / statistics.median(seconds)),
        "hashed_cells_per_second": round(columns.size / statistics.median(rows)),
        "evaluated_cells_per_second": round(64 * 2**16 / statistics.median(extended)),
        "proof_bytes": None,
        "proven_bits": None,
        "verified": None,
        "parameters": {"backend": backend.describe(), "columns": 64},
    }


def witness(work: BenchWork) -> dict[str, Any]:
    """Time from a window's transactions to the traces of its segments."""
    backend, hasher = process_backend(), NumpyHasher()
    air = verifying_key(SEGMENT_KIND, hasher).air
    if not isinstance(air, LedgerAir):
        raise InvariantError(f"{SEGMENT_KIND} is no circuit of the ledger")
    cut = work.timed(lambda: sample_window(work.transactions, work.seed))
    segments = sample_window(work.transactions, work.seed)
    built = work.timed(lambda: [build_trace(air, one, backend, ZERO_WORD) for one in segments])
    whole = [a + b for a, b in zip(cut, built, strict=True)]
    return {
        "name": "witness",
        "transactions": work.transactions,
        "seconds_median": round(statistics.median(whole), 6),
        "seconds_min": round(min(whole), 6),
        "execute_and_cut_seconds": round(statistics.median(cut), 4),
        "trace_seconds": round(statistics.median(built), 4),
        "segments": len(segments),
        "proof_bytes": None,
        "proven_bits": None,
        "verified": None,
        "parameters": {"backend": backend.describe(), "kind": SEGMENT_KIND},
    }


def batch(work: BenchWork) -> dict[str, Any]:
    """Proving a window's segments one after the other, each on all cores, and verifying every proof."""
    threads, hasher = usable_cores(), NumpyHasher()
    backend = process_backend(threads)
    segments = sample_window(work.transactions, work.seed)
    spans: list[PhaseSpan] = []
    proofs: list[bytes] = []

    def prove() -> None:
        spans.clear()
        proofs.clear()
        proofs.extend(prove_segment(one, backend, spans.append).data for one in segments)

    seconds = work.timed(prove)
    bits = verified_apart(proofs)
    phases: dict[str, dict[str, float]] = {}
    for span in spans:
        entry = phases.setdefault(span.name, {"seconds": 0.0, "cells": 0})
        entry["seconds"] += span.seconds
        entry["cells"] += span.cells
    for entry in phases.values():
        entry["cells_per_second"] = round(entry["cells"] / max(entry["seconds"], 1e-9))
        entry["seconds"] = round(entry["seconds"], 4)
    key = verifying_key(SEGMENT_KIND, hasher)
    return {
        "name": "batch",
        "transactions": work.transactions,
        **seconds.fields(),
        "transactions_per_second": round(work.transactions / statistics.median(seconds), 2),
        "segments": len(segments),
        "phases": phases,
        "proof_bytes": max(map(len, proofs)),
        "proven_bits": bits,
        "verified": True,
        "parameters": {
            "backend": backend.describe(),
            "threads": threads,
            "kind": SEGMENT_KIND,
            "rows": 1 << key.log_height,
            "queries": key.parameters.num_queries,
            "log_blowup": key.parameters.log_blowup,
        },
    }


def verify(work: BenchWork) -> dict[str, Any]:
    """Verifying one segment proof, the verifying key at hand: as an auditor does, and with compiled hashing."""
    backend, hasher = process_backend(), NumpyHasher()
    proof = prove_segment(sample_window(work.transactions, work.seed)[0], backend).data
    seconds, compiled = work.interleaved(
        [lambda: verify_segment(proof, hasher), lambda: verify_segment(proof, backend)]
    )
    return {
        "name": "verify",
        "transactions": work.transactions,
        **seconds.fields(),
        "proof_bytes": len(proof),
        "compiled_hasher": compiled.fields(),
        "proven_bits": verified_apart([proof]),
        "verified": True,
        "parameters": {"hasher": "numpy", "kind": SEGMENT_KIND},
    }


def signatures(work: BenchWork) -> dict[str, Any]:
    """ML-DSA-44 verification in one batch over all threads."""
    pairs = [KeyPair.from_seed(bytes([number]) * 32) for number in range(16)]
    messages = [number.to_bytes(8, "little") * 16 for number in range(work.transactions)]
    signers = [pairs[number % len(pairs)] for number in range(work.transactions)]
    signed = [p.sign(m, SIGNATURE_CONTEXT) for p, m in zip(signers, messages, strict=True)]
    keys = [pair.public_key for pair in signers]
    good: list[bool] = []

    def check() -> None:
        good[:] = [bool(one) for one in verify_many(keys, messages, signed, SIGNATURE_CONTEXT)]

    seconds = work.timed(check)
    return {
        "name": "signatures",
        "transactions": work.transactions,
        **seconds.fields(),
        "verifications_per_second": round(work.transactions / statistics.median(seconds)),
        "proof_bytes": None,
        "proven_bits": None,
        "verified": all(good),
        "parameters": {"backend": default_backend().name, "threads": usable_cores()},
    }
