"""What admission waits for: counted from verdicts, blocks and dead letters, in any order and again after a restart."""

from __future__ import annotations

from typing import Any

import pytest

from operators.admission_backlog import (
    ASSEMBLY,
    GROWTH_LIMIT,
    LEAST_ROOM,
    SHRINK_LIMIT,
    AdmissionBacklog,
    AdmissionRoom,
)
from operators.block_payload import TransactionReference, encode_payload
from schemas.errors import WireError

NOW = 1_000_000
TARGET = 200
LIFETIME = 60_000


def backlog(size: float = 0.0) -> AdmissionBacklog:
    return AdmissionBacklog(AdmissionRoom(TARGET, 1000, size), LIFETIME)


def verdict(offset: int, bits: str, at: int = NOW) -> dict[str, Any]:
    """A row of `admitted.0`; `bits` has one digit per row, the first row first."""
    value = sum(1 << place for place, bit in enumerate(bits) if bit == "1")
    bitmap = value.to_bytes((len(bits) + 7) // 8, "little")
    return {
        "source_offset": offset,
        "row_count": len(bits),
        "verdicts": bitmap,
        "admitted_millis": at,
    }


def block(*places: tuple[int, int], at: int = NOW) -> dict[str, Any]:
    references = [TransactionReference(offset, row, bytes(32)) for offset, row in places]
    return {"payload": encode_payload(references), "certified_millis": at}


def letter(offset: int, row: int, stage: str = ASSEMBLY, topic: str = "tx.0") -> dict[str, Any]:
    return {"stage": stage, "topic": topic, "offset": offset, "row": row}


def test_what_is_admitted_waits_until_a_block_holds_it_or_it_is_dropped() -> None:
    found = backlog()
    found.take_verdicts([verdict(4, "1011111110"), verdict(6, "")], NOW)
    assert set(found.waiting) == {(4, row) for row in (0, 2, 3, 4, 5, 6, 7, 8)}
    found.take_blocks([block((4, 0), (4, 8))], NOW)
    found.take_letters(
        [letter(4, 2), letter(4, 3, "admission"), letter(4, 4, topic="tx.1")], "tx.0"
    )
    assert set(found.waiting) == {(4, row) for row in (3, 4, 5, 6, 7)}
    assert found.judged == 7


def test_a_verdict_that_is_read_again_changes_nothing() -> None:
    found = backlog()
    found.take_verdicts([verdict(0, "11")], NOW)
    found.take_blocks([block((0, 0), (0, 1))], NOW)
    found.take_verdicts([verdict(0, "11"), verdict(1, "1")], NOW)
    assert set(found.waiting) == {(1, 0)}


def test_a_block_that_comes_before_the_verdict_is_remembered() -> None:
    found = backlog()
    found.take_blocks([block((2, 1))], NOW)
    found.take_verdicts([verdict(1, "1"), verdict(2, "11")], NOW)
    assert set(found.waiting) == {(1, 0), (2, 0)}
    assert not found.early


def test_a_row_that_is_no_block_settles_nothing() -> None:
    found = backlog()
    found.take_verdicts([verdict(0, "1")], NOW)
    found.take_blocks([{"payload": b"junk", "certified_millis": NOW}], NOW)
    assert set(found.waiting) == {(0, 0)}


def test_what_has_expired_blocks_admission_no_longer() -> None:
    found = backlog(size=64)
    found.take_verdicts([verdict(0, "1" * 64)], NOW)
    assert found.left(NOW + LIFETIME) == 0
    assert found.left(NOW + LIFETIME + 1) == 64
    found.take_verdicts([verdict(1, "1", NOW)], NOW + LIFETIME + 1)
    assert not found.waiting


def test_a_snapshot_holds_everything_but_the_room() -> None:
    found = backlog()
    found.take_verdicts([verdict(3, "101")], NOW)
    found.take_blocks([block((9, 9))], NOW)
    again = backlog()
    again.restore(found.encode())
    assert (again.waiting, again.judged, again.early) == (found.waiting, 4, {(9, 9)})
    with pytest.raises(WireError):
        backlog().restore(found.encode() + b"\0")


def test_room_grows_only_while_it_is_used_up() -> None:
    room = AdmissionRoom(TARGET, 1000)
    room.take_block({NOW: TARGET // 4}, NOW)
    assert room.size == LEAST_ROOM
    assert room.used(LEAST_ROOM) == 0
    room.take_block({NOW: TARGET // 4}, NOW + 1)
    assert room.size == LEAST_ROOM * GROWTH_LIMIT


def test_room_shrinks_with_the_longest_wait_but_by_half_at_most() -> None:
    room = AdmissionRoom(TARGET, 1000, 1000)
    room.take_block({NOW: TARGET, NOW + 1: TARGET * 10 // 8}, NOW + 5)
    assert room.size == 800
    room.take_block({NOW + 5: TARGET * 100}, NOW + 9)
    assert room.size == 800 * SHRINK_LIMIT


def test_waits_from_before_the_last_change_say_nothing() -> None:
    room = AdmissionRoom(TARGET, 10_000, 4000)
    room.take_block({NOW: TARGET * 2}, NOW + 50)
    room.take_block({NOW + 49: TARGET * 2}, NOW + 60)
    assert room.size == 2000
    room.take_block({NOW + 50: TARGET * 2}, NOW + 70)
    assert room.size == 1000


def test_room_stays_between_its_bounds() -> None:
    room = AdmissionRoom(TARGET, 600, 590)
    for turn in range(9):
        assert room.used(1000) < 0
        room.take_block({NOW + turn: 1}, NOW + turn)
    assert room.size == 600
    for turn in range(9, 19):
        room.take_block({NOW + turn: TARGET * 50}, NOW + turn)
    assert room.size == LEAST_ROOM


def test_a_clock_that_was_set_back_does_not_freeze_the_room() -> None:
    room = AdmissionRoom(TARGET, 10_000, 4000)
    room.take_block({NOW: TARGET * 2}, NOW)
    assert room.size == 2000
    back = NOW - 3_600_000
    room.used(2000)
    room.take_block({back - 5: TARGET // 2}, back)
    room.used(2000)
    room.take_block({back + 1: TARGET // 2}, back + 1)
    assert room.size == 2000 * GROWTH_LIMIT


def test_room_grows_when_most_of_what_filled_it_is_dropped() -> None:
    found = backlog(size=64)
    found.take_verdicts([verdict(0, "1" * 64)], NOW)
    assert found.left(NOW) == 0
    found.take_letters([letter(0, row) for row in range(8)], "tx.0")
    assert found.room.size == 64
    found.take_letters([letter(0, row) for row in range(8, 48)], "tx.0")
    assert found.room.size == 64 * GROWTH_LIMIT
    found.take_letters([letter(0, row) for row in range(8, 48)], "tx.0")
    assert found.room.size == 64 * GROWTH_LIMIT


@pytest.mark.parametrize("place", [(2**40, -1), (-1, 0)])
def test_a_letter_of_no_place_is_not_remembered(place: tuple[int, int]) -> None:
    found = backlog()
    found.take_letters([letter(*place)], "tx.0")
    again = backlog()
    again.restore(found.encode())
    assert not again.early


def test_a_clock_that_says_when_blocks_are_final_does_not_move_the_room() -> None:
    found = backlog(size=640)
    for turn in range(4):
        now = NOW + turn
        found.take_verdicts([verdict(turn, "1" * 640, now)], now)
        assert found.left(now) <= 0
        found.take_blocks([block((turn, 0), at=now + 2_000)], now + TARGET // 4)
    assert found.room.size > 640
