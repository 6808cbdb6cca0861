"""The Kafka log on a real broker: the contract of every log, and what only brokers and their clients can suffer."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType

from operators.event_log import (
    Append,
    EventLog,
    FencedError,
    LogCorrupt,
    LogUnreachable,
    Record,
    open_log,
)
from operators.kafka_feed import PAUSE_BYTES
from operators.log_kafka import KafkaReader
from schemas.topics import all_topics, plan_of, positions_topic
from tests.suites.kafka_brokers import kafka_broker, log_url
from tests.suites.log_contract import COMMITTER, CONTRACT, Open

pytestmark = pytest.mark.kafka

HALF_COMMITTER = """
import os, signal, sys
from operators.event_log import Append, Record, open_log
log = open_log(sys.argv[1])
reader = log.reader("r", ["in"])
reader.poll(1)
producer = reader._committer._producer
producer.begin_transaction()
producer.produce(sys.argv[2] + ".out", b"of the dead", partition=0)
producer.flush()
os.kill(os.getpid(), signal.SIGKILL)
"""
"""Dies in the middle of a transaction that has reached the broker."""


@pytest.fixture
def opener() -> Iterator[Open]:
    url = log_url(kafka_broker())
    opened: list[EventLog] = []

    def open_one() -> EventLog:
        opened.append(open_log(url))
        return opened[-1]

    yield open_one
    for log in opened:
        log.close()


@pytest.mark.parametrize("law", CONTRACT, ids=lambda law: law.__name__)
def test_kafka_keeps_the_contract(law: Callable[[Open], None], opener: Open) -> None:
    law(opener)


def _numbers(log: EventLog, topic: str) -> list[int]:
    found: list[int] = []
    start, end = 0, log.end_offset(topic)
    while start < end and (records := log.read(topic, start, 10_000)):
        found += [int.from_bytes(record.value, "little") for record in records]
        start = records[-1].offset + 1
    return found


def _start(script: str, *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", script, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def test_kill_at_any_instant_leaves_positions_and_outputs_together(opener: Open) -> None:
    log = opener()
    log.create_topics({"in": 1, "out": 1})
    for first in range(0, 2000, 100):
        log.append("in", [Record(n.to_bytes(4, "little")) for n in range(first, first + 100)])
    rng = random.Random(11)  # noqa: S311 - a reproducible schedule
    for _ in range(4):
        child = _start(COMMITTER, log.url)
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        time.sleep(rng.uniform(0, 0.4))  # the instant of the kill, not a wait for anything
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
    done = log.reader("r", ["in"]).committed()["in", 0]
    assert _numbers(log, "out") == list(range(done))
    assert 0 < done < 2000


def test_a_process_killed_inside_a_transaction_leaves_nothing_and_holds_nobody_up(
    opener: Open,
) -> None:
    log = opener()
    log.create_topics({"in": 1, "out": 1})
    log.append("in", [Record(b"1")])
    child = _start(HALF_COMMITTER, log.url, log.url.rpartition("/")[2])
    child.communicate()
    assert child.returncode == -signal.SIGKILL
    log.append("out", [Record(b"behind the open transaction")])
    assert log.read("out", 0, 9) == []
    reader = log.reader("r", ["in"])
    assert [record.value for record in log.read("out", 0, 9)] == [b"behind the open transaction"]
    assert [record.value for record in reader.poll(9)] == [b"1"]


def test_a_fenced_reader_goes_back_to_what_is_committed(opener: Open) -> None:
    log = opener()
    log.create_topics({"in": 1, "out": 1})
    log.append("in", [Record(b"1"), Record(b"2"), Record(b"3")])
    old = log.reader("r", ["in"])
    old.poll(1)
    old.commit()
    old.poll(2)
    assert old.positions() == {("in", 0): 3}
    opener().reader("r", ["in"])
    with pytest.raises(FencedError):
        old.commit([Append("out", [Record(b"zombie")])])
    assert old.positions() == {("in", 0): 1}
    assert log.read("out", 0, 9) == []


def test_a_killed_broker_loses_and_doubles_nothing_it_has_acknowledged(opener: Open) -> None:
    broker = kafka_broker()
    log = opener()
    log.create_topics({"in": 1, "out": 1, "plain": 1})
    count = 600
    log.append("in", [Record(n.to_bytes(4, "little")) for n in range(count)])
    half = threading.Event()

    def append() -> None:
        with open_log(log.url) as other:
            for number in range(count):
                other.append("plain", [Record(number.to_bytes(4, "little"))])
                if number == count // 3:
                    half.set()

    appending = threading.Thread(target=append)
    child = _start(COMMITTER, log.url)
    assert child.stdout is not None
    assert child.stdout.readline() == b"ready\n"
    appending.start()
    assert half.wait(60)
    broker.kill()
    broker.start()
    appending.join(120)
    _, complaint = child.communicate(timeout=240)
    if (
        child.returncode
    ):  # it was deciding a commit's outcome, so it is started again as a supervisor does
        assert b"LogUnreachable" in complaint, complaint.decode()
        child = _start(COMMITTER, log.url)
        _, complaint = child.communicate(timeout=240)
    assert child.returncode == 0, complaint.decode()
    assert _numbers(log, "plain") == list(range(count))
    assert _numbers(log, "out") == list(range(count))
    assert log.reader("r", ["in"]).committed() == {("in", 0): count}


def test_a_reader_that_takes_nothing_is_sent_no_more_than_it_can_hold(opener: Open) -> None:
    log = opener()
    log.create_topics({"a": 1, "b": 1})
    count = 40
    for number in range(count):
        log.append("a", [Record(bytes([number]) * 2**20)])
    reader = opener().reader("slow", ["a", "b"])
    assert isinstance(reader, KafkaReader)
    seen = [record.value[0] for record in reader.poll(1)]
    for _ in range(20):
        reader.has_news(0.05)
    lane = reader._feed._lanes["a", 0]
    assert lane.is_paused
    assert lane.waiting_bytes < 2 * PAUSE_BYTES
    log.append("b", [Record(b"\xff")])
    while found := reader.poll(3):
        seen += [record.value[0] for record in found]
    assert sorted(seen) == [*range(count), 255]
    assert [value for value in seen if value < 255] == list(range(count))


def test_records_of_other_clients_transactions_are_read_too(opener: Open) -> None:
    broker = kafka_broker()
    log = opener()
    log.create_topics({"a": 1, "b": 1})
    name = log.url.rpartition("/")[2]
    other = Producer(
        {"bootstrap.servers": f"127.0.0.1:{broker.port}", "transactional.id": f"{name}.foreign"}
    )
    other.init_transactions(30)
    reader = log.reader("r", ["a", "b"])
    for number in range(4):
        other.begin_transaction()
        other.produce(f"{name}.a", bytes([number]), partition=0)
        other.flush()
        if number % 2:
            other.abort_transaction(30)
        else:
            other.commit_transaction(30)
    log.append("a", [Record(b"\x09")])
    seen: list[bytes] = []
    while len(seen) < 3:
        seen += [record.value for record in reader.poll(9, 5.0)]
    assert seen == [b"\x00", b"\x02", b"\x09"]
    assert reader.poll(9) == []


def test_topics_are_made_as_they_are_planned(opener: Open) -> None:
    broker = kafka_broker()
    log = opener()
    log.create_topics({**dict.fromkeys(all_topics(1), 1), "wide": 3})
    log.reader("r", ["jobs"]).commit()
    name = log.url.rpartition("/")[2]
    admin = AdminClient({"bootstrap.servers": f"127.0.0.1:{broker.port}"})
    for topic in (*all_topics(1), positions_topic("r")):
        resource = ConfigResource(ResourceType.TOPIC, f"{name}.{topic}")
        (future,) = admin.describe_configs([resource]).values()
        found = {key: entry.value for key, entry in future.result(30).items()}
        wanted = dict(plan_of(topic).settings()) | {"message.timestamp.type": "LogAppendTime"}
        assert {key: found[key] for key in wanted} == wanted
    assert log.topics() == {**dict.fromkeys(all_topics(1), 1), "wide": 3}
    assert plan_of("schemas").is_compacted


def test_positions_of_another_log_are_refused(opener: Open) -> None:
    log = opener()
    log.create_topics({"a": 1})
    reader = log.reader("r", ["a"])
    reader.seek("a", 0, 7)
    with pytest.raises(LogCorrupt, match="a/0 ends at 0, before position 7"):
        reader.poll(1)


def test_kafkas_own_tools_read_our_topics(opener: Open) -> None:
    broker = kafka_broker()
    log = opener()
    log.create_topics({"in": 2, "out": 1})
    log.append("in", [Record(b"one"), Record(b"two"), Record(b"three")], 1)
    reader = log.reader("copier", ["in"])
    reader.poll(2)
    reader.commit([Append("out", [Record(b"copied", (("schema", b"abc"),))])])
    log.close()  # the group's offsets are sent by then
    name = log.url.rpartition("/")[2]
    server = ("--bootstrap-server", f"127.0.0.1:{broker.port}")
    described = broker.tool("topics", *server, "--describe", "--topic", f"{name}.in").stdout
    assert "PartitionCount: 2" in described
    assert "message.timestamp.type=LogAppendTime" in described
    read = broker.tool(
        "console-consumer",
        *server,
        *("--topic", f"{name}.out", "--from-beginning", "--max-messages", "1"),
        *("--isolation-level", "read_committed", "--property", "print.headers=true"),
    ).stdout
    assert "schema:abc" in read
    assert "copied" in read
    groups = broker.tool("consumer-groups", *server, "--describe", "--group", f"{name}.copier")
    (row,) = [line.split() for line in groups.stdout.splitlines() if f"{name}.in" in line.split()][
        -1:
    ]
    assert row[:6] == [f"{name}.copier", f"{name}.in", "1", "2", "3", "1"]


def test_an_address_where_nobody_answers_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("operators.log_kafka.ANSWER_SECONDS", 0.2)
    with pytest.raises(LogUnreachable, match=r"127\.0\.0\.1:1") as caught:
        open_log("kafka://127.0.0.1:1/nothing")
    assert caught.value.exit_code == 5
    assert "make kafka" in caught.value.hint


def test_closing_is_the_end(opener: Open) -> None:
    log = opener()
    log.create_topics({"a": 1})
    with closing(log):
        log.append("a", [Record(b"x")])
    with pytest.raises(Exception, match="closed"):
        log.append("a", [Record(b"x")])


def test_two_readers_of_a_process_both_end_its_wait(opener: Open) -> None:
    log, writer = opener(), opener()
    log.create_topics({"a": 1, "b": 1})
    readers = {name: log.reader(f"reads-{name}", [name]) for name in ("a", "b")}
    for reader in readers.values():
        assert reader.poll(1) == []
    for number, name in enumerate("aabbab"):  # the one that heard last, and the other one
        assert not log.wait(0.0)
        writer.append(name, [Record(b"%d" % number)])
        assert log.wait(60.0)
        assert [record.value for record in readers[name].poll(10)] == [b"%d" % number]


def test_a_reader_that_was_paused_reads_on_where_it_is_sent(opener: Open) -> None:
    log = opener()
    log.create_topics({"t": 1})
    piece = PAUSE_BYTES // 4
    for _ in range(8):
        log.append("t", [Record(bytes(piece))])
    reader = log.reader("r", ["t"])
    assert isinstance(reader, KafkaReader)
    (first,) = reader.poll(1, 10.0)
    while not reader._feed._lanes["t", 0].is_paused:
        assert reader.has_news(10.0)
    for start in (0, 6):
        reader.seek("t", 0, start)
        assert reader.poll(1, 10.0)[0].offset == start
    assert first.offset == 0
    assert log.read("t", 0, 1)[0].offset == 0
    assert log.read("t", 5, 1)[0].offset == 5
