"""A tape as arrays, one per kind of record and field, in the order of the tape."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from proving.arithmetic.modulus import EXTENSION_DEGREE, WORD
from proving.recursion.layout import CELLS, FMA_SLOTS, FMA_WEIGHTS, ROW_BITS, ROW_WORDS, SLOTS
from proving.recursion.tape import NOTHING, Tape

Integers = NDArray[np.int64]
"""Addresses, positions, levels, or residues that have room for a product of two."""


@dataclass(frozen=True, slots=True, eq=False)
class TapeArrays:
    """Addresses, positions and weights of all records; `NOTHING` where a record has none.

    Attributes:
        slots: (multiply-adds, 4) a, b, c, result.
        weights: (multiply-adds, 7).
        unknowns: (multiply-adds,) `Unknown`.
        move_elements, move_words, move_inputs: (moves, 8), (moves, 5), (moves, 40).
        move_sources: (moves,) `Source`.
        splits: (splits, 6) whole and parts.
        joins: (splits,) 1 if the whole is computed.
        bits: (bits, 8) value, six bits, rest.
        reduction_words, reduction_totals: (reductions,) over all chains.
        reduction_inputs, reduction_powers: (reductions, 8), (reductions, 4).
        reduction_writes: (reductions,) whether the row writes its word.
        reduction_next: (reductions,) the record carried in, or `NOTHING`.
        evaluation_reads: (evaluations, 6) over all chains: four coefficients, point, its square.
        evaluation_totals, evaluation_next: (evaluations,) as of reductions.
        steps, rates, widths, shown, rests: (permutations,) over all chains.
        siblings: (permutations, 8).
        trees, positions: (permutations,).
        meets_cap: (permutations,) bool.
    """

    slots: Integers
    weights: Integers
    unknowns: Integers
    move_elements: Integers
    move_words: Integers
    move_inputs: Integers
    move_sources: Integers
    splits: Integers
    joins: Integers
    bits: Integers
    reduction_words: Integers
    reduction_totals: Integers
    reduction_inputs: Integers
    reduction_writes: NDArray[np.bool_]
    reduction_powers: Integers
    reduction_next: Integers
    evaluation_reads: Integers
    evaluation_totals: Integers
    evaluation_next: Integers
    steps: Integers
    rates: Integers
    widths: Integers
    shown: Integers
    rests: Integers
    siblings: Integers
    trees: Integers
    positions: Integers
    meets_cap: NDArray[np.bool_]


def tape_arrays(tape: Tape) -> TapeArrays:
    """Converts a tape; positions that a record does not have name the zero after the inputs."""
    zero = tape.num_inputs
    adds, moves = tape.multiply_adds, tape.moves
    reductions = [record for chain in tape.reductions for record in chain]
    rows = [record for chain in tape.chains for record in chain]
    evaluations = [record for chain in tape.evaluations for record in chain]
    later = [n + 1 if r.continues else NOTHING for n, r in enumerate(evaluations)]
    following = [n + 1 if r.continues else NOTHING for n, r in enumerate(reductions)]
    return TapeArrays(
        slots=_table([r.slots for r in adds], FMA_SLOTS),
        weights=_table([r.weights for r in adds], FMA_WEIGHTS),
        unknowns=_list([r.unknown for r in adds]),
        move_elements=_table([r.elements for r in moves], SLOTS),
        move_words=_table([r.words for r in moves], ROW_WORDS),
        move_inputs=_table([r.positions or (zero,) * CELLS for r in moves], CELLS),
        move_sources=_list([r.source for r in moves]),
        splits=_table([(r.whole, *r.parts) for r in tape.splits], 1 + EXTENSION_DEGREE),
        joins=_list([r.joins for r in tape.splits]),
        bits=_table([(r.value, *r.bits, r.rest) for r in tape.bits], 2 + ROW_BITS),
        reduction_words=_list([r.word for r in reductions]),
        reduction_totals=_list([r.total for r in reductions]),
        reduction_inputs=_table([r.positions or (zero,) * WORD for r in reductions], WORD),
        reduction_writes=np.array([bool(r.positions) for r in reductions], dtype=bool),
        reduction_powers=_table([r.powers for r in reductions], 4),
        reduction_next=_list(following),
        evaluation_reads=_table([(*r.coefficients, r.variable, r.square) for r in evaluations], 6),
        evaluation_totals=_list([r.total for r in evaluations]),
        evaluation_next=_list(later),
        steps=_list([r.step for r in rows]),
        rates=_list([r.word for r in rows]),
        widths=_list([r.width for r in rows]),
        shown=_list([r.shown for r in rows]),
        rests=_list([r.rest for r in rows]),
        siblings=_table([r.siblings or (zero,) * WORD for r in rows], WORD),
        trees=_list([r.tree for r in rows]),
        positions=_list([r.position for r in rows]),
        meets_cap=np.array([r.meets_cap for r in rows], dtype=bool),
    )


def _table(rows: Sequence[Sequence[int]], width: int) -> Integers:
    return np.array(rows, dtype=np.int64).reshape(-1, width)


def _list(values: Sequence[int]) -> Integers:
    return np.array(values, dtype=np.int64)
