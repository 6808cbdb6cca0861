"""The one parameter object of a proof, and everything about its shape that follows from it.

Prover, verifier, byte layout and the soundness calculator read the same `ProofParameters`. Nothing here is
ever taken from a proof: heights, arities, lengths and the number of queries are functions of the verifying
key alone.
"""

from __future__ import annotations

from dataclasses import dataclass

from proving.arithmetic.modulus import TWO_ADICITY
from proving.stark.commitment_hash import POSEIDON2, CommitmentHash, commitment_hash
from schemas.errors import ParameterError

MAX_LOG_BLOWUP = 8
"""The wrap proof's blow-up of 256 is the largest one in use."""

MAX_QUERIES = 1024
"""Far above any setting that gains soundness; bounds the size of a proof before anything is read."""

_RANGES: dict[str, tuple[int, int | None]] = {
    "log_blowup": (1, MAX_LOG_BLOWUP),
    "num_queries": (1, MAX_QUERIES),
    "log_arity": (1, 3),
    "log_cap": (0, 8),
    "log_final_length": (0, 10),
    "batching_pow_bits": (0, None),
    "commit_pow_bits": (0, None),
    "deep_pow_bits": (0, None),
    "lookup_pow_bits": (0, None),
    "query_pow_bits": (0, None),
}
"""Least and greatest value of every setting that transcripts hear, in their order; None is the hash's most grinding."""

MAX_KEY_CAP_LEVELS = 8
"""A cap that lies in a key is at most 2^8 times as long as those in a proof."""


@dataclass(frozen=True, slots=True)
class ProofParameters:
    """Settings of the proof system for one kind of proof.

    Attributes:
        log_blowup: Inverse rate of the code; 1..8.
        num_queries: FRI queries; 1..1024.
        log_arity: A FRI layer is folded by 2^log_arity; 1..3.
        log_cap: Merkle trees end in 2^log_cap digests (fewer if a tree has fewer leaves).
        log_final_length: Folding stops at a polynomial of 2^log_final_length coefficients.
        batching_pow_bits: Grinding before the DEEP batching challenge; 0..24, with SHA-256 0..25, as all below.
        commit_pow_bits: Grinding before each folding challenge.
        deep_pow_bits: Grinding before the out-of-domain point.
        lookup_pow_bits: Grinding before the lookup challenges.
        query_pow_bits: Grinding before the query indices.
        key_cap_levels: The cap of the preprocessed columns lies in the key and costs a proof nothing, so its tree
            may end so many levels below the others; 0..8. The key's digest binds it by the cap's length.
        hash: Commits and challenges, `poseidon2` or `sha256`; the key's digest binds it by its number.
    """

    log_blowup: int
    num_queries: int
    log_arity: int = 3
    log_cap: int = 4
    log_final_length: int = 3
    batching_pow_bits: int = 0
    commit_pow_bits: int = 0
    deep_pow_bits: int = 0
    lookup_pow_bits: int = 0
    query_pow_bits: int = 0
    key_cap_levels: int = 0
    hash: str = POSEIDON2.name

    def __post_init__(self) -> None:
        """Checks every field's range.

        Raises:
            ParameterError: A field is outside its range, or there is no such hash.
        """
        digests = commitment_hash(self.hash)
        if not 0 <= self.key_cap_levels <= MAX_KEY_CAP_LEVELS:
            raise ParameterError(
                f"key_cap_levels is {self.key_cap_levels}, must be within 0..{MAX_KEY_CAP_LEVELS}"
            )
        for name, (low, most) in _RANGES.items():
            value, high = getattr(self, name), digests.most_pow_bits if most is None else most
            if not low <= value <= high:
                raise ParameterError(f"{name} is {value}, must be within {low}..{high}")

    def elements(self) -> tuple[int, ...]:
        """Returns the ten settings that key digest and transcript hear, in declaration order."""
        return tuple(getattr(self, name) for name in _RANGES)

    @property
    def digests(self) -> CommitmentHash:
        """What the digests of the proof are."""
        return commitment_hash(self.hash)


SEGMENT_S = ProofParameters(log_blowup=3, num_queries=55, log_final_length=3, query_pow_bits=20)
"""Small ledger segments: 2^12 rows, blow-up 8. The calculator gives >= 100 proven bits."""

SEGMENT_L = ProofParameters(
    log_blowup=1, num_queries=168, log_cap=6, log_final_length=5, query_pow_bits=20
)
"""Large ledger segments: 2^17 rows, blow-up 2, the least that constraints of degree 3 allow. 168 queries are the fewest
with >= 100 proven bits. Caps of 64 and 32 coefficients leave four folds by 8 and none by less, and the last layer needs no
paths: 1.53 MB, of which larger caps or a longer polynomial would save 4 % at most and cost every verifier more."""

RECURSION = ProofParameters(
    log_blowup=4, num_queries=40, log_cap=6, log_final_length=7, query_pow_bits=22
)
"""Recursive proofs: 2^16 rows, blow-up 16. Of the settings with >= 100 proven bits whose proof is below 200 kB, the one
with the least grinding."""

WRAP = ProofParameters(
    log_blowup=8,
    num_queries=19,
    log_cap=5,
    log_final_length=7,
    batching_pow_bits=6,
    query_pow_bits=25,
    key_cap_levels=4,
    hash="sha256",
)
"""The last proof of a day: 2^13 rows, blow-up 256. 19 queries are the fewest with >= 100 proven bits and 25 bits of
grinding; caps of 32 digests and 128 coefficients are the lengths at which the proof is shortest."""


@dataclass(frozen=True, slots=True)
class FoldingRound:
    """One FRI layer.

    Attributes:
        log_size: Base-2 logarithm of the layer's domain.
        log_arity: The layer is folded by 2^log_arity; a leaf of its tree holds that many values.
        log_cap: Base-2 logarithm of its Merkle cap.
    """

    log_size: int
    log_arity: int
    log_cap: int

    @property
    def log_leaves(self) -> int:
        """Base-2 logarithm of the number of leaves."""
        return self.log_size - self.log_arity

    @property
    def path_length(self) -> int:
        """Siblings from a leaf up to the cap."""
        return self.log_leaves - self.log_cap


def folding_schedule(parameters: ProofParameters, log_height: int) -> tuple[FoldingRound, ...]:
    """Returns the FRI layers of a proof, first to last; the last fold may be smaller.

    Args:
        parameters: Settings.
        log_height: Base-2 logarithm of the trace height, which is also the degree bound.

    Raises:
        ParameterError: The height leaves nothing to fold or its domain exceeds the field's two-adicity.
    """
    if log_height <= parameters.log_final_length:
        raise ParameterError(
            f"2^{log_height} rows leave nothing to fold down to 2^{parameters.log_final_length}"
        )
    if log_height + parameters.log_blowup > TWO_ADICITY:
        raise ParameterError(
            f"2^{log_height} rows with blow-up 2^{parameters.log_blowup} exceed the field's 2^{TWO_ADICITY}"
        )
    rounds: list[FoldingRound] = []
    remaining = log_height
    while remaining > parameters.log_final_length:
        log_arity = min(parameters.log_arity, remaining - parameters.log_final_length)
        log_size = remaining + parameters.log_blowup
        rounds.append(
            FoldingRound(log_size, log_arity, min(parameters.log_cap, log_size - log_arity))
        )
        remaining -= log_arity
    return tuple(rounds)
