"""What a stage is: a pure step from state and records to state and outputs.

A stage never sees a log, a clock or a random source; drivers do the input and output. The same stage runs
under the loop driver, in a Beam DoFn, or twice in a test that kills it in between.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import pyarrow as pa

from schemas.tables import Table

S = TypeVar("S")


@dataclass(frozen=True, slots=True)
class Input:
    """One record as a stage sees it, decoded by the driver or marked as undecodable.

    Attributes:
        topic: Topic it came from.
        partition: Partition it came from.
        offset: Its offset; rises by any positive step within a partition.
        append_millis: When the log stored it, UTC milliseconds; the only time a replayed stage may use.
        fingerprint: The writer's schema fingerprint, as found in the header.
        value: Original bytes.
        batch: The decoded batch, or None when it could not be decoded.
        failure: Why it could not be decoded, or an empty string.
    """

    topic: str
    partition: int
    offset: int
    append_millis: int
    fingerprint: str
    value: bytes
    batch: pa.RecordBatch | None
    failure: str = ""


@dataclass(frozen=True, slots=True)
class Output:
    """Rows that a stage appends to a topic.

    Attributes:
        topic: Topic to append to.
        table: Schema of the rows.
        rows: One dictionary per row; becomes one record.
        key: Record key.
    """

    topic: str
    table: Table
    rows: Sequence[Mapping[str, Any]]
    key: bytes = b""


class Stage(Protocol[S]):
    """A deterministic state machine over records.

    The state after a list of inputs depends on the inputs alone, not on how they were cut into batches nor
    on `now_millis`; only outputs may use `now_millis`. So restart = snapshot + replay with outputs dropped.
    """

    @property
    def name(self) -> str:
        """Name of the stage and of its consumer on the log."""
        ...

    @property
    def inputs(self) -> Mapping[str, Table]:
        """Topics it reads and the table each holds."""
        ...

    def initial(self) -> S:
        """Returns the state before any record."""
        ...

    def step(self, state: S, batch: Sequence[Input], now_millis: int) -> tuple[S, list[Output]]:
        """Consumes records in log order; may mutate and return the same state object."""
        ...

    def snapshot(self, state: S) -> bytes:
        """Returns canonical bytes of the state."""
        ...

    def restore(self, snapshot: bytes) -> S:
        """Inverse of `snapshot`.

        Raises:
            WireError: The bytes are not a snapshot of this stage.
        """
        ...
