"""Actions of `ecliptica proof`."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from operators.event_log import EventLog, open_existing_log
from operators.proof_files import write_proof
from operators.proof_worker import process_backend, prove_job
from operators.topic_view import TopicView
from pipelines.cli.contract import Call, Document, Rows
from proving.arithmetic.poseidon2 import NumpyHasher
from proving.errors import ProofError, ProofMalformed, RejectionReason
from proving.kinds import registered_kinds, verifying_key
from proving.segment_proofs import (
    LARGE_SEGMENT_KIND,
    SEGMENT_KIND,
    SEGMENT_KINDS,
    boundary_state_root,
    verify_segment,
)
from proving.stark.soundness import SoundnessReport, analyse, best_johnson, unique_decoding
from proving.stark.transcript import TranscriptEvent
from schemas.errors import ParameterError
from schemas.job import JobEnvelope, JobEvent, ProofLevel, planned_envelope
from schemas.receipt import COVERED_BY_PROOF, COVERED_BY_QUORUM
from schemas.tables import JOBS
from schemas.topics import JOBS as JOBS_TOPIC
from schemas.units import Array

MAX_PROOF_BYTES = 2**26
"""No more of a file is read; a proof has a few hundred kilobytes."""

SHOWN_VALUES = 8
"""Values of a transcript event that `explain` prints in full."""


@dataclass(frozen=True, slots=True)
class ProofReport:
    """What a proof file shows.

    Attributes:
        file: The file.
        bytes: Its size.
        sha256: Its hash, hex.
        accepted: Whether it holds.
        error: Why not, or empty.
        proven_bits: Proven soundness.
        verify_ms: Time of the check alone.
        shown: The statement: level, chain, shard, window, segment, kind, heights, slots, accounts, roots.
    """

    file: Path
    bytes: int
    sha256: str
    accepted: bool
    error: str
    proven_bits: int | None
    verify_ms: float
    shown: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ProofReports:
    """Reports on several files; the exit code is that of the worst."""

    proofs: list[ProofReport]
    accepted: int
    exit_code: int


def verify_proof(call: Call, *, files: Sequence[Path]) -> ProofReport | ProofReports:
    """Verifies proof files; a single one that does not hold ends the command with its error."""
    minimum = call.settings().configuration.proving.minimum_proven_bits
    hasher = NumpyHasher()
    for name in SEGMENT_KINDS:
        verifying_key(name, hasher)  # so that the first file's time is its own
    if len(files) == 1:
        return _report(files[0], minimum, hasher)
    reports, code = [], 0
    call.report.phase("verify", len(files))
    for file in files:
        try:
            reports.append(_report(file, minimum, hasher))
        except ProofError as error:
            reports.append(_failed(file, error))
            code = max(code, error.exit_code)
        call.report.advance(1)
    return ProofReports(reports, sum(report.accepted for report in reports), code)


def explain_proof(call: Call, *, file: Path) -> Document:
    """Prints the transcript of a proof as the verifier hears it."""
    _, verdict = verify_segment(_read(file), NumpyHasher())
    events = [
        {"step": step, "action": e.action, "label": e.label.name.lower(), "values": list(e.values)}
        for step, e in enumerate(verdict.events)
    ]
    lines = [f"{step:4}  {_event_line(event)}" for step, event in enumerate(verdict.events)]
    return Document("\n".join(lines), {"file": file, "events": events})


def show_soundness(call: Call, *, kind: str) -> Rows:
    """The soundness table: every round under both regimes; the proven one counts."""
    name = {"S": SEGMENT_KIND, "L": LARGE_SEGMENT_KIND}[kind]
    key = verifying_key(name, NumpyHasher())
    unique = analyse(key.parameters, key.shape, unique_decoding(2.0**-key.parameters.log_blowup))
    reports: list[SoundnessReport] = [unique, best_johnson(key.parameters, key.shape)]
    rows = [
        (kind, report.regime, entry.name, round(entry.bits, 2), entry.formula)
        for report in reports
        for entry in report.rounds
    ]
    return Rows(("kind", "regime", "round", "bits", "formula"), rows)


def create_proof(call: Call, *, window: int, shard: int, out: Path | None) -> list[ProofReport]:
    """Proves a closed window again from the jobs on the log."""
    settings = call.settings()
    minimum = settings.configuration.proving.minimum_proven_bits
    with closing(open_existing_log(settings.log_url)) as log:
        envelopes = sorted(_jobs_of(log, shard, window), key=lambda one: one.segment)
    if not envelopes:
        raise ParameterError(
            f"no closed window {window} of shard {shard} is on the log",
            '`ecliptica epoch query "select \\"window\\" from windows"` lists closed windows',
        )
    call.report.phase("prove", len(envelopes))
    reports = []
    for envelope in envelopes:
        if call.stop.is_requested:
            break
        result = prove_job(envelope, process_backend())
        root = settings.data if out is None else out
        path = write_proof(root, ProofLevel.SEGMENT, result.statement_digest, result.proof)
        reports.append(_report(path, minimum, NumpyHasher()))
        call.report.advance(1)
    return reports


def _jobs_of(log: EventLog, shard: int, window: int) -> Iterator[JobEnvelope]:
    seen: set[int] = set()
    for row in TopicView(log).rows(JOBS_TOPIC, JOBS):
        if row["event"] != JobEvent.PLANNED:
            continue
        envelope = planned_envelope(row)
        if envelope is None:
            continue
        if (envelope.shard, envelope.window) == (shard, window) and envelope.segment not in seen:
            seen.add(envelope.segment)
            yield envelope


def _report(file: Path, minimum_bits: int, hasher: NumpyHasher) -> ProofReport:
    data = _read(file)
    started = time.perf_counter()
    statement, verdict = verify_segment(data, hasher, minimum_bits)
    seconds = time.perf_counter() - started
    before, after = statement.before, statement.after
    shown = {
        "level": ProofLevel.SEGMENT.value,
        "chain": statement.chain,
        "shard": statement.shard,
        "window": statement.window,
        "segment": statement.segment,
        "kind": registered_kinds().by_number[verdict.kind].name,
        "blocks": [before.height, after.height],
        "slots": [before.slot, after.slot],
        "accounts": [before.keys, after.keys],
        "state_root": [
            boundary_state_root(before, hasher).hex(),
            boundary_state_root(after, hasher).hex(),
        ],
        "transactions_root": after.root(Array.TXS).hex(),
        "covered": list(COVERED_BY_PROOF),
        "not_covered": list(COVERED_BY_QUORUM),
    }
    return ProofReport(
        file,
        len(data),
        hashlib.sha256(data).hexdigest(),
        True,
        "",
        verdict.proven_bits,
        round(seconds * 1000, 1),
        shown,
    )


def _failed(file: Path, error: ProofError) -> ProofReport:
    """Returns the report on a file that does not hold; one that is too large is not hashed."""
    if error.reason is RejectionReason.TOO_LARGE:
        size, digest = file.stat().st_size, ""
    else:
        data = _read(file)
        size, digest = len(data), hashlib.sha256(data).hexdigest()
    return ProofReport(file, size, digest, False, str(error), None, 0.0, {})


def _read(file: Path) -> bytes:
    """Reads a proof file, never more of it than a proof can have.

    Raises:
        ProofMalformed: It is larger than any proof.
        ParameterError: It cannot be read.
    """
    try:
        with file.open("rb") as stream:
            data = stream.read(MAX_PROOF_BYTES + 1)
    except OSError as error:
        raise ParameterError(
            f"{file}: {error.strerror}", "give the path of a proof file"
        ) from error
    if len(data) > MAX_PROOF_BYTES:
        raise ProofMalformed(
            RejectionReason.TOO_LARGE, "proof", f"at most {MAX_PROOF_BYTES} bytes", "more"
        )
    return data


def _event_line(event: TranscriptEvent) -> str:
    shown = ", ".join(map(str, event.values[:SHOWN_VALUES]))
    more = len(event.values) - SHOWN_VALUES
    tail = f", ... {more} more" if more > 0 else ""
    return f"{event.action:<10} {event.label.name.lower():<22} {shown}{tail}"
