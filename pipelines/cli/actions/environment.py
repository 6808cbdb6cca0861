"""What is installed and configured: `version` and `config show`."""

from __future__ import annotations

import platform
import shutil
import subprocess
import tomllib
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from pipelines.cli.contract import Call, Rows
from pipelines.settings import setting_rows

PACKAGE_ROOT = Path(__file__).resolve().parents[3]
GIT_SECONDS = 5


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


def checkout_commit(root: Path) -> str | None:
    """Returns the commit of a git checkout, or None where there is none or no git."""
    git = shutil.which("git")
    if git is None or not (root / ".git").exists():
        return None
    commit = _git(git, root, "rev-parse", "HEAD")
    changes = _git(git, root, "status", "--porcelain", "--untracked-files=no")
    return None if commit is None else commit + ("+" if changes else "")


def show_configuration(call: Call) -> Rows:
    """Returns every key with its value and origin."""
    rows = setting_rows(call.settings())
    return Rows(
        ("key", "value", "origin", "environment"),
        [(row.key, row.value, row.origin, row.environment) for row in rows],
    )


def _git(git: str, root: Path, *arguments: str) -> str | None:
    done = subprocess.run(  # noqa: S603 - fixed arguments, no shell
        [git, "-C", str(root), *arguments],
        capture_output=True,
        text=True,
        timeout=GIT_SECONDS,
        check=False,
    )
    return done.stdout.strip() if done.returncode == 0 else None
