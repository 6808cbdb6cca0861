"""`ecliptica bench levels`: what a proof of every level of the pyramid takes, each in a process of its own.

Run as `python -m pipelines.bench_levels KIND REPEAT INPUT OUTPUT` it proves one node, or one segment, of the file INPUT
(the work of a node, or a witness) and verifies it; `python -m pipelines.bench_levels verify PROOF` verifies a proof alone.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from operators.proof_worker import process_backend
from operators.pyramid_tree import Node, Segment, work_of
from pipelines.adversary.day_judge import peak_bytes
from pipelines.bench_verdicts import module_says, run_module
from pipelines.bench_work import BenchWork, Timings
from pipelines.forge import usable_cores
from pipelines.level_figures import LEVELS, level_figures
from pipelines.sample_days import SampleChain
from pipelines.sample_window import funded_ledger, sample_transfers
from pipelines.tree_proofs import TreeProver, prepared_folder
from proving.arithmetic.poseidon2 import NumpyHasher
from proving.backends.port import Backend
from proving.kinds import kind_numbered, proving_key
from proving.ledger.segments import cut_window
from proving.ledger.state import Block
from proving.ledger.witness import SegmentWitness, decode_witness
from proving.recursion.lift import LIFT_SLOTS
from proving.recursion.pyramid_work import (
    JoinWork,
    LiftWork,
    decode_work,
    encode_work,
    prove_work,
)
from proving.recursion.recursive_proofs import verify_kinds
from proving.recursion.span import Span
from proving.recursion.span_proofs import SpanProof
from proving.segment_proofs import (
    SEGMENT_KIND,
    SEGMENT_KINDS,
    large_shape,
    prove_segment,
    segment_layout,
    verify_segment,
)
from proving.stark.encoding import read_header
from schemas.errors import InvariantError
from schemas.job import ProofLevel

DAY_WINDOWS = 2
TIMEOUT_SECONDS = 3600.0
VERIFICATIONS = 5

SHOWN = (
    *("kind", "rows", "main", "lookup", "constraints", "hashes", "extended_cells"),
    *("seconds", "bytes", "bits", "verify_ms", "peak_mib"),
)
"""Columns of the table for people."""


def levels(work: BenchWork) -> dict[str, Any]:
    """Measures every level; the proofs below each are made before and kept below the data directory.

    Raises:
        InvariantError: A proof does not hold in another process.
    """
    backend = process_backend(usable_cores())
    found: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="ecliptica-levels-") as name:
        folder = Path(name)
        inputs = dict(_inputs(work, backend))
        work.report.phase("levels", len(LEVELS))
        for kind in LEVELS:
            if kind == "lift_l":
                large = (folder / "segment_l.proof").read_bytes()
                inputs[kind] = encode_work(LiftWork((large,)))
            found.append(measure_apart(kind, inputs[kind], work.repeat, folder))
            work.report.advance(1)
    return {
        "name": "levels",
        "transactions": work.transactions,
        "seconds_median": round(sum(one["seconds_median"] for one in found), 6),
        "seconds_min": round(sum(one["seconds_min"] for one in found), 6),
        "levels": found,
        "table": [_row(one) for one in found],
        "proof_bytes": max(one["proof_bytes"] for one in found),
        "proven_bits": min(one["proven_bits"] for one in found),
        "verified": True,
        "parameters": {"backend": backend.describe(), "threads": usable_cores()},
    }


def measure_apart(kind: str, given: bytes, repeat: int, folder: Path) -> dict[str, Any]:
    """Returns figures and measurements of one proof, made by a process of its own and verified by another.

    Args:
        kind: Its kind.
        given: Work of the node, or witness of the segment.
        repeat: Measured runs after the warm-up.
        folder: For the files; the proof stays there as `KIND.proof`.

    Raises:
        InvariantError: It fails, or the proof does not hold.
    """
    source, out = folder / f"{kind}.work", folder / f"{kind}.proof"
    source.write_bytes(given)
    arguments = [kind, str(repeat), str(source), str(out)]
    failure = f"{kind} could not be proven"
    measured = json.loads(run_module(__name__, arguments, TIMEOUT_SECONDS, failure))
    proof = out.read_bytes()
    bits = int(module_says(__name__, [proof], "verify", what=f"a proof of {kind}"))
    figures = level_figures(kind)
    if (len(proof), bits) != (figures.proof_bytes, figures.proven_bits):
        raise InvariantError(f"a proof of {kind} is {len(proof)} bytes with {bits} bits")
    return {**asdict(figures), **measured}


def _inputs(work: BenchWork, backend: Backend) -> Iterator[tuple[str, bytes]]:
    """Yields what every level but the lift of a large segment is made of."""
    chain = SampleChain(backend, LIFT_SLOTS, DAY_WINDOWS)
    prover = TreeProver(prepared_folder(work.data), backend, work.report)
    witnesses = [epoch.witnesses[0][0] for epoch in chain.epochs[:LIFT_SLOTS]]
    segments = [Segment(one.statement, SEGMENT_KIND) for one in witnesses]
    lifted = prover.prove(segments, chain.witnesses)
    day = chain.days[1]
    prover.prove([day], chain.witnesses)
    yield "segment_s", witnesses[0].encode()
    yield "segment_l", _large_witness(work).encode()
    yield "lift_s", encode_work(LiftWork(tuple(lifted)))
    nodes = list(day.nodes())
    epochs = [node for node in nodes if node.level is ProofLevel.EPOCH]
    firsts = [node.children[0] for node in epochs]
    children = [
        SpanProof(child.said, prover.proofs[child])
        for child in firsts
        if isinstance(child, Node) and isinstance(child.said, Span)
    ]
    yield "join", encode_work(JoinWork(tuple(children)))
    (below,) = [node for node in nodes if node.level is ProofLevel.DAY_RUN]
    for kind, node in (("epoch", epochs[0]), ("day", below), ("wrap", day)):
        given = work_of(node, prover.proofs.get)
        if given is None:
            raise InvariantError("a child of the day is not proven")
        yield kind, encode_work(given)


def _large_witness(work: BenchWork) -> SegmentWitness:
    """Returns a segment of the large kind, of a window that small ones would do for: what it holds costs it nothing."""
    ledger = funded_ledger()
    transfers = tuple(sample_transfers(work.transactions, work.seed))
    block = Block(ledger.height + 1, 64, 1, transfers)
    large = replace(large_shape(), above=0)
    (witness,) = cut_window(ledger, [block], 1, segment_layout(), large)
    return witness


def prove_here(kind: str, repeat: int, given: bytes) -> tuple[dict[str, Any], bytes]:
    """Proves in this process and returns measurements and proof; the key is made before, and reported apart."""
    backend = process_backend(usable_cores())
    if kind in SEGMENT_KINDS:
        witness = decode_witness(given)

        def prove() -> bytes:
            return prove_segment(witness, backend).data
    else:
        node = decode_work(given)

        def prove() -> bytes:
            return prove_work(node, backend)[1]

    started = time.perf_counter()
    proving_key(kind, backend)
    key_seconds = time.perf_counter() - started
    proof = b""
    runs: list[tuple[float, float]] = []
    for _ in range(repeat + 1):
        started, cpu = time.perf_counter(), time.process_time()
        proof = prove()
        runs.append((time.perf_counter() - started, time.process_time() - cpu))
    peak = peak_bytes()
    (warm_up, _), *measured = runs
    timings = Timings(warm_up, tuple(s for s, _ in measured), tuple(c for _, c in measured))
    checks: list[float] = []
    for _ in range(VERIFICATIONS + 1):
        started = time.perf_counter()
        verify_any(kind, proof, backend)
        checks.append(1000 * (time.perf_counter() - started))
    return {
        **timings.fields(),
        "key_seconds": round(key_seconds, 3),
        "verify_ms": round(statistics.median(checks[1:]), 2),
        "peak_memory_bytes": peak,
    }, proof


def verify_any(kind: str, proof: bytes, hasher: Backend | NumpyHasher) -> int:
    """Verifies a proof of a kind and returns its proven bits.

    Raises:
        ProofError: It does not hold.
    """
    if kind in SEGMENT_KINDS:
        return verify_segment(proof, hasher)[1].proven_bits
    return verify_kinds(proof, (kind,), hasher).proven_bits


def _row(found: dict[str, Any]) -> dict[str, Any]:
    shown = {
        **found,
        **found["columns"],
        "seconds": found["seconds_median"],
        "bytes": found["proof_bytes"],
        "bits": found["proven_bits"],
        "peak_mib": round(found["peak_memory_bytes"] / 2**20),
    }
    return {name: shown[name] for name in SHOWN}


def _main(write: Callable[[str], Any], what: str, *rest: str) -> None:
    if what == "verify":
        proof = Path(rest[0]).read_bytes()
        kind = kind_numbered(read_header(proof).kind).name
        write(str(verify_any(kind, proof, NumpyHasher())))
        return
    repeat, source, out = rest
    measured, proof = prove_here(what, int(repeat), Path(source).read_bytes())
    Path(out).write_bytes(proof)
    write(json.dumps(measured))


if __name__ == "__main__":
    _main(sys.stdout.write, *sys.argv[1:])
