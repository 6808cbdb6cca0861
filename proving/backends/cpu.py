"""The backend with compiled vectors: hashing, transforms, sums and programs as machine code, the rest in NumPy.

It is exact like every backend; `tests/suites/backend_laws.py` holds it to the port bit for bit.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from functools import cache, cached_property, lru_cache

import numpy as np

from proving.arithmetic.modulus import EXTENSION_DEGREE, PERMUTATION_WIDTH, WORD, P
from proving.arithmetic.program import Program
from proving.arithmetic.residues import sums
from proving.arithmetic.sha256 import Bytes
from proving.backends.inversion import inverse_program
from proving.backends.lowering import (
    HASH_ROWS,
    PERMUTE_COLUMNS,
    permutation_module,
)
from proving.backends.machine_code import MachineCode, vector_lanes
from proving.backends.port import Backend, FieldArray
from proving.backends.programs import VectorMachine
from proving.backends.reference import ReferenceBackend
from proving.backends.sha256_lanes import Sha256Lanes
from proving.backends.team import Team
from proving.backends.transforms import (
    CompiledTransform,
    aligned_array,
    coset_evaluation,
    interpolation,
)
from proving.errors import ProvingError
from schemas.errors import ParameterError

GRINDING_BLOCK = 4096
"""Nonces a thread tries at a time."""

LEAST_HASHED = 256
"""States that are worth waking a thread for; a multiple of every width of vectors."""

MAX_TRANSFORMS = 16
"""Evaluations kept with their constants, 4 bytes per point."""

_POINTER, _SIZE = ctypes.c_void_p, ctypes.c_int64


@cache
def _permutation_code(lanes: int) -> MachineCode:
    return MachineCode(permutation_module(lanes))


class CpuBackend(ReferenceBackend):
    """Vectors of the widest registers of this CPU; results do not depend on the number of threads."""

    def __init__(self, threads: int = 1) -> None:
        """Compiles what every proof needs, or loads it.

        Args:
            threads: Columns or rows are split among so many; a worker that was given one core takes one.

        Raises:
            ParameterError: threads is below one.
        """
        super().__init__()
        self._team = Team(threads)
        self._lanes = vector_lanes()
        code = _permutation_code(self._lanes)
        self._permute = code.function(PERMUTE_COLUMNS, _POINTER, _SIZE, _SIZE, _SIZE)
        self._hash = code.function(HASH_ROWS, _POINTER, _SIZE, _SIZE, _POINTER, _SIZE, _SIZE)
        self._machine = VectorMachine(self._lanes, self._team)
        self._interpolation = cache(interpolation)
        self._coset_evaluation = lru_cache(maxsize=MAX_TRANSFORMS)(coset_evaluation)

    @property
    def name(self) -> str:
        """`cpu`."""
        return "cpu"

    @cached_property
    def _sha256(self) -> Sha256Lanes:
        """Compiled when a proof is first made with it."""
        return Sha256Lanes(self._lanes, self._team)

    def permute(self, states: FieldArray) -> FieldArray:
        """See `Backend`."""
        columns = self._padded(states.T)
        self._permute_in_place(columns)
        return np.ascontiguousarray(columns[:, : len(states)].T)

    def interpolate(self, columns: FieldArray) -> FieldArray:
        """See `Backend`."""
        size = columns.shape[1]
        if size < 1 or size & (size - 1):
            raise ParameterError(f"no transform of {size} points")
        compiled = self._interpolation(size.bit_length() - 1, self._lanes)
        if compiled is None:
            return super().interpolate(columns)
        return self._transformed(compiled, columns)

    def evaluate_on_coset(self, coefficients: FieldArray, log_size: int, shift: int) -> FieldArray:
        """See `Backend`."""
        size = coefficients.shape[1]
        if size < 1 or size & (size - 1) or size > 2**log_size:
            raise ParameterError(f"{size} coefficients cannot be evaluated on 2^{log_size} points")
        compiled = self._coset_evaluation(size.bit_length() - 1, log_size, shift, self._lanes)
        if compiled is None:
            return super().evaluate_on_coset(coefficients, log_size, shift)
        return self._transformed(compiled, coefficients)

    def hash_rows(self, columns: FieldArray) -> FieldArray:
        """See `Backend`."""
        count, size = columns.shape
        whole = size % self._lanes == 0
        rows = np.ascontiguousarray(columns) if whole else self._padded(columns)
        length = rows.shape[1]
        state = np.zeros((PERMUTATION_WIDTH, length), dtype=np.uint32)
        state[-1] = count
        source, target = rows.ctypes.data, state.ctypes.data

        def hash_part(start: int, end: int) -> None:
            self._hash(source, count, length, target, start, end)

        self._team.share(hash_part, length, LEAST_HASHED)
        return np.ascontiguousarray(state[:WORD, :size].T)

    def compress(self, digests: FieldArray) -> FieldArray:
        """See `Backend`."""
        pairs = digests.reshape(-1, PERMUTATION_WIDTH)
        columns = self._padded(pairs.T)
        left = columns[:WORD].copy()
        self._permute_in_place(columns)
        return np.ascontiguousarray(sums(columns[:WORD], left)[:, : len(pairs)].T)

    def sha256_rows(self, columns: FieldArray, prefix: Sequence[int]) -> Bytes:
        """See `Backend`."""
        return self._sha256.rows(columns, prefix)

    def sha256_messages(self, messages: Bytes) -> Bytes:
        """See `Backend`."""
        return self._sha256.messages(messages)

    def run(self, program: Program, inputs: Sequence[FieldArray | int], size: int) -> FieldArray:
        """See `Backend`."""
        self.check_inputs(program, inputs, size)
        return self._machine.outputs(program, inputs, size)

    def combine_outputs(
        self,
        program: Program,
        inputs: Sequence[FieldArray | int],
        size: int,
        weights: FieldArray,
    ) -> FieldArray:
        """See `Backend`."""
        self.check_inputs(program, inputs, size)
        self.check_weights(program, weights)
        return self._machine.weighted_outputs(program, inputs, size, weights)

    def combine(self, columns: FieldArray, weights: FieldArray) -> FieldArray:
        """See `Backend`."""
        return self._machine.combination(columns, weights)

    def inner_products(self, columns: FieldArray, weights: FieldArray) -> FieldArray:
        """See `Backend`."""
        return self._machine.inner_products(columns, weights)

    def batch_inverse(self, values: FieldArray) -> FieldArray:
        """See `Backend`."""
        inverse = self._machine.outputs(inverse_program(), list(values), values.shape[1])
        if not inverse[EXTENSION_DEGREE].all():  # the norm
            raise ZeroDivisionError("zero has no inverse")
        return inverse[:EXTENSION_DEGREE]

    def grind(self, state: FieldArray, position: int, bits: int) -> int:
        """See `Backend`."""
        mask = np.uint32((1 << bits) - 1)
        size = GRINDING_BLOCK * self._team.threads
        block = np.empty((PERMUTATION_WIDTH, size), dtype=np.uint32)
        for start in range(0, P, size):
            count = min(size, P - start)
            block[:] = state[:, None]
            block[position, :count] = np.arange(start, start + count, dtype=np.uint32)
            self._permute_in_place(block)
            passing = np.flatnonzero(block[0, :count] & mask == 0)
            if len(passing):
                return start + int(passing[0])
        raise ProvingError(f"no nonce gives {bits} zero bits")

    def _transformed(self, transform: CompiledTransform, columns: FieldArray) -> FieldArray:
        columns = np.ascontiguousarray(columns)
        values = aligned_array(len(columns), transform.points)

        def transform_part(start: int, end: int) -> None:
            transform.apply(columns[start:end], values[start:end])

        self._team.share(transform_part, len(columns), 1)
        return values

    def _permute_in_place(self, columns: FieldArray) -> None:
        data, size = columns.ctypes.data, columns.shape[1]

        def permute_part(start: int, end: int) -> None:
            self._permute(data, size, start, end)

        self._team.share(permute_part, size, LEAST_HASHED)

    def _padded(self, columns: FieldArray) -> FieldArray:
        """Returns contiguous columns whose length is a multiple of the lanes; a copy that may be changed."""
        count, size = columns.shape
        padded = np.zeros((count, size + -size % self._lanes), dtype=np.uint32)
        padded[:, :size] = columns
        return padded


_: type[Backend] = CpuBackend
