from __future__ import annotations

from pathlib import Path

import pytest

from operators.event_log import LogFull
from operators.proof_files import find_proof, proof_files, proof_path, write_proof
from operators.proof_worker import process_backend
from pipelines.sample_window import sample_window
from proving.ledger.trace import statement_digest
from proving.segment_proofs import prove_segment
from schemas.errors import ParameterError
from schemas.job import ProofLevel

DIGEST = bytes(range(32))


def test_a_proof_lies_under_its_level_and_statement(tmp_path: Path) -> None:
    path = write_proof(tmp_path, ProofLevel.SEGMENT, DIGEST, b"proof")
    assert path == tmp_path / "proofs" / "segment" / f"{DIGEST.hex()}.proof"
    assert path.read_bytes() == b"proof"
    assert proof_files(tmp_path, ProofLevel.SEGMENT) == [path]
    assert list(path.parent.iterdir()) == [path]


def test_writing_again_changes_nothing_and_the_first_proof_stays(tmp_path: Path) -> None:
    first = write_proof(tmp_path, ProofLevel.SEGMENT, DIGEST, b"proof")
    assert write_proof(tmp_path, ProofLevel.SEGMENT, DIGEST, b"other") == first
    assert first.read_bytes() == b"proof"


def test_what_a_killed_writer_left_is_no_proof(tmp_path: Path) -> None:
    path = proof_path(tmp_path, ProofLevel.SEGMENT, DIGEST)
    path.parent.mkdir(parents=True)
    path.with_name(f".{path.name}.77").write_bytes(b"pro")
    assert proof_files(tmp_path, ProofLevel.SEGMENT) == []
    assert write_proof(tmp_path, ProofLevel.SEGMENT, DIGEST, b"proof").read_bytes() == b"proof"


def test_a_place_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "proofs").write_text("a file, not a folder")
    with pytest.raises(LogFull, match="cannot be written"):
        write_proof(tmp_path, ProofLevel.SEGMENT, DIGEST, b"proof")


def test_a_digest_of_another_length_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ParameterError):
        proof_path(tmp_path, ProofLevel.SEGMENT, b"short")


def test_a_proof_is_found_by_its_statement_and_only_if_it_shows_it(tmp_path: Path) -> None:
    hasher = process_backend()
    first, second = (sample_window(1, seed)[0] for seed in (1, 2))
    proof = prove_segment(first, hasher).data
    assert find_proof(tmp_path, first.statement, hasher) is None
    digest = statement_digest(first.statement, hasher)
    path = write_proof(tmp_path, ProofLevel.SEGMENT, digest, proof)
    assert find_proof(tmp_path, first.statement, hasher) == proof
    assert find_proof(tmp_path, first.statement, hasher, minimum_bits=128) is None
    path.rename(
        proof_path(tmp_path, ProofLevel.SEGMENT, statement_digest(second.statement, hasher))
    )
    assert find_proof(tmp_path, second.statement, hasher) is None
    path.write_bytes(proof[:-1] + bytes([proof[-1] ^ 1]))
    assert find_proof(tmp_path, first.statement, hasher) is None
