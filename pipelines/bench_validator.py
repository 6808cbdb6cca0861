"""`ecliptica bench admission` and `bench execution`: what a transaction costs one validator, without log and votes."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from operators.admission import Admission
from operators.event_log import StoredRecord
from operators.proof_worker import process_backend
from operators.record_input import input_of
from operators.stage import Input
from pipelines.account_keys import issuer_pair
from pipelines.bench_stream import bench_configuration, sign_traffic
from pipelines.bench_work import BenchWork, Stopwatch
from pipelines.bulk_ledger import bulk_ledger, transfer_blocks
from pipelines.corpus import CorpusRow, read_corpus, read_corpus_info
from pipelines.forge import usable_cores
from proving.ledger.state import Block, Ledger
from proving.signatures import default_backend
from schemas.errors import InvariantError
from schemas.genesis import Genesis, encode_key
from schemas.tables import ADMITTED, TRANSACTIONS, SchemaRegistry, encode
from schemas.topics import shard_topic

ROWS_PER_RECORD = 25
"""Transactions of a record: one of 64 KiB, as load testers send them."""

RECORDS_PER_STEP = 40
"""Records that admission takes at once: a thousand transactions, as under load."""

BLOCK_TRANSACTIONS = 1000
SHARD = 0


def admission(work: BenchWork) -> dict[str, Any]:
    """Judges valid transfers: decoding, signatures, state, verdicts.

    Raises:
        InvariantError: A transfer was refused.
    """
    with tempfile.TemporaryDirectory(prefix="ecliptica-admission-") as folder:
        corpus = sign_traffic(
            Path(folder), work.transactions, work.seed, work.report, bench_configuration()
        )
        genesis_rows = read_corpus_info(corpus).genesis_rows
        rows = read_corpus(corpus)
        first, traffic = list(islice(rows, genesis_rows)), list(rows)
    stage = Admission(_genesis(work.seed), SHARD, bench_configuration().admission)
    state, _ = stage.step(stage.initial(), _inputs(first, 0), 0)
    before, batches = stage.snapshot(state), list(_batches(traffic, len(first)))
    watch = Stopwatch()
    for _ in range(work.repeat + 1):
        fresh = stage.restore(before)
        verdicts: list[int] = []
        watch.run(lambda: verdicts.extend(_judge(stage, fresh, batches)))  # noqa: B023 - run at once
        if sum(verdicts) != len(traffic):
            raise InvariantError(f"{sum(verdicts)} of {len(traffic)} valid transfers admitted")
        work.report.advance(1)
    return _record("admission", len(traffic), watch, signatures=default_backend().name)


def execution(work: BenchWork) -> dict[str, Any]:
    """Executes blocks of transfers on a branch each, up to the post-state root, and merges them."""
    backend = process_backend()
    accounts = max(2, work.accounts)
    watch = Stopwatch()
    for number in range(work.repeat + 1):
        ledger = bulk_ledger(accounts, work.seed, backend)
        blocks = transfer_blocks(ledger, work.transactions, work.seed + number, BLOCK_TRANSACTIONS)
        watch.run(lambda: _execute(ledger, blocks))  # noqa: B023 - run at once
        work.report.advance(1)
    return _record("execution", work.transactions, watch, accounts=accounts)


def _execute(ledger: Ledger, blocks: Sequence[Block]) -> None:
    for block in blocks:
        branch = ledger.branch()
        effects = branch.execute_block(block.transactions, block.height, block.slot, block.window)
        if effects.rejected:
            raise InvariantError(f"block {block.height}: {effects.rejected[0]}")
        branch.merge()


def _judge(stage: Admission, state: Any, batches: Sequence[Sequence[StoredRecord]]) -> list[int]:
    """Returns the numbers of admitted transactions of each record."""
    registry, found = SchemaRegistry(), []
    for batch in batches:
        state, outputs = stage.step(
            state, [input_of(record, TRANSACTIONS, registry) for record in batch], 0
        )
        found += [
            int.from_bytes(row["verdicts"], "little").bit_count()
            for output in outputs
            if output.table is ADMITTED
            for row in output.rows
        ]
    return found


def _inputs(rows: Sequence[CorpusRow], offset: int) -> list[Input]:
    registry = SchemaRegistry()
    return [input_of(record, TRANSACTIONS, registry) for record in _records(rows, offset)]


def _batches(rows: Sequence[CorpusRow], offset: int) -> Iterator[list[StoredRecord]]:
    records = _records(rows, offset)
    while batch := list(islice(records, RECORDS_PER_STEP)):
        yield batch


def _records(rows: Sequence[CorpusRow], offset: int) -> Iterator[StoredRecord]:
    topic = shard_topic("tx", SHARD)
    for number, start in enumerate(range(0, len(rows), ROWS_PER_RECORD), offset):
        listed = [
            {"body": row.body, "signature": row.signature, "submitted_millis": 0}
            for row in rows[start : start + ROWS_PER_RECORD]
        ]
        headers, body = encode(TRANSACTIONS, TRANSACTIONS.batch(listed))
        yield StoredRecord(topic, 0, number, 0, body, headers)


def _genesis(seed: int) -> Genesis:
    """Returns a chain whose issuer is the corpus's; admission asks nothing of its validators."""
    configuration, issuer = bench_configuration(), encode_key(issuer_pair(seed).public_key)
    return Genesis(
        chain=configuration.chain.number,
        shards=1,
        slot_micros=configuration.clock.slot_micros,
        slots_per_window=configuration.clock.slots_per_window,
        windows_per_epoch=configuration.clock.windows_per_shard_epoch,
        start_millis=0,
        issuer=issuer,
        validators=(issuer,),
    )


def _record(name: str, transactions: int, watch: Stopwatch, **parameters: Any) -> dict[str, Any]:
    timings = watch.timings()
    return {
        "name": name,
        "transactions": transactions,
        **timings.fields(),
        "transactions_per_second": round(transactions / timings.median),
        "proof_bytes": None,
        "proven_bits": None,
        "verified": None,
        "parameters": {"cores": usable_cores(), **parameters},
    }
