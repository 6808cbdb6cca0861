"""The ways a light client refuses a proof; reasons have the names that `proving.errors.RejectionReason` gives them."""

from __future__ import annotations


class ProofError(ValueError):
    """A proof was not accepted.

    Attributes:
        reason: Stable name of the check that failed.
        where: Place inside the proof, such as `fri/round 1/query 17`.
        expected: What the verifier computed or requires, as text.
        got: What the proof holds, as text.
    """

    def __init__(self, reason: str, where: str, expected: object = "", got: object = "") -> None:
        super().__init__(f"{reason} at {where}: expected {expected}, got {got}")
        self.reason = reason
        self.where = where
        self.expected = str(expected)
        self.got = str(got)


class ProofMalformed(ProofError):
    """The bytes cannot be read as a proof that ends a day."""


class ProofRejected(ProofError):
    """The bytes are a well-formed proof of something that does not hold, or of a key that is not known here."""


class KeyDamaged(RuntimeError):
    """The stored key is not the one that this client was made with; installing it again helps."""
