"""A live chain under open-loop traffic, watched from its log, on which one fault after another is tried.

A trial is: inject, hold, heal, and wait until finality is again as far behind the schedule as in peace and every victim
votes again. Recovery counts from the healing; a kill needs none and is healed when it is done.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deploy.kafka_broker import Broker
from pipelines.faults.clock import WallClock
from pipelines.faults.disk import SmallDisk
from pipelines.faults.history import History
from pipelines.faults.log_watch import LogWatch
from pipelines.faults.network import Island
from pipelines.faults.transactions import Traffic
from pipelines.live_chain import LiveChain
from schemas.errors import EclipticaError

POLL_SECONDS = 0.02
LEAST_NORMAL_SECONDS, NORMAL_FACTOR = 1.5, 2.0
"""Finality counts as recovered while no transaction has waited longer than the longest one in peace, times the factor, and
no less than the first number: an idle machine of two cores takes 0.3 s."""

RECOVERY_SECONDS = 180.0
"""After so long a fault counts as one that the system does not recover from."""

SETTLE_SECONDS = 3.0
"""After an injection until what was on its way has arrived; a finality that must stop may go on so long."""

CALM_SECONDS = 3.0
"""Between two faults."""

FEW_PROCESSES = 2
"""Processes that a row names; more of them are counted."""


@dataclass(slots=True)
class Scene:
    """What faults are tried on.

    Attributes:
        chain: The running chain.
        traffic: What is sent.
        watch: What is read.
        disk: Disk that log, journals and snapshots are on, if it is a small one.
        own_disk: Small disk of the last validator alone.
        clocks: Clocks of processes, by name.
        islands: Namespaces of the validators, in order.
        broker: The log's broker.
        longest: Longest wait of any transaction since the fault began, seconds.
        normal: Longest wait at which finality counts as normal, seconds.
    """

    chain: LiveChain
    traffic: Traffic
    watch: LogWatch
    disk: SmallDisk | None = None
    own_disk: SmallDisk | None = None
    clocks: dict[str, WallClock] = field(default_factory=dict)
    islands: Sequence[Island] = ()
    broker: Broker | None = None
    longest: float = 0.0
    normal: float = LEAST_NORMAL_SECONDS
    _told: list[int] = field(default_factory=lambda: [0, 0])

    @property
    def history(self) -> History:
        """What the log has told so far.

        Raises:
            EclipticaError: The watch has not begun to read.
        """
        if self.watch.history is None:
            raise EclipticaError("the log is not watched yet")
        return self.watch.history

    def new_problems(self) -> list[str]:
        """Returns what was found since the last call, whenever it was: each problem once."""
        found: list[str] = []
        for place, problems in enumerate((self.traffic.fates.problems, self.history.problems)):
            fresh = problems[self._told[place] :]
            self._told[place] += len(fresh)
            found += fresh
        return found

    def run(self, seconds: float, is_done: Callable[[], bool] = lambda: False) -> bool:
        """Keeps processes running for a time or until something holds; says whether it does.

        Raises:
            EclipticaError: A process cannot run, or traffic or watch have failed.
        """
        deadline = time.monotonic() + seconds
        while True:
            self.chain.supervisor.poll(POLL_SECONDS)
            for part in (self.traffic, self.watch):
                if part.failure is not None:
                    raise EclipticaError(f"{type(part).__name__} ended: {part.failure!r}")
            now = time.monotonic()
            self.longest = max(self.longest, self.traffic.fates.lag(now))
            if is_done():
                return True
            if now >= deadline:
                return False

    def run_beside(self, work: Callable[[], None]) -> None:
        """Does something that takes time while the processes are kept running.

        Raises:
            EclipticaError: As in `run`.
        """
        failures: list[BaseException] = []

        def do() -> None:
            try:
                work()
            except BaseException as error:
                failures.append(error)

        thread = threading.Thread(target=do, daemon=True)
        thread.start()
        self.run(RECOVERY_SECONDS, lambda: not thread.is_alive())
        if failures:
            raise failures[0]

    def send_signal(self, names: Sequence[str], number: signal.Signals) -> None:
        """Sends a signal to processes that run."""
        pids = self.chain.supervisor.pids()
        for name in names:
            if name in pids:
                os.kill(pids[name], number)

    def is_normal(self) -> bool:
        """Says whether finality is as far behind the schedule as in peace."""
        return self.traffic.fates.lag(time.monotonic()) < self.normal

    def calibrate(self, seconds: float) -> None:
        """Measures what is normal on this machine while nothing is wrong."""
        self.longest = 0.0
        self.run(seconds)
        self.normal = max(LEAST_NORMAL_SECONDS, NORMAL_FACTOR * self.longest)

    def voters_since(self, offset: int) -> set[str]:
        """Returns the validators with a vote behind an offset."""
        return {f"validator-{i}" for i, at in self.history.last_vote.copy().items() if at > offset}


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault.

    Attributes:
        name: Unique; what the table calls it.
        means: How it is made, in a few words.
        inject: Brings it about.
        heal: Ends it; nothing where the system heals itself.
        hold_seconds: How long it lasts.
        victims: Processes that it hits; validators among them must vote again.
        must: `go_on` when finality may not stop, `stop` when it has to, empty when either is right.
    """

    name: str
    means: str
    inject: Callable[[Scene], None]
    heal: Callable[[Scene], None] = lambda scene: None
    hold_seconds: float = 0.0
    victims: tuple[str, ...] = ()
    must: str = ""


def try_fault(scene: Scene, fault: Fault) -> dict[str, Any]:
    """Tries a fault and returns its row; `problems` is empty when all invariants hold.

    Raises:
        EclipticaError: The chain cannot go on.
        EnvironmentMissing: The machine does not let the fault be made; nothing was changed.
    """
    fates, history, supervisor = scene.traffic.fates, scene.history, scene.chain.supervisor
    marks = _log_marks(supervisor.directory)
    restarts, refusals = Counter(supervisor.restarts), Counter(scene.traffic.refusals)
    sent, scene.longest = fates.sent, 0.0
    fault.inject(scene)
    begun = time.monotonic()
    scene.run(min(SETTLE_SECONDS, fault.hold_seconds))
    settled = history.tip.height
    scene.run(max(0.0, fault.hold_seconds - SETTLE_SECONDS))
    went_on = history.tip.height > settled
    last = max(history.last_vote.copy().values(), default=-1)
    healed = time.monotonic() if fault.hold_seconds else begun
    fault.heal(scene)
    if not fault.hold_seconds:
        last = _last_vote_read(scene)
    wanted = {name for name in fault.victims if name.startswith("validator-")}
    final_at, votes_at = _await_recovery(scene, wanted, last, healed)
    supply = history.check_supply()
    lost = fates.waiting_before(time.monotonic() - CALM_SECONDS - scene.normal)
    problems = scene.new_problems()
    if fault.must == "go_on" and not went_on:
        problems.append("finality stood still, though enough validators were well")
    if fault.must == "stop" and went_on:
        problems.append("finality went on, though too few validators were well")
    if final_at is None:
        problems.append(f"finality is not back after {RECOVERY_SECONDS:g} s")
    if votes_at is None:
        problems.append(f"{', '.join(sorted(wanted))}: no vote after {RECOVERY_SECONDS:g} s")
    again = Counter(supervisor.restarts) - restarts
    refused = Counter(scene.traffic.refusals) - refusals
    return {
        "fault": fault.name,
        "means": fault.means,
        "held_seconds": fault.hold_seconds,
        "happened": _happened(fault, went_on, again, refused, _said(supervisor.directory, marks)),
        "longest_wait_seconds": round(scene.longest, 2),
        "recovery_seconds": None if final_at is None else round(final_at - healed, 2),
        "votes_again_seconds": round(votes_at - healed, 2) if wanted and votes_at else None,
        "sent": fates.sent - sent,
        "lost": lost,
        "doubled": fates.doubled,
        "height": history.tip.height,
        "issued": supply["issued"],
        "restarts": dict(again),
        "refusals": dict(refused),
        "problems": problems,
    }


def _last_vote_read(scene: Scene) -> int:
    """Returns the offset of the last vote, once the watch has read what was there; a log that is away has no more."""
    rounds = scene.watch.rounds
    scene.run(1.0, lambda: scene.watch.rounds > rounds + 1)
    return max(scene.history.last_vote.copy().values(), default=-1)


def _await_recovery(
    scene: Scene, wanted: set[str], last_vote: int, healed: float
) -> tuple[float | None, float | None]:
    """Returns since when finality is normal and when all wanted validators had voted; None for never.

    It ends when both have been so for `CALM_SECONDS`: a process that comes back takes its share of the processors.
    """
    votes_at: float | None = None
    normal_since = healed

    def look() -> bool:
        nonlocal votes_at, normal_since
        now = time.monotonic()
        if not scene.is_normal():
            normal_since = now
        if votes_at is None and wanted <= scene.voters_since(last_vote):
            votes_at = now
        return votes_at is not None and now - max(votes_at, normal_since) >= CALM_SECONDS

    is_back = scene.run(RECOVERY_SECONDS, look)
    return normal_since if is_back or scene.is_normal() else None, votes_at


def _happened(
    fault: Fault,
    went_on: bool,
    restarts: Counter[str],
    refusals: Counter[str],
    said: Counter[str],
) -> str:
    parts = []
    if fault.hold_seconds:
        parts.append("finality went on" if went_on else "finality waited")
    if len(restarts) > FEW_PROCESSES:
        parts.append(f"{len(restarts)} processes started again, {restarts.total()} times in all")
    else:
        again = sorted(restarts.items())
        parts += [f"{name} started again" + (f" {n} times" if n > 1 else "") for name, n in again]
    parts += [f"said {n} times: {text}" for text, n in said.most_common(3)]
    parts += [f"the sender was refused {n} times: {text}" for text, n in refusals.most_common(2)]
    return "; ".join(parts) or "no process ended"


def _log_marks(directory: Path) -> dict[Path, int]:
    return {path: path.stat().st_size for path in directory.glob("*.log")}


def _said(directory: Path, marks: dict[Path, int]) -> Counter[str]:
    """Returns the last words of the processes that ended since: errors that they name."""
    found: Counter[str] = Counter()
    for path in sorted(directory.glob("*.log")):
        with path.open("rb") as file:
            file.seek(marks.get(path, 0))
            text = file.read().decode("utf-8", "replace")
        for line in text.splitlines():
            name, colon, rest = line.partition(": ")
            if colon and name.isidentifier() and name[0].isupper():
                found[f"{name}: {_without_paths(rest)}"] += 1
    return found


def _without_paths(text: str) -> str:
    words = [word.rpartition("/")[2] if word.startswith("/") else word for word in text.split()]
    return " ".join(words)[:100]
