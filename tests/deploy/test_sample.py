"""The sample configuration is a configuration, and lists only what differs from its profile."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from pipelines.settings import load_settings
from schemas.config import profile_configuration

SAMPLE = Path(__file__).resolve().parents[2] / "deploy" / "ecliptica.sample.toml"


def flat(table: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in table.items():
        if isinstance(value, dict):
            found |= flat(value, f"{prefix}{name}.")
        else:
            found[prefix + name] = value
    return found


def test_the_sample_is_accepted_and_every_key_of_it_takes_effect() -> None:
    stated = flat(tomllib.loads(SAMPLE.read_text(encoding="utf-8")))
    settings = load_settings(SAMPLE, environment={})
    merged = flat(settings.configuration.model_dump())
    assert {key: merged[key] for key in stated} == stated


def test_whatever_the_sample_does_not_state_is_its_profiles() -> None:
    stated = flat(tomllib.loads(SAMPLE.read_text(encoding="utf-8")))
    merged = flat(load_settings(SAMPLE, environment={}).configuration.model_dump())
    profile = flat(profile_configuration(stated["profile"]).model_dump())
    assert merged == {**profile, **stated}
