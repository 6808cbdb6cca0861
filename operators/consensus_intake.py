"""Turning untrusted bytes into verified messages: decode, filter, verify all signatures of a batch at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from operators.consensus_messages import Chain, Message, Status, status_signed_bytes
from operators.consensus_ports import Verifier
from operators.consensus_votes import Committee, certificate_flaw, place_flaw
from schemas.block import Block, Certificate, Phase, Proposal, Vote, block_ballot
from schemas.errors import WireError

Claim = tuple[int, bytes, bytes]


class Intake:
    """The gate of the core: what passes is well-formed, of this committee, wanted and correctly signed.

    Attributes:
        dropped: Messages refused so far, by reason; reasons are a fixed set.
    """

    def __init__(
        self, committee: Committee, verifier: Verifier, decode: Callable[[bytes], Message]
    ) -> None:
        self._committee = committee
        self._verifier = verifier
        self._decode = decode
        self.dropped: Counter[str] = Counter()

    def open(
        self, raw: Sequence[bytes], unwanted: Callable[[Message], str | None]
    ) -> list[Message | None]:
        """Returns the messages that pass, None in the place of each that does not.

        Args:
            raw: Bytes from the medium.
            unwanted: Names why a well-formed message of this committee is of no use, or returns None.
        """
        passed: list[Message | None] = []
        claims: list[Claim] = []
        shares: list[int] = []
        for data in raw:
            message = self._admit(data, unwanted)
            own_claims = [] if message is None else self._claims(message)
            passed.append(message)
            shares.append(len(own_claims))
            claims.extend(own_claims)
        if claims:
            self._drop_forgeries(passed, shares, self._verifier.verify_many(claims))
        return passed

    def _drop_forgeries(
        self, passed: list[Message | None], shares: list[int], good: Sequence[bool]
    ) -> None:
        start = 0
        for index, share in enumerate(shares):
            if share and not all(good[start : start + share]):
                self.dropped["bad_signature"] += 1
                passed[index] = None
            start += share

    def _admit(self, data: bytes, unwanted: Callable[[Message], str | None]) -> Message | None:
        try:
            message = self._decode(data)
        except WireError:
            self.dropped["malformed"] += 1
            return None
        reason = self._flaw(message) or unwanted(message)
        if reason is not None:
            self.dropped[reason] += 1
            return None
        return message

    def _flaw(self, message: Message) -> str | None:
        committee = self._committee
        if isinstance(message, Vote):
            ballot = message.ballot
            if ballot.phase is Phase.PROPOSE:
                return "lone_proposal_signature"
            if message.signer >= committee.size:
                return "unknown_signer"
            return place_flaw(ballot.chain, ballot.shard, ballot.epoch, committee)
        if isinstance(message, Certificate):
            return certificate_flaw(message, committee)
        if isinstance(message, Proposal):
            head = message.block.header
            flaw = self._block_flaw(message.block)
            return flaw or (None if head.proposer == committee.leader(head.view) else "not_leader")
        if isinstance(message, Status):
            if message.signer >= committee.size:
                return "unknown_signer"
            return place_flaw(message.chain, message.shard, message.epoch, committee)
        flaws = [self._block_flaw(block) for block in message.blocks]
        if message.certificate is not None:
            flaws.append(certificate_flaw(message.certificate, committee))
        return next((flaw for flaw in flaws if flaw is not None), None)

    def _block_flaw(self, block: Block) -> str | None:
        head = block.header
        return place_flaw(head.chain, head.shard, head.epoch, self._committee)

    def _claims(self, message: Message) -> list[Claim]:
        context = self._committee.context
        if isinstance(message, Vote):
            return [(message.signer, message.ballot.signed_under(context), message.signature)]
        if isinstance(message, Proposal):
            ballot = block_ballot(message.block, Phase.PROPOSE)
            signed = ballot.signed_under(context)
            return [(message.block.header.proposer, signed, message.signature)]
        if isinstance(message, Status):
            signed = status_signed_bytes(context, message)
            return [(message.signer, signed, message.signature)]
        certificate = message.certificate if isinstance(message, Chain) else message
        if certificate is None:
            return []
        signed = certificate.ballot.signed_under(context)
        return [(signer, signed, signature) for signer, signature in certificate.signatures]
