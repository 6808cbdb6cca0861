"""The hashes that a proof may commit and challenge with, as far as its shape and its soundness depend on them.

`poseidon2` is cheap inside a circuit; `sha256` is in the standard library of every language, for proofs that no
circuit verifies. The functions themselves are in `proving.commitments.merkle` and the transcripts. Source:
proving/README.md "Hashing" and "SHA-256".
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log2

from proving.arithmetic.modulus import TWO_ADICITY, WORD, P
from schemas.errors import ParameterError

SHA256_DIGEST_BYTES = 26
"""Bytes kept of a digest: 208 bits, so that a collision costs 2^104; 25 would leave nothing above the 100 bits asked for."""


@dataclass(frozen=True, slots=True)
class CommitmentHash:
    """What a digest is.

    Attributes:
        name: As `ProofParameters.hash` gives it.
        number: Part of every key's digest; never used again.
        entries: Numbers in a digest, each below P.
        entry_bytes: Bytes that each takes in a proof.
        collision_bits: Base-2 logarithm of what a collision costs.
        most_pow_bits: Most bits of grinding: with Poseidon2 a residue has 24 uniform low bits, and the 2^31 nonces must
            hold one that passes (none has 25 bits: below 2^-91).
    """

    name: str
    number: int
    entries: int
    entry_bytes: int
    collision_bits: float
    most_pow_bits: int


POSEIDON2 = CommitmentHash("poseidon2", 1, WORD, 4, WORD * log2(P) / 2, TWO_ADICITY)
"""Poseidon2-16 over KoalaBear; a digest is a word."""

SHA256 = CommitmentHash("sha256", 2, SHA256_DIGEST_BYTES, 1, 8 * SHA256_DIGEST_BYTES / 2, 25)
"""SHA-256 cut to its first 26 bytes; a digest is a list of bytes."""


def commitment_hash(name: str) -> CommitmentHash:
    """Returns a hash by name.

    Raises:
        ParameterError: There is no such hash.
    """
    for known in (POSEIDON2, SHA256):
        if known.name == name:
            return known
    raise ParameterError(f"the commitment hash is {name!r}, must be poseidon2 or sha256")
