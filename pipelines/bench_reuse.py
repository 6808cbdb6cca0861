"""`ecliptica bench reuse`: what lazy, recycled and incremental proving save in their sound reading.

Only what does not depend on a proof's transcript is ever used again: a whole proof of the same statement under the same
key, keys with their committed fixed columns, compiled programs, subtrees that nothing touched, segments whose
statement is unchanged. The mission's shares stand beside what is measured, in processor time.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from operators.proof_files import find_proof, write_proof
from operators.proof_worker import process_backend
from pipelines.bench_cold import first_proof
from pipelines.bench_verdicts import verified_apart
from pipelines.bench_work import BenchWork, Timings
from pipelines.forge import usable_cores
from pipelines.sample_window import ACCOUNTS, sample_transfers, window_of
from proving.backends.port import Backend
from proving.kinds import kind_named
from proving.ledger.trace import statement_digest
from proving.ledger.trees import WordTree, empty_digests
from proving.ledger.witness import SegmentWitness
from proving.segment_proofs import SEGMENT_KIND, prove_segment
from schemas.errors import InvariantError
from schemas.job import ProofLevel
from schemas.statement import SegmentStatement
from schemas.transactions import Transaction
from schemas.units import word_bytes

RECYCLED_CLAIM, INCREMENTAL_CLAIM = 0.40, 0.70
"""Shares of proving time that the mission says recycling and increments save."""

TREE_CELLS = 1 << 13
"""Cells of the array whose subtrees are kept; a window touches a few dozen of them."""

NOT_SOUND = (
    "openings at the out-of-domain point: the point is drawn after every commitment of this proof",
    "lookup columns and their tree: alpha and beta are drawn after the main columns' cap",
    "quotient: its challenge is drawn after the lookup columns' cap",
    "layers, final polynomial and query paths of FRI: every challenge and index hangs on all before",
    "nonces of grinding: they are found for one transcript state",
    "single columns or rows of a main trace: rows are hashed whole, so one changed cell is a new tree",
)
"""What is never used again, and why."""


@dataclass(slots=True)
class SegmentCosts:
    """Proofs by statement: each is made several times for its time and kept once.

    Attributes:
        backend: Does the arithmetic.
        work: Says how often a statement is proven.
        runs: Wall and processor seconds of each proof, by statement.
        proofs: One proof of each statement.
    """

    backend: Backend
    work: BenchWork
    runs: dict[SegmentStatement, Timings] = field(default_factory=dict)
    proofs: dict[SegmentStatement, bytes] = field(default_factory=dict)

    def prove(self, segments: Sequence[SegmentWitness]) -> list[Timings]:
        """Returns what proving each segment takes; what is proven already is not measured again."""
        for segment in segments:
            if segment.statement not in self.runs:
                self.runs[segment.statement] = self.work.timed(partial(self._prove, segment))
        return [self.runs[segment.statement] for segment in segments]

    def cpu_seconds(self, segments: Sequence[SegmentWitness]) -> float:
        """Returns the processor time of proving the segments, the median proof of each."""
        return sum(statistics.median(one.cpu_seconds) for one in self.prove(segments))

    def _prove(self, segment: SegmentWitness) -> None:
        self.proofs[segment.statement] = prove_segment(segment, self.backend).data


def reuse(work: BenchWork) -> dict[str, Any]:
    """Measures each kind of reuse against doing the work again."""
    backend = process_backend(usable_cores())
    transfers = sample_transfers(work.transactions, work.seed)
    window = window_of(transfers)
    costs = SegmentCosts(backend, work)
    whole = costs.prove(window)
    rows = [
        _proof_on_file(work, window[0], costs, backend),
        _kept_key(work, costs.cpu_seconds(window[:1]), backend),
        _kept_code(work),
        _kept_subtrees(work, backend),
        *_increments(transfers, window, costs),
    ]
    proofs = list(costs.proofs.values())
    return {
        "name": "reuse",
        "transactions": work.transactions,
        "seconds_median": round(sum(one.median for one in whole), 6),
        "seconds_min": round(sum(min(one.seconds) for one in whole), 6),
        "segments": len(window),
        "table": rows,
        "claims": {"recycled": RECYCLED_CLAIM, "incremental": INCREMENTAL_CLAIM},
        "not_sound_to_reuse": list(NOT_SOUND),
        "notes": [f"not sound to reuse: {entry}" for entry in NOT_SOUND],
        "proof_bytes": max(map(len, proofs)),
        "proven_bits": verified_apart(proofs),
        "verified": True,
        "parameters": {"kind": SEGMENT_KIND, "threads": usable_cores(), "backend": backend.name},
    }


def _cpu(timings: Timings) -> float:
    return statistics.median(timings.cpu_seconds)


def _row(what: str, again: float, reused: float, claim: float | None) -> dict[str, Any]:
    return {
        "what": what,
        "cpu_seconds_again": round(again, 5),
        "cpu_seconds_reused": round(reused, 5),
        "saved": round(1 - reused / again, 4),
        "claim": claim,
    }


def _proof_on_file(
    work: BenchWork, segment: SegmentWitness, costs: SegmentCosts, backend: Backend
) -> dict[str, Any]:
    """A proof that exists is looked up by its statement and checked under the key, not made again."""
    statement = segment.statement
    digest = statement_digest(statement, backend)
    with tempfile.TemporaryDirectory(prefix="ecliptica-reuse-") as folder:
        root = Path(folder)
        write_proof(root, ProofLevel.SEGMENT, digest, costs.proofs[statement])
        found = work.timed(lambda: _found(root, statement, backend))
    what = "lazy: the same statement again, its proof on file"
    return _row(what, costs.cpu_seconds([segment]), _cpu(found), None)


def _found(root: Path, statement: SegmentStatement, backend: Backend) -> None:
    if find_proof(root, statement, backend) is None:
        raise InvariantError("a proof that was just written is not found")


def _kept_key(work: BenchWork, one: float, backend: Backend) -> dict[str, Any]:
    """Fixed columns, their commitment and the compiled circuit are kept between proofs."""
    built = _cpu(work.timed(lambda: kind_named(SEGMENT_KIND).proving_key(backend)))
    what = "recycled: circuit and fixed columns' commitment kept"
    return _row(what, built + one, one, RECYCLED_CLAIM)


def _kept_code(work: BenchWork) -> dict[str, Any]:
    """Compiled programs are kept on disk; processor time of a process that makes one proof."""
    cold, warm = [], []
    for _ in range(work.repeat):
        with tempfile.TemporaryDirectory(prefix="ecliptica-reuse-") as folder:
            cold.append(first_proof(Path(folder), 1, work.seed).cpu_seconds)
            warm.append(first_proof(Path(folder), 1, work.seed).cpu_seconds)
    what = "recycled: compiled programs on disk, a process's first proof"
    return _row(what, statistics.median(cold), statistics.median(warm), RECYCLED_CLAIM)


def _kept_subtrees(work: BenchWork, backend: Backend) -> dict[str, Any]:
    """Subtrees of the state that a window does not touch keep their digests."""
    empty = empty_digests(backend)
    cells = {index: word_bytes((index + 1, 0, 0, 0, 0, 0, 0, 0)) for index in range(TREE_CELLS)}
    tree = WordTree(backend, empty)
    tree.update(cells)
    step = TREE_CELLS // ACCOUNTS
    touched = {index: cells[(index + 1) % TREE_CELLS] for index in range(0, TREE_CELLS, step)}
    whole, part = work.interleaved(
        [lambda: WordTree(backend, empty).update(cells), lambda: tree.branch().update(touched)]
    )
    what = f"recycled: untouched subtrees, {len(touched)} of {TREE_CELLS} cells change"
    return _row(what, _cpu(whole), _cpu(part), RECYCLED_CLAIM)


def _increments(
    transfers: Sequence[Transaction], window: Sequence[SegmentWitness], costs: SegmentCosts
) -> list[dict[str, Any]]:
    """A window changes late: segments before the change keep their statements and so their proofs."""
    last = len(transfers) - 1
    changes: tuple[tuple[str, Callable[[], list[Transaction]]], ...] = (
        ("the last transfer changes", lambda: _changed(transfers, last)),
        ("the middle transfer changes", lambda: _changed(transfers, last // 2)),
        ("the first transfer changes", lambda: _changed(transfers, 0)),
    )
    known = {segment.statement for segment in window}
    rows = []
    for name, change in changes:
        changed = window_of(change())
        fresh = [segment for segment in changed if segment.statement not in known]
        what = f"incremental: {name}, {len(fresh)} of {len(changed)} segments are new"
        again, spent = costs.cpu_seconds(changed), costs.cpu_seconds(fresh)
        rows.append(_row(what, again, spent, INCREMENTAL_CLAIM))
    return rows


def _changed(transfers: Sequence[Transaction], place: int) -> list[Transaction]:
    """Returns the transfers with one amount a unit larger."""
    changed = list(transfers)
    changed[place] = replace(changed[place], amount=changed[place].amount + 1)
    return changed
