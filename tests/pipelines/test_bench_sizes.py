"""Computed proof sizes: those of real proofs at the settings that are made, and what the calculator itself allows elsewhere."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from pipelines.bench_plot import OVER_BITS, OVER_BLOWUP, points_of
from pipelines.bench_sizes import (
    BITS,
    MOST_OTHER_GRINDING,
    SHAPES,
    SizePoint,
    settings_of,
    shipped_row,
    size_points,
)
from pipelines.cli.main import main
from proving.arithmetic.poseidon2 import NumpyHasher
from proving.kinds import verifying_key
from proving.stark.encoding import proof_bytes
from proving.stark.key import VerifyingKey
from proving.stark.parameters import MAX_LOG_BLOWUP, MAX_QUERIES, ProofParameters
from proving.stark.soundness import proven_bits
from tests.suites.circuits import Exchange, Fibonacci
from tests.suites.proofs import GRINDING, SMALL, honest_proof, proving_key

SHIPPED = {"join": 196_272, "wrap": 86_078}


def key_of(shape: str) -> VerifyingKey:
    return verifying_key(shape, NumpyHasher())


@cache
def points(shape: str) -> dict[int, list[SizePoint]]:
    """Returns some points by blow-up."""
    return {power: list(size_points(shape, key_of(shape), power, BITS[::5])) for power in (1, 4, 8)}


def utmost(key: VerifyingKey, log_blowup: int) -> ProofParameters:
    """Returns the setting that proves most."""
    return replace(
        key.parameters,
        log_blowup=log_blowup,
        num_queries=MAX_QUERIES,
        batching_pow_bits=MOST_OTHER_GRINDING,
        commit_pow_bits=MOST_OTHER_GRINDING,
        deep_pow_bits=MOST_OTHER_GRINDING,
        lookup_pow_bits=MOST_OTHER_GRINDING,
    )


@pytest.mark.parametrize("shape", SHAPES)
def test_at_the_shipped_bits_and_blowup_the_shipped_setting_comes_out(shape: str) -> None:
    key = key_of(shape)
    (point,) = size_points(shape, key, key.parameters.log_blowup, (key.proven_bits,))
    assert settings_of(key, point) == key.parameters
    assert point.bytes == proof_bytes(key) == SHIPPED[shape] == shipped_row(shape, key)["bytes"]


@pytest.mark.parametrize("shape", SHAPES)
def test_every_point_has_its_bits_and_a_query_less_has_not(shape: str) -> None:
    key = key_of(shape)
    for listed in points(shape).values():
        lengths = [point.bytes for point in listed if point.bytes is not None]
        assert lengths == sorted(lengths)
        for point in listed:
            if point.bytes is None:
                assert proven_bits(utmost(key, point.log_blowup), key.shape) < point.bits
                continue
            settings = settings_of(key, point)
            assert proven_bits(settings, key.shape) >= point.bits
            assert proof_bytes(replace(key, parameters=settings)) == point.bytes
            fewer = replace(settings, num_queries=settings.num_queries - 1)
            assert proven_bits(fewer, key.shape) < point.bits
    first, *rest = (listed[0].bytes or 0 for listed in points(shape).values())
    assert sorted([first, *rest], reverse=True) == [first, *rest]


@pytest.mark.parametrize("air", [Fibonacci(), Exchange()])
def test_the_length_at_other_settings_is_that_of_real_proofs(air: Fibonacci | Exchange) -> None:
    """Of a small circuit, whose proofs at any setting take no time."""
    key = proving_key(air).verifying_key
    for settings in (
        SMALL,
        GRINDING,
        *(replace(SMALL, log_blowup=power) for power in (1, 3, 4)),
        replace(SMALL, num_queries=31, log_cap=3, hash="sha256", batching_pow_bits=1),
    ):
        real = honest_proof(air, settings).data
        assert proof_bytes(replace(key, parameters=settings)) == len(real)


def test_the_record_is_drawn_over_bits_and_blowup(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    out = tmp_path / "sizes.png"
    assert main(["bench", "sizes", "--out", str(out), "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert out.stat().st_size < 100_000
    found = points_of([record])
    assert {point.panel for point in found} == {OVER_BITS, OVER_BLOWUP}
    by_blowup = [point for point in found if point.panel == OVER_BLOWUP]
    assert {point.size for point in by_blowup} == {2**k for k in range(1, MAX_LOG_BLOWUP + 1)}
    assert {point.line for point in by_blowup} == {"join, 100 bits", "wrap, 100 bits"}
    assert [row["2^8"] for row in record["table"]][1] == SHIPPED["wrap"]
