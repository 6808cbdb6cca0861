"""The faults of `campaign faults`, by the scene that they are tried on."""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence

from deploy.kafka_broker import Broker
from pipelines.faults.disk import SmallDisk
from pipelines.faults.network import Island
from pipelines.faults.scene import Fault, Scene
from schemas.errors import EnvironmentMissing

HOUR = 3600.0
VALIDATORS = ("validator-0", "validator-1", "validator-2", "validator-3")
ALL = ("admission", *VALIDATORS, "chain")

FULL_SECONDS = 90.0
"""How long the whole disk is full: longer than a process that dies at every start is put up with."""

SLOW_WRITES = 50
"""Writes per second of the slow disk; a block of four validators takes about ten."""

LOSS = 0.1
HOLD_SECONDS = 15.0
AWAY_SECONDS = 30.0


def kill(*names: str) -> Callable[[Scene], None]:
    """Returns what kills processes with SIGKILL."""
    return lambda scene: scene.send_signal(names, signal.SIGKILL)


def paused(name: str, *names: str, must: str = "", seconds: float = HOLD_SECONDS) -> Fault:
    """Returns the fault of processes that stand still and go on later."""
    return Fault(
        name,
        "SIGSTOP, then SIGCONT",
        lambda scene: scene.send_signal(names, signal.SIGSTOP),
        lambda scene: scene.send_signal(names, signal.SIGCONT),
        seconds,
        names,
        must,
    )


def killed(name: str, *names: str) -> Fault:
    """Returns the fault of processes that die at once."""
    return Fault(name, "kill -9", kill(*names), victims=names)


def clock(name: str, seconds: float, *names: str) -> Fault:
    """Returns the fault of wall clocks that jump, and jump back."""

    def shift(scene: Scene, by: float) -> None:
        for one in names:
            scene.clocks[one].shift(by)

    return Fault(
        name,
        "wall clock of the process, by LD_PRELOAD",
        lambda scene: shift(scene, seconds),
        lambda scene: shift(scene, 0.0),
        HOLD_SECONDS,
        names,
        "go_on",
    )


def on_embedded_log() -> list[Fault]:
    """Returns the faults of a chain on the embedded log, all on one small disk."""
    return [
        Fault("none", "peace, to compare with", _nothing, hold_seconds=HOLD_SECONDS),
        killed("kill a validator", "validator-1"),
        killed("kill the observer", "chain"),
        killed("kill the admission", "admission"),
        killed("kill all processes", *ALL),
        paused("stalled validator", "validator-2"),
        paused("two stalled validators of four", "validator-2", "validator-3", must="stop"),
        paused("stalled observer", "chain"),
        paused("stalled admission", "admission"),
        clock("clock of a validator +1 h", HOUR, "validator-0"),
        clock("clock of a validator -1 h", -HOUR, "validator-0"),
        clock("clocks of all validators -1 h", -HOUR, *VALIDATORS),
        Fault(
            "slow disk",
            f"{SLOW_WRITES} writes/s by the kernel's control group",
            lambda scene: _disk(scene.disk).slow_down(SLOW_WRITES),
            lambda scene: _disk(scene.disk).slow_down(0),
            HOLD_SECONDS,
            VALIDATORS,
        ),
        Fault(
            "full disk of a validator",
            "no byte free on its ext4",
            lambda scene: _disk(scene.own_disk).fill(),
            lambda scene: _disk(scene.own_disk).free(),
            HOLD_SECONDS,
            VALIDATORS[-1:],
            "go_on",
        ),
        Fault(
            "full disk of all",
            "no byte free on the ext4 of log, journals, snapshots",
            lambda scene: _disk(scene.disk).fill(),
            lambda scene: _disk(scene.disk).free(),
            FULL_SECONDS,
            VALIDATORS,
        ),
    ]


def on_kafka() -> list[Fault]:
    """Returns the faults of a chain on a broker, each validator in a network namespace of its own."""
    return [
        Fault(
            "kill the broker",
            "kill -9, started at once",
            lambda scene: _broker(scene).kill(),
            lambda scene: scene.run_beside(_broker(scene).start),
            victims=VALIDATORS,
        ),
        Fault(
            "broker away",
            "kill -9, started later",
            lambda scene: _broker(scene).kill(),
            lambda scene: scene.run_beside(_broker(scene).start),
            AWAY_SECONDS,
            VALIDATORS,
            "stop",
        ),
        paused("stalled validator on Kafka", "validator-2", must="go_on"),
        Fault(
            "partition of a validator",
            "its wire is down",
            lambda scene: _wires(scene, 1, cut=True),
            lambda scene: _wires(scene, 1, cut=False),
            HOLD_SECONDS,
            VALIDATORS[:1],
            "go_on",
        ),
        Fault(
            "partition of two validators of four",
            "their wires are down",
            lambda scene: _wires(scene, 2, cut=True),
            lambda scene: _wires(scene, 2, cut=False),
            HOLD_SECONDS,
            VALIDATORS[:2],
            "stop",
        ),
        Fault(
            f"{LOSS:.0%} of all packets lost",
            "at random on every validator's wire, both ways",
            lambda scene: _lose(scene, LOSS),
            lambda scene: _lose(scene, 0.0),
            HOLD_SECONDS,
            VALIDATORS,
            "go_on",
        ),
    ]


def _nothing(scene: Scene) -> None:
    """Leaves all as it is."""
    del scene


def names_of(faults: Sequence[Fault]) -> list[str]:
    """Returns the names of faults."""
    return [fault.name for fault in faults]


def _disk(disk: SmallDisk | None) -> SmallDisk:
    if disk is None:
        raise EnvironmentMissing("there is no small disk", "mounting one needs root")
    return disk


def _broker(scene: Scene) -> Broker:
    if scene.broker is None:
        raise EnvironmentMissing("the log has no broker", "use --kafka")
    return scene.broker


def _wires(scene: Scene, count: int, *, cut: bool) -> None:
    for island in _islands(scene)[:count]:
        if cut:
            island.cut()
        else:
            island.join()


def _lose(scene: Scene, share: float) -> None:
    for island in _islands(scene):
        if share:
            island.lose(share)
        else:
            island.keep_all()


def _islands(scene: Scene) -> Sequence[Island]:
    if not scene.islands:
        raise EnvironmentMissing("the validators have no wires of their own", "they need root")
    return scene.islands
