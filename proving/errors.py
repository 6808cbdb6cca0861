"""The ways a proof can fail, each with data a program can act on."""

from __future__ import annotations

from enum import StrEnum

from schemas.errors import EclipticaError, EnvironmentMissing


class RejectionReason(StrEnum):
    """Why a verifier said no; stable names, one test per member.

    A wrong length is either `truncated` or `trailing_bytes`: the key knows the exact one.
    """

    BAD_MAGIC = "bad_magic"
    UNKNOWN_VERSION = "unknown_version"
    UNKNOWN_KEY = "unknown_key"
    TRUNCATED = "truncated"
    TRAILING_BYTES = "trailing_bytes"
    TOO_LARGE = "too_large"
    NON_CANONICAL_ELEMENT = "non_canonical_element"
    BAD_STATEMENT = "bad_statement"
    PARAMETERS_TOO_WEAK = "parameters_too_weak"
    STATEMENT_MISMATCH = "statement_mismatch"
    POINT_IN_DOMAIN = "point_in_domain"
    INDEX_NOT_UNIFORM = "index_not_uniform"
    LOOKUP_DENOMINATOR_ZERO = "lookup_denominator_zero"
    CONSTRAINTS_NOT_SATISFIED = "constraints_not_satisfied"
    PROOF_OF_WORK = "proof_of_work"
    MERKLE_PATH = "merkle_path"
    FOLD_MISMATCH = "fold_mismatch"
    FINAL_POLYNOMIAL = "final_polynomial"


class ProvingError(EclipticaError, RuntimeError):
    """The prover cannot make the proof: the witness does not satisfy the statement, or does not fit."""


class DeviceFailed(EnvironmentMissing):
    """An accelerator refused work or was lost in the middle of it; a fresh process may do the work again."""


class ProofError(EclipticaError, ValueError):
    """A proof was not accepted.

    Attributes:
        reason: Stable name of the check that failed.
        where: Place inside the proof, such as `fri/round 3/query 17`.
        expected: What the verifier computed or requires, as text.
        got: What the proof holds, as text.
    """

    def __init__(
        self, reason: RejectionReason, where: str, expected: object = "", got: object = ""
    ) -> None:
        super().__init__(f"{reason.value} at {where}: expected {expected}, got {got}")
        self.reason = reason
        self.where = where
        self.expected = str(expected)
        self.got = str(got)


class ProofMalformed(ProofError):
    """The bytes cannot be read as a proof of the kind asked for."""

    exit_code = 4


class ProofRejected(ProofError):
    """The bytes are a well-formed proof of something that does not hold."""

    exit_code = 3
