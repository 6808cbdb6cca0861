from __future__ import annotations

import functools

import numpy as np
import pytest

from operators.proof_worker import process_backend
from pipelines.bench_permutations import check_proof
from proving.arithmetic.modulus import PERMUTATION_WIDTH, P
from proving.arithmetic.poseidon2 import NumpyHasher
from proving.arithmetic.poseidon2_integers import permute_integers
from proving.backends.port import FieldArray
from proving.errors import ProofError, ProofRejected, RejectionReason
from proving.kinds import registered_kinds
from proving.permutation_air import BENCH_KIND, LANE_COLUMNS, PermutationAir, permutation_key
from proving.prover import prove_stark
from proving.segment_proofs import verify_segment
from proving.stark.setup import ProvingKey
from proving.stark.soundness import MINIMUM_PROVEN_BITS, proven_bits
from proving.stark.trace_check import TraceChecker
from schemas.errors import ParameterError

BACKEND = process_backend()
AIR = PermutationAir(log_height=4, lanes=2)


def inputs(air: PermutationAir) -> FieldArray:
    shape = (air.lanes, PERMUTATION_WIDTH, 2**air.log_height)
    drawn: FieldArray = np.random.default_rng(7).integers(0, P, shape, dtype=np.uint32)
    return drawn


@functools.cache
def key() -> ProvingKey:
    return permutation_key(AIR, MINIMUM_PROVEN_BITS, BACKEND)


@functools.cache
def honest() -> bytes:
    return prove_stark(key(), (), AIR.trace(inputs(AIR), BACKEND), BACKEND).data


def test_a_lane_ends_in_the_permutation_of_its_inputs() -> None:
    given = inputs(AIR)
    trace = AIR.trace(given, BACKEND)
    assert trace.shape == (2 * LANE_COLUMNS, 16)
    for lane in range(AIR.lanes):
        outputs = trace[(lane + 1) * LANE_COLUMNS - PERMUTATION_WIDTH : (lane + 1) * LANE_COLUMNS]
        for row in range(16):
            assert outputs[:, row].tolist() == permute_integers(given[lane, :, row].tolist())
    assert TraceChecker(AIR).check(trace, ()).holds


def test_every_column_behind_the_inputs_is_bound_by_a_constraint_of_its_own() -> None:
    air = PermutationAir(log_height=8, lanes=1)
    checker = TraceChecker(air)
    trace = air.trace(inputs(air), BACKEND)
    names = [constraint.name for constraint in checker.constraints]
    assert len(names) == LANE_COLUMNS - PERMUTATION_WIDTH
    for row in range(len(names)):  # row r has another value in the r-th computed column
        cell = trace[PERMUTATION_WIDTH + row, row]
        trace[PERMUTATION_WIDTH + row, row] = (cell + 1) % P
    violations = checker.check(trace, ()).violations
    assert [row for row, name in enumerate(names) if row not in violations.get(name, ())] == []
    untouched = set(range(len(names), 256))
    assert all(untouched.isdisjoint(rows) for rows in violations.values())


def test_a_key_has_the_fewest_queries_that_prove_the_bits_asked_for() -> None:
    parameters, shape = key().verifying_key.parameters, key().verifying_key.shape
    assert key().verifying_key.proven_bits == MINIMUM_PROVEN_BITS
    fewer = type(parameters)(
        parameters.log_blowup,
        parameters.num_queries - 1,
        query_pow_bits=parameters.query_pow_bits,
    )
    assert proven_bits(fewer, shape) < MINIMUM_PROVEN_BITS
    with pytest.raises(ParameterError, match="no number of queries proves 130 bits"):
        permutation_key(AIR, 130, BACKEND)


def test_a_proof_holds_under_a_key_made_elsewhere_and_no_changed_byte_does() -> None:
    proof = honest()
    assert check_proof(16, 2, proof).proven_bits == MINIMUM_PROVEN_BITS
    for place in range(64, len(proof), len(proof) // 3):
        changed = bytearray(proof)
        changed[place] ^= 1
        with pytest.raises(ProofError):
            check_proof(16, 2, bytes(changed))


def test_a_trace_that_is_no_permutation_gives_no_proof_that_holds() -> None:
    trace = AIR.trace(inputs(AIR), BACKEND)
    trace[-1, 3] = (trace[-1, 3] + 1) % P
    forged = prove_stark(key(), (), trace, BACKEND, check_witness=False).data
    with pytest.raises(ProofRejected) as refused:
        check_proof(16, 2, forged)
    assert refused.value.reason is RejectionReason.CONSTRAINTS_NOT_SATISFIED


def test_no_register_and_no_default_policy_accepts_these_proofs() -> None:
    assert BENCH_KIND not in registered_kinds().by_number
    with pytest.raises(ProofRejected) as refused:
        verify_segment(honest(), NumpyHasher())
    assert refused.value.reason is RejectionReason.UNKNOWN_KEY


@pytest.mark.parametrize(("log_height", "lanes"), [(4, 0), (-1, 1)])
def test_a_circuit_without_lanes_or_rows_is_refused(log_height: int, lanes: int) -> None:
    with pytest.raises(ParameterError, match="a lane and a row at least"):
        PermutationAir(log_height, lanes)


def test_inputs_of_another_shape_or_above_the_modulus_are_refused() -> None:
    given = inputs(AIR)
    with pytest.raises(ParameterError, match="the inputs must be"):
        AIR.trace(given[:1], BACKEND)
    given[0, 0, 0] = P
    with pytest.raises(ParameterError, match="the inputs must be"):
        AIR.trace(given, BACKEND)
