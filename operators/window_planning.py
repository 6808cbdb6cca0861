"""Job planning for those who are told that a window is closed: the windows stage runs up to it, in a thread of its own.

The stage, its driver, its reader on the log and its snapshot are those of the loop; who is told, here Beam's workers, decides when it
runs and where. Outputs and positions are one commit of the log, so a window that is named again after a restart, or out of order,
finds the stage beyond it and changes nothing. A stage that runs elsewhere too is fenced by the log.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from operators.event_log import EventLog, open_existing_log
from operators.stage_driver import StageDriver
from operators.windows import WindowsStage, WindowsState
from operators.windows_supply import open_windows


@dataclass(frozen=True, slots=True)
class Planning:
    """How closed windows are planned.

    Attributes:
        build: Makes the stage of a shard; importable, since workers get it.
        directory: Where stages keep their snapshots. A worker that cannot reach it starts from the log.
        max_ahead: Windows that may be closed and not accepted before no further one is looked at; >= 1.
    """

    build: Callable[[int], WindowsStage]
    directory: Path
    max_ahead: int

    def plan(self, log_url: str, shard: int, window: int, now_millis: int) -> int:
        """Runs a shard's stage until it has closed a window, or has no record left; returns the last one it has closed, or -1.

        Args:
            log_url: Address of the log.
            shard: Shard.
            window: A window that the log closes; one closed before is left alone.
            now_millis: Time of dead letters, UTC milliseconds.

        Raises:
            FencedError: The stage was started elsewhere; nothing was written.
            LogError: The log does not take the outputs.
            InvariantError: The stage found its own state broken.
        """
        lane = _lane((log_url, self.directory, shard))
        return lane.thread.submit(lane.plan, self, window, now_millis).result()


@dataclass(slots=True)
class _Open:
    """A stage that runs."""

    log: EventLog
    driver: StageDriver[WindowsState]


LaneKey = tuple[str, Path, int]
"""Address of the log, folder of the snapshots, shard."""


@dataclass(slots=True)
class _Lane:
    """The one thread of a process that runs a shard's stage: a connection belongs to a thread, and so does the state."""

    key: LaneKey
    thread: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(1, "windows-stage")
    )
    held: _Open | None = None

    def plan(self, planning: Planning, window: int, now_millis: int) -> int:
        held, self.held = self.held or self._open(planning), None
        try:
            driver = held.driver
            while _last_closed(driver.state) < window and driver.run_once(0.0, now_millis):
                pass
        except BaseException:  # the log alone knows where the stage stands now
            held.log.close()
            raise
        self.held = held
        return _last_closed(driver.state)

    def close(self) -> None:
        held, self.held = self.held, None
        if held is not None:
            try:
                held.driver.close()
            finally:
                held.log.close()

    def _open(self, planning: Planning) -> _Open:
        url, directory, shard = self.key
        log, stage = open_existing_log(url), planning.build(shard)
        return _Open(log, open_windows(stage, log, directory))


def _last_closed(state: WindowsState) -> int:
    return state.ledger.window if state.ledger.height else -1


_lanes: dict[LaneKey, _Lane] = {}
_lock = threading.Lock()


def _lane(key: LaneKey) -> _Lane:
    with _lock:
        return _lanes.setdefault(key, _Lane(key))


def close_stages(log_url: str, planning: Planning) -> None:
    """Drains the stages of a chain that this process runs: each writes a snapshot if anything is new.

    Raises:
        EclipticaError: The disk refuses.
    """
    with _lock:
        place = (log_url, planning.directory)
        closing = [_lanes.pop(key) for key in list(_lanes) if key[:2] == place]
    for lane in closing:
        lane.thread.submit(lane.close).result()
        lane.thread.shutdown()
