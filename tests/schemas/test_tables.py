from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import ParameterError, WireError
from schemas.tables import (
    ADMITTED,
    LOG_TABLES,
    SCHEMA_HEADER,
    TRANSACTIONS,
    SchemaRegistry,
    check_evolution,
    encode,
    fingerprint_of,
)

ROW = {"body": b"b", "signature": b"s", "submitted_millis": 5}
WIDER = TRANSACTIONS.schema.append(pa.field("memo", pa.string()))


def test_fingerprints_are_pinned_because_logs_outlive_versions() -> None:
    assert {table.name: table.fingerprint for table in LOG_TABLES} == {
        "transactions": "63a583d75d09d095f6c2206ac5660686",
        "admitted": "53a46cad042f3c7533bdbbb4d46d570f",
        "rejected": "8ed84502f570c05d50b226eca2478e44",
        "consensus": "63a6855470c88d93d1f995611cb4e593",
        "blocks": "8a60efd6d35cf75ff2dd96327455f6ef",
        "windows": "46f72bdf56eb4ecfa6cd3289ed421073",
        "jobs": "32ab8ddac438379a0ba39a27bab3b1a7",
        "proofs": "0a0389446f5124e10eb50e474f62253c",
        "receipts": "e7d8b35eeee8dee09cd69d44e8b9d180",
        "slashes": "5b510a68deec3366bea7d3d6c2522ce9",
        "schema_entries": "84165100f5e2650e8b3bdf3e890fe96f",
        "genesis": "22902b419828ff8491364a9ef8386a69",
    }


def test_a_batch_survives_the_log() -> None:
    headers, body = encode(TRANSACTIONS, TRANSACTIONS.batch([ROW]))
    assert dict(headers) == {SCHEMA_HEADER: TRANSACTIONS.fingerprint.encode()}
    batch = SchemaRegistry().decode(TRANSACTIONS, TRANSACTIONS.fingerprint, body)
    assert batch.to_pylist() == [ROW]


def test_a_newer_writers_extra_column_is_dropped_by_an_older_reader() -> None:
    registry = SchemaRegistry()
    fingerprint = registry.learn("transactions", WIDER)
    body = pa.RecordBatch.from_pylist([{**ROW, "memo": "hi"}], schema=WIDER).serialize()
    assert registry.decode(TRANSACTIONS, fingerprint, body.to_pybytes()).to_pylist() == [ROW]


def test_an_older_writers_missing_column_is_null_for_a_newer_reader() -> None:
    newer = type(TRANSACTIONS)("transactions", WIDER)
    _, body = encode(TRANSACTIONS, TRANSACTIONS.batch([ROW]))
    batch = SchemaRegistry().decode(newer, TRANSACTIONS.fingerprint, body)
    assert batch.to_pylist() == [{**ROW, "memo": None}]


@pytest.mark.parametrize(
    "schema",
    [
        pa.schema(list(TRANSACTIONS.schema)[:2]),
        pa.schema([pa.field("body", pa.string(), nullable=False), *list(TRANSACTIONS.schema)[1:]]),
        TRANSACTIONS.schema.append(pa.field("memo", pa.string(), nullable=False)),
    ],
    ids=["removed", "retyped", "required"],
)
def test_only_added_nullable_columns_are_an_evolution(schema: pa.Schema) -> None:
    with pytest.raises(ParameterError):
        check_evolution(TRANSACTIONS.schema, schema)


def test_a_foreign_fingerprint_is_refused_by_name() -> None:
    with pytest.raises(WireError, match="foreign schema fingerprint"):
        SchemaRegistry().decode(TRANSACTIONS, "00" * 16, b"")
    with pytest.raises(WireError, match="foreign schema fingerprint"):
        SchemaRegistry().decode(TRANSACTIONS, ADMITTED.fingerprint, b"")


def test_a_batch_of_another_table_is_not_encoded() -> None:
    with pytest.raises(ParameterError):
        encode(ADMITTED, TRANSACTIONS.batch([ROW]))


def test_an_unknown_table_is_not_learnt() -> None:
    with pytest.raises(ParameterError):
        SchemaRegistry().learn("nonsense", WIDER)


def test_fingerprints_depend_on_names_types_and_nullability() -> None:
    assert fingerprint_of("transactions", WIDER) != TRANSACTIONS.fingerprint
    assert fingerprint_of("other", TRANSACTIONS.schema) != TRANSACTIONS.fingerprint


@given(st.binary(max_size=400))
def test_random_bytes_are_never_a_batch(body: bytes) -> None:
    with pytest.raises(WireError):
        SchemaRegistry().decode(TRANSACTIONS, TRANSACTIONS.fingerprint, body)


@given(st.data())
def test_damaged_batches_are_refused_or_still_conform(data: st.DataObject) -> None:
    _, body = encode(TRANSACTIONS, TRANSACTIONS.batch([ROW, ROW]))
    damaged = bytearray(body)
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(body) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        batch = SchemaRegistry().decode(TRANSACTIONS, TRANSACTIONS.fingerprint, bytes(damaged))
    except WireError:
        return
    assert batch.schema == TRANSACTIONS.schema


def test_a_schema_is_found_though_somebody_used_it_before_it_was_announced() -> None:
    announced: list[tuple[str, pa.Schema]] = []
    registry = SchemaRegistry(source=lambda: announced, announced=lambda: len(announced))
    fingerprint = fingerprint_of(TRANSACTIONS.name, WIDER)
    assert registry.table_of(fingerprint) == ""
    announced.append((TRANSACTIONS.name, WIDER))
    assert registry.table_of(fingerprint) == TRANSACTIONS.name
