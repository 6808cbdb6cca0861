"""LIFT of one large segment: a small circuit of the same lanes and folds in the quick tier, the shipped one in the slow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import pytest

from pipelines.sample_window import funded_ledger, sample_transfers
from proving.backends.cpu import CpuBackend
from proving.errors import ProofError, ProofRejected, ProvingError, RejectionReason
from proving.kinds import recursive_program, verifying_key
from proving.ledger.air import LedgerAir
from proving.ledger.layout import Layout
from proving.ledger.planning import LargeShape
from proving.ledger.segments import cut_window
from proving.ledger.state import Block
from proving.ledger.trace import build_trace, check_statement
from proving.ledger.trace_nodes import compiled_columns
from proving.ledger.witness import SegmentWitness
from proving.prover import prove_stark
from proving.recursion.air import RecursionAir
from proving.recursion.execution import Execution
from proving.recursion.lift import LARGE_LIFT_SLOTS, large_lift_tape
from proving.recursion.recursive_proofs import recursive_publics
from proving.recursion.span import Span, span_of_segment
from proving.recursion.span_proofs import (
    LARGE_LIFT_KIND,
    SpanProof,
    lift_inputs,
    prove_join,
    prove_lift,
    verify_span,
)
from proving.recursion.trace import fill_trace
from proving.recursion.wiring import Wiring, wire
from proving.segment_proofs import large_shape, prove_segment, segment_layout
from proving.stark.air import FieldArray
from proving.stark.check import verify_stark
from proving.stark.encoding import HEADER_BYTES
from proving.stark.parameters import SEGMENT_L
from proving.stark.setup import ProvingKey, make_proving_key
from proving.stark.trace_check import TraceChecker
from schemas.errors import ParameterError
from schemas.statement import AFTER_OFFSET, NUM_COUNTERS, UNTOUCHED_ARRAYS, SegmentStatement
from schemas.units import WORD_ELEMENTS, ZERO_WORD, word_elements
from tests.suites.verdicts import SAME

BACKEND = CpuBackend(threads=2)
NOBODY = tuple(word_elements(ZERO_WORD))
AIR = LedgerAir(7, 4)


@cache
def key() -> ProvingKey:
    """A small circuit with four hash lanes; blow-up, folds and caps are those of `segment_l`."""
    parameters = replace(SEGMENT_L, num_queries=6, query_pow_bits=1)
    return make_proving_key(2, AIR, parameters, BACKEND)


def witness(small: Layout, shape: LargeShape, transfers: int) -> SegmentWitness:
    ledger = funded_ledger()
    block = Block(ledger.height + 1, 64, 1, tuple(sample_transfers(transfers, 11)))
    segment, *_ = cut_window(ledger, [block], 1, small, shape)
    assert segment.kind == 2
    return segment


@cache
def small_proof() -> bytes:
    segment = witness(LedgerAir(7, 1).layout, LargeShape(2, AIR.layout, 1), 40)
    trace, publics = build_trace(AIR, segment, BACKEND, columns_of=compiled_columns(BACKEND))
    return prove_stark(key(), publics, trace, BACKEND).data


@dataclass(frozen=True)
class Lift:
    """The program of the kind `lift_l`, about the small circuit."""

    execution: Execution
    wiring: Wiring


@cache
def lift() -> Lift:
    tape = large_lift_tape(key().verifying_key)
    rows = max(tape.arithmetic_rows, tape.permutation_rows)
    return Lift(Execution(tape), wire(tape, rows.bit_length()))


@cache
def statement() -> SegmentStatement:
    verdict = verify_stark(key().verifying_key, None, small_proof(), BACKEND)
    return check_statement(verdict.publics, BACKEND)


def words_of(span: Span, payee: Sequence[int] = NOBODY) -> FieldArray:
    publics = recursive_publics(LARGE_LIFT_KIND, span.digest(BACKEND), payee, BACKEND)
    return np.array(publics, dtype=np.uint32).reshape(-1, WORD_ELEMENTS)


def problems(
    span: Span, *, payee: Sequence[int] = NOBODY, body: FieldArray | None = None
) -> set[str]:
    """Returns the claims of the lift that do not hold."""
    inputs = lift_inputs([small_proof()], LARGE_LIFT_SLOTS) if body is None else body
    execution = lift().execution
    return set(execution.problems(execution.run(words_of(span, payee), inputs, BACKEND)))


def test_one_large_segment_becomes_a_span_and_every_constraint_and_bus_holds() -> None:
    span = span_of_segment(statement())
    assert (span.first_segment, span.last_segment) == (0, 0)
    assert problems(span) == set()
    words = words_of(span)
    execution, wiring = lift().execution, lift().wiring
    inputs = lift_inputs([small_proof()], LARGE_LIFT_SLOTS)
    values = execution.run(words, inputs, BACKEND)
    trace = fill_trace(execution, wiring, values, BACKEND)
    publics = [int(element) for element in words.reshape(-1)]
    report = TraceChecker(RecursionAir.of("lift", wiring)).check(trace, publics)
    assert report.holds, (report.violations, list(report.unbalanced)[:3])


def test_another_statement_and_another_payee_are_refused() -> None:
    span = span_of_segment(statement())
    assert problems(replace(span, last_segment=1)) == {"the statement"}
    assert problems(replace(span, after=span.before)) == {"the statement"}
    assert problems(span, payee=(1, *NOBODY[1:])) == {"the payee of slot 0"}


def test_arrays_that_no_step_writes_keep_their_roots() -> None:
    for array in UNTOUCHED_ARRAYS:
        body = lift_inputs([small_proof()], LARGE_LIFT_SLOTS)
        body[AFTER_OFFSET + NUM_COUNTERS + WORD_ELEMENTS * (array - 1)] ^= 1
        assert f"{array.name} of slot 0" in problems(span_of_segment(statement()), body=body)


def test_a_changed_element_is_refused_by_both_verifiers_for_the_same_reason() -> None:
    honest = lift_inputs([small_proof()], LARGE_LIFT_SLOTS)
    header, span = small_proof()[:HEADER_BYTES], span_of_segment(statement())
    rng = np.random.default_rng(8)
    for place in rng.permutation(len(honest))[:40]:
        changed = honest.copy()
        changed[place] = (int(changed[place]) + int(rng.integers(1, 2**30))) % 2130706433
        data = header + changed.astype("<u4").tobytes()
        with pytest.raises(ProofError) as native:
            verify_stark(key().verifying_key, None, data, BACKEND)
        try:
            found = problems(span, body=changed)
        except ProvingError as error:
            found = {str(error)}
        said = SAME[native.value.reason]
        assert any(problem.startswith(said) for problem in found), (place, said, sorted(found)[:3])


def test_the_program_about_the_shipped_circuit_fits_its_rows() -> None:
    tape = recursive_program(LARGE_LIFT_KIND, BACKEND).execution.tape
    assert max(tape.arithmetic_rows, tape.permutation_rows) <= 2**16
    assert verifying_key(LARGE_LIFT_KIND, BACKEND).system == verifying_key("join", BACKEND).system


@pytest.mark.slow
def test_a_large_segment_is_lifted_and_joined() -> None:
    proof = prove_segment(
        witness(segment_layout(), replace(large_shape(), above=0), 2_000), BACKEND
    ).data
    lifted = prove_lift([proof], BACKEND)
    assert len(lifted.data) < 200_000
    joined = prove_join([lifted], BACKEND)
    for claim in (lifted, joined):
        assert verify_span(claim, BACKEND).proven_bits >= 100
    with pytest.raises(ProofRejected) as error:
        verify_span(SpanProof(replace(lifted.span, last_segment=1), lifted.data), BACKEND)
    assert error.value.reason is RejectionReason.STATEMENT_MISMATCH
    with pytest.raises(ParameterError, match=r"lift_l takes 1..1 segments, got 2"):
        prove_lift([proof, proof], BACKEND)
