"""A validator: one process that votes in its shard and on the beacon.

Its vote journals and snapshots live in its own directory. After a kill at any instruction it starts from them and
from the log, and never contradicts what it has signed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from operators.application import Application
from operators.consensus import Simplex
from operators.consensus_chain import FinalTip
from operators.consensus_keys import CommitteeVerifier, ValidatorSigner
from operators.consensus_node import (
    ConsensusNode,
    FinalBlock,
    FinalSink,
    NodeIdentity,
    NoSigner,
    message_topics,
)
from operators.consensus_ports import ConsensusConfig
from operators.consensus_votes import Committee
from operators.event_log import EventLog, StoredRecord
from operators.final_history import replay, shard_blocks
from operators.metrics import NO_METRICS, Metrics
from operators.shard_start import (
    FIRST_EPOCH,
    ShardFeeds,
    ShardPlace,
    ShardState,
    open_shard,
    start_position,
)
from operators.vote_journal import VoteJournal
from proving.signatures import KeyPair
from schemas.block import Block, Certificate, ValidatorSet
from schemas.config import Configuration
from schemas.genesis import Genesis
from schemas.metrics import MEMPOOL_TRANSACTIONS

SNAPSHOT_BLOCKS = 32
"""Final blocks between two snapshots."""

OBSERVER_LOOKAHEAD = 1024
"""Views ahead of its own for which an observer keeps votes and proposals; more than one read can hold."""

Feeds = Mapping[str, Callable[[StoredRecord], None]]


def core_config(configuration: Configuration) -> ConsensusConfig:
    """Returns the times of the core from the configuration."""
    consensus = configuration.consensus
    return ConsensusConfig(
        view_timeout_millis=consensus.view_timeout_millis,
        max_timeout_millis=consensus.max_timeout_millis,
        block_interval_millis=configuration.admission.min_block_interval_millis,
    )


def observer_config(configuration: Configuration) -> ConsensusConfig:
    """Returns the same for a node without a vote, which cannot ask for what it has dropped."""
    return replace(core_config(configuration), view_lookahead=OBSERVER_LOOKAHEAD)


def identity_of(
    genesis: Genesis, shard: int, index: int | None, pair: KeyPair | None
) -> NodeIdentity:
    """Returns who a node is in the committee of a shard or of the beacon; an observer has no key pair."""
    validators = ValidatorSet(genesis.validator_keys)
    committee = Committee(genesis.chain, shard, FIRST_EPOCH, validators)
    signer = NoSigner() if pair is None else ValidatorSigner(pair)
    return NodeIdentity(committee, index, signer, CommitteeVerifier(validators))


@dataclass(frozen=True, slots=True)
class NodeParts:
    """What a node is put together from.

    Attributes:
        log: The log.
        identity: Who it is.
        topics: Topic of each kind of message.
        application: What it replicates, standing at `tip`.
        feeds: Topics of the application and what takes their records.
        positions: Where to begin on each topic; message topics that are not named begin a little before
            their end, feeds at their first record.
        reader: Name of its reader.
        metrics: Where it records.
    """

    log: EventLog
    identity: NodeIdentity
    topics: Mapping[str, str]
    application: Application
    feeds: Feeds
    positions: Mapping[str, int]
    reader: str
    metrics: Metrics = NO_METRICS


def start_node(
    parts: NodeParts,
    *,
    tip: FinalTip,
    recent: Sequence[FinalBlock],
    journal: VoteJournal | None,
    config: ConsensusConfig,
    slot_at: Callable[[int], int],
    on_final: FinalSink,
) -> ConsensusNode:
    """Puts a node together above a final block."""
    message = dict.fromkeys(parts.topics.values())
    reader = parts.log.reader(parts.reader, [*parts.feeds, *message])
    for topic in parts.feeds:
        reader.seek(topic, 0, parts.positions.get(topic, 0))
    for topic in message:
        reader.seek(topic, 0, start_position(parts.log, parts.positions, topic))
    core = Simplex(
        parts.identity.committee,
        parts.identity.own_index,
        parts.identity.signer,
        parts.identity.verifier,
        config=config,
        tip=tip,
        journal=() if journal is None else journal.records,
        floor=0 if journal is None else journal.floor,
        recent=recent,
    )
    return ConsensusNode(
        parts.log,
        reader,
        parts.topics,
        parts.identity,
        core,
        parts.application,
        journal,
        slot_at,
        parts.feeds,
        on_final,
        metrics=parts.metrics,
    )


class ShardValidator:
    """The part of a validator that votes in its shard.

    Attributes:
        node: The running node.
        state: Application and what a restart needs.
    """

    def __init__(self, place: ShardPlace, index: int, pair: KeyPair, directory: Path) -> None:
        """Starts from the directory and the log.

        Raises:
            JournalError: The journal is another validator's, damaged, or in use.
            InvariantError: A final block on the log does not execute.
        """
        shard = place.shard
        self._shard = shard
        self._snapshot = directory / f"shard-{shard}.snapshot"
        self.state: ShardState = open_shard(place, self._snapshot)
        identity = identity_of(place.genesis, shard, index, pair)
        application = self.state.application
        config = core_config(place.configuration)
        blocks = shard_blocks(place.log, shard)
        tip, recent = replay(application, identity, self.state.tip, blocks, config.retained_blocks)
        directory.mkdir(parents=True, exist_ok=True)
        journal = VoteJournal(
            directory / f"shard-{shard}.journal",
            identity.committee.journal_identity(index),
            must_exist=self._snapshot.exists(),
        )
        reader = f"validator-{index}/shard-{shard}"
        self._feeds = ShardFeeds(application, shard, place.log, reader)
        parts = NodeParts(
            place.log,
            identity,
            message_topics(shard),
            application,
            self._feeds.topics,
            self.state.positions,
            reader,
            place.metrics,
        )
        self.node = start_node(
            parts,
            tip=tip,
            recent=recent,
            journal=journal,
            config=config,
            slot_at=place.genesis.slot_at,
            on_final=self._on_final,
        )
        self._since_snapshot = 0

    def pump(self, now_millis: int) -> bool:
        """See `ConsensusNode.pump`; writes a snapshot now and then."""
        is_busy = self.node.pump(now_millis)
        if self._since_snapshot >= SNAPSHOT_BLOCKS:
            self.save()
        return is_busy

    def save(self) -> None:
        """Writes a snapshot and compacts the journal below it."""
        core = self.node.core
        positions = self._feeds.positions(self.node.reader.positions())
        self.state.save(self._snapshot, core.tip, positions)
        if self.node.journal is not None:
            floor = max(core.tip.view, self.node.journal.floor)  # a restored one begins above
            self.node.journal.compact(floor, core.durable_records())
        self._since_snapshot = 0

    def next_tick(self) -> int | None:
        """See `ConsensusNode.next_tick`."""
        return self.node.next_tick()

    def measure(self) -> None:
        """Records where it stands and what waits."""
        self.node.measure()
        waiting = len(self.state.application.mempool.candidates)
        self.node.metrics.set(MEMPOOL_TRANSACTIONS, waiting, str(self._shard))

    def close(self) -> None:
        """Drains: writes a snapshot if anything is new, and gives the journal back."""
        if self._since_snapshot:
            self.save()
        self.node.close()

    def _on_final(self, block: Block, certificate: Certificate, at_millis: int) -> None:
        self._since_snapshot += 1
        self.state.application.take_dropped()
