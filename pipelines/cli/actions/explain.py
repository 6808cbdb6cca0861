"""The action of `ecliptica proof explain`."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from operators.event_log import EventLog, open_existing_log
from operators.proof_worker import process_backend
from operators.topic_view import TopicView
from pipelines.cli.actions.proof import jobs_of, named_digest, read_file
from pipelines.cli.contract import Call, Document
from proving.arithmetic.modulus import WORD
from proving.arithmetic.poseidon2 import NumpyHasher
from proving.errors import ProofRejected, RejectionReason
from proving.kinds import kind_numbered, registered_kinds, verifying_key
from proving.ledger.air import LedgerAir
from proving.ledger.trace import check_statement
from proving.ledger.witness import decode_witness
from proving.recursion.programs import STATEMENT_WORD
from proving.recursion.recursive_proofs import check_self_named
from proving.segment_proofs import prove_segment
from proving.stark.encoding import read_header
from proving.stark.explain import (
    Difference,
    Hearing,
    explain,
    explain_both,
    first_difference,
    listen,
)
from proving.stark.key import VerifyingKey
from proving.stark.transcript import Label, TranscriptEvent
from schemas.errors import ParameterError, WireError
from schemas.job import JobEnvelope
from schemas.statement import DIGEST_OFFSET, statement_of_publics
from schemas.tables import PROOFS
from schemas.topics import BEACON_SHARD
from schemas.topics import PROOFS as PROOFS_TOPIC
from schemas.units import word_bytes

HASHER = NumpyHasher()


def explain_proof(call: Call, *, file: Path, against: Path | None) -> Document:
    """Prints the transcripts of both sides of a proof and where they part.

    The verifier's is heard from the file, as far as it goes. The prover's is that of `against`; or else it is made again
    from a segment's job on the log; or else it is that of a proof on the log of the statement that the file states or
    is named for.

    Raises:
        ProofError: The file is no proof under a registered key, or `against` does not hold.
    """
    data = read_file(file)
    key = _key_of(data)
    heard = _heard(key, data)
    said, source = _prover_side(call, file, key, heard, against=against)
    difference = None if said is None else first_difference(said, heard.events)
    lines = [] if said is None else explain_both(said, heard.events)
    lines = lines or [f"verifier  {line.text()}" for line in explain(heard.events)]
    verdict = "accepted" if heard.error is None else f"refused: {heard.error}"
    lines += [f"prover: {source}", f"verifier: {verdict}, after {len(heard.events)} steps"]
    if said is not None:
        lines.append(f"first difference: {_parting(difference, heard)}")
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


def _parting(difference: Difference | None, heard: Hearing) -> str:
    if difference is not None:
        return difference.text()
    if heard.error is None:
        return "none"
    return f"none: {heard.error.where} is opened after the transcript or not part of it"


def _heard(key: VerifyingKey, data: bytes) -> Hearing:
    """Verifies a proof and the rules on its public inputs that the circuit leaves to the verifier."""
    heard = listen(key, data, HASHER)
    if heard.error is not None:
        return heard
    publics = _publics(heard)
    try:
        if isinstance(key.air, LedgerAir):
            check_statement(publics, HASHER)
        else:
            check_self_named(kind_numbered(key.kind).name, publics, HASHER)
    except ProofRejected as error:
        return replace(heard, error=error)
    return heard


def _publics(heard: Hearing) -> tuple[int, ...]:
    """Returns the public inputs that were heard, or none."""
    stated = (event.values for event in heard.events if event.label is Label.PUBLICS)
    return tuple(next(stated, ()))


def _key_of(data: bytes) -> VerifyingKey:
    """Returns the registered key that a proof names.

    Raises:
        ProofError: The bytes have no header of a proof, or it names another key.
    """
    header = read_header(data)
    kinds = registered_kinds()
    named = kinds.by_number.get(header.kind)
    keys = [verifying_key(one.name, HASHER) for one in (kinds.kinds if named is None else [named])]
    found = next((key for key in keys if key.digest == header.key_digest), None)
    if found is None:
        known = ", ".join(f"{kind_numbered(key.kind).name} {key.digest_hex}" for key in keys)
        raise ProofRejected(RejectionReason.UNKNOWN_KEY, "header", known, header.digest_hex)
    return found


def _prover_side(
    call: Call, file: Path, key: VerifyingKey, heard: Hearing, *, against: Path | None
) -> tuple[Sequence[TranscriptEvent] | None, str]:
    """Returns the prover's transcript, or None, and where it comes from."""
    if against is not None:
        other = read_file(against)
        shown = _heard(_key_of(other), other)
        if shown.error is not None:
            raise shown.error
        return shown.events, str(against)
    try:
        with closing(open_existing_log(call.settings().log_url)) as log:
            job = _segment_job(log, heard) if isinstance(key.air, LedgerAir) else None
            if job is None:
                return _from_log(log, key, _digests(file, key, heard))
    except ParameterError as error:
        return None, f"cannot be heard: {error}; name a proof of the statement with --against"
    place = f"shard {job.shard}, window {job.window}, segment {job.segment}"
    proof = prove_segment(decode_witness(job.witness), process_backend())
    return proof.events, f"proven again from the job of {place}"


def _segment_job(log: EventLog, heard: Hearing) -> JobEnvelope | None:
    """Returns the job of the segment that a proof states."""
    try:
        stated = statement_of_publics(list(_publics(heard)))
    except WireError:
        return None
    jobs = jobs_of(log, stated.shard, stated.window)
    return next((one for one in jobs if one.segment == stated.segment), None)


def _digests(file: Path, key: VerifyingKey, heard: Hearing) -> list[bytes]:
    """Returns the statement digests that a file may be about: the one it states, and the one it is named for."""
    publics = _publics(heard)
    found = [named_digest(file)]
    if publics:
        start = DIGEST_OFFSET if isinstance(key.air, LedgerAir) else WORD * STATEMENT_WORD
        found.insert(0, word_bytes(publics[start : start + WORD]))
    return [digest for digest in found if digest is not None]


def _from_log(
    log: EventLog, key: VerifyingKey, digests: Sequence[bytes]
) -> tuple[Sequence[TranscriptEvent] | None, str]:
    """Returns the transcript of a proof on the log that holds, of the first digest that has one, and its place."""
    if not digests:
        return None, "unknown: the bytes state nothing, and the name is no statement digest"
    found: dict[bytes, tuple[Sequence[TranscriptEvent], str]] = {}
    for record, row in TopicView(log).placed_rows(PROOFS_TOPIC, PROOFS):
        digest, proof = bytes(row["statement_digest"]), bytes(row["proof"])
        if digest not in digests or digest in found:
            continue
        heard = _heard(key, proof)
        if heard.error is None:
            place = f"shard {row['shard']}, window {row['window']}, segment {row['segment']}"
            if row["shard"] == BEACON_SHARD:
                place = f"all shards from window {row['window']}"
            source = f"proofs/{record.offset} on the log, {row['level']}, {place}"
            found[digest] = heard.events, source
    for digest in digests:
        if digest in found:
            return found[digest]
    names = " or ".join(digest.hex() for digest in digests)
    return None, f"no proof of {names} is on the log; name one with --against"


def _events(events: Sequence[TranscriptEvent]) -> list[dict[str, Any]]:
    return [
        {"step": step, "action": e.action, "label": e.label.name.lower(), "values": list(e.values)}
        for step, e in enumerate(events)
    ]
