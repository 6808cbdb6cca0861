"""The prover's lookup columns: a helper per pair of messages and the running sum."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, lru_cache
from itertools import islice

import numpy as np

from proving.arithmetic.modulus import EXTENSION_DEGREE, P
from proving.arithmetic.program import Program, Symbol, trace_program
from proving.backends.inversion import inverse_program
from proving.backends.port import Backend, FieldArray
from proving.errors import ProvingError
from proving.stark.coordinates import add, multiply
from proving.stark.protocol import LookupValues
from proving.stark.system import ConstraintSystem
from schemas.errors import InvariantError

HELPER_PROGRAMS = 8
"""Circuits whose programs are kept."""


@cache
def product_program() -> Program:
    """Traces the product of two extension elements: ten inputs, five outputs."""

    def body(inputs: list[Symbol]) -> list[Symbol]:
        return multiply(inputs[:EXTENSION_DEGREE], inputs[EXTENSION_DEGREE:])

    return trace_program("extension product", 2 * EXTENSION_DEGREE, body)


@lru_cache(maxsize=HELPER_PROGRAMS)
def helper_program(fractions: Program) -> Program:
    """Traces the helper columns of a row, from a system's `fractions`, and what a prover needs with them.

    Outputs: the sum of all helpers, five coordinates; the helpers; the product of the denominators' norms, which is
    zero where a denominator is. Numerators, denominators and inverses are never written to memory.
    """
    degree = EXTENSION_DEGREE

    def body(inputs: list[Symbol]) -> list[Symbol]:
        zero = inputs[0] * 0
        coordinates = fractions.outputs_in_turn(inputs, lambda value: zero + value)
        total, norms, helpers = [zero] * degree, zero + 1, list[Symbol]()
        for _ in range(0, len(fractions.outputs), 2 * degree):
            numerator = list(islice(coordinates, degree))
            bottom = list(islice(coordinates, degree))
            *inverse, norm = inverse_program().evaluate(bottom, lambda value: zero + value)
            helper = multiply(numerator, inverse)
            total, norms = add(total, helper), norms * norm
            helpers += helper
        return [*total, *helpers, norms]

    return trace_program(f"{fractions.name} summed", fractions.num_inputs, body)


def build_lookup_columns(
    backend: Backend,
    system: ConstraintSystem,
    fixed: FieldArray,
    trace: FieldArray,
    publics: Sequence[int],
    *,
    lookup: LookupValues,
    require_balance: bool = True,
) -> FieldArray:
    """Returns the ((groups + 1) * 5, N) running-sum and helper columns.

    Raises:
        ProvingError: A denominator vanishes (probability below 2^-130 over the challenges).
    """
    if system.fractions is None:
        raise InvariantError(f"{system.name} sends no messages")
    height = trace.shape[1]
    scalars = [
        *publics,
        *lookup.alpha.coordinates,
        *(coordinate for power in lookup.beta_powers for coordinate in power.coordinates),
    ]
    columns = [*fixed, *trace, *_following(system.fractions, len(fixed), trace), *scalars]
    made = backend.run(helper_program(system.fractions), columns, height)
    if not np.asarray(made[-1]).all():
        raise ProvingError("a lookup denominator vanished; change any input")
    total = made[:EXTENSION_DEGREE].astype(np.uint64)
    share = np.array(lookup.share.coordinates, dtype=np.uint64)[:, None]
    running = np.cumsum((total + share) % np.uint64(P), axis=1) % np.uint64(P)
    if require_balance and running[:, -1].any():
        raise ProvingError("the buses do not balance: the trace does not satisfy the circuit")
    turned = np.roll(running, 1, axis=1).astype(np.uint32)
    return np.concatenate([turned, made[EXTENSION_DEGREE:-1]])


def _following(program: Program, first: int, trace: FieldArray) -> list[FieldArray | int]:
    """Returns the columns of the next row, the inputs after `trace`'s own; 0 for what is not read."""
    start, read = first + len(trace), program.read_nodes()
    return [
        np.roll(column, -1) if start + number in read else 0 for number, column in enumerate(trace)
    ]
