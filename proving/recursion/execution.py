"""Computes every value of a circuit from its inputs, all records of one kind and level at a time.

Residues are int64 here: a product of two is below 2^62. What the rows mean is said in `air`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from proving.arithmetic.modulus import EXTENSION_DEGREE, PERMUTATION_WIDTH, WORD, P
from proving.arithmetic.poseidon2_inverse import unpermute_integers
from proving.backends.port import FieldArray, Hasher
from proving.errors import ProvingError
from proving.recursion.arrays import Integers, TapeArrays, tape_arrays
from proving.recursion.layout import CELLS, ROW_BITS, ROW_WORDS, SLOTS
from proving.recursion.schedule import schedule
from proving.recursion.tape import NOTHING, Source, Step, Tape, Unknown
from proving.stark.extension_rows import invert_rows, multiply_rows
from schemas.errors import ParameterError


@dataclass(slots=True, eq=False)
class Values:
    """What a run of a circuit leaves behind; rows of a kind are in the order of the tape.

    Attributes:
        inputs: (num_inputs + 1,) the private inputs and a zero.
        elements: (n + 1, 5) by address; the last row is the zero that `NOTHING` names.
        words: (n + 1, 8) likewise.
        moved: (moves, 40) cells.
        reduced, evaluated: (reductions, 2, 5), (evaluations, 2, 5) middle step and accumulator.
        states: (permutations, 16) before.
        outputs: (permutations, 16) after.
        rests: (permutations,) remaining index.
        bits: (permutations,) direction bit.
    """

    inputs: Integers
    elements: Integers
    words: Integers
    moved: Integers
    reduced: Integers
    evaluated: Integers
    states: Integers
    outputs: Integers
    rests: Integers
    bits: Integers


Call = Callable[["_Run", Integers], None]


class Execution:
    """A tape ready to be run on any inputs.

    Attributes:
        tape: What is run.
        arrays: The same as arrays.
    """

    def __init__(self, tape: Tape) -> None:
        self.tape = tape
        self.arrays = arrays = tape_arrays(tape)
        unknowns, sources, joins = arrays.unknowns, arrays.move_sources, arrays.joins
        adds = [record.level for record in tape.multiply_adds]
        moves = [record.level for record in tape.moves]
        splits = [record.level for record in tape.splits]
        kinds: list[tuple[Call, Sequence[int], Integers]] = [
            (_Run.sums, adds, np.flatnonzero(unknowns == Unknown.RESULT)),
            (_Run.quotients, adds, np.flatnonzero(unknowns == Unknown.FACTOR)),
            (_Run.joins, splits, np.flatnonzero(joins == 1)),
            (_Run.splits, splits, np.flatnonzero(joins == 0)),
            (_Run.packs, moves, np.flatnonzero(sources == Source.ELEMENTS)),
            (_Run.unpacks, moves, np.flatnonzero(sources == Source.WORDS)),
            (_Run.inputs, moves, np.flatnonzero(sources == Source.INPUT)),
        ]
        for call, levels in (
            (_Run.bits, [record.level for record in tape.bits]),
            (_Run.reductions, [r.level for chain in tape.reductions for r in chain]),
            (_Run.evaluations, [r.level for chain in tape.evaluations for r in chain]),
            (_Run.permutations, [r.level for chain in tape.chains for r in chain]),
        ):
            kinds.append((call, levels, np.arange(len(levels))))
        self._schedule = schedule(kinds)

    def run(self, publics: FieldArray, inputs: FieldArray, hasher: Hasher) -> Values:
        """Computes all values; whether they keep the circuit's claims is `check`'s to say.

        Args:
            publics: (num_publics, 8) public words.
            inputs: (num_inputs,) private inputs.
            hasher: Poseidon2.

        Raises:
            ParameterError: A shape is wrong.
            ProvingError: A denominator is zero, or a base element is none.
        """
        tape = self.tape
        if publics.shape != (tape.num_publics, WORD) or inputs.shape != (tape.num_inputs,):
            raise ParameterError(
                f"the circuit takes {tape.num_publics} public words and {tape.num_inputs} inputs"
            )
        run = _Run(self, publics, inputs, hasher)
        for call, numbers in self._schedule:
            call(run, numbers)
        rests = self.arrays.rests
        named = rests != NOTHING
        run.values.rests[named] = run.values.elements[rests[named], 0]
        return run.values

    def check(self, values: Values) -> None:
        """Refuses values that no proof can be made of.

        Raises:
            ProvingError: A claim does not hold, by its name.
        """
        problems = self.problems(values)
        if problems:
            more = f" and {len(problems) - 1} more" if len(problems) > 1 else ""
            raise ProvingError(f"the circuit's claim does not hold: {problems[0]}{more}")

    def problems(self, values: Values) -> list[str]:
        """Returns the names of the claims that do not hold, in the order of the tape; paths last."""
        sums_failed, paths_failed = self.failed(values)
        found = [self.tape.multiply_adds[number].what for number in sums_failed]
        trees = self.arrays.trees
        return found + [f"a path of {self.tape.trees[trees[row] - 1]}" for row in paths_failed]

    def failed(self, values: Values) -> tuple[list[int], list[int]]:
        """Returns which claims do not hold: numbers of multiply-adds, and of permutations that end a path."""
        arrays = self.arrays
        claims = np.flatnonzero(arrays.unknowns == Unknown.NONE)
        wanted = values.elements[arrays.slots[claims, 3]]
        wrong = claims[(sums(arrays, values, claims) != wanted).any(axis=1)]
        offers = np.flatnonzero(arrays.positions != NOTHING)
        entries = {
            (int(arrays.trees[row]), int(arrays.positions[row])): values.states[row, :WORD].tolist()
            for row in offers
        }
        ends = np.flatnonzero(arrays.meets_cap)
        astray = [
            int(row)
            for row, digest in zip(ends, _shown(arrays, values, ends).tolist(), strict=True)
            if entries.get((int(arrays.trees[row]), int(values.rests[row]))) != digest
        ]
        return wrong.tolist(), astray

    def shown(self, values: Values) -> Integers:
        """Returns the word that every permutation shows, (permutations, 8)."""
        return _shown(self.arrays, values, np.arange(len(values.states)))

    def cap_uses(self, values: Values) -> Integers:
        """Returns how many paths end at the cap entry that each row offers, (permutations,)."""
        arrays = self.arrays
        ends = np.flatnonzero(arrays.meets_cap)
        met = np.stack([arrays.trees[ends], values.rests[ends]], axis=1)
        found, counts = np.unique(met, axis=0, return_counts=True)
        uses_of = {
            tuple(pair): int(count) for pair, count in zip(found.tolist(), counts, strict=True)
        }
        uses = np.zeros(len(values.states), dtype=np.int64)
        for row in np.flatnonzero(arrays.positions != NOTHING):
            uses[row] = uses_of.get((int(arrays.trees[row]), int(arrays.positions[row])), 0)
        return uses


def sums(arrays: TapeArrays, values: Values, numbers: Integers) -> Integers:
    """Returns (k0 a + k6 c) b + k1 a + k2 b + k3 c + k4 of multiply-adds, (n, 5)."""
    slots, weights = arrays.slots[numbers], arrays.weights[numbers]
    a, b, c = (values.elements[slots[:, k]] for k in range(3))
    total = multiply_rows(_first_factor(weights, a, c), b)
    for factor, k in ((a, 1), (b, 2), (c, 3)):
        total += factor * weights[:, k, None] % P
    total[:, 0] += weights[:, 4]
    result: Integers = total % P
    return result


def _first_factor(weights: Integers, a: Integers, c: Integers) -> Integers:
    result: Integers = (a * weights[:, 0, None] % P + c * weights[:, 6, None] % P) % P
    return result


def _shown(arrays: TapeArrays, values: Values, numbers: Integers) -> Integers:
    climbs = (arrays.steps[numbers] == Step.CLIMB)[:, None]
    forward = values.states[numbers, :WORD] * climbs
    result: Integers = (values.outputs[numbers, :WORD] + forward) % P
    return result


class _Run:
    """One run; every method computes records of one kind whose inputs are known."""

    def __init__(
        self, execution: Execution, publics: FieldArray, inputs: FieldArray, hasher: Hasher
    ) -> None:
        self._tape, self._arrays, self._hasher = execution.tape, execution.arrays, hasher
        tape, rows = self._tape, len(self._arrays.steps)
        self.values = Values(
            inputs=np.append(inputs.astype(np.int64), 0),
            elements=_zeros(len(tape.element_levels) + 1, EXTENSION_DEGREE),
            words=_zeros(len(tape.word_levels) + 1, WORD),
            moved=_zeros(len(tape.moves), CELLS),
            reduced=_zeros(len(self._arrays.reduction_words), 2, EXTENSION_DEGREE),
            evaluated=_zeros(len(self._arrays.evaluation_totals), 2, EXTENSION_DEGREE),
            states=_zeros(rows, PERMUTATION_WIDTH),
            outputs=_zeros(rows, PERMUTATION_WIDTH),
            rests=_zeros(rows),
            bits=_zeros(rows),
        )
        words = self.values.words
        words[: tape.num_publics] = publics
        arrays = self._arrays
        writes = arrays.reduction_writes
        given = self.values.inputs[arrays.reduction_inputs[writes]]
        words[arrays.reduction_words[writes]] = given

    def sums(self, numbers: Integers) -> None:
        """Multiply-adds whose result is not known."""
        self.values.elements[self._arrays.slots[numbers, 3]] = sums(
            self._arrays, self.values, numbers
        )

    def quotients(self, numbers: Integers) -> None:
        """Multiply-adds that divide."""
        slots, elements = self._arrays.slots[numbers], self.values.elements
        weights = self._arrays.weights[numbers]
        below = _first_factor(weights, elements[slots[:, 0]], elements[slots[:, 2]])
        zero = np.flatnonzero(~below.any(axis=1))
        if len(zero):
            what = self._tape.multiply_adds[int(numbers[zero[0]])].what
            raise ProvingError(f"{what}: a denominator is zero")
        elements[slots[:, 1]] = multiply_rows(elements[slots[:, 3]], invert_rows(below))

    def joins(self, numbers: Integers) -> None:
        """Elements of five coordinates."""
        splits = self._arrays.splits[numbers]
        parts = self.values.elements[splits[:, 1:]]
        if parts[:, :, 1:].any():
            raise ProvingError("a coordinate is not a base element")
        self.values.elements[splits[:, 0]] = parts[:, :, 0]

    def splits(self, numbers: Integers) -> None:
        """Coordinates of elements."""
        splits = self._arrays.splits[numbers]
        self.values.elements[splits[:, 1:], 0] = self.values.elements[splits[:, 0]]

    def bits(self, numbers: Integers) -> None:
        """Six bits and the rest of base elements."""
        addresses, elements = self._arrays.bits[numbers], self.values.elements
        value = elements[addresses[:, 0]]
        if value[:, 1:].any():
            raise ProvingError("bits are taken off an element that is not a base element")
        for j in range(ROW_BITS):
            elements[addresses[:, 1 + j], 0] = value[:, 0] >> j & 1
        elements[addresses[:, 1 + ROW_BITS], 0] = value[:, 0] >> ROW_BITS

    def inputs(self, numbers: Integers) -> None:
        """Cells from the inputs."""
        self._spread(numbers, self.values.inputs[self._arrays.move_inputs[numbers]])

    def packs(self, numbers: Integers) -> None:
        """Words of elements."""
        elements = self.values.elements[self._arrays.move_elements[numbers]]
        self._spread(numbers, elements.reshape(-1, CELLS))

    def unpacks(self, numbers: Integers) -> None:
        """Elements of words."""
        words = self.values.words[self._arrays.move_words[numbers]]
        self._spread(numbers, words.reshape(-1, CELLS))

    def _spread(self, numbers: Integers, cells: Integers) -> None:
        """Writes cells to both sides; writing the known side again changes nothing."""
        values = self.values
        values.moved[numbers] = cells
        elements, words = self._arrays.move_elements[numbers], self._arrays.move_words[numbers]
        named = elements != NOTHING
        values.elements[elements[named]] = cells.reshape(-1, SLOTS, EXTENSION_DEGREE)[named]
        named = words != NOTHING
        values.words[words[named]] = cells.reshape(-1, ROW_WORDS, WORD)[named]

    def reductions(self, numbers: Integers) -> None:
        """Words weighted with powers of g; see `air`."""
        arrays, values = self._arrays, self.values
        word = values.words[arrays.reduction_words[numbers]]
        powers = values.elements[arrays.reduction_powers[numbers]]
        following = arrays.reduction_next[numbers]
        above = values.reduced[following, 1] * (following != NOTHING)[:, None]
        for place, half in ((0, word[:, 4:]), (1, word[:, :4])):
            total = multiply_rows(above, powers[:, 3])
            total[:, 0] += half[:, 0]
            for j in range(3):
                total += half[:, 1 + j, None] * powers[:, j] % P
            above = values.reduced[numbers, place] = total % P
        totals = arrays.reduction_totals[numbers]
        named = totals != NOTHING
        values.elements[totals[named]] = above[named]

    def evaluations(self, numbers: Integers) -> None:
        """Coefficients weighted with powers of a point; see `air`."""
        arrays, values = self._arrays, self.values
        read = values.elements[arrays.evaluation_reads[numbers]]
        variable, square = read[:, 4], read[:, 5]
        following = arrays.evaluation_next[numbers]
        above = values.evaluated[following, 1] * (following != NOTHING)[:, None]
        for place, half in ((0, read[:, 2:4]), (1, read[:, :2])):
            carried = multiply_rows(above, square)
            total = carried + half[:, 0] + multiply_rows(half[:, 1], variable)
            above = values.evaluated[numbers, place] = total % P
        totals = arrays.evaluation_totals[numbers]
        named = totals != NOTHING
        values.elements[totals[named]] = above[named]

    def permutations(self, numbers: Integers) -> None:
        """Rows of the permutation lane."""
        arrays, states = self._arrays, self.values.states
        steps = arrays.steps[numbers]
        flat = numbers[(steps == Step.FRESH) | (steps == Step.ABSORB)]
        states[flat, :WORD] = self.values.words[arrays.rates[flat]]
        raw = flat[arrays.rates[flat] == NOTHING]
        states[raw, :WORD] = self.values.inputs[arrays.siblings[raw]]
        given = numbers[steps == Step.GIVEN]
        for row, word in zip(
            given, self.values.inputs[arrays.siblings[given]].tolist(), strict=True
        ):
            states[row] = _state_that_shows(*word)
        fresh = numbers[steps == Step.FRESH]
        states[fresh, PERMUTATION_WIDTH - 1] = arrays.widths[fresh]
        absorbs = numbers[steps == Step.ABSORB]
        states[absorbs, WORD:] = self.values.outputs[absorbs - 1, WORD:]
        climbs = numbers[steps == Step.CLIMB]
        if len(climbs):
            self._begin_climbs(climbs)
        after = self._hasher.permute(states[numbers].astype(np.uint32)).astype(np.int64)
        self.values.outputs[numbers] = after
        words = arrays.shown[numbers]
        named = words != NOTHING
        self.values.words[words[named]] = after[named, :WORD]

    def _begin_climbs(self, climbs: Integers) -> None:
        arrays, values, before = self._arrays, self.values, climbs - 1
        first = arrays.rests[before] != NOTHING
        start = values.elements[arrays.rests[before], 0]
        index = np.where(first, start, values.rests[before])
        bit = index & 1
        values.bits[climbs], values.rests[climbs] = bit, index >> 1
        child = _shown(arrays, values, before)
        sibling = values.inputs[arrays.siblings[climbs]]
        right = (bit == 1)[:, None]
        values.states[climbs, :WORD] = np.where(right, sibling, child)
        values.states[climbs, WORD:] = np.where(right, child, sibling)


@lru_cache(maxsize=1024)
def _state_that_shows(*word: int) -> tuple[int, ...]:
    """Returns a state whose permutation shows a word; most words given to a circuit are zero or come again."""
    return tuple(unpermute_integers([*word, *[0] * WORD]))


def _zeros(*shape: int) -> Integers:
    return np.zeros(shape, dtype=np.int64)
