"""A chain whose validators' keys are all at hand, and what they sign when they contradict themselves."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

from operators.consensus_keys import ValidatorSigner
from operators.consensus_messages import encode_evidence
from operators.validator import identity_of
from proving.signatures import KeyPair
from schemas.block import Ballot, Phase, Vote, make_evidence, nullify_ballot
from schemas.economics import ECLIPT
from schemas.genesis import Bonds, Genesis, encode_key

BOND = 100_000 * ECLIPT
PARENT = bytes(32)

PAIRS = tuple(KeyPair.from_seed(sha256(b"validator %d" % n).digest()) for n in range(4))
STRANGER = KeyPair.from_seed(sha256(b"a stranger").digest())


def bonded_genesis(shards: int = 2, chain: int = 7) -> Genesis:
    """Returns a chain of four validators with bonds."""
    return Genesis.model_validate(
        {
            **unbonded_genesis(shards, chain).model_dump(),
            "schema_version": 2,
            "bonds": Bonds(units=(BOND,) * len(PAIRS)).model_dump(),
        }
    )


def unbonded_genesis(shards: int = 2, chain: int = 7) -> Genesis:
    """Returns the same chain without bonds."""
    return Genesis(
        chain=chain,
        shards=shards,
        slot_micros=50_000,
        slots_per_window=16,
        windows_per_epoch=2,
        start_millis=1_800_000_000_000,
        issuer=encode_key(STRANGER.public_key),
        validators=tuple(encode_key(pair.public_key) for pair in PAIRS),
    )


@dataclass(frozen=True)
class Signing:
    """Signs votes of a chain's committees with any key.

    Attributes:
        genesis: The chain.
        pairs: Key pairs of its validators.
    """

    genesis: Genesis
    pairs: tuple[KeyPair, ...] = PAIRS

    def vote(
        self,
        phase: Phase,
        view: int,
        block: int = 1,
        signer: int = 3,
        *,
        shard: int = 0,
        epoch: int | None = None,
        pair: KeyPair | None = None,
    ) -> Vote:
        """Returns a vote on a made-up block, signed with the signer's key or another one."""
        committee = identity_of(self.genesis, shard, None, None).committee
        place = (committee.chain, shard, committee.epoch if epoch is None else epoch)
        if phase is Phase.NULLIFY:
            ballot = nullify_ballot(*place, view)
        else:
            ballot = Ballot(*place, phase, view, bytes([block]) * 32, 0, PARENT)
        signed = ballot.signed_bytes(committee.validators)
        key = self.pairs[signer % len(self.pairs)] if pair is None else pair
        return Vote(ballot, signer, ValidatorSigner(key).sign(signed))

    def evidence(
        self,
        view: int,
        *,
        signer: int = 3,
        shard: int = 0,
        epoch: int | None = None,
        pair: KeyPair | None = None,
        blocks: tuple[int, int] = (1, 2),
    ) -> bytes:
        """Returns evidence of two notarizations."""
        one, other = (
            self.vote(Phase.NOTARIZE, view, block, signer, shard=shard, epoch=epoch, pair=pair)
            for block in blocks
        )
        return encode_evidence(make_evidence(one, other))
