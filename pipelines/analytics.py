"""Closed windows under Beam: which are closed, and the runner that counts them, and plans them where it is asked to.

A window is closed by what the log says; a feed per shard follows that. `direct` then works on each as one bounded pipeline in this
process, in order. `flink` has one unbounded job do it, and the feeds say when it has caught up.
"""

from __future__ import annotations

import logging
import socket
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from operators.accepted_tips import AcceptedTips
from operators.analytics_feed import ClosedWindow, FeedPosition, FeedReader, open_feed
from operators.analytics_files import has_window, resume_position
from operators.event_log import EventLog
from operators.window_planning import Planning, close_stages
from schemas.errors import EnvironmentMissing
from schemas.genesis import Genesis

if TYPE_CHECKING:
    from operators.beam_analytics import WindowWork
    from operators.beam_flink import FlinkJob

CONNECT_SECONDS = 5.0

POLLS_AT_ONCE = 16
"""Polls of a feed between two looks at whether to stop."""


@dataclass(frozen=True, slots=True)
class CountingPlace:
    """What is counted, and where.

    Attributes:
        log: The log.
        log_url: Its address, for the workers of a runner.
        genesis: The chain.
        shards: Shards.
        root: Data directory.
        planning: How closed windows are planned; None to count alone.
    """

    log: EventLog
    log_url: str
    genesis: Genesis
    shards: Sequence[int]
    root: Path
    planning: Planning | None = None


class WindowRunner(Protocol):
    """Has windows counted."""

    def count(self, closed: Sequence[ClosedWindow], starts: Sequence[FeedPosition]) -> list[bool]:
        """Says which closed windows, of different shards, are counted now.

        Args:
            closed: Closed windows.
            starts: Where reading begins for each.

        Raises:
            EclipticaError: They cannot be counted.
        """
        ...

    def close(self) -> None:
        """Ends what runs."""
        ...


@dataclass(slots=True)
class WindowCounting:
    """The closed windows of some shards, counted in order.

    Attributes:
        runner: Counts them.
        feeds: What follows each shard's log.
        starts: Where the first window that is not counted begins, by shard.
        limit: How far they may run ahead of the accepted ones, and who says where these are; None for no limit.
        counted: Windows counted so far.
    """

    runner: WindowRunner
    feeds: dict[int, FeedReader]
    starts: dict[int, FeedPosition]
    limit: tuple[AcceptedTips, int] | None = None
    counted: int = 0
    _waiting: dict[int, deque[ClosedWindow]] = field(default_factory=dict)

    def turn(self, now_millis: int) -> int:
        """Follows the log and counts one window of each shard that has a closed one; returns how many it counted.

        Raises:
            EclipticaError: A window cannot be counted or written.
        """
        for shard, reader in self.feeds.items():
            waiting = self._waiting.setdefault(shard, deque())
            if self._is_held(shard, reader.feed.position.open_window):
                continue
            for _ in range(POLLS_AT_ONCE):
                items, records = reader.advance(now_millis)
                waiting.extend(item for item in items if isinstance(item, ClosedWindow))
                if not records or waiting:
                    break
        closed = [waiting[0] for waiting in self._waiting.values() if waiting]
        if not closed:
            return 0
        verdicts = self.runner.count(closed, [self.starts[one.shard] for one in closed])
        for one, is_counted in zip(closed, verdicts, strict=True):
            if is_counted:
                self._waiting[one.shard].popleft()
                self.starts[one.shard] = one.next
        self.counted += sum(verdicts)
        return sum(verdicts)

    def has_counted(self, end_window: int) -> bool:
        """Whether all windows below one are closed and counted."""
        return all(
            reader.feed.position.open_window >= end_window
            and not any(one.window < end_window for one in self._waiting.get(shard, ()))
            for shard, reader in self.feeds.items()
        )

    def _is_held(self, shard: int, open_window: int) -> bool:
        if self.limit is None:
            return False
        tips, max_ahead = self.limit
        return tips.is_too_far(shard, open_window, max_ahead)

    def close(self) -> None:
        """Ends what runs; what is written stays."""
        self.runner.close()


@dataclass(frozen=True, slots=True)
class DirectRunner:
    """One bounded pipeline in this process for the next closed window of each shard."""

    place: CountingPlace
    work: WindowWork

    def count(self, closed: Sequence[ClosedWindow], starts: Sequence[FeedPosition]) -> list[bool]:
        """See `WindowRunner`."""
        with _beam():
            from operators.beam_analytics import close_windows  # noqa: PLC0415 - Beam loads when used
            from operators.beam_source import ShardSource  # noqa: PLC0415
        place = self.place
        sources = [
            ShardSource(one.shard, start, one.window)
            for one, start in zip(closed, starts, strict=True)
        ]
        close_windows(self.work, sources)
        return [has_window(place.root, place.genesis, one.shard, one.window) for one in closed]

    def close(self) -> None:
        """See `WindowRunner`."""
        _drain(self.place)


@dataclass(frozen=True, slots=True)
class FlinkRunner:
    """One job on Flink that counts, and plans, for ever."""

    place: CountingPlace
    job: FlinkJob

    def count(self, closed: Sequence[ClosedWindow], _: Sequence[FeedPosition]) -> list[bool]:
        """See `WindowRunner`: the job counts by itself, here is only looked."""
        self.job.check()
        place = self.place
        return [has_window(place.root, place.genesis, one.shard, one.window) for one in closed]

    def close(self) -> None:
        """See `WindowRunner`."""
        self.job.cancel()
        _drain(self.place)


def open_counting(runner: str, place: CountingPlace, job_server: str) -> WindowCounting:
    """Starts where the written windows end.

    Args:
        runner: `direct` or `flink`.
        place: What is counted, and whether it is planned.
        job_server: HOST:PORT, for `flink`.

    Raises:
        EnvironmentMissing: Beam is not installed, or nobody answers at the job server.
        ParameterError: What is written is damaged or of another chain.
    """
    starts = _starts(place)
    feeds = {
        shard: open_feed(place.log, place.genesis, shard, start, "plan")
        for shard, start in starts.items()
    }
    work = _work(place)
    _catch_up(place, starts)
    if runner == "flink":
        counter: WindowRunner = _on_flink(place, work, starts, job_server)
    else:
        counter = DirectRunner(place, work)
    limit = None
    if place.planning is not None and runner == "direct":  # a job's source looks itself
        limit = (AcceptedTips(place.log, place.genesis), place.planning.max_ahead)
    return WindowCounting(counter, feeds, starts, limit)


def open_job(place: CountingPlace, job_server: str) -> FlinkRunner:
    """Starts a job on Flink where the written windows end, and returns when it reads; nothing here follows what it does.

    Raises:
        EnvironmentMissing: Beam is not installed, or nobody answers at the job server.
        EclipticaError: It does not take the job, or the job does not begin.
        ParameterError: What is written is damaged or of another chain.
    """
    starts, work = _starts(place), _work(place)
    _catch_up(place, starts)
    runner = _on_flink(place, work, starts, job_server)
    runner.job.await_start()
    return runner


def _starts(place: CountingPlace) -> dict[int, FeedPosition]:
    return {shard: resume_position(place.root, place.genesis, shard) for shard in place.shards}


def _work(place: CountingPlace) -> WindowWork:
    with _beam():
        from operators.beam_analytics import WindowWork  # noqa: PLC0415 - Beam loads when used
        from operators.beam_source import ChainLog  # noqa: PLC0415
    return WindowWork(ChainLog(place.log_url, place.genesis), place.root, place.planning)


def _catch_up(place: CountingPlace, starts: Mapping[int, FeedPosition]) -> None:
    """Plans windows that are written and not planned: a process was killed in between, or another one counts."""
    if place.planning is not None:
        for shard, start in starts.items():
            place.planning.plan(place.log_url, shard, start.open_window - 1, _now_millis())


def _on_flink(
    place: CountingPlace, work: WindowWork, starts: Mapping[int, FeedPosition], job_server: str
) -> FlinkRunner:
    check_job_server(job_server)
    with _beam():
        from operators.beam_flink import submit_windows  # noqa: PLC0415 - Beam loads when used
        from operators.beam_source import ShardSource  # noqa: PLC0415
    sources = [ShardSource(shard, start) for shard, start in starts.items()]
    return FlinkRunner(place, submit_windows(work, sources, job_server))


def _drain(place: CountingPlace) -> None:
    if place.planning is not None:
        close_stages(place.log_url, place.planning)


def check_built(runner: str) -> None:
    """Checks that a runner is there.

    Raises:
        EnvironmentMissing: It is not.
    """
    if runner == "prism":
        raise EnvironmentMissing(
            "not built: the runner prism is not there, a program of its own that is made for tests of pipelines",
            "loop, direct and flink are",
        )


def check_job_server(job_server: str) -> None:
    """Checks that somebody listens at an address HOST:PORT.

    Raises:
        EnvironmentMissing: Nobody does, or the address is none.
    """
    host, _, port = job_server.rpartition(":")
    try:
        socket.create_connection((host, int(port)), CONNECT_SECONDS).close()
    except (OSError, ValueError) as error:
        raise EnvironmentMissing(
            f"no Flink job server answers at {job_server}: {error}",
            "`make flink` starts one; ECLIPTICA_STREAMING_JOB_SERVER names another",
        ) from error


@contextmanager
def _beam() -> Iterator[None]:
    """Loads Beam without its warning about a client of a cloud that is not used."""

    def is_wanted(record: logging.LogRecord) -> bool:
        return "apitools not found" not in record.getMessage()

    root = logging.getLogger()
    root.addFilter(is_wanted)
    try:
        yield
    except ImportError as error:
        raise EnvironmentMissing(
            f"the runner needs the package apache-beam: {error}", "make install"
        ) from error
    finally:
        root.removeFilter(is_wanted)


def _now_millis() -> int:
    return time.time_ns() // 1_000_000
