"""Window closing and job planning under Beam, against the loop driver: the same records, byte for byte."""

from __future__ import annotations

from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from operators.driver_beam import run_range
from operators.event_log import EventLog, Record, open_log
from operators.log_memory import MemoryLog
from operators.log_sqlite import SqliteLog
from operators.shard_start import ShardPlace
from operators.stage_driver import open_driver
from operators.windows import WindowsStage
from pipelines.node_roles import windows_stage
from proving.arithmetic.poseidon2 import NumpyHasher
from schemas.errors import InvariantError
from schemas.genesis import Genesis
from tests.suites.counted_chain import counted_chain, two_shards

pytestmark = pytest.mark.beam

NOW = 1_800_000_100_000
OUTPUTS = ("windows.0", "jobs", "rejected")


def stage_of(genesis: Genesis) -> WindowsStage:
    """Makes the windows stage of shard 0 in whatever process asks."""
    place = ShardPlace(MemoryLog(), genesis, 0, two_shards(), NumpyHasher())
    return windows_stage(place)


def _log(path: Path, end: int = 10_000, start: int = 0) -> EventLog:
    """Returns a log with transactions and blocks of shard 0, in order, and nothing that follows from them."""
    chain, clock = counted_chain(), [0]
    log = SqliteLog(f"sqlite:///{path}", path, lambda: clock[0])
    with open_log(chain.log_url) as source:
        log.create_topics(dict(source.topics()))
        reader = source.reader("inputs", ["tx.0", "blocks.0"])
        records = [record for _ in range(10) for record in reader.poll(256)]
        for record in records[start:end]:
            clock[0] = record.append_millis
            copied = Record(record.value, record.headers, record.key)
            log.append(record.topic, [copied], is_durable=False)
    return log


def _records(log: EventLog) -> list[tuple[str, bytes, object, bytes]]:
    return [
        (topic, record.value, record.headers, record.key)
        for topic in OUTPUTS
        for record in log.read(topic, 0, 10_000)
    ]


def _loop(log: EventLog, directory: Path) -> None:
    chain = counted_chain()
    driver = open_driver(stage_of(chain.genesis), log, directory, chain.genesis.chain)
    while driver.run_once(0.0, NOW):
        pass
    driver.close()


def _beam(log: EventLog, directory: Path, max_records: int) -> int:
    genesis = counted_chain().genesis
    build = partial(stage_of, genesis)
    return run_range(build, log, directory, genesis.chain, now_millis=NOW, max_records=max_records)


@pytest.mark.parametrize("max_records", [20, 1000])
def test_ranges_under_beam_write_what_the_loop_driver_writes(
    tmp_path: Path, max_records: int
) -> None:
    with closing(_log(tmp_path / "loop.db")) as loop, closing(_log(tmp_path / "beam.db")) as log:
        _loop(loop, tmp_path / "loop")
        taken = 0
        while found := _beam(log, tmp_path / "beam", max_records):
            taken += found
        assert taken == loop.end_offset("tx.0") + loop.end_offset("blocks.0")
        assert _records(log) == _records(loop)
        assert len([one for one in _records(log) if one[0] == "windows.0"]) > 2
        assert any(one[0] == "jobs" for one in _records(log))


def test_loop_and_beam_take_turns_on_one_stage(tmp_path: Path) -> None:
    with (
        closing(_log(tmp_path / "loop.db")) as loop,
        closing(_log(tmp_path / "both.db", 20)) as log,
    ):
        _loop(loop, tmp_path / "loop")
        _loop(log, tmp_path / "both")
        with closing(_log(tmp_path / "both.db", 30, 20)):
            assert _beam(log, tmp_path / "both", 1000) == 10
        with closing(_log(tmp_path / "both.db", 10_000, 30)):
            _loop(log, tmp_path / "both")
        assert _records(log) == _records(loop)


def test_a_range_killed_before_its_commit_is_run_again_and_a_lost_snapshot_is_computed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(_log(tmp_path / "loop.db")) as loop, closing(_log(tmp_path / "beam.db")) as log:
        _loop(loop, tmp_path / "loop")
        _beam(log, tmp_path / "beam", 9)
        before = _records(log)

        def die(*_: object) -> None:
            raise InvariantError("killed")

        with monkeypatch.context() as patched:
            patched.setattr("operators.driver_beam._commit", die)
            with pytest.raises(InvariantError, match="killed"):
                _beam(log, tmp_path / "beam", 9)
        assert _records(log) == before
        (tmp_path / "beam" / "windows.0.snapshot").unlink()
        while _beam(log, tmp_path / "beam", 9):
            pass
        assert _records(log) == _records(loop)
