"""Compares what an exported epoch takes from other shards with what their exports say they have sent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

from operators.audit_findings import EpochTables, Finding
from operators.export_files import epoch_folder, exported_epochs
from schemas.exports import LINKS_EXPORT

Row = Mapping[str, Any]

WORD = ("place", "sender", "recipient", "amount", "nonce")
"""Columns that are the same at both ends of a link."""


@dataclass(slots=True)
class SentWords:
    """What the exports below a root say was sent, by link; each shard's tables are read once.

    That a shard's table is true is for the audit of that shard to find.

    Attributes:
        root: Holds `epochs/`.
    """

    root: Path
    _read: dict[int, list[tuple[int, Row]]] = field(default_factory=dict)

    def before(self, source: int, destination: int, epoch: int) -> list[Row]:
        """Returns what a shard sent to another before an epoch of it, in order.

        Raises:
            ParameterError: A table of the sending shard cannot be read.
        """
        if source not in self._read:
            self._read[source] = [
                (number, row)
                for _, number in exported_epochs(self.root, source)
                for row in EpochTables(epoch_folder(self.root, source, number)).rows(LINKS_EXPORT)
                if row["direction"] == "sent"
            ]
        return [
            row
            for number, row in self._read[source]
            if number < epoch and row["peer"] == destination
        ]


def check_deliveries(
    links: Sequence[Row], shard: int, epoch: int, sent: SentWords
) -> Iterator[Finding]:
    """Yields where an epoch does not take all of a peer's earlier words that were left, or none.

    Args:
        links: The epoch's recomputed rows of `links`.
        shard: The receiving shard.
        epoch: The epoch.
        sent: What the other shards' exports say.

    Raises:
        ParameterError: A table of a sending shard cannot be read.
    """
    received = sorted(
        (row for row in links if row["direction"] == "received"), key=lambda row: row["peer"]
    )
    for peer, rows in groupby(received, lambda row: int(row["peer"])):
        words = [_word(row) for row in rows]
        due = [_word(row) for row in sent.before(peer, shard, epoch)][words[0][0] :]
        if words == due:
            continue
        where = f"epoch {epoch} from shard {peer}"
        odd = next((word for word in words if word not in due), None)
        if odd is not None:
            yield Finding("deliveries", where, f"word {odd[0]} was not sent before this epoch")
        else:
            yield Finding("deliveries", where, f"{len(words)} of {len(due)} words were taken")


def _word(row: Row) -> tuple[int, ...]:
    return tuple(int(row[name]) for name in WORD)
