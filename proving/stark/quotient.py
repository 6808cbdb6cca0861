"""The quotient: all constraints combined with powers of one challenge, divided by x^N - 1.

Constraints have degree at most 3, so 2N points of the coset determine the quotient, whose coefficients
split into a low and a high chunk: quotient(x) = low(x) + x^N high(x).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from proving.arithmetic.modulus import GENERATOR, P
from proving.arithmetic.ntt import geometric, root_of_unity
from proving.arithmetic.residues import invert_residues
from proving.backends.port import Backend, FieldArray
from proving.stark.challenge_field import Extension, powers, stack
from proving.stark.key import QUOTIENT_CHUNKS
from proving.stark.protocol import LookupValues
from proving.stark.system import ConstraintSystem

_MODULUS = np.uint64(P)


def quotient_chunks(
    backend: Backend,
    system: ConstraintSystem,
    extensions: tuple[FieldArray, FieldArray, FieldArray],
    publics: Sequence[int],
    lookup: LookupValues | None,
    *,
    challenge: Extension,
) -> FieldArray:
    """Returns the (10, N) coefficient columns of the two chunks.

    Args:
        backend: Runs the constraint program.
        system: The circuit.
        extensions: Fixed, main and lookup columns at 2 N evenly spread points of the evaluation coset, (c, 2 N) each.
        publics: Canonical public inputs.
        lookup: Challenges and share, None without lookups.
        challenge: Combines the constraints.
    """
    fixed, main, lookups = extensions
    height = 2**system.log_height
    size = QUOTIENT_CHUNKS * height
    num_next = system.layout.main_next
    successor = np.concatenate([main[:num_next], lookups[: system.layout.lookup_next]])
    following = np.roll(successor, -QUOTIENT_CHUNKS, axis=1)
    arrays = [
        *fixed,
        *main,
        *following[:num_next],
        *lookups,
        *following[num_next:],
    ]
    scalars: list[int] = lookup.inputs() if lookup else []
    selectors, zerofier_inverse = _selectors(system.log_height)
    weights = stack(powers(challenge, len(system.names)))
    inputs = [*arrays, *publics, *selectors, *scalars]
    combined = backend.combine_outputs(system.program, inputs, size, weights)
    quotient = (combined.astype(np.uint64) * zerofier_inverse % _MODULUS).astype(np.uint32)
    shifted = backend.interpolate(quotient).astype(np.uint64)
    unshift = geometric(1, pow(GENERATOR, -1, P), size).astype(np.uint64)
    coefficients = (shifted * unshift % _MODULUS).astype(np.uint32)
    return np.concatenate([coefficients[:, :height], coefficients[:, height:]])


def _selectors(log_height: int) -> tuple[list[FieldArray], FieldArray]:
    """Returns the selectors on the 2N-point coset and the inverse of x^N - 1, which alternates."""
    height = 2**log_height
    size = QUOTIENT_CHUNKS * height
    points = geometric(GENERATOR, root_of_unity(log_height + 1), size).astype(np.uint64)
    raised = pow(GENERATOR, height, P)
    vanishing = np.tile(np.array([raised - 1, P - raised - 1], dtype=np.uint64), height)
    last = pow(root_of_unity(log_height), -1, P)
    from_first = ((points + _MODULUS - np.uint64(1)) % _MODULUS).astype(np.uint32)
    from_last = ((points + _MODULUS - np.uint64(last)) % _MODULUS).astype(np.uint32)
    first = vanishing * invert_residues(from_first).astype(np.uint64) % _MODULUS
    final = vanishing * invert_residues(from_last).astype(np.uint64) % _MODULUS
    selectors = [first.astype(np.uint32), final.astype(np.uint32), from_last]
    return selectors, invert_residues(vanishing.astype(np.uint32))
