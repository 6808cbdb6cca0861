"""Nodes of a Ray cluster on this machine, each a session of real processes that a test can kill."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from deploy.java_service import free_port
from operators.ray_cluster import AUTH_VARIABLE

RAY = (sys.executable, "-m", "ray.scripts.scripts")
START_SECONDS = 120.0
OBJECT_STORE_BYTES = 100_000_000


@dataclass(slots=True)
class RayNodes:
    """A head and its workers' nodes.

    Attributes:
        folder: Where their files go; short, for names of sockets are.
        port: Of the head.
        running: Their processes, the head first.
    """

    folder: Path
    port: int = field(default_factory=free_port)
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def address(self) -> str:
        """Of the head."""
        return f"127.0.0.1:{self.port}"

    def start_head(self, cores: int) -> None:
        """Starts the head, which proves too."""
        head = ["--head", "--port", str(self.port), "--include-dashboard=false"]
        self._start([*head, "--temp-dir", str(self.folder)], cores)
        self._await_nodes(1)

    def add_node(self, cores: int) -> None:
        """Starts another node."""
        self._start(["--address", self.address], cores)
        self._await_nodes(len(self.running))

    def kill(self, number: int) -> None:
        """Kills all processes of a node at once; 0 is the head."""
        process = self.running[number]
        for member in _session(process.pid):
            os.kill(member, signal.SIGKILL)
        process.wait()

    def _start(self, arguments: list[str], cores: int) -> None:
        self.running.append(
            subprocess.Popen(  # noqa: S603 - our own interpreter and Ray's command
                [
                    *RAY,
                    "start",
                    "--block",
                    *arguments,
                    "--num-cpus",
                    str(cores),
                    "--object-store-memory",
                    str(OBJECT_STORE_BYTES),
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                env=_told(),
            )
        )

    def _await_nodes(self, count: int) -> None:
        deadline = time.monotonic() + START_SECONDS
        while self._count_nodes() != count:
            assert time.monotonic() < deadline, "the node did not start"

    def _count_nodes(self) -> int:
        """Returns how many nodes the head knows; 0 while it does not answer."""
        health = [*RAY, "health-check", "--address", self.address]
        asked = subprocess.run(health, capture_output=True, check=False, env=_told())  # noqa: S603
        if asked.returncode:
            return 0
        ask = "import ray, sys; ray.init(address=sys.argv[1]); print(len(ray.nodes()))"
        told = subprocess.run(  # noqa: S603
            [sys.executable, "-c", ask, self.address], capture_output=True, check=False, env=_told()
        )
        return int(told.stdout or b"0")


def _told() -> dict[str, str]:
    return {**os.environ, "RAY_USAGE_STATS_ENABLED": "0", AUTH_VARIABLE: "token"}


def _session(leader: int) -> list[int]:
    """Returns the processes of a session."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                fields = (entry / "stat").read_text("ascii").rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[3]) == leader:
                found.append(int(entry.name))
    return found


@contextmanager
def ray_nodes(folder: Path) -> Iterator[RayNodes]:
    """Yields nodes to start, and kills them in the end."""
    nodes = RayNodes(folder)
    try:
        yield nodes
    finally:
        for number in range(len(nodes.running)):
            nodes.kill(number)
