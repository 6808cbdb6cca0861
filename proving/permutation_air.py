"""A circuit of Poseidon2 permutations and nothing else: what provers are compared on, never an accepted kind.

A lane shows one permutation a row in 164 columns: sixteen inputs, the S-box outputs of seven full and twenty
partial rounds, sixteen outputs. Lanes stand side by side. There are no public inputs, no messages and no
constraint that reads the next row, so a proof shows no more than that its maker knows rows that are permutations.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TypeVar

import numpy as np

from proving.arithmetic.modulus import PERMUTATION_WIDTH, WORD, P
from proving.arithmetic.poseidon2_integers import (
    EXTERNAL_CONSTANTS,
    INTERNAL_CONSTANTS,
    cube,
    external_layer,
    internal_layer,
)
from proving.arithmetic.program import Program, Ring, Symbol, trace_program
from proving.backends.port import Backend, FieldArray, Hasher
from proving.stark.air import PublicMessage, Row
from proving.stark.key import circuit_shape, make_verifying_key
from proving.stark.parameters import MAX_QUERIES, ProofParameters
from proving.stark.setup import ProvingKey
from proving.stark.soundness import CircuitShape, proven_bits
from proving.stark.system import compile_air
from schemas.errors import ParameterError

R = TypeVar("R", bound=Ring)

LANE_COLUMNS = 164
"""Columns of one permutation: 16 inputs, 7 * 16 + 20 S-box outputs, 16 outputs."""

BENCH_KIND = 900
"""Number in the header and in the key of these proofs. No register holds it, so no policy of ours accepts it."""


LOG_BLOWUP = 1
"""Two quotient chunks need no more."""

QUERY_POW_BITS = 20
"""Grinding before the query indices, as for segments of the ledger."""


def permutation_steps(given: Sequence[R], keep: Callable[[str, R], R]) -> None:
    """Applies the permutation, handing every value that has a column to `keep`.

    Args:
        given: The sixteen inputs.
        keep: Takes the name of a value and the value, a cube of a linear form or an output, and returns what stands
            for it from there on.
    """
    state = external_layer(given)
    last = len(EXTERNAL_CONSTANTS) - 1
    for index, constants in enumerate(EXTERNAL_CONSTANTS):
        if index == len(EXTERNAL_CONSTANTS) // 2:
            for number, constant in enumerate(INTERNAL_CONSTANTS):
                first = keep(f"partial{number}", cube(state[0] + constant))
                state = internal_layer([first, *state[1:]])
        cubes = [cube(value + added) for value, added in zip(state, constants, strict=True)]
        if index != last:
            cubes = [keep(f"full{index}[{j}]", value) for j, value in enumerate(cubes)]
        state = external_layer(cubes)
    for j, value in enumerate(state):
        keep(f"output[{j}]", value)


@cache
def lane_program() -> Program:
    """Returns the program from a lane's 16 inputs to its other 148 columns."""

    def columns(given: Sequence[Symbol]) -> list[Symbol]:
        kept: list[Symbol] = []

        def keep(_: str, value: Symbol) -> Symbol:
            kept.append(value)
            return value

        permutation_steps(given, keep)
        return kept

    return trace_program("permutation_lane", PERMUTATION_WIDTH, columns)


@dataclass(frozen=True, slots=True)
class PermutationAir:
    """The circuit.

    Attributes:
        log_height: Base-2 logarithm of the rows.
        lanes: Permutations in a row.
    """

    log_height: int
    lanes: int

    def __post_init__(self) -> None:
        """Checks the shape.

        Raises:
            ParameterError: There is no lane, or a negative height.
        """
        if self.lanes < 1 or self.log_height < 0:
            raise ParameterError("a circuit of permutations has a lane and a row at least")

    @property
    def name(self) -> str:
        """Names the shape too."""
        return f"permutations-v1-{self.log_height}-{self.lanes}"

    @property
    def num_fixed(self) -> int:
        """None."""
        return 0

    @property
    def num_main(self) -> int:
        """164 per lane."""
        return LANE_COLUMNS * self.lanes

    @property
    def num_publics(self) -> int:
        """None."""
        return 0

    @property
    def permutations(self) -> int:
        """Permutations that a proof shows."""
        return self.lanes << self.log_height

    def fixed_columns(self) -> FieldArray:
        """Returns an array without columns."""
        return np.zeros((0, 2**self.log_height), dtype=np.uint32)

    def public_messages(self, publics: Sequence[int]) -> list[PublicMessage]:
        """Returns no message."""
        del publics
        return []

    def constraints(self, row: Row) -> None:
        """Claims of every column behind the inputs that it holds its value, row degree 3."""
        for lane in range(self.lanes):
            columns = row.local[lane * LANE_COLUMNS : (lane + 1) * LANE_COLUMNS]
            _constrain_lane(row, f"lane{lane}", columns)

    def trace(self, inputs: FieldArray, backend: Backend) -> FieldArray:
        """Returns the trace of given inputs.

        Args:
            inputs: (lanes, 16, 2^log_height) canonical residues.
            backend: Computes the columns.

        Raises:
            ParameterError: They have another shape or are not canonical.
        """
        shape = (self.lanes, PERMUTATION_WIDTH, 2**self.log_height)
        if inputs.shape != shape or (inputs >= P).any():
            raise ParameterError(f"the inputs must be {shape} residues, got {inputs.shape}")
        columns = np.empty((self.lanes, LANE_COLUMNS, shape[2]), dtype=np.uint32)
        for lane, given in enumerate(inputs):
            columns[lane, :PERMUTATION_WIDTH] = given
            columns[lane, PERMUTATION_WIDTH:] = backend.run(lane_program(), list(given), shape[2])
        return columns.reshape(self.num_main, shape[2])


def permutation_key(air: PermutationAir, minimum_bits: int, hasher: Hasher) -> ProvingKey:
    """Returns the key of the circuit with blow-up 2 and the fewest queries that prove so many bits.

    It follows from the circuit alone, so prover and verifier make it each for themselves.

    Raises:
        ParameterError: No number of queries is enough, or the height leaves nothing to fold.
    """
    system = compile_air(air)
    parameters = _least_parameters(circuit_shape(system), minimum_bits)
    no_cap = np.zeros((0, WORD), dtype=np.uint32)
    key = make_verifying_key(BENCH_KIND, air, parameters, no_cap, hasher, system=system)
    return ProvingKey(key, air.fixed_columns(), None)


def _least_parameters(shape: CircuitShape, minimum_bits: int) -> ProofParameters:
    def parameters(queries: int) -> ProofParameters:
        return ProofParameters(LOG_BLOWUP, queries, query_pow_bits=QUERY_POW_BITS)

    candidates = range(1, MAX_QUERIES + 1)
    enough = bisect_left(
        candidates, minimum_bits, key=lambda queries: proven_bits(parameters(queries), shape)
    )
    if enough == len(candidates):
        raise ParameterError(f"no number of queries proves {minimum_bits} bits at this height")
    return parameters(candidates[enough])


def _constrain_lane(row: Row, lane: str, columns: Sequence[Symbol]) -> None:
    stored = iter(columns[PERMUTATION_WIDTH:])

    def keep(name: str, value: Symbol) -> Symbol:
        column = next(stored)
        row.zero(f"{lane}.{name}", column - value)
        return column

    permutation_steps(columns[:PERMUTATION_WIDTH], keep)
