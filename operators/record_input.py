"""A record of the log as a stage's input: decoded, or marked with why it could not be."""

from __future__ import annotations

from operators.event_log import StoredRecord
from operators.stage import Input
from schemas.errors import WireError
from schemas.tables import SCHEMA_HEADER, SchemaRegistry, Table

MAX_FINGERPRINT = 64
"""Characters kept of a record's fingerprint; ours have 32."""


def input_of(record: StoredRecord, table: Table, registry: SchemaRegistry) -> Input:
    """Decodes a record as rows of a table; a record of another schema has no batch."""
    fingerprint = record.header(SCHEMA_HEADER).decode("ascii", "replace")[:MAX_FINGERPRINT]
    batch, failure = None, ""
    try:
        batch = registry.decode(table, fingerprint, record.value)
    except WireError as error:
        failure = str(error)
    return Input(
        record.topic,
        record.partition,
        record.offset,
        record.append_millis,
        fingerprint,
        record.value,
        batch,
        failure,
    )
