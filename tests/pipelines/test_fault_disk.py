"""Log, journal and snapshot on a disk that is really full: a clear error, nothing lost, and on when there is space."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from operators.event_log import LogFull, Record
from operators.log_sqlite import SqliteLog
from operators.snapshot_file import read_snapshot, write_snapshot
from operators.vote_journal import JournalError, VoteJournal
from pipelines.faults.disk import SmallDisk
from schemas.errors import DiskRefuses, EnvironmentMissing
from tests.suites.small_disks import mounted

ME = b"\x01" * 32
BODY = bytes(range(256)) * 40


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with mounted(tmp_path) as made:
        yield made


def test_a_full_log_refuses_whole_records_and_goes_on_when_there_is_space(disk: SmallDisk) -> None:
    with SqliteLog("sqlite:", disk.mount / "log.sqlite") as log:
        log.create_topics({"a": 1})
        log.append("a", [Record(BODY)])
        disk.fill()
        kept = 1
        with pytest.raises(LogFull, match="nothing was written") as caught:  # noqa: PT012
            for _ in range(600):  # the file has room of its own for the first ones
                kept = log.append("a", [Record(BODY), Record(BODY)]) + 2
        assert caught.value.may_pass
        assert log.end_offset("a") == kept
        disk.free()
        assert log.append("a", [Record(b"more")]) == log.end_offset("a") - 1
    with SqliteLog("sqlite:", disk.mount / "log.sqlite") as again:
        stored = again.read("a", 0, 2000)
        assert {record.value for record in stored} == {BODY, b"more"}
        assert [record.offset for record in stored] == list(range(len(stored)))


def test_a_journal_on_a_full_disk_keeps_what_it_said_to_have_kept(disk: SmallDisk) -> None:
    path = disk.mount / "votes"
    kept: list[bytes] = []
    with VoteJournal(path, ME) as journal:
        disk.fill()
        with pytest.raises(JournalError) as caught:  # noqa: PT012
            for number in range(1000):
                record = number.to_bytes(2, "little") + BODY
                journal.append((record,))
                kept.append(record)
        assert (caught.value.reason, caught.value.may_pass) == ("disk_full", True)
    disk.free()
    with VoteJournal(path, ME, must_exist=True) as journal:
        assert list(journal.records) == kept
        journal.append((b"more",))


def test_a_journal_that_cannot_be_compacted_is_still_whole_and_leaves_no_draft(
    disk: SmallDisk,
) -> None:
    path = disk.mount / "votes"
    with VoteJournal(path, ME) as journal:
        journal.append((BODY, b"second"))
        disk.fill()
        with pytest.raises(JournalError, match="disk_full"):
            journal.compact(5, [BODY * 20])
    assert [file.name for file in disk.mount.glob("votes*.new")] == []
    disk.free()
    with VoteJournal(path, ME, must_exist=True) as journal:
        assert (journal.records, journal.floor) == ((BODY, b"second"), 0)


def test_a_snapshot_that_finds_no_space_leaves_the_old_one_and_no_draft(disk: SmallDisk) -> None:
    path = disk.mount / "state.snapshot"
    write_snapshot(path, "test", b"old")
    disk.fill()
    with pytest.raises(DiskRefuses) as caught:
        write_snapshot(path, "test", BODY * 20)
    assert caught.value.may_pass
    assert read_snapshot(path, "test") == b"old"
    assert not path.with_name("state.snapshot.draft").exists()
    disk.free()
    write_snapshot(path, "test", b"new")
    assert read_snapshot(path, "test") == b"new"


def test_writes_to_a_slow_disk_take_their_time(disk: SmallDisk) -> None:
    """The limit is the kernel's: a synchronised append is two writes or more, and ten a second are let through."""
    try:
        disk.slow_down(10)
    except EnvironmentMissing as error:
        pytest.skip(f"NO LIMIT: {error}")
    begun = time.monotonic()
    with VoteJournal(disk.mount / "votes", ME) as journal:
        for _ in range(8):
            journal.append((BODY,))
    assert time.monotonic() - begun > 0.8  # at least eight writes: the limit cannot be beaten
    disk.slow_down(0)
