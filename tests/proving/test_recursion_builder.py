"""The circuit builder: what each call computes, what its constraints hold, what is refused."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from proving.arithmetic.modulus import EXTENSION_DEGREE, WORD, P
from proving.arithmetic.poseidon2 import NumpyHasher
from proving.arithmetic.program import trace_program
from proving.backends.reference import ReferenceBackend
from proving.commitments.merkle import commit_rows
from proving.errors import ProvingError
from proving.recursion.air import RecursionAir
from proving.recursion.arrays import Integers
from proving.recursion.builder import CircuitBuilder
from proving.recursion.execution import Execution, Values
from proving.recursion.layout import FIXED, MAIN, TOTAL_SLOT
from proving.recursion.polynomials import affine, element_of, evaluate
from proving.recursion.row_chains import evaluate_polynomial, reduce_inputs, reduce_words
from proving.recursion.sponge import Sponge
from proving.recursion.tape import Element
from proving.recursion.trace import fill_trace
from proving.recursion.wiring import Wiring, wire
from proving.stark.air import FieldArray
from proving.stark.challenge_field import Extension, powers
from proving.stark.extension_rows import invert_rows, multiply_rows
from proving.stark.system import compile_air
from proving.stark.trace_check import TraceChecker, TraceReport
from schemas.errors import InvariantError, ParameterError

HASHER = NumpyHasher()
Write = Callable[[CircuitBuilder], list[Element]]


@dataclass(frozen=True)
class Ran:
    """A small circuit and one run of it."""

    execution: Execution
    wiring: Wiring
    values: Values
    trace: FieldArray
    shown: list[Extension]

    def report(self, trace: FieldArray | None = None) -> TraceReport:
        checker = TraceChecker(RecursionAir.of("small", self.wiring))
        return checker.check(self.trace if trace is None else trace, [])

    def broken_by(self, changes: dict[tuple[int, int], int]) -> tuple[set[str], bool]:
        """Returns which constraints break, and whether a bus does, with these cells of the trace changed."""
        trace = self.trace.copy()
        for place, value in changes.items():
            trace[place] = value % P
        report = self.report(trace)
        return set(report.violations), bool(report.unbalanced)


def field_elements(seed: int, *shape: int) -> FieldArray:
    return np.random.default_rng(seed).integers(0, P, shape, dtype=np.uint32)


def run(write: Write, inputs: FieldArray, log_height: int = 5) -> Ran:
    builder = CircuitBuilder(0, len(inputs))
    wanted = write(builder)
    wiring, execution = wire(builder.tape, log_height), Execution(builder.tape)
    values = execution.run(np.zeros((0, WORD), dtype=np.uint32), inputs, HASHER)
    trace = fill_trace(execution, wiring, values, HASHER)
    shown = [Extension(tuple(values.elements[element].tolist())) for element in wanted]
    return Ran(execution, wiring, values, trace, shown)


def elements(builder: CircuitBuilder, count: int) -> list[Element]:
    return builder.input_elements(range(EXTENSION_DEGREE * count), with_words=False)[0]


def extensions(inputs: FieldArray | Integers) -> list[Extension]:
    return [Extension(tuple(row)) for row in inputs.reshape(-1, EXTENSION_DEGREE).tolist()]


def test_rows_of_elements_multiply_and_invert_as_single_ones() -> None:
    a, b = (field_elements(seed, 40, 5).astype(np.int64) for seed in (1, 2))
    product = multiply_rows(a, b).tolist()
    wanted = [x * y for x, y in zip(extensions(a), extensions(b), strict=True)]
    assert [Extension(tuple(row)) for row in product] == wanted
    assert (multiply_rows(a, invert_rows(a)) == [1, 0, 0, 0, 0]).all()


def test_arithmetic_is_that_of_the_field() -> None:
    inputs = field_elements(3, 15)
    a, b, c = extensions(inputs)

    def write(builder: CircuitBuilder) -> list[Element]:
        x, y, z = elements(builder, 3)
        return [
            builder.combine((2, 3, P - 1, 5, 7), x, y, z),
            builder.combine((0, 0, 0, 0, 9)),
            builder.combine((2, 3, P - 1, 5, 7), x, y, z, cross=11),
            builder.divide("q", x, y),
            builder.divide("q", x, y, z),
            builder.join(builder.split(z)),
            builder.constant(4, 0, 6),
        ]

    ran = run(write, inputs)
    assert ran.shown == [
        a * b * 2 + a * 3 - b + c * 5 + 7,
        Extension.of(9),
        (a * 2 + c * 11) * b + a * 3 - b + c * 5 + 7,
        a * b.inverse(),
        a * (b - c).inverse(),
        c,
        Extension((4, 0, 6, 0, 0)),
    ]
    assert ran.report().holds


@pytest.mark.parametrize("count", [1, 4, 5, 11])
def test_a_polynomial_is_evaluated_four_coefficients_to_a_row(count: int) -> None:
    inputs = field_elements(8, EXTENSION_DEGREE * (count + 1))
    point, *coefficients = extensions(inputs)

    def write(builder: CircuitBuilder) -> list[Element]:
        x, *given = elements(builder, count + 1)
        return [evaluate_polynomial(builder, given, x)]

    ran = run(write, inputs)
    weights = powers(point, count)
    terms = [power * one for power, one in zip(weights, coefficients, strict=True)]
    assert ran.shown == [sum(terms, Extension.of(0))]
    assert ran.report().holds
    row = int(np.flatnonzero(ran.wiring.columns[FIXED["evaluates"].start])[-1])
    total = MAIN["cells"].start + EXTENSION_DEGREE * TOTAL_SLOT
    broken = {"evaluates.total[0]", "evaluates.middle[0]"}
    assert ran.broken_by({(total, row): 1})[0] & broken


def test_sums_of_products_have_their_value_however_they_are_written_out() -> None:
    inputs = field_elements(9, EXTENSION_DEGREE * 7)
    ring = extensions(inputs)

    def body(v: Sequence[Any]) -> list[Any]:
        pair, long = v[0] - v[1], v[0] + v[1] * 3 + v[2] + v[3] + v[4] * 5
        return [
            pair * v[2] + (v[3] + v[4]) * (v[5] + 1) + v[6] * v[6] - v[0] + 9,
            (v[0] + 4) * (v[1] + v[2] + 2) + (v[3] - v[4]) * v[0],
            long * long + long - pair,
            v[0] - v[0],
            v[5] * 1,
        ]

    program = trace_program("sums", 7, body)

    def write(builder: CircuitBuilder) -> list[Element]:
        forms = evaluate(builder, program, [affine(one) for one in elements(builder, 7)])
        return [element_of(builder, form) for form in forms]

    ran = run(write, inputs)
    assert ran.shown == program.evaluate(ring, Extension.of)
    assert ran.report().holds


def test_bits_split_a_base_element() -> None:
    inputs = np.array([0b1011010_110101, 0, 0, 0, 0], dtype=np.uint32)

    def write(builder: CircuitBuilder) -> list[Element]:
        bits, rest = builder.low_bits(elements(builder, 1)[0])
        return [*bits, rest]

    ran = run(write, inputs)
    assert [value.coordinates[0] for value in ran.shown] == [1, 0, 1, 0, 1, 1, 0b1011010]
    assert ran.report().holds


def test_a_row_is_summed_with_powers_and_hashed_to_a_leaf_of_its_tree() -> None:
    rows = field_elements(4, 19, 32)
    tree = commit_rows(ReferenceBackend(), rows, 2)
    index, weight = 21, field_elements(5, EXTENSION_DEGREE)
    path = tree.paths(np.array([index], dtype=np.uint32))[0]
    parts = [rows[:, index], path.reshape(-1), tree.cap.reshape(-1), weight, [index, 0, 0, 0, 0]]
    inputs = np.concatenate(parts).astype(np.uint32)
    starts = np.cumsum([0, *map(len, parts)])

    def write(builder: CircuitBuilder) -> list[Element]:
        def read(part: int) -> Element:
            places = range(starts[part], starts[part + 1])
            return builder.input_elements(places, with_words=False)[0][0]

        g = [read(3)]
        for _ in range(3):
            g.append(builder.combine((1, 0, 0, 0, 0), g[-1], g[0]))
        words, total = reduce_inputs(builder, range(19), g)
        again = reduce_words(builder, words[:2], g)
        number, cap = builder.new_tree("rows"), Sponge(builder)
        places = [*range(starts[2], starts[3]), *[len(inputs)] * 3]
        for position, word in enumerate(builder.input_elements(places, with_words=True)[1][:4]):
            cap.absorb(word, tree=number, position=position)
        leaf = Sponge(builder, 19)
        for word in words:
            leaf.absorb(word)
        siblings = [range(start, start + 8) for start in range(starts[1], starts[2], 8)]
        leaf.climb(read(4), siblings, number)
        return [total, again]

    ran = run(write, inputs, 6)
    weights = list(powers(extensions(weight)[0], 19))
    terms = [power * int(cell) for power, cell in zip(weights, rows[:, index], strict=True)]
    assert ran.shown == [sum(terms, Extension.of(0)), sum(terms[:16], Extension.of(0))]
    assert ran.report().holds
    ran.execution.check(ran.values)
    row, bit = int(np.flatnonzero(ran.trace[MAIN["bit"].start])[0]), MAIN["bit"].start
    assert ran.broken_by({(bit, row): 2})[0] >= {"climbs.bit"}
    rest = MAIN["rest"].start
    assert ran.broken_by({(rest, row): 5})[0] == {"climbs.rest"}


def test_words_and_elements_are_the_same_cells() -> None:
    inputs = field_elements(6, 40)

    def write(builder: CircuitBuilder) -> list[Element]:
        given, words = builder.input_elements(range(40), with_words=True)
        packed = builder.pack(given[:3])
        cells = builder.cells_of(packed[0])
        return [*builder.unpack(words), *builder.unpack(packed), *cells, *elements(builder, 0)]

    ran = run(write, inputs)
    wanted = extensions(inputs)
    assert ran.shown[:11] == [*wanted, *wanted[:3]]
    assert [value.coordinates[0] for value in ran.shown[11:]] == inputs[:8].tolist()
    assert ran.report().holds


def test_a_false_claim_is_named() -> None:
    def write(builder: CircuitBuilder) -> list[Element]:
        a, b = elements(builder, 2)
        builder.require_equal("two inputs are equal", a, b)
        return []

    ran = run(write, field_elements(7, 10))
    with pytest.raises(ProvingError, match="two inputs are equal"):
        ran.execution.check(ran.values)
    same = np.tile(field_elements(8, 5), 2)
    ran = run(write, same)
    ran.execution.check(ran.values)


def test_a_division_by_zero_is_named() -> None:
    def write(builder: CircuitBuilder) -> list[Element]:
        a, b = elements(builder, 2)
        return [builder.divide("one over the second", a, b)]

    with pytest.raises(ProvingError, match="one over the second: a denominator is zero"):
        run(write, np.array([1] + [0] * 9, dtype=np.uint32))


def test_a_join_takes_base_elements_only() -> None:
    def write(builder: CircuitBuilder) -> list[Element]:
        return [builder.join(elements(builder, 5))]

    with pytest.raises(ProvingError, match="not a base element"):
        run(write, field_elements(9, 25))


def test_an_address_without_a_writer_and_one_with_two_are_refused() -> None:
    builder = CircuitBuilder(0, 0)
    one = builder.constant(1)
    builder.tape.element_levels.append(0)
    with pytest.raises(InvariantError, match=r"element 1 has 0 writers"):
        wire(builder.tape, 5)
    builder = CircuitBuilder(0, 0)
    one = builder.constant(1)
    builder.tape.multiply_adds.append(builder.tape.multiply_adds[0])
    with pytest.raises(InvariantError, match=rf"element {one} has 2 writers"):
        wire(builder.tape, 5)


def test_a_circuit_that_does_not_fit_says_what_it_needs() -> None:
    builder = CircuitBuilder(0, 0)
    for value in range(100):
        builder.constant(value)
    with pytest.raises(ParameterError, match=r"0 permutations and 50 rows of arithmetic .* 2\^5"):
        wire(builder.tape, 5)


def test_the_circuit_is_the_same_for_every_program_but_for_its_data() -> None:
    """A program is preprocessed columns only: constraints, messages and degrees do not depend on it."""
    ran = run(lambda builder: [builder.constant(1)], np.zeros(0, dtype=np.uint32))
    other = run(lambda builder: [builder.constant(2, 3)], np.zeros(0, dtype=np.uint32))
    first, second = (compile_air(RecursionAir.of("same", one.wiring)) for one in (ran, other))
    assert first.fingerprint == second.fingerprint
    assert first.degree == 3
    assert (ran.wiring.columns != other.wiring.columns).any()


def test_every_row_of_arithmetic_is_held_by_its_own_constraints() -> None:
    """One changed cell of a row that no one reads breaks the constraint that defines it, and nothing else."""

    def write(builder: CircuitBuilder) -> list[Element]:
        (a,) = elements(builder, 1)
        builder.combine((1, 0, 0, 0, 1), a, a)
        builder.split(a)
        builder.low_bits(builder.constant(77))
        return []

    ran = run(write, field_elements(10, 5))
    fixed, cells = ran.wiring.columns, MAIN["cells"].start

    def row_with(name: str) -> int:
        return int(np.flatnonzero(fixed[FIXED[name].start])[0])

    first = row_with("first_weights")
    for k in range(EXTENSION_DEGREE):
        place = (cells + 3 * EXTENSION_DEGREE + k, first)
        assert ran.broken_by({place: int(ran.trace[place]) + 1}) == ({f"first[{k}]"}, False)
    splits = row_with("splits")
    for k in range(EXTENSION_DEGREE):
        for j in range(EXTENSION_DEGREE):
            place = (cells + (1 + k) * EXTENSION_DEGREE + j, splits)
            name = f"splits.base[{k},{j}]" if j else f"splits.value[{k}]"
            assert ran.broken_by({place: int(ran.trace[place]) + 1}) == ({name}, False)
    bits = row_with("bits")
    rest = (cells + 7 * EXTENSION_DEGREE, bits)
    assert ran.broken_by({rest: int(ran.trace[rest]) + 1}) == ({"bits.sum"}, False)
    low, next_bit = ((cells + (1 + j) * EXTENSION_DEGREE, bits) for j in (0, 1))
    moved = {low: int(ran.trace[low]) + 2, next_bit: int(ran.trace[next_bit]) - 1}
    assert ran.broken_by(moved) == ({"bits.boolean[0]", "bits.boolean[1]"}, False)
    base = (cells + EXTENSION_DEGREE + 3, bits)
    assert ran.broken_by({base: 1}) == ({"bits.base[1,3]"}, False)
