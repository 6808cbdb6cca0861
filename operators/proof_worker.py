"""The work of a proof worker: envelope bytes in, a verified proof with its measurements out.

Importable by name, so that a Ray actor or a plain process loads it. The backend is chosen once per process
from `ECLIPTICA_BACKEND` and is never replaced by another: a missing one is an error.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from functools import cache

from operators.prover_pool import THREADS_VARIABLE
from proving.backends.freed_memory import keep_freed_memory
from proving.backends.port import Backend, Hasher
from proving.errors import ProofRejected, ProvingError, RejectionReason
from proving.kinds import proving_key
from proving.ledger.trace import statement_digest
from proving.ledger.witness import decode_witness
from proving.prover import OnPhase, PhaseSpan
from proving.recursion.pyramid_work import (
    decode_work,
    prove_work,
    read_said,
    said_bytes,
    said_digest,
    verify_said,
)
from proving.segment_proofs import prove_segment, verify_segment
from schemas.errors import ParameterError
from schemas.job import JobEnvelope, ProofLevel
from schemas.statement import decode_statement
from schemas.units import WORD_BYTES
from schemas.wire import Reader, Writer

BACKEND_VARIABLE = "ECLIPTICA_BACKEND"
"""Names the backend: `auto`, `cpu`, `cuda` or `reference`."""

DEFAULT_BACKEND = "auto"

GPU_MEMORY_VARIABLE = "ECLIPTICA_GPU_MEMORY_PERCENT"
"""Share of the GPU's memory that a worker may take, percent; 90 without it."""

RESULT_VERSION = 1
"""First byte of a result."""

PROOF_LIMIT = 2**23
"""No proof of any kind is longer, bytes."""

PHASES_LIMIT = 2**16
"""Bytes of the span list."""


@dataclass(frozen=True, slots=True)
class ProofResult:
    """What a worker hands back.

    Attributes:
        proof: Canonical proof bytes.
        statement_digest: Word that stands for the statement.
        proven_bits: Soundness of the proof.
        seconds: Wall time of proving, without the check.
        phases: JSON list of `{name, seconds, cells}`.
    """

    proof: bytes
    statement_digest: bytes
    proven_bits: int
    seconds: float
    phases: str

    def to_bytes(self) -> bytes:
        """Returns canonical bytes."""
        writer = Writer().u8(RESULT_VERSION).fixed(self.statement_digest, WORD_BYTES)
        writer.u16(self.proven_bits).u64(round(self.seconds * 1e6))
        return writer.sized(self.phases.encode()).sized(self.proof).finish()

    @classmethod
    def from_bytes(cls, encoded: bytes) -> ProofResult:
        """Reads canonical bytes.

        Raises:
            WireError: They are not a result.
        """
        reader = Reader(encoded, "proof_result")
        if reader.u8("version") != RESULT_VERSION:
            raise reader.fail("version", f"expected {RESULT_VERSION}")
        digest, bits = reader.word("statement_digest"), reader.u16("proven_bits")
        seconds = reader.u64("micros") / 1e6
        phases = reader.sized("phases", PHASES_LIMIT).decode("utf-8", "replace")
        proof = reader.sized("proof", PROOF_LIMIT)
        reader.finish()
        return cls(proof, digest, bits, seconds, phases)


@cache
def open_backend(name: str, threads: int = 1) -> Backend:
    """Returns a backend by name.

    Args:
        name: `auto`, `cpu`, `cuda` or `reference`; `auto` is `cpu`.
        threads: Of the compiled backend; a worker has one core.

    Raises:
        EnvironmentMissing: It is `cuda`, and there is no GPU that can be used.
        ParameterError: There is no backend of that name.
    """
    if name == "reference":
        from proving.backends.reference import ReferenceBackend  # noqa: PLC0415  - one is loaded

        return ReferenceBackend()
    if name in ("auto", "cpu"):
        from proving.backends.cpu import CpuBackend  # noqa: PLC0415  - loads LLVM

        keep_freed_memory()
        return CpuBackend(threads)
    if name == "cuda":
        from proving.backends.cupy_device import open_cuda  # noqa: PLC0415  - loads CuPy

        return open_cuda(_gpu_memory_percent())
    raise ParameterError(f"there is no backend {name!r}", "say auto, cpu, cuda or reference")


def _gpu_memory_percent() -> int:
    text = os.environ.get(GPU_MEMORY_VARIABLE, "90")
    if not text.isdecimal() or not 1 <= int(text) <= 100:
        raise ParameterError(f"{GPU_MEMORY_VARIABLE} is {text!r}", "say a number from 1 to 100")
    return int(text)


def check_backend(name: str) -> None:
    """Checks that workers will find a backend's device, without opening it.

    Raises:
        EnvironmentMissing: It is `cuda`, and there is no GPU that can be used.
    """
    if name == "cuda":
        from proving.backends.cupy_device import require_gpu  # noqa: PLC0415  - loads CuPy

        require_gpu()


def host_backend(name: str) -> str:
    """Returns the backend for hashes a few at a time beside proofs: a GPU is for proofs alone."""
    return "cpu" if name == "cuda" else name


@cache
def process_backend(threads: int = 1) -> Backend:
    """Returns the backend of this process with so many threads, opened at the first call."""
    return open_backend(os.environ.get(BACKEND_VARIABLE, DEFAULT_BACKEND), threads)


def worker_backend() -> Backend:
    """Returns the backend of this worker, with the threads that its pool has given it."""
    return process_backend(int(os.environ.get(THREADS_VARIABLE, "1")))


def prepare_keys(*kinds: str) -> None:
    """Builds the proving keys of kinds, which the first proof of each would otherwise wait for; seconds each.

    Raises:
        EnvironmentMissing: The configured backend cannot run here.
    """
    for kind in kinds:
        proving_key(kind, worker_backend())


def prove_envelope(envelope: bytes) -> bytes:
    """Proves a job and verifies the proof before it is handed back.

    Args:
        envelope: Canonical bytes of a `schemas.job.JobEnvelope`.

    Returns:
        Canonical bytes of a `ProofResult`.

    Raises:
        WireError: Envelope, statement or witness are not canonical.
        ProvingError: The witness does not show the statement.
        ProofRejected: The proof that was made is not accepted; a defect of this machine.
        EnvironmentMissing: The configured backend cannot run here.
    """
    return prove_job(JobEnvelope.from_bytes(envelope), worker_backend()).to_bytes()


def prove_job(job: JobEnvelope, backend: Backend) -> ProofResult:
    """Like `prove_envelope`, decoded and on a given backend."""
    spans: list[PhaseSpan] = []
    started = time.perf_counter()
    if job.level is ProofLevel.SEGMENT:
        proof = _prove_segment(job, backend, spans.append)
    else:
        said, proof = prove_work(decode_work(job.witness), backend, spans.append)
        if said_bytes(said) != job.statement:
            raise ProvingError("the job's witness and statement do not belong together")
    seconds = time.perf_counter() - started
    digest, bits = verify_job_proof(job, proof, backend)
    listed = [{"name": s.name, "seconds": round(s.seconds, 6), "cells": s.cells} for s in spans]
    phases = json.dumps(listed, separators=(",", ":"))
    return ProofResult(proof, digest, bits, seconds, phases)


def _prove_segment(job: JobEnvelope, backend: Backend, on_phase: OnPhase) -> bytes:
    statement = decode_statement(job.statement)
    witness = decode_witness(job.witness)
    place = (statement.shard, statement.window, statement.segment)
    if witness.statement != statement or place != (job.shard, job.window, job.segment):
        raise ProvingError("the job's witness, statement and place do not belong together")
    return prove_segment(witness, backend, on_phase).data


def verify_job_proof(job: JobEnvelope, proof: bytes, hasher: Hasher) -> tuple[bytes, int]:
    """Verifies that a proof shows a job's statement; returns the statement's digest and the proven bits.

    Raises:
        WireError: The statement is not canonical.
        ProofError: The proof does not hold, or shows another statement.
    """
    if job.level is not ProofLevel.SEGMENT:
        said = read_said(job.statement)
        verdict = verify_said(said, proof, hasher, is_wrapped=job.level is ProofLevel.DAY)
        return said_digest(said, hasher), verdict.proven_bits
    statement = decode_statement(job.statement)
    shown, verdict = verify_segment(proof, hasher)
    if shown != statement:
        reason = RejectionReason.STATEMENT_MISMATCH
        raise ProofRejected(reason, "publics", "the job's statement", "another")
    return statement_digest(statement, hasher), verdict.proven_bits
