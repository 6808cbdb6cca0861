"""Campaigns find what they look for, and count what they tried."""

from __future__ import annotations

import json
import random
from dataclasses import replace

import numpy as np
import pytest

from operators.proof_worker import process_backend
from pipelines.adversary.block_attacks import BLOCK_ATTACKS
from pipelines.adversary.crossing_attacks import CROSSING_ATTACKS
from pipelines.adversary.forged_trace import ForgedTrace
from pipelines.adversary.honest_traffic import base
from pipelines.adversary.ledger_claims import forged_trace
from pipelines.adversary.ledger_edits import AIR, honest
from pipelines.adversary.ledger_traffic import ISSUER_KEY, PARAMETERS
from pipelines.adversary.proof_mutations import MUTATIONS, SectionPlace, section_places
from pipelines.adversary.trace_attacks import FINISHED_ATTACKS, LANE_ATTACKS
from pipelines.adversary.weaker import Weaker
from pipelines.adversary.windows import Outcome, Traffic
from pipelines.campaign_attacks import AIMS, AttackResult, attack
from pipelines.campaign_constraints import FINAL_LENGTH, judge
from pipelines.campaign_differential import DEFAULT_SOURCE, disagreements, judge_naively
from pipelines.cli.main import main
from proving.kinds import kind_named, verifying_key
from proving.ledger.state import genesis_ledger

SETTINGS = replace(kind_named("segment_s").parameters, log_final_length=FINAL_LENGTH)
TRAFFIC = Traffic(5, DEFAULT_SOURCE)


@pytest.mark.parametrize(
    "name", ["step.recipient.cell", "step.carry.range[2]", "memory.leaf", "node0.tree.left"]
)
def test_a_forged_segment_is_refused_and_accepted_without_the_claim_it_breaks(name: str) -> None:
    """Credit to a third account, a minted 2^60, balances below an old root, a node from nowhere."""
    verdict = judge(forged_trace(name), SETTINGS)
    assert verdict.holds
    assert verdict.missing == ("tree" if name == "node0.tree.left" else name)


def test_what_does_not_break_its_claim_is_not_counted_as_covered() -> None:
    trace, publics = honest()
    verdict = judge(ForgedTrace("step.order", "step.order", AIR, trace, publics), SETTINGS)
    assert (verdict.alone, verdict.refused, verdict.holds) == (False, "", False)
    forged = forged_trace("step.order")
    other = judge(replace(forged, claim="step.nonce", missing="step.nonce"), SETTINGS)
    assert (other.alone, other.bites, other.holds) == (False, False, False)


@pytest.mark.parametrize("aim", AIMS)
def test_every_attack_is_refused(aim: str) -> None:
    tried = set()
    for number in range(1, 50):
        rng = random.Random(f"{aim}/{number}")  # noqa: S311 - reproducible
        result = attack(aim, base("test"), rng, number)
        assert not result.is_accepted, result
        tried.add(result.attack)
    lists = (LANE_ATTACKS, FINISHED_ATTACKS, BLOCK_ATTACKS, CROSSING_ATTACKS)
    known = {one.__name__ for attacks in lists for one in attacks[aim]}
    assert len(tried) > len(known) // 2
    assert tried <= known


def test_an_attack_that_gets_through_anywhere_counts_as_accepted() -> None:
    assert AttackResult("a", (), None).is_accepted
    assert AttackResult("a", ("bus tree",), "").is_accepted
    assert not AttackResult("a", ("bus tree",), "constraints_not_satisfied").is_accepted


def test_the_circuit_without_its_nonce_claim_lets_a_double_spend_through() -> None:
    """So that an attack which is refused is refused for what it does."""
    forge = next(one for one in LANE_ATTACKS["double-spend"] if one.__name__ == "nonce_of_another")
    forged = base("test").forgery()
    forge(forged, random.Random(1))  # noqa: S311 - reproducible
    forged.finish()
    trace = ForgedTrace("step.word[4]", "step.word[4]", AIR, forged.trace, forged.publics)
    assert judge(trace, SETTINGS).holds
    assert Weaker(AIR, "step.word[4]").num_main == AIR.num_main


def _windows() -> list[int]:
    """Returns a random and a real window, both with transactions that are refused."""
    found: dict[bool, int] = {}
    for number in range(40):
        run = TRAFFIC.run(number, prove=False)
        verdicts = [reason for block in run.native.verdicts for reason in block]
        if any(verdicts) and not all(verdicts):
            found.setdefault(run.is_real, number)
        if len(found) == 2:
            break
    return list(found.values())


def test_three_executors_agree_on_random_and_real_windows() -> None:
    runs = [TRAFFIC.run(number, prove=place == 0) for place, number in enumerate(_windows())]
    outcomes = judge_naively(TRAFFIC, [(run.is_real, run.blocks) for run in runs])
    assert {run.is_real for run in runs} == {False, True}
    assert [disagreements(run, naive) for run, naive in zip(runs, outcomes, strict=True)] == [
        [],
        [],
    ]


def test_a_disagreement_on_a_verdict_a_balance_a_root_or_a_trace_is_found() -> None:
    run = TRAFFIC.run(3, prove=False)
    same = run.native
    index, (balance, nonce) = next(iter(same.accounts.items()))
    others = [
        replace(same, verdicts=(("expired",), *same.verdicts[1:])),
        replace(same, accounts={**same.accounts, index: (balance + 1, nonce)}),
        replace(same, accounts={**same.accounts, index: (balance, nonce + 1)}),
        replace(same, roots={**same.roots, "KEY": "00"}),
    ]
    assert disagreements(run, same) == []
    assert [len(disagreements(run, other)) for other in others] == [1, 1, 1, 1]
    assert len(disagreements(replace(run, problems=("segment 0",)), same)) == 1


def test_the_naive_roots_are_those_of_an_empty_ledger() -> None:
    ledger = genesis_ledger(PARAMETERS, process_backend(), ISSUER_KEY)
    (naive,) = judge_naively(TRAFFIC, [(False, ())])
    assert isinstance(naive, Outcome)
    assert naive.roots["TXS"] == ledger.empty[-1].hex()
    assert naive.roots["ACC"] != ledger.empty[-1].hex()


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_mutation_makes_other_bytes(name: str) -> None:
    rng = np.random.default_rng(1)
    places, size = section_places(verifying_key("segment_s", process_backend())), 264_496
    proof, other = (rng.integers(0, 127, size, dtype=np.uint8).tobytes() for _ in range(2))
    for seed in range(5):
        mutant = MUTATIONS[name](places, proof, other, random.Random(seed))  # noqa: S311
        assert mutant not in (proof, other)


def test_rows_of_a_section_lie_behind_one_another() -> None:
    place = SectionPlace("paths", 100, 3, 24)
    assert [place.row(number) for number in range(3)] == [
        slice(100, 132),
        slice(132, 164),
        slice(164, 196),
    ]
    assert place.whole == slice(100, 196)


def test_a_campaign_runs_from_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["campaign", "double-spend", "--runs", "2", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["name"], found["runs"], found["accepted"]) == ("double-spend", 2, 0)
    assert found["evidence"]["not_covered"] == [
        "nullifiers spent twice: the private tiers are not built"
    ]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["theft", "--seconds", "3"], 2, "takes --runs, not --seconds"),
        (["theft", "--traffic", "x.csv"], 2, "replays no traffic"),
        (["differential", "--runs", "1", "--traffic", "missing.csv"], 2, "missing.csv"),
    ],
)
def test_a_campaign_that_cannot_run_says_why(
    arguments: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["campaign", *arguments]) == code
    assert message in capsys.readouterr().err
