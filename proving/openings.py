"""The prover's openings: every column at the point and its successor, and all quotients in one codeword.

The twins of these steps are in `proving.stark.check`. Source: proving/README.md "DEEP batching".
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from proving.arithmetic.modulus import EXTENSION_DEGREE, GENERATOR, P
from proving.arithmetic.ntt import geometric, root_of_unity
from proving.arithmetic.residues import differences, sums
from proving.backends.port import Backend, FieldArray
from proving.commitments.domains import coset_points
from proving.stark.challenge_field import Extension, stack
from proving.stark.extension_rows import inner_product, power_rows
from proving.stark.key import VerifyingKey
from proving.stark.lookup_columns import product_program
from proving.stark.protocol import OpenedValues, batching_weights
from proving.stark.setup import CommittedColumns

Committed = Mapping[str, CommittedColumns]
"""Committed columns by name, in commitment order."""


def open_columns(
    backend: Backend, key: VerifyingKey, committed: Committed, point: Extension
) -> dict[str, FieldArray]:
    """Returns the opened values by section name, (columns, 5) each.

    Args:
        backend: Does the arithmetic.
        key: Of the proof.
        committed: All committed columns.
        point: Outside both domains.
    """
    height, split = 2**key.log_height, key.system.layout.main_next
    weights = np.ascontiguousarray(power_rows(point, height).astype(np.uint32).T)
    step = geometric(1, root_of_unity(key.log_height), height).astype(np.uint64)
    next_weights = (weights.astype(np.uint64) * step % np.uint64(P)).astype(np.uint32)
    sections = {
        f"{name}_openings": backend.inner_products(columns.coefficients, weights)
        for name, columns in committed.items()
    }
    following = backend.inner_products(_next_coefficients(key, committed), next_weights)
    sections["main_next_openings"] = following[:split]
    sections["lookup_next_openings"] = following[split:]
    return sections


def batch_openings(
    backend: Backend,
    key: VerifyingKey,
    committed: Committed,
    opened: OpenedValues,
    *,
    point: Extension,
    challenge: Extension,
) -> FieldArray:
    """Returns the (5, n) codeword of all opening quotients, batched by powers of one challenge.

    Args:
        backend: Does the arithmetic.
        key: Of the proof.
        committed: All committed columns.
        opened: What `open_columns` found.
        point: Where.
        challenge: Drawn after the values were absorbed.
    """
    here, following = opened.at_point(), opened.at_next()
    weights, next_weights = batching_weights(key, challenge)
    matrices = [committed[name].coefficients for name in key.widths]
    combined = _combine(backend, matrices, weights)
    batch = _Batch(backend, key)
    codeword = batch.divide(combined, weights, here, point)
    if not following:
        return codeword
    combined = _combine(backend, [_next_coefficients(key, committed)], next_weights)
    successor = point * root_of_unity(key.log_height)
    second = batch.divide(combined, next_weights, following, successor)
    return sums(np.asarray(codeword), np.asarray(second))


class _Batch:
    """Divides combined columns on the evaluation coset."""

    def __init__(self, backend: Backend, key: VerifyingKey) -> None:
        self._backend = backend
        self._key = key

    def divide(
        self,
        combined: FieldArray,
        weights: FieldArray,
        values: list[Extension],
        point: Extension,
    ) -> FieldArray:
        """Returns (combined(x) - combined(point)) / (x - point) on the evaluation coset."""
        value = inner_product(weights, stack(values))
        log_size = self._key.log_size
        numerator = self._backend.evaluate_on_coset(combined, log_size, GENERATOR)
        shifted = _minus(numerator, value)
        points = np.zeros((EXTENSION_DEGREE, 2**log_size), dtype=np.uint32)
        points[0] = coset_points(log_size, log_size)
        inverse = self._backend.batch_inverse(_minus(points, point))
        return self._backend.run(product_program(), [*shifted, *inverse], 2**log_size)


def _next_coefficients(key: VerifyingKey, committed: Committed) -> FieldArray:
    layout = key.system.layout
    main = committed["main"].coefficients[: layout.main_next]
    if not layout.lookup_next:
        return main
    running = committed["lookup"].coefficients[: layout.lookup_next]
    return np.concatenate([main, running])


def _combine(backend: Backend, matrices: list[FieldArray], weights: FieldArray) -> FieldArray:
    """Sums weighted coefficient columns; on coefficients there are blow-up times fewer of them."""
    total = np.zeros((EXTENSION_DEGREE, matrices[0].shape[1]), dtype=np.uint64)
    start = 0
    for matrix in matrices:
        total += backend.combine(matrix, weights[start : start + len(matrix)])
        start += len(matrix)
    return (total % np.uint64(P)).astype(np.uint32)


def _minus(columns: FieldArray, value: Extension) -> FieldArray:
    offsets = np.array(value.coordinates, dtype=np.uint32)[:, None]
    return differences(np.asarray(columns), offsets)
