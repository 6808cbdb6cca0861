"""Every bench at its smallest through the command; what they measure is not judged."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from operators.proof_worker import process_backend
from pipelines import bench_permutations, bench_rival
from pipelines.bench_aggregation import verify_aggregate_apart
from pipelines.bench_permutations import PermutationProver, slope
from pipelines.bench_plot import points_of, read_records
from pipelines.bench_steps import AGGREGATION, STEPS
from pipelines.cli.main import main
from schemas.errors import InvariantError, ParameterError

MEMBERS = (
    "name",
    "seconds_median",
    "seconds_min",
    "peak_memory_bytes",
    "proof_bytes",
    "proven_bits",
    "verified",
    "machine",
    "commit",
    "parameters",
)
"""What INTERFACES promises of a record, beside `transactions` or `permutations`."""

PNG = b"\x89PNG\r\n\x1a\n"


def record(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert main(["bench", *arguments, "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert [name for name in MEMBERS if name not in found] == []
    assert ("transactions" in found) != ("permutations" in found)
    assert found["verified"] is True
    assert found["proven_bits"] >= 100
    return found


def test_permutations_are_proven_at_the_rivals_shape(capsys: pytest.CaptureFixture[str]) -> None:
    found = record(capsys, "permutations", "--rows", "16", "--repeat", "1")
    assert found["permutations"] == 16 * 8
    assert found["parameters"]["columns"] == 8 * 164
    assert found["parameters"]["log_blowup"] == 1
    assert set(found["phases"]) == {"trace", "lookups", "quotient", "openings", "fri", "queries"}


def test_scaling_has_a_point_per_size_and_says_what_does_not_fit(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench_permutations, "LEAST_SCALED_ROWS", 16)
    fits = bench_permutations.needed_memory_bytes(32, 1)
    monkeypatch.setattr(bench_permutations, "available_memory_bytes", lambda: fits)
    found = record(capsys, "scaling", "--max-rows", "64", "--repeat", "1")
    assert [point["rows"] for point in found["points"]] == [16, 32]
    assert [entry["rows"] for entry in found["skipped_for_memory"]] == [64]
    assert {point.line for point in points_of([found])} == {"one lane"}


def test_the_slope_is_the_exponent_of_the_growth() -> None:
    points = [{"rows": 2**k, "seconds": 3e-6 * 2.0 ** (1.1 * k)} for k in range(10, 21)]
    assert slope(points, "seconds") == pytest.approx(1.1, abs=1e-4)
    assert slope(points[:1], "seconds") is None


def test_steps_stand_in_the_missions_order_and_add_up(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("--transactions", "1", "--repeat", "1", "--no-aggregation")
    found = record(capsys, "steps", *arguments)
    assert [row["step"] for row in found["table"]] == list(STEPS)
    *measured, aggregation = found["table"]
    assert aggregation["cpu_seconds"] is None
    assert f"{AGGREGATION}: left out" in found["notes"]
    assert all(row["cpu_seconds"] > 0 for row in measured)
    assert sum(row["cpu_share"] for row in measured) == pytest.approx(1, abs=0.01)


def test_a_changed_proof_of_permutations_does_not_pass_the_other_process() -> None:
    prover = PermutationProver(16, 1, 0, process_backend())
    prover.prove()
    prover.proof = prover.proof[:-1] + bytes([prover.proof[-1] ^ 1])
    with pytest.raises(InvariantError, match="does not hold"):
        prover.verify_apart()


def test_what_is_no_aggregate_does_not_pass_the_other_process() -> None:
    with pytest.raises(InvariantError, match="an aggregate that was just made does not hold"):
        verify_aggregate_apart(b"no proof", [b"no proof"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["permutations", "--rows", "24"], "a power of two from 16"),
        (["permutations", "--rows", str(2**23)], "MiB"),
        (["plot", "--out", "x.png"], "--records"),
        (["batch", "--records", "x.json"], "--records goes with bench plot"),
        (["batch", "--out", "x.png"], "draws nothing"),
    ],
    ids=lambda entry: entry if isinstance(entry, str) else " ".join(entry[:2]),
)
def test_what_cannot_be_measured_is_refused_before_anything_runs(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert message in captured.err


def test_the_rival_needs_a_checkout_and_cargo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["bench", "rival", "--rows", "16"]) == 5
    assert "install Rust" in capsys.readouterr().err
    monkeypatch.setattr(bench_rival, "DRIVER", tmp_path)
    assert main(["bench", "rival", "--rows", "16"]) == 5
    assert "run the bench from a checkout" in capsys.readouterr().err


def test_records_are_drawn_over_rows_size_and_accounts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    points = [{"rows": 2**k, "permutations_per_second": 1000 * k} for k in (10, 11)]
    scaling = tmp_path / "scaling.json"
    scaling.write_text(json.dumps({"name": "scaling", "points": points}), "utf-8")
    segments = tmp_path / "segments.json"
    shown = {"name": "segment", "transactions_per_second": 900.0, "parameters": {"backend": "cpu"}}
    lines = [json.dumps({**shown, "transactions": 50_000, "accounts": n}) for n in (2**16, 2**20)]
    segments.write_text("\n".join(lines), "utf-8")
    out = tmp_path / "plot.png"
    files = ["--records", str(scaling), "--records", str(segments)]
    assert main(["bench", "plot", *files, "--out", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["points"] == 2 + 2 * 2
    assert out.read_bytes().startswith(PNG)
    assert list(tmp_path.glob(".*")) == []


def test_a_file_that_is_no_record_is_not_drawn(tmp_path: Path) -> None:
    for text in ("no json", '{"points": []}', "[1]"):
        file = tmp_path / "record.json"
        file.write_text(text, "utf-8")
        with pytest.raises(ParameterError, match="is no record of a bench"):
            read_records([file])
    assert points_of([{"name": "cold", "transactions": 3}]) == []


@pytest.mark.slow
def test_aggregation_is_a_step_and_its_proof_holds(capsys: pytest.CaptureFixture[str]) -> None:
    found = record(capsys, "steps", "--transactions", "1", "--repeat", "1")
    assert found["table"][-1]["step"] == AGGREGATION
    assert found["table"][-1]["cpu_seconds"] > 0
    assert found["aggregate_bytes"] < 2**18


@pytest.mark.slow
def test_a_first_proof_fills_an_empty_cache(capsys: pytest.CaptureFixture[str]) -> None:
    found = record(capsys, "cold", "--transactions", "1", "--repeat", "1")
    assert found["cached_files"] > 0


@pytest.mark.slow
def test_reuse_names_what_is_new_and_what_is_never_sound(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = record(capsys, "reuse", "--transactions", "5000", "--repeat", "1")
    assert found["segments"] == 3
    increments = [row["what"] for row in found["table"] if row["what"].startswith("incremental")]
    news = [int(what.split(",")[1].split()[0]) for what in increments]
    assert news == [1, 2, 3]
    assert len(found["not_sound_to_reuse"]) == 6


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("cargo") is None, reason="the rival is built with cargo")
def test_both_provers_take_turns(capsys: pytest.CaptureFixture[str]) -> None:
    found = record(capsys, "rival", "--rows", "16", "--repeat", "1")
    assert [row["unit"] for row in found["table"]] == [
        "permutations/s",
        "cells/s",
        "cells/s",
        "permutations/s",
    ]
    assert found["rival"]["proof_bytes"] > 0
