"""Checks that requirements.lock pins what pyproject.toml asks for; needs no network.

Run as `python -m tests.checks.lock`. That the pins agree with one another is checked by every install,
which takes nothing that the lock does not name.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
PIN = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)==(?P<version>[^\s;\\]+)")


def wanted(project: str) -> list[Requirement]:
    """Returns the requirements of the package, its build and its tools."""
    document = tomllib.loads(project)
    table = document["project"]
    listed = [*table["dependencies"], *table["optional-dependencies"]["dev"]]
    return [Requirement(entry) for entry in [*listed, *document["build-system"]["requires"]]]


def problems(project: str, lock: str) -> list[str]:
    """Returns one line per disagreement; empty when the lock matches."""
    found = []
    pins: dict[str, str] = {}
    entries = lock.replace("\\\n", " ").splitlines()
    for line in entries:
        if not line.strip():
            continue
        pin = PIN.match(line)
        if pin is None:
            found.append(f"requirements.lock: not a pin: {line[:80]}")
            continue
        pins[canonicalize_name(pin["name"])] = pin["version"]
        if "--hash=sha256:" not in line:
            found.append(f"requirements.lock: {pin['name']} has no hash")
    for requirement in wanted(project):
        pinned = pins.get(canonicalize_name(requirement.name))
        if pinned is None:
            found.append(f"{requirement.name} is not in requirements.lock")
        elif not requirement.specifier.contains(pinned, prereleases=True):
            found.append(f"requirements.lock has {requirement.name} {pinned}, not {requirement}")
    return found


def main() -> int:
    """Prints the disagreements and returns how the process ends."""
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    found = problems(project, lock)
    for line in found:
        sys.stderr.write(line + "\n")
    if found:
        sys.stderr.write("run `make lock`\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
