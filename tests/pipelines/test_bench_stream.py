"""Streaming benches on a chain of real processes; what they measure is not judged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipelines.bench_plot import OVER_LOAD, points_of
from pipelines.bench_stream import FIRST_RATE, SECONDS, rates_within
from pipelines.bench_wan import EXECUTION_MILLIS
from pipelines.cli.main import main


def test_rates_double_within_the_transactions_and_the_first_is_always_played() -> None:
    first = FIRST_RATE * SECONDS
    assert list(rates_within(1)) == [FIRST_RATE]
    assert list(rates_within(3 * first)) == [FIRST_RATE, 2 * FIRST_RATE]
    assert list(rates_within(3 * first - 1)) == [FIRST_RATE]


def test_finality_plays_traffic_on_real_processes(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    plot = tmp_path / "finality.png"
    arguments = ["bench", "finality", "--transactions", "40", "--repeat", "1", "--json"]
    assert main([*arguments, "--out", str(plot)]) == 0
    record = json.loads(capsys.readouterr().out)
    (row,) = record["table"]
    assert (row["sent"], row["final"], record["parameters"]["validators"]) == (40, 40, 4)
    assert 0 < row["certificate_ms_p50"] <= row["certificate_ms_p99"]
    assert 0 < row["admitted_ms_p50"] <= row["admitted_ms_p99"] <= row["final_ms_max"]
    assert {point.panel for point in points_of([record])} == {OVER_LOAD}
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_a_log_that_is_in_use_is_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ECLIPTICA_LOG", f"sqlite:///{tmp_path / 'log.sqlite'}")
    assert main(["bench", "finality", "--transactions", "10", "--repeat", "1"]) == 0
    assert main(["bench", "finality", "--transactions", "10", "--repeat", "1"]) == 2
    assert "is of a chain" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["admission", "execution"])
def test_a_validators_work_is_timed_over_valid_transfers(
    capsys: pytest.CaptureFixture[str], name: str
) -> None:
    arguments = ["--transactions", "60", "--repeat", "1", "--accounts", "50", "--json"]
    assert main(["bench", name, *arguments]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["transactions"] == 60
    assert record["transactions_per_second"] > 0


def test_committees_over_the_world_finish_no_faster_than_their_ways(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["bench", "wan", "--transactions", "3", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert [row["validators"] for row in record["table"]] == [4, 4, 13, 13, 49, 49] * 2
    least = {"continent": 3 * 8 + EXECUTION_MILLIS, "world": 3 * 35 + EXECUTION_MILLIS}
    assert all(row["p50_ms"] > least[row["spread"]] for row in record["table"])
    assert record["parameters"]["is_simulated"]
