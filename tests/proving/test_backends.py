"""Every backend keeps every law of the port."""

from __future__ import annotations

import ctypes
from pathlib import Path

import numpy as np
import pytest

from proving.arithmetic.modulus import PERMUTATION_WIDTH, P
from proving.arithmetic.poseidon2 import permute_integers
from proving.backends.cpu import CpuBackend
from proving.backends.lowering import permutation_module
from proving.backends.machine_code import CACHE_VARIABLE, MachineCode
from proving.backends.port import Backend
from proving.backends.programs import VectorMachine
from proving.backends.reference import ReferenceBackend, matrix_product
from proving.backends.vector_machine import machine_module
from schemas.errors import ParameterError
from tests.suites.backend_laws import LAWS, Law, field_array, random_program

BACKENDS: tuple[Backend, ...] = (ReferenceBackend(), CpuBackend())


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
    weights = np.zeros((len(program.outputs) - 1, 5), dtype=np.uint32)
    with pytest.raises(ParameterError, match="weights"):
        backend.combine_outputs(program, [column] * program.num_inputs, 4, weights)


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


def test_object_code_is_kept_and_a_damaged_file_is_compiled_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    source = machine_module(4)
    assert not MachineCode(source).is_cached
    assert MachineCode(source).is_cached
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:-1])
    assert not MachineCode(source).is_cached
    assert MachineCode(source).is_cached


@pytest.mark.parametrize("lanes", [4, 8, 16])
def test_every_width_of_vectors_gives_the_same(lanes: int) -> None:
    """Also widths that this CPU has no registers for: LLVM splits them."""
    code = MachineCode(permutation_module(lanes))
    states = field_array(lanes, PERMUTATION_WIDTH, 2 * lanes)
    expected = [permute_integers(state) for state in states.T.tolist()]
    code.function("permute_columns", ctypes.c_void_p, ctypes.c_int64)(states.ctypes.data, 2 * lanes)
    assert states.T.tolist() == expected


@pytest.mark.parametrize("lanes", [4, 8, 16])
def test_every_width_of_vectors_runs_programs_alike(lanes: int) -> None:
    """Sizes below, at and beyond a vector and a block; the reference is NumPy's."""
    machine, reference = VectorMachine(lanes), ReferenceBackend()
    for seed, size in ((1, 1), (2, lanes), (3, 4 * lanes + 1), (4, 1025)):
        program = random_program(seed)
        columns = field_array(seed, program.num_inputs, 2 * size)
        inputs = [*columns[:-2, ::2], columns[-2, size:], seed]
        outputs = reference.run(program, inputs, size)
        assert (machine.outputs(program, inputs, size) == outputs).all()
        weights = field_array(size, len(outputs), 5)
        combined = reference.combine(outputs, weights)
        assert (machine.weighted_outputs(program, inputs, size, weights) == combined).all()
        assert (machine.combination(outputs, weights) == combined).all()
        factors = field_array(seed, 5, size)
        products = reference.inner_products(outputs, factors)
        assert (machine.inner_products(outputs, factors) == products).all()
