"""Forgeries of the pyramid's statements: each breaks its claim alone, and what does not is not counted."""

from __future__ import annotations

from dataclasses import replace

import pytest

from operators.proof_worker import process_backend
from pipelines.adversary.pyramid_book import forgeries_of, statement_part
from pipelines.adversary.statement_forgeries import Attempt, judge
from pipelines.adversary.statement_implied import implied_claims
from pipelines.adversary.statement_part import Claim, StatementPart
from pipelines.campaign_pyramid import KindFindings, evidence_of, plan_kind, traces_agree
from proving.kinds import recursive_program
from proving.recursion.global_proofs import DAY_KIND, EPOCH_KIND
from proving.recursion.span_proofs import JOIN_KIND
from proving.recursion.tape import Unknown
from proving.recursion.wrap import WRAP_KIND


def findings(kind: str, *, all_of: bool = False, lacking: tuple[Claim, ...] = ()) -> KindFindings:
    """Tries the forgeries of a kind, or one of each sort, perhaps on a program that lacks claims."""
    part = statement_part(kind)
    if lacking:
        part = StatementPart(part.tape)
        part.execution = part.without(lacking)
    found, numbers, sorts = plan_kind(kind, 7, None)
    wanted = set(numbers if all_of else sorts)
    for number, attempt in enumerate(forgeries_of(kind)):
        if number in wanted:
            found.count(judge(part, attempt, process_backend()), None)
    return found


def test_every_claim_of_the_wrap_is_broken_alone_and_the_constraint_system_says_the_same() -> None:
    found = findings(WRAP_KIND, all_of=True)
    assert found.covered == frozenset(found.alone) == found.claims
    assert found.tried == 32
    part = statement_part(WRAP_KIND)
    for number in sorted(plan_kind(WRAP_KIND, 7, None)[2]):
        assert traces_agree(part, list(forgeries_of(WRAP_KIND))[number])


def test_a_forgery_of_each_sort_breaks_its_claim_of_a_day_alone() -> None:
    found = findings(DAY_KIND)
    assert (found.tried, len(found.alone)) == (10, 10)
    assert found.native == 4
    assert found.implied.keys() == {Claim("the switch of slot 1", 1)}


def test_a_program_that_lacks_a_claim_accepts_its_forgery_and_is_not_covered() -> None:
    missing = Claim("the child's vk_self", 3)
    found = findings(WRAP_KIND, all_of=True, lacking=(missing,))
    assert found.claims - found.covered == {missing}
    part = StatementPart(statement_part(WRAP_KIND).tape)
    part.execution = part.without([missing])
    attempt = next(one for one in forgeries_of(WRAP_KIND) if one.targets == (missing,))
    outcome = judge(part, attempt, process_backend())
    assert (outcome.is_refused, outcome.holds, outcome.broken) == (False, False, frozenset())


def test_what_does_not_break_its_claim_alone_is_not_counted() -> None:
    part, hasher = statement_part(WRAP_KIND), process_backend()
    first, second, *_ = forgeries_of(WRAP_KIND)
    elsewhere = judge(part, replace(first, targets=second.targets), hasher)
    assert (elsewhere.is_refused, elsewhere.accepted, elsewhere.holds) == (True, False, False)
    both = replace(first, late={**first.late, 0: 1})
    assert len(judge(part, both, hasher).broken) == 2
    assert not judge(part, both, hasher).holds
    silent = replace(first, native=lambda: None, names="a reason")
    assert not judge(part, silent, hasher).is_refused
    honest = Attempt("honest", (), first.make)
    assert judge(part, honest, hasher).broken == frozenset()


@pytest.mark.parametrize("kind", [WRAP_KIND, DAY_KIND])
def test_the_part_has_every_claim_that_is_not_about_a_childs_proof(kind: str) -> None:
    tape = recursive_program(kind, process_backend()).execution.tape
    inside = {
        number
        for begun, done in tape.verifications
        for number in range(begun.multiply_adds, done.multiply_adds)
    }
    outside = [
        record.what
        for number, record in enumerate(tape.multiply_adds)
        if number not in inside and record.unknown is Unknown.NONE
    ]
    assert sorted(outside) == sorted(claim.what for claim in statement_part(kind).claims)
    assert not any("query" in what for what in outside)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "sorts"), [(JOIN_KIND, 14), (EPOCH_KIND, 21)])
def test_every_claim_of_joins_and_epochs_has_a_forgery_or_is_implied(kind: str, sorts: int) -> None:
    found = findings(kind)
    targets = {claim for attempt in forgeries_of(kind) for claim in attempt.targets}
    assert found.tried == sorts
    assert len(found.alone) + len(found.together) > 10
    assert targets | found.implied.keys() == found.claims
    assert implied_claims(kind, statement_part(kind)) == found.implied


def test_evidence_names_what_is_not_covered_and_what_was_accepted() -> None:
    missing = Claim("the child's vk_self", 3)
    found = findings(WRAP_KIND, all_of=True, lacking=(missing,))
    refusals = {"refused": ("unknown_key", "unknown_key"), "let through": ("", "unknown_key")}
    evidence = evidence_of(5, {WRAP_KIND: found}, ["wrap: one"], 1, refusals)
    assert (evidence["ok"], evidence["accepted"], evidence["runs"]) == (False, 2, 34)
    assert (evidence["constraints"], evidence["covered"]) == (24, 23)
    assert evidence["evidence"]["not_covered"] == [f"wrap: {missing}"]
    assert evidence["evidence"]["refused_otherwise"] == ["let through"]
