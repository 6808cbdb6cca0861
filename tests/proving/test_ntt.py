"""Roots of unity, and the transform against the sum that defines it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proving.arithmetic.modulus import TWO_ADICITY, P
from proving.arithmetic.ntt import geometric, root_of_unity, transform
from proving.arithmetic.residues import differences, invert_residues, reduced, sums
from schemas.errors import ParameterError
from tests.suites.backend_laws import EDGES, field_array


@pytest.mark.parametrize("log_size", [0, 1, 2, 13, TWO_ADICITY])
def test_a_root_has_exactly_its_order_and_squares_to_the_next(log_size: int) -> None:
    root = root_of_unity(log_size)
    assert pow(root, 2**log_size, P) == 1
    assert log_size == 0 or pow(root, 2 ** (log_size - 1), P) == P - 1
    assert log_size == 0 or root * root % P == root_of_unity(log_size - 1)


@pytest.mark.parametrize("log_size", [-1, TWO_ADICITY + 1])
def test_no_other_root_exists(log_size: int) -> None:
    with pytest.raises(ParameterError, match="no subgroup"):
        root_of_unity(log_size)


@pytest.mark.parametrize("count", [0, 1, 2, 3, 100])
def test_geometric_sequences_are_powers(count: int) -> None:
    assert geometric(P - 2, P - 3, count).tolist() == [
        (P - 2) * pow(P - 3, i, P) % P for i in range(count)
    ]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 6), st.data())
def test_the_transform_is_the_sum_over_powers_of_the_root(
    log_size: int, data: st.DataObject
) -> None:
    size = 2**log_size
    residue = st.one_of(st.sampled_from(EDGES), st.integers(0, P - 1))
    values = data.draw(st.lists(residue, min_size=size, max_size=size))
    root = root_of_unity(log_size)
    expected = [
        sum(value * pow(root, i * k, P) for i, value in enumerate(values)) % P for k in range(size)
    ]
    column = np.array([values], dtype=np.uint32)
    assert transform(column).tolist() == [expected]
    assert transform(np.array([expected], dtype=np.uint32), inverse=True).tolist() == [values]


@pytest.mark.parametrize("log_size", [15, 16, 17])
def test_a_transform_longer_than_a_batch_is_inverted(log_size: int) -> None:
    columns = np.full((2, 2**log_size), P - 1, dtype=np.uint32)
    columns[1] = field_array(log_size, 2**log_size)
    transformed = transform(columns)
    assert transformed[0, 0] == (P - 2**log_size)
    assert not transformed[0, 1:].any()
    assert (transform(transformed, inverse=True) == columns).all()


@pytest.mark.parametrize("size", [0, 3, 12])
def test_a_length_that_is_no_power_of_two_is_refused(size: int) -> None:
    with pytest.raises(ParameterError, match=f"{size} points"):
        transform(np.zeros((1, size), dtype=np.uint32))


@pytest.mark.parametrize("count", [0, 1, 2, 3, 5, 6, 7, 11, 64, 77, 1000])
def test_inverses_multiply_to_one_and_zero_stays_zero(count: int) -> None:
    values = field_array(count, count)
    products = values.astype(object) * invert_residues(values) % P
    assert products.tolist() == (values != 0).astype(int).tolist()


def test_reduction_is_exact_for_every_64_bit_value() -> None:
    top = 2**64 // P * P
    values = [0, 1, P - 1, P, P + 1, 2**32 - 1, 2**63, top - 1, top, top + 1, 2**64 - 1]
    assert reduced(np.array(values, dtype=np.uint64)).tolist() == [value % P for value in values]


def test_sums_and_differences_of_residues_are_exact_at_the_ends_of_the_range() -> None:
    ends = np.array([0, 1, 2, P // 2, P // 2 + 1, P - 2, P - 1], dtype=np.uint32)
    a, b = (grid.reshape(-1) for grid in np.meshgrid(ends, ends))
    pairs = list(zip(a.tolist(), b.tolist(), strict=True))
    assert sums(a, b).tolist() == [(x + y) % P for x, y in pairs]
    assert differences(a, b).tolist() == [(x - y) % P for x, y in pairs]
