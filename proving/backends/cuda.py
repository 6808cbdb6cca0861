"""The backend of CUDA devices: every method of the port as launches of the kernels of `cuda_kernels`.

Matrices stay on the device between the phases of a proof (`device_array.DeviceArray`). Which device runs the kernels is
not this module's concern: `cupy_device` is a GPU, and tests compile the same source for the host.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from math import prod

import numpy as np

from proving.arithmetic.modulus import EXTENSION_DEGREE, PERMUTATION_WIDTH, WORD, P
from proving.arithmetic.ntt import root_of_unity
from proving.arithmetic.program import Program
from proving.arithmetic.sha256 import Bytes, sha256_messages, sha256_rows
from proving.backends.bytecode import Assembly, assemble
from proving.backends.cuda_kernels import (
    COMBINE,
    FIND_ZERO,
    INNER_PRODUCTS,
    RUN_CODE,
    SUM_PARTS,
)
from proving.backends.cuda_permutation import COMPRESS_PAIRS, GRIND, HASH_ROWS, PERMUTE_ROWS
from proving.backends.cuda_source import BLOCK_THREADS, entered, entered_residues
from proving.backends.cuda_transforms import TRANSFORM_PASS, Pass, passes, power_table, root_table
from proving.backends.device import Buffer, Device
from proving.backends.device_array import (
    DeviceArray,
    as_field_array,
    blocks_for,
    held_rows,
    is_array,
    on_device,
)
from proving.backends.inversion import inverse_program
from proving.backends.port import Backend, FieldArray, Hasher
from proving.backends.reference import ReferenceBackend
from proving.errors import ProvingError
from schemas.errors import ParameterError

SHARED_BYTES = 48 * 1024
"""Shared memory of a block that every device grants unasked."""

PROGRAM_THREADS = (256, 128, 64, 32)
"""Threads of a block of `run_code`, the most whose slots fit in shared memory."""

SCRATCH_GRID = (512, 128)
"""Blocks and threads that run a program whose slots do not fit: 65,536 points at a time in global memory."""

SCRATCH_WORDS = 2**26
"""Points between two passes of a transform, 256 MiB; more columns are taken in batches."""

CHUNK_POINTS = 2**14
"""Points of an inner product that one block sums."""

LEAST_STATES = 256
"""States that are worth a launch and two transfers. A transcript permutes one state after another, 700 times in a
segment's proof: the processor is done before a GPU has started."""

LEAST_NONCES = 2**10
MOST_NONCES = 2**22
"""Nonces tried per launch: twice as many as are expected to be needed, within these."""

NOWHERE = 2**32 - 1
"""Above every place and every nonce."""


class CudaBackend:
    """Kernels on one device; results stay there until NumPy asks for them."""

    def __init__(self, device: Device, hasher: Hasher) -> None:
        """Copies the roots of unity to a device.

        Args:
            device: Runs the kernels.
            hasher: Permutes few states, below `LEAST_STATES`.
        """
        self._device, self._hasher = device, hasher
        self._roots = device.upload(root_table())
        self._shifts = cache(lambda shift: device.upload(power_table(shift)))
        self._assemblies: dict[tuple[str, frozenset[int], bool], tuple[Assembly, Buffer]] = {}

    @property
    def name(self) -> str:
        """`cuda`."""
        return "cuda"

    def describe(self) -> str:
        """Returns the name, device, memory and driver."""
        return f"{self.name}: {self._device.describe()}"

    def finish(self) -> None:
        """See `Backend`."""
        self._device.finish()

    def hold(self, columns: FieldArray) -> FieldArray:
        """See `Backend`; copied to the device once."""
        return as_field_array(self._matrix(columns))

    def permute(self, states: FieldArray) -> FieldArray:
        """See `Backend`; the states come back to the host, where transcripts and traces are made."""
        count = len(states)
        if count < LEAST_STATES:
            return self._hasher.permute(states)
        given, target = self._matrix(states), self._new(count, PERMUTATION_WIDTH)
        arguments = (given.address, count, target.address)
        self._device.launch(PERMUTE_ROWS, (blocks_for(count), 1), arguments)
        return np.asarray(target)

    def run(self, program: Program, inputs: Sequence[FieldArray | int], size: int) -> FieldArray:
        """See `Backend`."""
        return self._outputs(program, inputs, size, None)

    def combine_outputs(
        self,
        program: Program,
        inputs: Sequence[FieldArray | int],
        size: int,
        weights: FieldArray,
    ) -> FieldArray:
        """See `Backend`."""
        ReferenceBackend.check_weights(program, weights)
        return self._outputs(program, inputs, size, weights)

    def interpolate(self, columns: FieldArray) -> FieldArray:
        """See `Backend`."""
        given = self._matrix(columns)
        _log_length(given.shape[1])
        return self._transformed(given, 0, None)

    def evaluate_on_coset(self, coefficients: FieldArray, log_size: int, shift: int) -> FieldArray:
        """See `Backend`."""
        given = self._matrix(coefficients)
        log_length = _log_length(given.shape[1])
        if log_length > log_size:
            raise ParameterError(f"2^{log_length} coefficients need more than 2^{log_size} points")
        root_of_unity(log_size)
        return self._transformed(given, log_size - log_length, shift % P)

    def hash_rows(self, columns: FieldArray) -> FieldArray:
        """See `Backend`."""
        given = self._matrix(columns)
        width, count = given.shape
        target = self._new(count, WORD)
        if count:
            arguments = (given.address, given.strides[0], width, count, target.address)
            self._device.launch(HASH_ROWS, (blocks_for(count), 1), arguments)
        return as_field_array(target)

    def compress(self, digests: FieldArray) -> FieldArray:
        """See `Backend`."""
        given = self._matrix(digests)
        count = len(given) // 2
        target = self._new(count, WORD)
        if count:
            arguments = (given.address, count, target.address)
            self._device.launch(COMPRESS_PAIRS, (blocks_for(count), 1), arguments)
        return as_field_array(target)

    def sha256_rows(self, columns: FieldArray, prefix: Sequence[int]) -> Bytes:
        """See `Backend`; done by the host, since only the last proof of a day asks for it."""
        return sha256_rows(np.asarray(columns), prefix)

    def sha256_messages(self, messages: Bytes) -> Bytes:
        """See `Backend`; done by the host."""
        return sha256_messages(messages)

    def combine(self, columns: FieldArray, weights: FieldArray) -> FieldArray:
        """See `Backend`."""
        given, factors = self._matrix(columns), self._matrix(weights)
        count, size = given.shape
        target = self._new(EXTENSION_DEGREE, size)
        if size:
            place = (given.address, given.strides[0], count)
            arguments = (*place, factors.address, size, target.address)
            self._device.launch(COMBINE, (blocks_for(size), 1), arguments)
        return as_field_array(target)

    def inner_products(self, columns: FieldArray, weights: FieldArray) -> FieldArray:
        """See `Backend`; the few sums come back to the host."""
        given, factors = self._matrix(columns), self._matrix(weights)
        count, size = given.shape
        target = self._new(count, EXTENSION_DEGREE)
        if count:
            chunks = max(1, size // CHUNK_POINTS)
            parts = self._device.allocate(chunks * target.size)
            self._device.launch(
                INNER_PRODUCTS,
                (count, chunks),
                (given.address, given.strides[0], size, factors.address, parts.address),
                shared_bytes=4 * EXTENSION_DEGREE * BLOCK_THREADS,
            )
            arguments = (parts.address, chunks, target.size, target.address)
            self._device.launch(SUM_PARTS, (blocks_for(target.size), 1), arguments)
        return np.asarray(target)

    def batch_inverse(self, values: FieldArray) -> FieldArray:
        """See `Backend`."""
        size = values.shape[1]
        inverse = on_device(self._device, self.run(inverse_program(), list(values), size))
        norm = inverse[EXTENSION_DEGREE]
        least = self._device.upload(np.array([NOWHERE], dtype=np.uint32))
        if size:
            arguments = (norm.address, size, least.address)
            self._device.launch(FIND_ZERO, (blocks_for(size), 1), arguments)
        if least.fetch(0, 1)[0] != NOWHERE:
            raise ZeroDivisionError("zero has no inverse")
        return as_field_array(inverse[:EXTENSION_DEGREE])

    def grind(self, state: FieldArray, position: int, bits: int) -> int:
        """See `Backend`."""
        given = on_device(self._device, state)
        least = self._device.upload(np.array([NOWHERE], dtype=np.uint32))
        block = min(max(2 ** (bits + 1), LEAST_NONCES), MOST_NONCES)
        for start in range(0, P, block):
            count = min(block, P - start)
            arguments = (given.address, position, 2**bits - 1, start, count, least.address)
            self._device.launch(GRIND, (blocks_for(count), 1), arguments)
            found = int(least.fetch(0, 1)[0])
            if found != NOWHERE:
                return found
        raise ProvingError(f"no nonce gives {bits} zero bits")

    def _new(self, *shape: int) -> DeviceArray:
        return DeviceArray(self._device, self._device.allocate(prod(shape)), shape)

    def _matrix(self, values: FieldArray) -> DeviceArray:
        """Returns a matrix on the device, in C order."""
        return on_device(self._device, values).packed()

    def _transformed(self, columns: DeviceArray, log_cosets: int, shift: int | None) -> FieldArray:
        """Transforms (c, n) columns: to coefficients without a shift, else to (c, n * cosets) values."""
        count, size = columns.shape
        plan = passes(_log_length(size))
        points = size << log_cosets
        target = self._new(count, points)
        batch = max(1, min(count, SCRATCH_WORDS // points))
        between = self._device.allocate(batch * points if len(plan) > 1 else 0)
        for start in range(0, count, batch):
            part = slice(start, start + batch)
            self._transform_batch(columns[part], target[part], between, plan, shift)
        return as_field_array(target)

    def _transform_batch(
        self,
        source: DeviceArray,
        target: DeviceArray,
        between: Buffer,
        plan: Sequence[Pass],
        shift: int | None,
    ) -> None:
        """Launches the passes; every second one, counted from the last, writes to the target."""
        (count, size), points = source.shape, target.shape[1]
        log_length, log_cosets = _log_length(size), _log_length(points // size)
        shifts = 0 if shift is None else self._shifts(shift).address
        address = source.address
        for left, part in zip(reversed(range(len(plan))), plan, strict=True):
            after = between.address if left % 2 else target.address
            entries = count * points >> part.log_radix
            log_tile = min(part.log_tile, (entries - 1).bit_length())
            scale = entered(pow(size, -1, P)) if shift is None and not left else 0
            arguments = (
                *(address, after, self._roots.address, shifts),
                *(log_length, part.log_radix, part.log_done, log_cosets, log_tile),
                *(int(shift is None), scale, entries),
            )
            blocks = (-(-entries >> log_tile), 1)
            self._device.launch(TRANSFORM_PASS, blocks, arguments, shared_bytes=part.shared_bytes)
            address = after

    def _outputs(
        self,
        program: Program,
        inputs: Sequence[FieldArray | int],
        size: int,
        weights: FieldArray | None,
    ) -> FieldArray:
        """Runs a program on `size` points: its outputs, or their sum times (m, 5) weights."""
        ReferenceBackend.check_inputs(program, inputs, size)
        if any(is_array(value) and value.shape != (size,) for value in inputs):
            raise ParameterError(f"{program.name} was given arrays that are not ({size},)")
        integers = {i: int(value) for i, value in enumerate(inputs) if not is_array(value)}
        assembly, code = self._assembly(program, frozenset(integers), weights is not None)
        residues = np.array([0, *assembly.residues(integers)], dtype=np.uint32)
        if weights is not None:
            residues = np.concatenate([residues, np.asarray(weights).reshape(-1)])
        target = self._new(assembly.num_rows, size)
        if size:
            self._execute(assembly, code, inputs, entered_residues(residues), target)
        return as_field_array(target)

    def _assembly(
        self, program: Program, integers: frozenset[int], weighted: bool
    ) -> tuple[Assembly, Buffer]:
        key = (program.fingerprint, integers, weighted)
        if key not in self._assemblies:
            assembly = assemble(program, integers, weighted=weighted)
            self._assemblies[key] = assembly, self._device.upload(assembly.code)
        return self._assemblies[key]

    def _execute(
        self,
        assembly: Assembly,
        code: Buffer,
        inputs: Sequence[FieldArray | int],
        scalars: FieldArray,
        target: DeviceArray,
    ) -> None:
        size = target.shape[1]
        addresses = np.zeros(len(inputs), dtype=np.uint64)
        strides = np.zeros(len(inputs), dtype=np.int64)
        places = [index for index, value in enumerate(inputs) if is_array(value)]
        rows = held_rows(self._device, [inputs[index] for index in places])
        for index, row in zip(places, rows, strict=True):
            addresses[index], strides[index] = row.address, row.strides[0]
        threads = next((t for t in PROGRAM_THREADS if 4 * t * assembly.slots <= SHARED_BYTES), 0)
        shared_bytes, blocks = 4 * threads * assembly.slots, 0
        scratch: Buffer | None = None
        if threads:
            blocks = -(-size // threads)
        else:
            threads = SCRATCH_GRID[1]
            blocks = min(SCRATCH_GRID[0], -(-size // threads))
            scratch = self._device.allocate(blocks * threads * assembly.slots)
        held = [self._device.upload(table) for table in (addresses, strides, scalars)]
        arguments = (
            *(code.address, len(assembly.code), *(buffer.address for buffer in held)),
            *(scratch.address if scratch else 0, target.address, size, size),
        )
        self._device.launch(
            RUN_CODE, (blocks, 1), arguments, threads=threads, shared_bytes=shared_bytes
        )


def _log_length(size: int) -> int:
    """Returns log2 of a length.

    Raises:
        ParameterError: There is no transform of it.
    """
    if size < 1 or size & (size - 1):
        raise ParameterError(f"no transform of {size} points")
    root_of_unity(size.bit_length() - 1)
    return size.bit_length() - 1


_: type[Backend] = CudaBackend
