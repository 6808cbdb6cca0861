"""What the Java services of this folder share: jars by Maven, a process with its number in a file, an end in order or by force."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

FETCH_SECONDS = 900.0
STOP_SECONDS = 30.0
LOOK_SECONDS = 0.05


class ServiceMissing(RuntimeError):
    """A service cannot be had on this machine; the message says what is missing."""


def free_port() -> int:
    """Returns a port of loopback that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def fetch_jars(pom: Path, library: Path) -> None:
    """Brings the jars that a pom names, unless they are there.

    Raises:
        ServiceMissing: There is no Java or Maven, or Maven cannot get them.
    """
    for program in ("java", "mvn"):
        if shutil.which(program) is None:
            raise ServiceMissing(f"{program} is not installed")
    wanted = hashlib.sha256(pom.read_bytes()).hexdigest()
    mark = library / "pom.sha256"
    if mark.is_file() and mark.read_text() == wanted:
        return
    library.mkdir(parents=True, exist_ok=True)
    command = [
        *("mvn", "--quiet", "--batch-mode", "--file", str(pom)),
        *("dependency:copy-dependencies", "-DincludeScope=runtime"),
        f"-DoutputDirectory={library.resolve()}",
    ]
    done = run_command(command, FETCH_SECONDS)
    if done.returncode:
        raise ServiceMissing(f"Maven could not get the jars: {last_line(done.stdout)}")
    mark.write_text(wanted)


def running_pid(file: Path, main_class: str) -> int | None:
    """Returns the process number in a file, if that process runs the class."""
    with contextlib.suppress(OSError, ValueError):
        pid = int(file.read_text())
        if main_class.encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
            return pid
    return None


def start_process(command: Sequence[str], log: Path, pid_file: Path) -> subprocess.Popen[bytes]:
    """Starts a process in a session of its own, its output added to a file."""
    with log.open("ab") as output:
        process = subprocess.Popen(  # noqa: S603 - Java of this machine, arguments of our own
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    pid_file.write_text(str(process.pid))
    return process


def end_process(file: Path, main_class: str, number: signal.Signals) -> None:
    """Sends a signal to a running process and returns when it is gone, by force if that takes too long."""
    pid = running_pid(file, main_class)
    if pid is None:
        return
    os.kill(pid, number)
    deadline = time.monotonic() + STOP_SECONDS
    while running_pid(file, main_class) is not None:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
            deadline += STOP_SECONDS
        time.sleep(LOOK_SECONDS)


def run_command(command: Sequence[str], timeout_seconds: float) -> subprocess.CompletedProcess[str]:
    """Runs a command; standard error is mixed into its output."""
    return subprocess.run(  # noqa: S603 - arguments of our own
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",  # tools print records as they are
        timeout=timeout_seconds,
        check=False,
    )


def last_line(text: str) -> str:
    """Returns the last line that is not empty."""
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no message"
