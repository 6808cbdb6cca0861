"""Turning untrusted bytes into verified messages: decode, filter, verify all signatures of a batch at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from operators.consensus_chain import BlockTree
from operators.consensus_messages import Chain, Message, Status, status_signed_bytes
from operators.consensus_ports import Verifier
from operators.consensus_votes import Committee, ViewRecord, certificate_flaw, place_flaw
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
        """Names why a well-formed message does not belong to this committee, or returns None."""
        committee = self._committee
        flaw: str | None
        if isinstance(message, Vote):
            ballot = message.ballot
            flaw = place_flaw(ballot.chain, ballot.shard, ballot.epoch, committee)
            if flaw is None and ballot.phase is Phase.PROPOSE:
                flaw = "lone_proposal_signature"
            return flaw or self._signer_flaw(message.signer)
        if isinstance(message, Status):
            flaw = place_flaw(message.chain, message.shard, message.epoch, committee)
            return flaw or self._signer_flaw(message.signer)
        if isinstance(message, Certificate):
            return certificate_flaw(message, committee)
        if isinstance(message, Proposal):
            head = message.block.header
            leads = head.proposer == committee.leader(head.view)
            return self._block_flaw(message.block) or (None if leads else "not_leader")
        flaws = [self._block_flaw(block) for block in message.blocks]
        if message.certificate is not None:
            flaws.append(certificate_flaw(message.certificate, committee))
        return next((found for found in flaws if found is not None), None)

    def _signer_flaw(self, signer: int) -> str | None:
        return None if signer < self._committee.size else "unknown_signer"

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


MAX_PROPOSALS = 2
"""Proposals kept per view: the second is evidence, more are only taken when a certificate names them."""


def unwanted(
    message: Vote | Proposal | Certificate | Chain,
    tree: BlockTree,
    records: Mapping[int, ViewRecord],
    horizon: int,
    missing: bytes,
) -> str | None:
    """Names why a message of this committee is of no use now, or returns None.

    Args:
        message: Not verified yet: what is dropped here costs no signature check.
        tree: Blocks above the last final one.
        records: Views above the last final one.
        horizon: Highest view for which votes and proposals are kept.
        missing: Hash of the block that is being looked for, or zero.
    """
    if isinstance(message, Chain):
        return _unwanted_chain(message, tree, records, missing)
    view = message.block.header.view if isinstance(message, Proposal) else message.ballot.view
    if view <= tree.tip.view:
        return "old_view"
    if view > horizon and not isinstance(message, Certificate):
        return "far_view"
    record = records.get(view)
    return None if record is None else _known(message, record, missing)


def _known(
    message: Vote | Proposal | Certificate, record: ViewRecord, missing: bytes
) -> str | None:
    if isinstance(message, Proposal):
        block_hash = message.block.hash
        if block_hash in record.proposals:
            return "duplicate"
        full = len(record.proposals) >= MAX_PROPOSALS and block_hash != missing
        return "surplus_proposal" if full else None
    if isinstance(message, Vote):
        vote = record.vote_of(message.ballot.phase, message.signer)
        return "duplicate" if vote is not None and vote.ballot == message.ballot else None
    known = record.certificates.get(message.ballot.phase)
    return "duplicate" if known is not None and known.ballot == message.ballot else None


def _unwanted_chain(
    chain: Chain, tree: BlockTree, records: Mapping[int, ViewRecord], missing: bytes
) -> str | None:
    last = chain.blocks[-1]
    if last.header.view <= tree.tip.view:
        return "old_view"
    if chain.certificate is None:
        return None if last.hash == missing else "unwanted_blocks"
    record = records.get(last.header.view)
    is_final = record is not None and Phase.FINALIZE in record.certificates
    held = all(
        block.header.view <= tree.tip.view or tree.get(block.hash) is not None
        for block in chain.blocks
    )
    return "duplicate" if is_final and held else None
