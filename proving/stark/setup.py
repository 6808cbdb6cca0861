"""What a prover keeps per kind of proof: the key, and the fixed columns' polynomials and tree.

Nothing here depends on a transcript, so it is reused for every proof of the kind.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from proving.arithmetic.modulus import GENERATOR, P
from proving.backends.port import Backend, FieldArray
from proving.commitments.merkle import MerkleTree, commit_rows
from proving.stark.air import Air
from proving.stark.commitment_hash import POSEIDON2, CommitmentHash
from proving.stark.key import VerifyingKey, key_cap, make_verifying_key
from proving.stark.parameters import ProofParameters
from proving.stark.system import compile_air
from schemas.errors import ParameterError


@dataclass(frozen=True, slots=True)
class CommittedColumns:
    """Columns as polynomials, on the evaluation coset, and committed.

    Attributes:
        coefficients: (c, N) lowest first.
        extension: (c, N * blow-up) values on the coset, natural order.
        tree: Commitment to the rows of `extension`.
    """

    coefficients: FieldArray
    extension: FieldArray
    tree: MerkleTree


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
    extension = backend.evaluate_on_coset(coefficients, log_size, GENERATOR)
    tree = commit_rows(backend, extension, log_cap, digests)
    return CommittedColumns(coefficients, extension, tree)


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
