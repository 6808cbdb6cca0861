from __future__ import annotations

import functools
import random
from dataclasses import dataclass

import numpy as np
import pytest

from operators.proof_worker import process_backend
from pipelines.adversary.ledger_traffic import HASHER, fresh_ledger, mixed_blocks
from proving.arithmetic.modulus import P
from proving.ledger.air import LedgerAir
from proving.ledger.segments import cut_window
from proving.ledger.trace import build_trace
from proving.stark.air import FieldArray
from proving.stark.trace_check import TraceChecker
from schemas.statement import AFTER_OFFSET, BEFORE_OFFSET, NUM_COUNTERS, TOUCHED_ARRAYS
from schemas.steps import STEPS
from schemas.units import AMOUNT_LIMBS

AIR = LedgerAir(10, 1)


@functools.cache
def checker() -> TraceChecker:
    return TraceChecker(AIR)


@functools.cache
def honest() -> tuple[FieldArray, list[int]]:
    (segment,) = cut_window(fresh_ledger(), mixed_blocks(), 0, AIR.layout)
    return build_trace(AIR, segment, HASHER)


def step_rows(name: str) -> list[int]:
    trace, _ = honest()
    return np.flatnonzero(trace[AIR.layout.steps.column(name)] == 1).tolist()


@dataclass(frozen=True)
class Mutation:
    """One cell of the honest trace moved by `delta`, and what breaks.

    `messages` are the interactions that change, range messages with a value in the table left out:
    adjusting the table's multiplicities repairs those.
    """

    column: int
    row: int
    delta: int
    violated: frozenset[str]
    messages: frozenset[str]


@functools.cache
def mutations() -> tuple[Mutation, ...]:
    """Every column moved on a representative set of rows, evaluated in batches."""
    trace, publics = honest()
    layout, check = AIR.layout, checker()
    height = layout.height
    rows = {0, 1, height - 1, height - 2}
    for name in (s for s in layout.steps.places if s in STEP_NAMES):
        rows |= set(step_rows(name)[:2]) | {row - 1 for row in step_rows(name)[:2] if row}
    pads = step_rows("padding")
    rows |= {pads[0], pads[1]}
    node = layout.nodes[0]
    for left, right in ((1, 0), (0, 1), (1, 1)):
        found = np.flatnonzero(
            (trace[node.column("takes_left")] == left)
            & (trace[node.column("takes_right")] == right)
        )
        rows |= set(found[:2].tolist())
    rows |= set(np.flatnonzero(trace[node.column("uses_old")] == 1)[:1].tolist())
    found_mutations: list[Mutation] = []
    for row in sorted(rows):
        for delta in (1, P - 1, 1 << 20):
            found_mutations += evaluate_row(trace, publics, check, row, delta)
    return tuple(found_mutations)


def evaluate_row(
    trace: FieldArray, publics: list[int], check: TraceChecker, row: int, delta: int
) -> list[Mutation]:
    width, height = trace.shape
    before, after = (row - 1) % height, (row + 1) % height
    moved = np.repeat(trace[:, row][:, None], width, axis=1)
    moved[np.arange(width), np.arange(width)] = (trace[:, row].astype(np.int64) + delta) % P

    def run(fixed: np.ndarray, local: np.ndarray, following: np.ndarray) -> np.ndarray:
        columns = [np.ascontiguousarray(np.broadcast_to(c, width)) for c in fixed]
        columns += [np.ascontiguousarray(np.broadcast_to(c, width)) for c in local]
        columns += [np.ascontiguousarray(np.broadcast_to(c, width)) for c in following]
        return process_backend().run(check.program, [*columns, *publics], width)

    here = run(check.fixed[:, row], moved, trace[:, after])
    there = run(check.fixed[:, before], trace[:, before], moved)
    original = run(check.fixed[:, row], trace[:, row], trace[:, after])[:, 0]
    names = [c.name for c in check.constraints]
    applies = {
        place: np.array(
            [
                domain == "all"
                or (domain == "first" and place == 0)
                or (domain == "last" and place == height - 1)
                or (domain == "transition" and place < height - 1)
                for domain in (c.domain for c in check.constraints)
            ]
        )
        for place in (row, before)
    }
    bad = (here[: len(names)] != 0) & applies[row][:, None]
    bad |= (there[: len(names)] != 0) & applies[before][:, None]
    changed: list[set[str]] = [set() for _ in range(width)]
    place = len(names)
    for interaction in check.interactions:
        size = 1 + interaction.bus.width
        new, old = here[place : place + size], original[place : place + size]
        place += size
        differs = (new != old[:, None]).any(axis=0) & ((new[0] != 0) | (old[0] != 0))
        if interaction.bus.name == "range" and interaction.sign < 0:
            differs &= ~((new[0] == old[0]) & (new[1] < 2**15))
        for column in np.flatnonzero(differs):
            changed[column].add(interaction.name)
    return [
        Mutation(
            column,
            row,
            delta,
            frozenset(names[i] for i in np.flatnonzero(bad[:, column])),
            frozenset(changed[column]),
        )
        for column in range(width)
    ]


STEP_NAMES = tuple(step.name for step in STEPS)


def test_a_block_of_every_kind_satisfies_the_circuit() -> None:
    report = checker().check(*honest())
    assert (report.violations, report.unbalanced) == ({}, {})
    assert all(step_rows(name) for name in STEP_NAMES)


def test_no_claim_has_a_degree_above_three_and_no_message_one_above_one() -> None:
    check = checker()
    num_inputs = AIR.num_fixed + 2 * AIR.num_main + AIR.num_publics
    public = num_inputs - AIR.num_publics
    degrees = check.program.degrees([1] * public + [0] * AIR.num_publics)
    constraints = degrees[: len(check.constraints)]
    bounds = [2 if c.domain in ("first", "last") else 3 for c in check.constraints]
    assert all(d <= bound for d, bound in zip(constraints, bounds, strict=True))
    assert max(degrees[len(check.constraints) :]) == 1


def test_every_constraint_is_broken_by_some_forged_cell() -> None:
    names = {c.name for c in checker().constraints}
    covered = {name for mutation in mutations() for name in mutation.violated}
    assert covered == names


def test_every_message_is_broken_by_some_forged_cell() -> None:
    names = {interaction.name for interaction in checker().interactions}
    covered = {name for mutation in mutations() for name in mutation.messages}
    # A strip of the range table is bitten through its multiplicity: all of them have a row 0.
    assert covered == names


def test_forged_cells_are_rejected_by_the_full_check_too() -> None:
    trace, publics = honest()
    rng = random.Random(5)  # noqa: S311
    chosen = [m for m in mutations() if m.violated or m.messages]
    for mutation in rng.sample(chosen, 25):
        forged = trace.copy()
        cell = int(forged[mutation.column, mutation.row])
        forged[mutation.column, mutation.row] = (cell + mutation.delta) % P
        report = checker().check(forged, publics)
        assert set(report.violations) == mutation.violated
        assert not report.holds


def forge(edits: dict[tuple[int, int], int]) -> tuple[set[str], set[str]]:
    trace, publics = honest()
    forged = trace.copy()
    for (column, row), value in edits.items():
        forged[column, row] = value % P
    report = checker().check(forged, publics)
    return set(report.violations), {bus for bus, _ in report.unbalanced}


def test_a_packed_carry_that_wraps_the_modulus_is_no_solution() -> None:
    # x + v - 2^30 c = y has the second solution y = x + v - 2^30 + P; with limbs it needs a limb
    # outside the table.
    steps = AIR.layout.steps
    row = step_rows("transfer_credit")[0]
    trace, _ = honest()
    wrapped = int(trace[steps.column("new"), row]) + P - 2**15
    violated, buses = forge(
        {
            (steps.column("new"), row): wrapped,
            (steps.column("carry"), row): int(trace[steps.column("carry"), row]) + 1,
        }
    )
    assert "step.balance[1]" in violated
    assert {"memory", "range"} <= buses


def test_a_limb_outside_the_table_is_rejected_even_when_the_sums_agree() -> None:
    steps = AIR.layout.steps
    row = step_rows("transfer_debit")[0]
    trace, _ = honest()
    low, high = (int(trace[steps.column("fee", j), row]) for j in range(2))
    violated, buses = forge(
        {
            (steps.column("fee"), row): low + 2**15,
            (steps.column("fee", 1), row): high - 1,
        }
    )
    assert "range" in buses
    assert "step.word[5]" not in violated


def test_padding_with_a_selector_or_a_multiplicity_is_rejected() -> None:
    layout = AIR.layout
    row = step_rows("padding")[3]
    violated, _ = forge({(layout.steps.column("settle"), row): 1})
    assert {"step.one", "step.padding.next"} & violated
    free = layout.height - 1
    _, buses = forge({(layout.memory.column("touched"), free): 1})
    # An empty row's first and last memory message are equal, so only the tree misses its leaf.
    assert buses == {"tree"}
    _, buses = forge({(layout.nodes[0].column("is_node"), free): 1})
    assert buses == {"tree"}
    _, buses = forge({(layout.nodes[0].column("uses_old"), free): 1})
    assert buses == {"hash"}


def test_a_stale_read_does_not_balance() -> None:
    # The second access to account 16 claims to read what the first one read.
    steps = AIR.layout.steps
    trace, _ = honest()
    cells, times = trace[steps.column("cell")], trace[steps.column("previous_time")]
    touching = [row for row in range(AIR.layout.height) if cells[row] == 16 and times[row] > 0]
    row = touching[0]
    elapsed = int(times[row]) + int(trace[steps.column("elapsed"), row])
    violated, buses = forge(
        {(steps.column("previous_time"), row): 0, (steps.column("elapsed"), row): elapsed}
    )
    assert (violated, buses) == (set(), {"memory", "range"})


def test_a_lost_write_does_not_balance() -> None:
    memory = AIR.layout.memory
    trace, _ = honest()
    moved = {
        (memory.column("new", j), 0): int(trace[memory.column("old", j), 0])
        for j in range(AMOUNT_LIMBS + 1)
    }
    assert forge(moved) == (set(), {"memory", "tree"})


def test_a_read_from_the_future_is_out_of_order() -> None:
    steps = AIR.layout.steps
    violated, buses = forge({(steps.column("previous_time"), 0): 9})
    assert violated == {"step.order"}
    violated, buses = forge(
        {
            (steps.column("previous_time"), 0): 9,
            (steps.column("elapsed"), 0): -9,
        }
    )
    assert violated == set()
    assert "range" in buses


def test_the_same_cell_cannot_have_two_memory_rows() -> None:
    memory = AIR.layout.memory
    trace, _ = honest()
    free = AIR.layout.height - 1
    copy = {(memory.start + j, free): int(trace[memory.start + j, 0]) for j in range(memory.width)}
    copy[memory.column("last_time"), free] = 0
    for j in range(8):
        copy[memory.column("new", j), free] = int(trace[memory.column("old", j), 0])
    violated, buses = forge(copy)
    assert violated == set()
    assert buses == {"tree"}


@pytest.mark.parametrize("amount", [1, P])
def test_an_index_and_its_alias_past_the_modulus_are_one_cell(amount: int) -> None:
    steps = AIR.layout.steps
    row = step_rows("transfer_debit")[0]
    trace, _ = honest()
    cell = int(trace[steps.column("cell"), row])
    violated, buses = forge({(steps.column("cell"), row): cell + amount})
    assert bool(violated or buses) == (amount == 1)


def test_a_transaction_cannot_be_cut_in_two() -> None:
    steps = AIR.layout.steps
    honest()
    last = step_rows("padding")[0] - 1
    assert step_rows("settle")[-1] == last
    row = step_rows("transfer_credit")[-1]
    edits = {(steps.column("transfer_credit"), row): 0, (steps.column("padding"), row): 1}
    violated, _ = forge(edits)
    assert "step.transfer_debit.next" in violated


def test_a_counter_off_by_one_at_either_end_is_rejected() -> None:
    trace, publics = honest()
    starts = (BEFORE_OFFSET, AFTER_OFFSET)
    for position in [start + j for start in starts for j in range(NUM_COUNTERS)]:
        forged = list(publics)
        forged[position] = (forged[position] + 1) % P
        violations = checker().check(trace, forged).violations
        assert len(violations) == 1


def test_another_root_does_not_balance() -> None:
    trace, publics = honest()
    for array in TOUCHED_ARRAYS:
        for boundary in (BEFORE_OFFSET, AFTER_OFFSET):
            forged = list(publics)
            forged[boundary + NUM_COUNTERS + 8 * (array - 1)] ^= 1
            report = checker().check(trace, forged)
            assert {bus for bus, _ in report.unbalanced} == {"tree"}
