"""What every backend must do, bit for bit: one function per method of the port, against naive arithmetic.

The other side of each law is written with Python integers and definitions, not with another backend.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256

import numpy as np
import pytest

from proving.arithmetic.modulus import EXTENSION_DEGREE, GENERATOR, PERMUTATION_WIDTH, WORD, P
from proving.arithmetic.poseidon2_integers import permute_integers
from proving.arithmetic.program import Program, Symbol, trace_program
from proving.backends.port import Backend, FieldArray
from proving.commitments.merkle import hash_opened_rows
from proving.stark.challenge_field import Extension

EDGES = (0, 1, 2, P // 2, P - 2, P - 1)
"""Residues at which carries and corrections happen."""


def check_exact(shown: FieldArray, expected: Sequence[Sequence[int]]) -> None:
    """Whole arrays, canonical, of the port's type."""
    assert shown.dtype == np.uint32
    assert shown.tolist() == [list(row) for row in expected]


def field_array(seed: int, *shape: int) -> FieldArray:
    """Returns random residues, a quarter of them edges."""
    rng = np.random.default_rng(seed)
    values = rng.integers(0, P, shape, dtype=np.uint32)
    edges = rng.choice(np.array(EDGES, dtype=np.uint32), shape)
    return np.where(rng.random(shape) < 0.25, edges, values).astype(np.uint32)


def random_program(seed: int, num_inputs: int = 5, length: int = 60) -> Program:
    """Returns a program of random operations, constants on either side among them."""
    rng = random.Random(seed)  # noqa: S311

    def body(inputs: list[Symbol]) -> list[Symbol | int]:
        values: list[Symbol] = list(inputs)
        for _ in range(length):
            a, b = rng.choice(values), rng.choice(values)
            constant = rng.choice([*EDGES, rng.randrange(P)])
            values.append(
                rng.choice(
                    [a + b, a - b, a * b, a * b, a + constant, constant - a, a * constant, -a]
                )
            )
        return [*values[-6:], inputs[0], inputs[0], rng.randrange(P)]

    return trace_program(f"random{seed}", num_inputs, body)


def program_agrees(backend: Backend, program: Program, size: int, seed: int) -> None:
    """Arrays, integers, strided views and repeated inputs give what `evaluate_integers` gives."""
    wide = field_array(seed, program.num_inputs, 2 * size)
    inputs: list[FieldArray | int] = [row[::2] for row in wide]
    inputs[1] = wide[1, :size]
    inputs[-1] = EDGES[seed % len(EDGES)]
    rows = [
        [int(value) if isinstance(value, int) else int(value[i]) for value in inputs]
        for i in range(size)
    ]
    before = wide.copy()
    expected = [program.evaluate_integers(row) for row in rows]
    check_exact(backend.run(program, inputs, size), list(zip(*expected, strict=True)))
    assert (wide == before).all()


def run_agrees_on_random_programs(backend: Backend) -> None:
    for seed in range(12):
        program_agrees(backend, random_program(seed), size=7 + 13 * seed, seed=seed)


def run_agrees_over_many_points(backend: Backend) -> None:
    program_agrees(backend, random_program(99, length=12), size=9001, seed=3)


def run_agrees_on_a_single_point_and_on_scalars_only(backend: Backend) -> None:
    program = random_program(7)
    program_agrees(backend, program, size=1, seed=4)
    scalars = [3, P - 1, 0, 5, 1]
    expected = [[value] * 4 for value in program.evaluate_integers(scalars)]
    check_exact(backend.run(program, scalars, 4), expected)


def weighted_outputs_are_the_sum_of_the_outputs(backend: Backend) -> None:
    """Outputs that are inputs, constants, repeated or read again; weights with every edge."""
    for seed, size in ((1, 1), (2, 33), (3, 1030)):
        program = random_program(seed)
        columns = field_array(seed, program.num_inputs, 3 * size)
        inputs: list[FieldArray | int] = [*columns[:-1, ::3], EDGES[-seed]]
        weights = field_array(seed, len(program.outputs), EXTENSION_DEGREE)
        expected = []
        for i in range(size):
            row = [value if isinstance(value, int) else int(value[i]) for value in inputs]
            outputs = program.evaluate_integers(row)
            expected.append((np.array(outputs, dtype=object) @ weights.astype(object)) % P)
        shown = backend.combine_outputs(program, inputs, size, weights)
        check_exact(shown, np.stack(expected, axis=1).tolist())


def run_survives_long_chains(backend: Backend) -> None:
    """Sums, differences and powers of the largest residue: where a reduction put off too long shows."""

    def body(inputs: list[Symbol]) -> list[Symbol]:
        total, difference, power = inputs[0], inputs[1], inputs[2]
        for _ in range(300):
            total = total + total
            difference = difference - inputs[0] - inputs[3]
            power = power * power
        mixed = total * difference + power * (total - difference) - (inputs[4] - power)
        return [total, difference, power, mixed]

    program = trace_program("chains", 5, body)
    largest = np.full(9, P - 1, dtype=np.uint32)
    expected = [[value] * 9 for value in program.evaluate_integers([P - 1] * 5)]
    check_exact(backend.run(program, [largest] * 5, 9), expected)


def run_agrees_on_programs_of_thousands_of_nodes(backend: Backend) -> None:
    """Backends may run long programs in another way; values live long and short."""

    def body(inputs: list[Symbol]) -> list[Symbol | int]:
        values = list(inputs)
        for step in range(2000):
            old, new = values[step % 7], values[-1]
            values.append((new * inputs[step % 5] + step) * (old - new) - values[-3])
        return [*values[-3:], inputs[1], values[-1], P - 1]

    program_agrees(backend, trace_program("long", 5, body), size=131, seed=8)


def _evaluated(coefficients: Sequence[int], point: int) -> int:
    value = 0
    for coefficient in reversed(coefficients):
        value = (value * point + coefficient) % P
    return value


def coset_values_are_evaluations(backend: Backend) -> None:
    for log_length, log_size, columns in ((0, 0, 1), (0, 3, 2), (1, 1, 3), (3, 3, 2), (4, 7, 5)):
        coefficients = field_array(log_size, columns, 2**log_length)
        root = pow(GENERATOR, (P - 1) >> log_size, P)
        for shift in (1, GENERATOR, P - 1):
            points = [shift * pow(root, i, P) % P for i in range(2**log_size)]
            expected = [[_evaluated(row, x) for x in points] for row in coefficients.tolist()]
            check_exact(backend.evaluate_on_coset(coefficients, log_size, shift), expected)


def interpolation_inverts_evaluation(backend: Backend) -> None:
    for log_size in range(15):
        columns = field_array(log_size, 3, 2**log_size)
        before = columns.copy()
        coefficients = backend.interpolate(columns)
        again = backend.evaluate_on_coset(coefficients, log_size, 1)
        check_exact(again, columns.tolist())
        assert (columns == before).all()


def a_long_transform_meets_its_definition(backend: Backend) -> None:
    """2^14 coefficients on 2^16 points, at points spread over the coset."""
    coefficients = field_array(5, 2, 2**14)
    shown = backend.evaluate_on_coset(coefficients, 16, GENERATOR)
    root = pow(GENERATOR, (P - 1) >> 16, P)
    rows = coefficients.tolist()
    for index in (0, 1, 2**14 - 1, 2**15 + 77, 2**16 - 1):
        point = GENERATOR * pow(root, index, P) % P
        assert shown[:, index].tolist() == [_evaluated(row, point) for row in rows]


def many_columns_are_transformed_alike(backend: Backend) -> None:
    columns = field_array(6, 301, 2**5)
    together = backend.interpolate(columns)
    alone = [backend.interpolate(columns[i : i + 1])[0].tolist() for i in range(len(columns))]
    check_exact(together, alone)


def permuted_rows_are_the_permutation(backend: Backend) -> None:
    for count in (0, 1, 2, 3, 17, 64, 1500):
        states = field_array(count, count, PERMUTATION_WIDTH)
        before = states.copy()
        shown = backend.permute(states)
        assert shown.shape == states.shape
        check_exact(shown, [permute_integers(row) for row in states.tolist()])
        assert (states == before).all()


def _sponge(row: Sequence[int]) -> list[int]:
    state = [0] * (PERMUTATION_WIDTH - 1) + [len(row)]
    for start in range(0, len(row), WORD):
        block = [*row[start : start + WORD], *[0] * WORD][:WORD]
        state = permute_integers([*block, *state[WORD:]])
    return state[:WORD]


def rows_are_hashed_by_the_sponge(backend: Backend) -> None:
    for width, count in ((1, 4), (7, 3), (8, 2), (9, 5), (16, 1), (17, 33), (40, 8)):
        columns = field_array(width, width, count)
        digests = backend.hash_rows(columns)
        rows = np.ascontiguousarray(columns.T)
        check_exact(digests, [_sponge(row) for row in rows.tolist()])
        check_exact(hash_opened_rows(backend, rows), digests.tolist())


def many_rows_are_hashed_alike(backend: Backend) -> None:
    columns = field_array(8, 11, 2500)
    digests = backend.hash_rows(columns)
    for index in (0, 1023, 1024, 2047, 2048, 2499):
        assert digests[index].tolist() == _sponge(columns[:, index].tolist())


def parents_compress_adjacent_digests(backend: Backend) -> None:
    for pairs in (1, 2, 5, 1100):
        digests = field_array(pairs, 2 * pairs, WORD)
        expected = []
        for pair in digests.reshape(-1, 2 * WORD).tolist():
            permuted = permute_integers(pair)
            expected.append([(permuted[j] + pair[j]) % P for j in range(WORD)])
        check_exact(backend.compress(digests), expected)


def rows_of_words_are_hashed_by_sha256(backend: Backend) -> None:
    """Lengths around a block's end, few and many rows, with and without words before them."""
    for width, count in ((1, 1), (12, 5), (13, 16), (14, 17), (15, 3), (16, 40), (207, 4)):
        columns = field_array(width, width, count)
        for prefix in ([], [5], [2**32 - 1, 0, 7]):
            rows = [np.array([*prefix, *row], dtype="<u4").tobytes() for row in columns.T.tolist()]
            digests = backend.sha256_rows(columns, prefix)
            assert [row.tobytes() for row in digests] == [sha256(row).digest() for row in rows]
    columns = field_array(3, 2, 9001)
    digests = backend.sha256_rows(columns, [1])
    for row in (0, 4095, 4096, 8192, 9000):
        words = np.array([1, *columns[:, row].tolist()], dtype="<u4")
        assert digests[row].tobytes() == sha256(words.tobytes()).digest()


def short_messages_are_hashed_by_sha256(backend: Backend) -> None:
    for width, count in ((0, 2), (1, 1), (53, 33), (55, 4), (53, 70000)):
        messages = np.random.default_rng(width).integers(0, 256, (count, width), dtype=np.uint8)
        digests = backend.sha256_messages(messages)
        assert digests.shape == (count, 32)
        for row in {0, count // 2, count - 1}:
            assert digests[row].tobytes() == sha256(messages[row].tobytes()).digest()


def combination_is_the_weighted_sum(backend: Backend) -> None:
    for count, size in ((1, 1), (3, 5), (40, 9)):
        columns, weights = field_array(count, count, size), field_array(size, count, 5)
        total = weights.T.astype(object) @ columns.astype(object) % P
        check_exact(backend.combine(columns, weights), total.tolist())


def inner_products_are_sums_over_points(backend: Backend) -> None:
    for count, size in ((1, 1), (3, 5), (7, 300)):
        columns, weights = field_array(count, count, size), field_array(size, 5, size)
        total = columns.astype(object) @ weights.T.astype(object) % P
        check_exact(backend.inner_products(columns, weights), total.tolist())


def the_largest_sums_do_not_overflow(backend: Backend) -> None:
    """9,000 products of P - 1 with itself, each 1 mod P."""
    size = 9000
    columns = np.full((2, size), P - 1, dtype=np.uint32)
    check_exact(
        backend.inner_products(columns, np.full((5, size), P - 1, dtype=np.uint32)),
        [[size] * 5] * 2,
    )
    check_exact(
        backend.combine(columns.T.copy(), np.full((size, 5), P - 1, dtype=np.uint32)),
        [[size] * 2] * 5,
    )


def inverses_multiply_to_one(backend: Backend) -> None:
    for size in (1, 2, 3, 7, 64, 1001):
        values = field_array(size, EXTENSION_DEGREE, size)
        values[0][~values.any(axis=0)] = 1
        values[:, 0] = (P - 1, 0, 0, 0, 0)
        shown = backend.batch_inverse(values)
        assert shown.dtype == np.uint32
        pairs = zip(values.T.tolist(), shown.T.tolist(), strict=True)
        products = [Extension(tuple(a)) * Extension(tuple(b)) for a, b in pairs]
        assert products == [Extension.of(1)] * size
        assert (shown < P).all()


def a_zero_among_values_is_refused(backend: Backend) -> None:
    for place in (0, 4, 8):
        values = field_array(2, EXTENSION_DEGREE, 9)
        values[1] = 1
        values[:, place] = 0
        with pytest.raises(ZeroDivisionError):
            backend.batch_inverse(values)


def grinding_finds_the_least_nonce(backend: Backend) -> None:
    for seed, position, bits in ((1, 2, 0), (2, 2, 5), (3, 0, 8), (4, 15, 6)):
        state = field_array(seed, PERMUTATION_WIDTH)
        before = state.copy()
        nonce = backend.grind(state, position, bits)
        assert (state == before).all()
        candidate = 0
        while True:
            given = state.tolist()
            given[position] = candidate
            if permute_integers(given)[0] % 2**bits == 0:
                break
            candidate += 1
        assert nonce == candidate


@dataclass(frozen=True, slots=True)
class Law:
    """A named check of one backend."""

    name: str
    check: Callable[[Backend], None]


LAWS = tuple(
    Law(check.__name__, check)
    for check in (
        run_agrees_on_random_programs,
        run_agrees_over_many_points,
        run_agrees_on_a_single_point_and_on_scalars_only,
        weighted_outputs_are_the_sum_of_the_outputs,
        run_survives_long_chains,
        run_agrees_on_programs_of_thousands_of_nodes,
        coset_values_are_evaluations,
        interpolation_inverts_evaluation,
        a_long_transform_meets_its_definition,
        many_columns_are_transformed_alike,
        permuted_rows_are_the_permutation,
        rows_are_hashed_by_the_sponge,
        many_rows_are_hashed_alike,
        parents_compress_adjacent_digests,
        rows_of_words_are_hashed_by_sha256,
        short_messages_are_hashed_by_sha256,
        combination_is_the_weighted_sum,
        inner_products_are_sums_over_points,
        the_largest_sums_do_not_overflow,
        inverses_multiply_to_one,
        a_zero_among_values_is_refused,
        grinding_finds_the_least_nonce,
    )
)
"""The whole suite."""
