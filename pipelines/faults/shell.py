"""Programs of the operating system that faults are made with; what one of them refuses is told in its own words."""

from __future__ import annotations

import shutil
import subprocess

from schemas.errors import EnvironmentMissing

COMMAND_SECONDS = 60.0


def run_tool(*command: str) -> str:
    """Runs a program and returns its output.

    Raises:
        EnvironmentMissing: It is not installed, or refuses.
    """
    program = shutil.which(command[0])
    if program is None:
        raise EnvironmentMissing(f"{command[0]} is not installed")
    done = subprocess.run(  # noqa: S603 - a program of this machine, arguments of our own
        [program, *command[1:]],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=COMMAND_SECONDS,
        check=False,
    )
    if done.returncode:
        lines = done.stdout.strip().splitlines() or [f"it ended with code {done.returncode}"]
        raise EnvironmentMissing(f"{' '.join(command)}: {lines[0]}", "faults of it need root")
    return done.stdout
