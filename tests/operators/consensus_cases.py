"""Blocks, votes and certificates of a small committee, and a core that is driven by hand."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import TypeVar

from operators.application import BlockContent, Check, CheckState
from operators.consensus import Simplex
from operators.consensus_chain import FinalTip, genesis_tip
from operators.consensus_messages import encode_certificate, encode_proposal, encode_vote
from operators.consensus_ports import (
    Action,
    BlockChecked,
    BuildProposal,
    CheckBlock,
    ConsensusConfig,
    Event,
    MessageReceived,
    ProposalBuilt,
    Tick,
    WorkAvailable,
)
from operators.consensus_simulation import KeyedHash, KeyedHashSigner
from operators.consensus_votes import Committee
from schemas.block import (
    Ballot,
    Block,
    BlockHeader,
    Certificate,
    Phase,
    Proposal,
    ValidatorSet,
    Vote,
    block_ballot,
    nullify_ballot,
)

A = TypeVar("A", bound=Action)
CONFIG = ConsensusConfig()
VALID = Check(CheckState.VALID)


class Cast:
    """A committee whose every key is at hand."""

    def __init__(self, n: int = 4, epoch: int = 0, shard: int = 0, chain: int = 1) -> None:
        self.n = n
        self.keys = KeyedHash(5, n)
        names = tuple(b"validator %d of %d in epoch %d" % (i, n, epoch) for i in range(n))
        self.committee = Committee(chain, shard, epoch, ValidatorSet(names))
        self.genesis = genesis_tip(chain, shard)

    def core(self, own: int | None = 0, **more: object) -> Simplex:
        arguments: dict[str, object] = {"config": CONFIG, "tip": self.genesis, **more}
        return Simplex(
            self.committee,
            own,
            KeyedHashSigner(self.keys, own or 0),
            self.keys,
            **arguments,  # type: ignore[arg-type]
        )

    def block(
        self, view: int, parent: FinalTip | Block | None = None, tag: bytes = b"", **changes: int
    ) -> Block:
        below = parent or self.genesis
        if isinstance(below, Block):
            head = below.header
            below = FinalTip(below.hash, head.height, head.slot, head.view)
        payload = b"payload" + tag
        values: dict[str, int] = {"height": below.height + 1, "slot": below.slot, **changes}
        header = BlockHeader(
            chain=self.committee.chain,
            shard=self.committee.shard,
            epoch=self.committee.epoch,
            height=values["height"],
            slot=values["slot"],
            view=view,
            parent_view=below.view,
            parent_hash=below.hash,
            payload_hash=sha256(payload).digest(),
            post_state_root=sha256(payload).digest(),
            transactions_root=bytes(32),
            transaction_count=1,
            proposer=self.committee.leader(view),
        )
        return Block(header, payload)

    def sign(self, signer: int, ballot: Ballot) -> Vote:
        message = ballot.signed_bytes(self.committee.validators)
        return Vote(ballot, signer, self.keys.sign(signer, message))

    def propose(self, block: Block) -> bytes:
        vote = self.sign(block.header.proposer, block_ballot(block, Phase.PROPOSE))
        return encode_proposal(Proposal(block, vote.signature))

    def skip(self, view: int) -> Ballot:
        return nullify_ballot(
            self.committee.chain, self.committee.shard, self.committee.epoch, view
        )

    def vote(self, signer: int, phase: Phase, block: Block) -> bytes:
        return encode_vote(self.sign(signer, block_ballot(block, phase)))

    def nullify(self, signer: int, view: int) -> bytes:
        return encode_vote(self.sign(signer, self.skip(view)))

    def certificate(self, ballot: Ballot, signers: Iterable[int]) -> Certificate:
        votes = [self.sign(signer, ballot) for signer in signers]
        return Certificate(ballot, tuple((vote.signer, vote.signature) for vote in votes))

    def certify(self, phase: Phase, block: Block, signers: Iterable[int] = (1, 2, 3)) -> bytes:
        return encode_certificate(self.certificate(block_ballot(block, phase), signers))

    def certify_skip(self, view: int, signers: Iterable[int] = (1, 2, 3)) -> bytes:
        return encode_certificate(self.certificate(self.skip(view), signers))


def of(kind: type[A], actions: Sequence[Action]) -> list[A]:
    """Returns the actions of one kind."""
    return [action for action in actions if isinstance(action, kind)]


def drive(core: Simplex, *events: Event | bytes, at: int = 0, valid: bool = True) -> list[Action]:
    """Gives events one by one, answering checks and requests for a block, and returns every action."""
    done: list[Action] = []
    inbox: list[Event] = [
        MessageReceived(event) if isinstance(event, bytes) else event for event in events
    ]
    while inbox:
        actions = core.step([inbox.pop(0)], at)
        done += actions
        verdict = VALID if valid else Check(CheckState.INVALID, "refused")
        inbox = [BlockChecked(a.block.hash, verdict) for a in of(CheckBlock, actions)] + inbox
        for request in of(BuildProposal, actions):
            root = sha256(request.parent_hash).digest()
            content = BlockContent(b"built in %d" % request.view, bytes(32), root, 1)
            slot = request.parent_slot
            inbox.insert(0, ProposalBuilt(request.view, request.parent_hash, slot, content))
    return done


TICK = Tick()
WORK = WorkAvailable(available=True)
