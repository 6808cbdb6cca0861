"""Overload and soak: what is counted on the log, how memory is judged, and both benches at their smallest."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from operators.block_payload import TransactionReference, encode_payload
from operators.log_memory import MemoryLog, MemoryStore
from operators.topic_view import TopicView
from pipelines.bench_endurance import (
    FLAT_BYTES,
    FLAT_SHARE,
    Stretch,
    between,
    curve_of,
    disk_per_transaction,
    is_flat,
    rate_of,
    topic_bytes,
)
from pipelines.cli.actions.bench import exit_code
from pipelines.cli.main import main
from pipelines.final_record import FinalRecord
from pipelines.process_samples import Sample, resident_bytes, theil_sen, trends
from schemas.errors import InvariantError
from schemas.tables import ADMITTED, BLOCKS, REJECTED, encode
from schemas.topics import all_topics

MIB = 2**20
STRETCH = Stretch(10.0, 300, 300, 0, 0, 31.0, None, [], 10.0, 40.0)


@pytest.fixture
def view() -> TopicView:
    log = MemoryLog("memory://endurance", MemoryStore())
    log.create_topics(dict.fromkeys(all_topics(1), 1))
    return TopicView(log)


def admit(view: TopicView, offset: int, rows: int, at: int) -> None:
    row = {
        "source_offset": offset,
        "row_count": rows,
        "verdicts": b"\xff" * -(-rows // 8),
        "admitted_millis": at,
    }
    view.append("admitted.0", *encode(ADMITTED, ADMITTED.batch([row])))


def certify(view: TopicView, places: Sequence[tuple[int, int]], at: int) -> None:
    row: dict[str, Any] = dict.fromkeys(("height", "slot", "view", "proposed_millis"), 0)
    row |= {name: bytes(32) for name in ("block_hash", "post_state_root")}
    row |= {"header": b"", "certificate": b"", "transactions": len(places), "certified_millis": at}
    row["payload"] = encode_payload([TransactionReference(o, r, bytes(32)) for o, r in places])
    view.append("blocks.0", *encode(BLOCKS, BLOCKS.batch([row])))


def refuse(view: TopicView, offset: int, row: int, topic: str = "tx.0") -> None:
    letter: dict[str, Any] = dict.fromkeys(("stage", "reason", "detail", "schema"), "x")
    letter |= {"topic": topic, "offset": offset, "row": row, "original": b""}
    letter |= dict.fromkeys(("partition", "attempt", "rejected_millis"), 0)
    view.append("rejected", *encode(REJECTED, REJECTED.batch([letter])))


def test_every_transaction_is_counted_once_from_blocks_and_letters(view: TopicView) -> None:
    certify(view, [(0, 0)], 1)  # before it is looked at
    record = FinalRecord(view, 0)
    assert not record.read()
    admit(view, 5, 3, 1000)
    certify(view, [(5, 0), (5, 2)], 1250)
    certify(view, [], 1300)
    refuse(view, 5, 1)
    refuse(view, 5, 1, "tx.1")
    assert record.read()
    assert (record.settled, record.blocks, record.twice) == (3, 1, 0)
    waits, admitted = record.waits(5, 6)
    assert (list(waits), list(admitted)) == ([250.0, 250.0], [1000, 1000])
    assert len(record.waits(6, 9)[0]) == 0


def test_what_is_final_twice_is_found(view: TopicView) -> None:
    record = FinalRecord(view, 0)
    admit(view, 1, 1, 1000)
    certify(view, [(1, 0)], 1100)
    certify(view, [(1, 0)], 1200)
    record.read()
    assert (len(record.final), record.twice) == (1, 1)


def test_what_is_final_without_a_verdict_is_an_error(view: TopicView) -> None:
    record = FinalRecord(view, 0)
    certify(view, [(1, 0)], 1100)
    with pytest.raises(InvariantError, match="has no verdict"):
        record.read()


class MarkedLog(MemoryLog):
    """A log whose topics end in a marker that is no record, as Kafka's do behind a transaction."""

    def end_offset(self, topic: str, partition: int = 0) -> int:
        return super().end_offset(topic, partition) + 1


def test_nothing_is_new_twice_on_a_log_with_markers() -> None:
    log = MarkedLog("memory://endurance", MemoryStore())
    log.create_topics(dict.fromkeys(all_topics(1), 1))
    view = TopicView(log)
    record = FinalRecord(view, 0, is_from_start=True)
    admit(view, 1, 1, 1000)
    certify(view, [(1, 0)], 1100)
    assert record.read()
    assert not record.read()
    assert (len(record.final), record.twice) == (1, 0)


def samples(resident: Sequence[int], log_bytes: Sequence[int] | None = None) -> list[Sample]:
    return [
        Sample(float(second), {"chain": size}, {}, 0 if log_bytes is None else log_bytes[second])
        for second, size in enumerate(resident)
    ]


def test_a_trend_is_not_moved_by_an_outlier_and_sees_a_leak() -> None:
    level = [100 * MIB] * 60
    level[30] = 900 * MIB
    (flat,) = trends(samples(level))
    assert (flat.slope_bytes_per_minute, flat.most_bytes, is_flat(flat)) == (0.0, 900 * MIB, True)
    (leak,) = trends(samples([(100 + second) * MIB for second in range(60)]))
    assert leak.slope_bytes_per_minute == pytest.approx(60 * MIB)
    assert not is_flat(leak)
    assert trends(samples([1, 2])) == []


def test_memory_is_level_below_a_share_or_a_few_bytes() -> None:
    (trend,) = trends(samples([100 * MIB] * 3))
    large = replace(trend, first_bytes=10**10, growth_share=FLAT_SHARE * 0.9)
    small = replace(trend, first_bytes=MIB, growth_share=FLAT_BYTES / MIB * 0.9)
    assert is_flat(large)
    assert is_flat(small)
    assert not is_flat(replace(large, growth_share=FLAT_SHARE * 1.1))


def test_the_median_slope_is_that_of_a_line() -> None:
    assert theil_sen([0, 1, 2, 4], [1, 3, 5, 9]) == 2.0


def test_a_process_has_memory_while_it_runs() -> None:
    assert resident_bytes(os.getpid()) > MIB
    assert resident_bytes(2**22 + 1) == 0


def test_the_capacity_is_the_rate_in_the_middle_of_a_burst() -> None:
    times = [0] * 10 + [place * 100 for place in range(90)] + [10**6]
    assert rate_of(times) == pytest.approx(10.0)


def test_disk_per_transaction_is_compared_by_thirds() -> None:
    grown = [second * 5000 for second in range(60)]
    assert disk_per_transaction(between(samples([1] * 60, grown), STRETCH, 0.0), STRETCH) == [
        500.0,
        500.0,
    ]
    assert disk_per_transaction(samples([1] * 60), STRETCH) == []
    later = between(samples([1] * 60, grown), STRETCH, 0.5)
    assert [later[0].seconds, later[-1].seconds] == [25.0, 40.0]


def test_a_curve_has_count_and_percentiles_of_each_piece() -> None:
    found = curve_of(np.array([1.0, 3.0, 9.0]), np.array([5.0, 5.5, 7.0]))
    assert found == [(5.0, 2, 3.0, 3.0), (7.0, 1, 9.0, 9.0)]
    assert curve_of(np.zeros(0), np.zeros(0)) == []


def test_bytes_of_topics_are_those_of_their_records(view: TopicView) -> None:
    headers, body = encode(ADMITTED, ADMITTED.batch([]))
    view.append("admitted.0", headers, body)
    found = topic_bytes(view.log)
    assert found["admitted.0"] == len(body) + sum(len(n) + len(v) for n, v in headers)
    assert found["tx.0"] == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", ["overload", "soak"])
def test_a_bench_plays_on_real_processes_and_loses_nothing(
    name: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    plot = tmp_path / "plot.png"
    arguments = ["bench", name, "--transactions", "300", "--seconds", "10", "--json"]
    assert main([*arguments, "--out", str(plot)]) == 0
    record = json.loads(capsys.readouterr().out)
    assert (record["lost"], record["doubled"]) == (0, 0)
    assert all(row["final"] == row["sent"] for row in record["table"])
    processes = {name for sample in record["samples"] for name in sample["resident_bytes"]}
    assert {"admission", "chain", "validator-0"} <= processes
    assert any(sample["lag_millis"] for sample in record["samples"])
    assert plot.read_bytes().startswith(b"\x89PNG")
    if name == "soak":
        assert record["log_bytes_per_transaction_after_retention"] > 0


@pytest.mark.parametrize(
    ("told", "code"),
    [({}, 0), ({"lost": 0, "doubled": 0}, 0), ({"lost": 1, "doubled": 0}, 1), ({"doubled": 2}, 1)],
)
def test_a_bench_that_lost_or_doubled_a_transaction_fails(told: dict[str, int], code: int) -> None:
    assert exit_code(told) == code
