"""What a prover keeps per kind of proof: the key, and the fixed columns' polynomials and tree.

Nothing here depends on a transcript, so it is reused for every proof of the kind.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np

from proving.arithmetic.modulus import EXTENSION_DEGREE, GENERATOR, P
from proving.arithmetic.ntt import geometric, root_of_unity
from proving.backends.port import Backend, FieldArray
from proving.commitments.merkle import MerkleTree, commit_interleaved, commit_rows
from proving.stark.air import Air
from proving.stark.commitment_hash import POSEIDON2, CommitmentHash
from proving.stark.key import VerifyingKey, key_cap, make_verifying_key
from proving.stark.parameters import ProofParameters
from proving.stark.system import compile_air
from schemas.errors import ParameterError

KEPT_LOG_BLOWUP = 4
"""Columns on a domain of up to 2^4 times their length are kept; of a longer one only their coefficients, because the few
rows that are opened are computed faster than gigabytes are written and read."""


@dataclass(frozen=True, slots=True)
class CommittedColumns:
    """Columns as polynomials, on the evaluation coset, and committed.

    Attributes:
        coefficients: (c, N) lowest first.
        log_size: Base-2 logarithm of the coset's points.
        extension: (c, N * blow-up) values on the coset, natural order; None if they are not kept.
        tree: Commitment to the rows of the extension.
    """

    coefficients: FieldArray
    log_size: int
    extension: FieldArray | None
    tree: MerkleTree

    def rows(self, backend: Backend, indices: FieldArray) -> FieldArray:
        """Returns the rows of the extension at (q,) indices, (q, c)."""
        if self.extension is not None:
            return np.ascontiguousarray(self.extension[:, indices].T)
        root, height = root_of_unity(self.log_size), self.coefficients.shape[1]
        points = [GENERATOR * pow(root, index, P) % P for index in indices.tolist()]
        found = np.zeros((len(points), len(self.coefficients)), dtype=np.uint32)
        for start in range(
            0, len(points), EXTENSION_DEGREE
        ):  # as many points as a weight has coordinates
            part = points[start : start + EXTENSION_DEGREE]
            powers = np.zeros((EXTENSION_DEGREE, height), dtype=np.uint32)
            for row, point in zip(powers, part, strict=False):
                row[:] = geometric(1, point, height)
            values = backend.inner_products(self.coefficients, powers)
            found[start : start + len(part)] = values.T[: len(part)]
        return found

    def spread(self, backend: Backend, log_size: int) -> FieldArray:
        """Returns the values at 2^log_size evenly spread points of the coset, (c, 2^log_size)."""
        if self.extension is not None:
            return self.extension[:, :: 2 ** (self.log_size - log_size)]
        return backend.evaluate_on_coset(self.coefficients, log_size, GENERATOR)


@dataclass(frozen=True, slots=True)
class ProvingKey:
    """A verifying key and the prover's reusable part.

    Attributes:
        verifying_key: What verifiers hold.
        fixed_values: (num_fixed, N) preprocessed columns.
        fixed: The same committed; None without preprocessed columns.
    """

    verifying_key: VerifyingKey
    fixed_values: FieldArray
    fixed: CommittedColumns | None


def commit_columns(
    backend: Backend,
    coefficients: FieldArray,
    log_size: int,
    log_cap: int,
    digests: CommitmentHash = POSEIDON2,
) -> CommittedColumns:
    """Evaluates coefficient columns on the coset of 2^log_size points and commits to its rows."""
    log_kept = coefficients.shape[1].bit_length() - 1 + KEPT_LOG_BLOWUP
    if log_size <= log_kept:
        extension = backend.evaluate_on_coset(coefficients, log_size, GENERATOR)
        tree = commit_rows(backend, extension, log_cap, digests)
        return CommittedColumns(coefficients, log_size, extension, tree)
    root = root_of_unity(log_size)
    shifts = [GENERATOR * pow(root, k, P) % P for k in range(2 ** (log_size - log_kept))]
    parts = [partial(backend.evaluate_on_coset, coefficients, log_kept, shift) for shift in shifts]
    tree = commit_interleaved(backend, parts, log_cap, digests)
    return CommittedColumns(coefficients, log_size, None, tree)


def make_proving_key(
    kind: int, air: Air, parameters: ProofParameters, backend: Backend
) -> ProvingKey:
    """Builds the key of a kind of proof from its circuit alone.

    Raises:
        ParameterError: The circuit is inconsistent or does not fit the parameters.
    """
    system = compile_air(air)
    log_size = air.log_height + parameters.log_blowup
    values = air.fixed_columns()
    if values.shape != (air.num_fixed, 2**air.log_height) or (values >= P).any():
        raise ParameterError(f"{air.name}: the fixed columns have shape {values.shape}")
    fixed: CommittedColumns | None = None
    digests = parameters.digests
    cap = np.zeros((0, digests.entries), dtype=np.uint32)
    if air.num_fixed:
        coefficients = backend.interpolate(values.astype(np.uint32))
        log_cap = key_cap(parameters, air.log_height)
        fixed = commit_columns(backend, coefficients, log_size, log_cap, digests)
        cap = fixed.tree.cap
    key = make_verifying_key(kind, air, parameters, cap, backend, system=system)
    return ProvingKey(key, values, fixed)
