"""How a node of a shard starts: snapshot, final blocks above it, then the messages since.

The snapshot is a short cut: without it everything is read from the first record, and the same state results.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from operators.consensus_chain import FinalTip, genesis_tip
from operators.consensus_keys import CommitteeVerifier
from operators.consensus_votes import Committee
from operators.event_log import EventLog, Place, StoredRecord
from operators.held_transactions import hold_transactions, read_transactions
from operators.log_schemas import registry_of
from operators.mempool import Mempool
from operators.metrics import NO_METRICS, Metrics
from operators.peer_links import (
    PeerLinks,
    first_needed,
    link_feeds,
    peer_link,
    read_links,
)
from operators.record_input import input_of
from operators.shard_application import Branch, ShardApplication
from operators.snapshot_file import read_snapshot, write_snapshot
from operators.stage import Input
from proving.backends.port import Hasher
from proving.ledger.rules import LedgerParameters
from proving.ledger.state import genesis_ledger, restore_ledger
from proving.signatures import SignatureBackend
from schemas.block import ValidatorSet
from schemas.config import Configuration
from schemas.errors import WireError
from schemas.genesis import Genesis
from schemas.tables import ADMITTED
from schemas.topics import shard_topic
from schemas.wire import Reader, Writer

MESSAGE_REWIND = 4096
"""Records of each message topic that a node without a snapshot reads again."""

FIRST_EPOCH = 0
"""Epoch of the genesis validator set; sets do not change yet."""

SNAPSHOT_VERSION = 2
MAX_SNAPSHOT_BYTES = 2**31
NO_WINDOW = 0xFFFFFFFF


def ledger_parameters(
    genesis: Genesis, shard: int, configuration: Configuration
) -> LedgerParameters:
    """Returns the constants of a shard's ledger."""
    fee = configuration.admission.min_fee_micros
    return LedgerParameters(genesis.chain, shard, fee, genesis.shards)


@dataclass(frozen=True, slots=True)
class ShardPlace:
    """Which ledger a node works on, and with what.

    Attributes:
        log: The log.
        genesis: The chain.
        shard: Shard number.
        configuration: Limits and times.
        hasher: Poseidon2 permutation.
        signatures: Signature backend; the default one if None.
        metrics: Where the node records.
    """

    log: EventLog
    genesis: Genesis
    shard: int
    configuration: Configuration
    hasher: Hasher
    signatures: SignatureBackend | None = None
    metrics: Metrics = NO_METRICS

    def parameters(self) -> LedgerParameters:
        """Returns the constants of the shard's ledger."""
        return ledger_parameters(self.genesis, self.shard, self.configuration)

    def fetch(self, offset: int) -> Input | None:
        """Reads a record of `tx.<shard>` from the log."""
        return read_transactions(self.log, self.shard, offset)


@dataclass(slots=True)
class ShardState:
    """An application with what a restart needs.

    Attributes:
        application: The ledger and what waits.
        tip: The block it stands at.
        positions: Where to read each topic from.
        kind: Names chain and shard in the snapshot file.
    """

    application: ShardApplication
    tip: FinalTip
    positions: dict[str, int]
    kind: str
    _older: Mapping[str, int] = field(default_factory=dict)

    def save(self, path: Path, tip: FinalTip, positions: Mapping[str, int]) -> None:
        """Writes a snapshot of the application at its final block.

        Message topics are restored to where the snapshot before was taken, so that nothing said about blocks
        that are not final yet is missed.
        """
        application = self.application
        first, first_verdict = application.mempool.forget_settled()
        kept = dict(positions) | dict(self._older)
        kept |= first_needed(application.links, positions)
        self._older = {name: at for name, at in positions.items() if _is_message_topic(name)}
        for name in kept:
            if name.startswith("tx."):
                kept[name] = first
            elif name.startswith("admitted.") and first_verdict >= 0:
                kept[name] = min(first_verdict, positions[name])
        write_snapshot(path, self.kind, _encode(application, tip, kept))


def _is_message_topic(name: str) -> bool:
    return name.startswith(("proposals.", "votes.", "certificates."))


def open_shard(place: ShardPlace, snapshot: Path | None) -> ShardState:
    """Returns the application of a shard as of its snapshot, or as of the genesis."""
    kind = f"shard/{place.genesis.chain}/{place.shard}"
    saved = None if snapshot is None else read_snapshot(snapshot, kind)
    if saved is not None:
        return _restore(place, kind, saved)
    ledger = genesis_ledger(place.parameters(), place.hasher, place.genesis.issuer_key)
    tip = genesis_tip(place.genesis.chain, place.shard)
    application = _application(place, tip.hash, Branch(ledger, b"", (), -1))
    positions: dict[str, int] = {}
    read_links(place.log, application.links, positions)
    return ShardState(application, tip, positions, kind)


def start_position(log: EventLog, positions: Mapping[str, int], topic: str) -> int:
    """Returns where a node begins to read a message topic."""
    if topic in positions:
        return positions[topic]
    return max(0, log.end_offset(topic) - MESSAGE_REWIND)


class ShardFeeds:
    """Turns records of `admitted.<shard>` and what they speak of into what waits, other shards' blocks into links.

    Attributes:
        topics: Topics that a node reads for the application, and what takes their records.
    """

    def __init__(
        self, application: ShardApplication, shard: int, log: EventLog, owner: str
    ) -> None:
        """Opens the transactions of the shard under the name of the node's reader, `owner`."""
        self._application = application
        self._registry = registry_of(log)
        self._shard = shard
        application.mempool.read_up_to = hold_transactions(log, owner, shard).inputs
        self.topics = {
            shard_topic("admitted", shard): self._take_verdicts,
            **link_feeds(application.links),
        }

    def positions(self, positions: Mapping[Place, int]) -> dict[str, int]:
        """Returns where the node's reader stands, by topic, with the transactions that came with verdicts."""
        end = self._application.mempool.store.end
        own = {topic: at for (topic, _), at in positions.items()}
        return {**own, shard_topic("tx", self._shard): end}

    def _take_verdicts(self, record: StoredRecord) -> None:
        mempool = self._application.mempool
        known = len(mempool.candidates)
        mempool.take_verdicts(input_of(record, ADMITTED, self._registry))
        self._application.verify_waiting(list(mempool.candidates)[known:])


def _application(place: ShardPlace, final_hash: bytes, final: Branch) -> ShardApplication:
    return ShardApplication(
        place.genesis,
        Mempool(place.fetch),
        final,
        final_hash,
        place.configuration.admission.max_transactions_per_block,
        place.signatures,
        _links(place),
    )


def _links(place: ShardPlace) -> PeerLinks:
    genesis = place.genesis
    validators = ValidatorSet(genesis.validator_keys)
    verifier = CommitteeVerifier(validators)
    return {
        peer: peer_link(
            Committee(genesis.chain, peer, FIRST_EPOCH, validators),
            verifier,
            place.shard,
            place.hasher,
            lambda slot: genesis.epoch_of(genesis.window_of(slot)),
            registry=registry_of(place.log),
        )
        for peer in range(genesis.shards)
        if peer != place.shard
    }


def _encode(application: ShardApplication, tip: FinalTip, positions: Mapping[str, int]) -> bytes:
    writer = Writer().u8(SNAPSHOT_VERSION).fixed(tip.hash, 32)
    writer.u64(tip.height).u64(tip.slot).u64(tip.view)
    window = application.final.last_user_window
    writer.u32(NO_WINDOW if window < 0 else window)
    writer.u32(len(positions))
    for name, offset in sorted(positions.items()):
        writer.sized(name.encode()).u64(offset)
    by_offset = application.mempool.settled
    settled = sorted((at, row) for at, rows in by_offset.items() for row in rows)
    writer.u32(len(settled))
    for offset, row in settled:
        writer.u64(offset).u32(row)
    writer.u32(len(application.final.open_peers))
    for peer in sorted(application.final.open_peers):
        writer.u16(peer)
    for _, link in sorted(application.links.items()):
        link.write(writer)
    return writer.sized(application.final.ledger.snapshot()).finish()


def _restore(place: ShardPlace, kind: str, data: bytes) -> ShardState:
    reader = Reader(data, "shard snapshot")
    if reader.u8("version") != SNAPSHOT_VERSION:
        raise WireError("shard snapshot.version", f"expected {SNAPSHOT_VERSION}")
    tip = FinalTip(
        reader.fixed("hash", 32), reader.u64("height"), reader.u64("slot"), reader.u64("view")
    )
    window = reader.u32("last_user_window")
    positions = {
        reader.sized("topic", 256).decode(): reader.u64("offset")
        for _ in range(reader.u32("positions"))
    }
    settled: dict[int, set[int]] = {}
    for _ in range(reader.u32("settled")):
        settled.setdefault(reader.u64("offset"), set()).add(reader.u32("row"))
    open_peers = frozenset(reader.u16("open_peer") for _ in range(reader.u32("open_peers")))
    links = _links(place)
    for _, link in sorted(links.items()):
        link.read(reader)
    ledger = restore_ledger(reader.sized("ledger", MAX_SNAPSHOT_BYTES), place.hasher)
    reader.finish()
    last = -1 if window == NO_WINDOW else window
    application = _application(place, tip.hash, Branch(ledger, b"", (), last, (), open_peers))
    application.links = links
    read_links(place.log, links, positions)
    application.mempool.settled = settled
    application.mempool.store.end = positions.get(shard_topic("tx", place.shard), 0)
    return ShardState(application, tip, positions, kind)
