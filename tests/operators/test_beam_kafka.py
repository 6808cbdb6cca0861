"""Windows counted from a log on a real broker."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from operators.analytics_feed import READER, feed_topics
from operators.event_log import Record, open_log
from pipelines.analytics import CountingPlace, open_counting
from schemas.topics import shard_topic
from tests.suites.counted_chain import (
    SHARDS,
    CountedChain,
    count_alone,
    counted_chain,
    feed_items,
    files_of,
)
from tests.suites.kafka_brokers import kafka_broker, log_url

pytestmark = [pytest.mark.beam, pytest.mark.kafka]

AGO_MILLIS = 60_000
"""The chain's windows are over when its log is written again: a broker stamps records itself."""


def _on_kafka() -> CountedChain:
    chain = counted_chain()
    url = log_url(kafka_broker())
    start = time.time_ns() // 1_000_000 - AGO_MILLIS
    with closing(open_log(chain.log_url)) as source, closing(open_log(url)) as log:
        log.create_topics(dict(source.topics()))
        places = [shard_topic("tx", shard) for shard in range(SHARDS)]
        for shard in range(SHARDS):
            places += [topic for topic in feed_topics(shard) if topic not in places]
        reader = source.reader("to-kafka", places)
        while records := reader.poll(256):
            for record in records:
                offset = log.append(record.topic, [Record(record.value, record.headers)])
                assert offset == record.offset
    genesis = chain.genesis.model_copy(update={"start_millis": start})
    return replace(chain, log_url=url, genesis=genesis)


def test_the_source_reads_a_broker_as_it_reads_the_embedded_log(tmp_path: Path) -> None:
    chain = _on_kafka()
    for shard in range(SHARDS):
        count_alone(chain, tmp_path / "alone", feed_items(chain, shard))
    expected = files_of(tmp_path / "alone")
    root = tmp_path / "direct"
    with closing(open_log(chain.log_url)) as log:
        place = CountingPlace(log, chain.log_url, chain.genesis, range(SHARDS), root)
        counting = open_counting("direct", place, "")
        deadline = time.monotonic() + 120
        while files_of(root) != expected:
            assert time.monotonic() < deadline
            assert files_of(root).items() <= expected.items()
            if not counting.turn(time.time_ns() // 1_000_000):
                log.wait(0.1)
        assert counting.counted >= 5
        committed = log.reader(f"{READER}.0", ["blocks.0"]).committed()
        assert committed["blocks.0", 0] > 0
