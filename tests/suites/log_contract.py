"""What every event log must do, for all adapters alike: each function takes a way to open connections to one log."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from operators.event_log import (
    MAX_RECORD_BYTES,
    Append,
    EventLog,
    FencedError,
    Record,
    RecordTooLarge,
)
from schemas.errors import ParameterError

Open = Callable[[], EventLog]

COMMITTER = """
import sys
from operators.event_log import Append, Record, open_log
log = open_log(sys.argv[1])
reader = log.reader("r", ["in"])
print("ready", flush=True)
while records := reader.poll(1):
    reader.commit([Append("out", [Record(record.value) for record in records])])
"""
"""Copies `in` to `out` one record per commit until it is killed."""


def _records(*values: bytes) -> list[Record]:
    return [Record(value) for value in values]


def offsets_rise_without_gaps_and_bytes_come_back(open_log: Open) -> None:
    log = open_log()
    log.create_topics({"a": 1})
    full = Record(b"\x00\xff" * 9, (("schema", b"x"), ("schema", b"y"), ("other", b"")), b"key")
    assert log.append("a", [full, Record(b"")]) == 0
    assert log.append("a", _records(b"2")) == 2
    found = open_log().read("a", 0, 10)
    assert [record.offset for record in found] == [0, 1, 2]
    first = found[0]
    assert (first.value, first.headers, first.key) == (full.value, full.headers, full.key)
    assert first.header("schema") == b"y"
    assert first.header("absent") == b""
    assert [record.value for record in log.read("a", 1, 1)] == [b""]
    millis = [record.append_millis for record in found]
    assert millis == sorted(millis)
    assert (log.first_offset("a"), log.end_offset("a")) == (0, 3)


def a_reader_sees_appends_in_order_across_topics(open_log: Open) -> None:
    log, other = open_log(), open_log()
    log.create_topics({"a": 1, "b": 2})
    for number in range(30):
        topic, partition = (("a", 0), ("b", 0), ("b", 1))[number % 3]
        log.append(topic, _records(bytes([number])), partition)
    reader = other.reader("r", ["a", "b"])
    seen = []
    while found := reader.poll(7):
        seen += found
    millis = [record.append_millis for record in seen]
    assert millis == sorted(millis)
    assert sorted(record.value[0] for record in seen) == list(range(30))
    for place in (("a", 0), ("b", 0), ("b", 1)):
        own = [record.value[0] for record in seen if (record.topic, record.partition) == place]
        assert own == sorted(own)


def a_record_comes_after_those_its_writer_had_written(open_log: Open) -> None:
    log = open_log()
    log.create_topics({"cause": 1, "effect": 1})
    reader = log.reader("r", ["cause", "effect"])
    last = 120

    def write() -> None:
        with open_log() as other:
            for number in range(last):
                other.append("cause", _records(number.to_bytes(2, "little")))
                other.append("effect", _records(number.to_bytes(2, "little")))

    writer = threading.Thread(target=write)
    writer.start()
    causes: set[bytes] = set()
    effects = 0
    while effects < last:
        for record in reader.poll(16, 5.0):
            if record.topic == "cause":
                causes.add(record.value)
            else:
                assert record.value in causes
                effects += 1
    writer.join()


def lag_counts_what_is_there_and_not_polled(open_log: Open) -> None:
    log = open_log()
    log.create_topics({"a": 1, "b": 1})
    reader = log.reader("r", ["a", "b"])
    assert reader.lag(10**15).records == 0
    assert reader.lag(10**15).millis == 0
    log.append("a", _records(b"1", b"2"))
    log.append("b", _records(b"3"))
    oldest = log.read("a", 0, 1)[0].append_millis
    assert reader.lag(oldest + 500).records == 3
    assert reader.lag(oldest + 500).millis == 500
    while reader.poll(9):
        pass
    reader.commit([Append("b", _records(b"4"))])
    while reader.poll(9):
        pass
    assert reader.lag(10**15).records == 0


def offsets_rise_over_the_marks_of_commits(open_log: Open) -> None:
    log = open_log()
    log.create_topics({"in": 1, "out": 1})
    reader = log.reader("r", ["in"])
    for number in range(5):
        log.append("in", _records(bytes([number])))
        reader.poll(1)
        reader.commit([Append("out", _records(bytes([number]), bytes([number])))])
        log.append("out", _records(b"plain"))
    found = log.read("out", 0, 100)
    assert [record.value for record in found] == [
        value for n in range(5) for value in (bytes([n]), bytes([n]), b"plain")
    ]
    offsets = [record.offset for record in found]
    assert offsets == sorted(set(offsets))
    assert offsets[-1] < log.end_offset("out") <= log.append("out", _records(b"next"))
    assert [record.value for record in log.read("out", offsets[7], 1)] == [found[7].value]
    assert log.read("out", offsets[3], 2) == found[3:5]
    assert log.read("out", log.end_offset("out"), 9) == []


def a_restart_goes_on_at_the_last_commit(open_log: Open) -> None:
    log = open_log()
    log.create_topics({"in": 1, "out": 1})
    log.append("in", _records(*(bytes([n]) for n in range(10))))
    reader = log.reader("r", ["in"])
    assert reader.committed() == {("in", 0): 0}
    reader.poll(4)
    reader.commit([Append("out", _records(b"done"))])
    reader.poll(3)
    again = open_log().reader("r", ["in"])
    assert again.committed() == {("in", 0): 4}
    assert [record.offset for record in again.poll(100)] == [4, 5, 6, 7, 8, 9]
    assert [record.value for record in log.read("out", 0, 9)] == [b"done"]


def a_later_reader_of_the_name_fences_the_earlier(open_log: Open) -> None:
    log = open_log()
    log.create_topics({"in": 1, "out": 1})
    log.append("in", _records(b"1"))
    old = log.reader("r", ["in"])
    old.poll(1)
    new = open_log().reader("r", ["in"])
    with pytest.raises(FencedError):
        old.commit([Append("out", _records(b"by the old one"))])
    assert log.end_offset("out") == 0
    new.poll(1)
    new.commit([Append("out", _records(b"by the new one"))])
    assert [record.value for record in log.read("out", 0, 9)] == [b"by the new one"]


def a_commit_with_one_bad_output_writes_nothing(open_log: Open) -> None:
    log = open_log()
    log.create_topics({"in": 1, "out": 1})
    log.append("in", _records(b"1"))
    reader = log.reader("r", ["in"])
    reader.poll(1)
    huge = Record(bytes(MAX_RECORD_BYTES + 1))
    with pytest.raises(RecordTooLarge):
        reader.commit([Append("out", _records(b"good")), Append("out", [huge])])
    assert (log.end_offset("out"), reader.committed()) == (0, {("in", 0): 0})
    with pytest.raises(ParameterError):
        reader.commit([Append("nowhere", _records(b"x"))])
    assert reader.committed() == {("in", 0): 0}
    with pytest.raises(RecordTooLarge):
        log.append("out", [Record(b"first"), huge])
    assert log.end_offset("out") == 0


def the_largest_record_passes(open_log: Open) -> None:
    log = open_log()
    log.create_topics({"a": 1})
    value = bytes(range(256)) * (MAX_RECORD_BYTES // 256)
    log.append("a", _records(value, b"after"))
    reader = open_log().reader("r", ["a"])
    seen = reader.poll(10)
    while len(seen) < 2:
        seen += reader.poll(10)
    assert [record.value for record in seen] == [value, b"after"]


def many_partitions_do_not_mix(open_log: Open) -> None:
    log = open_log()
    log.create_topics({"a": 100})
    for number in range(300):
        log.append("a", _records(number.to_bytes(2, "little")), number * 7 % 100)
    reader = log.reader("r", ["a"])
    by_partition: dict[int, list[int]] = {}
    while found := reader.poll(50):
        for record in found:
            assert record.offset == len(by_partition.setdefault(record.partition, []))
            by_partition[record.partition].append(int.from_bytes(record.value, "little"))
    assert sorted(n for values in by_partition.values() for n in values) == list(range(300))
    assert all(values == sorted(values) for values in by_partition.values())
    with pytest.raises(ParameterError):
        log.append("a", _records(b"x"), 100)


def seeking_repeats_and_skips(open_log: Open) -> None:
    log = open_log()
    log.create_topics({"a": 1})
    log.append("a", _records(*(bytes([n]) for n in range(6))))
    reader = log.reader("r", ["a"])
    reader.poll(6)
    reader.seek("a", 0, 4)
    assert [record.offset for record in reader.poll(9)] == [4, 5]
    with pytest.raises(ParameterError):
        reader.seek("b", 0, 0)
    with pytest.raises(ParameterError):
        reader.seek("a", 0, -1)
    with pytest.raises(ParameterError):
        reader.poll(0)


def what_retention_removes_is_skipped(open_log: Open) -> None:
    log = open_log()
    log.create_topics({"a": 1})
    log.append("a", _records(*(bytes([n]) for n in range(6))))
    reader = log.reader("r", ["a"])
    log.retain("a", 4)
    assert [record.offset for record in reader.poll(9)] == [4, 5]
    assert (log.first_offset("a"), log.end_offset("a")) == (4, 6)
    log.retain("a", 6)
    assert (log.first_offset("a"), log.end_offset("a")) == (6, 6)
    assert log.append("a", _records(b"6")) == 6


def topics_are_made_once(open_log: Open) -> None:
    log = open_log()
    log.create_topics({"a": 1, "b": 2})
    log.create_topics({"a": 1})
    assert open_log().topics() == {"a": 1, "b": 2}
    for wrong in ({"a": 2}, {"": 1}, {"c": 0}):
        with pytest.raises(ParameterError):
            log.create_topics(wrong)
    with pytest.raises(ParameterError):
        log.append("nowhere", _records(b"x"))
    with pytest.raises(ParameterError):
        log.append("a", [])
    with pytest.raises(ParameterError):
        log.reader("r", ["nowhere"])


def waiting_ends_with_an_append_of_someone_else(open_log: Open) -> None:
    log, other = open_log(), open_log()
    log.create_topics({"a": 1})
    while log.wait(0.0):
        pass
    assert log.wait(0.01) is False
    other.append("a", _records(b"x"))
    assert log.wait(5.0) is True


def a_slow_reader_loses_nothing(open_log: Open) -> None:
    log, slow = open_log(), open_log()
    log.create_topics({"a": 1})
    reader = slow.reader("slow", ["a"])
    seen: list[int] = []
    for number in range(200):
        log.append("a", _records(number.to_bytes(2, "little")))
        if number % 40 == 0:
            seen += [int.from_bytes(record.value, "little") for record in reader.poll(3)]
    while found := reader.poll(64):
        seen += [int.from_bytes(record.value, "little") for record in found]
    assert seen == list(range(200))


def what_need_not_outlive_the_machine_keeps_its_place(open_log: Open) -> None:
    log, other = open_log(), open_log()
    log.create_topics({"a": 1})
    for number in range(12):
        is_durable = number % 3 == 0
        assert log.append("a", _records(bytes([number])), is_durable=is_durable) == number
    assert [record.value[0] for record in other.read("a", 0, 20)] == list(range(12))
    with pytest.raises(ParameterError):
        log.append("a", [], is_durable=False)


CONTRACT: tuple[Callable[[Open], None], ...] = (
    offsets_rise_without_gaps_and_bytes_come_back,
    a_reader_sees_appends_in_order_across_topics,
    a_record_comes_after_those_its_writer_had_written,
    lag_counts_what_is_there_and_not_polled,
    offsets_rise_over_the_marks_of_commits,
    a_restart_goes_on_at_the_last_commit,
    a_later_reader_of_the_name_fences_the_earlier,
    a_commit_with_one_bad_output_writes_nothing,
    the_largest_record_passes,
    many_partitions_do_not_mix,
    seeking_repeats_and_skips,
    what_retention_removes_is_skipped,
    topics_are_made_once,
    waiting_ends_with_an_append_of_someone_else,
    a_slow_reader_loses_nothing,
    what_need_not_outlive_the_machine_keeps_its_place,
)
