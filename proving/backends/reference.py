"""The backend in NumPy: readable, exact, on every machine; what all others are compared with.

It needs no compiler. It is a few times slower than compiled code because every operation passes over
memory, so each method works on blocks that stay in a core's cache.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from proving.arithmetic.lazy import Plan, Value, plan_program
from proving.arithmetic.modulus import EXTENSION_DEGREE, PERMUTATION_WIDTH, WORD, P
from proving.arithmetic.ntt import geometric, root_of_unity, transform
from proving.arithmetic.poseidon2 import BLOCK_STATES, permute, permute_columns
from proving.arithmetic.program import Program
from proving.arithmetic.residues import invert_residues, reduced
from proving.arithmetic.sha256 import Bytes, sha256_messages, sha256_rows
from proving.backends.inversion import conjugates_program
from proving.backends.port import Backend, FieldArray
from proving.errors import ProvingError
from schemas.errors import ParameterError

POINTS_PER_BLOCK = 4096
"""Points of a program taken together: 32 KiB per uint64 value."""

POINTS_PER_SUM = 2**14
"""Points whose outputs are kept for a weighted sum: 600 outputs of 2^14 words are 40 MB."""

VALUES_PER_BATCH = 2**16
"""Points of a coset, over all columns taken together."""

ELEMENTS_PER_PRODUCT = 2**16
"""Elements of a matrix multiplied together: 512 KiB per limb."""

LEAST_POINTS_PER_PRODUCT = 64
"""Below this many points the overhead of a call outweighs the cache."""

LIMB_BITS = 16
"""A product of two limbs is below 2^32, so a float64 sum of 2^20 of them, and of two such, is exact."""

LARGEST_GRINDING_BLOCK = 4096
"""Nonces tried together."""


class ReferenceBackend:
    """NumPy on one core, BLAS for weighted sums."""

    def __init__(self) -> None:
        self._plans: dict[str, Plan] = {}

    @property
    def name(self) -> str:
        """`reference`."""
        return "reference"

    def permute(self, states: FieldArray) -> FieldArray:
        """Applies Poseidon2-16 to each row of (n, 16) states; returns a new array."""
        return permute(states)

    def describe(self) -> str:
        """Returns the name; reports describe the processor anyway."""
        return self.name

    def finish(self) -> None:
        """Returns at once: every method works until it is done."""

    def hold(self, columns: FieldArray) -> FieldArray:
        """Returns the columns as they are."""
        return columns

    def run(self, program: Program, inputs: Sequence[FieldArray | int], size: int) -> FieldArray:
        """Maps a program over points: (m, size).

        Raises:
            ParameterError: The number of inputs, or an array's length, is wrong.
        """
        self.check_inputs(program, inputs, size)
        plan = self._plans.get(program.fingerprint)
        if plan is None:
            plan = self._plans[program.fingerprint] = plan_program(program)
        out = np.empty((len(program.outputs), size), dtype=np.uint32)
        for start in range(0, size, POINTS_PER_BLOCK):
            part = slice(start, start + POINTS_PER_BLOCK)
            block: list[Value] = [
                value[part].astype(np.uint64) if isinstance(value, np.ndarray) else int(value)
                for value in inputs
            ]
            for row, value in zip(out, plan.evaluate(block), strict=True):
                row[part] = value
        return out

    @staticmethod
    def check_inputs(program: Program, inputs: Sequence[FieldArray | int], size: int) -> None:
        """Checks that inputs fit a program.

        Raises:
            ParameterError: The number of inputs, or an array's length, is wrong.
        """
        if len(inputs) != program.num_inputs:
            raise ParameterError(
                f"{program.name} takes {program.num_inputs} inputs, got {len(inputs)}"
            )
        if any(isinstance(value, np.ndarray) and value.shape != (size,) for value in inputs):
            raise ParameterError(f"{program.name} was given arrays that are not ({size},)")

    def combine_outputs(
        self,
        program: Program,
        inputs: Sequence[FieldArray | int],
        size: int,
        weights: FieldArray,
    ) -> FieldArray:
        """Sums weight_j * output_j of a program over points: (m, 5) extension weights -> (5, size).

        Raises:
            ParameterError: The number of inputs or of weights, or an array's length, is wrong.
        """
        self.check_inputs(program, inputs, size)
        self.check_weights(program, weights)
        combined = np.empty((EXTENSION_DEGREE, size), dtype=np.uint32)
        for start in range(0, size, POINTS_PER_SUM):
            part = slice(start, min(start + POINTS_PER_SUM, size))
            given = [value[part] if isinstance(value, np.ndarray) else value for value in inputs]
            values = self.run(program, given, part.stop - part.start)
            combined[:, part] = self.combine(values, weights)
        return combined

    @staticmethod
    def check_weights(program: Program, weights: FieldArray) -> None:
        """Checks that there is a weight for each output.

        Raises:
            ParameterError: There are more or fewer.
        """
        if weights.shape != (len(program.outputs), EXTENSION_DEGREE):
            raise ParameterError(
                f"{program.name} has {len(program.outputs)} outputs, got weights {weights.shape}"
            )

    def interpolate(self, columns: FieldArray) -> FieldArray:
        """Inverse NTT of each of (c, n) columns over the subgroup of size n."""
        return transform(columns, inverse=True)

    def evaluate_on_coset(self, coefficients: FieldArray, log_size: int, shift: int) -> FieldArray:
        """Evaluates (c, n) coefficient columns on the coset shift * <w> of size 2^log_size >= n.

        The coset is split into cosets of size n, so that no transform works on padding.

        Raises:
            ParameterError: The coset has fewer points than there are coefficients.
        """
        count, size = coefficients.shape
        if size > 2**log_size:
            raise ParameterError(f"{size} coefficients need more than 2^{log_size} points")
        cosets = 2**log_size // size
        root = root_of_unity(log_size)
        shifts = [shift * pow(root, coset, P) % P for coset in range(cosets)]
        powers = np.stack([geometric(1, first, size) for first in shifts]).astype(np.uint64)
        out = np.empty((count, 2**log_size), dtype=np.uint32)
        batch = max(1, VALUES_PER_BATCH >> log_size)
        for start in range(0, count, batch):
            part = coefficients[start : start + batch, None]
            scaled = reduced(part * powers).astype(np.uint32)
            values = transform(scaled.reshape(-1, size)).reshape(-1, cosets, size)
            out[start : start + batch] = values.transpose(0, 2, 1).reshape(len(part), -1)
        return out

    def hash_rows(self, columns: FieldArray) -> FieldArray:
        """Hashes the n rows of a (c, n) matrix: (n, 8).

        The sponge starts from a state whose last element is c; each block of eight elements, the last filled
        up with zeros, replaces the first ones of the state before a permutation.
        """
        count, size = columns.shape
        digests = np.empty((size, WORD), dtype=np.uint32)
        for start in range(0, size, BLOCK_STATES):
            part = columns[:, start : start + BLOCK_STATES]
            state = np.zeros((PERMUTATION_WIDTH, part.shape[1]), dtype=np.uint64)
            state[-1] = count
            for row in range(0, count, WORD):
                block = part[row : row + WORD]
                state[: len(block)] = block
                state[len(block) : WORD] = 0
                state = permute_columns(state)
            digests[start : start + BLOCK_STATES] = state[:WORD].T
        return digests

    def compress(self, digests: FieldArray) -> FieldArray:
        """Compresses adjacent pairs of (2n, 8) digests to their (n, 8) parents."""
        pairs = digests.reshape(-1, PERMUTATION_WIDTH)
        permuted = self.permute(pairs)[:, :WORD].astype(np.uint64)
        return reduced(permuted + pairs[:, :WORD]).astype(np.uint32)

    def sha256_rows(self, columns: FieldArray, prefix: Sequence[int]) -> Bytes:
        """Hashes each row of a (c, n) matrix of words after the same words: (n, 32)."""
        return sha256_rows(columns, prefix)

    def sha256_messages(self, messages: Bytes) -> Bytes:
        """Hashes each of (n, m) short messages: (n, 32)."""
        return sha256_messages(messages)

    def combine(self, columns: FieldArray, weights: FieldArray) -> FieldArray:
        """Sums weight_j * column_j: (c, n) base columns, (c, 5) extension weights -> (5, n)."""
        out = np.empty((EXTENSION_DEGREE, columns.shape[1]), dtype=np.uint32)
        for part in _product_parts(columns):
            out[:, part] = matrix_product(weights.T, columns[:, part])
        return out

    def inner_products(self, columns: FieldArray, weights: FieldArray) -> FieldArray:
        """Returns sum_i columns[j, i] * weights[:, i]: (c, n) and (5, n) -> (c, 5)."""
        total = np.zeros((len(columns), EXTENSION_DEGREE), dtype=np.uint64)
        for part in _product_parts(columns):
            total += matrix_product(columns[:, part], weights[:, part].T)
        return reduced(total).astype(np.uint32)

    def batch_inverse(self, values: FieldArray) -> FieldArray:
        """Inverts (5, n) extension elements: the product of the conjugates over the norm.

        Raises:
            ZeroDivisionError: One of them is zero.
        """
        size = values.shape[1]
        *conjugates, norm = self.run(conjugates_program(), list(values), size)
        if not norm.all():
            raise ZeroDivisionError("zero has no inverse")
        inverse = invert_residues(norm).astype(np.uint64)
        return reduced(np.stack(conjugates) * inverse).astype(np.uint32)

    def grind(self, state: FieldArray, position: int, bits: int) -> int:
        """Finds the least nonce < P whose permutation ends in `bits` zero bits.

        Raises:
            ProvingError: No nonce below P does.
        """
        mask = np.uint64((1 << bits) - 1)
        block = min(max(2**bits, WORD), LARGEST_GRINDING_BLOCK)
        for start in range(0, P, block):
            nonces = np.arange(start, min(start + block, P), dtype=np.uint64)
            states = np.repeat(state.astype(np.uint64)[:, None], len(nonces), axis=1)
            states[position] = nonces
            passing = np.flatnonzero(permute_columns(states)[0] & mask == 0)
            if len(passing):
                return start + int(passing[0])
        raise ProvingError(f"no nonce gives {bits} zero bits")


def _product_parts(columns: FieldArray) -> Iterator[slice]:
    """Cuts the points of (c, n) columns so that a part of the matrix stays in the cache."""
    count, size = columns.shape
    step = max(LEAST_POINTS_PER_PRODUCT, ELEMENTS_PER_PRODUCT // max(count, 1))
    for start in range(0, size, step):
        yield slice(start, start + step)


def matrix_product(left: FieldArray, right: FieldArray) -> FieldArray:
    """Multiplies (a, k) by (k, b) residues exactly, with float64 products of 16-bit limbs.

    Raises:
        ParameterError: k is above 2^20, where a sum of two limb products could pass 2^53.
    """
    if left.shape[1] > 2**20:
        raise ParameterError(f"a sum of {left.shape[1]} products is not exact")
    low, high = _limbs(left)
    other_low, other_high = _limbs(right)
    middle = _integers(low @ other_high + high @ other_low)
    upper = _integers(high @ other_high) * np.uint64(2**LIMB_BITS) + middle
    total = reduced(upper) * np.uint64(2**LIMB_BITS) + _integers(low @ other_low)
    return reduced(total).astype(np.uint32)


def _limbs(values: FieldArray) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    low = values & np.uint32(2**LIMB_BITS - 1)
    return low.astype(np.float64), (values >> np.uint32(LIMB_BITS)).astype(np.float64)


def _integers(values: NDArray[np.float64]) -> NDArray[np.uint64]:
    return reduced(values.astype(np.uint64))


_: type[Backend] = ReferenceBackend
