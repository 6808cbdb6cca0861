"""The schemas that writers of a log have announced: how a version reads what a newer one writes.

A schema may gain nullable columns at its end. Who starts processes announces the schemas of its version on the topic
`schemas`; a reader that meets a fingerprint it does not know looks there, once, and leaves out the columns that its own
version lacks. So the processes of a chain can be replaced by newer ones one after another.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from functools import partial

import pyarrow as pa

from operators.event_log import EventLog, Record
from schemas.errors import WireError
from schemas.tables import (
    LOG_TABLES,
    SCHEMA_ENTRIES,
    SCHEMA_HEADER,
    SchemaRegistry,
    Table,
    encode,
)
from schemas.topics import SCHEMAS

READ_RECORDS = 256

MAX_ENTRIES = 10_000
"""Announcements that are looked at; a chain has a dozen per version."""

_logger = logging.getLogger(__name__)


def registry_of(log: EventLog) -> SchemaRegistry:
    """Returns a registry that looks for unknown schemas on a log."""
    return SchemaRegistry(source=partial(announced, log), announced=partial(_end, log))


def _end(log: EventLog) -> int:
    return log.end_offset(SCHEMAS) if SCHEMAS in log.topics() else 0


def announce(log: EventLog, tables: Sequence[Table] = LOG_TABLES) -> int:
    """Announces the schemas of tables that nobody has announced; returns how many those were.

    Two processes at once may announce one twice, which changes nothing.
    """
    known = {fingerprint for fingerprint, _, _ in _entries(log)}
    records = []
    for table in tables:
        if table.fingerprint not in known:
            row = {
                "fingerprint": table.fingerprint,
                "table": table.name,
                "schema": table.schema.serialize().to_pybytes(),
            }
            headers, body = encode(SCHEMA_ENTRIES, SCHEMA_ENTRIES.batch([row]))
            records.append(Record(body, headers, table.fingerprint.encode()))
    if records:
        log.append(SCHEMAS, records)
    return len(records)


def announced(log: EventLog) -> Iterator[tuple[str, pa.Schema]]:
    """Yields table and schema of every announcement that is one."""
    for fingerprint, table, data in _entries(log):
        try:
            schema = pa.ipc.read_schema(pa.py_buffer(data))
        except (pa.ArrowException, OSError) as error:
            _logger.warning("schema %s of %s cannot be read: %s", fingerprint, table, error)
            continue
        yield table, schema


def _entries(log: EventLog) -> Iterator[tuple[str, str, bytes]]:
    if SCHEMAS not in log.topics():
        return
    registry, at, seen = SchemaRegistry(), log.first_offset(SCHEMAS), 0
    while seen < MAX_ENTRIES and (records := log.read(SCHEMAS, at, READ_RECORDS)):
        for record in records:
            fingerprint = record.header(SCHEMA_HEADER).decode("ascii", "replace")
            try:
                batch = registry.decode(SCHEMA_ENTRIES, fingerprint, record.value)
            except WireError:
                continue
            for row in batch.to_pylist():
                yield row["fingerprint"], row["table"], row["schema"]
        at, seen = records[-1].offset + 1, seen + len(records)
