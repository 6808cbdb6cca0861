"""`campaign faults`: one fault after another on a live chain under load, and how long each takes to get over.

Two scenes: all on the embedded log and a small disk; with `--kafka` also a broker, and each validator in a network
namespace. What no real log does to messages is simulated before. Every transaction must get exactly one verdict; the log must tell one history, which executes again; no
validator may contradict itself; the supply must hold. All that is checked while it happens, from the log alone.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from deploy.java_service import ServiceMissing, free_port
from deploy.kafka_broker import DEFAULT_HOME, Broker
from operators.event_log import EventLog, open_log
from operators.proof_worker import host_backend, open_backend
from operators.shard_start import ShardPlace, open_shard
from pipelines.bench_stream import sign_traffic
from pipelines.chain_setup import validator_directory
from pipelines.corpus import read_corpus, read_corpus_info
from pipelines.faults.catalogue import VALIDATORS, on_embedded_log, on_kafka
from pipelines.faults.clock import wall_clocks
from pipelines.faults.disk import small_disk
from pipelines.faults.log_watch import LogWatch
from pipelines.faults.medium import MediumFault, medium_faults, try_medium
from pipelines.faults.network import MAINLAND, islands
from pipelines.faults.scene import RECOVERY_SECONDS, Fault, Scene, try_fault
from pipelines.faults.transactions import Fates, Traffic
from pipelines.latency import Rate
from pipelines.live_chain import SHARD, LiveChain, live_chain, one_shard
from pipelines.progress import Progress
from schemas.config import Configuration, profile_configuration
from schemas.errors import EclipticaError, EnvironmentMissing, ParameterError

RATE = 10
"""Transactions per second: little, so that a recovery is not the working off of a backlog on a busy machine."""

SECONDS_PER_FAULT = 60
"""Traffic that is signed before, per fault; recoveries included, most take less."""

SLOT_MICROS = 468_750
"""The target's slot: transactions live 7,680 slots, an hour here, longer than a campaign."""

WARM_UP_SECONDS = 5.0
CALIBRATION_SECONDS = 15.0
DISK_MEGABYTES = 512
OWN_DISK_MEGABYTES = 32


@dataclass(frozen=True, slots=True)
class FaultPlan:
    """What to try.

    Attributes:
        seed: Of keys and traffic.
        runs: The most faults; None for all.
        names: The only faults; all if empty.
        kafka: Whether the faults on a broker are tried too.
    """

    seed: int
    runs: int | None = None
    names: Sequence[str] = ()
    kafka: bool = False

    def scenes(self) -> list[tuple[str, list[Fault]]]:
        """Returns the faults of live chains by scene, in order.

        Raises:
            ParameterError: A name is none of a fault, or a fault is asked for without its scene.
        """
        found = [("embedded log", on_embedded_log())]
        if self.kafka:
            found.append(("kafka", on_kafka()))
        known = [fault.name for fault in medium_faults()]
        known += [fault.name for _, faults in found for fault in faults]
        for name in self.names:
            if name not in known:
                raise ParameterError(f"there is no fault {name!r}", f"faults: {', '.join(known)}")
        left = len(known) if self.runs is None else self.runs
        left -= len(self.medium())
        chosen = []
        for scene, faults in found:
            wanted = [fault for fault in faults if not self.names or fault.name in self.names]
            chosen.append((scene, wanted[:left]))
            left = max(0, left - len(wanted))
        return [(scene, faults) for scene, faults in chosen if faults]

    def medium(self) -> list[MediumFault]:
        """Returns the faults of the simulated medium, which come first."""
        wanted = [one for one in medium_faults() if not self.names or one.name in self.names]
        return wanted[: self.runs]


def run_faults(plan: FaultPlan, report: Progress, is_stopped: Callable[[], bool]) -> dict[str, Any]:
    """Tries the faults of a plan, scene after scene.

    Returns:
        The campaign's evidence; `ok` when all invariants held in every fault that could be made, `missing` when some
        could not.

    Raises:
        ParameterError: See `FaultPlan.scenes`.
        EclipticaError: The chain does not start, or cannot go on.
    """
    started = time.monotonic()
    rows: list[dict[str, Any]] = []
    ends: dict[str, Any] = {}
    missing: dict[str, str] = {}
    scenes = plan.scenes()
    report.phase("faults of the medium", len(plan.medium()))
    for one in plan.medium():
        rows.append(try_medium(one, plan.seed))
        report.advance(1)
    folder = Path(tempfile.mkdtemp(prefix="ecliptica-faults-"))
    for name, faults in scenes:
        if is_stopped():
            break
        place = folder / name.replace(" ", "-")
        try:
            place.mkdir()
            count = RATE * SECONDS_PER_FAULT * (len(faults) + 3)
            corpus = sign_traffic(place, count, plan.seed, report, fault_configuration())
            report.phase(f"faults on {name}", len(faults))
            with _scene(place, name, plan.seed, corpus, missing) as scene:
                for fault in faults:
                    if is_stopped():
                        break
                    rows += _try(scene, name, fault, missing, report)
                ends[name] = _finish(scene, place / "data")
        except EnvironmentMissing as error:
            missing[name] = str(error)
    problems = [said for row in rows for said in row["problems"]]
    problems += [said for end in ends.values() for said in end["problems"]]
    if not problems:
        shutil.rmtree(folder, ignore_errors=True)
    return {
        "name": "faults",
        "seed": plan.seed,
        "runs": len(rows),
        "accepted": len(problems),
        "evidence": {
            "faults": rows,
            "ends": ends,
            "not_made": missing,
            "rate": RATE,
            "kept": str(folder) if problems else None,
            "seconds": round(time.monotonic() - started, 1),
        },
        "missing": bool(missing),
        "ok": bool(rows) and not problems and not is_stopped(),
    }


def _try(
    scene: Scene, name: str, fault: Fault, missing: dict[str, str], report: Progress
) -> list[dict[str, Any]]:
    """Tries a fault; one that this machine does not let be made is noted and left out."""
    try:
        row = {"log": name, **try_fault(scene, fault)}
    except EnvironmentMissing as error:
        missing[fault.name] = str(error)
        report.note(f"{fault.name}: not made: {error}")
        return []
    report.advance(1)
    report.note(
        f"{fault.name}: {row['happened']}; longest wait {row['longest_wait_seconds']} s, recovered "
        f"in {row['recovery_seconds']} s, lost {row['lost']}, doubled {row['doubled']}"
        + (f"; PROBLEMS {row['problems']}" if row["problems"] else "")
    )
    return [row]


def fault_configuration() -> Configuration:
    """Returns the configuration of the chains: profile local on the target's slot."""
    base = profile_configuration("local")
    clock = {**base.clock.model_dump(), "slot_micros": SLOT_MICROS}
    return Configuration.model_validate({**base.model_dump(), "clock": clock})


@contextmanager
def _scene(
    place: Path, name: str, seed: int, corpus: Path, missing: dict[str, str]
) -> Iterator[Scene]:
    """Starts a chain with its traffic, its watch and whatever its faults need."""
    configuration, data = fault_configuration(), place / "data"
    with ExitStack() as stack:
        parts: dict[str, Any] = {}
        wrappers: dict[str, Sequence[str]] = {}
        url = ""
        if name == "kafka":
            parts["islands"] = stack.enter_context(islands(len(VALIDATORS)))
            parts["broker"] = broker = stack.enter_context(_broker(place / "kafka"))
            wrappers = dict(zip(VALIDATORS, (one.wrapper for one in parts["islands"]), strict=True))
            url = f"{broker.url}/faults"
        else:
            parts |= _own_machine(stack, place, data, missing)
            wrappers = {name: clock.wrapper for name, clock in parts["clocks"].items()}
        chain = stack.enter_context(live_chain(configuration, data, url, seed, wrappers=wrappers))
        rows = read_corpus(corpus)
        chain.play(list(islice(rows, read_corpus_info(corpus).genesis_rows)), Rate())
        fates = Fates()
        configured = one_shard(configuration, data, url)
        watch = LogWatch(chain.log.url, lambda log: _place(log, chain, configured), fates)
        scene = Scene(chain, Traffic(chain.log.url, rows, RATE, fates), watch, **parts)
        stack.callback(watch.stop)
        stack.callback(scene.traffic.stop)
        watch.start()
        scene.traffic.start()
        if not scene.run(RECOVERY_SECONDS, lambda: watch.rounds > 1 and bool(fates.final)):
            raise EclipticaError("nothing becomes final even in peace", f"look at {data}/run")
        scene.run(WARM_UP_SECONDS)
        scene.calibrate(CALIBRATION_SECONDS)
        yield scene


def _own_machine(
    stack: ExitStack, place: Path, data: Path, missing: dict[str, str]
) -> dict[str, Any]:
    """Makes disks and clocks; what cannot be had is noted, and its faults are not made."""
    parts: dict[str, Any] = {"clocks": {}}
    own = validator_directory(data, len(VALIDATORS) - 1)
    try:
        parts["disk"] = stack.enter_context(small_disk(data, place / "disk", DISK_MEGABYTES))
        parts["own_disk"] = stack.enter_context(
            small_disk(own, place / "own-disk", OWN_DISK_MEGABYTES)
        )
    except EnvironmentMissing as error:
        missing["small disks"] = str(error)
    try:
        parts["clocks"] = stack.enter_context(wall_clocks(VALIDATORS))
    except EnvironmentMissing as error:
        missing["clocks"] = str(error)
    return parts


@contextmanager
def _broker(home: Path) -> Iterator[Broker]:
    broker = Broker(home, free_port(), jars=DEFAULT_HOME / "lib", host=MAINLAND)
    try:
        broker.start()
    except ServiceMissing as error:
        raise EnvironmentMissing(f"no broker: {error}", "see `make kafka`") from error
    try:
        yield broker
    finally:
        broker.kill()


def _place(log: EventLog, chain: LiveChain, configuration: Configuration) -> ShardPlace:
    backend = open_backend(host_backend(configuration.proving.backend))
    return ShardPlace(log, chain.genesis, SHARD, configuration, backend)


def _finish(scene: Scene, data: Path) -> dict[str, Any]:
    """Ends the traffic, drains the chain, and compares the validators' own tips with the log's history."""
    problems: list[str] = []
    fates, watch = scene.traffic.fates, scene.watch
    scene.traffic.stop()
    scene.run(RECOVERY_SECONDS, lambda: fates.oldest() is None)
    lost = fates.waiting_before(float("inf"))
    if lost:
        problems.append(f"{lost} transactions have no verdict")
    restarts = scene.chain.supervisor.restarts
    scene.chain.supervisor.stop()
    watch.stop()
    if watch.failure is not None:
        raise EclipticaError(f"the watch ended: {watch.failure!r}")
    history = scene.history
    tips = {}
    with closing(open_log(scene.chain.log.url)) as log:
        place = _place(log, scene.chain, one_shard(fault_configuration(), data, log.url))
        for index, name in enumerate(VALIDATORS):
            snapshot = validator_directory(data, index) / f"shard-{SHARD}.snapshot"
            tip = open_shard(place, snapshot).tip
            tips[name] = tip.height
            written = history.hash_at(tip.height)  # None: drained before the observer wrote it down
            if written is not None and written != tip.hash:
                problems.append(f"{name} stands on another block of height {tip.height}")
    supply = dict(history.check_supply())
    return {
        "normal_wait_seconds": round(scene.normal, 2),
        "height": history.tip.height,
        "tips": tips,
        "sent": fates.sent,
        "final": len(fates.final),
        "lost": lost,
        "doubled": fates.doubled,
        "rejected": dict(fates.rejected),
        "supply": supply,
        "restarts": dict(Counter(restarts)),
        "problems": problems + scene.new_problems(),
    }
