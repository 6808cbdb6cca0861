"""The verifier as a circuit against the native one: same challenges, same verdicts for the same reasons."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest

from proving.backends.cpu import CpuBackend
from proving.errors import ProofError, ProvingError
from proving.recursion.air import RecursionAir
from proving.recursion.builder import CircuitBuilder
from proving.recursion.execution import Execution, Values
from proving.recursion.sections import ProofPositions
from proving.recursion.trace import fill_trace
from proving.recursion.verifier_circuit import VerifiedChild, verify_child
from proving.recursion.wiring import Wiring, wire
from proving.stark.air import FieldArray
from proving.stark.check import verify_stark
from proving.stark.encoding import HEADER_BYTES
from proving.stark.key import VerifyingKey
from proving.stark.parameters import ProofParameters
from proving.stark.trace_check import TraceChecker
from tests.suites.circuits import Exchange, Fibonacci
from tests.suites.proofs import EVERYTHING, Circuit, honest_proof, proving_key
from tests.suites.verdicts import SAME

PLAIN = ProofParameters(log_blowup=3, num_queries=9, log_arity=2, log_cap=2, log_final_length=2)
CASES: list[tuple[Circuit, ProofParameters]] = [
    (Fibonacci(5), PLAIN),
    (Exchange(), EVERYTHING),
    (Exchange(), PLAIN),
]
NO_PUBLICS = np.zeros((0, 8), dtype=np.uint32)

BACKEND = CpuBackend()


@dataclass(frozen=True)
class Verifier:
    """A verifier circuit for one key."""

    key: VerifyingKey
    child: VerifiedChild
    execution: Execution
    wiring: Wiring

    def values(self, body: FieldArray) -> Values:
        return self.execution.run(NO_PUBLICS, body, BACKEND)


@cache
def verifier(case: int) -> Verifier:
    key = proving_key(*CASES[case]).verifying_key
    builder = CircuitBuilder(0, ProofPositions(key, 0).size)
    child = verify_child(builder, key, 0)
    rows = max(builder.tape.arithmetic_rows, builder.tape.permutation_rows)
    wiring = wire(builder.tape, rows.bit_length())
    return Verifier(key, child, Execution(builder.tape), wiring)


@cache
def body_of(case: int) -> FieldArray:
    data = honest_proof(*CASES[case]).data[HEADER_BYTES:]
    return np.frombuffer(data, dtype="<u4").astype(np.uint32)


@pytest.mark.parametrize("case", range(len(CASES)))
def test_an_honest_proof_satisfies_every_constraint_and_balances_every_bus(case: int) -> None:
    circuit = verifier(case)
    values = circuit.values(body_of(case))
    circuit.execution.check(values)
    trace = fill_trace(circuit.execution, circuit.wiring, values, BACKEND)
    report = TraceChecker(RecursionAir.of("verifier", circuit.wiring)).check(trace, [])
    assert report.holds, (report.violations, list(report.unbalanced)[:3])


@pytest.mark.parametrize("case", range(len(CASES)))
def test_every_challenge_is_the_native_transcripts(case: int) -> None:
    circuit = verifier(case)
    values = circuit.values(body_of(case))
    drawn = [
        (label, tuple(values.elements[element].tolist()))
        for label, element in circuit.child.challenges
    ]
    events = honest_proof(*CASES[case]).events
    assert drawn == [(e.label, e.values) for e in events if e.action == "challenge"]


@pytest.mark.parametrize("case", range(len(CASES)))
def test_the_publics_are_the_proofs(case: int) -> None:
    circuit = verifier(case)
    values = circuit.values(body_of(case))
    count = circuit.key.system.layout.publics
    cells = [values.elements[element].tolist() for element in circuit.child.publics]
    assert cells == [[int(value), 0, 0, 0, 0] for value in body_of(case)[:count]]


@pytest.mark.parametrize("case", range(len(CASES)))
def test_a_changed_element_is_refused_by_both_verifiers_for_the_same_reason(case: int) -> None:
    circuit, honest = verifier(case), body_of(case)
    header = honest_proof(*CASES[case]).data[:HEADER_BYTES]
    rng = np.random.default_rng(case)
    for place in rng.permutation(len(honest))[:60]:
        changed = honest.copy()
        changed[place] = (int(changed[place]) + int(rng.integers(1, 2**30))) % 2130706433
        with pytest.raises(ProofError) as native:
            verify_stark(circuit.key, None, header + changed.astype("<u4").tobytes(), BACKEND)
        try:
            problems = circuit.execution.problems(circuit.values(changed))
        except ProvingError as error:
            problems = [str(error)]
        said = SAME[native.value.reason]
        assert any(problem.startswith(said) for problem in problems), (place, said, problems[:3])


def test_the_prover_refuses_a_damaged_child_by_name() -> None:
    circuit, body = verifier(0), body_of(0).copy()
    body[0] ^= 1
    with pytest.raises(ProvingError, match="claim does not hold: "):
        circuit.execution.check(circuit.values(body))
