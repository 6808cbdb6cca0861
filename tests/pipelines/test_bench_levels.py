"""Benches of the pyramid: figures of a level against what a prover really does, and the compression of a day."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from operators.proof_worker import process_backend
from operators.pyramid_tree import Node
from pipelines.bench_compress import verified_apart
from pipelines.bench_levels import SHOWN, measure_apart
from pipelines.cli.main import main
from pipelines.level_figures import LEVELS, expected_grinding, level_figures, tree_hashes
from pipelines.sample_days import SampleChain
from pipelines.sample_window import sample_window
from proving.arithmetic.poseidon2 import NumpyHasher
from proving.arithmetic.sha256 import Bytes
from proving.backends.port import FieldArray
from proving.backends.reference import ReferenceBackend
from proving.kinds import registered_kinds, verifying_key
from proving.prover import prove_stark
from proving.stark.parameters import ProofParameters
from proving.stark.setup import make_proving_key
from schemas.errors import InvariantError
from schemas.job import ProofLevel
from tests.pipelines.test_bench import record
from tests.suites.circuits import Exchange, Fibonacci
from tests.suites.light_proofs import HASHED
from tests.suites.proofs import GRINDING, SMALL

UNGROUND = replace(HASHED, query_pow_bits=0)
"""Grinding with SHA-256 goes through the functions that trees are made with."""


class Counting(ReferenceBackend):
    """Counts what trees are made with."""

    def __init__(self) -> None:
        super().__init__()
        self.hashes = 0

    def hash_rows(self, columns: FieldArray) -> FieldArray:
        self.hashes += columns.shape[1] * -(-columns.shape[0] // 8)
        return super().hash_rows(columns)

    def compress(self, digests: FieldArray) -> FieldArray:
        self.hashes += len(digests) // 2
        return super().compress(digests)

    def sha256_rows(self, columns: FieldArray, prefix: Sequence[int]) -> Bytes:
        message = 4 * (len(prefix) + columns.shape[0])
        self.hashes += columns.shape[1] * ((message + 8) // 64 + 1)
        return super().sha256_rows(columns, prefix)

    def sha256_messages(self, messages: Bytes) -> Bytes:
        self.hashes += len(messages) * ((messages.shape[1] + 8) // 64 + 1)
        return super().sha256_messages(messages)


@pytest.mark.parametrize("settings", [SMALL, GRINDING, UNGROUND])
@pytest.mark.parametrize("air", [Fibonacci(), Exchange()])
def test_hashes_are_those_that_a_prover_makes(
    air: Fibonacci | Exchange, settings: ProofParameters
) -> None:
    backend = Counting()
    key = make_proving_key(7, air, settings, backend)
    publics, trace = air.witness()
    backend.hashes = 0
    prove_stark(key, publics, trace, backend)
    assert backend.hashes == tree_hashes(key.verifying_key)


def test_grinding_is_counted_in_every_phase_that_asks_for_it() -> None:
    def grinding(settings: ProofParameters) -> int:
        return expected_grinding(
            make_proving_key(7, Fibonacci(), settings, ReferenceBackend()).verifying_key
        )

    assert grinding(SMALL) == 2**2
    layers = len(
        make_proving_key(7, Fibonacci(), GRINDING, ReferenceBackend()).verifying_key.schedule
    )
    assert grinding(GRINDING) == (4 + layers) * 2**6


def figures_fit(kind: str) -> None:
    found, key = level_figures(kind), verifying_key(kind, NumpyHasher())
    assert found.points == found.rows << key.parameters.log_blowup
    assert (found.child_permutations is None) == kind.startswith("segment")
    if found.child_permutations is not None and found.child_arithmetic is not None:
        used = max(found.child_permutations, found.child_arithmetic)
        assert found.rows // 2 < used <= found.rows


def test_every_kind_is_a_level_with_figures_of_its_key() -> None:
    assert set(LEVELS) == set(registered_kinds().by_name)
    for kind in ("segment_s", "wrap"):
        figures_fit(kind)


@pytest.mark.slow
def test_the_larger_kinds_have_figures_too() -> None:
    for kind in LEVELS:
        figures_fit(kind)


def test_a_level_is_proven_and_verified_by_other_processes(tmp_path: Path) -> None:
    witness = sample_window(2, 1)[0]
    found = measure_apart("segment_s", witness.encode(), 1, tmp_path)
    assert found["proof_bytes"] == (tmp_path / "segment_s.proof").stat().st_size
    assert found["seconds_median"] > 0
    assert found["verify_ms"] > 0
    assert found["peak_memory_bytes"] > 50 * 2**20
    with pytest.raises(InvariantError, match="segment_s could not be proven"):
        measure_apart("segment_s", b"no witness", 1, tmp_path)


def test_what_is_no_day_does_not_pass_the_other_process() -> None:
    (day,) = SampleChain(process_backend(), 2, 2, busy=1).days
    with pytest.raises(InvariantError, match="a day's proof that was just made does not hold"):
        verified_apart(day, b"no proof")


def test_a_day_of_24_epochs_is_four_proofs_of_runs_and_the_wrapping() -> None:
    (day,) = SampleChain(process_backend(), 24, 24, busy=1).days
    nodes = list(dict.fromkeys(day.nodes()))
    runs = [node for node in nodes if node.level is ProofLevel.DAY_RUN]
    assert [len(node.children) for node in runs] == [8, 8, 8, 3]
    epochs = [node for node in nodes if node.level is ProofLevel.EPOCH]
    assert len(epochs) == 24
    assert [len(node.children) for node in epochs] == [2] + [0] * 23
    assert all(isinstance(node.filler, Node) for node in epochs[1:])
    assert len({node.said for node in epochs}) == 24


@pytest.mark.parametrize("arguments", [["--epochs", "1"], ["--epochs", "513"]])
def test_a_day_of_no_size_is_refused(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", "compress", *arguments]) == 2
    assert capsys.readouterr().out == ""


@pytest.mark.slow
def test_a_small_day_is_compressed_and_its_epochs_are_found_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("compress", "--epochs", "3", "--repeat", "1", "--data", str(tmp_path))
    found = record(capsys, *arguments)
    assert [(step["kind"], step["children"]) for step in found["steps"]] == [
        ("day", 3),
        ("wrap", 1),
    ]
    assert found["proofs_made_to_prepare"] == 2 + 2 + 3
    assert (found["proof_bytes"], found["epoch_proof_bytes"]) == (
        level_figures("wrap").proof_bytes,
        level_figures("epoch").proof_bytes,
    )
    again: dict[str, Any] = record(capsys, *arguments)
    assert again["proofs_made_to_prepare"] == 0


@pytest.mark.slow
def test_every_level_is_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = record(capsys, "levels", "--repeat", "1", "--data", str(tmp_path))
    assert [row["kind"] for row in found["table"]] == list(LEVELS)
    assert all(set(row) == set(SHOWN) for row in found["table"])
    assert main(["bench", "levels", "--repeat", "1", "--data", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert "lift_l" in text
    with pytest.raises(json.JSONDecodeError):
        json.loads(text)
