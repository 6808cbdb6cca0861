"""Records that nobody should believe: random bytes, foreign schemas, and well-formed rows of nonsense."""

from __future__ import annotations

import random
from typing import Any

import pyarrow as pa

from operators.event_log import EventLog, Record
from schemas.tables import (
    ADMITTED,
    BLOCKS,
    CONSENSUS,
    JOBS,
    PROOFS,
    RECEIPTS,
    REJECTED,
    SCHEMA_HEADER,
    TRANSACTIONS,
    WINDOWS,
    Table,
    encode,
)
from schemas.topics import all_topics

TABLES: dict[str, Table] = {
    "tx": TRANSACTIONS,
    "admitted": ADMITTED,
    "rejected": REJECTED,
    "proposals": CONSENSUS,
    "votes": CONSENSUS,
    "certificates": CONSENSUS,
    "beacon": CONSENSUS,
    "blocks": BLOCKS,
    "windows": WINDOWS,
    "jobs": JOBS,
    "proofs": PROOFS,
    "receipts": RECEIPTS,
}
TRUSTED = ("admitted", "windows", "receipts", "rejected")
"""Written by one stage each; nonsense rows there are that stage's own and are not tried."""


def poison(log: EventLog, seed: int, *, rows: bool = True) -> int:
    """Appends poison to every topic of a log with one shard; returns the number of records on `tx.0`."""
    rng = random.Random(seed)  # noqa: S311 - reproducible
    on_tx = 0
    for topic in all_topics(1):
        stem = topic.partition(".")[0]
        records = [Record(rng.randbytes(200)), Record(b"", ((SCHEMA_HEADER, b"f" * 32),))]
        table = TABLES.get(stem)
        if table is not None:
            fingerprint = ((SCHEMA_HEADER, table.fingerprint.encode()),)
            records.append(Record(rng.randbytes(300), fingerprint))
            if rows and stem not in TRUSTED:
                headers, body = encode(
                    table, table.batch([_nonsense(table, rng) for _ in range(3)])
                )
                records.append(Record(body, headers))
        log.append(topic, records)
        on_tx += len(records) if stem == "tx" else 0
    return on_tx


def _nonsense(table: Table, rng: random.Random) -> dict[str, Any]:
    values = {field.name: _value(field, rng) for field in table.schema}
    if table is JOBS:
        values["event"] = rng.choice(["planned", "accepted", "proved", "leased"])
    if table is PROOFS:
        values |= {"level": "segment", "shard": 0, "window": rng.randrange(5), "segment": 0}
    return values


def _value(field: pa.Field, rng: random.Random) -> Any:
    kind = field.type
    if pa.types.is_fixed_size_binary(kind):
        return rng.randbytes(kind.byte_width)
    if pa.types.is_binary(kind):
        return rng.randbytes(rng.randrange(80))
    if pa.types.is_string(kind):
        return rng.choice(["", "nonsense", "proved"])
    if pa.types.is_list(kind):
        return [rng.randrange(9)]
    if pa.types.is_floating(kind):
        return rng.random() * 200
    return rng.choice([-1, 0, 1, rng.randrange(2**31)])
