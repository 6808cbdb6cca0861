"""`campaign rules` says what it explored, and fails when it did not see everything."""

from __future__ import annotations

import json

import pytest

from pipelines import campaign_rules
from pipelines.campaign_rules import BrokenShift, Machine, SceneShift, broken_rules, scenes, unmet
from pipelines.cli.main import main


@pytest.mark.slow
def test_the_whole_campaign_ends_with_nothing_broken(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["campaign", "rules", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["name"], found["accepted"]) == ("rules", 0)
    evidence = found["evidence"]
    assert evidence["not_found"] == []
    assert all(scene["whole"] for scene in evidence["scenes"])
    assert evidence["states"] == sum(scene["states"] for scene in evidence["scenes"]) > 200_000
    assert len(evidence["broken_rules"]) == len(broken_rules())


@pytest.mark.slow
def test_a_campaign_that_did_not_see_everything_fails(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["campaign", "rules", "--runs", "20", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["accepted"] == 0
    assert not all(scene["whole"] for scene in found["evidence"]["scenes"])
    assert found["evidence"]["refusals_not_met"]["fraud"]


def test_a_broken_rule_that_its_scene_does_not_show_is_reported_as_escaped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(campaign_rules, "DEFAULT_STATES", 1)
    found = BrokenShift(Machine.FRAUD, 0).run()
    assert (found.rule, found.broken) == ("OffenceForgotten", ())


def test_a_refusal_that_no_scene_meets_is_named() -> None:
    shift = SceneShift(Machine.MARKET, "poor", 100)
    assert "prover_barred" in unmet([(shift, shift.run())])["market"]


def test_every_scene_has_a_name_of_its_own() -> None:
    names = [(shift.machine, shift.scene) for shift in scenes(1, deep=True)]
    assert len(set(names)) == len(names)
