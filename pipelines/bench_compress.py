"""`ecliptica bench compress`: the proofs of a day's epochs become the one that light clients get.

The epochs' proofs are made before anything is timed and kept below the data directory, so that the next run finds them.
What is timed is the rest of the day: proofs of up to eight runs until one is left, and the wrapping of that, each with the
checks of its children, one after the other on all cores. Run as `python -m pipelines.bench_compress RUN FILE` it verifies
such a day.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from operators.proof_worker import process_backend
from operators.pyramid_tree import Node, Segment, work_of
from pipelines.bench_verdicts import module_says
from pipelines.bench_work import BenchWork
from pipelines.forge import usable_cores
from pipelines.sample_days import SHARDS, SampleChain
from pipelines.tree_proofs import TreeProver, prepared_folder
from proving.arithmetic.poseidon2 import NumpyHasher
from proving.backends.port import Backend
from proving.kinds import kind_named
from proving.light.wrap import verify_wrap as verify_light
from proving.recursion.global_proofs import DAY_KIND, GlobalProof
from proving.recursion.global_span import GlobalSpan
from proving.recursion.pyramid_work import prove_work, said_bytes, said_digest
from proving.recursion.wrap import WRAP_KIND
from proving.recursion.wrap_proofs import verify_wrap
from schemas.errors import InvariantError, ParameterError
from schemas.job import ProofLevel

DEFAULT_EPOCHS = 24
"""Epochs of a day."""

BUSY_EPOCHS = 1
"""Epochs in which blocks are made; all proofs of epochs are of one size and cost, whatever happened in them."""


@dataclass(frozen=True, slots=True)
class Step:
    """One proof of a compression.

    Attributes:
        kind: Its kind.
        children: Proofs that it is made of.
        seconds: Wall time, the checks of the children included.
    """

    kind: str
    children: int
    seconds: float


@dataclass(slots=True)
class Compression:
    """A day whose epochs are proven.

    Attributes:
        day: Its tree.
        epochs: Proofs of the epochs.
        backend: Does the arithmetic.
        steps: Of the last run.
        proof: Of the last run.
    """

    day: Node
    epochs: Mapping[Segment | Node, bytes]
    backend: Backend
    steps: list[Step]
    proof: bytes = b""

    def run(self) -> None:
        """Proves all that lies above the epochs."""
        proofs = dict(self.epochs)
        self.steps.clear()
        for node in dict.fromkeys(self.day.nodes()):
            if node.level not in (ProofLevel.DAY_RUN, ProofLevel.DAY):
                continue
            started = time.perf_counter()
            work = work_of(node, proofs.get)
            if work is None:
                raise InvariantError("a child comes before its parent")
            proofs[node] = prove_work(work, self.backend)[1]
            kind = WRAP_KIND if node.level is ProofLevel.DAY else DAY_KIND
            seconds = time.perf_counter() - started
            self.steps.append(Step(kind, len(node.children), seconds))
        self.proof = proofs[self.day]


def compress(work: BenchWork) -> dict[str, Any]:
    """Prepares the epochs and measures their compression.

    Raises:
        ParameterError: A day has fewer than two epochs or more than 512.
        ProofError: A proof that was made does not hold.
        InvariantError: The day's does not in another process.
    """
    count = work.epochs or DEFAULT_EPOCHS
    if not 2 <= count <= 512:
        raise ParameterError(f"a day has 2..512 epochs here, got {count}")
    threads = usable_cores()
    backend = process_backend(threads)
    chain = SampleChain(backend, count, count, busy=BUSY_EPOCHS)
    (day,) = chain.days
    epochs = [node for node in dict.fromkeys(day.nodes()) if node.level is ProofLevel.EPOCH]
    prover = TreeProver(prepared_folder(work.data), backend, work.report)
    started = time.perf_counter()
    proofs = prover.prove(epochs, chain.witnesses)
    prepared = time.perf_counter() - started
    work.report.phase("compress", work.repeat)
    done = Compression(day, dict(zip(epochs, proofs, strict=True)), backend, [])
    runs: list[list[Step]] = []

    def once() -> None:
        done.run()
        runs.append(list(done.steps))

    seconds = work.timed(once)
    kind = kind_named(WRAP_KIND)
    return {
        "name": "compress",
        "epochs": count,
        "transactions": sum(
            entry.transaction is not None
            for witness in chain.witnesses.values()
            for entry in witness.entries
        ),
        **seconds.fields(),
        "steps": _medians(runs[1:]),
        "prepare_seconds": round(prepared, 3),
        "proofs_made_to_prepare": prover.made,
        "proof_bytes": len(done.proof),
        "epoch_proof_bytes": max(map(len, proofs)),
        "compressed_bytes_ratio": round(sum(map(len, proofs)) / len(done.proof), 2),
        "proven_bits": verified_apart(day, done.proof),
        "verified": True,
        "parameters": {
            "backend": backend.describe(),
            "threads": threads,
            "shards": SHARDS,
            "busy_epochs": BUSY_EPOCHS,
            "queries": kind.parameters.num_queries,
            "log_blowup": kind.parameters.log_blowup,
        },
    }


def verified_apart(day: Node, proof: bytes) -> int:
    """Returns the proven bits of a day's proof that another process has verified, natively and as a light client does.

    Raises:
        InvariantError: It does not hold, or is of another day.
    """
    said = said_bytes(day.said).hex()
    return int(module_says(__name__, [proof], said, what="a day's proof"))


def _medians(runs: list[list[Step]]) -> list[dict[str, Any]]:
    """Returns every step with the median of its seconds."""
    return [
        {
            "kind": same[0].kind,
            "children": same[0].children,
            "seconds_median": round(statistics.median(step.seconds for step in same), 4),
        }
        for same in zip(*runs, strict=True)
    ]


def _main(write: Callable[[str], Any], said: str, file: str) -> None:
    hasher, proof = NumpyHasher(), Path(file).read_bytes()
    span = GlobalSpan.from_bytes(bytes.fromhex(said))
    verdict = verify_wrap(GlobalProof(span, proof), hasher)
    if verify_light(proof).statement != said_digest(span, hasher):
        raise InvariantError("the light client is shown another statement")
    write(str(verdict.proven_bits))


if __name__ == "__main__":
    _main(sys.stdout.write, *sys.argv[1:])
