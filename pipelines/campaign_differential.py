"""`campaign differential`: windows through native executor, a naive one in another process, and the circuit.

All must agree on every verdict, balance, nonce and root. The circuit is filled and every row and bus checked
for each window; some windows are also proven and verified with the registered kind.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from operators.proof_worker import process_backend
from pipelines.adversary.ledger_traffic import ISSUER_KEY, PARAMETERS
from pipelines.adversary.naive_roots import NaiveBooks
from pipelines.adversary.windows import AIR, Outcome, PlannedBlock, Traffic, WindowRun
from pipelines.progress import Progress
from pipelines.shifts import in_parallel

DEFAULT_RUNS = 10_000
DEFAULT_SOURCE = Path(__file__).parent / "data" / "ethereum_blocks_17173049_17173050.csv"
CHUNK = 20
PROVE_EVERY = 500
"""Of so many windows, one is proven and verified: a second each."""


@dataclass(frozen=True, slots=True)
class WindowShift:
    """A piece of the campaign for one process.

    Attributes:
        traffic: Where windows come from.
        first: Number of its first window.
        count: Windows.
    """

    traffic: Traffic
    first: int
    count: int

    def run(self) -> list[WindowRun]:
        """Runs native executor and circuit."""
        numbers = range(self.first, self.first + self.count)
        return [self.traffic.run(n, prove=n % PROVE_EVERY == 0) for n in numbers]


def judge_naively(
    traffic: Traffic, windows: list[tuple[bool, tuple[PlannedBlock, ...]]]
) -> list[Outcome]:
    """Returns what the naive executor says of windows; for a process of its own."""
    outcomes = []
    for is_real, blocks in windows:
        books = _opened(traffic, is_real).copy()
        books.open_window()
        verdicts = tuple(tuple(books.execute_block(b.transactions, b.slot)) for b in blocks)
        indices = sorted(books.balance.keys() | books.nonce.keys())
        accounts = {i: (books.balance.get(i, 0), books.nonce.get(i, 0)) for i in indices}
        held = {index: values for index, values in accounts.items() if any(values)}
        outcomes.append(Outcome(verdicts, held, books.roots()))
    return outcomes


@cache
def _opened(traffic: Traffic, is_real: bool) -> NaiveBooks:
    p = PARAMETERS
    books = NaiveBooks(
        p.chain, p.shard, p.minimum_fee, ISSUER_KEY, process_backend(), shards=p.shards
    )
    for block in traffic.opening(is_real=is_real):
        books.execute_block(block.transactions, block.slot)
    return books


def disagreements(run: WindowRun, naive: Outcome) -> list[str]:
    """Returns what the executors or the circuit say differently of a window."""
    found = list(run.problems)
    if run.native.verdicts != naive.verdicts:
        found.append(f"verdicts {run.native.verdicts} and {naive.verdicts}")
    if run.native.accounts != naive.accounts:
        pairs = run.native.accounts.items() ^ naive.accounts.items()
        found.append(f"accounts {sorted(pairs)}")
    if run.native.roots != naive.roots:
        found.append(f"roots {run.native.roots} and {naive.roots}")
    return [f"window {run.number}: {text}" for text in found]


@dataclass(slots=True)
class _Tally:
    """Counts of the campaign."""

    windows: Counter[str]
    verdicts: Counter[str]
    segments: int
    proven: int
    differences: list[str]

    def add(self, runs: list[WindowRun], outcomes: list[Outcome]) -> None:
        for run, naive in zip(runs, outcomes, strict=True):
            self.windows["real" if run.is_real else "random"] += 1
            self.verdicts.update(reason or "valid" for b in naive.verdicts for reason in b)
            self.segments += run.segments
            self.proven += run.proven
            self.differences += disagreements(run, naive)


def run_differential(
    seed: int,
    runs: int,
    processes: int,
    report: Progress,
    is_stopped: Callable[[], bool],
    *,
    source: Path = DEFAULT_SOURCE,
) -> dict[str, Any]:
    """Runs the campaign.

    Args:
        seed: Of the windows.
        runs: Windows.
        processes: Processes for native executor and circuit; the naive executor has one more.
        report: Progress.
        is_stopped: Ends the campaign after the present pieces.
        source: File of Ethereum-ETL transactions that real windows replay.

    Returns:
        The campaign's evidence; `ok` when all agreed on all windows.

    Raises:
        ParameterError: The file holds no transfers or cannot be read.
    """
    started = time.monotonic()
    traffic = Traffic(seed, source)
    traffic.opening(is_real=True)  # an unusable file is found here
    report.phase("windows", runs)
    tally = _Tally(Counter(), Counter(), 0, 0, [])
    shifts = [
        WindowShift(traffic, first, min(CHUNK, runs - first)) for first in range(0, runs, CHUNK)
    ]
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as naive:
        judged: list[tuple[list[WindowRun], Future[list[Outcome]]]] = []
        for _, found in in_parallel(shifts, processes, is_stopped):
            windows = [(run.is_real, run.blocks) for run in found]
            judged.append((found, naive.submit(judge_naively, traffic, windows)))
            while judged and judged[0][1].done():
                first, outcome = judged.pop(0)
                tally.add(first, outcome.result())
            report.advance(len(found))
        for found, outcome in judged:
            tally.add(found, outcome.result())
    done = tally.windows.total()
    return {
        "name": "differential",
        "seed": seed,
        "runs": done,
        "accepted": len(tally.differences),
        "evidence": {
            "windows": dict(sorted(tally.windows.items())),
            "real_traffic": source.name,
            "verdicts": dict(sorted(tally.verdicts.items())),
            "compared": "every verdict, balance, nonce, the roots of all arrays that steps write, the state root",
            "circuit": f"{AIR.name}: every row and bus of {tally.segments} segments",
            "proven_and_verified": tally.proven,
            "disagreements": tally.differences[:20],
            "seconds": round(time.monotonic() - started, 1),
        },
        "ok": not tally.differences and done == runs,
    }
