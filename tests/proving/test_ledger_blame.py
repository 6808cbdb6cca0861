"""A trace that satisfies no circuit is answered with the claim that fails, its row and its transaction."""

from __future__ import annotations

import numpy as np

from operators.proof_worker import process_backend
from pipelines.adversary.honest_traffic import base
from pipelines.adversary.ledger_edits import AIR
from proving.ledger.blame import name_failure

LANES = {"steps": AIR.layout.steps, "memory": AIR.layout.memory, "nodes": AIR.layout.nodes[0]}


def failure(lane: str, field: str, row: int) -> str:
    honest = base("blame")
    trace = honest.trace.copy()
    trace[LANES[lane].column(field), row] ^= 1
    said = name_failure(AIR, trace, honest.publics, process_backend())
    assert said is not None
    return said


def test_an_honest_trace_has_no_failure() -> None:
    honest = base("blame")
    assert name_failure(AIR, honest.trace, honest.publics, process_backend()) is None


def test_a_step_that_fails_is_named_with_its_row_and_entry() -> None:
    """The nonce's place in the word: only this row speaks of it."""
    honest = base("blame")
    sequence = honest.trace[AIR.layout.steps.column("sequence")].tolist()
    heads = honest.trace[[AIR.layout.steps.column("transfer_debit")]][0]
    row = int(np.flatnonzero(heads)[0])
    place = AIR.layout.steps.column("word", 4)
    trace = honest.trace.copy()
    trace[place, row] += 1
    said = name_failure(AIR, trace, honest.publics, process_backend())
    entry = sequence[row] - sequence[0]
    assert said == (
        f"constraint step.word[4] fails on row {row} (entry {entry} of the segment, place "
        f"{sequence[row]} in TXS)"
    )


def test_a_claim_of_another_lane_is_named_without_a_transaction() -> None:
    said = failure("nodes", "old", 3)
    assert said.startswith("constraint node0.")
    assert "entry" not in said


def test_a_message_that_nobody_takes_is_named_with_its_bus() -> None:
    assert "on bus memory is " in failure("memory", "last_time", 0)
