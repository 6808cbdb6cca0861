"""The backend with compiled vectors: all but the transforms as machine code.

It is exact like every backend; `tests/suites/backend_laws.py` holds it to the port bit for bit.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from functools import cache

import numpy as np

from proving.arithmetic.modulus import EXTENSION_DEGREE, PERMUTATION_WIDTH, WORD, P
from proving.arithmetic.program import Program
from proving.arithmetic.residues import reduced
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
from proving.errors import ProvingError

GRINDING_BLOCK = 4096
"""Nonces tried together."""

_POINTER, _SIZE = ctypes.c_void_p, ctypes.c_int64


@cache
def _permutation_code(lanes: int) -> MachineCode:
    return MachineCode(permutation_module(lanes))


class CpuBackend(ReferenceBackend):
    """Vectors of the widest registers of this CPU, on one core."""

    def __init__(self) -> None:
        super().__init__()
        self._lanes = vector_lanes()
        code = _permutation_code(self._lanes)
        self._permute = code.function(PERMUTE_COLUMNS, _POINTER, _SIZE)
        self._hash = code.function(HASH_ROWS, _POINTER, _SIZE, _SIZE, _POINTER)
        self._machine = VectorMachine(self._lanes)

    @property
    def name(self) -> str:
        """`cpu`."""
        return "cpu"

    def permute(self, states: FieldArray) -> FieldArray:
        """See `Backend`."""
        columns = self._padded(states.T)
        self._permute(columns.ctypes.data, columns.shape[1])
        return np.ascontiguousarray(columns[:, : len(states)].T)

    def hash_rows(self, columns: FieldArray) -> FieldArray:
        """See `Backend`."""
        count, size = columns.shape
        rows = self._padded(columns)
        state = np.zeros((PERMUTATION_WIDTH, rows.shape[1]), dtype=np.uint32)
        state[-1] = count
        self._hash(rows.ctypes.data, count, rows.shape[1], state.ctypes.data)
        return np.ascontiguousarray(state[:WORD, :size].T)

    def compress(self, digests: FieldArray) -> FieldArray:
        """See `Backend`."""
        pairs = digests.reshape(-1, PERMUTATION_WIDTH)
        columns = self._padded(pairs.T)
        self._permute(columns.ctypes.data, columns.shape[1])
        permuted = columns[:WORD, : len(pairs)].T.astype(np.uint64)
        return reduced(permuted + pairs[:, :WORD]).astype(np.uint32)

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
        block = np.empty((PERMUTATION_WIDTH, GRINDING_BLOCK), dtype=np.uint32)
        for start in range(0, P, GRINDING_BLOCK):
            count = min(GRINDING_BLOCK, P - start)
            block[:] = state[:, None]
            block[position, :count] = np.arange(start, start + count, dtype=np.uint32)
            self._permute(block.ctypes.data, GRINDING_BLOCK)
            passing = np.flatnonzero(block[0, :count] & mask == 0)
            if len(passing):
                return start + int(passing[0])
        raise ProvingError(f"no nonce gives {bits} zero bits")

    def _padded(self, columns: FieldArray) -> FieldArray:
        """Returns contiguous columns whose length is a multiple of the lanes; a copy that may be changed."""
        count, size = columns.shape
        padded = np.zeros((count, size + -size % self._lanes), dtype=np.uint32)
        padded[:, :size] = columns
        return padded


_: type[Backend] = CpuBackend
