"""A record on which a stage breaks is put aside alone, the first time and whenever it is replayed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from operators.event_log import Record
from operators.log_memory import MemoryLog, MemoryStore
from operators.stage import Input, Output
from operators.stage_driver import POISON, StageDriver, open_driver
from operators.topic_view import TopicView
from schemas.tables import REJECTED, TRANSACTIONS, Table
from schemas.topics import all_topics

NOW = 1_800_000_000_000


@dataclass(slots=True)
class Sum:
    """What the stage knows; it begins to change before it breaks."""

    total: int = 0
    taken: int = 0


class Adder:
    """Adds the numbers of `tx.0` up and breaks on what is none, half done."""

    name = "adder"
    steps = 0

    @property
    def inputs(self) -> Mapping[str, Table]:
        return {"tx.0": TRANSACTIONS}

    def initial(self) -> Sum:
        return Sum()

    def step(self, state: Sum, batch: Sequence[Input], now_millis: int) -> tuple[Sum, list[Output]]:
        self.steps += 1
        for record in batch:
            state.taken += 1
            state.total += int(record.value)
        return state, []

    def snapshot(self, state: Sum) -> bytes:
        return b"%d %d" % (state.total, state.taken)

    def restore(self, snapshot: bytes) -> Sum:
        return Sum(*map(int, snapshot.split()))


@pytest.fixture
def log() -> MemoryLog:
    made = MemoryLog("memory://poison", MemoryStore())
    made.create_topics(dict.fromkeys(all_topics(1), 1))
    return made


def started(log: MemoryLog, directory: Path, stage: Adder) -> StageDriver[Sum]:
    directory.mkdir(exist_ok=True)
    return open_driver(stage, log, directory, 1, poll_records=4)


def test_the_rest_of_its_batch_goes_on_and_a_start_comes_to_the_same(
    log: MemoryLog, tmp_path: Path
) -> None:
    first = started(log, tmp_path / "first", Adder())
    log.append("tx.0", [Record(b"%d" % number) for number in range(8)])
    log.append("tx.0", [Record(b"100"), Record(b"poison"), Record(b"200"), Record(b"more")])
    log.append("tx.0", [Record(b"%d" % number) for number in range(8)])
    while first.run_once(0.0, NOW):
        pass
    assert first.state == Sum(28 + 300 + 28, 18)
    letters = list(TopicView(log).rows("rejected", REJECTED))
    assert [(row["reason"], row["offset"]) for row in letters] == [(POISON, 9), (POISON, 11)]
    stage = Adder()
    again = started(log, tmp_path / "again", stage)
    assert again.state == first.state, "nothing of what broke is left"
    assert len(list(TopicView(log).rows("rejected", REJECTED))) == 2
    # up to the batch that broke, then the same with its four records one by one, and the rest
    assert stage.steps == 3 + (2 + 4 + 2)
