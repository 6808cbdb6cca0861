"""Every backend keeps every law of the port."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from proving.arithmetic.modulus import GENERATOR, PERMUTATION_WIDTH, P
from proving.arithmetic.poseidon2_integers import permute_integers
from proving.backends.cpu import CpuBackend
from proving.backends.lowering import permutation_module
from proving.backends.machine_code import CACHE_VARIABLE, MachineCode
from proving.backends.port import Backend
from proving.backends.programs import VectorMachine
from proving.backends.reference import ReferenceBackend, matrix_product
from proving.backends.team import Team
from proving.backends.transforms import aligned_array, coset_evaluation, interpolation
from proving.backends.vector_machine import machine_module
from schemas.errors import ParameterError
from tests.suites.backend_laws import LAWS, Law, field_array, random_program

BACKENDS: tuple[Backend, ...] = (ReferenceBackend(), CpuBackend(), CpuBackend(threads=3))
NAMES = ("reference", "cpu", "cpu-3-threads")


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.name)
@pytest.mark.parametrize("backend", BACKENDS, ids=NAMES)
def test_a_backend_keeps_the_law(backend: Backend, law: Law) -> None:
    law.check(backend)


@pytest.mark.parametrize("backend", BACKENDS, ids=NAMES)
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


@pytest.mark.parametrize("backend", BACKENDS, ids=NAMES)
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


def test_processes_that_compile_the_same_at_once_leave_one_whole_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    code = (
        "from proving.backends.machine_code import MachineCode\n"
        "from proving.backends.vector_machine import machine_module\n"
        "MachineCode(machine_module(4))"
    )
    started = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(3)]  # noqa: S603
    assert [process.wait() for process in started] == [0, 0, 0]
    assert len(list(tmp_path.iterdir())) == 1
    assert MachineCode(machine_module(4)).is_cached


@pytest.mark.parametrize("lanes", [4, 8, 16, 32])
def test_every_width_of_vectors_gives_the_same(lanes: int) -> None:
    """Also widths that this CPU has no registers for: LLVM splits them."""
    code = MachineCode(permutation_module(lanes))
    states = field_array(lanes, PERMUTATION_WIDTH, 2 * lanes)
    expected = [permute_integers(state) for state in states.T.tolist()]
    permute = code.function("permute_columns", ctypes.c_void_p, *[ctypes.c_int64] * 3)
    permute(states.ctypes.data, 2 * lanes, 0, 2 * lanes)
    assert states.T.tolist() == expected


@pytest.mark.parametrize("lanes", [4, 8, 16, 32])
def test_every_width_of_vectors_runs_programs_alike(lanes: int) -> None:
    """Sizes below, at and beyond a vector and a block; the reference is NumPy's."""
    machine, reference = VectorMachine(lanes, Team(2)), ReferenceBackend()
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


@pytest.mark.parametrize("lanes", [4, 8, 16, 32])
@pytest.mark.parametrize(("log_length", "log_cosets"), [(2, 5), (3, 4), (7, 0), (8, 1), (9, 3)])
def test_every_width_of_vectors_transforms_alike(
    lanes: int, log_length: int, log_cosets: int
) -> None:
    """Passes whose strides are below, at and above the width; odd and even numbers of stages."""
    reference = ReferenceBackend()
    log_size = log_length + log_cosets
    columns = field_array(lanes + log_size, 3, 2**log_length)
    for compiled, expected in (
        (
            coset_evaluation(log_length, log_size, GENERATOR, lanes),
            reference.evaluate_on_coset(columns, log_size, GENERATOR),
        ),
        (interpolation(log_length, lanes), reference.interpolate(columns)),
    ):
        if compiled is None:
            assert 2**log_length < 4 * lanes
            continue
        shown = aligned_array(3, expected.shape[1])
        compiled.apply(columns, shown)
        assert shown.tolist() == expected.tolist()


def test_a_backend_needs_a_thread() -> None:
    with pytest.raises(ParameterError):
        CpuBackend(threads=0)


@pytest.mark.parametrize(
    ("threads", "size", "step"), [(1, 7, 2), (2, 7, 2), (3, 2, 2), (4, 1000, 16), (3, 0, 4)]
)
def test_parts_cover_everything_once(threads: int, size: int, step: int) -> None:
    parts: list[tuple[int, int]] = []
    Team(threads).share(lambda *part: parts.append(part), size, step)
    parts.sort()
    assert [start for start, _ in parts] == [0, *(end for _, end in parts[:-1])]
    assert parts[-1][1] == size
    assert all(start % step == 0 for start, _ in parts)
    assert len(parts) <= threads


def test_a_failure_in_another_thread_is_told() -> None:
    def fail(start: int, _: int) -> None:
        if start:
            raise ValueError(start)

    with pytest.raises(ValueError, match="8"):
        Team(2).share(fail, 16, 8)
