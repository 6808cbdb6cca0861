"""The prover: completeness over parameters, refusals, phases, and the same bytes every time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from proving.arithmetic.modulus import P
from proving.errors import ProvingError
from proving.prover import PhaseSpan, prove_stark
from proving.stark.parameters import ProofParameters
from schemas.errors import ParameterError
from tests.suites.circuits import Exchange, Fibonacci, V, X, violations
from tests.suites.proofs import BACKEND, GRINDING, SMALL, Circuit, check, honest_proof, proving_key


@pytest.mark.parametrize(
    "parameters",
    [
        SMALL,
        GRINDING,
        ProofParameters(1, 3, log_cap=0, log_final_length=0),
        ProofParameters(4, 5, log_arity=1, log_cap=8, log_final_length=4),
        ProofParameters(3, 4, log_arity=2, log_final_length=2, commit_pow_bits=3),
    ],
)
@pytest.mark.parametrize("air", [Fibonacci(), Exchange(), Exchange(4), Fibonacci(2), Fibonacci(8)])
def test_an_honest_proof_is_accepted_and_both_sides_hear_the_same(
    air: Circuit, parameters: ProofParameters
) -> None:
    if air.log_height <= parameters.log_final_length:
        parameters = replace(parameters, log_final_length=1)
    publics, trace = air.witness()
    assert violations(air, trace, publics) == set()
    proof = honest_proof(air, parameters)
    verdict = check(proving_key(air, parameters), proof.data, publics)
    assert verdict.publics == tuple(publics)
    assert verdict.events == proof.events


def test_the_same_claim_gives_the_same_bytes() -> None:
    publics, trace = Exchange().witness()
    first = prove_stark(proving_key(Exchange()), publics, trace, BACKEND)
    assert first == honest_proof(Exchange())


def test_a_trace_that_breaks_a_constraint_is_refused() -> None:
    publics, trace = Exchange().witness()
    trace[X, 20] ^= 1
    with pytest.raises(ProvingError, match="constraints"):
        prove_stark(proving_key(Exchange()), publics, trace, BACKEND)


def test_a_trace_whose_buses_do_not_balance_is_refused() -> None:
    publics, trace = Exchange().witness()
    trace[V, 20] = (int(trace[V, 20]) + 1) % 32
    with pytest.raises(ProvingError, match="balance"):
        prove_stark(proving_key(Exchange()), publics, trace, BACKEND)


def test_inputs_of_another_shape_or_type_are_refused() -> None:
    """SOUNDNESS 1 item 17: a trace has exactly the key's height and width."""
    publics, trace = Exchange().witness()
    wrong_traces: list[Any] = [trace[:, :16], trace[:-1], np.tile(trace, 2)]
    wrong_traces += [trace.astype(np.int64), trace + np.uint32(P)]
    for wrong in wrong_traces:
        with pytest.raises(ParameterError, match="the trace must be"):
            prove_stark(proving_key(Exchange()), publics, wrong, BACKEND)
    for publics_wrong in (publics[:-1], [*publics, 0], [P, *publics[1:]], [-1, *publics[1:]]):
        with pytest.raises(ParameterError, match="public inputs"):
            prove_stark(proving_key(Exchange()), publics_wrong, trace, BACKEND)


def test_phases_are_reported_in_order_with_their_cells() -> None:
    spans: list[PhaseSpan] = []
    publics, trace = Exchange().witness()
    prove_stark(proving_key(Exchange()), publics, trace, BACKEND, spans.append)
    names = [(span.name, span.cells) for span in spans]
    size = 2**7
    assert names[:5] == [
        ("trace", 11 * size),
        ("lookups", 20 * size),
        ("quotient", 10 * size),
        ("openings", 45 * size),
        ("fri", 5 * size),
    ]
    assert names[5][0] == "queries"
    assert all(span.seconds >= 0 for span in spans)
