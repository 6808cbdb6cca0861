"""A start judges every record by the blocks of the first time, however the log is cut and whatever else is on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from operators.admission_supply import STEP_RECORDS, AdmissionSupply
from operators.bounded_admission import BoundedAdmission
from operators.event_log import Append, Record, StoredRecord
from operators.stage_driver import POLL_RECORDS
from operators.topic_view import TopicView
from proving.ledger.rules import apply
from schemas.tables import ADMITTED, encode
from tests.suites.admission_desk import (
    NOW,
    OPENED,
    OPENING,
    SLOT,
    World,
    paid,
    pump,
)


@pytest.fixture
def world() -> World:
    return World()


def lived(world: World, directory: Path) -> BoundedAdmission:
    """Returns an admission that has seen an account go on after what it sent had expired."""
    first = world.open(directory)
    world.put(*OPENING)
    pump(first)
    world.finish(*OPENED)
    world.put(paid(1, expiry=SLOT + 9), paid(2, 1))
    pump(first)
    world.put(paid(3))  # refused: the nonce is taken
    pump(first)
    world.finish(slot=SLOT + 10)
    world.put(paid(4))  # and now it is not
    pump(first)
    world.finish((3, 0), slot=SLOT + 11)
    return first


def test_without_a_snapshot_and_with_more_blocks_than_there_were(
    world: World, tmp_path: Path
) -> None:
    first = lived(world, tmp_path / "first")
    verdicts = [row["verdicts"] for row in TopicView(world.log).rows("admitted.0", ADMITTED)]
    assert verdicts == [b"\7", b"\3", b"\0", b"\1"]
    again = world.open(tmp_path / "again")
    assert again.driver.state == first.driver.state
    assert first.driver.state.height == 2
    world.put(paid(5, 1))
    pump(again)
    assert again.driver.state == world.desk.state


def test_from_a_snapshot_of_any_moment(world: World, tmp_path: Path) -> None:
    first = world.open(tmp_path / "first")
    world.put(*OPENING)
    pump(first)
    world.finish(*OPENED)
    for nonce in range(3):
        world.put(paid(1, nonce))
        pump(first)
        first.driver.save()
        kept = (tmp_path / "first" / "admission.0.snapshot").read_bytes()
        (tmp_path / f"{nonce}").mkdir()
        (tmp_path / f"{nonce}" / "admission.0.snapshot").write_bytes(kept)
        world.finish((nonce + 1, 0), slot=SLOT + nonce)
    for nonce in range(3):
        assert world.open(tmp_path / f"{nonce}").driver.state == first.driver.state


def test_on_a_log_longer_than_a_batch(world: World, tmp_path: Path) -> None:
    first = world.open(tmp_path / "first")
    world.put(*OPENING)
    pump(first)
    world.finish(*OPENED)
    for nonce in range(POLL_RECORDS + 3):
        world.put(paid(1, nonce))
        if nonce % 40 == 0:
            pump(first)
            world.finish(*[(n + 1, 0) for n in range(max(0, nonce - 39), nonce + 1)])
    pump(first)
    again = world.open(tmp_path / "again")
    assert again.driver.state == first.driver.state
    assert first.driver.state.height == 8


def test_a_strangers_verdict_does_not_keep_blocks_away(world: World, tmp_path: Path) -> None:
    first = world.open(tmp_path / "first")
    world.put(*OPENING)
    pump(first)
    first.close()
    row = {"row_count": 0, "verdicts": b"", "admitted_millis": NOW, "blocks_end": 0}
    world.append("admitted.0", ADMITTED, [{"source_offset": 2**40, **row}])
    again = world.open(tmp_path / "first")
    world.finish(*OPENED)
    world.put(paid(1))
    pump(again)
    assert again.driver.state == world.desk.state


@pytest.mark.parametrize("is_new", [True, False])
def test_a_step_holds_a_bounded_number_of_blocks(world: World, is_new: bool) -> None:
    for _ in range(3 * STEP_RECORDS + 1):
        world.log.append("blocks.0", [Record(b"noise")])
    world.put(*OPENING)
    end = world.log.end_offset("blocks.0")
    row = {"row_count": 3, "verdicts": b"\7", "admitted_millis": NOW, "blocks_end": end}
    world.append("admitted.0", ADMITTED, [{"source_offset": 0, **row}])
    supply = AdmissionSupply(world.log, 0, newest=end)
    steps = list(supply(world.desk.stage.initial(), world.log.read("tx.0", 0, 1), is_new))
    assert [len(step) for step in steps] == [STEP_RECORDS] * 3 + [1, 1]
    assert [record.offset for step in steps for record in step] == [*range(end), 0]


def test_a_log_without_named_blocks_is_caught_up_with_in_linear_work(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Verdicts of earlier versions name none: all waits until the first new record, and is executed once then."""
    count = 30
    world.put(*OPENING)
    world.finish(*OPENED)
    for nonce in range(count):
        world.put(paid(1, nonce))
    for nonce in range(count):
        world.finish((nonce + 1, 0))
    old = world.log.reader("admission.0", ["tx.0"])
    old.poll(1000)
    rows = [
        {
            "source_offset": offset,
            "row_count": 1 if offset else 3,
            "verdicts": b"\1" if offset else b"\7",
            "admitted_millis": NOW,
            "blocks_end": None,
        }
        for offset in range(count + 1)
    ]
    headers, body = encode(ADMITTED, ADMITTED.batch(rows))
    old.commit([Append("admitted.0", [Record(body, headers)])])
    first = world.open(tmp_path / "first")
    world.put(paid(1, count))
    executed = []

    def counted(*given: Any) -> object:
        executed.append(given)
        return apply(*given)

    monkeypatch.setattr("operators.admission_view.apply", counted)
    pump(first)
    assert first.driver.state == world.desk.state
    assert len(executed) <= 4 * count


def test_a_logs_markers_do_not_send_it_back_to_the_log(world: World) -> None:
    """Where commits leave markers, the place after the last block lies below the one that was read to."""
    blocks = [
        StoredRecord("blocks.0", 0, offset, NOW, b"noise") for offset in (0, 2, 4)
    ]  # and none of them is on this log
    state, transaction = world.desk.stage.initial(), StoredRecord("tx.0", 0, 0, NOW, b"")
    supply = AdmissionSupply(world.log, 0)
    for block in blocks:
        supply.take([block], block.offset + 2)
        (step, rest) = supply(state, [transaction], is_new=True)
        assert [*step, *rest] == [block, transaction]
        state.blocks_end = block.offset + 1
