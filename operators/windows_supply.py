"""What the windows stage is given beside final blocks: the transactions that they refer to, read when they do.

The stage takes both topics in any order and gives the same. A driver that reads transactions only as blocks refer to
them holds what one window needs, and not what waits for a block.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from operators.block_payload import decode_payload
from operators.event_log import EventLog, StoredRecord
from operators.held_transactions import HeldTransactions, hold_transactions
from operators.log_schemas import registry_of
from operators.metrics import NO_METRICS, Metrics
from operators.stage_driver import StageDriver, open_driver
from operators.windows import WindowsStage, WindowsState
from schemas.errors import WireError
from schemas.tables import BLOCKS, SCHEMA_HEADER, SchemaRegistry
from schemas.topics import shard_topic

BLOCK_RECORDS = 16
"""Records of blocks per step, each of one block: what they refer to is in memory at once."""


@dataclass(frozen=True, slots=True)
class WindowsSupply:
    """Reads transactions up to the last one that blocks refer to; a `StageDriver.supply`.

    Attributes:
        transactions: The transactions of the shard.
        registry: The schemas of blocks that can be read.
    """

    transactions: HeldTransactions
    registry: SchemaRegistry

    def __call__(
        self, state: WindowsState, records: Sequence[StoredRecord], is_new: bool
    ) -> list[list[StoredRecord]]:
        """Returns the transactions that the state lacks, and after them the records: one step."""
        last = max((self._last_reference(record) for record in records), default=-1)
        start = state.store.end
        return [[*(self.transactions.read(start, last) if last >= start else []), *records]]

    def _last_reference(self, record: StoredRecord) -> int:
        fingerprint = record.header(SCHEMA_HEADER).decode("ascii", "replace")
        last = -1
        rows: list[dict[str, Any]] = []
        with suppress(WireError):  # the stage refuses such a record itself
            rows = self.registry.decode(BLOCKS, fingerprint, record.value).to_pylist()
        for row in rows:
            with suppress(WireError):  # and such a row, but takes those behind it
                references = decode_payload(row["payload"]).references
                last = max((last, *(one.offset for one in references)))
        return last


def windows_supply(log: EventLog, stage: WindowsStage) -> WindowsSupply:
    """Opens the transactions of a windows stage."""
    return WindowsSupply(hold_transactions(log, stage.name, stage.shard), registry_of(log))


def open_windows(
    stage: WindowsStage, log: EventLog, directory: Path, metrics: Metrics = NO_METRICS
) -> StageDriver[WindowsState]:
    """Starts a windows stage where its last commit ends.

    Args:
        stage: The stage.
        log: The log.
        directory: Where its snapshot is.
        metrics: Where it records.

    Raises:
        ParameterError: One of its topics does not exist.
    """
    chain, topics = stage.committee.chain, [shard_topic("blocks", stage.shard)]
    supply = windows_supply(log, stage)
    return open_driver(stage, log, directory, chain, metrics, supply, topics, BLOCK_RECORDS)
