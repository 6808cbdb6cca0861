"""Beam's job server with a Flink inside, on this machine: `python -m deploy.flink_job_server start`, for development and tests.

Maven brings the jars that `deploy/flink/pom.xml` names; a Java of version 17 or newer runs them. Jobs run in that one process. It
keeps jars, log and process number in one folder. Beam's server listens on every interface, whatever host it is given: use it behind
a firewall.
"""

from __future__ import annotations

import signal
import socket
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from deploy.java_service import (
    LOOK_SECONDS,
    ServiceCommand,
    ServiceMissing,
    end_process,
    fetch_jars,
    free_port,
    running_pid,
    start_process,
)

POM = Path(__file__).resolve().parent / "flink" / "pom.xml"
DEFAULT_HOME = Path(".flink")
DEFAULT_PORT = 8099
HEAP_MEGABYTES = 1024
START_SECONDS = 120.0
"""Longest wait for the server; it takes 3 s on an idle machine."""

MAIN_CLASS = "org.apache.beam.runners.flink.FlinkJobServerDriver"

OPENED = ("lang", "lang.invoke", "util", "util.concurrent", "nio", "io", "net", "time")
"""Packages of `java` that Flink 1.19 reaches into."""


@dataclass(frozen=True, slots=True)
class JobServer:
    """A job server in a folder.

    Attributes:
        home: The folder.
        port: Where jobs are submitted.
        jars: Folder of the jars; below `home` unless shared.
        artifact_port: Where a job's files are taken in.
        expansion_port: Where transforms of other languages would be.
    """

    home: Path
    port: int = DEFAULT_PORT
    jars: Path | None = None
    artifact_port: int = field(default_factory=free_port)
    expansion_port: int = field(default_factory=free_port)

    @property
    def address(self) -> str:
        """HOST:PORT, for `streaming.job_server`."""
        return f"127.0.0.1:{self.port}"

    @property
    def library(self) -> Path:
        """Folder of the jars."""
        return self.jars or self.home / "lib"

    @property
    def pid(self) -> int | None:
        """Process number, if it runs."""
        return running_pid(self.home / "pid", MAIN_CLASS)

    def fetch(self) -> None:
        """Brings the jars, unless those of this pom are there.

        Raises:
            ServiceMissing: There is no Java or Maven, or Maven cannot get them.
        """
        fetch_jars(POM, self.library)

    def start(self) -> None:
        """Starts it; returns when it answers.

        Raises:
            ServiceMissing: It cannot run, or does not answer in time.
        """
        if self.pid is not None:
            return
        self.fetch()
        self.home.mkdir(parents=True, exist_ok=True)
        log = self.home / "server.log"
        process = start_process(self._command(), log, self.home / "pid")
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise ServiceMissing(f"it does not start: see {log}")
            time.sleep(LOOK_SECONDS)

    def stop(self) -> None:
        """Ends it in order, or by force if that takes too long."""
        end_process(self.home / "pid", MAIN_CLASS, signal.SIGTERM)

    def kill(self) -> None:
        """Ends it as a crash does."""
        end_process(self.home / "pid", MAIN_CLASS, signal.SIGKILL)

    def _command(self) -> list[str]:
        opened = [f"--add-opens=java.base/java.{name}=ALL-UNNAMED" for name in OPENED]
        return [
            *("java", f"-Xmx{HEAP_MEGABYTES}m", *opened),
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
            *("-cp", f"{self.library.resolve()}/*", MAIN_CLASS),
            "--flink-master=[local]",
            "--job-host=127.0.0.1",
            f"--job-port={self.port}",
            f"--artifact-port={self.artifact_port}",
            f"--expansion-port={self.expansion_port}",
            f"--artifacts-dir={(self.home / 'artifacts').resolve()}",
        ]

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return not probe.connect_ex(("127.0.0.1", self.port))


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command and returns the exit code: 5 when it cannot be had."""

    def answers(server: JobServer) -> str:
        log = server.home / "server.log"
        return f"a job server for Flink answers at {server.address}; its log: {log}"

    command = ServiceCommand(
        "deploy.flink_job_server", "job server", "152 MB to download", DEFAULT_HOME, DEFAULT_PORT
    )
    return command.run(JobServer, answers, arguments)


if __name__ == "__main__":
    sys.exit(main())
