"""How a node of the beacon starts: snapshot, final beacon blocks above it, then the log since.

The snapshot is a short cut: without it every certificate and proof is checked again from the first record.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from operators.beacon import BeaconApplication, BeaconBranch, ShardTip
from operators.beacon_evidence import ProofShelf
from operators.beacon_runs import RunRules, RunTip
from operators.consensus_chain import FinalTip, genesis_tip
from operators.equivocations import EquivocationRules, EvidenceShelf, genesis_fraud
from operators.event_log import EventLog, StoredRecord
from operators.final_headers import FinalHeaders
from operators.fraud_rules import FraudRules
from operators.fraud_snapshot import read_fraud, write_fraud
from operators.log_schemas import registry_of
from operators.metrics import NO_METRICS, Metrics
from operators.pyramid_planner import PyramidClock, PyramidPlanner
from operators.snapshot_file import read_snapshot, write_snapshot
from operators.validator import identity_of
from proving.backends.port import Hasher
from proving.ledger.rules import LedgerParameters
from proving.ledger.state import genesis_ledger
from schemas.block import genesis_hash
from schemas.config import ClockConfig, Configuration
from schemas.errors import WireError
from schemas.genesis import Genesis
from schemas.statement import Boundary, read_boundary
from schemas.topics import BEACON_SHARD, FAULTS, PROOFS, shard_topic
from schemas.units import ZERO_WORD
from schemas.validators import validators_word
from schemas.wire import Reader, Writer

SNAPSHOT_VERSION = 3
UNBONDED_VERSION = 2
"""Version of snapshots without a state of fraud; all are of chains without bonds."""

NO_WINDOW = 0xFFFFFFFF

Feeds = Mapping[str, Callable[[StoredRecord], None]]


@dataclass(frozen=True, slots=True)
class BeaconPlace:
    """The beacon that a node works on, and with what.

    Attributes:
        log: The log.
        genesis: The chain.
        configuration: Limits and times.
        hasher: Poseidon2 permutation.
        metrics: Where the node records.
    """

    log: EventLog
    genesis: Genesis
    configuration: Configuration
    hasher: Hasher
    metrics: Metrics = NO_METRICS

    def fetch(self, offset: int) -> StoredRecord | None:
        """Reads a record of `proofs` from the log."""
        found = self.log.read(PROOFS, offset, 1)
        return found[0] if found and found[0].offset == offset else None


@dataclass(slots=True)
class BeaconState:
    """An application with what a restart needs.

    Attributes:
        application: Accepted windows and the evidence for more.
        tip: The beacon block it stands at.
        positions: Where to read each feed from.
        kind: Names the chain in the snapshot file.
    """

    application: BeaconApplication
    tip: FinalTip
    positions: dict[str, int]
    kind: str

    def feeds(self) -> Feeds:
        """Returns the topics of the application and what takes their records."""
        shards = self.application.headers.items()
        return {
            PROOFS: self.application.shelf.take,
            FAULTS: self.application.take_fault,
            **{shard_topic("blocks", shard): headers.take for shard, headers in shards},
        }

    def save(self, path: Path, tip: FinalTip, read: Mapping[str, int]) -> None:
        """Writes a snapshot of the application at its final block; `read` are the reader's positions."""
        application = self.application
        writer = Writer().u8(SNAPSHOT_VERSION).fixed(tip.hash, 32)
        writer.u64(tip.height).u64(tip.slot).u64(tip.view).fixed(application.final.root, 32)
        writer.u64(application.shelf.first_needed()).u32(len(application.final.tips))
        for shard, at in sorted(application.final.tips.items()):
            offsets = application.headers[shard].offsets
            first = min(offsets.values(), default=read[shard_topic("blocks", shard)])
            writer.u32(shard).u64(first).u64(at.height).fixed(at.block_hash, 32)
            writer.u32(NO_WINDOW if at.window < 0 else at.window)
            at.boundary.write(writer)
        application.final.runs.write(writer)
        writer.u64(application.evidence.first_needed())
        write_fraud(writer, application.final.fraud)
        write_snapshot(path, self.kind, writer.finish())


def open_beacon(place: BeaconPlace, snapshot: Path) -> BeaconState:
    """Returns the beacon's application as of its snapshot, or as of the genesis."""
    kind = f"beacon/{place.genesis.chain}"
    saved = read_snapshot(snapshot, kind)
    if saved is not None:
        return _restore(place, kind, saved)
    chain, boundaries = place.genesis.chain, genesis_boundaries(place.genesis, place.hasher)
    tips = {
        shard: ShardTip(0, genesis_hash(chain, shard), -1, boundary)
        for shard, boundary in enumerate(boundaries)
    }
    runs, fraud = RunTip.start(boundaries, place.hasher), genesis_fraud(place.genesis)
    final = BeaconBranch(b"", ZERO_WORD, tips, runs, fraud)
    return _state(place, kind, tip=genesis_tip(chain, BEACON_SHARD), final=final, positions={})


def genesis_boundaries(genesis: Genesis, hasher: Hasher) -> list[Boundary]:
    """Returns where every shard's ledger stands before its first block."""
    parameters = (
        LedgerParameters(genesis.chain, shard, shards=genesis.shards)
        for shard in range(genesis.shards)
    )
    return [genesis_ledger(one, hasher, genesis.issuer_key).boundary() for one in parameters]


def pyramid_clock(genesis: Genesis, clock: ClockConfig) -> PyramidClock:
    """Returns how many windows, epochs and hours the levels of the pyramid have on a chain."""
    return PyramidClock(
        genesis.windows_per_epoch, clock.shard_epochs_per_hour, clock.epochs_per_day
    )


def open_planner(genesis: Genesis, clock: ClockConfig, hasher: Hasher) -> PyramidPlanner:
    """Returns the planner of a chain's pyramid before its first window."""
    return PyramidPlanner.start(
        genesis.chain,
        pyramid_clock(genesis, clock),
        genesis_boundaries(genesis, hasher),
        validators=validators_word(genesis.validator_keys),
        hasher=hasher,
    )


def run_rules(place: BeaconPlace) -> RunRules:
    """Returns what a day of this chain must be."""
    genesis = place.genesis
    return RunRules(
        genesis.chain,
        genesis.shards,
        pyramid_clock(genesis, place.configuration.clock).windows_per_day,
        validators_word(genesis.validator_keys),
        place.hasher,
    )


def equivocation_rules(genesis: Genesis) -> EquivocationRules:
    """Returns who may be punished for what on a chain: every committee's members, the beacon's included."""
    shards = (*range(genesis.shards), BEACON_SHARD)
    identities = {shard: identity_of(genesis, shard, None, None) for shard in shards}
    return EquivocationRules(
        {shard: identity.committee for shard, identity in identities.items()},
        identities[BEACON_SHARD].verifier,
        FraudRules(genesis.fraud_terms),
        genesis.bonds is not None,
    )


def _state(
    place: BeaconPlace,
    kind: str,
    *,
    tip: FinalTip,
    final: BeaconBranch,
    positions: dict[str, int],
) -> BeaconState:
    headers = {}
    for shard, at in final.tips.items():
        identity = identity_of(place.genesis, shard, None, None)
        headers[shard] = FinalHeaders(
            identity.committee,
            identity.verifier,
            at.height,
            at.block_hash,
            registry=registry_of(place.log),
        )
    minimum = place.configuration.proving.minimum_proven_bits
    shelf = ProofShelf(
        place.fetch,
        place.hasher,
        minimum,
        positions.get(PROOFS, 0),
        registry=registry_of(place.log),
    )
    application = BeaconApplication(
        final,
        tip.hash,
        headers,
        shelf,
        place.genesis.window_of,
        run_rules(place),
        place.hasher,
        EvidenceShelf(
            equivocation_rules(place.genesis),
            positions.get(FAULTS, 0),
            registry=registry_of(place.log),
        ),
    )
    return BeaconState(application, tip, positions, kind)


def _restore(place: BeaconPlace, kind: str, data: bytes) -> BeaconState:
    reader = Reader(data, "beacon snapshot")
    version = reader.u8("version")
    if version not in {UNBONDED_VERSION, SNAPSHOT_VERSION}:
        raise WireError("beacon snapshot.version", f"expected {SNAPSHOT_VERSION}")
    tip = FinalTip(
        reader.fixed("hash", 32), reader.u64("height"), reader.u64("slot"), reader.u64("view")
    )
    root = reader.fixed("root", 32)
    positions = {PROOFS: reader.u64("proofs")}
    tips = {}
    for _ in range(reader.u32("shards")):
        shard = reader.u32("shard")
        positions[shard_topic("blocks", shard)] = reader.u64("blocks")
        height, block_hash = reader.u64("height"), reader.fixed("block_hash", 32)
        window = reader.u32("window")
        boundary = read_boundary(reader, "boundary")
        known = -1 if window == NO_WINDOW else window
        tips[shard] = ShardTip(height, block_hash, known, boundary)
    runs, fraud = RunTip.read(reader), genesis_fraud(place.genesis)
    if version == SNAPSHOT_VERSION:
        positions[FAULTS] = reader.u64("faults")
        fraud = read_fraud(reader)
    final = BeaconBranch(b"", root, tips, runs, fraud)
    reader.finish()
    return _state(place, kind, tip=tip, final=final, positions=positions)
