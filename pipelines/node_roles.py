"""The roles of a chain's processes, put together from operators."""

from __future__ import annotations

from dataclasses import dataclass

from operators.admission import Admission
from operators.admission_view import AdmissionView
from operators.chain_observer import ShardObserver
from operators.stage_driver import StageDriver, open_driver
from operators.validator import ShardValidator
from operators.windows import WindowsStage, WindowsState
from pipelines.chain_setup import validator_directory, validator_key
from pipelines.node import NodePlace, Role, Roles
from proving.ledger.state import genesis_ledger
from proving.segment_proofs import segment_layout
from schemas.errors import EnvironmentMissing

STAGES = "stages"
"""Folder of the snapshots of stages, below the data directory."""


@dataclass(slots=True)
class StageRole:
    """A stage under its driver."""

    driver: StageDriver[AdmissionView] | StageDriver[WindowsState]

    def pump(self, now_millis: int) -> bool:
        """See `Role`."""
        return self.driver.run_once(0.0, now_millis) > 0

    def close(self) -> None:
        """See `Role`."""
        self.driver.close()


def admission(place: NodePlace) -> Role:
    """Returns the admission stage of the shard."""
    stage = Admission(place.genesis, 0, place.configuration.admission)
    return StageRole(open_driver(stage, place.log, place.data / STAGES, place.genesis.chain))


def validator(place: NodePlace) -> Role:
    """Returns a validator of the shard and the beacon."""
    directory = validator_directory(place.data, place.index)
    pair = validator_key(place.data, place.index)
    return Roles([ShardValidator(place.shard(), place.index, pair, directory)])


def chain(place: NodePlace) -> Role:
    """Returns what writes final blocks, windows and accepted proofs."""
    shard = place.shard()
    directory = place.data / STAGES
    windows = WindowsStage(
        place.genesis.chain,
        shard.shard,
        place.genesis.window_of,
        lambda: genesis_ledger(shard.parameters(), shard.hasher, place.genesis.issuer_key),
        segment_layout(),
        shard.hasher,
    )
    return Roles(
        [
            ShardObserver(shard, directory),
            StageRole(open_driver(windows, place.log, directory, place.genesis.chain)),
        ]
    )


def prover(place: NodePlace) -> Role:
    """Returns a prover with its pool of workers."""
    raise EnvironmentMissing("not yet")
