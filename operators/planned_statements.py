"""What the recursive proofs of a chain may say, from an export alone.

A proof shows that a statement is true, and not that it is about this chain: anybody can prove a history of his own.
What this chain's proofs say follows from the segments that the beacon has accepted, as the pyramid's planner makes it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from itertools import takewhile
from pathlib import Path
from typing import Any

from operators.export_files import epoch_folder, exported_epochs, read_table
from operators.pyramid_planner import PyramidPlanner, links_of_row
from operators.pyramid_tree import Node, Segment, lift_nodes
from proving.kinds import kind_numbered
from proving.recursion.pyramid_work import said_digest
from proving.stark.encoding import HEADER_BYTES, read_header
from schemas.errors import EclipticaError
from schemas.exports import PROOFS_EXPORT
from schemas.genesis import Genesis
from schemas.statement import decode_statement
from schemas.tables import WINDOWS

PlannedStatements = frozenset[tuple[str, bytes]]
"""Level and digest of what a proof may say."""


def planned_statements(root: Path, genesis: Genesis, planner: PyramidPlanner) -> PlannedStatements:
    """Returns every statement that the pyramid plans over the exported epochs.

    A shard counts up to its first epoch that is not exported or not wholly proven; statements about all shards are
    there as far as every shard is. An export that contradicts itself leads no further: the audit names why.

    Args:
        root: Data directory or export.
        genesis: The chain.
        planner: Of the chain, before its first window.
    """
    found: set[tuple[str, bytes]] = set()
    with suppress(EclipticaError):
        for tree in _trees(root, genesis, planner):
            for node in tree.nodes():
                found.add((node.level.value, said_digest(node.said, planner.hasher)))
    return frozenset(found)


def _trees(root: Path, genesis: Genesis, planner: PyramidPlanner) -> Iterator[Node]:
    for shard in range(genesis.shards):
        yield from _read_shard(root, genesis, planner, shard)
    yield from planner.plan()


def _read_shard(
    root: Path, genesis: Genesis, planner: PyramidPlanner, shard: int
) -> Iterator[Node]:
    """Tells a planner about a shard's accepted windows; yields the lift of its first segment.

    That of one shard, which the beacon accepted first, fills epochs without a block; an export does not say of which.
    """
    epochs = [epoch for _, epoch in exported_epochs(root, shard)]
    whole = takewhile(lambda place: place[0] == place[1], enumerate(epochs))
    is_first = True
    for epoch, _ in whole:
        folder = epoch_folder(root, shard, epoch)
        proofs = read_table(folder, PROOFS_EXPORT).to_pylist()
        for window in sorted(
            read_table(folder, WINDOWS).to_pylist(), key=lambda row: row["window"]
        ):
            segments = _segments(root, proofs, window["window"])
            if not segments or len(segments) != window["segments"]:
                return
            links = links_of_row(window, genesis.shards)
            if links is not None:
                planner.see_links(shard, window["window"], links)
            planner.accept(segments)
            if is_first:
                yield from lift_nodes(segments[:1], planner.hasher)
                is_first = False
        planner.reach(shard, (epoch + 1) * genesis.windows_per_epoch)


def _segments(root: Path, proofs: list[dict[str, Any]], window: int) -> list[Segment]:
    mine = [row for row in proofs if row["accepted"] and row["window"] == window]
    return [
        Segment(decode_statement(row["statement"]), _kind_of(root / row["path"]))
        for row in sorted(mine, key=lambda row: row["segment"])
    ]


def _kind_of(path: Path) -> str:
    """Returns the kind that a proof file names.

    Raises:
        EclipticaError: It is no proof, or not there.
    """
    try:
        with path.open("rb") as stream:
            return kind_numbered(read_header(stream.read(HEADER_BYTES)).kind).name
    except OSError as error:
        raise EclipticaError(f"{path}: {error.strerror}") from error
