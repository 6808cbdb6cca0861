"""Every claim of the recursion circuit bites: a forgery breaks it alone."""

from __future__ import annotations

import pytest

from operators.proof_worker import process_backend
from pipelines.adversary.forged_trace import claims_of
from pipelines.adversary.recursion_claims import (
    forged_recursion,
    forgeries,
    honest_trace,
    same_recursion_claims,
    small_program,
)
from pipelines.adversary.weaker import Weaker
from proving.recursion.air import RecursionAir
from proving.stark.trace_check import TraceChecker
from schemas.errors import ParameterError

CONSTRAINTS, MESSAGES = claims_of(small_program())


@pytest.fixture(scope="module")
def check() -> TraceChecker:
    return TraceChecker(small_program(), process_backend())


def test_every_claim_has_a_forgery(check: TraceChecker) -> None:
    assert set(forgeries()) == {*CONSTRAINTS, *MESSAGES}
    assert check.check(honest_trace(), []).holds


def test_every_forgery_of_a_constraint_breaks_it_alone(check: TraceChecker) -> None:
    for name in CONSTRAINTS:
        forged = forged_recursion(name)
        found = check.check(forged.trace, [])
        assert forged.missing == name
        assert (set(found.violations), found.unbalanced) == ({name}, {}), name


@pytest.mark.parametrize("bus", ["element", "word", "cap"])
def test_every_forgery_of_a_message_is_accepted_only_without_its_bus(
    bus: str, check: TraceChecker
) -> None:
    without = TraceChecker(Weaker(small_program(), bus), process_backend())
    names = [name for name in MESSAGES if forgeries()[name][0] == bus]
    assert names
    for name in names:
        forged = forged_recursion(name)
        found = check.check(forged.trace, [])
        assert found.violations == {}, name
        assert {found_bus for found_bus, _ in found.unbalanced} == {bus}, name
        assert set(found.unbalanced) & set(check.messages(forged.trace, [], name)), name
        assert without.check(forged.trace, []).holds, name


def test_programs_claim_the_same_and_a_claim_without_a_forgery_is_named() -> None:
    program = small_program()
    other = RecursionAir("other", 9, (1, 2), program.make_wiring)
    assert same_recursion_claims(other, 3)
    with pytest.raises(ParameterError, match="no forgery of 'surprise'"):
        forged_recursion("surprise")
