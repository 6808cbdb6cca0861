"""What the windows stage is given beside final blocks: the transactions that they refer to, read when they do.

The stage takes both topics in any order and gives the same. A driver that reads transactions only as blocks refer to
them holds what one window needs, and not what waits for a block.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from operators.block_payload import decode_payload
from operators.event_log import EventLog, StoredRecord
from operators.held_transactions import HeldTransactions, hold_transactions
from operators.log_schemas import registry_of
from operators.windows import WindowsStage, WindowsState
from schemas.errors import WireError
from schemas.tables import BLOCKS, SCHEMA_HEADER, SchemaRegistry

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

    def __call__(self, state: WindowsState, records: Sequence[StoredRecord]) -> list[StoredRecord]:
        """Returns the transactions that the state lacks."""
        last = max((self._last_reference(record) for record in records), default=-1)
        start = state.store.end
        return self.transactions.read(start, last) if last >= start else []

    def _last_reference(self, record: StoredRecord) -> int:
        fingerprint = record.header(SCHEMA_HEADER).decode("ascii", "replace")
        last = -1
        with suppress(WireError):  # the stage refuses such a record itself
            for row in self.registry.decode(BLOCKS, fingerprint, record.value).to_pylist():
                references = decode_payload(row["payload"]).references
                last = max((last, *(one.offset for one in references)))
        return last


def windows_supply(log: EventLog, stage: WindowsStage) -> WindowsSupply:
    """Opens the transactions of a windows stage."""
    return WindowsSupply(hold_transactions(log, stage.name, stage.shard), registry_of(log))
