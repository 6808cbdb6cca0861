from __future__ import annotations

import json
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from operators.event_log import open_log
from operators.proof_files import write_proof
from operators.proof_worker import process_backend
from operators.prover_role import record_of
from operators.windows import envelope_of, planned_job
from pipelines.cli.main import main
from pipelines.sample_window import sample_window
from proving.ledger.trace import statement_digest
from proving.segment_proofs import prove_segment
from schemas.job import ProofLevel
from schemas.tables import JOBS

BACKEND = process_backend()


def test_a_proof_on_file_is_kept_and_its_witness_is_not_even_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    segment = sample_window(1, 0)[0]
    unreadable = replace(envelope_of(segment), witness=b"no witness")
    with closing(open_log(f"sqlite:///{tmp_path / 'log.sqlite'}")) as log:
        log.create_topics({"jobs": 1})
        planned = record_of(JOBS, planned_job(unreadable, 0).rows)
        log.append(planned.topic, planned.records)
    create = ["proof", "create", "--window", "1", "--data", str(tmp_path), "--json"]
    assert main(create) == 1
    assert "error" in json.loads(capsys.readouterr().out)
    digest = statement_digest(segment.statement, BACKEND)
    proof = prove_segment(segment, BACKEND).data
    file = write_proof(tmp_path, ProofLevel.SEGMENT, digest, proof)
    assert main(create) == 0
    (kept,) = json.loads(capsys.readouterr().out)["rows"]
    assert (kept["file"], kept["accepted"]) == (str(file), True)
