"""What is installed and configured: `version` and `config show`."""

from __future__ import annotations

import platform
import tomllib
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from pipelines.checkout import PACKAGE_ROOT, checkout_commit
from pipelines.cli.contract import Call, Rows
from pipelines.settings import setting_rows


@dataclass(frozen=True, slots=True)
class Version:
    """What runs.

    Attributes:
        ecliptica: Version of the package.
        commit: Commit of the checkout, with `+` for uncommitted changes, or None outside of one.
        python: Version of the interpreter.
        platform: Operating system and architecture.
    """

    ecliptica: str
    commit: str | None
    python: str
    platform: str


def show_version(_call: Call) -> Version:
    """Returns the versions of package, checkout and interpreter."""
    return Version(
        ecliptica=package_version(PACKAGE_ROOT),
        commit=checkout_commit(PACKAGE_ROOT),
        python=platform.python_version(),
        platform=f"{platform.system()} {platform.machine()}",
    )


def package_version(root: Path) -> str:
    """Returns the version a checkout states, or the installed one outside of a checkout."""
    project = root / "pyproject.toml"
    if project.is_file():
        return str(tomllib.loads(project.read_text(encoding="utf-8"))["project"]["version"])
    return version("ecliptica")


def show_configuration(call: Call) -> Rows:
    """Returns every key with its value and origin."""
    rows = setting_rows(call.settings())
    return Rows(
        ("key", "value", "origin", "environment"),
        [(row.key, row.value, row.origin, row.environment) for row in rows],
    )
