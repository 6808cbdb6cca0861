"""Beacon blocks that accept a day, voted on by four validators with real keys: what campaigns and tests certify with."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from hashlib import sha256

from proving.light.certificate import DayCertificate
from proving.signatures import KeyPair
from schemas.beacon_payload import ProofReference, RunAcceptance, encode_acceptances
from schemas.block import VOTE_DOMAIN, BlockHeader, Phase, ValidatorSet, header_ballot
from schemas.run import RunStatement
from schemas.topics import BEACON_SHARD
from schemas.units import ZERO_WORD

COUNT = 4
"""Validators of a committee."""

QUORUM = 3
"""Votes that a committee of four needs."""


def pair(number: int) -> KeyPair:
    """Returns the key pair of a number; the first `COUNT` are the committee's."""
    return KeyPair.from_seed(sha256(b"day votes %d" % number).digest())


@cache
def committee(first: int = 0) -> ValidatorSet:
    """Returns the committee, or with another `first` one of other keys."""
    return ValidatorSet(tuple(pair(number).public_key for number in range(first, first + COUNT)))


@dataclass(frozen=True)
class Voted:
    """A block on the beacon that accepts a run, and how it was voted on.

    Attributes:
        run: What it accepts; None for none.
        chain: Chain number.
        shard: Shard number.
        height: Its height.
        above: Blocks above it up to the one voted on.
        first: Number of the first validator's key.
    """

    run: RunStatement | None
    chain: int = 7
    shard: int = BEACON_SHARD
    height: int = 5
    above: int = 1
    first: int = 0

    @property
    def payload(self) -> bytes:
        """The accepting block's payload."""
        if self.run is None:
            return encode_acceptances([])
        said = RunStatement.from_bytes(self.run.to_bytes())
        return encode_acceptances([], RunAcceptance(said, ProofReference(3, 0, bytes(32))))

    def headers(self) -> tuple[BlockHeader, ...]:
        """Returns the accepting block's header and those above."""
        payload = sha256(self.payload).digest()
        found = [
            BlockHeader(
                self.chain, self.shard, 0, self.height, 9, 20, 19, bytes(32), payload, ZERO_WORD,
                ZERO_WORD, 1, 0,
            )
        ]  # fmt: skip
        for _ in range(self.above):
            last = found[-1]
            found.append(
                replace(
                    last,
                    height=last.height + 1,
                    view=last.view + 1,
                    parent_view=last.view,
                    parent_hash=last.block_hash(),
                    payload_hash=sha256(encode_acceptances([])).digest(),
                )
            )
        return tuple(found)

    def votes(
        self, signers: tuple[int, ...] = (0, 1, 3), phase: Phase = Phase.FINALIZE
    ) -> tuple[tuple[int, bytes], ...]:
        """Returns validators' votes on the last header."""
        message = header_ballot(self.headers()[-1], phase).signed_bytes(committee(self.first))
        return tuple(
            (signer, pair(self.first + signer).sign(message, VOTE_DOMAIN)) for signer in signers
        )

    def certificate(self) -> DayCertificate:
        """Returns the certificate of a quorum."""
        return DayCertificate(committee(self.first), self.payload, self.headers(), self.votes())
