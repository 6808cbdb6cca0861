"""Folding and the layers' checks, apart from any circuit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from proving.arithmetic.modulus import GENERATOR, P
from proving.arithmetic.ntt import root_of_unity
from proving.arithmetic.residues import invert_residues
from proving.backends.port import FieldArray
from proving.commitments.domains import coset_points
from proving.commitments.fri import check_layers, commit_layers, fold_program, open_layers
from proving.errors import ProofRejected, ProvingError, RejectionReason
from proving.stark.challenge_field import Extension
from proving.stark.parameters import FoldingRound, ProofParameters, folding_schedule
from proving.stark.transcript import Label, Transcript
from schemas.errors import ParameterError
from tests.suites.proofs import BACKEND

PARAMETERS = ProofParameters(log_blowup=2, num_queries=24, log_cap=2, log_final_length=1)
LOG_HEIGHT = 5


def codeword(coefficients: FieldArray, parameters: ProofParameters = PARAMETERS) -> FieldArray:
    log_size = LOG_HEIGHT + parameters.log_blowup
    return BACKEND.evaluate_on_coset(coefficients, log_size, GENERATOR)


def random_coefficients(count: int, seed: int = 1) -> FieldArray:
    rng = np.random.default_rng(seed)
    return rng.integers(0, P, (5, count), dtype=np.uint32)


def commit_and_check(
    values: FieldArray, parameters: ProofParameters = PARAMETERS, *, check_degree: bool = True
) -> None:
    """Commits to a codeword and checks it at drawn queries, as prover and verifier do."""
    schedule = folding_schedule(parameters, LOG_HEIGHT)
    transcript = Transcript(BACKEND)
    committed = commit_layers(
        BACKEND, values, schedule, parameters, transcript, check_degree=check_degree
    )
    indices = transcript.indices(Label.QUERY_INDICES, parameters.num_queries, schedule[0].log_size)
    sections = {**committed.sections, **open_layers(committed, indices)}
    betas = [
        Extension(event.values)
        for event in transcript.events
        if event.label is Label.FOLDING_CHALLENGE
    ]
    held = values[:, indices].T
    check_layers(BACKEND, sections, schedule, betas, indices=indices, values=held)


@pytest.mark.parametrize("log_arity", [1, 2, 3])
@pytest.mark.parametrize("log_final_length", [0, 1, 2])
@pytest.mark.parametrize("log_cap", [0, 2, 8])
def test_every_schedule_accepts_a_codeword(
    log_arity: int, log_final_length: int, log_cap: int
) -> None:
    parameters = replace(
        PARAMETERS, log_arity=log_arity, log_final_length=log_final_length, log_cap=log_cap
    )
    commit_and_check(codeword(random_coefficients(2**LOG_HEIGHT)), parameters)


@pytest.mark.parametrize("log_arity", [1, 2, 3])
def test_a_fold_is_the_random_combination_of_the_parts_of_the_polynomial(log_arity: int) -> None:
    """g(y) = sum_j beta^j f_j(y), computed from coefficients with integers."""
    arity, beta = 2**log_arity, Extension((3, 1, 4, 1, 5))
    coefficients = random_coefficients(2**LOG_HEIGHT, seed=5)
    values = codeword(coefficients)
    size = values.shape[1]
    index = 7
    leaf = [values[:, index + j * size // arity] for j in range(arity)]
    x = int(coset_points(7, 7)[index])
    inputs = [int(v) for value in leaf for v in value]
    inputs += [*beta.coordinates, pow(x, -1, P)]
    folded = fold_program(log_arity).evaluate_integers(inputs)
    expected = Extension.of(0)
    for power, column in enumerate(coefficients.T.tolist()):
        term = Extension(tuple(column)) * beta.power(power % arity)
        expected = expected + term * pow(x, power - power % arity, P)
    assert tuple(folded) == expected.coordinates


@pytest.mark.parametrize("excess", [1, 2, 2**LOG_HEIGHT])
def test_a_polynomial_of_too_high_degree_is_rejected(excess: int) -> None:
    """SOUNDNESS 1 items 6 and 8: degree N, N + 1 and 2N - 1 instead of below N."""
    coefficients = random_coefficients(2**LOG_HEIGHT + excess)
    coefficients[:, :-1] = 0
    padded = np.zeros((5, 2 ** (LOG_HEIGHT + 2)), dtype=np.uint32)
    padded[:, : coefficients.shape[1]] = coefficients
    with pytest.raises(ProvingError, match="exceeds its degree"):
        commit_and_check(codeword(padded))
    with pytest.raises(ProofRejected) as error:
        commit_and_check(codeword(padded), check_degree=False)
    assert error.value.reason is RejectionReason.FINAL_POLYNOMIAL
    assert error.value.where.startswith("fri/final/query ")


def test_a_word_far_from_every_codeword_is_rejected() -> None:
    """SOUNDNESS 1 item 8; there is one height, so no codeword is ever rolled in."""
    values = random_coefficients(2 ** (LOG_HEIGHT + 2), seed=9)
    with pytest.raises(ProofRejected) as error:
        commit_and_check(values, check_degree=False)
    assert error.value.reason is RejectionReason.FINAL_POLYNOMIAL


def test_a_codeword_with_one_quarter_of_its_values_changed_is_rejected() -> None:
    values = codeword(random_coefficients(2**LOG_HEIGHT))
    values[0, ::4] = (values[0, ::4].astype(np.uint64) + 1) % P
    with pytest.raises(ProofRejected):
        commit_and_check(values, check_degree=False)


def test_layers_follow_the_parameters_alone() -> None:
    """SOUNDNESS 1 item 7: arity, rounds and caps are functions of parameters and height."""
    assert folding_schedule(PARAMETERS, LOG_HEIGHT) == (
        FoldingRound(7, 3, 2),
        FoldingRound(4, 1, 2),
    )
    for wrong in ({"num_queries": 0}, {"log_blowup": 0}, {"log_arity": 0}, {"log_arity": 4}):
        with pytest.raises(ParameterError):
            replace(PARAMETERS, **wrong)  # type: ignore[arg-type]


def test_domains_are_cosets_in_natural_order() -> None:
    points = coset_points(4, 7).astype(object)
    shift, root = pow(GENERATOR, 8, P), root_of_unity(4)
    assert points.tolist() == [shift * pow(root, i, P) % P for i in range(16)]
    assert pow(root, 8, P) == P - 1
    assert (invert_residues(coset_points(4, 7)).astype(object) * points % P == 1).all()
    with pytest.raises(ParameterError, match="no subgroup"):
        root_of_unity(25)
