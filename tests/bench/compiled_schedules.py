"""`campaign byzantine` over the consensus core compiled by mypyc: the same schedules in less than half the time.

Run as `python -m tests.bench.compiled_schedules [--seed S] [--runs N]` (gcc). The sources are copied, the modules that a
schedule imports are compiled, and a sample of schedules must give the same JSON as the interpreter, event
counts included; then the campaign runs from the copy and its evidence is printed.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

SOURCES = Path(__file__).parents[2]
PACKAGES = ("schemas", "proving", "operators", "pipelines", "deploy")
LEFT_OUT = frozenset({"schemas.errors"})
"""Modules that stay interpreted: mypyc has no native subclasses of built-in exceptions."""

SAMPLE = """
import json, operators.consensus as core
from operators.consensus_campaign import run_schedules
assert core.__file__.endswith({suffix!r}), core.__file__
print(json.dumps([run_schedules(5, 300, n, f) for n, f in ((4, 1), (4, 2), (7, 2))]))
"""
IMPORTED = """
import sys, operators.consensus_campaign
print(*(name for name, module in sys.modules.items()
        if name.startswith(("operators.", "schemas.")) and module.__file__))
"""


def compile_copy(folder: Path) -> list[str]:
    """Copies the packages into a folder and compiles what a schedule imports.

    Returns:
        Names of the compiled modules.

    Raises:
        subprocess.CalledProcessError: mypyc or the C compiler failed.
    """
    for package in PACKAGES:
        shutil.copytree(
            SOURCES / package, folder / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    modules = sorted(set(_python(folder, "-c", IMPORTED).split()) - LEFT_OUT)
    paths = [name.replace(".", "/") + ".py" for name in modules]
    mypyc = Path(sys.executable).with_name("mypyc")
    subprocess.run(  # noqa: S603 - a tool of our own environment
        [str(mypyc), "--ignore-missing-imports", *paths],
        cwd=folder,
        env=_environment(folder) | {"MYPYPATH": str(folder)},
        stdout=sys.stderr,
        check=True,
    )
    return modules


def _environment(folder: Path) -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(folder)}


def _python(folder: Path, *arguments: str) -> str:
    return subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, *arguments],
        cwd=folder,
        env=_environment(folder),
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def main() -> int:
    """Compiles, compares, and runs the campaign; its exit code is the campaign's."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--runs", type=int, default=1_000_000)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ecliptica-compiled-") as name:
        folder = Path(name)
        modules = compile_copy(folder)
        compiled = _python(folder, "-c", SAMPLE.format(suffix=".so"))
        if compiled != _python(SOURCES, "-c", SAMPLE.format(suffix=".py")):
            sys.exit("compiled and interpreted schedules differ")
        sys.stderr.write(f"{len(modules)} modules compiled, 900 schedules as interpreted\n")
        campaign = ["campaign", "byzantine", "--json", "--seed", str(chosen.seed)]
        return subprocess.run(  # noqa: S603 - our own interpreter and module
            [sys.executable, "-m", "pipelines.cli", *campaign, "--runs", str(chosen.runs)],
            cwd=folder,
            env=_environment(folder),
            check=False,
        ).returncode


if __name__ == "__main__":
    sys.exit(main())
