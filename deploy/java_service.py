"""What the Java services of this folder share: jars by Maven, a process with its number in a file, and a command line."""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

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


class Service(Protocol):
    """A service in a folder."""

    @property
    def library(self) -> Path:
        """Folder of the jars."""
        ...

    @property
    def pid(self) -> int | None:
        """Process number, if it runs."""
        ...

    def fetch(self) -> None:
        """Brings the jars."""
        ...

    def start(self) -> None:
        """Starts it; returns when it answers."""
        ...

    def stop(self) -> None:
        """Ends it in order."""
        ...


S = TypeVar("S", bound=Service)


@dataclass(frozen=True, slots=True)
class ServiceCommand:
    """The command line of a service: `python -m MODULE fetch|start|stop|status`.

    Attributes:
        module: How it is run.
        noun: What it is, for messages.
        download: What the first start brings, for people.
        home: Default folder.
        port: Default port.
    """

    module: str
    noun: str
    download: str
    home: Path
    port: int

    def run(
        self,
        make: Callable[[Path, int], S],
        answers: Callable[[S], str],
        arguments: Sequence[str] | None,
    ) -> int:
        """Runs a command and returns the exit code: 5 when the service cannot be had.

        Args:
            make: Returns the service in a folder, at a port.
            answers: Says where a started service answers.
            arguments: Of the command line; those of the process if None.
        """
        parser = argparse.ArgumentParser(prog=self.module)
        parser.add_argument("command", choices=("fetch", "start", "stop", "status"))
        parser.add_argument("--home", type=Path, default=self.home, help="default: %(default)s")
        parser.add_argument("--port", type=int, default=self.port, help="default: %(default)s")
        given = parser.parse_args(arguments)
        service = make(given.home, given.port)
        try:
            said = self._do(given.command, service, answers)
        except ServiceMissing as error:
            sys.stderr.write(f"no {self.noun}: {error}\n")
            return 5
        sys.stdout.write(said + "\n")
        return 0

    def _do(self, command: str, service: S, answers: Callable[[S], str]) -> str:
        if command == "fetch":
            service.fetch()
            return f"jars in {service.library}"
        if command == "start":
            sys.stderr.write(f"jars ({self.download} the first time), then the {self.noun}\n")
            service.start()
            return answers(service)
        if command == "stop":
            service.stop()
            return "stopped"
        return "stopped" if service.pid is None else f"runs as process {service.pid}"
