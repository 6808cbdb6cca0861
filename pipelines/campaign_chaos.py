"""`campaign chaos`: the whole demo under kill -9 at random instants, compared with a run left in peace.

Victims are the demo itself, every process it starts, and the Ray workers and daemons below them. A killed demo is
started again on the same data, as a user would. On Kafka the broker is a victim too, and is started again on its
data. At the end nothing may be lost or doubled: the same verdicts, the same final root, all proofs valid, and an
audit of the export without a finding.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deploy.java_service import ServiceMissing, free_port
from deploy.kafka_broker import DEFAULT_HOME, Broker
from operators.event_log import LogUnreachable
from pipelines.progress import Progress
from schemas.errors import EclipticaError, EnvironmentMissing

DEFAULT_RUNS = 200
KILLS_PER_DAY = 100
"""Kills in one demo; then it is left to finish."""

SHORTEST_GAP, LONGEST_GAP = 0.1, 3.0
"""Seconds between two kills, uniform; a process is up again after one or two."""

DEMO_WEIGHT = 0.05
"""Share of kills that hit the demo itself; the rest hit a process below it. More, and hardly anything but start-ups
would be there to be killed."""

BROKER_WEIGHT = 0.1
"""Share of kills that hit the broker, where there is one."""

DAY_TIMEOUT_SECONDS = 2400.0
COMPARED = ("final_root", "transactions")
SUPPLY_COMPARED = ("issued", "accounts", "proposer_pool", "burned", "holds")


@dataclass(slots=True)
class ChaosCount:
    """What a campaign has done so far.

    Attributes:
        kills: Kills by kind of process.
        days: Demos finished.
        differences: What differed from the run in peace.
    """

    kills: Counter[str] = field(default_factory=Counter)
    days: int = 0
    differences: list[str] = field(default_factory=list)


def run_chaos(
    seed: int,
    runs: int,
    report: Progress,
    is_stopped: Callable[[], bool],
    *,
    on_kafka: bool = False,
) -> dict[str, Any]:
    """Runs demos until `runs` processes have been killed and every demo has finished.

    Args:
        seed: Of victims, instants, keys and traffic.
        runs: Kills.
        report: Progress, one step per kill.
        is_stopped: Ends the campaign after the present demo.
        on_kafka: Whether the log is a broker of the campaign's own, which is killed too.

    Returns:
        The campaign's evidence; `ok` when nothing differed.

    Raises:
        EnvironmentMissing: The machine does not tell the children of a process, or no broker can be had.
        EclipticaError: The demo does not finish even in peace.
    """
    if not Path("/proc/self/task").exists():
        raise EnvironmentMissing("chaos needs /proc to find its victims", "run it on Linux")
    started = time.monotonic()
    rng = random.Random(seed)  # noqa: S311 - a reproducible schedule, no secret
    count = ChaosCount()
    folder = Path(tempfile.mkdtemp(prefix="ecliptica-chaos-"))
    with _broker(folder / "kafka", on_kafka) as broker:
        player = _Player(seed, rng, count, report, broker)
        report.phase("one demo in peace", None)
        peace = player.play(folder / "peace", 0)
        report.phase("kills", runs)
        while count.kills.total() < runs and not is_stopped():
            wanted = min(KILLS_PER_DAY, runs - count.kills.total())
            data = folder / f"day-{count.days}"
            outcome = player.play(data, wanted)
            count.days += 1
            found = differences(peace, outcome)
            found += outcome.get("problems", ["the demo did not end well"]) + _audit(data)
            count.differences += [f"day {count.days}: {one}" for one in found]
            if not found:
                shutil.rmtree(data, ignore_errors=True)
    if not count.differences:
        shutil.rmtree(folder, ignore_errors=True)
    return {
        "name": "chaos",
        "seed": seed,
        "runs": count.kills.total(),
        "accepted": len(count.differences),
        "evidence": {
            "kills": dict(sorted(count.kills.items())),
            "demos": count.days,
            "log": "kafka" if on_kafka else "sqlite",
            "final_root": peace["final_root"],
            "differences": count.differences,
            "kept": str(folder) if count.differences else None,
            "seconds": round(time.monotonic() - started, 1),
        },
        "ok": not count.differences and count.kills.total() >= runs,
    }


@contextmanager
def _broker(home: Path, is_wanted: bool) -> Iterator[Broker | None]:
    """Runs a broker while it is needed.

    Raises:
        EnvironmentMissing: None can be had.
    """
    if not is_wanted:
        yield None
        return
    broker = Broker(home, free_port(), jars=DEFAULT_HOME / "lib")
    try:
        broker.start()
    except ServiceMissing as error:
        raise EnvironmentMissing(f"no broker: {error}", "see `make kafka`") from error
    try:
        yield broker
    finally:
        broker.kill()


def differences(peace: dict[str, Any], outcome: dict[str, Any]) -> list[str]:
    """Returns the names of what differs between two demos and must not; heights and times may."""
    found = [name for name in COMPARED if outcome.get(name) != peace[name]]
    supply = outcome.get("supply") or {}
    return found + [
        f"supply.{name}" for name in SUPPLY_COMPARED if supply.get(name) != peace["supply"][name]
    ]


WITHOUT_PYRAMID = {"ECLIPTICA_PROVING_PYRAMID": "false"}
"""The demos end with their segments' proofs: minutes of recursive proofs would leave time for few kills."""


@dataclass(frozen=True, slots=True)
class _Player:
    """Plays demos of one seed, killing on the way."""

    seed: int
    rng: random.Random
    count: ChaosCount
    report: Progress
    broker: Broker | None = None

    def play(self, data: Path, kills: int) -> dict[str, Any]:
        """Plays one demo to its end, however often it must be started; returns its JSON, empty if it left none."""
        deadline = time.monotonic() + DAY_TIMEOUT_SECONDS
        output = data.with_suffix(".json")
        left = kills
        while True:
            demo = self._start(data, output)
            while demo.poll() is None:
                if time.monotonic() > deadline:
                    _kill_tree(demo.pid)
                    raise EclipticaError(
                        f"the demo in {data} did not finish", f"look at {data}/run"
                    )
                try:
                    demo.wait(self.rng.uniform(SHORTEST_GAP, LONGEST_GAP))
                except subprocess.TimeoutExpired:
                    if left and self._strike(demo.pid):
                        left -= 1
                        self.report.advance(1)
            _await_orphans(data)
            if demo.returncode == -signal.SIGKILL:
                continue
            lines = output.read_text(encoding="utf-8").strip().splitlines()
            found: dict[str, Any] = json.loads(lines[-1]) if lines else {}
            if found.get("error", {}).get("kind") == LogUnreachable.__name__ and self.broker:
                continue  # it began while the broker was away
            return found

    def _start(self, data: Path, output: Path) -> subprocess.Popen[bytes]:
        arguments = ["demo", "--json", "--data", str(data), "--seed", str(self.seed)]
        if self.broker is not None:
            arguments += ["--log", f"{self.broker.url}/{data.name}"]
        with output.open("wb") as out, output.with_suffix(".log").open("ab") as log:
            return subprocess.Popen(  # noqa: S603 - our own interpreter and module
                [sys.executable, "-m", "pipelines.cli", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=log,
                start_new_session=True,
                env=os.environ | WITHOUT_PYRAMID,
            )

    def _strike(self, demo: int) -> bool:
        """Kills one process of a demo, or the broker below its log; says whether one was there."""
        drawn = self.rng.random()
        if self.broker is not None and drawn >= 1 - BROKER_WEIGHT:
            self.broker.kill()
            self.broker.start()
            self.count.kills["broker"] += 1
            return True
        below = sorted(descendants(demo))
        if drawn >= DEMO_WEIGHT and not below:
            return False
        victim = demo if drawn < DEMO_WEIGHT else self.rng.choice(below)
        name = kind_of(victim)
        try:
            os.kill(victim, signal.SIGKILL)
        except ProcessLookupError:
            return False
        self.count.kills["demo" if victim == demo else name] += 1
        return True


def descendants(pid: int) -> set[int]:
    """Returns every process below one; those that end meanwhile are left out."""
    found: set[int] = set()
    todo = [pid]
    while todo:
        current = todo.pop()
        for path in Path(f"/proc/{current}/task").glob("*/children"):
            try:
                children = {int(text) for text in path.read_text().split()}
            except OSError:
                continue
            todo += children - found
            found |= children
    return found


def kind_of(pid: int) -> str:
    """Returns the role of a process: one of ours, or `ray` for Ray's workers and daemons."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode("utf-8", "replace").split("\0")
    except OSError:
        return "gone"
    if "pipelines.node" in words:
        return words[words.index("pipelines.node") + 1]
    return "ray" if any("ray" in word for word in words) else "other"


def _kill_tree(pid: int) -> None:
    for victim in (*descendants(pid), pid):
        try:
            os.kill(victim, signal.SIGKILL)
        except ProcessLookupError:
            continue


def _await_orphans(data: Path) -> None:
    """Waits until the processes of a killed demo have drained: their standard input has ended."""
    deadline = time.monotonic() + DAY_TIMEOUT_SECONDS
    while any(str(data) in line for line in _command_lines()) and time.monotonic() < deadline:
        time.sleep(0.1)  # a poll of the process table, which tells no one when it changes


def _command_lines() -> list[str]:
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().decode("utf-8", "replace")
        except OSError:
            continue
        if "pipelines.node" in line:
            lines.append(line)
    return lines


def _audit(data: Path) -> list[str]:
    checked = subprocess.run(  # noqa: S603 - our own interpreter and module
        [sys.executable, "-m", "pipelines.cli", "epoch", "check", "--json", "--data", str(data)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=DAY_TIMEOUT_SECONDS,
        check=False,
    )
    return [] if checked.returncode == 0 else [f"epoch check ended with {checked.returncode}"]
