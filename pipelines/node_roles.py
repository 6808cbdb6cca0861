"""The roles of a chain's processes, put together from operators."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from operators.admission import Admission
from operators.beacon import BeaconApplication
from operators.beacon_node import BeaconObserver, BeaconValidator
from operators.beacon_start import BeaconPlace
from operators.bounded_admission import AdmissionPlace, open_admission
from operators.chain_observer import ShardObserver
from operators.held_transactions import read_transactions
from operators.jobs import RetryPolicy
from operators.proof_worker import (
    BACKEND_VARIABLE,
    GPU_MEMORY_VARIABLE,
    check_backend,
    prepare_keys,
    prove_envelope,
)
from operators.prover_pool import Crew, DirectPool, ProverPool, RayPool
from operators.prover_role import ProverRole
from operators.pyramid_role import open_pyramid
from operators.ray_cluster import NodeSize, join_cluster
from operators.shard_start import ShardPlace
from operators.stage_driver import StageDriver
from operators.validator import ShardValidator, identity_of
from operators.windows import WindowsStage, WindowsState
from operators.windows_supply import open_windows
from pipelines.chain_setup import validator_directory, validator_key
from pipelines.forge import usable_cores
from pipelines.node import NodePlace, Role, Roles, together
from proving.backends.port import Hasher
from proving.ledger.rules import LedgerParameters
from proving.ledger.state import genesis_ledger
from proving.recursion.wrap import WRAP_KIND
from proving.segment_proofs import large_shape, segment_layout
from schemas.config import ProvingConfig
from schemas.errors import EclipticaError, EnvironmentMissing
from schemas.genesis import Genesis
from schemas.job import ProofLevel

STAGES = "stages"
"""Folder of the snapshots of stages, below the data directory."""

PYRAMID_MEMORY_BYTES = 3_500_000_000
"""What a worker that has made recursive proofs of all kinds holds."""

TURN_SECONDS = 0.25
"""Longest wait of a prover for its pool."""


def admission(place: NodePlace) -> Role:
    """Returns the admission stages of all shards."""
    stages = [
        Admission(
            place.genesis,
            shard,
            place.configuration.admission,
            fetch=partial(read_transactions, place.log, shard),
        )
        for shard in range(place.genesis.shards)
    ]
    where = AdmissionPlace(place.log, place.data / STAGES, place.genesis.chain, place.metrics)
    return together([open_admission(stage, where, place.configuration) for stage in stages])


def validator(place: NodePlace) -> Role:
    """Returns a validator of all shards: it has a seat in each of their committees."""
    directory = validator_directory(place.data, place.index)
    pair = validator_key(place.data, place.index)
    return together(
        [ShardValidator(shard, place.index, pair, directory) for shard in place.shards()]
    )


@dataclass(slots=True)
class BoundedWindows:
    """The windows stage, which waits while proofs are too far behind.

    What it has not read stays on the log, so waiting costs no memory and loses nothing.

    Attributes:
        driver: The stage.
        proven_window: Returns the last accepted window, or -1.
        max_ahead: Windows ahead of the accepted ones at which it stops reading; >= 1. What it has read by
            then may still close a few more.
    """

    driver: StageDriver[WindowsState]
    proven_window: Callable[[], int]
    max_ahead: int

    def pump(self, now_millis: int) -> bool:
        """See `Role`."""
        ledger = self.driver.state.ledger
        ahead = ledger.window - self.proven_window() if ledger.height else 0
        return ahead < self.max_ahead and self.driver.run_once(0.0, now_millis) > 0

    def next_tick(self) -> int | None:
        """See `Role`: news alone moves it."""
        return None

    def measure(self) -> None:
        """See `Role`: the driver records as it goes."""

    def close(self) -> None:
        """See `Role`."""
        self.driver.close()


def chain(place: NodePlace) -> Role:
    """Returns what writes final blocks, accepted proofs and, unless Beam does, windows."""
    directory = place.data / STAGES
    beacon_observer = BeaconObserver(beacon_place(place), directory, place.data)
    tips = beacon_observer.state.application
    return Roles(
        [
            *[ShardObserver(shard, directory) for shard in place.shards()],
            beacon_observer,
            *[
                _windows(place, shard, tips, directory)
                for shard in place.shards()
                if place.configuration.streaming.runner == "loop"
            ],
        ]
    )


def _windows(
    place: NodePlace, shard: ShardPlace, tips: BeaconApplication, directory: Path
) -> BoundedWindows:
    """Returns the windows stage of a shard."""
    stage = windows_stage(shard.genesis, shard.shard, shard.parameters(), shard.hasher)
    return BoundedWindows(
        open_windows(stage, place.log, directory, place.metrics),
        lambda: tips.final.tips[shard.shard].window,
        place.configuration.proving.max_unproven_windows,
    )


def windows_stage(
    genesis: Genesis, shard: int, parameters: LedgerParameters, hasher: Hasher
) -> WindowsStage:
    """Returns the windows stage of a shard."""
    identity = identity_of(genesis, shard, None, None)
    return WindowsStage(
        identity.committee,
        identity.verifier,
        genesis.window_of,
        lambda: genesis_ledger(parameters, hasher, genesis.issuer_key),
        segment_layout(),
        hasher,
        large_shape(),
    )


def beacon(place: NodePlace) -> Role:
    """Returns a validator of the beacon."""
    directory = validator_directory(place.data, place.index)
    pair = validator_key(place.data, place.index)
    return BeaconValidator(beacon_place(place), place.index, pair, directory)


def beacon_place(place: NodePlace) -> BeaconPlace:
    """Returns the beacon that a process works on."""
    return BeaconPlace(place.log, place.genesis, place.configuration, place.hasher(), place.metrics)


@dataclass(slots=True)
class ProvingRole:
    """A prover under the loop of a process."""

    prover: ProverRole

    def pump(self, now_millis: int) -> bool:
        """See `Role`; waits inside, for the pool or the log."""
        try:
            self.prover.turn(TURN_SECONDS)
        except EnvironmentMissing as error:  # it was there at the start, so a new start helps
            raise EclipticaError(f"the pool of workers is lost: {error}") from error
        return True

    def next_tick(self) -> int | None:
        """See `Role`: it waits inside `pump`."""
        return None

    def measure(self) -> None:
        """See `Role`."""
        self.prover.measure()

    def close(self) -> None:
        """See `Role`; proofs in the making are left, and leased again at the next start."""
        self.prover.pool.close()


def prover(place: NodePlace) -> Role:
    """Returns the prover with its pool of workers."""
    proving = place.configuration.proving
    policy = RetryPolicy(
        lease_millis=proving.lease_seconds * 1000,
        heartbeat_millis=proving.heartbeat_seconds * 1000,
        max_attempts=proving.max_attempts,
    )
    check_backend(proving.backend)
    environment = {
        BACKEND_VARIABLE: proving.backend,
        GPU_MEMORY_VARIABLE: str(proving.gpu_memory_percent),
    }
    pool: ProverPool
    if proving.pool == "process":
        os.environ.update(environment)
        pool = DirectPool(prove_envelope)
    elif proving.ray_address:
        cluster = join_cluster(proving.ray_address)
        pool = RayPool(prove_envelope, crews_of(proving, cluster.nodes), cluster, environment)
    else:
        crews = crews_of(proving, [NodeSize(usable_cores())])
        pool = RayPool(prove_envelope, crews, environment=environment)
    name = f"prover-{place.index}"
    return ProvingRole(
        ProverRole(place.log, pool, name, now_millis, place.hasher(), policy, place.metrics)
    )


def crews_of(proving: ProvingConfig, nodes: Sequence[NodeSize]) -> list[Crew]:
    """Returns the workers of a machine, or of a cluster of them.

    Segments come all the time and are proven side by side; a recursive proof is what the next level waits for, so it
    has several threads, and few workers prepare the keys of its kinds.

    Args:
        proving: How they are configured.
        nodes: What each machine offers; at least one.
    """
    if proving.backend == "cuda":
        count = proving.workers or max(1, sum(node.gpus for node in nodes))
        return [Crew("gpu", count, 1, frozenset(ProofLevel), gpus=1)]
    segments = frozenset({ProofLevel.SEGMENT})
    threads = min(proving.pyramid_threads, *(node.cores for node in nodes))
    return [
        Crew(
            "segments",
            proving.workers or sum(node.cores for node in nodes),
            1,
            segments,
            partial(prepare_keys, "segment_s"),
        ),
        Crew(
            "pyramid",
            proving.pyramid_workers or sum(node.cores // threads for node in nodes),
            threads,
            frozenset(ProofLevel) - segments,
            partial(prepare_keys, "lift_s", "epoch", "day", WRAP_KIND) if proving.pyramid else None,
            memory_bytes=PYRAMID_MEMORY_BYTES,
        ),
    ]


def pyramid(place: NodePlace) -> Role:
    """Returns what plans recursive proofs and keeps them."""
    return open_pyramid(beacon_place(place), place.data, place.end_window)


def now_millis() -> int:
    """UTC milliseconds."""
    return time.time_ns() // 1_000_000
