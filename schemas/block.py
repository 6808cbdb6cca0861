"""Blocks, votes, certificates and evidence: the records that a committee signs, and their canonical bytes.

Every value has one byte form, little-endian and without padding; decoding refuses anything else. Signed
bytes carry domain, chain, shard, epoch, validator-set hash, view, phase, block hash, parent view and parent
hash, so that a signature means one thing in one place.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass, field
from enum import IntEnum

from schemas.errors import ParameterError, WireError

HASH_BYTES = 32

ZERO_HASH = bytes(HASH_BYTES)
"""Stands for no block, in nullify votes."""

MAX_PAYLOAD_BYTES = 4 << 20
"""Bytes; a block of references is tens of kilobytes, a log record at most 16 MB."""

MAX_SIGNATURE_BYTES = 2420
"""Bytes of an ML-DSA-44 signature."""

MAX_KEY_BYTES = 1312
"""Bytes of an ML-DSA-44 public key."""

MAX_VALIDATORS = 1024
"""Members of one committee; bounds every list in a message."""

BLOCK_DOMAIN = b"ecliptica/block/1"
VALIDATORS_DOMAIN = b"ecliptica/validators/1"
VOTE_DOMAIN = b"ecliptica/consensus/1"
GENESIS_DOMAIN = b"ecliptica/genesis-block/1"

_HEADER = struct.Struct("<IIQQQQQ32s32s32s32sII")
_BALLOT = struct.Struct("<IIQBQ32sQ32s")
_SIGNED_TAIL = struct.Struct("<BQ32sQ32s")
_CONTEXT = struct.Struct("<IIQ32s")
_INDEX = struct.Struct("<H")
_LENGTH = struct.Struct("<I")

HEADER_BYTES = _HEADER.size
BALLOT_BYTES = _BALLOT.size

MAX_EVIDENCE_BYTES = 2 + 2 * (BALLOT_BYTES + 4 + MAX_SIGNATURE_BYTES)
"""Most bytes of evidence of equivocation: version, kind, and twice a ballot, a signer and a sized signature."""


class Phase(IntEnum):
    """What a signature says about a view."""

    PROPOSE = 1
    NOTARIZE = 2
    NULLIFY = 3
    FINALIZE = 4
    STATUS = 5


def quorum_size(validators: int) -> int:
    """Returns n - floor((n - 1) / 3): two quorums share an honest validator for every n >= 1.

    Raises:
        ParameterError: No validators.
    """
    if validators < 1:
        raise ParameterError(f"a committee has at least one validator, got {validators}")
    return validators - (validators - 1) // 3


def fault_bound(validators: int) -> int:
    """Returns the number of Byzantine validators tolerated, floor((n - 1) / 3)."""
    return validators - quorum_size(validators)


@dataclass(frozen=True, slots=True)
class ValidatorSet:
    """The committee of an epoch: public keys in index order.

    Attributes:
        keys: One public key per validator, distinct, at most 1312 bytes each.
        digest: SHA-256 of the domain, the count and the length-prefixed keys.

    Raises:
        ParameterError: Empty, too long, or a key is repeated, empty or too long.
    """

    keys: tuple[bytes, ...]
    digest: bytes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not 1 <= len(self.keys) <= MAX_VALIDATORS:
            raise ParameterError(f"a committee has 1..{MAX_VALIDATORS} members")
        if len(set(self.keys)) != len(self.keys):
            raise ParameterError("two validators have the same key")
        if not all(1 <= len(key) <= MAX_KEY_BYTES for key in self.keys):
            raise ParameterError(f"a validator key has 1..{MAX_KEY_BYTES} bytes")
        body = b"".join(_INDEX.pack(len(key)) + key for key in self.keys)
        encoded = VALIDATORS_DOMAIN + _INDEX.pack(len(self.keys)) + body
        object.__setattr__(self, "digest", hashlib.sha256(encoded).digest())

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def quorum(self) -> int:
        """Distinct signers that a certificate needs."""
        return quorum_size(len(self.keys))


@dataclass(frozen=True, slots=True)
class BlockHeader:
    """What a block hash covers.

    Attributes:
        chain: Chain number, u32.
        shard: Shard number, u32; the beacon has its own.
        epoch: Epoch of the validator set, u64.
        height: Distance from the genesis block, u64.
        slot: Slot, never below the parent's, u64.
        view: View in which it was proposed, u64.
        parent_view: View of the parent, below `view`.
        parent_hash: Block hash of the parent.
        payload_hash: SHA-256 of the payload.
        post_state_root: Root of the state after the block, canonical word bytes.
        transactions_root: Root of the block's transactions.
        transaction_count: Entries in the block, u32.
        proposer: Index of the leader, u32.
    """

    chain: int
    shard: int
    epoch: int
    height: int
    slot: int
    view: int
    parent_view: int
    parent_hash: bytes
    payload_hash: bytes
    post_state_root: bytes
    transactions_root: bytes
    transaction_count: int
    proposer: int

    def __post_init__(self) -> None:
        hashes = (
            self.parent_hash,
            self.payload_hash,
            self.post_state_root,
            self.transactions_root,
        )
        if any(len(value) != HASH_BYTES for value in hashes):
            raise ParameterError("a hash or root in a block header has 32 bytes")

    def to_bytes(self) -> bytes:
        """Returns the canonical bytes, `HEADER_BYTES` long.

        Raises:
            ParameterError: A number does not fit its field.
        """
        try:
            return _HEADER.pack(
                self.chain,
                self.shard,
                self.epoch,
                self.height,
                self.slot,
                self.view,
                self.parent_view,
                self.parent_hash,
                self.payload_hash,
                self.post_state_root,
                self.transactions_root,
                self.transaction_count,
                self.proposer,
            )
        except struct.error as error:
            raise ParameterError(f"block header: {error}") from error

    def block_hash(self) -> bytes:
        """Returns SHA-256 of the domain and the header bytes."""
        return hashlib.sha256(BLOCK_DOMAIN + self.to_bytes()).digest()


def header_from_bytes(data: bytes) -> BlockHeader:
    """Inverse of `BlockHeader.to_bytes`.

    Raises:
        WireError: The length is wrong.
    """
    if len(data) != HEADER_BYTES:
        raise WireError("block.header", f"has {HEADER_BYTES} bytes, got {len(data)}")
    return BlockHeader(*_HEADER.unpack(data))


@dataclass(frozen=True, slots=True)
class Block:
    """A header and the payload it commits to; the payload's meaning belongs to the application.

    Attributes:
        header: The header.
        payload: Application bytes, at most `MAX_PAYLOAD_BYTES`.
        hash: The block hash, derived.

    Raises:
        WireError: The payload is too long or is not the one the header names.
    """

    header: BlockHeader
    payload: bytes
    hash: bytes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if len(self.payload) > MAX_PAYLOAD_BYTES:
            raise WireError("block.payload", f"is longer than {MAX_PAYLOAD_BYTES} bytes")
        if hashlib.sha256(self.payload).digest() != self.header.payload_hash:
            raise WireError("block.payload_hash", "is not the hash of the payload")
        object.__setattr__(self, "hash", self.header.block_hash())

    def to_bytes(self) -> bytes:
        """Returns the header, the payload's length (u32) and the payload."""
        return self.header.to_bytes() + _LENGTH.pack(len(self.payload)) + self.payload


def genesis_hash(chain: int, shard: int) -> bytes:
    """Returns the parent hash of the first block of a shard."""
    return hashlib.sha256(GENESIS_DOMAIN + struct.pack("<II", chain, shard)).digest()


@dataclass(frozen=True, slots=True)
class Ballot:
    """What one signature says, without the signer.

    Attributes:
        chain: Chain number, u32.
        shard: Shard number, u32.
        epoch: Epoch of the validator set, u64.
        phase: Proposal, notarize, nullify or finalize.
        view: The view it speaks of, u64, at least 1.
        block_hash: The block, zero for nullify.
        parent_view: View of the block's parent, 0 for nullify.
        parent_hash: Hash of the block's parent, zero for nullify.

    Raises:
        WireError: The phase cannot be voted, or its fields do not fit together.
    """

    chain: int
    shard: int
    epoch: int
    phase: Phase
    view: int
    block_hash: bytes
    parent_view: int
    parent_hash: bytes

    def __post_init__(self) -> None:
        if self.phase is Phase.STATUS:
            raise WireError("ballot.phase", "a status is not a vote")
        if len(self.block_hash) != HASH_BYTES or len(self.parent_hash) != HASH_BYTES:
            raise WireError("ballot.block_hash", "hashes have 32 bytes")
        if self.phase is Phase.NULLIFY:
            if (self.block_hash, self.parent_view, self.parent_hash) != (ZERO_HASH, 0, ZERO_HASH):
                raise WireError("ballot.block_hash", "a nullify vote names no block")
        elif self.block_hash == ZERO_HASH:
            raise WireError("ballot.block_hash", "the vote names no block")
        if self.view <= self.parent_view:
            raise WireError("ballot.view", "is not above the parent's view")

    def to_bytes(self) -> bytes:
        """Returns the canonical bytes, `BALLOT_BYTES` long.

        Raises:
            ParameterError: A number does not fit its field.
        """
        try:
            return _BALLOT.pack(
                self.chain,
                self.shard,
                self.epoch,
                self.phase,
                self.view,
                self.block_hash,
                self.parent_view,
                self.parent_hash,
            )
        except struct.error as error:
            raise ParameterError(f"ballot: {error}") from error

    def signed_bytes(self, validators: ValidatorSet) -> bytes:
        """Returns the bytes a validator of `validators` signs; see the module's first paragraph."""
        return self.signed_under(signing_context(self.chain, self.shard, self.epoch, validators))

    def signed_under(self, context: bytes) -> bytes:
        """Returns the signed bytes under a prefix from `signing_context`."""
        return context + _SIGNED_TAIL.pack(
            self.phase, self.view, self.block_hash, self.parent_view, self.parent_hash
        )


def signing_context(chain: int, shard: int, epoch: int, validators: ValidatorSet) -> bytes:
    """Returns the prefix of every signed byte string of one committee."""
    return VOTE_DOMAIN + _CONTEXT.pack(chain, shard, epoch, validators.digest)


def ballot_from_bytes(data: bytes) -> Ballot:
    """Inverse of `Ballot.to_bytes`.

    Raises:
        WireError: Wrong length, unknown phase, or fields that do not fit together.
    """
    if len(data) != BALLOT_BYTES:
        raise WireError("ballot", f"has {BALLOT_BYTES} bytes, got {len(data)}")
    chain, shard, epoch, phase, view, block_hash, parent_view, parent_hash = _BALLOT.unpack(data)
    if not Phase.PROPOSE <= phase <= Phase.FINALIZE:
        raise WireError("ballot.phase", f"{phase} is unknown")
    return Ballot(chain, shard, epoch, Phase(phase), view, block_hash, parent_view, parent_hash)


@dataclass(frozen=True, slots=True)
class Vote:
    """A ballot signed by one validator. A proposal's signature is a vote of phase `PROPOSE`.

    Attributes:
        ballot: What is said.
        signer: Index in the validator set.
        signature: Signature over `ballot.signed_bytes`, at most 2420 bytes.
    """

    ballot: Ballot
    signer: int
    signature: bytes

    def __post_init__(self) -> None:
        _check_signature("vote", self.signer, self.signature)


@dataclass(frozen=True, slots=True)
class Proposal:
    """A block and its leader's signature over the ballot of phase `PROPOSE`."""

    block: Block
    signature: bytes

    def __post_init__(self) -> None:
        _check_signature("proposal", self.block.header.proposer, self.signature)

    @property
    def vote(self) -> Vote:
        """The leader's signature as a vote, which is what evidence is made of."""
        return Vote(
            block_ballot(self.block, Phase.PROPOSE), self.block.header.proposer, self.signature
        )


@dataclass(frozen=True, slots=True)
class Certificate:
    """A quorum's signatures on one ballot of phase notarize, nullify or finalize.

    Whether it holds is for `operators.consensus_votes.check_certificate` to say; here only the form is checked.

    Attributes:
        ballot: What the quorum says.
        signatures: (validator index, signature), indices strictly rising.

    Raises:
        WireError: Phase propose, no signature, too many, or indices not strictly rising.
    """

    ballot: Ballot
    signatures: tuple[tuple[int, bytes], ...]

    def __post_init__(self) -> None:
        if self.ballot.phase is Phase.PROPOSE:
            raise WireError("certificate.phase", "a proposal has no certificate")
        if not 1 <= len(self.signatures) <= MAX_VALIDATORS:
            raise WireError("certificate.signatures", f"holds 1..{MAX_VALIDATORS} signatures")
        last = -1
        for signer, signature in self.signatures:
            if signer <= last:
                raise WireError("certificate.signatures", "signers are not strictly rising")
            _check_signature("certificate", signer, signature)
            last = signer

    @property
    def signers(self) -> tuple[int, ...]:
        """Indices of the signers, rising."""
        return tuple(signer for signer, _ in self.signatures)

    def votes(self) -> tuple[Vote, ...]:
        """Returns the certificate taken apart into votes."""
        return tuple(Vote(self.ballot, signer, signature) for signer, signature in self.signatures)


class Offence(IntEnum):
    """What two signatures of one validator in one view prove."""

    TWO_PROPOSALS = 1
    TWO_NOTARIZATIONS = 2
    TWO_FINALIZATIONS = 3
    NULLIFY_AND_FINALIZE = 4


@dataclass(frozen=True, slots=True)
class Equivocation:
    """Two signed votes that no honest validator signs both; transferable, needs no context to judge.

    Attributes:
        first: The vote whose canonical bytes are smaller.
        second: The other one.

    Raises:
        WireError: The votes do not contradict each other, or stand in the wrong order.
    """

    first: Vote
    second: Vote

    def __post_init__(self) -> None:
        if self.first.ballot.to_bytes() >= self.second.ballot.to_bytes():
            raise WireError("evidence", "votes are not in canonical order")
        if offence_of(self.first, self.second) is None:
            raise WireError("evidence", "the votes do not contradict each other")

    @property
    def offence(self) -> Offence:
        """What is proven."""
        found = offence_of(self.first, self.second)
        if found is None:
            raise WireError("evidence", "the votes do not contradict each other")
        return found

    @property
    def key(self) -> tuple[int, int, int, int, int]:
        """(chain, shard, epoch, view, signer): a validator is punished once for a view."""
        ballot = self.first.ballot
        return ballot.chain, ballot.shard, ballot.epoch, ballot.view, self.first.signer


def offence_of(first: Vote, second: Vote) -> Offence | None:
    """Returns what two votes prove about their common signer, or None."""
    a, b = first.ballot, second.ballot
    same_place = (a.chain, a.shard, a.epoch, a.view) == (b.chain, b.shard, b.epoch, b.view)
    if first.signer != second.signer or not same_place or a == b:
        return None
    if a.phase == b.phase:
        return {
            Phase.PROPOSE: Offence.TWO_PROPOSALS,
            Phase.NOTARIZE: Offence.TWO_NOTARIZATIONS,
            Phase.FINALIZE: Offence.TWO_FINALIZATIONS,
        }.get(a.phase)
    if {a.phase, b.phase} == {Phase.NULLIFY, Phase.FINALIZE}:
        return Offence.NULLIFY_AND_FINALIZE
    return None


def make_evidence(one: Vote, other: Vote) -> Equivocation:
    """Puts two contradicting votes into canonical order.

    Raises:
        WireError: They do not contradict each other.
    """
    if one.ballot.to_bytes() < other.ballot.to_bytes():
        return Equivocation(one, other)
    return Equivocation(other, one)


def block_ballot(block: Block, phase: Phase) -> Ballot:
    """Returns the ballot of `phase` for a block."""
    return header_ballot(block.header, phase)


def header_ballot(header: BlockHeader, phase: Phase) -> Ballot:
    """Returns the ballot of `phase` for the block of a header.

    Raises:
        WireError: The view is not above the parent's.
    """
    return Ballot(
        header.chain,
        header.shard,
        header.epoch,
        phase,
        header.view,
        header.block_hash(),
        header.parent_view,
        header.parent_hash,
    )


def nullify_ballot(chain: int, shard: int, epoch: int, view: int) -> Ballot:
    """Returns the ballot that skips a view."""
    return Ballot(chain, shard, epoch, Phase.NULLIFY, view, ZERO_HASH, 0, ZERO_HASH)


def _check_signature(where: str, signer: int, signature: bytes) -> None:
    if not 0 <= signer < MAX_VALIDATORS:
        raise WireError(f"{where}.signer", f"{signer} is not a validator index")
    if not 1 <= len(signature) <= MAX_SIGNATURE_BYTES:
        raise WireError(f"{where}.signature", f"has 1..{MAX_SIGNATURE_BYTES} bytes")
