"""The prover's lookup columns: a helper per pair of messages and the running sum."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np

from proving.arithmetic.modulus import EXTENSION_DEGREE, P
from proving.arithmetic.program import Program, Symbol, trace_program
from proving.backends.port import Backend, FieldArray
from proving.errors import ProvingError
from proving.stark.coordinates import multiply
from proving.stark.protocol import LookupValues
from proving.stark.system import ConstraintSystem
from schemas.errors import InvariantError


@cache
def product_program() -> Program:
    """Traces the product of two extension elements: ten inputs, five outputs."""

    def body(inputs: list[Symbol]) -> list[Symbol]:
        return multiply(inputs[:EXTENSION_DEGREE], inputs[EXTENSION_DEGREE:])

    return trace_program("extension product", 2 * EXTENSION_DEGREE, body)


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
    fractions = backend.run(system.fractions, columns, height)
    split = fractions.reshape(system.num_groups, 2, EXTENSION_DEGREE, height)
    numerators, bottoms = split.transpose(1, 2, 0, 3).reshape(2, EXTENSION_DEGREE, -1)
    try:
        inverses = backend.batch_inverse(bottoms)
    except ZeroDivisionError as error:
        raise ProvingError("a lookup denominator vanished; change any input") from error
    values = backend.run(product_program(), [*numerators, *inverses], numerators.shape[1])
    columns_made = np.empty((system.num_groups + 1, EXTENSION_DEGREE, height), dtype=np.uint32)
    columns_made[1:] = values.reshape(EXTENSION_DEGREE, -1, height).transpose(1, 0, 2)
    total = columns_made[1:].sum(axis=0, dtype=np.uint64)
    share = np.array(lookup.share.coordinates, dtype=np.uint64)[:, None]
    steps = (total + share) % np.uint64(P)
    running = np.cumsum(steps, axis=1) % np.uint64(P)
    if require_balance and running[:, -1].any():
        raise ProvingError("the buses do not balance: the trace does not satisfy the circuit")
    columns_made[0] = np.roll(running, 1, axis=1)
    return columns_made.reshape(-1, height)


def _following(program: Program, first: int, trace: FieldArray) -> list[FieldArray | int]:
    """Returns the columns of the next row, the inputs after `trace`'s own; 0 for what is not read."""
    start, read = first + len(trace), program.read_nodes()
    return [
        np.roll(column, -1) if start + number in read else 0 for number, column in enumerate(trace)
    ]
