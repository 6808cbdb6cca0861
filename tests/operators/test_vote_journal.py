from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from operators.vote_journal import HEADER_BYTES, MAX_RECORD_BYTES, JournalError, VoteJournal
from schemas.block import Phase
from schemas.errors import ParameterError
from tests.operators.consensus_cases import Cast, drive

ME, OTHER = b"\x01" * 32, b"\x02" * 32
RECORDS = (b"first", b"second record", b"x" * 5000)


def written(path: Path, *records: bytes) -> bytes:
    with VoteJournal(path, ME) as journal:
        for record in records:
            journal.append((record,))
    return path.read_bytes()


def reopened(path: Path) -> tuple[bytes, ...]:
    with VoteJournal(path, ME) as journal:
        return journal.records


def refusal(path: Path, identity: bytes = ME) -> str:
    with pytest.raises(JournalError) as caught:
        VoteJournal(path, identity)
    return caught.value.reason


def test_a_lost_journal_is_not_taken_for_a_new_one(tmp_path: Path) -> None:
    path = tmp_path / "votes"
    with pytest.raises(JournalError, match="could contradict votes") as caught:
        VoteJournal(path, ME, must_exist=True)
    assert caught.value.reason == "missing"
    assert not path.exists()
    written(path, *RECORDS)
    with VoteJournal(path, ME, must_exist=True) as journal:
        assert journal.records == RECORDS


def test_records_come_back_in_order(tmp_path: Path) -> None:
    path = tmp_path / "votes"
    written(path, *RECORDS)
    assert reopened(path) == RECORDS
    with VoteJournal(path, ME) as journal:
        journal.append((b"more", b"and more"))
    assert reopened(path) == (*RECORDS, b"more", b"and more")


def test_a_write_torn_at_any_byte_leaves_the_whole_records_before_it(tmp_path: Path) -> None:
    path = tmp_path / "votes"
    data = written(path, b"one", b"two", b"three")
    ends = [HEADER_BYTES + (16 + 3), HEADER_BYTES + 2 * (16 + 3), len(data)]
    for length in range(len(data) + 1):
        path.write_bytes(data[:length])
        whole = sum(end <= length for end in ends)
        assert reopened(path) == (b"one", b"two", b"three")[:whole], length
        with VoteJournal(path, ME) as journal:
            journal.append((b"after",))
        assert reopened(path) == ((*(b"one", b"two", b"three")[:whole], b"after"))


def test_a_tail_of_zeros_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "votes"
    path.write_bytes(written(path, b"one") + bytes(100))
    with VoteJournal(path, ME) as journal:
        assert (journal.records, journal.torn_bytes) == ((b"one",), 100)


def test_damage_before_whole_records_is_an_error_and_never_a_shorter_journal(
    tmp_path: Path,
) -> None:
    path = tmp_path / "votes"
    data = written(path, b"one", b"two", b"three")
    for index in range(HEADER_BYTES, HEADER_BYTES + 2 * 19):
        changed = bytearray(data)
        changed[index] ^= 1
        path.write_bytes(bytes(changed))
        assert refusal(path) == "damaged", index


def test_another_validators_journal_and_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "votes"
    data = written(path, b"one")
    assert refusal(path, OTHER) == "foreign"
    path.write_bytes(b"something else entirely" * 10)
    assert refusal(path) == "damaged"
    path.write_bytes(data[:20] + b"\xff" + data[21:])
    assert refusal(path) == "damaged"


def test_one_process_owns_the_journal(tmp_path: Path) -> None:
    path = tmp_path / "votes"
    with VoteJournal(path, ME):
        assert refusal(path) == "locked"
    assert reopened(path) == ()


def test_a_read_only_place_is_named(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        place = Path("/proc/self/votes")
        with pytest.raises(JournalError) as caught:
            VoteJournal(place, ME)
        assert caught.value.reason in {"read_only", "failed"}
        return
    tmp_path.chmod(0o500)
    assert refusal(tmp_path / "votes") == "read_only"


def test_a_full_disk_is_named_and_the_journal_refuses_to_go_on() -> None:
    full = Path("/dev/full")
    journal = VoteJournal.__new__(VoteJournal)
    journal.path, journal.floor = full, 0
    journal._broken, journal._lock = False, -1
    journal._file = os.open(full, os.O_RDWR)
    with journal:
        for reason in ("disk_full", "failed"):
            with pytest.raises(JournalError) as caught:
                journal.append((b"one",))
            assert caught.value.reason == reason


def test_a_closed_journal_refuses(tmp_path: Path) -> None:
    journal = VoteJournal(tmp_path / "votes", ME)
    journal.close()
    journal.close()
    with pytest.raises(JournalError, match="closed"):
        journal.append((b"one",))


def test_compaction_keeps_the_floor_and_what_is_above_it(tmp_path: Path) -> None:
    path = tmp_path / "votes"
    with VoteJournal(path, ME) as journal:
        journal.append(RECORDS)
        journal.compact(7, (b"still needed",))
        journal.append((b"later",))
        with pytest.raises(ParameterError, match="floor"):
            journal.compact(6, ())
    with VoteJournal(path, ME) as journal:
        assert (journal.floor, journal.records) == (7, (b"still needed", b"later"))
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["votes", "votes.lock"]


def test_a_compaction_that_did_not_finish_leaves_the_old_journal(tmp_path: Path) -> None:
    path = tmp_path / "votes"
    written(path, b"one")
    path.with_name("votes.new").write_bytes(b"half a jour")
    assert reopened(path) == (b"one",)
    with VoteJournal(path, ME) as journal:
        journal.compact(3, ())
    assert reopened(path) == ()


@pytest.mark.parametrize("records", [(b"",), (bytes(MAX_RECORD_BYTES + 1),)])
def test_empty_and_oversized_records_are_refused(tmp_path: Path, records: Sequence[bytes]) -> None:
    with VoteJournal(tmp_path / "votes", ME) as journal, pytest.raises(ParameterError):
        journal.append(records)


def test_a_journals_identity_names_chain_shard_and_key_and_outlives_an_epoch() -> None:
    places = [Cast(), Cast(chain=2), Cast(shard=1)]
    names = {c.committee.journal_identity(v) for c in places for v in range(4)}
    assert len(names) == 12
    next_epoch = replace(Cast().committee, epoch=9)
    assert next_epoch.journal_identity(2) == Cast().committee.journal_identity(2)


def test_an_identity_has_32_bytes(tmp_path: Path) -> None:
    with pytest.raises(ParameterError):
        VoteJournal(tmp_path / "votes", b"short")


def test_a_core_restarted_from_the_file_stands_by_its_votes_and_below_the_floor_signs_nothing(
    tmp_path: Path,
) -> None:
    cast, path = Cast(), tmp_path / "votes"
    block, other = cast.block(1), cast.block(1, tag=b"other")
    core = cast.core(0)
    drive(core, cast.propose(block))
    with VoteJournal(path, ME) as journal:
        journal.append(core.durable_records())
    with VoteJournal(path, ME) as journal:
        again = cast.core(0, journal=journal.records, floor=journal.floor)
        journal.compact(1, ())
    assert cast.vote(0, Phase.NOTARIZE, block) in again.durable_records()
    drive(again, cast.propose(other))
    assert cast.vote(0, Phase.NOTARIZE, other) not in again.durable_records()
    with VoteJournal(path, ME) as journal:
        forgetful = cast.core(0, journal=journal.records, floor=journal.floor)
    drive(forgetful, cast.propose(other), cast.nullify(1, 1), cast.nullify(2, 1))
    assert forgetful.durable_records() == ()
