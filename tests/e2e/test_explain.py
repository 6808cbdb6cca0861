from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import pytest

from operators.event_log import Record, open_log
from operators.proof_worker import process_backend
from pipelines.chain_setup import create_topics
from pipelines.cli.main import main
from pipelines.sample_window import sample_window
from proving.kinds import proving_key
from proving.ledger.air import LedgerAir
from proving.ledger.trace import build_trace
from proving.prover import prove_stark
from proving.segment_proofs import SEGMENT_KIND
from proving.stark.encoding import HEADER_BYTES
from schemas.statement import DIGEST_OFFSET
from schemas.units import MODULUS
from tests.suites.mini_chain import MiniChain


@pytest.fixture
def proof(proven_day: MiniChain) -> Path:
    return sorted((proven_day.data / "proofs" / "segment").glob("*.proof"))[0]


@pytest.fixture
def data(proven_day: MiniChain, tmp_path: Path) -> Path:
    """A data directory whose log holds the day's jobs."""
    found = tmp_path / "data"
    found.mkdir()
    with closing(open_log(f"sqlite:///{found / 'log.sqlite'}")) as log:
        create_topics(log, proven_day.genesis)
        for record in proven_day.log().read("jobs", 0, 10_000):
            log.append("jobs", [Record(record.value, record.headers, record.key)])
    return found


def _damaged(proof: Path, tmp_path: Path, at: int) -> Path:
    data = bytearray(proof.read_bytes())
    data[at] ^= 1
    copy = tmp_path / "damaged.proof"
    copy.write_bytes(data)
    return copy


def test_the_prover_says_again_what_the_verifier_heard(
    data: Path, proof: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["proof", "explain", str(proof), "--data", str(data), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["prover_source"].startswith("proven again from the job of shard 0")
    assert shown["accepted"]
    assert shown["prover"] == shown["events"]
    assert shown["first_difference"] is None


def test_a_damaged_proof_shows_where_the_verifier_leaves(
    data: Path, proof: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A bit of the eighth element of a root among the public inputs: the segment's job is still found."""
    damaged = _damaged(proof, tmp_path, HEADER_BYTES + 4 * 19)
    assert main(["proof", "explain", str(damaged), "--data", str(data), "--json"]) == 3
    shown = json.loads(capsys.readouterr().out)
    assert not shown["accepted"]
    assert "constraints_not_satisfied" in shown["error"]
    assert (shown["first_difference"]["step"], shown["first_difference"]["element"]) == (3, 19)
    labels = [event["label"] for event in shown["events"]]
    assert labels == [event["label"] for event in shown["prover"]][: len(labels)]
    assert labels[-1] == "openings"


def test_another_proof_of_the_statement_stands_for_the_prover(
    proof: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged = _damaged(proof, tmp_path, len(proof.read_bytes()) - 1)
    assert main(["proof", "explain", str(damaged), "--against", str(proof)]) == 3
    lines = capsys.readouterr().out.splitlines()
    assert all(line.startswith("both ") for line in lines[:-3])
    assert lines[-3:] == [
        f"prover: {proof}",
        next(line for line in lines if line.startswith("verifier: refused: merkle_path")),
        "first difference: none",
    ]


def test_without_a_log_only_the_verifier_is_heard(
    proof: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["proof", "explain", str(proof), "--data", str(tmp_path / "none"), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["prover"], shown["first_difference"]) == (None, None)
    assert "does not exist" in shown["prover_source"]


def test_a_true_proof_of_a_statement_that_no_verifier_takes_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The circuit does not read the statement's digest; the rule outside it does."""
    key = proving_key(SEGMENT_KIND, process_backend())
    witness = sample_window(4, 1)[0]
    trace, publics = build_trace(LedgerAir(), witness, process_backend())
    publics[DIGEST_OFFSET] = (publics[DIGEST_OFFSET] + 1) % MODULUS
    false = tmp_path / "false.proof"
    false.write_bytes(prove_stark(key, publics, trace, process_backend()).data)
    assert main(["proof", "explain", str(false), "--data", str(tmp_path), "--json"]) == 3
    shown = json.loads(capsys.readouterr().out)
    assert "bad_statement at publics/digest" in shown["error"]
    assert shown["events"][-1]["label"] == "query_indices"
