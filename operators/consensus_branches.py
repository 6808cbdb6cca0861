"""Which block a view may be built on: the justification rule of Simplex, for leaders and for voters."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from operators.application import BlockContent
from operators.consensus_chain import BlockTree, FinalTip
from operators.consensus_votes import Committee, ViewRecord
from schemas.block import BlockHeader


def is_justified(
    view: int, header: BlockHeader, tree: BlockTree, records: Mapping[int, ViewRecord]
) -> bool:
    """Says whether the parent is certified and every view between it and `view` is nullified."""
    for between in range(view - 1, header.parent_view, -1):
        record = records.get(between)
        if record is None or not record.is_nullified:
            return False
    if (header.parent_view, header.parent_hash) == (tree.tip.view, tree.tip.hash):
        return True
    parent = records.get(header.parent_view)
    return parent is not None and parent.certified_hash == header.parent_hash


def best_parent(view: int, tree: BlockTree, records: Mapping[int, ViewRecord]) -> FinalTip | None:
    """Returns the certified block to build on, or None when a view below is open or the block is not held."""
    for below in range(view - 1, tree.tip.view, -1):
        record = records.get(below)
        if record is None:
            return None
        if record.certified_hash is not None:
            return tree.place_of(record.certified_hash)
        if not record.is_nullified:
            return None
    return tree.tip


def highest_certified(top: int, tree: BlockTree, records: Mapping[int, ViewRecord]) -> bytes | None:
    """Returns the hash certified in the highest view up to `top` above the tip, or None."""
    for view in range(top, tree.tip.view, -1):
        record = records.get(view)
        if record is not None and record.certified_hash is not None:
            return record.certified_hash
    return None


def header_of(
    committee: Committee, view: int, parent: FinalTip, slot: int, content: BlockContent
) -> BlockHeader:
    """Returns the header of a new block of the view's leader."""
    return BlockHeader(
        chain=committee.chain,
        shard=committee.shard,
        epoch=committee.epoch,
        height=parent.height + 1,
        slot=slot,
        view=view,
        parent_view=parent.view,
        parent_hash=parent.hash,
        payload_hash=hashlib.sha256(content.payload).digest(),
        post_state_root=content.post_state_root,
        transactions_root=content.transactions_root,
        transaction_count=content.count,
        proposer=committee.leader(view),
    )
