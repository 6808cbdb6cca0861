"""Programs and products on many elements of the challenge field against one element at a time."""

from __future__ import annotations

import numpy as np
import pytest

from proving.arithmetic.modulus import EXTENSION_DEGREE, P
from proving.arithmetic.poseidon2 import NumpyHasher
from proving.arithmetic.program import Program, Symbol, trace_program
from proving.backends.port import FieldArray
from proving.kinds import verifying_key
from proving.stark.challenge_field import Extension, powers, stack, unstack
from proving.stark.extension_program import ExtensionProgram, extension_program
from proving.stark.extension_rows import inner_product, invert_rows, multiply_rows, power_rows
from schemas.errors import ParameterError


def elements(count: int, seed: int) -> FieldArray:
    """Returns (count, 5) residues, the greatest among them."""
    drawn = np.random.default_rng(seed).integers(0, P, (count, EXTENSION_DEGREE), dtype=np.uint32)
    drawn[:1] = P - 1
    return drawn


def one_by_one(program: Program, inputs: FieldArray) -> list[Extension]:
    return program.evaluate(unstack(inputs), Extension.of)


@pytest.mark.parametrize("kind", ["segment_s", "join", "wrap"])
def test_constraints_of_a_circuit_have_the_values_of_one_by_one(kind: str) -> None:
    program = verifying_key(kind, NumpyHasher()).system.program
    inputs = elements(program.num_inputs, 3)
    found = unstack(extension_program(program).evaluate(inputs).astype(np.uint32))
    assert found == one_by_one(program, inputs)


def test_outputs_may_be_inputs_constants_or_repeated() -> None:
    def body(symbols: list[Symbol]) -> list[Symbol | int]:
        product = symbols[0] * symbols[1]
        return [symbols[1], 7, product, product - symbols[0], product, 3 - product + symbols[2]]

    program = trace_program("shapes", 3, body)
    inputs = elements(3, 4)
    found = unstack(ExtensionProgram(program).evaluate(inputs).astype(np.uint32))
    assert found == one_by_one(program, inputs)


def test_a_program_without_inputs_or_without_outputs_has_its_shape() -> None:
    none = np.zeros((0, EXTENSION_DEGREE), dtype=np.uint32)
    constant = trace_program("constant", 0, lambda _: [5])
    assert ExtensionProgram(constant).evaluate(none).tolist() == [[5, 0, 0, 0, 0]]
    silent = trace_program("silent", 2, lambda _: [])
    assert ExtensionProgram(silent).evaluate(elements(2, 5)).shape == (0, EXTENSION_DEGREE)


def test_another_number_of_inputs_is_refused() -> None:
    program = trace_program("double", 1, lambda symbols: [symbols[0] + symbols[0]])
    with pytest.raises(ParameterError, match="double takes 1 inputs, got 2"):
        ExtensionProgram(program).evaluate(elements(2, 6))


@pytest.mark.parametrize("count", [0, 1, 2, 7, 64, 100])
def test_powers_and_inner_products(count: int) -> None:
    base, values = Extension(tuple(elements(2, 7)[1].tolist())), elements(count, 8)
    rows = power_rows(base, count)
    assert unstack(rows.astype(np.uint32)) == list(powers(base, count))
    total = Extension.of(0)
    for power, value in zip(powers(base, count), unstack(values), strict=True):
        total = total + power * value
    assert inner_product(rows, values) == total


@pytest.mark.parametrize("count", [1, 2, 9, 200])
def test_inverses_multiply_to_one(count: int) -> None:
    values = elements(count, 9)
    ones = multiply_rows(invert_rows(values), values.astype(np.int64))
    assert (ones == stack([Extension.of(1)])).all()


def test_zero_among_others_has_no_inverse() -> None:
    values = elements(5, 10)
    values[3] = 0
    with pytest.raises(ZeroDivisionError):
        invert_rows(values)
