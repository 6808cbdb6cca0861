from __future__ import annotations

from operators.event_log import open_log
from operators.topic_view import TopicView
from pipelines.chain_view import ChainView
from schemas.tables import BLOCKS, WINDOWS
from tests.suites.counted_chain import counted_chain


def test_a_shard_is_planned_once_the_last_window_that_a_block_ended_is_closed() -> None:
    chain = counted_chain()
    view = ChainView(chain.genesis)
    with open_log(chain.log_url) as log:
        rows = TopicView(log)
        blocks, windows = list(rows.rows("blocks.0", BLOCKS)), list(rows.rows("windows.0", WINDOWS))
    planned = [view.is_planned]
    for row in blocks:
        view.add_block(row)
    assert len(windows) > 2
    for row in windows:
        planned.append(view.is_planned)
        view.add_window(row)
    assert [*planned, view.is_planned] == [True, *(False for _ in windows), True]
    assert view.ended_window == windows[-1]["window"] < view.tip_window
