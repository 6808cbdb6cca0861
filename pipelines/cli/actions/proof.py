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
from operators.proof_files import find_or_prove
from operators.proof_worker import process_backend
from operators.topic_view import TopicView
from pipelines.cli.contract import Call, Rows
from proving.arithmetic.poseidon2 import NumpyHasher
from proving.backends.port import Hasher
from proving.errors import ProofError, ProofMalformed, RejectionReason
from proving.kinds import PROGRAMS, ProofKind, kind_named, registered_kinds, verifying_key
from proving.ledger.trace import statement_digest
from proving.recursion.programs import STATEMENT_WORD
from proving.recursion.recursive_proofs import payee_of, public_word_of, verify_kinds
from proving.segment_proofs import (
    SEGMENT_KINDS,
    boundary_state_root,
    verify_segment,
)
from proving.stark.encoding import read_header
from proving.stark.soundness import analyse, best_johnson, unique_decoding
from proving.verifier import VerifiedStatement
from schemas.errors import ParameterError
from schemas.job import JobEnvelope, JobEvent, ProofLevel, planned_envelope
from schemas.receipt import COVERED_BY_PROOF, COVERED_BY_QUORUM
from schemas.statement import SegmentStatement
from schemas.tables import JOBS
from schemas.topics import JOBS as JOBS_TOPIC
from schemas.units import WORD_BYTES, Array, word_bytes

MAX_PROOF_BYTES = 2**26
"""No more of a file is read; a proof has a few hundred kilobytes."""

LEVELS = {"day": (ProofLevel.SHARD_HOUR.value, ProofLevel.DAY_RUN.value)}
"""Levels of kinds of proof that serve more than one."""


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
        shown: The statement: level, kind, statement digest, and of a segment chain, shard, window, segment, heights,
            slots, accounts, roots. `is_named_for_it` if the file's name is a digest: whether it is this one.
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
    if len(files) == 1:
        return _report(files[0], minimum, NumpyHasher())
    hasher = process_backend()  # a second to load, and four times as fast
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
        envelopes = sorted(jobs_of(log, shard, window), key=lambda one: one.segment)
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


def jobs_of(log: EventLog, shard: int, window: int) -> Iterator[JobEnvelope]:
    """Yields the jobs of a window's segments, of each the first that was planned."""
    seen: set[int] = set()
    for row in TopicView(log).rows(JOBS_TOPIC, JOBS):
        if row["event"] != JobEvent.PLANNED:
            continue
        envelope = planned_envelope(row)
        if envelope is None:
            continue
        place = envelope.level, envelope.shard, envelope.window
        if place == (ProofLevel.SEGMENT, shard, window) and envelope.segment not in seen:
            seen.add(envelope.segment)
            yield envelope


def _report(file: Path, minimum_bits: int, hasher: Hasher) -> ProofReport:
    data = read_file(file)
    kind = registered_kinds().by_number.get(read_header(data).kind)
    for name in SEGMENT_KINDS if kind is None else (kind.name,):
        verifying_key(name, hasher)  # so that a file's time is its own
    started = time.perf_counter()
    if kind is not None and kind.name in PROGRAMS:
        verdict = verify_kinds(data, [kind.name], hasher, minimum_bits)
        seconds = time.perf_counter() - started
        shown = _shown_words(kind, verdict, file)
    else:
        statement, verdict = verify_segment(data, hasher, minimum_bits)
        seconds = time.perf_counter() - started
        shown = _shown_segment(statement, verdict, hasher)
    named = named_digest(file)
    if named is not None:
        shown["is_named_for_it"] = named.hex() == shown["statement"]
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
    statement: SegmentStatement, verdict: VerifiedStatement, hasher: Hasher
) -> dict[str, Any]:
    before, after = statement.before, statement.after
    return {
        "level": ProofLevel.SEGMENT.value,
        "chain": statement.chain,
        "shard": statement.shard,
        "window": statement.window,
        "segment": statement.segment,
        "kind": registered_kinds().by_number[verdict.kind].name,
        "statement": statement_digest(statement, hasher).hex(),
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


def _shown_words(kind: ProofKind, verdict: VerifiedStatement, file: Path) -> dict[str, Any]:
    """What a recursive proof shows by itself: words. What the statement stands for is for its reader to know."""
    return {
        "level": _level_of(kind, file),
        "kind": kind.name,
        "statement": word_bytes(public_word_of(verdict, STATEMENT_WORD)).hex(),
        "payee": word_bytes(payee_of(verdict)).hex(),
        "covered": list(COVERED_BY_PROOF),
        "not_covered": list(COVERED_BY_QUORUM),
    }


def _level_of(kind: ProofKind, file: Path) -> str:
    """Returns the level of a recursive proof; of a kind that serves several, the one whose folder the file lies in."""
    levels = LEVELS.get(kind.name, (kind.level,))
    return file.parent.name if file.parent.name in levels else " or ".join(levels)


def named_digest(file: Path) -> bytes | None:
    """Returns the statement digest that a file is named for, also one that was set aside; None for other names."""
    name = file.name.partition(".")[0]
    try:
        digest = bytes.fromhex(name)
    except ValueError:
        return None
    return digest if len(digest) == WORD_BYTES else None


def _failed(file: Path, error: ProofError) -> ProofReport:
    """Returns the report on a file that does not hold; one that is too large is not hashed."""
    if error.reason is RejectionReason.TOO_LARGE:
        size, digest = file.stat().st_size, ""
    else:
        data = read_file(file)
        size, digest = len(data), hashlib.sha256(data).hexdigest()
    return ProofReport(file, size, digest, False, str(error), None, 0.0, {})


def read_file(file: Path) -> bytes:
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
