"""Changed proofs before the native verifier and before a circuit: the same verdict at the same place, or it is told."""

from __future__ import annotations

import random
from copy import copy
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from pipelines.adversary.circuit_verdicts import (
    ACCEPTED,
    CircuitVerifier,
    Verdict,
    native_verdict,
    unreadable,
)
from pipelines.adversary.proof_mutations import MUTATIONS, section_places
from pipelines.campaign_children import (
    SHARES,
    SLOTS,
    ChildFindings,
    children_evidence,
    mutant_of,
    shifts_of,
)
from proving.backends.cpu import CpuBackend
from proving.prover import prove_stark
from proving.recursion.builder import CircuitBuilder
from proving.recursion.execution import Execution
from proving.recursion.recursive_proofs import body_of
from proving.recursion.sections import ProofPositions
from proving.recursion.tape import NOTHING
from proving.recursion.verifier_circuit import verify_child
from tests.suites.circuits import Exchange
from tests.suites.proofs import EVERYTHING, honest_proof, proving_key

BACKEND = CpuBackend()
AIR = Exchange()
KEY = proving_key(AIR, EVERYTHING).verifying_key
NO_PUBLICS = np.zeros((0, 8), dtype=np.uint32)
SLOT_COUNT = 2


@cache
def proofs() -> tuple[bytes, bytes]:
    publics, trace = AIR.witness(2)
    other = prove_stark(proving_key(AIR, EVERYTHING), publics, trace, BACKEND).data
    return honest_proof(AIR, EVERYTHING).data, other


@cache
def execution() -> Execution:
    """A circuit that verifies two proofs."""
    size = ProofPositions(KEY, 0).size
    builder = CircuitBuilder(0, SLOT_COUNT * size)
    for slot in range(SLOT_COUNT):
        verify_child(builder, KEY, slot * size)
    return Execution(builder.tape)


def said(verifier: CircuitVerifier, chosen: list[bytes]) -> list[Verdict]:
    inputs = np.concatenate([body_of(proof) for proof in chosen])
    return verifier.verdicts(NO_PUBLICS, inputs, BACKEND)


def mutants(count: int) -> list[tuple[str, bytes]]:
    """Returns mutants that can be read as proofs."""
    places, rng = section_places(KEY), random.Random(3)  # noqa: S311 - reproducible
    found: list[tuple[str, bytes]] = []
    while len(found) < count:
        name, mutant = mutant_of("small", places, {"small": proofs()}, rng)
        if unreadable(KEY, mutant) is None:
            found.append((name, mutant))
    return found


def compared(verifier: CircuitVerifier, count: int) -> ChildFindings:
    found = ChildFindings()
    chosen = mutants(count)
    for first, second in zip(chosen[::2], chosen[1::2], strict=True):
        verdicts = said(verifier, [first[1], second[1]])
        for (name, mutant), verdict in zip((first, second), verdicts, strict=True):
            found.mutations[name] += 1
            found.compare(name, native_verdict(KEY, mutant, BACKEND), verdict)
    return found


def test_both_verifiers_refuse_every_mutant_for_the_same_reason_at_the_same_place() -> None:
    verifier = CircuitVerifier(execution(), KEY)
    assert said(verifier, list(proofs())) == [Verdict(ACCEPTED)] * 2
    found = compared(verifier, 80)
    assert (found.accepted, found.disagreements) == ([], [])
    assert set(found.reasons) == {
        "constraints_not_satisfied",
        "merkle_path",
        "proof_of_work",
    }, "the others take a prover that cheats, and answers the queries again"
    assert len(found.mutations) > len(MUTATIONS) // 2
    evidence = children_evidence(3, found, {"small": 2}, (0.0, 0.0))
    assert (evidence["ok"], evidence["runs"], evidence["accepted"]) == (True, 80, 0)


@pytest.mark.parametrize("what", ["the constraints", "a path"])
def test_a_circuit_that_lacks_a_claim_is_found_out(what: str) -> None:
    weaker = copy(execution())
    arrays = weaker.arrays
    if what == "a path":
        weaker.arrays = replace(arrays, meets_cap=np.zeros_like(arrays.meets_cap))
    else:
        slots, weights = arrays.slots.copy(), arrays.weights.copy()
        for number, record in enumerate(weaker.tape.multiply_adds):
            if record.what == what:
                slots[number], weights[number] = NOTHING, 0
        weaker.arrays = replace(arrays, slots=slots, weights=weights)
    found = compared(CircuitVerifier(weaker, KEY), 24)
    assert found.disagreements
    assert not children_evidence(3, found, {"small": 2}, (0.0, 0.0))["ok"]


def test_a_mutant_that_only_one_verifier_accepts_is_both_accepted_and_disagreed() -> None:
    found = ChildFindings()
    refused = Verdict("merkle_path", "main columns/query 3")
    found.compare("one", refused, refused)
    found.compare("two", refused, Verdict("merkle_path", "main columns/query 4"))
    found.compare("three", refused, Verdict(ACCEPTED))
    assert found.places == {"merkle_path at main columns": 1}
    assert (len(found.accepted), len(found.disagreements)) == (1, 2)


def test_the_pieces_of_a_campaign_are_all_its_mutants_once() -> None:
    assert (sum(SHARES.values()), set(SHARES)) == (100, set(SLOTS))
    for runs in (1, 99, 10_000):
        shifts = shifts_of(5, runs)
        numbers = [n for one in shifts for n in range(one.first, one.first + one.count)]
        assert sorted(numbers) == list(range(runs))
