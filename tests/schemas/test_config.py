from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import ValidationError

from pipelines.settings import setting_keys
from schemas.config import PROFILES, Configuration, profile_configuration
from schemas.errors import ParameterError

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("pipelines", "operators", "proving", "deploy")


def attributes_of(tree: ast.AST) -> set[str]:
    return {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}


def derived_values() -> Iterator[tuple[str, set[str]]]:
    """Yields each property of the configuration models with the attributes it reads."""
    tree = ast.parse((ROOT / "schemas" / "config.py").read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and any(
            isinstance(mark, ast.Name) and mark.id == "property" for mark in node.decorator_list
        ):
            yield node.name, attributes_of(node)


def read_attributes() -> set[str]:
    """Returns every attribute that the packages read, and those that a property they read stands for."""
    found: set[str] = set()
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            found |= attributes_of(ast.parse(path.read_text(encoding="utf-8")))
    derived = dict(derived_values())
    while more := {name for key in found & set(derived) for name in derived[key]} - found:
        found |= more
    return found


def test_every_setting_is_read_by_the_code() -> None:
    names = {key.rpartition(".")[2] for key in setting_keys()} - {"profile"}
    assert names - read_attributes() == set()


def test_every_setting_says_what_it_means() -> None:
    assert [key for key, meaning in setting_keys().items() if not meaning.strip()] == []


@pytest.mark.parametrize("profile", sorted(PROFILES))
def test_a_profile_is_a_valid_configuration(profile: str) -> None:
    configuration = profile_configuration(profile)
    assert configuration.profile == profile
    assert Configuration.model_validate(configuration.model_dump()) == configuration


def test_the_target_clock_is_that_of_the_mission() -> None:
    clock = profile_configuration("target").clock
    assert clock.window_micros == 30_000_000
    assert clock.slots_per_shard_epoch * clock.slot_micros == 6 * 60 * 10**6
    assert clock.slots_per_shard_epoch * clock.shard_epochs_per_hour == 7_680


@pytest.mark.parametrize(
    ("validators", "quorum"),
    [(1, 1), (2, 2), (3, 3), (4, 3), (7, 5), (49, 33), (96, 65), (100, 67)],
)
def test_two_quorums_always_share_an_honest_validator(validators: int, quorum: int) -> None:
    chain = Configuration.model_validate({"chain": {"validators": validators}}).chain
    faulty = (validators - 1) // 3
    assert chain.quorum == quorum
    assert 2 * chain.quorum - validators > faulty
    assert chain.quorum <= validators - faulty


@pytest.mark.parametrize(
    ("document", "place"),
    [
        ({"chain": {"validators": 0}}, ("chain", "validators")),
        ({"chain": {"surprise": 1}}, ("chain", "surprise")),
        ({"surprise": {}}, ("surprise",)),
        ({"clock": {"slots_per_window": 4096, "windows_per_shard_epoch": 4096}}, ("clock",)),
        ({"proving": {"minimum_proven_bits": 99}}, ("proving", "minimum_proven_bits")),
        ({"proving": {"lease_seconds": 10, "heartbeat_seconds": 6}}, ("proving",)),
        ({"consensus": {"view_timeout_millis": 600_000}}, ("consensus",)),
    ],
)
def test_a_value_that_makes_no_sense_is_refused_by_name(
    document: dict[str, object], place: tuple[str, ...]
) -> None:
    with pytest.raises(ValidationError) as refused:
        Configuration.model_validate(document)
    assert refused.value.errors()[0]["loc"] == place


def test_an_unknown_profile_names_those_there_are() -> None:
    with pytest.raises(ParameterError, match="no profile 'moon'") as refused:
        profile_configuration("moon")
    assert refused.value.hint == "profiles: local, target"
