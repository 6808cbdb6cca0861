"""Actions of `ecliptica proof`."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from operators.event_log import EventLog, open_existing_log
from operators.proof_files import find_or_prove
from operators.proof_worker import process_backend
from operators.topic_view import TopicView
from pipelines.cli.contract import Call, Document, Rows
from proving.arithmetic.poseidon2 import NumpyHasher
from proving.errors import ProofError, ProofMalformed, ProofRejected, RejectionReason
from proving.kinds import PROGRAMS, ProofKind, kind_named, registered_kinds, verifying_key
from proving.ledger.air import LedgerAir
from proving.ledger.trace import check_statement
from proving.ledger.witness import decode_witness
from proving.recursion.programs import STATEMENT_WORD
from proving.recursion.recursive_proofs import payee_of, public_word_of, verify_kinds
from proving.segment_proofs import (
    SEGMENT_KINDS,
    boundary_state_root,
    prove_segment,
    verify_segment,
)
from proving.stark.encoding import read_header
from proving.stark.explain import Hearing, explain, explain_both, first_difference, listen
from proving.stark.key import VerifyingKey
from proving.stark.soundness import analyse, best_johnson, unique_decoding
from proving.stark.transcript import Label, TranscriptEvent
from proving.verifier import VerifiedStatement
from schemas.errors import ParameterError, WireError
from schemas.job import JobEnvelope, JobEvent, ProofLevel, planned_envelope
from schemas.receipt import COVERED_BY_PROOF, COVERED_BY_QUORUM
from schemas.statement import NUM_PUBLICS, SegmentStatement, statement_of_publics
from schemas.tables import JOBS
from schemas.topics import JOBS as JOBS_TOPIC
from schemas.units import Array, word_bytes

MAX_PROOF_BYTES = 2**26
"""No more of a file is read; a proof has a few hundred kilobytes."""


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


def explain_proof(call: Call, *, file: Path, against: Path | None) -> Document:
    """Prints the transcripts of both sides of a proof and where they part.

    The verifier's is heard from the file, as far as it goes. The prover's is made again from the job on the
    log, or taken from a proof of the same statement that holds.

    Raises:
        ProofError: The file is no proof under a registered key, or `against` does not hold.
    """
    hasher = NumpyHasher()
    data = _read(file)
    key = _key_of(data, hasher)
    heard = _heard(key, data, hasher)
    said, source = _prover_side(call, heard, against, hasher)
    difference = None if said is None else first_difference(said, heard.events)
    lines = [] if said is None else explain_both(said, heard.events)
    lines = lines or [f"verifier  {line.text()}" for line in explain(heard.events)]
    verdict = "accepted" if heard.error is None else f"refused: {heard.error}"
    lines += [f"prover: {source}", f"verifier: {verdict}, after {len(heard.events)} steps"]
    if said is not None:
        parting = "none" if difference is None else difference.text()
        lines.append(f"first difference: {parting}")
    document = {
        "file": file,
        "accepted": heard.error is None,
        "error": "" if heard.error is None else str(heard.error),
        "events": _events(heard.events),
        "prover": None if said is None else _events(said),
        "prover_source": source,
        "first_difference": None
        if difference is None
        else {"step": difference.step, "element": difference.position, "text": difference.text()},
    }
    code = 0 if heard.error is None else heard.error.exit_code
    return Document("\n".join(lines), document, exit_code=code)


def _heard(key: VerifyingKey, data: bytes, hasher: NumpyHasher) -> Hearing:
    """Verifies a proof and, of a segment, the rules on its statement that the circuit leaves to the verifier."""
    heard = listen(key, data, hasher)
    if heard.error is None and isinstance(key.air, LedgerAir):
        stated = next(event for event in heard.events if event.label is Label.PUBLICS)
        try:
            check_statement(stated.values, hasher)
        except ProofRejected as error:
            return replace(heard, error=error)
    return heard


def _key_of(data: bytes, hasher: NumpyHasher) -> VerifyingKey:
    """Returns the registered key that a proof names.

    Raises:
        ProofError: The bytes have no header of a proof, or it names another key.
    """
    digest = read_header(data).key_digest
    keys = [verifying_key(kind.name, hasher) for kind in registered_kinds().kinds]
    found = next((key for key in keys if key.digest == digest), None)
    if found is None:
        known = [key.digest_hex for key in keys]
        raise ProofRejected(RejectionReason.UNKNOWN_KEY, "header", known, digest)
    return found


def _prover_side(
    call: Call, heard: Hearing, against: Path | None, hasher: NumpyHasher
) -> tuple[Sequence[TranscriptEvent] | None, str]:
    """Returns the prover's transcript, or None, and where it comes from."""
    if against is not None:
        other = _read(against)
        shown = _heard(_key_of(other, hasher), other, hasher)
        if shown.error is not None:
            raise shown.error
        return shown.events, str(against)
    settings = call.settings()
    stated = [event.values for event in heard.events if event.label is Label.PUBLICS]
    if not stated:
        return None, "the bytes state nothing that could be proven again"
    if len(stated[0]) != NUM_PUBLICS:
        return (
            None,
            "only segments are proven again from the log; name a proof of it with --against",
        )
    try:
        statement = statement_of_publics(list(stated[0]))
        with closing(open_existing_log(settings.log_url)) as log:
            jobs = _jobs_of(log, statement.shard, statement.window)
            job = next((one for one in jobs if one.segment == statement.segment), None)
    except (WireError, ParameterError) as error:
        return None, f"cannot be proven again: {error}; name a proof of it with --against"
    place = f"shard {statement.shard}, window {statement.window}, segment {statement.segment}"
    if job is None:
        return None, f"no job of {place} is on the log; name a proof of it with --against"
    proof = prove_segment(decode_witness(job.witness), process_backend())
    return proof.events, f"proven again from the job of {place}"


def _events(events: Sequence[TranscriptEvent]) -> list[dict[str, Any]]:
    return [
        {"step": step, "action": e.action, "label": e.label.name.lower(), "values": list(e.values)}
        for step, e in enumerate(events)
    ]


def show_soundness(call: Call, *, kind: str | None) -> Rows:
    """The soundness table of one kind or of all: every round under both regimes; the better one counts.

    Raises:
        ParameterError: There is no such kind.
    """
    kinds = registered_kinds().kinds if kind is None else (kind_named(_kind_name(kind)),)
    rows = []
    for one in kinds:
        key = verifying_key(one.name, NumpyHasher())
        rate = 2.0**-key.parameters.log_blowup
        unique = analyse(key.parameters, key.shape, unique_decoding(rate))
        for report in (unique, best_johnson(key.parameters, key.shape)):
            rows += [
                (one.name, report.regime, entry.name, round(entry.bits, 2), entry.formula)
                for entry in report.rounds
            ]
            weakest = round(min(entry.bits for entry in report.rounds), 2)
            rows.append((one.name, report.regime, "weakest round", weakest, "minimum"))
    return Rows(("kind", "regime", "round", "bits", "formula"), rows)


def _kind_name(text: str) -> str:
    """Returns the name of a kind from its name or, of a segment, its last letter in either case."""
    short = f"segment_{text.lower()}"
    return short if short in registered_kinds().by_name else text


def create_proof(call: Call, *, window: int, shard: int, out: Path | None) -> list[ProofReport]:
    """Proves a closed window from the jobs on the log; what is on file and holds is not proven a second time."""
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
        root = settings.data if out is None else out
        path = find_or_prove(root, envelope, process_backend(), minimum)
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
    kind = registered_kinds().by_number.get(read_header(data).kind)
    for name in SEGMENT_KINDS if kind is None else (kind.name,):
        verifying_key(name, hasher)  # so that a file's time is its own
    started = time.perf_counter()
    if kind is not None and kind.name in PROGRAMS:
        verdict = verify_kinds(data, [kind.name], hasher, minimum_bits)
        seconds = time.perf_counter() - started
        shown = _shown_words(kind, verdict)
    else:
        statement, verdict = verify_segment(data, hasher, minimum_bits)
        seconds = time.perf_counter() - started
        shown = _shown_segment(statement, verdict, hasher)
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


def _shown_segment(
    statement: SegmentStatement, verdict: VerifiedStatement, hasher: NumpyHasher
) -> dict[str, Any]:
    before, after = statement.before, statement.after
    return {
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


def _shown_words(kind: ProofKind, verdict: VerifiedStatement) -> dict[str, Any]:
    """What a recursive proof shows by itself: words. What the statement stands for is for its reader to know."""
    return {
        "level": kind.level,
        "kind": kind.name,
        "statement": word_bytes(public_word_of(verdict, STATEMENT_WORD)).hex(),
        "payee": word_bytes(payee_of(verdict)).hex(),
        "covered": list(COVERED_BY_PROOF),
        "not_covered": list(COVERED_BY_QUORUM),
    }


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
