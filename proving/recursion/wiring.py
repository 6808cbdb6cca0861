"""Turns a tape into preprocessed columns: which row does what, and which addresses it names.

An address is written on exactly one row, which sends it as often as it is read. Writers and reads are counted
here, so that a circuit with an unwritten read, a second writer or too many reads is refused when it is built.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from proving.arithmetic.modulus import P
from proving.recursion.layout import (
    COEFFICIENT_SLOTS,
    FIXED,
    FMA_SLOTS,
    NUM_FIXED,
    POWER_SLOTS,
    ROW_WORDS,
    SQUARE_SLOT,
    TOTAL_SLOT,
    VARIABLE_SLOT,
)
from proving.recursion.tape import (
    NOTHING,
    Evaluation,
    MultiplyAdd,
    Permutation,
    Reduction,
    Source,
    Step,
    Tape,
    Unknown,
)
from proving.stark.air import FieldArray
from schemas.errors import InvariantError, ParameterError

Counts = NDArray[np.int64]

R = TypeVar("R", Reduction, Evaluation)

READ = P - 1
"""A count of -1: the row takes one copy of what its address holds."""


@dataclass(frozen=True, slots=True)
class Places:
    """Rows that the records of a tape were given, in the order of the tape.

    Attributes:
        multiply_adds: (n, 2): row, and 0 or 1 for its half.
        moves: (n,) rows.
        splits: (n,) rows.
        bits: (n,) rows.
        reductions, evaluations: (n,) rows of all chains' records, one after the other.
    """

    multiply_adds: Counts
    moves: Counts
    splits: Counts
    bits: Counts
    reductions: Counts
    evaluations: Counts


@dataclass(frozen=True, slots=True, eq=False)
class Wiring:
    """A circuit as data.

    Attributes:
        log_height: Base-2 logarithm of the rows.
        columns: (NUM_FIXED, height) preprocessed columns.
        public_uses: How often each public word is read.
        places: Where each record of the tape lies.
    """

    log_height: int
    columns: FieldArray
    public_uses: tuple[int, ...]
    places: Places


def wire(tape: Tape, log_height: int) -> Wiring:
    """Lays a tape out in rows.

    Args:
        tape: From `CircuitBuilder`.
        log_height: Base-2 logarithm of the rows to fill.

    Raises:
        ParameterError: It does not fit.
        InvariantError: An address is read and never written, or written twice.
    """
    needed = max(tape.arithmetic_rows, tape.permutation_rows)
    if needed > 2**log_height:
        raise ParameterError(
            f"{tape.permutation_rows} permutations and {tape.arithmetic_rows} rows of arithmetic do not "
            f"fit 2^{log_height} rows"
        )
    return _Wirer(tape, log_height).run()


@dataclass(frozen=True, slots=True, eq=False)
class _Space:
    """Addresses of one kind: how often each is read, and (address, column, row) of every writer."""

    name: str
    reads: Counts
    writers: list[tuple[int, int, int]]


class _Wirer:
    """Fills the columns; counts first hold -1 for a read and 1 for a write."""

    def __init__(self, tape: Tape, log_height: int) -> None:
        self._tape = tape
        self._log_height = log_height
        self._columns = np.zeros((NUM_FIXED, 2**log_height), dtype=np.uint32)
        self._elements = _Space("element", np.zeros(len(tape.element_levels), dtype=np.int64), [])
        self._words = _Space("word", np.zeros(len(tape.word_levels), dtype=np.int64), [])

    def run(self) -> Wiring:
        """Lays out every record and sets the writers' counts."""
        places = self._arithmetic_lane()
        self._permutation_lane()
        num_publics = self._tape.num_publics
        self._close(self._elements, 0)
        self._close(self._words, num_publics)
        uses = tuple(int(count) for count in self._words.reads[:num_publics])
        return Wiring(self._log_height, self._columns, uses, places)

    def _arithmetic_lane(self) -> Places:
        tape, row = self._tape, 0
        halves = [(number // 2, number % 2) for number in range(len(tape.multiply_adds))]
        for record, place in zip(tape.multiply_adds, halves, strict=True):
            self._multiply_add(record, *place)
        row = (len(tape.multiply_adds) + 1) // 2
        starts = [row]
        for move in tape.moves:
            written = {Source.ELEMENTS: 0, Source.WORDS: len(move.elements)}.get(
                move.source, move.written
            )
            for number, element in enumerate(move.elements):
                self._element("slot", number, row, element, writes=number < written)
            for number, word in enumerate(move.words):
                self._word("word", number, row, word, writes=move.source is not Source.WORDS)
            row += 1
        starts.append(row)
        for split in tape.splits:
            self._set("splits", row, 1)
            self._element("slot", 0, row, split.whole, writes=split.joins)
            for number, part in enumerate(split.parts):
                self._element("slot", 1 + number, row, part, writes=not split.joins)
            row += 1
        starts.append(row)
        for bits in tape.bits:
            self._set("bits", row, 1)
            self._element("slot", 0, row, bits.value, writes=False)
            for number, address in enumerate((*bits.bits, bits.rest)):
                self._element("slot", 1 + number, row, address, writes=True)
            row += 1
        starts.append(row)
        row = self._chains(tape.reductions, self._reduction, row)
        starts.append(row)
        row = self._chains(tape.evaluations, self._evaluation, row)
        spans = [
            np.arange(start, stop) for start, stop in zip(starts, [*starts[1:], row], strict=True)
        ]
        pairs = np.array(halves, dtype=np.int64).reshape(-1, 2)
        return Places(pairs, *spans)

    def _chains(
        self, chains: Sequence[Sequence[R]], place: Callable[[R, int], None], row: int
    ) -> int:
        """Gives every record of some chains the next row; returns the first row after them."""
        for record in chain.from_iterable(chains):
            place(record, row)
            row += 1
        return row

    def _reduction(self, record: Reduction, row: int) -> None:
        self._set("reduces", row, 1)
        self._set("reduces_on", row, int(record.continues))
        writes = bool(record.positions)
        self._word("word", ROW_WORDS - 1, row, record.word, writes=writes)
        for number, power in zip(POWER_SLOTS, record.powers, strict=True):
            self._element("slot", number, row, power, writes=False)
        self._element("slot", TOTAL_SLOT, row, record.total, writes=True)

    def _evaluation(self, record: Evaluation, row: int) -> None:
        self._set("evaluates", row, 1)
        self._set("evaluates_on", row, int(record.continues))
        places = (*COEFFICIENT_SLOTS, VARIABLE_SLOT, SQUARE_SLOT)
        for number, read in zip(
            places, (*record.coefficients, record.variable, record.square), strict=True
        ):
            self._element("slot", number, row, read, writes=False)
        self._element("slot", TOTAL_SLOT, row, record.total, writes=True)

    def _multiply_add(self, record: MultiplyAdd, row: int, half: int) -> None:
        writes = {Unknown.RESULT: 3, Unknown.FACTOR: 1, Unknown.NONE: NOTHING}[record.unknown]
        for number, element in enumerate(record.slots):
            self._element("slot", FMA_SLOTS * half + number, row, element, writes=number == writes)
        name = "second_weights" if half else "first_weights"
        self._columns[FIXED[name].start : FIXED[name].stop, row] = record.weights

    def _permutation_lane(self) -> None:
        row = 0
        for rows in self._tape.chains:
            for number, record in enumerate(rows):
                following = rows[number + 1] if number + 1 < len(rows) else None
                self._permutation(record, following, row)
                row += 1

    def _permutation(self, record: Permutation, following: Permutation | None, row: int) -> None:
        if record.step is Step.FRESH:
            self._set("fresh", row, 1)
            self._set("width", row, record.width)
        self._set("climbs", row, int(record.step is Step.CLIMB))
        if following is not None:
            climbs = following.step is Step.CLIMB
            self._set("climbs_next" if climbs else "absorbs_next", row, 1)
        self._word("input", 0, row, record.word, writes=False)
        self._word("shown", 0, row, record.shown, writes=True)
        self._element("rest", 0, row, record.rest, writes=False)
        self._set("tree", row, record.tree)
        if record.position != NOTHING:
            self._set("cap_sends", row, 1)
            self._set("position", row, record.position)
        self._set("cap_receives", row, int(record.meets_cap))

    def _set(self, name: str, row: int, value: int, number: int = 0) -> None:
        self._columns[FIXED[name].start + number, row] = value

    def _element(self, name: str, number: int, row: int, address: int, *, writes: bool) -> None:
        self._name(self._elements, (name, number), row, address, writes=writes)

    def _word(self, name: str, number: int, row: int, address: int, *, writes: bool) -> None:
        self._name(self._words, (name, number), row, address, writes=writes)

    def _name(
        self, space: _Space, column: tuple[str, int], row: int, address: int, *, writes: bool
    ) -> None:
        if address == NOTHING:
            return
        name, number = column
        self._set(f"{name}_address", row, address, number)
        if writes:
            space.writers.append((address, FIXED[f"{name}_count"].start + number, row))
            return
        space.reads[address] += 1
        self._set(f"{name}_count", row, READ, number)

    def _close(self, space: _Space, first: int) -> None:
        """Gives every writer the number of its reads; addresses below `first` are written elsewhere."""
        found = np.array(space.writers, dtype=np.int64).reshape(-1, 3)
        times = np.bincount(found[:, 0], minlength=len(space.reads))
        wrong = np.flatnonzero(times != (np.arange(len(space.reads)) >= first))
        if len(wrong):
            place = int(wrong[0])
            raise InvariantError(f"{space.name} {place} has {int(times[place])} writers")
        self._columns[found[:, 1], found[:, 2]] = space.reads[found[:, 0]]
