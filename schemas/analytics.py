"""Arrow schemas of what is counted window by window, and the names of the folders it is kept in.

`DATA/analytics/shard=K/epoch=N/window=W/` holds one Parquet file per table. Amounts are counts of 1e-9 ECLIPT, fees counts of
1e-6 ECLIPT, times milliseconds. Quantiles are exact, by nearest rank; a quantile of nothing is null.
"""

from __future__ import annotations

import pyarrow as pa

from schemas.tables import Table

AMOUNTS = pa.decimal128(38, 0)
"""A sum of amounts: the same units may move many times in a window."""

_WINDOW = pa.field("window", pa.int64(), nullable=False)


def _table(
    name: str, required: list[tuple[str, pa.DataType]], nullable: list[tuple[str, pa.DataType]]
) -> Table:
    fields = [pa.field(n, kind, nullable=False) for n, kind in required]
    fields += [pa.field(n, kind, nullable=True) for n, kind in nullable]
    return Table(name, pa.schema([_WINDOW, *fields]))


WINDOW_TOTALS = _table(
    "window_totals",
    [
        ("blocks", pa.int64()),
        ("empty_blocks", pa.int64()),
        ("transactions", pa.int64()),
        ("payload_bytes", pa.int64()),
        ("fee_micros", pa.int64()),
        ("issued", pa.uint64()),
        ("sent_words", pa.int64()),
        ("sent_amount", AMOUNTS),
        ("received_words", pa.int64()),
        ("received_amount", AMOUNTS),
        ("votes", pa.int64()),
        ("final_receipts", pa.int64()),
        ("rejected", pa.int64()),
        ("findings", pa.int64()),
    ],
    [
        ("first_height", pa.int64()),
        ("end_height", pa.int64()),
        ("finality_p50", pa.int64()),
        ("finality_p99", pa.int64()),
        ("finality_max", pa.int64()),
    ],
)
"""One row. `transactions` are the shard's own; an empty block executes nothing. `issued` entered the shard's supply, `sent` left for other shards, `received` came from them. `finality` is from a
proposal to its certificate, over blocks that are not empty. `votes` are decodable ones, counted once each."""

WINDOW_KINDS = _table(
    "window_kinds",
    [
        ("kind", pa.string()),
        ("transactions", pa.int64()),
        ("amount", AMOUNTS),
        ("fee_sum", pa.int64()),
        ("fee_min", pa.int64()),
        ("fee_p50", pa.int64()),
        ("fee_max", pa.int64()),
        ("latency_p50", pa.int64()),
        ("latency_p99", pa.int64()),
        ("latency_max", pa.int64()),
    ],
    [],
)
"""One row per kind of executed transaction. `latency` is from submission, as the sender says, to the block's certificate."""

WINDOW_REJECTIONS = _table(
    "window_rejections",
    [("stage", pa.string()), ("reason", pa.string()), ("count", pa.int64())],
    [],
)
"""Dead letters of the shard's transactions that the log stored in the window."""

WINDOW_FINDINGS = _table(
    "window_findings",
    [("finding", pa.string()), ("detail", pa.string())],
    [
        ("signer", pa.int32()),
        ("view", pa.int64()),
        ("height", pa.int64()),
        ("first_hash", pa.binary(32)),
        ("second_hash", pa.binary(32)),
    ],
)
"""What an honest shard never shows, see `schemas.analytics.FINDINGS`."""

FINDINGS = {
    "vote_equivocation": "a validator signed two votes of a view that exclude each other; both signatures hold",
    "block_equivocation": "another block of a final height has a quorum's certificate, too",
    "duplicate_digest": "digests of executed transactions begin with the same 8 bytes",
    "receipts_differ": "there are not as many final receipts as executed transactions",
}
"""Findings and what each means."""

ANALYTICS = (WINDOW_TOTALS, WINDOW_KINDS, WINDOW_REJECTIONS, WINDOW_FINDINGS)
"""File stem = table name."""
