"""Where windows are cut: against a count of rows one by one, and which shape takes what."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from pipelines.adversary.ledger_traffic import fresh_ledger, mixed_blocks
from proving.errors import ProvingError
from proving.kinds import registered_kinds
from proving.ledger.layout import Layout, make_layout
from proving.ledger.planning import Cut, LargeShape, Load, plan_cuts
from proving.ledger.segments import cut_window, window_loads
from proving.segment_proofs import SEGMENT_KINDS, large_shape, segment_layout
from schemas.job import MAX_WITNESS_BYTES
from schemas.statement import TOUCHED_ARRAYS
from schemas.units import ARRAY_DEPTH, Array


def naive_rows(loads: Sequence[Load]) -> tuple[int, int, int, int]:
    """Steps with the padding, memory rows, hash rows and bytes of a segment, counted in sets."""
    cells = {place for load in loads for place in load.cells}
    leaves = cells | {place for load in loads for place in load.appends}
    nodes = {(a, level, i >> level) for a, i in leaves for level in range(1, ARRAY_DEPTH + 1)}
    siblings = sum(1 for a, i in leaves if (a, i ^ 1) not in leaves)
    siblings += sum(
        1 for a, level, i in nodes if level < ARRAY_DEPTH and (a, level, i ^ 1) not in nodes
    )
    untouched = len(TOUCHED_ARRAYS) - len({array for array, _ in leaves})
    hashes = sum(load.hashes for load in loads)
    size = 35 * len(loads) + 64 * hashes + 36 * len(cells) + 32 * (siblings + 2 * untouched)
    rows = len(nodes) + untouched + (hashes + 1) // 2
    return 1 + sum(load.steps for load in loads), len(cells), rows, size


def fits(loads: Sequence[Load], layout: Layout) -> bool:
    steps, memory, hashed, size = naive_rows(loads)
    height = layout.height
    return (
        max(steps, memory) <= height
        and hashed <= height * len(layout.nodes)
        and size <= MAX_WITNESS_BYTES
    )


def random_loads(rng: random.Random, count: int, spread: int) -> list[Load]:
    """Entries of every kind among `spread` cells."""
    loads, keys = [], rng.randrange(16, 40)
    first = rng.randrange(100)
    for number in range(count):
        appends: tuple[tuple[Array, int], ...] = ((Array.TXS, first + number),)
        registers = rng.random() < 0.2
        if registers:
            appends += ((Array.KEY, keys),)
            keys += 1
        cells = tuple((Array.ACC, rng.randrange(spread)) for _ in range(rng.choice((1, 2))))
        if rng.random() < 0.1:
            cells += ((rng.choice((Array.OUT, Array.INB)), rng.randrange(9)),)
        loads.append(Load(rng.choice((1, 2)), int(registers), cells, appends))
    return loads


@pytest.mark.parametrize(("log_height", "lanes"), [(5, 6), (6, 3), (8, 1), (8, 4)])
def test_a_segment_takes_as_many_entries_as_fit_and_not_one_more(
    log_height: int, lanes: int
) -> None:
    layout = make_layout(log_height, lanes)
    for seed in range(6):
        rng = random.Random(f"{log_height} {lanes} {seed}")  # noqa: S311 - reproducible
        loads = random_loads(rng, 90, rng.choice((3, 40, 2**20, 2**29)))
        start = 0
        for cut in plan_cuts(loads, layout, None):
            assert not cut.large
            end = start + cut.entries
            assert fits(loads[start:end], layout)
            assert end == len(loads) or not fits(loads[start : end + 1], layout)
            start = end
        assert start == len(loads)


def test_the_planned_loads_are_those_of_the_executed_window() -> None:
    """The words that a segment appends and the cells that it touches, against its witness."""
    layout = make_layout(7, 2)
    loads = window_loads(mixed_blocks(), fresh_ledger().num_keys, 0)
    segments = cut_window(fresh_ledger(), mixed_blocks(), 0, layout)
    cuts = plan_cuts(loads, layout, None)
    assert [cut.entries for cut in cuts] == [len(segment.entries) for segment in segments]
    start = 0
    for segment in segments:
        part = loads[start : start + len(segment.entries)]
        start += len(segment.entries)
        before, after = segment.statement.before, segment.statement.after
        touched = {cell for load in part for array, cell in load.cells if array is Array.ACC}
        linked = {place for load in part for place in load.cells if place[0] is not Array.ACC}
        appended = [place for load in part for place in load.appends]
        assert touched == {index for index, _ in segment.accounts}
        assert linked == {(array, peer) for array, peer, _ in segment.links}
        assert [i for a, i in appended if a is Array.TXS] == [
            *range(before.sequence, after.sequence)
        ]
        assert [i for a, i in appended if a is Array.KEY] == [*range(before.keys, after.keys)]
        cells = len(touched) + len(linked)
        assert naive_rows(part)[3] >= 32 * sum(map(len, segment.siblings)) + 36 * cells
        assert naive_rows(part)[3] + 2000 >= len(segment.encode())
    assert start == len(loads)


def single_cell(count: int) -> list[Load]:
    """Entries of one step on one cell: rows alone decide where they are cut."""
    return [Load(1, 0, ((Array.ACC, 16),), ((Array.TXS, number),)) for number in range(count)]


# 2^7 rows and eight lanes hold 127 such entries, 2^9 rows 511.
@pytest.mark.parametrize(
    ("entries", "above", "expected"),
    [
        (0, 2, []),
        (1, 2, [(1, False)]),
        (127, 2, [(127, False)]),
        (128, 2, [(127, False), (1, False)]),
        (254, 2, [(127, False), (127, False)]),
        (255, 2, [(255, True)]),
        (381, 3, [(127, False), (127, False), (127, False)]),
        (382, 3, [(382, True)]),
        (511, 2, [(511, True)]),
        (512, 2, [(511, True), (1, False)]),
        (511 + 254, 2, [(511, True), (127, False), (127, False)]),
        (511 + 255, 2, [(511, True), (255, True)]),
        (128, 0, [(128, True)]),
        (255, None, [(127, False), (127, False), (1, False)]),
    ],
)
def test_which_shape_takes_what(
    entries: int, above: int | None, expected: list[tuple[int, bool]]
) -> None:
    large = None if above is None else LargeShape(2, make_layout(9, 8), above)
    cuts = plan_cuts(single_cell(entries), make_layout(7, 8), large)
    assert cuts == [Cut(*cut) for cut in expected]


def test_a_large_shape_that_holds_no_more_is_not_taken() -> None:
    layout = make_layout(7, 8)
    cuts = plan_cuts(single_cell(600), layout, LargeShape(2, layout, 1))
    assert {cut.large for cut in cuts} == {False}


def test_an_entry_that_no_segment_holds_is_named() -> None:
    load = Load(2, 0, ((Array.ACC, 16), (Array.ACC, 2**29)), ((Array.TXS, 0),))
    assert plan_cuts([load], make_layout(7, 1), None) == [Cut(1, False)]
    with pytest.raises(ProvingError, match="too small for a single transaction"):
        plan_cuts([load], make_layout(6, 1), None)


def test_a_large_witness_always_finds_place_in_an_envelope() -> None:
    """Cells far apart: their siblings fill the envelope before their nodes fill the lanes."""
    rng = random.Random(5)  # noqa: S311 - reproducible
    spread = [rng.randrange(16, 2**29) for _ in range(60_000)]
    loads = [
        Load(2, 0, ((Array.ACC, a), (Array.ACC, b)), ((Array.TXS, number),))
        for number, (a, b) in enumerate(zip(spread[::2], spread[1::2], strict=True))
    ]
    large = large_shape()
    first, *_ = plan_cuts(loads, segment_layout(), large)
    assert first.large
    _, _, nodes, size = naive_rows(loads[: first.entries])
    assert nodes < large.layout.height * len(large.layout.nodes)
    assert MAX_WITNESS_BYTES - 2000 < size <= MAX_WITNESS_BYTES


def test_the_registered_shapes_are_those_that_windows_are_cut_for() -> None:
    kinds = [registered_kinds().by_name[name] for name in SEGMENT_KINDS]
    large = large_shape()
    assert [kind.number for kind in kinds] == [1, large.kind]
    assert (segment_layout().log_height, len(segment_layout().nodes)) == (12, 1)
    assert (large.layout.log_height, len(large.layout.nodes)) == (17, 4)
