"""Checks that the locks pin what pyproject.toml asks for; needs no network.

Run as `python -m tests.checks.lock`. That the pins agree with one another is checked by every install,
which takes nothing that the lock does not name. `requirements-gpu.lock` holds what the extra `gpu` needs beyond
`requirements.lock`; `python -m tests.checks.lock --beyond` makes it of a lock of everything.
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


def wanted_by_gpu(project: str) -> list[Requirement]:
    """Returns the requirements of the extra `gpu`."""
    listed = tomllib.loads(project)["project"]["optional-dependencies"]["gpu"]
    return [Requirement(entry) for entry in listed]


def entries(lock: str) -> list[str]:
    """Returns the pins of a lock, each with its hashes, on one line."""
    return [line for line in lock.replace("\\\n", " ").splitlines() if line.strip()]


def pinned(lock: str) -> dict[str, str]:
    """Returns version by normal name."""
    pins = [pin for line in entries(lock) if (pin := PIN.match(line))]
    return {canonicalize_name(pin["name"]): pin["version"] for pin in pins}


def problems(
    requirements: list[Requirement], lock: str, name: str = "requirements.lock"
) -> list[str]:
    """Returns one line per disagreement; empty when the lock matches."""
    found = []
    for line in entries(lock):
        pin = PIN.match(line)
        if pin is None:
            found.append(f"{name}: not a pin: {line[:80]}")
        elif "--hash=sha256:" not in line:
            found.append(f"{name}: {pin['name']} has no hash")
    pins = pinned(lock)
    for requirement in requirements:
        version = pins.get(canonicalize_name(requirement.name))
        if version is None:
            found.append(f"{requirement.name} is not in {name}")
        elif not requirement.specifier.contains(version, prereleases=True):
            found.append(f"{name} has {requirement.name} {version}, not {requirement}")
    return found


def beyond(whole: str, base: str) -> str:
    """Returns the part of a lock whose packages another one does not pin.

    Raises:
        ValueError: The two pin a package differently.
    """
    known, kept = pinned(base), []
    for entry in whole.replace("\\\n", "\0").splitlines():
        pin = PIN.match(entry)
        name = canonicalize_name(pin["name"]) if pin else ""
        if pin and known.get(name, pin["version"]) != pin["version"]:
            raise ValueError(f"{name} is {known[name]} in one lock, {pin['version']} in the other")
        if pin and name not in known:
            kept.append(entry.replace("\0", "\\\n") + "\n")
    return "".join(kept)


def main(arguments: list[str]) -> int:
    """Prints the disagreements and returns how the process ends."""
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    if arguments == ["--beyond"]:
        sys.stdout.write(beyond(sys.stdin.read(), lock))
        return 0
    gpu_lock = (ROOT / "requirements-gpu.lock").read_text(encoding="utf-8")
    found = problems(wanted(project), lock)
    found += problems(wanted_by_gpu(project), gpu_lock, "requirements-gpu.lock")
    twice = sorted(set(pinned(lock)) & set(pinned(gpu_lock)))
    found += [f"{name} is in both locks" for name in twice]
    for line in found:
        sys.stderr.write(line + "\n")
    if found:
        sys.stderr.write("run `make lock`\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
