"""Runs assemblies on the vector machine: addresses, scalars and room for the slots."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from proving.arithmetic.modulus import EXTENSION_DEGREE
from proving.arithmetic.program import Program
from proving.arithmetic.residues import reduced
from proving.backends.bytecode import (
    Assembly,
    assemble,
    combination_code,
    inner_product_code,
)
from proving.backends.machine_code import MachineCode
from proving.backends.port import FieldArray
from proving.backends.team import Team
from proving.backends.transforms import aligned_array
from proving.backends.vector_machine import RUN_CODE, UNROLLED, machine_module

SLOT_BYTES = 2**19
"""Slots live at a time should stay in a core's second-level cache."""

LARGEST_BLOCK = 512
"""Points: a slot of 2 KiB; above this the jumps between instructions are not felt."""

LEAST_RUN = 2048
"""Points that are worth waking a thread for; a multiple of every width of vectors."""

_RADIX = np.uint64(2**32)
_POINTER, _SIZE = ctypes.c_void_p, ctypes.c_int64


class VectorMachine:
    """The compiled machine and the assemblies of the programs that it has run."""

    def __init__(self, lanes: int, team: Team) -> None:
        """Compiles the machine for vectors of `lanes`, or loads it; a team shares the points."""
        kinds = [_POINTER, _SIZE, *[_POINTER] * 4, _SIZE, _POINTER, *[_SIZE] * 3]
        self._run = _machine(lanes).function(RUN_CODE, *kinds)
        self._lanes, self._team = lanes, team
        self._assemblies: dict[tuple[str, frozenset[int], bool], Assembly] = {}
        self._combination, self._inner_product = cache(combination_code), cache(inner_product_code)

    def outputs(
        self, program: Program, inputs: Sequence[FieldArray | int], size: int
    ) -> FieldArray:
        """Returns the (m, size) outputs of a program over `size` points."""
        return self._outputs(program, inputs, size, None)

    def weighted_outputs(
        self,
        program: Program,
        inputs: Sequence[FieldArray | int],
        size: int,
        weights: FieldArray,
    ) -> FieldArray:
        """Returns the (5, size) sum of a program's outputs times (m, 5) weights."""
        return self._outputs(program, inputs, size, weights)

    def combination(self, columns: FieldArray, weights: FieldArray) -> FieldArray:
        """Returns the (5, n) sum of (c, n) columns times (c, 5) weights."""
        code = self._combination(len(columns))
        scalars = _entered(_entered(weights.reshape(-1)))
        return self._stored(code, list(columns), scalars, columns.shape[1])

    def inner_products(self, columns: FieldArray, weights: FieldArray) -> FieldArray:
        """Returns the (c, 5) sums over points of (c, n) columns times (5, n) weights."""
        code = self._inner_product(len(columns))
        found: list[NDArray[np.uint64]] = []
        work = self._work(code, [*columns, *weights], np.zeros(0, dtype=np.uint32))

        def multiply_part(start: int, end: int) -> None:
            sums = np.zeros((code.num_rows, self._lanes), dtype=np.uint32)
            work(sums, start, end)
            found.append(sums.sum(axis=1, dtype=np.uint64))

        self._team.share(multiply_part, columns.shape[1], LEAST_RUN)
        total = np.stack(found).sum(axis=0, dtype=np.uint64)
        return reduced(total).astype(np.uint32).reshape(-1, EXTENSION_DEGREE)

    def _outputs(
        self,
        program: Program,
        inputs: Sequence[FieldArray | int],
        size: int,
        weights: FieldArray | None,
    ) -> FieldArray:
        integers = {
            index: int(value)
            for index, value in enumerate(inputs)
            if not isinstance(value, np.ndarray)
        }
        key = (program.fingerprint, frozenset(integers), weights is not None)
        code = self._assemblies.get(key)
        if code is None:
            code = assemble(program, key[1], weighted=key[2])
            self._assemblies[key] = code
        residues = np.array(code.residues(integers), dtype=np.uint32)
        if weights is not None:
            residues = np.concatenate([residues, weights.reshape(-1)])
        arrays = [value if isinstance(value, np.ndarray) else None for value in inputs]
        return self._stored(code, arrays, _entered(residues), size)

    def _stored(
        self,
        code: Assembly,
        inputs: Sequence[FieldArray | None],
        scalars: FieldArray,
        size: int,
    ) -> FieldArray:
        """Runs code whose output has a row of `size` points each."""
        pitch = size + -size % self._lanes
        out = np.empty((code.num_rows, pitch), dtype=np.uint32)
        work = self._work(code, inputs, scalars)
        self._team.share(lambda start, end: work(out, start, end), size, LEAST_RUN)
        return out if pitch == size else np.ascontiguousarray(out[:, :size])

    def _work(
        self, code: Assembly, inputs: Sequence[FieldArray | None], scalars: FieldArray
    ) -> Callable[[FieldArray, int, int], None]:
        """Returns what runs code over points from one to another, a part with slots of its own."""
        addresses = np.zeros(len(inputs), dtype=np.int64)
        strides = np.zeros(len(inputs), dtype=np.int64)
        for index, value in enumerate(inputs):
            if value is not None:
                addresses[index] = value.__array_interface__["data"][0]
                strides[index] = value.strides[0]
        given = np.concatenate([np.zeros(1, dtype=np.uint32), scalars])

        def work(out: FieldArray, start: int, end: int) -> None:
            block = self._block(code.slots, end - start)
            slots = aligned_array(code.slots, block)
            self._run(
                code.code.ctypes.data,
                len(code.code),
                addresses.ctypes.data,
                strides.ctypes.data,
                given.ctypes.data,
                slots.ctypes.data,
                block,
                out.ctypes.data,
                out.shape[1],
                start,
                end,
            )

        return work

    def _block(self, slots: int, size: int) -> int:
        step = UNROLLED * self._lanes
        fitting = min(LARGEST_BLOCK, SLOT_BYTES // (4 * slots), size + -size % step)
        return max(step, fitting - fitting % step)


@cache
def _machine(lanes: int) -> MachineCode:
    return MachineCode(machine_module(lanes))


def _entered(residues: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Returns residues times 2^32."""
    return reduced(residues.astype(np.uint64) * _RADIX).astype(np.uint32)
