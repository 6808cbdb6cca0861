"""The CUDA kernels: compiled by NVRTC, and executed on this machine's processor against the reference.

With a GPU, `pytest -m gpu` runs the same laws on it.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from operators.proof_worker import GPU_MEMORY_VARIABLE, open_backend
from pipelines.adversary.ledger_traffic import fresh_ledger, mixed_blocks
from proving.arithmetic.modulus import EXTENSION_DEGREE, GENERATOR, P
from proving.arithmetic.poseidon2 import NumpyHasher
from proving.arithmetic.program import Program, Symbol, trace_program
from proving.backends import cuda, cupy_device
from proving.backends.bytecode import assemble
from proving.backends.cuda import CudaBackend
from proving.backends.cuda_kernels import KERNELS
from proving.backends.cuda_source import Kernel
from proving.backends.cuda_transforms import passes
from proving.backends.cupy_device import CupyDevice, open_cuda
from proving.backends.device_array import DeviceArray, on_device
from proving.backends.nvrtc import compile_module
from proving.backends.port import FieldArray
from proving.backends.reference import ReferenceBackend
from proving.commitments.merkle import commit_rows
from proving.errors import DeviceFailed
from proving.ledger.air import LedgerAir
from proving.ledger.segments import cut_window
from proving.ledger.witness import SegmentWitness
from proving.prover import prove_stark
from proving.segment_proofs import prove_segment, segment_layout
from proving.stark.parameters import ProofParameters
from proving.stark.setup import make_proving_key
from proving.stark.system import ConstraintSystem, compile_air
from schemas.errors import EnvironmentMissing, ParameterError
from tests.suites.backend_laws import LAWS, Law, field_array, random_program
from tests.suites.circuits import Exchange, Fibonacci
from tests.suites.host_cupy import HostCupy
from tests.suites.host_device import HostCudaBackend, HostDevice, build, compiler
from tests.suites.proofs import GRINDING, SMALL, Circuit, honest_proof

REFERENCE = ReferenceBackend()
VECTORS = Path(__file__).parents[1] / "vectors" / "poseidon2_koalabear_16.json"

MOST_REGISTERS = 64
"""Of a thread, so that a multiprocessor's 65,536 registers hold 1,024 threads."""

SHARING_LAWS = tuple(
    law for law in LAWS if re.search("coset|interpolation|transform|products|sums", law.name)
)
"""Laws about kernels whose threads share memory."""

# ------------------------------------------------------------------------------- NVRTC


@pytest.mark.parametrize("architecture", ["sm_80", "sm_90"])
def test_every_kernel_compiles_without_spilling(architecture: str) -> None:
    module = compile_module(architecture)
    assert module.cubin[:4] == b"\x7fELF"
    assert set(re.findall(r"entry function '(\w+)'", module.log)) == set(KERNELS)
    for what in ("stack frame", "spill stores", "spill loads"):
        assert set(re.findall(rf"(\d+) bytes {what}", module.log)) == {"0"}, what
    registers = [int(count) for count in re.findall(r"Used (\d+) registers", module.log)]
    assert len(registers) == len(KERNELS)
    assert max(registers) <= MOST_REGISTERS


def test_an_architecture_that_nvrtc_does_not_know_is_named() -> None:
    with pytest.raises(EnvironmentMissing, match="sm_10"):
        compile_module("sm_10")


@pytest.mark.parametrize(
    ("command", "variable"),
    [("bench kernels", "ECLIPTICA_BACKEND"), ("run all", "ECLIPTICA_PROVING_BACKEND")],
)
def test_without_a_gpu_the_backend_is_refused_and_not_replaced(
    tmp_path: Path, command: str, variable: str
) -> None:
    environment = os.environ | {
        variable: "cuda",
        "CUDA_VISIBLE_DEVICES": "",
        "ECLIPTICA_DATA": str(tmp_path),
    }
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-m", "pipelines.cli", *command.split()],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 5
    assert not list(tmp_path.iterdir())
    assert "no usable GPU" in done.stderr
    assert "choose the backend cpu" in done.stderr


def test_a_share_of_memory_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for share in ("0", "101", "half"):
        monkeypatch.setenv(GPU_MEMORY_VARIABLE, share)
        with pytest.raises(ParameterError, match=GPU_MEMORY_VARIABLE):
            open_backend("cuda")


# ------------------------------------------------------------------------------- execution


@pytest.fixture(scope="session")
def open_host(tmp_path_factory: pytest.TempPathFactory) -> Callable[[bool], HostCudaBackend]:
    if compiler() is None:
        pytest.skip("no C++ compiler here: the CUDA kernels were compiled but NOT executed")

    @cache
    def library(backwards: bool) -> Path:
        return build(tmp_path_factory.mktemp("cuda"), backwards=backwards)

    return lambda backwards: HostCudaBackend(HostDevice(library(backwards)))


@pytest.fixture
def host(open_host: Callable[[bool], HostCudaBackend]) -> HostCudaBackend:
    return open_host(False)


@cache
def gpu_backend() -> CudaBackend:
    return open_cuda()


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.name)
def test_the_kernels_keep_the_law_on_this_processor(host: HostCudaBackend, law: Law) -> None:
    law.check(host)


@pytest.mark.parametrize("law", SHARING_LAWS, ids=lambda law: law.name)
def test_the_order_of_the_threads_of_a_block_does_not_matter(
    open_host: Callable[[bool], HostCudaBackend], law: Law
) -> None:
    """Kernels with phases; in the others no thread reads what another writes."""
    law.check(open_host(True))


@pytest.mark.gpu
@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.name)
def test_the_kernels_keep_the_law_on_a_gpu(law: Law) -> None:
    law.check(gpu_backend())


def test_the_permutation_has_its_known_answers(host: HostCudaBackend) -> None:
    vectors = json.loads(VECTORS.read_text())["known_answers"]
    repeated = [vectors[number % len(vectors)] for number in range(cuda.LEAST_STATES + 1)]
    for chosen in (vectors, repeated):
        states = np.array([vector["input"] for vector in chosen], dtype=np.uint32)
        assert host.permute(states).tolist() == [vector["output"] for vector in chosen]
    assert host.device.launched == {"permute_rows"}


@cache
def ledger_system() -> ConstraintSystem:
    return compile_air(LedgerAir())


def test_the_ledgers_programs_give_what_the_reference_gives(host: HostCudaBackend) -> None:
    size, system = 33, ledger_system()
    assert system.fractions is not None
    columns = field_array(1, system.program.num_inputs, 2 * size)
    inputs: list[FieldArray | int] = [*columns[:-9, ::2], *range(P - 9, P)]
    weights = field_array(2, len(system.program.outputs), EXTENSION_DEGREE)
    shown = host.combine_outputs(system.program, inputs, size, weights)
    expected = REFERENCE.combine_outputs(system.program, inputs, size, weights)
    assert shown.tolist() == expected.tolist()
    taken: list[FieldArray | int] = [
        *field_array(3, system.fractions.num_inputs - 2, size),
        1,
        P - 1,
    ]
    fractions = host.run(system.fractions, taken, size)
    assert fractions.tolist() == REFERENCE.run(system.fractions, taken, size).tolist()


def wide_program(width: int) -> Program:
    """Returns a program that needs all its first products until the end."""

    def body(inputs: list[Symbol]) -> Sequence[Symbol]:
        held = [inputs[0] * (inputs[1] + number) for number in range(width)]
        total = inputs[1]
        for value in reversed(held):
            total = total * inputs[0] + value
        return [total, held[0]]

    return trace_program(f"wide{width}", 2, body)


@pytest.mark.parametrize("width", [40, 90, 180, 370, 400])
def test_slots_live_in_shared_or_in_global_memory(host: HostCudaBackend, width: int) -> None:
    """Blocks of 256, 128, 64 and 32 threads, and slots that no block has room for."""
    program, inputs = wide_program(width), list(field_array(width, 2, 700))
    slots = assemble(program, frozenset(), weighted=False).slots
    fitting = [t for t in cuda.PROGRAM_THREADS if 4 * t * slots <= cuda.SHARED_BYTES]
    assert len(fitting) == {40: 4, 90: 3, 180: 2, 370: 1, 400: 0}[width]
    assert host.run(program, inputs, 700).tolist() == REFERENCE.run(program, inputs, 700).tolist()


@pytest.mark.parametrize(
    ("columns", "log_length", "log_cosets"),
    [(3, 8, 0), (2, 9, 2), (5, 11, 3), (1, 16, 1), (2, 17, 0), (1, 0, 5), (2, 1, 1), (2, 9, 7)],
)
def test_transforms_of_one_to_three_passes_give_what_the_reference_gives(
    host: HostCudaBackend,
    monkeypatch: pytest.MonkeyPatch,
    columns: int,
    log_length: int,
    log_cosets: int,
) -> None:
    """Also when the room between passes holds one column only."""
    assert len(passes(17)) == 3
    values, log_size = field_array(columns, columns, 2**log_length), log_length + log_cosets
    monkeypatch.setattr(cuda, "SCRATCH_WORDS", 1)
    shown = host.evaluate_on_coset(values, log_size, GENERATOR)
    expected = REFERENCE.evaluate_on_coset(values, log_size, GENERATOR)
    assert (np.asarray(shown) == expected).all()
    assert (np.asarray(host.interpolate(values)) == REFERENCE.interpolate(values)).all()


@pytest.mark.parametrize("log_length", range(25))
def test_passes_cover_every_stage_once_within_shared_memory(log_length: int) -> None:
    plan = passes(log_length)
    assert [part.log_done for part in plan] == [
        sum(part.log_radix for part in plan[:number]) for number in range(len(plan))
    ]
    assert sum(part.log_radix for part in plan) == log_length
    assert len(plan) == max(1, -(-log_length // 8))
    assert all(part.shared_bytes <= cuda.SHARED_BYTES for part in plan)


def test_inner_products_of_several_chunks_add_up(host: HostCudaBackend) -> None:
    size = 3 * cuda.CHUNK_POINTS
    columns, weights = field_array(1, 3, size), field_array(2, EXTENSION_DEGREE, size)
    shown = host.inner_products(columns, weights)
    assert shown.tolist() == REFERENCE.inner_products(columns, weights).tolist()


def test_shapes_without_a_transform_are_refused(host: HostCudaBackend) -> None:
    columns = np.zeros((1, 3), dtype=np.uint32)
    with pytest.raises(ParameterError):
        host.interpolate(columns)
    with pytest.raises(ParameterError):
        host.evaluate_on_coset(columns[:, :2], 0, 1)
    with pytest.raises(ParameterError):
        host.evaluate_on_coset(columns[:, :2], 25, 1)
    with pytest.raises(ParameterError):
        host.run(random_program(1), [columns[0]] * 5, 4)
    with pytest.raises(ParameterError):
        host.run(random_program(1), [on_device(host.device, columns)[0]] * 5, 4)


# ------------------------------------------------------------------------------- arrays


KEYS: tuple[Any, ...] = (
    2,
    -1,
    slice(1, 4),
    slice(None, None, -2),
    (slice(None), slice(1, None, 3)),
    (1, slice(2, 5)),
    (slice(None), 4),
    (3, 6),
    [4, 0, 4],
    np.array([1, 1, 3], dtype=np.uint32),
    (slice(None), np.array([6, 0, 6, 2], dtype=np.uint32)),
    (slice(None), slice(0, 0)),
    slice(9, 9),
    [],
    (np.array([0, 2]), np.array([1, 1])),
    (slice(2, 4), [3, 0]),
    np.array([True, False, True, True, False]),
    np.array([[0, 1], [2, 3]]),
    (..., 1),
    None,
)


@pytest.mark.parametrize("key", KEYS, ids=repr)
def test_parts_of_a_device_array_are_those_of_numpy(host: HostCudaBackend, key: Any) -> None:
    values = field_array(7, 5, 7)
    held = on_device(host.device, values)
    wide = np.concatenate([values, values], axis=1)
    for given, array in (
        (held, values),
        (on_device(host.device, wide)[::-1, ::2], wide[::-1, ::2]),
    ):
        assert np.asarray(given[key]).tolist() == np.asarray(array[key]).tolist()


def test_a_device_array_turns_joins_and_folds_as_numpy_does(host: HostCudaBackend) -> None:
    values = field_array(7, 4, 6)
    held = on_device(host.device, values)
    downloaded = host.device.downloaded
    made = {
        "roll": (np.roll(held, -2, axis=1), np.roll(values, -2, axis=1)),
        "roll of a row": (np.roll(held[1], 1), np.roll(values[1], 1)),
        "roll of a view": (np.roll(held[:, ::3], 5, axis=1), np.roll(values[:, ::3], 5, axis=1)),
        "join": (np.concatenate([held[[2, 0]], values, held[-1:]]), values[[2, 0, 0, 1, 2, 3, 3]]),
        "strides": (np.concatenate([held[:, ::2], values[:, :3]]), None),
        "fold": (
            held.reshape(2, 2, -1).transpose(2, 0, 1),
            values.reshape(2, 2, -1).transpose(2, 0, 1),
        ),
        "fold of a view": (held.T.reshape(-1, 3), values.T.reshape(-1, 3)),
    }
    assert host.device.downloaded == downloaded
    assert all(isinstance(shown, DeviceArray) for shown, _ in made.values())
    made["strides"] = made["strides"][0], np.concatenate([values[:, ::2], values[:, :3]])
    for name, (shown, expected) in made.items():
        assert np.asarray(shown).tolist() == np.asarray(expected).tolist(), name
    assert (held + 1 == values + 1).all()
    assert np.stack([held, held], axis=1).tolist() == np.stack([values, values], axis=1).tolist()
    assert np.roll(held, 1, axis=0).tolist() == np.roll(values, 1, axis=0).tolist()
    with pytest.raises(IndexError):
        held[:, np.array([6])]
    with pytest.raises(IndexError):
        held[4]
    with pytest.raises(ValueError, match="joined"):
        np.concatenate([held, held[:, 1:]])
    with pytest.raises(ValueError, match="shape"):
        held.reshape(5, -1)


# ------------------------------------------------------------------------------- proofs


@pytest.mark.parametrize("parameters", [SMALL, GRINDING], ids=["small", "grinding"])
@pytest.mark.parametrize("air", [Fibonacci(), Exchange()], ids=lambda air: air.name)
def test_a_proof_has_the_bytes_of_the_references(
    host: HostCudaBackend, air: Circuit, parameters: ProofParameters
) -> None:
    key = make_proving_key(7, air, parameters, host)
    publics, trace = air.witness()
    assert prove_stark(key, publics, trace, host).data == honest_proof(air, parameters).data


def test_committed_matrices_stay_on_the_device(host: HostCudaBackend) -> None:
    """What comes back of a commitment are the rows and paths that are opened."""
    columns, chosen = field_array(3, 40, 2**9), np.array([5, 1, 5, 4000], dtype=np.uint32)
    extension = host.evaluate_on_coset(host.interpolate(columns), 12, GENERATOR)
    tree = commit_rows(host, extension, 2)
    assert host.device.downloaded == 0
    rows, paths, cap = (
        np.ascontiguousarray(extension[:, chosen].T),
        tree.paths(chosen),
        np.asarray(tree.cap),
    )
    assert host.device.downloaded == rows.nbytes + paths.nbytes + cap.nbytes
    expected = REFERENCE.evaluate_on_coset(REFERENCE.interpolate(columns), 12, GENERATOR)
    honest = commit_rows(REFERENCE, expected, 2)
    assert rows.tolist() == expected[:, chosen].T.tolist()
    assert paths.tolist() == honest.paths(chosen).tolist()
    assert cap.tolist() == honest.cap.tolist()


class FailingDevice(HostDevice):
    """Stops after a number of launches, as a GPU that falls off the bus does."""

    def __init__(self, library: Path, launches: int) -> None:
        super().__init__(library)
        self.left = launches

    def launch(
        self,
        kernel: Kernel,
        blocks: tuple[int, int],
        arguments: Sequence[int],
        *,
        threads: int = 256,
        shared_bytes: int = 0,
    ) -> None:
        self.left -= 1
        if self.left < 0:
            raise DeviceFailed(f"the GPU failed while starting {kernel.name}")
        super().launch(kernel, blocks, arguments, threads=threads, shared_bytes=shared_bytes)


@pytest.mark.parametrize("launches", [0, 20, 60])
def test_a_device_lost_in_a_proof_ends_it_with_its_name(
    host: HostCudaBackend, launches: int
) -> None:
    air = Exchange()
    key = make_proving_key(7, air, GRINDING, host)
    failing = HostCudaBackend(FailingDevice(host.device.library, launches))
    publics, trace = air.witness()
    with pytest.raises(DeviceFailed, match="the GPU failed") as error:
        prove_stark(key, publics, trace, failing)
    assert error.value.exit_code == 5


@pytest.fixture
def host_cupy(host: HostCudaBackend, monkeypatch: pytest.MonkeyPatch) -> HostCupy:
    """Puts this processor in the place of a driver and a GPU; transfers go in pieces of 1,000 bytes."""
    compile_module("sm_90")  # by the real CuPy
    module = HostCupy(host.device.library)
    monkeypatch.setitem(sys.modules, "cupy", module)
    monkeypatch.setattr(cupy_device, "STAGING_BYTES", 1000)
    return module


def test_what_is_sent_comes_back_from_any_word_on(host_cupy: HostCupy) -> None:
    device = CupyDevice(memory_percent=50)
    for count in (0, 1, 249, 250, 251, 1700):
        words = field_array(count, count + 9)
        buffer = device.upload(words)
        assert buffer.address % 16 == 0
        assert buffer.fetch(0, count + 9).tolist() == words.tolist()
        assert buffer.fetch(7, count).tolist() == words[7 : 7 + count].tolist()
    assert "Host (compute capability 9.0, 1 multiprocessors, 0 GiB)" in device.describe()
    assert "driver for CUDA 12.8, runtime 12.9, CuPy 14.2.0" in device.describe()
    with pytest.raises(DeviceFailed, match="taking"):
        device.allocate(2**23 + 1)
    assert device.allocate(2**22).address


def test_a_proof_through_cupys_interface_has_the_bytes_of_the_references(
    host_cupy: HostCupy,
) -> None:
    backend, air = CudaBackend(CupyDevice(), NumpyHasher()), Exchange()
    publics, trace = air.witness()
    key = make_proving_key(7, air, SMALL, backend)
    assert prove_stark(key, publics, trace, backend).data == honest_proof(air).data
    host_cupy.launches_left = 30
    with pytest.raises(
        DeviceFailed, match=r"GPU failed while starting \w+: CUDA_ERROR_ILLEGAL_ADDRESS"
    ):
        prove_stark(key, publics, trace, backend)


@cache
def segment_witness() -> SegmentWitness:
    (segment,) = cut_window(fresh_ledger(), mixed_blocks(), 0, segment_layout())
    return segment


@pytest.mark.slow
def test_a_ledger_segments_proof_has_the_bytes_of_the_compiled_backends(
    host: HostCudaBackend,
) -> None:
    """Nine seconds: every kernel runs, and less than an eighth of what is committed comes back."""
    expected = prove_segment(segment_witness(), open_backend("cpu")).data
    assert prove_segment(segment_witness(), host).data == expected
    assert set(KERNELS) - host.device.launched == {"permute_rows"}
    host.device.downloaded = 0
    cells: list[int] = []
    prove_segment(segment_witness(), host, lambda span: cells.append(span.cells))
    assert host.device.downloaded < sum(cells) * 4 // 8


@pytest.mark.gpu
def test_proofs_made_on_a_gpu_have_the_bytes_of_the_other_backends() -> None:
    backend, air = gpu_backend(), Exchange()
    publics, trace = air.witness()
    key = make_proving_key(7, air, GRINDING, backend)
    assert prove_stark(key, publics, trace, backend).data == honest_proof(air, GRINDING).data
    expected = prove_segment(segment_witness(), open_backend("cpu")).data
    assert prove_segment(segment_witness(), backend).data == expected
    assert "driver for CUDA" in backend.describe()
