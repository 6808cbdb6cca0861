"""The signature ports of consensus over ML-DSA-44."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from operators.consensus_ports import Signer, Verifier
from proving.signatures import KeyPair, SignatureBackend, verify_many
from schemas.block import VOTE_DOMAIN, ValidatorSet

SIGNATURE_CONTEXT = VOTE_DOMAIN
"""ML-DSA context string of every consensus signature: no transaction signature can pass for a vote."""


@dataclass(frozen=True, slots=True)
class ValidatorSigner:
    """Signs with one validator's key pair."""

    pair: KeyPair

    def sign(self, message: bytes) -> bytes:
        """Returns a hedged signature of 2420 bytes; 0.6 ms."""
        return self.pair.sign(message, SIGNATURE_CONTEXT)


@dataclass(frozen=True, slots=True)
class CommitteeVerifier:
    """Checks signatures of one validator set.

    Attributes:
        validators: The set; indices of claims are positions in it.
        backend: From `open_signatures`; the default backend if None.
    """

    validators: ValidatorSet
    backend: SignatureBackend | None = None

    def verify_many(self, claims: Sequence[tuple[int, bytes, bytes]]) -> Sequence[bool]:
        """Judges (validator index, message, signature) one by one; threads over large batches."""
        keys = [self.validators.keys[index] for index, _, _ in claims]
        messages = [message for _, message, _ in claims]
        signatures = [signature for _, _, signature in claims]
        verdicts = verify_many(keys, messages, signatures, SIGNATURE_CONTEXT, self.backend)
        return [bool(verdict) for verdict in verdicts]


_signer: type[Signer] = ValidatorSigner
_verifier: type[Verifier] = CommitteeVerifier
