"""The port between the prover and the machines that run it.

Every method is exact: all backends return the same canonical residues bit for bit. Arrays are uint32 with
values < P unless said otherwise; extension elements are five coordinates, lowest power first. Columns are
contiguous: a matrix of c columns over n points is (c, n), C order. Domains are in natural order: index i of
a coset of size n is shift * w^i with w the n-th root of unity.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from proving.arithmetic.program import Program
from proving.arithmetic.sha256 import Bytes

FieldArray = NDArray[np.uint32]
"""Canonical residues < P. A backend may return arrays of a device's memory (`backends.device_array`), which can be indexed,
strided, turned and joined as NumPy's are; `np.asarray` copies one to the host."""


class Hasher(Protocol):
    """The Poseidon2 permutation over many states: all a verifier needs from a backend."""

    def permute(self, states: FieldArray) -> FieldArray:
        """Applies Poseidon2-16 to each row of (n, 16) states; returns a new array."""
        ...


class Backend(Hasher, Protocol):
    """Loop skeletons around field programs, as the prover calls them."""

    @property
    def name(self) -> str:
        """`reference`, `cpu` or `cuda`; recorded with every measurement."""
        ...

    def describe(self) -> str:
        """Returns what a report of a measurement must name: a device with its driver, or the name alone."""
        ...

    def finish(self) -> None:
        """Waits for a device to do what it was asked for; a clock that stops before measures nothing."""
        ...

    def hold(self, columns: FieldArray) -> FieldArray:
        """Returns columns where the backend reads them best, for several calls; their values must not change."""
        ...

    def run(self, program: Program, inputs: Sequence[FieldArray | int], size: int) -> FieldArray:
        """Maps a program over points.

        Args:
            program: k inputs, m outputs.
            inputs: k entries, each an array of `size` values (any stride) or one integer < P for all points.
            size: Number of points.

        Returns:
            (m, size) outputs.
        """
        ...

    def combine_outputs(
        self,
        program: Program,
        inputs: Sequence[FieldArray | int],
        size: int,
        weights: FieldArray,
    ) -> FieldArray:
        """Sums weight_j * output_j of a program over points.

        Args:
            program: k inputs, m outputs.
            inputs: As `run` takes them.
            size: Number of points.
            weights: (m, 5) extension elements.

        Returns:
            (5, size) sums.
        """
        ...

    def interpolate(self, columns: FieldArray) -> FieldArray:
        """Inverse NTT of each of (c, n) columns over the subgroup of size n: coefficients, lowest first."""
        ...

    def evaluate_on_coset(self, coefficients: FieldArray, log_size: int, shift: int) -> FieldArray:
        """Evaluates (c, n) coefficient columns on the coset shift * <w> of size 2^log_size >= n."""
        ...

    def hash_rows(self, columns: FieldArray) -> FieldArray:
        """Hashes the n rows of a (c, n) matrix with the sponge of `proving.arithmetic.poseidon2`: (n, 8)."""
        ...

    def compress(self, digests: FieldArray) -> FieldArray:
        """Compresses adjacent pairs of (2n, 8) digests to their (n, 8) parents."""
        ...

    def sha256_rows(self, columns: FieldArray, prefix: Sequence[int]) -> Bytes:
        """SHA-256 of each row of a (c, n) matrix after the same words, all 32 bits little-endian: (n, 32)."""
        ...

    def sha256_messages(self, messages: Bytes) -> Bytes:
        """SHA-256 of each of (n, m) messages of m bytes, m at most 55: (n, 32)."""
        ...

    def combine(self, columns: FieldArray, weights: FieldArray) -> FieldArray:
        """Sums weight_j * column_j: (c, n) base columns, (c, 5) extension weights -> (5, n)."""
        ...

    def inner_products(self, columns: FieldArray, weights: FieldArray) -> FieldArray:
        """Returns sum_i columns[j, i] * weights[:, i]: (c, n) and (5, n) -> (c, 5)."""
        ...

    def batch_inverse(self, values: FieldArray) -> FieldArray:
        """Inverts (5, n) extension elements.

        Raises:
            ZeroDivisionError: One of them is zero.
        """
        ...

    def grind(self, state: FieldArray, position: int, bits: int) -> int:
        """Finds the least nonce < P whose permutation ends in `bits` zero bits.

        The nonce replaces element `position` of the (16,) state; after one permutation the low `bits`
        bits of element 0 (canonical) must be zero.

        Raises:
            ProvingError: No nonce below P does.
        """
        ...
