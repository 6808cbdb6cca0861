"""The Poseidon2 permutation over KoalaBear, width 16: a traced program, and blocks of NumPy columns.

The traced program is what the compiled backends lower; the generic layers behind it serve the circuits too. Plain
integers serve a few states at a time, NumPy columns many.

Source: Grassi, Khovratovich, Schofnegger, "Poseidon2: A Faster Version of the Poseidon Hash Function"
(2023/323); x^3, eight full and twenty partial rounds; constants checked against
`tests/vectors/poseidon2_koalabear_16.json`.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from proving.arithmetic.modulus import PERMUTATION_WIDTH
from proving.arithmetic.poseidon2_integers import (
    EXTERNAL_CONSTANTS,
    INTERNAL_CONSTANTS,
    INTERNAL_DIAGONAL,
    permutation,
    permute_integers,
)
from proving.arithmetic.program import Program, trace_program
from proving.arithmetic.residues import reduced

FEW_STATES = 2
"""Up to this many states plain integers beat the overhead of NumPy calls."""

BLOCK_STATES = 1024
"""States permuted together: 128 KiB of uint64, which stay in a core's second-level cache."""


@cache
def permutation_program() -> Program:
    """Returns the permutation as a program of 16 inputs and 16 outputs, traced once per process."""
    return trace_program("poseidon2_koalabear_16", PERMUTATION_WIDTH, permutation)


def permute(states: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Applies the permutation to each row of (n, 16) canonical residues; returns a new array."""
    if len(states) <= FEW_STATES:
        done = [permute_integers(state) for state in states.tolist()]
        return np.array(done, dtype=np.uint32).reshape(states.shape)
    out = np.empty(states.shape, dtype=np.uint32)
    for start in range(0, len(states), BLOCK_STATES):
        block = states[start : start + BLOCK_STATES]
        out[start : start + BLOCK_STATES] = permute_columns(block.T.astype(np.uint64, order="C")).T
    return out


def permute_columns(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Permutes (16, n) residues column by column; a new array.

    An external layer multiplies a bound by 35, so 2^31 grows below 2^37 before its reduction; the sum
    over an internal layer's row is below 2^35 + 2^62.
    """
    full = np.array(EXTERNAL_CONSTANTS, dtype=np.uint64)[:, :, None]
    diagonal = np.array(INTERNAL_DIAGONAL, dtype=np.uint64)[:, None]
    half = len(EXTERNAL_CONSTANTS) // 2
    state = _external_block(state)
    for index, constants in enumerate(full):
        if index == half:
            state = reduced(state)
            for constant in INTERNAL_CONSTANTS:
                state[0] = _cubed(state[0] + np.uint64(constant))
                total = state.sum(axis=0)
                state *= diagonal
                state += total
                state = reduced(state)
        state = _external_block(_cubed(state + constants))
    return reduced(state)


def _external_block(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Multiplies (16, n) by the external matrix: in a block, row j is the block's sum + x_j + 2 x_(j+1)."""
    blocks = state.reshape(4, 4, -1)
    out = blocks + blocks.sum(axis=1, keepdims=True)
    doubled = blocks + blocks
    out[:, :3] += doubled[:, 1:]
    out[:, 3] += doubled[:, 0]
    out += out.sum(axis=0)
    mixed: NDArray[np.uint64] = out.reshape(state.shape)
    return mixed


def _cubed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    values = reduced(values)
    return reduced(reduced(values * values) * values)


class NumpyHasher:
    """The permutation in NumPy: no compiler needed, about a microsecond per state in large batches."""

    def permute(self, states: NDArray[np.uint32]) -> NDArray[np.uint32]:
        """Applies Poseidon2-16 to each row of (n, 16) states."""
        return permute(states)
