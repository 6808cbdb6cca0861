"""Retention of consensus messages: what an export with all its proofs holds is removed from the log.

Proposals, votes and certificates make up most of a log, and only votes are evidence that anybody asks for later: an epoch's
export has them. So once an epoch of a shard and all before it are exported and proven, the messages of its views go. Blocks,
transactions, jobs and proofs stay: every start and every export reads them from the first record on. So do the last
records of each topic, which nodes read again when they start.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from operators.consensus_node import NodeIdentity
from operators.event_log import EventLog
from operators.export_files import (
    MANIFEST,
    epoch_folder,
    exported_epochs,
    is_whole,
    read_manifest,
    read_table,
    sha256_of,
)
from operators.log_schemas import registry_of
from operators.record_input import input_of
from operators.safe_floor import signatures_in
from operators.shard_start import MESSAGE_REWIND
from schemas.errors import ParameterError
from schemas.exports import EXPORTS
from schemas.tables import BLOCKS, CONSENSUS
from schemas.topics import shard_topic

STEMS = ("proposals", "votes", "certificates")
"""Topics of a shard that messages go to; the beacon's have its final blocks among them and stay whole."""

KEPT_RECORDS = 2 * MESSAGE_REWIND
"""Last records of each topic that stay: twice what a node reads again that has no snapshot."""

READ_RECORDS = 512


@dataclass(frozen=True, slots=True)
class Removed:
    """What was removed of a shard's messages, or would be.

    Attributes:
        shard: Shard.
        epoch: Last epoch that is exported and proven with all before it; -1 for none.
        first_kept: Offset of the first record that stays, by topic.
        records: Offsets given up, by topic; a log's own markers counted.
    """

    shard: int
    epoch: int
    first_kept: Mapping[str, int]
    records: Mapping[str, int]


def remove_messages(
    log: EventLog,
    root: Path,
    identity: NodeIdentity,
    *,
    kept_records: int = KEPT_RECORDS,
    is_dry: bool = False,
) -> Removed:
    """Removes the messages of a shard's finished epochs from the log.

    Args:
        log: The log.
        root: Export that holds the epochs; every file of theirs is hashed.
        identity: Committee of the shard.
        kept_records: Last records of each topic that stay.
        is_dry: Whether only to look.

    Raises:
        LogError: The log refuses.
    """
    shard = identity.committee.shard
    epoch, view = finished_epoch(root, shard)
    first_kept, records = {}, {}
    for topic in (shard_topic(stem, shard) for stem in STEMS):
        first = log.first_offset(topic)
        cut = first if epoch < 0 else _cut(log, topic, view, identity, kept_records)
        first_kept[topic], records[topic] = cut, max(0, cut - first)
        if cut > first and not is_dry:
            log.retain(topic, cut)
    return Removed(shard, epoch, first_kept, records)


def finished_epoch(root: Path, shard: int) -> tuple[int, int]:
    """Returns the last epoch that is exported whole and with all its proofs, like all before it, and its last view.

    (-1, 0) if there is none.
    """
    last, previous = (-1, 0), None
    for _, epoch in exported_epochs(root, shard):
        folder = epoch_folder(root, shard, epoch)
        try:
            manifest = read_manifest(folder)
        except ParameterError:
            break
        if manifest.previous != previous or not manifest.complete or not is_whole(folder, manifest):
            break
        views: list[int] = read_table(folder, _BLOCKS).column("view").to_pylist()
        last, previous = (epoch, max(views)), sha256_of(folder / MANIFEST)
    return last


_BLOCKS = next(table for table in EXPORTS if table.name == BLOCKS.name)


def _cut(log: EventLog, topic: str, view: int, identity: NodeIdentity, kept_records: int) -> int:
    """Returns the offset of the first record with a good signature on a later view, or where the kept ones begin."""
    at = log.first_offset(topic)
    limit = max(at, log.end_offset(topic) - kept_records)
    registry = registry_of(log)
    while at < limit and (records := log.read(topic, at, READ_RECORDS)):
        for record in records:
            if record.offset >= limit:
                return limit
            batch = input_of(record, CONSENSUS, registry).batch
            messages: list[bytes] = [] if batch is None else batch.column("message").to_pylist()
            if any(_is_later(message, view, identity) for message in messages):
                return record.offset
        at = records[-1].offset + 1
    return min(at, limit)


def _is_later(message: bytes, view: int, identity: NodeIdentity) -> bool:
    found = signatures_in(message, identity.committee, 0)
    claims = [(one.signer, one.message, one.signature) for one in found if one.view > view]
    return bool(claims) and any(identity.verifier.verify_many(claims))
