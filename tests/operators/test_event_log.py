"""The contract for every adapter, and what only a log on disk can suffer."""

from __future__ import annotations

import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from operators.event_log import EventLog, LogCorrupt, LogFull, Record, open_log
from operators.log_sqlite import SqliteLog
from operators.metered_log import MeteredLog
from operators.metrics import PrometheusMetrics
from schemas.errors import ParameterError
from tests.suites.log_contract import COMMITTER, CONTRACT, Open

HASTY = """
import os, signal, sys
from operators.event_log import Record, open_log
log = open_log(sys.argv[1])
log.create_topics({"a": 1})
for number in range(300):
    log.append("a", [Record(number.to_bytes(2, "little") * 50)], is_durable=False)
os.kill(os.getpid(), signal.SIGKILL)
"""
"""Appends without synchronisation and dies at once."""

FILLER = """
import resource, sys
from operators.event_log import LogFull, Record, open_log
log = open_log(sys.argv[1])
log.create_topics({"a": 1})
log.append("a", [Record(b"kept")])
resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, 2**20))
import signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
try:
    for _ in range(100):
        log.append("a", [Record(bytes(2**18))])
except LogFull as error:
    print("full:", error, flush=True)
print("end", log.end_offset("a"))
"""


def _opener(kind: str, folder: Path) -> Open:
    urls = {"sqlite": f"sqlite:///{folder / 'log.sqlite'}", "memory": f"memory://{uuid.uuid4()}"}
    if kind.startswith("metered "):
        plain = _opener(kind.removeprefix("metered "), folder)
        return lambda: MeteredLog(plain(), PrometheusMetrics())
    return lambda: open_log(urls[kind])


@pytest.mark.parametrize("law", CONTRACT, ids=lambda law: law.__name__)
@pytest.mark.parametrize("kind", ["memory", "sqlite", "metered memory"])
def test_an_adapter_keeps_the_contract(
    kind: str, law: Callable[[Open], None], tmp_path: Path
) -> None:
    law(_opener(kind, tmp_path))


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_an_embedded_log_keeps_the_order_of_appends_across_topics(
    kind: str, tmp_path: Path
) -> None:
    log = _opener(kind, tmp_path)()
    log.create_topics({"a": 1, "b": 2})
    places = (("b", 1), ("a", 0), ("b", 0))
    for number in range(30):
        topic, partition = places[number % 3]
        log.append(topic, [Record(bytes([number]))], partition)
    reader = log.reader("r", ["a", "b"])
    assert [record.value[0] for record in reader.poll(99)] == list(range(30))


def _input(log: EventLog, count: int) -> None:
    log.create_topics({"in": 1, "out": 1})
    for first in range(0, count, 100):
        log.append("in", [Record(n.to_bytes(4, "little")) for n in range(first, first + 100)])


def test_kill_at_any_instant_leaves_positions_and_outputs_together(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'log.sqlite'}"
    log = open_log(url)
    _input(log, 20_000)
    rng = random.Random(7)  # noqa: S311 - a reproducible schedule
    for _ in range(12):
        child = subprocess.Popen(  # noqa: S603 - our own interpreter
            [sys.executable, "-c", COMMITTER, url], stdout=subprocess.PIPE
        )
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        time.sleep(rng.uniform(0, 0.03))  # the instant of the kill, not a wait for anything
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
    done = log.reader("r", ["in"]).committed()["in", 0]
    copied = [int.from_bytes(record.value, "little") for record in log.read("out", 0, 20_000)]
    assert copied == list(range(done))
    assert 0 < done < 20_000


def test_a_killed_process_takes_none_of_its_hasty_appends_along(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'log.sqlite'}"
    died = subprocess.run([sys.executable, "-c", HASTY, url], check=False)  # noqa: S603 - our own
    assert died.returncode == -signal.SIGKILL
    found = [record.value for record in open_log(url).read("a", 0, 1000)]
    assert found == [number.to_bytes(2, "little") * 50 for number in range(300)]


def test_haste_ends_with_the_append_that_asked_for_it(tmp_path: Path) -> None:
    with SqliteLog("", tmp_path / "log.sqlite") as log:
        log.create_topics({"a": 1})
        log.append("a", [Record(b"x")], is_durable=False)
        with pytest.raises(ParameterError):
            log.append("b", [Record(b"x")], is_durable=False)
        (full,) = log.select("pragma synchronous", ())
        assert full == (2,)


def test_a_torn_write_ahead_file_loses_only_its_tail(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'log.sqlite'}"
    log = open_log(url)
    log.create_topics({"a": 1})
    for number in range(200):
        log.append("a", [Record(number.to_bytes(4, "little") * 100)])
    wal = tmp_path / "log.sqlite-wal"
    rng = random.Random(3)  # noqa: S311 - reproducible places
    for place in range(8):
        folder = tmp_path / f"torn{place}"
        folder.mkdir()
        shutil.copy(tmp_path / "log.sqlite", folder)
        data = bytearray(wal.read_bytes())
        if place % 2:
            del data[rng.randrange(len(data)) :]
        else:
            data[rng.randrange(len(data))] ^= 0xFF
        (folder / "log.sqlite-wal").write_bytes(data)
        with open_log(f"sqlite:///{folder / 'log.sqlite'}") as torn:
            found = torn.read("a", 0, 1000) if "a" in torn.topics() else []
            values = [record.value for record in found]
            assert values == [n.to_bytes(4, "little") * 100 for n in range(len(values))]


def test_a_full_disk_is_a_clear_error_and_nothing_half_written(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'log.sqlite'}"
    finished = subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", FILLER, url], capture_output=True, text=True, check=False
    )
    assert "full:" in finished.stdout, finished.stderr
    end = int(finished.stdout.split("end")[1])
    with open_log(url) as log:
        assert log.end_offset("a") == end
        assert log.read("a", 0, 1)[0].value == b"kept"
        assert log.append("a", [Record(b"room again")]) == end


def test_a_directory_that_cannot_be_written_is_a_clear_error() -> None:
    with pytest.raises(LogFull):
        open_log("sqlite:////proc/ecliptica/log.sqlite")


@pytest.mark.parametrize(
    "content", [b"not a database at all", b"\x00" * 4096, b"SQLite format 3\x00" * 99]
)
def test_a_file_that_is_no_log_is_refused_and_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "log.sqlite"
    path.write_bytes(content)
    with pytest.raises(LogCorrupt):
        open_log(f"sqlite:///{path}")
    assert path.read_bytes() == content


def test_another_programs_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.sqlite"
    with sqlite3.connect(path) as other:
        other.execute("create table t (x)")
    with pytest.raises(LogCorrupt, match="not an event log"):
        open_log(f"sqlite:///{path}")


def test_retention_gives_disk_space_back(tmp_path: Path) -> None:
    with open_log(f"sqlite:///{tmp_path / 'log.sqlite'}") as log:
        log.create_topics({"a": 1})
        for _ in range(40):
            log.append("a", [Record(bytes(2**18))])
        before = log.size_bytes()
        log.retain("a", 39)
        assert log.size_bytes() < before / 4
        assert log.read("a", 0, 5)[0].offset == 39


@pytest.mark.parametrize("url", ["", "sqlite:///", "redis://x", "nothing"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ParameterError):
        open_log(url)
