from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.analytics_feed import ClosedWindow, FeedItem
from operators.analytics_files import counted_windows, resume_position, window_folder
from operators.analytics_parts import (
    Parts,
    ReferencedTransactions,
    nearest_rank,
    part_of,
    value_counts,
)
from operators.analytics_window import window_rows
from operators.audit_views import named_queries, query_epochs
from operators.block_payload import TransactionReference
from operators.event_log import open_log
from operators.export import ExportSource, export_epochs
from pipelines.chain_setup import genesis_path
from proving.arithmetic.poseidon2 import NumpyHasher
from schemas.errors import InvariantError, ParameterError
from schemas.tables import SchemaRegistry
from tests.suites.counted_chain import (
    FALSE_VIEW,
    SHARDS,
    SIGNER,
    count_alone,
    counted_chain,
    feed_items,
    files_of,
    witness_of,
)


def _count(root: Path) -> None:
    for shard in range(SHARDS):
        count_alone(counted_chain(), root, feed_items(counted_chain(), shard))


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with exported epochs and counted windows of the same log."""
    root = tmp_path_factory.mktemp("audited")
    chain = counted_chain()
    with open_log(chain.log_url) as log:
        source = ExportSource(log, genesis_path(chain.data), 1000, NumpyHasher())
        export_epochs(source, root, range(SHARDS))
    _count(root)
    return root


KINDS = """
with final as (
    select r.shard, r.digest, max(r.at_millis) - max(t.submitted_millis) as latency
    from receipts r join transactions t using (shard, epoch, digest)
    where r.state = 'bft_final' group by all
)
select t.shard, t."window", t.kind, count(*), sum(t.amount)::decimal(38, 0), sum(t.fee), min(t.fee),
       quantile_disc(t.fee, 0.5), max(t.fee), quantile_disc(f.latency, 0.5), quantile_disc(f.latency, 0.99), max(f.latency)
from transactions t join final f using (shard, digest) group by all order by all
"""

TOTALS = """
with blocks_of as (
    select b.shard, {window} as "window", b.*, from blocks b
), sent as (
    select shard, "window", count(*) filter (direction = 'sent') as sent_words,
           coalesce(sum(amount) filter (direction = 'sent'), 0) as sent_amount,
           count(*) filter (direction = 'received') as received_words,
           coalesce(sum(amount) filter (direction = 'received'), 0) as received_amount
    from links group by all
)
select b.shard, b."window", count(*), count(*) filter (transactions = 0), (sum(transactions) - any_value(coalesce(received_words, 0)))::bigint,
       min(height), max(height) + 1, sum(octet_length(payload))::bigint,
       quantile_disc(certified_millis - proposed_millis, 0.99) filter (transactions > 0),
       any_value(coalesce(sent_words, 0)), any_value(coalesce(sent_amount, 0))::decimal(38, 0),
       any_value(coalesce(received_words, 0)), any_value(coalesce(received_amount, 0))::decimal(38, 0)
from blocks_of b left join sent using (shard, "window") group by all order by all
"""


def test_kinds_fees_and_latencies_are_those_of_the_exported_transactions(audited: Path) -> None:
    last = query_epochs(audited, "select shard, max(epoch) from blocks group by all").rows
    counted = query_epochs(
        audited,
        """select shard, "window", kind, transactions, amount, fee_sum, fee_min, fee_p50, fee_max,
        latency_p50, latency_p99, latency_max from window_kinds
        semi join blocks using (shard, epoch) order by all""",
    )
    exported = query_epochs(audited, KINDS)
    assert counted.rows == exported.rows
    assert {row[2] for row in counted.rows} == {"register", "issue", "transfer", "outbound"}
    assert len(last) == SHARDS


def test_totals_are_those_of_the_exported_blocks_and_links(audited: Path) -> None:
    window = f"(b.slot // {counted_chain().genesis.slots_per_window})"
    counted = query_epochs(
        audited,
        """select shard, "window", blocks, empty_blocks, transactions, first_height, end_height, payload_bytes,
        finality_p99, sent_words, sent_amount, received_words, received_amount from window_totals
        semi join blocks using (shard, epoch) where blocks > 0 order by all""",
    )
    assert counted.rows == query_epochs(audited, TOTALS.format(window=window)).rows
    assert sum(row[9] for row in counted.rows) == 4  # two sent, and two sent back
    assert sum(row[11] for row in counted.rows) == 4


def test_what_the_windows_issued_and_sent_is_the_supply_of_the_epochs(audited: Path) -> None:
    rows = query_epochs(audited, named_queries()["window-supply"].sql).rows
    assert {row[-1] for row in rows} == {True}
    assert {row[0] for row in rows} == set(range(SHARDS))


def test_only_what_was_planted_is_found_and_forgeries_accuse_nobody(audited: Path) -> None:
    chain = counted_chain()
    found = query_epochs(audited, named_queries()["findings"].sql).rows
    assert [(row[0], row[3], row[4], row[5], row[6], row[7]) for row in found] == [
        (0, "block_equivocation", f"height {chain.rival_height}", None, found[0][6], found[0][7]),
        (0, "vote_equivocation", "two_notarizations", SIGNER, FALSE_VIEW, None),
    ]
    assert found[0][7] == chain.rival_height
    assert found[0][9] == chain.rival.hex().upper()
    assert (found[1][8], found[1][9]) == ("01" * 32, "02" * 32)


def test_rejections_are_the_dead_letters_of_the_shard(audited: Path) -> None:
    counted = query_epochs(
        audited,
        "select shard, stage, reason, sum(count)::bigint from window_rejections group by all",
    ).rows
    exported = query_epochs(
        audited, "select shard, stage, reason, count(*) from rejected group by all"
    ).rows
    assert sorted(counted) == sorted(exported)
    assert len(counted) > 10


def _parts(items: Sequence[FeedItem]) -> list[tuple[int, tuple[tuple[str, int, int], object]]]:
    with open_log(counted_chain().log_url) as log:
        transactions = ReferencedTransactions(log, SchemaRegistry())
        return [(item.window, part_of(item, transactions.fetch)) for item in items]


def test_neither_order_nor_repetition_of_parts_changes_a_row() -> None:
    chain = counted_chain()
    found = _parts(feed_items(chain, 0))
    rng = random.Random(1)  # noqa: S311 - a reproducible order
    shaken = [*found, *rng.choices(found, k=len(found))]
    rng.shuffle(shaken)
    with open_log(chain.log_url) as log:
        witness = witness_of(chain, log, 0)
        for window in {window for window, _ in found}:
            one: Parts = dict(part for at, part in found if at == window)  # type: ignore[misc]
            other: Parts = dict(part for at, part in shaken if at == window)  # type: ignore[misc]
            assert window_rows(window, one, witness) == window_rows(window, other, witness)


def test_writing_again_changes_no_file_and_mends_a_damaged_one(tmp_path: Path) -> None:
    chain = counted_chain()
    _count(tmp_path)
    files = files_of(tmp_path)
    times = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.parquet")}
    _count(tmp_path)
    assert {path: path.stat().st_mtime_ns for path in times} == times
    damaged = window_folder(tmp_path, chain.genesis, 0, 1) / "window_totals.parquet"
    damaged.write_bytes(b"x")
    _count(tmp_path)
    assert files_of(tmp_path) == files
    assert not list(tmp_path.rglob(".*"))


def test_counting_goes_on_where_the_newest_window_says(tmp_path: Path) -> None:
    chain = counted_chain()
    closings = [item for item in feed_items(chain, 0) if isinstance(item, ClosedWindow)]
    assert resume_position(tmp_path, chain.genesis, 0).place.height == 0
    _count(tmp_path)
    assert counted_windows(tmp_path, 0) == [one.window for one in closings]
    assert resume_position(tmp_path, chain.genesis, 0) == closings[-1].next


@pytest.mark.parametrize("change", ["{", "{}", '{"window": "x"}'])
def test_a_damaged_place_to_go_on_is_named(tmp_path: Path, change: str) -> None:
    chain = counted_chain()
    _count(tmp_path)
    newest = counted_windows(tmp_path, 0)[-1]
    (window_folder(tmp_path, chain.genesis, 0, newest) / "next.json").write_text(change)
    with pytest.raises(ParameterError, match=r"next\.json"):
        resume_position(tmp_path, chain.genesis, 0)
    other = chain.genesis.model_copy(update={"start_millis": 5})
    (window_folder(tmp_path, chain.genesis, 1, newest) / "next.json").read_bytes()
    with pytest.raises(ParameterError, match="another chain"):
        resume_position(tmp_path, other, 1)


def test_a_transaction_that_the_log_lacks_is_named() -> None:
    with open_log(counted_chain().log_url) as log:
        transactions = ReferencedTransactions(log, SchemaRegistry())
        for reference in (
            TransactionReference(10**6, 0, bytes(32)),
            TransactionReference(5, 0, bytes(32)),
        ):
            with pytest.raises(InvariantError, match=rf"transaction {reference.offset}/0"):
                list(transactions.fetch(0, [reference]))


@given(st.lists(st.integers(-50, 50), min_size=1), st.integers(1, 100))
def test_a_quantile_is_the_value_of_nearest_rank(values: list[int], percent: int) -> None:
    rank = -(-len(values) * percent // 100)
    assert nearest_rank(value_counts(values), percent) == sorted(values)[rank - 1]


def test_a_quantile_of_nothing_is_none() -> None:
    assert nearest_rank((), 50) is None
