"""One process of a chain: `python -m pipelines.node ROLE --data DIR`; started and restarted by a supervisor.

It says `ready` on its standard output when it takes part. SIGTERM, or the end of its standard input, makes it
drain: finish the step, write its snapshot, exit 0.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Protocol

from operators.event_log import EventLog, open_log
from operators.log_genesis import require_chain
from operators.metered_log import MeteredLog
from operators.metrics import NO_METRICS, Metrics
from operators.proof_worker import host_backend, open_backend
from operators.shard_start import ShardPlace
from pipelines.chain_setup import genesis_path
from pipelines.log_lines import configure_lines
from pipelines.node_plan import (
    PIPELINE_OF,
    ROLES,
    metrics_ports,
    process_name,
    read_node_configuration,
)
from pipelines.node_watch import NodeWatch, watched
from pipelines.settings import Settings
from pipelines.supervisor import READY, WAITING_CODE
from proving.backends.port import Hasher
from schemas.config import Configuration
from schemas.errors import EclipticaError
from schemas.genesis import Genesis, load_genesis

IDLE_SECONDS = 0.2
"""Longest wait for news of the log: a slot may end a window without any."""

NICENESS = {"beacon": 5, "pyramid": 5, "windows": 5, "prover": 10}
"""Finality comes first where processes share cores: proofs are checked and made with what is left."""

_logger = logging.getLogger("ecliptica.node")


class Role(Protocol):
    """What a process does, one step after the other."""

    def pump(self, now_millis: int) -> bool:
        """Does what can be done now; says whether anything was there."""
        ...

    def next_tick(self) -> int | None:
        """Returns when it wants to be pumped without news, UTC milliseconds; None when it does not."""
        ...

    def measure(self) -> None:
        """Records what waits and where it stands; called every few seconds, if at all."""
        ...

    def close(self) -> None:
        """Drains."""
        ...


@dataclass(frozen=True, slots=True)
class NodePlace:
    """Where a process works.

    Attributes:
        data: Data directory.
        configuration: Merged configuration.
        genesis: The chain.
        log: The log.
        index: Index of the validator, for that role.
        end_window: Windows from this one on are not joined, for the role `pyramid`; None to join all.
        metrics: Where it records.
    """

    data: Path
    configuration: Configuration
    genesis: Genesis
    log: EventLog
    index: int
    end_window: int | None = None
    metrics: Metrics = NO_METRICS

    def shards(self) -> list[ShardPlace]:
        """Returns the shards that the process works on: all of the chain."""
        hasher = self.hasher()
        return [
            ShardPlace(
                self.log, self.genesis, shard, self.configuration, hasher, metrics=self.metrics
            )
            for shard in range(self.genesis.shards)
        ]

    def hasher(self) -> Hasher:
        """Returns the permutation of the configured backend, on this machine's processor."""
        return open_backend(host_backend(self.configuration.proving.backend))


@dataclass(slots=True)
class Roles:
    """Several roles in one process, by turns."""

    parts: Sequence[Role]

    def pump(self, now_millis: int) -> bool:
        """See `Role`."""
        return sum(part.pump(now_millis) for part in self.parts) > 0

    def next_tick(self) -> int | None:
        """See `Role`."""
        ticks = [tick for part in self.parts if (tick := part.next_tick()) is not None]
        return min(ticks, default=None)

    def measure(self) -> None:
        """See `Role`."""
        for part in self.parts:
            part.measure()

    def close(self) -> None:
        """See `Role`."""
        for part in self.parts:
            part.close()


def together(parts: Sequence[Role]) -> Role:
    """Returns one role that plays several; a single one stands for itself."""
    return parts[0] if len(parts) == 1 else Roles(parts)


@dataclass(slots=True)
class StopSignal:
    """Raised by SIGTERM, SIGINT, or when the supervisor is gone."""

    event: threading.Event = field(default_factory=threading.Event)

    def watch(self) -> None:
        """Begins to listen."""
        self.take_signals()
        threading.Thread(target=self._await_supervisor, daemon=True).start()

    def take_signals(self) -> None:
        """Handles the signals, also those that a library has taken since."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self.event.set())

    def _await_supervisor(self) -> None:
        while os.read(sys.stdin.fileno(), 4096):
            pass
        self.event.set()


def build_role(name: str, place: NodePlace) -> Role:
    """Returns a role, started from its directory and the log."""
    from pipelines import node_roles, window_roles  # noqa: PLC0415 - each process loads what its role needs

    builders: dict[str, Callable[[NodePlace], Role]] = {
        "admission": node_roles.admission,
        "validator": node_roles.validator,
        "beacon": node_roles.beacon,
        "chain": node_roles.chain,
        "prover": node_roles.prover,
        "pyramid": node_roles.pyramid,
        "windows": window_roles.windows,
    }
    return builders[name](place)


def run_role(
    role: Role,
    log: EventLog,
    is_stopped: Callable[[], bool],
    on_turn: Callable[[], None],
) -> None:
    """Pumps a role until it is stopped, then drains it; `on_turn` is called before every turn."""
    try:
        while not is_stopped():
            on_turn()
            if not role.pump(time.time_ns() // 1_000_000):
                log.wait(idle_seconds(role.next_tick(), time.time_ns()))
    finally:
        role.close()


def look(watch: NodeWatch, role: Role, log: MeteredLog) -> None:
    """Notes a turn of the loop and, every few seconds, what waits and how far behind the process is."""
    if watch.turned():
        watch.lag = log.measure(time.time_ns() // 1_000_000)
        role.measure()


def idle_seconds(tick_millis: int | None, now_nanos: int) -> float:
    """Returns how long to wait for news when a role wants to be called at a time, UTC milliseconds."""
    if tick_millis is None:
        return IDLE_SECONDS
    left = (tick_millis * 1_000_000 - now_nanos) / 1e9
    return min(IDLE_SECONDS, max(0.0, left))


def _complain(text: str) -> None:
    """Writes to standard error; where that is a file on a full disk, the exit code has to say it all."""
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except OSError:
        os.dup2(
            os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno()
        )  # else the end fails on it, too


def _pass() -> None:
    """Nobody watches."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a role and returns the exit code."""
    parser = argparse.ArgumentParser(prog="pipelines.node", description=__doc__)
    parser.add_argument("role", choices=ROLES)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--index", type=int, default=0)
    parser.add_argument("--end-window", type=int)
    given = parser.parse_args(arguments)
    name = process_name(given.role, given.index)
    ids: dict[str, str | int] = {"pipeline": PIPELINE_OF[given.role], "process": name}
    configure_lines("info", "text", ids)
    stop = StopSignal()
    stop.watch()
    try:
        os.nice(NICENESS.get(given.role, 0))
        configuration = read_node_configuration(given.data)
        genesis = load_genesis(genesis_path(given.data))
        logs = configuration.logs
        configure_lines(logs.level, logs.format, ids | {"chain": genesis.chain})
        port = metrics_ports(configuration).get(name, 0)
        with (
            watched(name, configuration.metrics, port) as (watch, metrics),
            closing(open_log(Settings(configuration, {}).log_url)) as plain_log,
        ):
            require_chain(plain_log, genesis)
            log = MeteredLog(plain_log, metrics) if port else plain_log
            place = NodePlace(
                given.data, configuration, genesis, log, given.index, given.end_window, metrics
            )
            role = build_role(given.role, place)
            stop.take_signals()  # Ray has put handlers of its own, which end the process at once
            _logger.info("started")
            with suppress(
                BrokenPipeError
            ):  # the supervisor is gone, which also ends the standard input
                sys.stdout.buffer.write(READY + b"\n")
                sys.stdout.buffer.flush()
            on_turn = partial(look, watch, role, log) if isinstance(log, MeteredLog) else _pass
            run_role(role, log, stop.event.is_set, on_turn)
            _logger.info("drained")
    except EclipticaError as error:
        hint = f" ({error.hint})" if error.hint else ""
        _complain(f"{type(error).__name__}: {error}{hint}\n")
        return WAITING_CODE if error.may_pass else error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
