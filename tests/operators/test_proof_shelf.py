"""A damaged proof on file: set aside, taken from the log again, or else its job planned again."""

from __future__ import annotations

from pathlib import Path

import pytest

from operators.event_log import EventLog
from operators.jobs import JobBook, JobState
from operators.log_memory import MemoryLog, MemoryStore
from operators.proof_files import damaged_path, find_or_prove, find_proof, proof_path, write_proof
from operators.proof_shelf import ProofShelf
from operators.proof_worker import process_backend
from operators.prover_role import record_of
from operators.pyramid_tree import Segment
from pipelines.sample_window import sample_window
from proving.ledger.trace import statement_digest
from proving.segment_proofs import SEGMENT_KIND, prove_segment
from schemas.job import PROOF_LOST, JobEnvelope, ProofLevel
from schemas.tables import PROOFS

HASHER = process_backend()
WITNESS = sample_window(1, 1)[0]
SEGMENT = Segment(WITNESS.statement, SEGMENT_KIND)
DIGEST = statement_digest(WITNESS.statement, HASHER)


@pytest.fixture(scope="module")
def proof() -> bytes:
    return prove_segment(WITNESS, HASHER).data


def log_with(*proofs: bytes) -> EventLog:
    log = MemoryLog("memory://shelf", MemoryStore())
    log.create_topics({"proofs": 1})
    for data in proofs:
        row = {
            "job_id": bytes(32),
            "level": "segment",
            "shard": 0,
            "window": 0,
            "segment": 0,
            "statement_digest": DIGEST,
            "statement": WITNESS.statement.preimage(),
            "proof": data,
            "proven_bits": 100.0,
            "prover": "p",
            "prove_seconds": 0.0,
            "phases": "[]",
            "created_millis": 0,
        }
        output = record_of(PROOFS, [row])
        log.append(output.topic, output.records)
    return log


def shelf_on(log: EventLog, data: Path) -> ProofShelf:
    shelf = ProofShelf(log, data, HASHER, 100)
    for record in log.read("proofs", 0, 100):
        shelf.note(record.offset, {"level": "segment", "statement_digest": DIGEST})
    return shelf


def test_a_damaged_file_is_set_aside_and_the_logs_proof_takes_its_place(
    tmp_path: Path, proof: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_proof(tmp_path, ProofLevel.SEGMENT, DIGEST, proof[:-1])
    shelf = shelf_on(log_with(b"no proof", proof), tmp_path)
    assert shelf.find(SEGMENT) == proof
    assert path.read_bytes() == proof
    assert damaged_path(path).read_bytes() == proof[:-1]
    assert f"{path} is damaged, set aside as {path.name}.damaged" in caplog.text
    path.write_bytes(proof[:-2])
    assert shelf.find(SEGMENT) == proof, "damage after the first reading is found too"


def test_without_a_proof_on_the_log_there_is_none(tmp_path: Path, proof: bytes) -> None:
    path = write_proof(tmp_path, ProofLevel.SEGMENT, DIGEST, proof[:-1])
    assert shelf_on(log_with(b"no proof"), tmp_path).find(SEGMENT) is None
    assert not path.exists()
    assert damaged_path(path).exists()


def test_a_proof_made_again_replaces_a_damaged_file(tmp_path: Path, proof: bytes) -> None:
    path = write_proof(tmp_path, ProofLevel.SEGMENT, DIGEST, proof[:-1])
    said = WITNESS.statement
    place = (said.shard, said.window, said.segment)
    job = JobEnvelope(ProofLevel.SEGMENT, *place, said.preimage(), WITNESS.encode())
    assert find_or_prove(tmp_path, job, HASHER, 100) == path
    assert find_proof(tmp_path, said, HASHER) is not None
    assert damaged_path(path).read_bytes() == proof[:-1]
    assert path == proof_path(tmp_path, ProofLevel.SEGMENT, DIGEST)


@pytest.mark.parametrize(("detail", "state"), [(None, "accepted"), (PROOF_LOST, "waiting")])
def test_a_finished_job_is_planned_again_only_when_its_proof_is_lost(
    detail: str | None, state: str
) -> None:
    job = JobEnvelope(ProofLevel.WINDOW, 0, 1, 0, b"statement", b"witness")

    def row(event: str, at: int, detail: str | None = None) -> dict[str, object]:
        envelope = job.to_bytes() if event == "planned" else None
        base = {"job_id": job.job_id, "event": event, "attempt": 0, "worker": "", "at_millis": at}
        return {**base, "lease_until_millis": 0, "envelope": envelope, "detail": detail}

    book = JobBook()
    book.apply([row("planned", 0), row("accepted", 1), row("planned", 2, detail)])
    assert book.state_of(job.job_id, 3) is JobState(state)
    assert (book.jobs[job.job_id].envelope is None) == (state == "accepted")
