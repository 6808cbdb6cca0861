"""Every backend keeps every law of the port."""

from __future__ import annotations

import numpy as np
import pytest

from proving.arithmetic.modulus import P
from proving.backends.port import Backend
from proving.backends.reference import ReferenceBackend, matrix_product
from schemas.errors import ParameterError
from tests.suites.backend_laws import LAWS, Law, random_program

BACKENDS: tuple[Backend, ...] = (ReferenceBackend(),)


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.name)
@pytest.mark.parametrize("backend", BACKENDS, ids=lambda backend: backend.name)
def test_a_backend_keeps_the_law(backend: Backend, law: Law) -> None:
    law.check(backend)


@pytest.mark.parametrize("backend", BACKENDS, ids=lambda backend: backend.name)
def test_inputs_that_do_not_fit_a_program_are_refused(backend: Backend) -> None:
    program = random_program(1)
    column = np.zeros(4, dtype=np.uint32)
    with pytest.raises(ParameterError):
        backend.run(program, [column] * (program.num_inputs - 1), 4)
    with pytest.raises(ParameterError):
        backend.run(program, [column] * program.num_inputs, 5)


@pytest.mark.parametrize("backend", BACKENDS, ids=lambda backend: backend.name)
def test_more_coefficients_than_points_are_refused(backend: Backend) -> None:
    with pytest.raises(ParameterError):
        backend.evaluate_on_coset(np.zeros((1, 8), dtype=np.uint32), 2, 3)


def test_a_product_too_long_for_exact_floats_is_refused() -> None:
    longest = np.full((1, 2**20), P - 1, dtype=np.uint32)
    assert matrix_product(longest, longest.T).tolist() == [[2**20 % P]]
    longer = np.zeros((1, 2**20 + 1), dtype=np.uint32)
    with pytest.raises(ParameterError, match="1048577"):
        matrix_product(longer, longer.T)
