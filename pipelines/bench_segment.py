"""`ecliptica bench segment`: a window of transfers between many accounts, from the state to verified proofs.

The work is large, so it is done once, whatever the number of repeats, after the keys and compiled code are there.
Signatures are no part of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, TypeVar

from operators.proof_worker import process_backend
from pipelines.bench_verdicts import verified_apart
from pipelines.bulk_ledger import bulk_ledger, transfer_blocks
from pipelines.forge import usable_cores
from pipelines.progress import Progress
from proving.arithmetic.poseidon2 import NumpyHasher
from proving.kinds import proving_key, registered_kinds
from proving.ledger.segments import cut_window
from proving.prover import PhaseSpan
from proving.segment_proofs import (
    SEGMENT_KINDS,
    large_shape,
    prove_segment,
    segment_layout,
    verify_segment,
)
from schemas.errors import InvariantError

T = TypeVar("T")

DEFAULT_SEGMENT_TRANSACTIONS = 50_000
DEFAULT_ACCOUNTS = 2**20

WITNESS_PHASE = "witness"
"""Phase of a proof in which its trace is made."""


class _Times:
    """Wall and processor seconds of named parts."""

    def __init__(self) -> None:
        self.wall: dict[str, float] = {}
        self.cpu: dict[str, float] = {}

    def run(self, name: str, work: Callable[[], T]) -> T:
        """Runs and times a part."""
        started, cpu = time.perf_counter(), time.process_time()
        result = work()
        self.wall[name] = self.wall.get(name, 0.0) + time.perf_counter() - started
        self.cpu[name] = self.cpu.get(name, 0.0) + time.process_time() - cpu
        return result


def segment(transactions: int, accounts: int, seed: int, report: Progress) -> dict[str, Any]:
    """Executes, cuts, traces, proves and verifies a window of transfers.

    Args:
        transactions: Transfers in the window.
        accounts: Accounts of the state, at least two.
        seed: Of senders, recipients and amounts.
        report: Progress.

    Raises:
        ParameterError: There are too few or too many accounts.
        ProofError: A proof that was made does not hold.
        InvariantError: One does not hold in another process, or shows another statement than it was made for.
    """
    threads, times = usable_cores(), _Times()
    backend = process_backend(threads)
    report.phase(f"state of {accounts} accounts", None)
    ledger = times.run("state", lambda: bulk_ledger(accounts, seed, backend))
    blocks = transfer_blocks(ledger, transactions, seed)
    report.phase("execute and cut", None)
    segments = times.run(
        "execute_and_cut",
        lambda: cut_window(ledger, blocks, 1, segment_layout(), large_shape()),
    )
    kinds = [registered_kinds().by_number[one.kind].name for one in segments]
    keys = {name: proving_key(name, backend) for name in kinds}
    report.phase("prove", len(segments))
    spans: list[PhaseSpan] = []
    proofs: list[bytes] = []
    for witness in segments:
        made = times.run("prove", partial(prove_segment, witness, backend, spans.append))
        proofs.append(made.data)
        report.advance(1)
    report.phase("verify", len(proofs))
    for proof, witness in zip(proofs, segments, strict=True):
        shown, _ = times.run("verify", partial(verify_segment, proof, NumpyHasher()))
        if shown != witness.statement:
            raise InvariantError("a proof shows another statement than it was made for")
        report.advance(1)
    phases = _by_phase(spans)
    before = times.wall["execute_and_cut"] + phases[WITNESS_PHASE]["seconds"]
    proving = times.wall["prove"] - phases[WITNESS_PHASE]["seconds"]
    largest = max(keys.values(), key=lambda key: key.verifying_key.log_height).verifying_key
    return {
        "name": "segment",
        "transactions": transactions,
        "accounts": accounts,
        "seconds_median": round(before + proving, 6),
        "seconds_min": round(before + proving, 6),
        "segments": {name: kinds.count(name) for name in SEGMENT_KINDS},
        "transactions_per_second": round(transactions / (before + proving), 2),
        "transactions_per_second_without_witness": round(transactions / proving, 2),
        "witness_seconds": round(before, 3),
        "proving_seconds": round(proving, 3),
        "seconds": {name: round(value, 3) for name, value in times.wall.items()},
        "cpu_seconds": {name: round(value, 3) for name, value in times.cpu.items()},
        "phases": phases,
        "witness_bytes": max(len(one.encode()) for one in segments),
        "proof_bytes": max(map(len, proofs)),
        "proven_bits": verified_apart(proofs),
        "verified": True,
        "parameters": {
            "backend": backend.name,
            "threads": threads,
            "rows": 1 << largest.log_height,
            "queries": largest.parameters.num_queries,
            "log_blowup": largest.parameters.log_blowup,
        },
    }


def _by_phase(spans: Iterable[PhaseSpan]) -> dict[str, dict[str, float]]:
    phases: dict[str, dict[str, float]] = {}
    for span in spans:
        entry = phases.setdefault(span.name, {"seconds": 0.0, "cells": 0})
        entry["seconds"] = round(entry["seconds"] + span.seconds, 4)
        entry["cells"] += span.cells
    return phases
