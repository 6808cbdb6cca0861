"""Merges the configuration: flag over environment over TOML file over profile over default, with origins."""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from pydantic import BaseModel, ValidationError

from schemas.config import PROFILES, Configuration
from schemas.errors import ParameterError

ENVIRONMENT_PREFIX = "ECLIPTICA_"
SHORT_NAMES = {
    "ECLIPTICA_PROFILE": "profile",
    "ECLIPTICA_DATA": "storage.data",
    "ECLIPTICA_LOG": "storage.log_url",
    "ECLIPTICA_SEED": "demo.seed",
    "ECLIPTICA_RUNNER": "streaming.runner",
}
"""Variables with a name shorter than `ECLIPTICA_<SECTION>_<KEY>`; they win over the long name."""


@dataclass(frozen=True, slots=True)
class Settings:
    """A merged configuration.

    Attributes:
        configuration: The values.
        origins: Where each value comes from, by dotted key: `default`, `profile local`, a file's name,
            `env NAME` or `flag`.
    """

    configuration: Configuration
    origins: Mapping[str, str]

    @property
    def data(self) -> Path:
        """The data directory."""
        return Path(self.configuration.storage.data)

    @property
    def log_url(self) -> str:
        """The event log's address, the embedded one by default."""
        return self.configuration.storage.log_url or f"sqlite:///{self.data / 'log.sqlite'}"


@dataclass(frozen=True, slots=True)
class SettingRow:
    """One key as `config show` lists it."""

    key: str
    value: Any
    origin: str
    environment: str
    meaning: str


def setting_keys() -> dict[str, str]:
    """Returns every dotted key with its description, in the order of the models."""
    keys = {"profile": "Set of defaults: local or target."}
    for section, model in _sections():
        for name, field in model.model_fields.items():
            keys[f"{section}.{name}"] = (field.description or "").replace("\n", " ")
    return keys


def environment_name(key: str) -> str:
    """Returns the environment variable of a dotted key; the short one where there is one."""
    for name, short_key in SHORT_NAMES.items():
        if short_key == key:
            return name
    return ENVIRONMENT_PREFIX + key.replace(".", "_").upper()


def load_settings(
    file: Path | None = None,
    flags: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Settings:
    """Merges the configuration.

    Args:
        file: TOML file with one table per section, or None.
        flags: Values by dotted key that the command line gave.
        environment: Variables; the process's own when None.

    Raises:
        ParameterError: A file that cannot be read, a key or variable that does not exist, or a value
            outside its range; the message names the origin and the key.
    """
    variables = os.environ if environment is None else environment
    layers = [
        *([] if file is None else [_file_layer(file)]),
        _environment_layer(variables),
        {key: (value, "flag") for key, value in (flags or {}).items()},
    ]
    given = {key: found for layer in layers for key, found in layer.items()}
    profile, profile_origin = given.pop("profile", ("local", "default"))
    if not isinstance(profile, str) or profile not in PROFILES:
        raise ParameterError(
            f"{profile_origin}: there is no profile {profile!r}",
            f"profiles: {', '.join(sorted(PROFILES))}",
        )
    base = {
        f"{section}.{key}": (value, f"profile {profile}")
        for section, table in PROFILES[profile].items()
        for key, value in table.items()
    }
    merged = {"profile": (profile, profile_origin), **base, **given}
    for key, (_, origin) in merged.items():
        _check_known(key, origin)
    origins = {key: merged[key][1] if key in merged else "default" for key in setting_keys()}
    return Settings(_validate(merged), origins)


def setting_rows(settings: Settings) -> list[SettingRow]:
    """Returns the merged configuration as rows, one per key."""
    values = settings.configuration.model_dump()
    rows = []
    for key, meaning in setting_keys().items():
        section, _, name = key.rpartition(".")
        value = values[section][name] if section else values[name]
        rows.append(SettingRow(key, value, settings.origins[key], environment_name(key), meaning))
    return rows


def _sections() -> Iterator[tuple[str, type[BaseModel]]]:
    for name, field in Configuration.model_fields.items():
        model = field.annotation
        if isinstance(model, type) and issubclass(model, BaseModel):
            yield name, model


def _file_layer(file: Path) -> dict[str, tuple[Any, str]]:
    try:
        document = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ParameterError(f"{file}: {error.strerror or error}", "see --config") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ParameterError(f"{file}: not TOML: {error}") from error
    layer = {}
    for name, value in document.items():
        if isinstance(value, dict):
            layer.update({f"{name}.{key}": (entry, str(file)) for key, entry in value.items()})
        else:
            layer[name] = (value, str(file))
    return layer


def _environment_layer(variables: Mapping[str, str]) -> dict[str, tuple[Any, str]]:
    known = {ENVIRONMENT_PREFIX + key.replace(".", "_").upper(): key for key in setting_keys()}
    prefixes = tuple(f"{ENVIRONMENT_PREFIX}{section.upper()}_" for section, _ in _sections())
    layer: dict[str, tuple[Any, str]] = {}
    for name in sorted(variables):
        if name in known:
            layer[known[name]] = (variables[name], f"env {name}")
        elif name.startswith(prefixes):
            raise ParameterError(f"env {name}: there is no such setting", _nearest(name, known))
    for name, key in SHORT_NAMES.items():
        if name in variables:
            layer[key] = (variables[name], f"env {name}")
    return layer


def _check_known(key: str, origin: str) -> None:
    keys = setting_keys()
    if key not in keys:
        raise ParameterError(f"{origin}: unknown key {key}", _nearest(key, keys))


def _nearest(name: str, known: Mapping[str, Any]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {close[0]}?" if close else "`ecliptica config show` lists every key"


def _validate(merged: Mapping[str, tuple[Any, str]]) -> Configuration:
    document: dict[str, Any] = {}
    for key, (value, _) in merged.items():
        section, _, name = key.rpartition(".")
        target = document if not section else document.setdefault(section, {})
        cast("dict[str, Any]", target)[name] = value
    try:
        return Configuration.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        origin = merged[key][1] if key in merged else "configuration"
        raise ParameterError(f"{origin}: {key}: {first['msg']}") from error
