from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from operators.proof_worker import process_backend
from proving.arithmetic.modulus import P
from proving.stark.trace_check import TraceChecker
from schemas.errors import ParameterError
from tests.suites.circuits import Exchange, violations

AIR = Exchange()


@pytest.mark.parametrize("seed", range(12))
def test_whole_columns_give_the_report_of_single_rows(seed: int) -> None:
    """A trace with a few random cells is judged as row by row in plain numbers, on either backend."""
    rng = np.random.default_rng(seed)
    publics, trace = AIR.witness()
    for _ in range(seed % 4):
        trace[rng.integers(len(trace)), rng.integers(trace.shape[1])] = rng.integers(P)
    report = TraceChecker(AIR).check(trace, publics)
    named = {*report.violations, *(f"bus {bus}" for bus, _ in report.unbalanced)}
    assert named == violations(AIR, trace, publics)
    assert TraceChecker(AIR, process_backend()).check(trace, publics) == report


def test_a_constraint_holds_on_the_rows_of_its_domain_and_is_named_with_the_others() -> None:
    publics, trace = AIR.witness()
    trace[0] = (trace[0] + 1) % P
    last = trace.shape[1] - 1
    found = TraceChecker(AIR).check(trace, publics).violations
    assert (found["first a"], found["out"]) == ((0,), (last,))
    assert found["add"] == tuple(range(last))


def test_what_a_message_says_too_often_is_counted_with_its_sign() -> None:
    publics, trace = AIR.witness()
    trace[3, 7] = (trace[3, 7] + P - 2) % P
    report = TraceChecker(AIR).check(trace, publics)
    assert report.unbalanced == {("range", (7,)): 2}
    lacking = TraceChecker(replace(AIR, without="table"))
    said = TraceChecker(AIR).messages(trace, publics, "table")
    assert lacking.check(trace, publics).unbalanced[("range", (7,))] - 2 == -said["range", (7,)]


def test_what_cannot_be_checked_is_refused_by_name() -> None:
    publics, trace = AIR.witness()
    check = TraceChecker(AIR)
    with pytest.raises(ParameterError, match="expected a trace of"):
        check.check(trace[:, 1:], publics)
    with pytest.raises(ParameterError, match="non-canonical"):
        check.check(trace, [P, *publics[1:]])
    with pytest.raises(ParameterError, match="no message 'surprise'"):
        check.messages(trace, publics, "surprise")
