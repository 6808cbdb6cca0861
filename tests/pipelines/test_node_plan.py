from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.node_plan import (
    COMMANDS,
    PIPELINE_OF,
    ROLES,
    SERVICE_ROLES,
    addresses,
    command_name,
    metrics_ports,
    node_plans,
)
from pipelines.settings import load_settings
from schemas.config import Configuration, profile_configuration


def configuration(**metrics: object) -> Configuration:
    base = profile_configuration("local").model_dump()
    return Configuration.model_validate({**base, "metrics": metrics})


def test_every_process_of_every_command_has_a_port_of_its_own() -> None:
    settings = configuration(port=9400)
    ports = metrics_ports(settings)
    assert len(set(ports.values())) == len(ports)
    assert min(ports.values()) == 9400
    for command in COMMANDS:
        roles = SERVICE_ROLES.get(command, ROLES if command == "demo" else ())
        plans = node_plans(Path("data"), settings, roles)
        assert {command_name(command), *(plan.name for plan in plans)} <= set(ports)


def test_without_metrics_there_are_no_ports() -> None:
    assert metrics_ports(configuration()) == {}
    assert addresses(load_settings(environment={}), ["admission"]) == []


def test_the_largest_network_fits_below_the_last_port() -> None:
    base = configuration(port=65_000).model_dump()
    largest = Configuration.model_validate({**base, "chain": {"validators": 100}})
    assert max(metrics_ports(largest).values()) < 65_300


def test_an_address_names_process_and_paths() -> None:
    settings = load_settings(environment={"ECLIPTICA_METRICS_PORT": "9400"})
    assert addresses(settings, ["demo"]) == [
        f"demo: http://127.0.0.1:{9400 + COMMANDS.index('demo')}/metrics, /health, /ready"
    ]


@pytest.mark.parametrize("role", ROLES)
def test_every_role_belongs_to_a_pipeline(role: str) -> None:
    assert role in SERVICE_ROLES[PIPELINE_OF[role]]


@pytest.mark.parametrize("runner", ["direct", "flink"])
def test_beam_has_a_process_of_its_own_and_moves_no_port(runner: str) -> None:
    by_loop = configuration(port=9400)
    by_beam = Configuration.model_validate(
        {**by_loop.model_dump(), "streaming": {"runner": runner}}
    )
    ports = metrics_ports(by_beam)
    assert metrics_ports(by_loop).items() <= ports.items()
    assert set(ports) - set(metrics_ports(by_loop)) == {"windows", command_name("windows")}
    for command, is_there in (("windows", True), ("all", True), ("consensus", False)):
        names = [plan.name for plan in node_plans(Path("data"), by_beam, SERVICE_ROLES[command])]
        assert ("windows" in names) == is_there
    assert not node_plans(Path("data"), by_loop, SERVICE_ROLES["windows"])
