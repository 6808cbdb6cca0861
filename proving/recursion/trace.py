"""Fills the recursion circuit's trace from the values of a run."""

from __future__ import annotations

import numpy as np

from proving.arithmetic.modulus import EXTENSION_DEGREE, PERMUTATION_WIDTH, WORD
from proving.backends.port import Hasher
from proving.recursion.arrays import Integers
from proving.recursion.execution import Execution, Values
from proving.recursion.layout import (
    CELLS,
    COEFFICIENT_SLOTS,
    FMA_SLOTS,
    MAIN,
    MIDDLE_SLOT,
    NUM_MAIN,
    POWER_SLOTS,
    ROW_BITS,
    SQUARE_SLOT,
    TOTAL_SLOT,
    VARIABLE_SLOT,
    WORD_CELLS,
)
from proving.recursion.permutation import box_columns
from proving.recursion.wiring import Wiring
from proving.stark.air import FieldArray


def fill_trace(execution: Execution, wiring: Wiring, values: Values, hasher: Hasher) -> FieldArray:
    """Returns the main columns, (NUM_MAIN, height).

    Args:
        execution: The circuit's.
        wiring: Where its records lie.
        values: From `Execution.run`.
        hasher: Poseidon2.
    """
    trace = np.zeros((NUM_MAIN, 2**wiring.log_height), dtype=np.uint32)
    _fill_permutations(trace, execution, values, hasher)
    cells = np.zeros((trace.shape[1], CELLS), dtype=np.uint32)
    _fill_arithmetic(cells, execution, wiring, values)
    trace[MAIN["cells"].start : MAIN["cells"].stop] = cells.T
    return trace


def _fill_permutations(
    trace: FieldArray, execution: Execution, values: Values, hasher: Hasher
) -> None:
    used, height = len(values.states), trace.shape[1]
    # Rows past the last permutation all permute zeros: one of them stands for the rest.
    sample = min(used + 1, height)
    states = np.zeros((sample, PERMUTATION_WIDTH), dtype=np.uint32)
    states[:used] = values.states
    after = hasher.permute(states)
    shown = after[:, :WORD].copy()
    shown[:used] = execution.shown(values)
    for name, columns in (
        ("input", states.T),
        ("boxes", box_columns(states)),
        ("shown", shown.T),
        ("capacity", after[:, WORD:].T),
    ):
        place = slice(MAIN[name].start, MAIN[name].stop)
        trace[place, :sample] = columns
        trace[place, sample:] = columns[:, -1:]
    trace[MAIN["bit"].start, :used] = values.bits
    trace[MAIN["rest"].start, :used] = values.rests
    trace[MAIN["uses"].start, :used] = execution.cap_uses(values)


def _fill_arithmetic(
    cells: FieldArray, execution: Execution, wiring: Wiring, values: Values
) -> None:
    places, arrays = wiring.places, execution.arrays
    half = FMA_SLOTS * EXTENSION_DEGREE
    held = _cells_of(values, arrays.slots)
    for number in (0, 1):
        mine = places.multiply_adds[:, 1] == number
        rows = places.multiply_adds[mine, 0]
        cells[rows, half * number : half * (number + 1)] = held[mine]
    cells[places.moves] = values.moved
    cells[places.splits, : EXTENSION_DEGREE * (1 + EXTENSION_DEGREE)] = _cells_of(
        values, arrays.splits
    )
    cells[places.bits, : EXTENSION_DEGREE * (2 + ROW_BITS)] = _cells_of(values, arrays.bits)
    rows = places.reductions
    cells[rows, WORD_CELLS.start :] = values.words[arrays.reduction_words]
    for number, step in ((MIDDLE_SLOT, 0), (TOTAL_SLOT, 1)):
        start = EXTENSION_DEGREE * number
        cells[rows, start : start + EXTENSION_DEGREE] = values.reduced[:, step]
    start, stop = (EXTENSION_DEGREE * place for place in (POWER_SLOTS.start, POWER_SLOTS.stop))
    cells[rows, start:stop] = _cells_of(values, arrays.reduction_powers)
    rows, read = places.evaluations, _cells_of(values, arrays.evaluation_reads)
    for number, step in ((MIDDLE_SLOT, 0), (TOTAL_SLOT, 1)):
        start = EXTENSION_DEGREE * number
        cells[rows, start : start + EXTENSION_DEGREE] = values.evaluated[:, step]
    for place, number in enumerate((*COEFFICIENT_SLOTS, VARIABLE_SLOT, SQUARE_SLOT)):
        start = EXTENSION_DEGREE * number
        mine = slice(EXTENSION_DEGREE * place, EXTENSION_DEGREE * (place + 1))
        cells[rows, start : start + EXTENSION_DEGREE] = read[:, mine]


def _cells_of(values: Values, addresses: Integers) -> FieldArray:
    count, slots = addresses.shape
    cells = values.elements[addresses].reshape(count, EXTENSION_DEGREE * slots)
    return cells.astype(np.uint32)
