from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from operators.analytics_feed import (
    CLOSING_MILLIS,
    ClosedWindow,
    FeedBatch,
    ShardFeed,
    Source,
    first_position,
)
from operators.event_log import Record
from operators.log_sqlite import SqliteLog
from operators.topic_view import TopicView
from schemas.receipt import ReceiptState
from schemas.tables import RECEIPTS, encode
from tests.suites.counted_chain import (
    SHARDS,
    CountedChain,
    copy_log,
    counted_chain,
    feed_items,
)


@pytest.mark.parametrize("shard", range(SHARDS))
@pytest.mark.parametrize("max_records", [1, 7, 256])
def test_batches_and_closings_do_not_depend_on_how_the_log_is_cut(
    shard: int, max_records: int
) -> None:
    chain = counted_chain()
    items = feed_items(chain, shard, max_records=max_records)
    assert items == feed_items(chain, shard)
    assert [item.window for item in items if isinstance(item, ClosedWindow)]


@pytest.mark.parametrize("shard", range(SHARDS))
def test_a_feed_finds_all_that_follows_from_where_any_window_says_the_next_begins(
    shard: int,
) -> None:
    chain = counted_chain()
    items = feed_items(chain, shard)
    closings = [item for item in items if isinstance(item, ClosedWindow)]
    assert len(closings) > 3
    for closing in closings:
        found = feed_items(chain, shard, closing.next)
        later = [item for item in items if item.window > closing.window]
        assert [item for item in found if isinstance(item, ClosedWindow)] == [
            item for item in later if isinstance(item, ClosedWindow)
        ]
        assert _places(found) == _places(later)


def test_no_batch_follows_the_closing_of_its_window() -> None:
    closed = -1
    for item in feed_items(counted_chain(), 0):
        if isinstance(item, ClosedWindow):
            assert item.window > closed
            closed = item.window
        assert item.window >= closed


def test_all_final_blocks_come_once_and_a_rival_as_a_rival() -> None:
    chain = counted_chain()
    batches = [item for item in feed_items(chain, 0) if isinstance(item, FeedBatch)]
    heights = [item.batch["height"][0].as_py() for item in batches if item.source is Source.BLOCKS]
    assert heights == list(range(1, len(heights) + 1))
    rivals = [item.batch for item in batches if item.source is Source.RIVALS]
    assert [one["height"][0].as_py() for one in rivals] == [chain.rival_height] * 3
    assert chain.rival in [one["block_hash"][0].as_py() for one in rivals]


def test_what_comes_after_the_closing_is_left_out(tmp_path: Path) -> None:
    chain = counted_chain()
    items = feed_items(chain, 0)
    late = _with_late_receipts(chain, tmp_path)
    assert _places(feed_items(late, 0)) == _places(items)


def test_a_window_closes_a_while_after_a_certified_block_of_a_later_one() -> None:
    chain = counted_chain()
    feed = ShardFeed(chain.genesis, 0, first_position(0))
    with SqliteLog(chain.log_url, Path(chain.log_url.removeprefix("sqlite:///"))) as log:
        records = list(TopicView(log).records("blocks.0"))
    record = next(one for one in records if feed.take(one) and feed.position.pending)
    before = feed.position.open_window
    closes = record.append_millis + CLOSING_MILLIS
    assert (before, feed.tick(closes - 1)) == (0, [])
    (closed,) = feed.tick(closes)
    assert (closed.window, feed.position.open_window) == (0, 1)
    assert closed.slot == chain.genesis.slots_per_window - 1


def _places(items: list[FeedBatch | ClosedWindow]) -> set[tuple[str, int, int, int]]:
    return {
        (item.source.value, item.window, item.offset, item.row)
        for item in items
        if isinstance(item, FeedBatch)
    }


def _with_late_receipts(chain: CountedChain, folder: Path) -> CountedChain:
    """Returns a copy of the chain's log that ends with final receipts of its first window."""
    path = folder / "log.sqlite"
    source = Path(chain.log_url.removeprefix("sqlite:///"))
    with SqliteLog(chain.log_url, source) as log:
        copy_log(log, path)
        records = log.read("blocks.0", 0, 10_000)
    row = {
        "digest": bytes(32),
        "state": ReceiptState.BFT_FINAL.value,
        "shard": 0,
        "at_millis": 0,
        "submitted_millis": 0,
        "window": 0,
    }
    headers, body = encode(RECEIPTS, RECEIPTS.batch([row]))
    url = f"sqlite:///{path}"
    with SqliteLog(url, path, lambda: records[-1].append_millis + 60_000) as log:
        log.append("receipts", [Record(body, headers)])
    return replace(chain, log_url=url)
