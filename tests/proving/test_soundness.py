"""The calculator against frozen figures of a public one, hand-written formulas, and its own inputs."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from decimal import Decimal, getcontext
from math import floor
from pathlib import Path
from typing import Any

import pytest

from proving.stark.parameters import SEGMENT_S, ProofParameters, folding_schedule
from proving.stark.soundness import (
    MINIMUM_PROVEN_BITS,
    CircuitShape,
    analyse,
    best_johnson,
    johnson,
    proven_bits,
    unique_decoding,
)
from schemas.errors import ParameterError

VECTORS = json.loads(
    (Path(__file__).parents[1] / "vectors" / "soundness_soundcalc.json").read_text()
)
SHAPE = CircuitShape(12, 3, 705, 1250, 32, 24)
WITHOUT_EFFECT = {
    "log_cap": "caps change sizes only; collisions are the hash's",
    "key_cap_levels": "likewise",
}


def _case(entry: dict[str, Any]) -> tuple[ProofParameters, CircuitShape]:
    names = {field.name for field in fields(ProofParameters)}
    parameters = ProofParameters(**{name: entry[name] for name in names if name in entry})
    shape = CircuitShape(**{field.name: entry[field.name] for field in fields(CircuitShape)})
    return parameters, shape


@pytest.mark.parametrize("entry", VECTORS["sets"])
def test_every_round_agrees_with_the_public_calculator(entry: dict[str, Any]) -> None:
    parameters, shape = _case(entry)
    rate = 2.0**-parameters.log_blowup
    for regime, expected in (
        (johnson(rate, entry["multiplicity"]), entry["johnson"]),
        (unique_decoding(rate), entry["unique_decoding"]),
    ):
        report = analyse(parameters, shape, regime)
        assert [line.bits for line in report.rounds[:-1]] == pytest.approx(expected, abs=0.001)
        assert report.bits == floor(min(*expected, report.rounds[-1].bits))


def test_at_least_twenty_different_parameter_sets_are_frozen() -> None:
    cases = [(*_case(entry), entry["multiplicity"]) for entry in VECTORS["sets"]]
    assert len(set(cases)) == len(cases) >= 20


@pytest.mark.parametrize(
    ("log_height", "log_blowup", "queries"), [(14, 7, 22), (16, 7, 22), (15, 5, 31)]
)
def test_the_reference_number_of_queries_is_the_least_that_proves_100_bits(
    log_height: int, log_blowup: int, queries: int
) -> None:
    shape = CircuitShape(log_height, 3, 500, 400, 18, 9)
    parameters = ProofParameters(
        log_blowup,
        queries,
        batching_pow_bits=16,
        commit_pow_bits=16,
        deep_pow_bits=16,
        query_pow_bits=24,
    )
    regime = johnson(2.0**-log_blowup)
    fewer = replace(parameters, num_queries=queries - 1)
    assert analyse(parameters, shape, regime).bits >= 100 > analyse(fewer, shape, regime).bits


def test_an_independent_transcription_in_exact_decimals_gives_the_same_bits() -> None:
    """The formulas once more, in 60-digit decimals, for segment S at m = 29."""
    getcontext().prec = 60
    field = Decimal(2**31 - 2**24 + 1) ** 5
    two = Decimal(2)
    k, n, rate = Decimal(2**12), Decimal(2**15), Decimal(1) / 8
    eta = rate.sqrt() / 58
    gamma = 1 - rate.sqrt() - eta
    m = Decimal(29) + Decimal("0.5")
    list_size = 1 / (2 * eta * rate.sqrt())

    def line(length: Decimal) -> Decimal:
        first = (2 * m**5 + 3 * m * gamma * rate) * length / (3 * rate * rate.sqrt())
        return (first + m / rate.sqrt()) / field

    def bits(error: Decimal) -> float:
        return float(-(error.ln() / two.ln()))

    fractions = 32 * k + 4096
    expected = [
        bits(2 * fractions * 24 / field),
        bits(list_size * 705 / field),
        bits(list_size * (3 * (k + 1) + k - 1) / (field - k - n)),
        bits(1249 * line(n)),
        bits(7 * line(n / 8)),
        bits(7 * line(n / 64)),
        bits(7 * line(n / 512)),
        bits((1 - gamma) ** 55) + 20,
        bits(1 / Decimal(2**31 - 2**24 + 1) ** 4),
    ]
    report = analyse(SEGMENT_S, SHAPE, johnson(1 / 8, 29))
    assert [line.bits for line in report.rounds] == pytest.approx(expected, abs=1e-9)
    assert report.bits == 101


def test_segment_s_proves_at_least_100_bits_and_reports_both_regimes() -> None:
    assert proven_bits(SEGMENT_S, SHAPE) >= MINIMUM_PROVEN_BITS
    assert analyse(SEGMENT_S, SHAPE, unique_decoding(1 / 8)).bits == 65


@pytest.mark.parametrize("name", [field.name for field in fields(ProofParameters)])
def test_every_parameter_either_moves_a_round_or_is_listed_as_without_effect(name: str) -> None:
    base = replace(SEGMENT_S, log_arity=2, log_final_length=4)
    other: Any = "sha256" if name == "hash" else getattr(base, name) + 1
    changed = replace(base, **{name: other})
    moved = best_johnson(base, SHAPE).rounds != best_johnson(changed, SHAPE).rounds
    assert moved != (name in WITHOUT_EFFECT)


@pytest.mark.parametrize("name", [field.name for field in fields(CircuitShape)])
def test_every_property_of_the_circuit_moves_a_round(name: str) -> None:
    changed = replace(SHAPE, **{name: getattr(SHAPE, name) + 1})
    regime = johnson(1 / 8)
    assert analyse(SEGMENT_S, SHAPE, regime).rounds != analyse(SEGMENT_S, changed, regime).rounds


def test_grinding_counts_only_in_the_phase_it_guards() -> None:
    regime = johnson(1 / 8)
    base = {line.name: line.bits for line in analyse(SEGMENT_S, SHAPE, regime).rounds}
    guarded = {
        "batching_pow_bits": {"batching"},
        "commit_pow_bits": {"folding 0", "folding 1", "folding 2"},
        "deep_pow_bits": {"out of domain"},
        "lookup_pow_bits": {"lookup"},
        "query_pow_bits": {"queries"},
    }
    for name, rounds in guarded.items():
        changed = replace(SEGMENT_S, **{name: getattr(SEGMENT_S, name) + 3})
        gains = {
            line.name: line.bits - base[line.name]
            for line in analyse(changed, SHAPE, regime).rounds
        }
        assert gains == pytest.approx({key: 3 * (key in rounds) for key in base})


def test_a_circuit_without_lookups_has_no_lookup_round() -> None:
    shape = replace(SHAPE, num_interactions=0, message_width=0)
    names = [line.name for line in analyse(SEGMENT_S, shape, johnson(1 / 8)).rounds]
    assert "lookup" not in names


def test_impossible_settings_are_refused_by_name() -> None:
    with pytest.raises(ParameterError, match="log_blowup is 0"):
        ProofParameters(0, 10)
    with pytest.raises(ParameterError, match="num_queries is 0"):
        ProofParameters(3, 0)
    with pytest.raises(ParameterError, match="query_pow_bits is 25"):
        ProofParameters(3, 10, query_pow_bits=25)
    with pytest.raises(ParameterError, match="key_cap_levels is 9"):
        ProofParameters(3, 10, key_cap_levels=9)
    with pytest.raises(ParameterError, match="hash is 'sha1'"):
        ProofParameters(3, 10, hash="sha1")
    with pytest.raises(ParameterError, match="nothing to fold"):
        folding_schedule(SEGMENT_S, 3)
    with pytest.raises(ParameterError, match="exceed"):
        folding_schedule(SEGMENT_S, 22)
    with pytest.raises(ParameterError, match="at least 3"):
        johnson(1 / 8, 2)
    with pytest.raises(ParameterError, match="too few"):
        analyse(
            ProofParameters(1, 9, log_final_length=0), replace(SHAPE, log_height=1), johnson(0.5)
        )


def test_the_schedule_folds_by_eight_and_ends_with_a_smaller_fold_exactly_at_the_final_length() -> (
    None
):
    rounds = folding_schedule(ProofParameters(3, 10, log_final_length=4), 12)
    assert [(layer.log_size, layer.log_arity) for layer in rounds] == [(15, 3), (12, 3), (9, 2)]
    assert rounds[-1].log_size - rounds[-1].log_arity - 3 == 4
