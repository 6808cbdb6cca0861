"""What an auditor calls: bytes in, a verified statement out, or one of two errors with its reason."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from proving.backends.port import Hasher
from proving.errors import ProofRejected, RejectionReason
from proving.stark.check import verify_stark
from proving.stark.encoding import read_header
from proving.stark.key import VerifyingKey
from proving.stark.soundness import MINIMUM_PROVEN_BITS
from proving.stark.transcript import Label, Transcript, TranscriptEvent
from schemas.errors import ParameterError

KeyDigest = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class KeyRing:
    """The verifying keys that a verifier trusts.

    Attributes:
        keys: By digest.
    """

    keys: dict[KeyDigest, VerifyingKey]

    @staticmethod
    def of(keys: Iterable[VerifyingKey]) -> KeyRing:
        """Collects keys.

        Raises:
            ParameterError: Two of them have the same digest.
        """
        ring: dict[KeyDigest, VerifyingKey] = {}
        for key in keys:
            if key.digest in ring:
                raise ParameterError(f"two keys have digest {key.digest_hex}")
            ring[key.digest] = key
        return KeyRing(ring)


@dataclass(frozen=True, slots=True)
class AcceptancePolicy:
    """What the caller accepts.

    Attributes:
        keys: Accepted keys.
        hasher: Poseidon2 permutation to verify with.
        minimum_bits: Proven bits that every proof must have.
        publics: Public inputs that the proof must state; None accepts any.
    """

    keys: KeyRing
    hasher: Hasher
    minimum_bits: int = MINIMUM_PROVEN_BITS
    publics: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class VerifiedStatement:
    """What an accepted proof shows.

    Attributes:
        kind: Kind of proof.
        publics: Its public inputs.
        statement_digest: Word that names kind and public inputs.
        key_digest: Key it was verified under.
        proven_bits: Soundness of that key.
        events: The transcript as the verifier heard it.
    """

    kind: int
    publics: tuple[int, ...]
    statement_digest: tuple[int, ...]
    key_digest: KeyDigest
    proven_bits: int
    events: tuple[TranscriptEvent, ...]


def verify(proof: bytes, policy: AcceptancePolicy) -> VerifiedStatement:
    """Verifies a proof of any accepted kind.

    Args:
        proof: Any bytes.
        policy: Accepted keys and strength.

    Raises:
        ProofMalformed: The bytes are no proof under an accepted key.
        ProofRejected: They are, but the key is unknown or too weak, or the claim is false.
    """
    header = read_header(proof)
    key = policy.keys.keys.get(header.key_digest)
    if key is None:
        accepted = sorted(known.digest_hex for known in policy.keys.keys.values())
        raise ProofRejected(RejectionReason.UNKNOWN_KEY, "header", accepted, header.digest_hex)
    if key.proven_bits < policy.minimum_bits:
        reason = RejectionReason.PARAMETERS_TOO_WEAK
        raise ProofRejected(reason, "key", f"{policy.minimum_bits} bits", key.proven_bits)
    verdict = verify_stark(key, policy.publics, proof, policy.hasher)
    return VerifiedStatement(
        kind=key.kind,
        publics=verdict.publics,
        statement_digest=statement_digest(key.kind, verdict.publics, policy.hasher),
        key_digest=key.digest,
        proven_bits=key.proven_bits,
        events=verdict.events,
    )


def statement_digest(kind: int, publics: tuple[int, ...], hasher: Hasher) -> tuple[int, ...]:
    """Returns the word that names a statement: kind and public inputs, length-bound."""
    transcript = Transcript(hasher)
    transcript.absorb(Label.KIND, [kind])
    transcript.absorb(Label.PUBLICS, publics)
    return transcript.word(Label.STATEMENT_DIGEST)
