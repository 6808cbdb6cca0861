"""Transcripts by the hash that a proof is made with."""

from __future__ import annotations

from proving.backends.port import Hasher
from proving.stark.commitment_hash import POSEIDON2, commitment_hash
from proving.stark.sha256_transcript import Sha256Transcript
from proving.stark.transcript import Transcript


def make_transcript(hash_name: str, hasher: Hasher) -> Transcript:
    """Starts an empty transcript.

    Args:
        hash_name: As `ProofParameters.hash` gives it.
        hasher: Poseidon2; a transcript of another hash does not use it.

    Raises:
        ParameterError: There is no such hash.
    """
    if commitment_hash(hash_name) is POSEIDON2:
        return Transcript(hasher)
    return Sha256Transcript(hasher)
