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
        for topic in ("jobs", "proofs"):
            for record in proven_day.log().read(topic, 0, 10_000):
                log.append(topic, [Record(record.value, record.headers, record.key)])
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
        next(line for line in lines if line.startswith("first difference: none: fri/")),
    ]


def test_a_file_that_states_nothing_is_known_by_its_name(
    data: Path, proof: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also one that was set aside; another name tells nothing."""
    cut = tmp_path / f"{proof.name}.refused"
    cut.write_bytes(proof.read_bytes()[:1000])
    assert main(["proof", "explain", str(cut), "--data", str(data), "--json"]) == 4
    shown = json.loads(capsys.readouterr().out)
    assert shown["prover_source"].startswith("proofs/")
    assert shown["prover"][-1]["label"] == "query_indices"
    assert (shown["events"], shown["first_difference"]["step"]) == ([], 0)
    other = cut.rename(tmp_path / "cut.proof")
    assert main(["proof", "explain", str(other), "--data", str(data), "--json"]) == 4
    shown = json.loads(capsys.readouterr().out)
    assert (shown["prover"], shown["prover_source"][:7]) == (None, "unknown")


def test_a_file_of_another_statement_than_its_name_is_told_from_one_of_its_own(
    proof: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copies = [tmp_path / proof.name, tmp_path / f"{bytes(32).hex()}.proof", tmp_path / "a.proof"]
    named = []
    for copy in copies:
        copy.write_bytes(proof.read_bytes())
        assert main(["proof", "verify", str(copy), "--json"]) == 0
        shown = json.loads(capsys.readouterr().out)["shown"]
        assert (shown["level"], shown["statement"]) == ("segment", proof.stem)
        named.append(shown.get("is_named_for_it"))
    assert named == [True, False, None]


def test_an_unknown_key_is_told_in_the_words_of_the_known_one(
    proof: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged = _damaged(proof, tmp_path, HEADER_BYTES - 1)
    digest = proof.read_bytes()[HEADER_BYTES - 32 : HEADER_BYTES].hex()
    got = damaged.read_bytes()[HEADER_BYTES - 32 : HEADER_BYTES].hex()
    for noun in ("verify", "explain"):
        assert main(["proof", noun, str(damaged)]) == 3
        error = capsys.readouterr().err
        assert digest in error
        assert f"got {got}" in error


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
