"""Rows that blocks refer to and that nobody holds are read from the log, each record once for a block."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

from operators.application import BlockContent, CheckState
from operators.block_payload import TransactionReference, encode_payload
from operators.shard_start import open_shard
from operators.stage import Input
from pipelines.node import NodePlace
from schemas.workload import Workload
from tests.suites.mini_chain import MiniChain, small_traffic

RECORDS, PER_RECORD = 6, 5


def test_a_leader_that_jumps_between_records_costs_one_read_of_each(tmp_path: Path) -> None:
    chain = MiniChain(tmp_path / "data")
    rows = small_traffic(tmp_path, chain.genesis, Workload(accounts=4, funding=10**12), 40)
    chain.send(rows[: RECORDS * PER_RECORD], PER_RECORD)
    place = NodePlace(chain.data, chain.configuration, chain.genesis, chain.log(), 0).shards()[0]
    application = open_shard(place, None).application
    read: list[int] = []

    def fetch(offset: int) -> Input | None:
        read.append(offset)
        return place.fetch(offset)

    application.mempool.fetch = fetch
    references = [
        TransactionReference(offset, row, sha256(rows[offset * PER_RECORD + row].body).digest())
        for offset in range(RECORDS)
        for row in range(PER_RECORD)
    ]
    references.sort(key=lambda one: (one.row, -one.offset))
    content = BlockContent(encode_payload(references), bytes(32), bytes(32), len(references))
    found = application.check(b"b" * 32, application.final_hash, 1, 1, content)
    assert found.state is CheckState.INVALID  # out of order, so that nonces do not fit
    assert read == list(range(RECORDS))
    missing = [*references, TransactionReference(RECORDS + 1, 0, bytes(32))]
    content = BlockContent(encode_payload(missing), bytes(32), bytes(32), len(missing))
    found = application.check(b"c" * 32, application.final_hash, 1, 1, content)
    assert (found.state, found.reason) == (CheckState.MISSING, f"tx/{RECORDS + 1}")
