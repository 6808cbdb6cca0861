from __future__ import annotations

import json

import pytest

from pipelines.campaign_faults import FaultPlan
from pipelines.cli.main import main
from pipelines.faults.catalogue import on_embedded_log, on_kafka
from pipelines.faults.medium import medium_faults
from schemas.errors import ParameterError


def test_names_and_numbers_choose_the_faults_in_order() -> None:
    everything = FaultPlan(1, kafka=True)
    assert [scene for scene, _ in everything.scenes()] == ["embedded log", "kafka"]
    names = [fault.name for fault in medium_faults()]
    names += [fault.name for _, faults in everything.scenes() for fault in faults]
    assert len(names) == len(set(names))
    two = FaultPlan(1, names=["log forks", "full disk of all"])
    assert [fault.name for fault in two.medium()] == ["log forks"]
    assert [[fault.name for fault in faults] for _, faults in two.scenes()] == [
        ["full disk of all"]
    ]
    few = FaultPlan(1, runs=len(medium_faults()) + 2)
    assert [len(faults) for _, faults in few.scenes()] == [2]
    assert FaultPlan(1, runs=3).scenes() == []


def test_a_fault_that_there_is_not_is_refused_by_name() -> None:
    with pytest.raises(ParameterError, match="no fault 'flood'"):
        FaultPlan(1, names=["flood"]).scenes()
    with pytest.raises(ParameterError, match="no fault 'broker away'"):
        FaultPlan(1, names=["broker away"]).scenes()


def test_too_few_validators_must_stop_and_enough_must_go_on() -> None:
    faults = [*on_embedded_log(), *on_kafka()]
    for fault in faults:
        hit = [name for name in fault.victims if name.startswith("validator-")]
        if fault.must == "stop":
            assert len(hit) > 1
        if "two validators" in fault.name or fault.name.startswith("two "):
            assert (len(hit), fault.must) == (2, "stop")
    assert {fault.must for fault in faults} == {"", "go_on", "stop"}


def test_faults_of_the_medium_run_from_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["campaign", "faults", "--fault", "log repeats", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    (row,) = record["evidence"]["faults"]
    assert (row["fault"], row["problems"], record["accepted"]) == ("log repeats", [], 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["faults", "--fault", "flood"], "no fault 'flood'"),
        (["theft", "--fault", "log repeats"], "makes no faults"),
        (["theft", "--kafka"], "--kafka goes with chaos, faults"),
    ],
)
def test_flags_that_do_not_fit_are_refused(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["campaign", *arguments]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.slow
def test_a_live_chain_gets_over_kills_and_stalls(capsys: pytest.CaptureFixture[str]) -> None:
    names = ["kill a validator", "two stalled validators of four"]
    arguments = [word for name in names for word in ("--fault", name)]
    code = main(["campaign", "faults", *arguments, "--json"])
    record = json.loads(capsys.readouterr().out)
    missing = record["evidence"]["not_made"]
    assert code == (5 if missing else 0)
    rows = {row["fault"]: row for row in record["evidence"]["faults"]}
    assert sorted(rows) == sorted(names)
    assert rows["kill a validator"]["restarts"] == {"validator-1": 1}
    assert all(row["lost"] == row["doubled"] == 0 for row in rows.values())
    (end,) = record["evidence"]["ends"].values()
    assert end["problems"] == []
    assert end["lost"] == 0
