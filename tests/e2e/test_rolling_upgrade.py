"""Processes of one version work with those of a newer one whose tables have gained a column."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pytest

from operators.event_log import Record
from operators.log_memory import MemoryLog, MemoryStore
from operators.log_schemas import announce, registry_of
from operators.topic_view import TopicView
from pipelines.corpus import ADMITTED
from pipelines.node import NodePlace, build_role
from schemas.errors import WireError
from schemas.tables import (
    CONSENSUS,
    JOBS,
    RECEIPTS,
    SCHEMA_HEADER,
    TRANSACTIONS,
    SchemaRegistry,
    Table,
    encode,
)
from schemas.workload import Workload
from tests.suites.mini_chain import MiniChain, small_traffic

MEMO = pa.field("memo", pa.string())
ROLES = ("admission", "validator-0", "validator-1", "validator-2", "validator-3", "chain")


def newer(table: Table) -> Table:
    return type(table)(table.name, table.schema.append(MEMO))


def rewritten(record: Record, table: Table) -> Record:
    """The record as a newer version of its writer would write it."""
    fingerprint = dict(record.headers)[SCHEMA_HEADER].decode()
    rows = SchemaRegistry().decode(table, fingerprint, record.value).to_pylist()
    wider = newer(table)
    headers, body = encode(wider, wider.batch([{**row, "memo": "new"} for row in rows]))
    return Record(body, headers, record.key)


class NewerLog(MemoryLog):
    """What a newer validator's log gets: its messages have one more column."""

    def __init__(self, store: MemoryStore) -> None:
        super().__init__("memory://mini", store)
        self.written: list[int] = []

    def append(
        self,
        topic: str,
        records: Sequence[Record],
        partition: int = 0,
        *,
        is_durable: bool = True,
    ) -> int:
        wider = [rewritten(record, CONSENSUS) for record in records]
        offset = super().append(topic, wider, partition, is_durable=is_durable)
        self.written.append(offset)
        return offset


def final(chain: MiniChain) -> int:
    rows = TopicView(chain.log()).rows("receipts", RECEIPTS)
    return sum(row["state"] == "bft_final" for row in rows)


def start_newer(chain: MiniChain, index: int) -> NewerLog:
    log = NewerLog(chain.store)
    place = NodePlace(chain.data, chain.configuration, chain.genesis, log, index)
    chain.roles[f"validator-{index}"] = build_role("validator", place)
    return log


def test_validators_are_replaced_one_by_one_and_wallets_in_between(tmp_path: Path) -> None:
    chain = MiniChain(tmp_path / "data")
    rows = small_traffic(tmp_path, chain.genesis, Workload(accounts=4, funding=10**12), 40)
    wanted = sum(row.expected == ADMITTED for row in rows)
    chain.start(*ROLES)
    chain.send(rows[:20])
    chain.run_until(lambda: final(chain) >= 10, 60)

    assert announce(chain.log(), (newer(CONSENSUS), newer(TRANSACTIONS))) == 2
    logs = []
    for index in range(3):  # with the newer three silent the older one is no quorum
        chain.roles.pop(f"validator-{index}").close()
        logs.append(start_newer(chain, index))
        chain.run_until(lambda log=logs[-1]: log.written, 60)  # type: ignore[misc]
    wider = newer(TRANSACTIONS)
    for row in rows[20:]:
        sent = {"body": row.body, "signature": row.signature, "submitted_millis": chain.now}
        TopicView(chain.log()).append("tx.0", *encode(wider, wider.batch([{**sent, "memo": "x"}])))
    chain.run_until(lambda: final(chain) == wanted, 120)
    assert final(chain) == wanted
    chain.close()


def test_what_nobody_has_announced_stays_foreign_and_is_asked_for_once() -> None:
    log = MemoryLog("memory://one", MemoryStore())
    log.create_topics({"schemas": 1})
    looks = 0
    registry = registry_of(log)
    source = registry.source
    assert source is not None

    def counted() -> list[tuple[str, pa.Schema]]:
        nonlocal looks
        looks += 1
        return list(source())

    registry.source = counted
    _, body = encode(newer(JOBS), newer(JOBS).batch([]))
    for _ in range(3):
        with pytest.raises(WireError, match="foreign schema fingerprint"):
            registry.decode(JOBS, newer(JOBS).fingerprint, body)
    assert looks == 1


def test_an_announcement_stands_once_and_junk_among_them_is_passed_over() -> None:
    log = MemoryLog("memory://two", MemoryStore())
    log.create_topics({"schemas": 1})
    everything = announce(log)
    assert everything == log.end_offset("schemas") > 5
    assert announce(log) == 0
    log.append("schemas", [Record(b"junk"), Record(b"junk", ((SCHEMA_HEADER, b"00"),))])
    removed = Table("jobs", pa.schema(list(JOBS.schema)[:-1]))
    foreign = Table("nonsense", pa.schema([MEMO]))
    assert announce(log, (foreign, removed, newer(JOBS))) == 3
    registry = registry_of(log)
    assert registry.table_of(newer(JOBS).fingerprint) == "jobs"
    assert registry.table_of(foreign.fingerprint) == ""
