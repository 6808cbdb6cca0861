"""Byzantine validators played by one adversary that hears every message at once and shares all their keys.

It votes for everything, tells different validators different things, proposes two blocks or an invalid one when
it leads, forges votes in others' names, and publishes mutilated copies of what it hears.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from random import Random

from operators.application import Check, CheckState
from operators.consensus import Simplex
from operators.consensus_chain import FinalTip, genesis_tip
from operators.consensus_messages import encode_certificate, encode_proposal, encode_vote
from operators.consensus_ports import BlockChecked, CheckBlock, Event, MessageReceived
from operators.consensus_simulation import KeyedHashSigner, World
from schemas.block import (
    Ballot,
    Block,
    BlockHeader,
    Certificate,
    Phase,
    Proposal,
    Vote,
    block_ballot,
    nullify_ballot,
)
from schemas.errors import WireError


@dataclass(frozen=True, slots=True)
class Habits:
    """Probabilities, per message heard, of what the adversary does.

    Attributes:
        double_vote: Sign whatever can be signed about a proposal, for a random part of the committee.
        equivocate: Lead with two blocks instead of one.
        invalid: Give a block a wrong state root.
        mutilate: Publish a copy with flipped, missing or surplus bytes.
        forge: Publish a vote or certificate with another validator's name on it.
        withhold: Not send a message of its own to one receiver.
    """

    double_vote: float = 0.7
    equivocate: float = 0.7
    invalid: float = 0.2
    mutilate: float = 0.05
    forge: float = 0.05
    withhold: float = 0.3


class Adversary:
    """Plays the Byzantine validators of a `World`, in which they are absent."""

    def __init__(
        self, world: World, validators: Sequence[int], habits: Habits, rng: Random
    ) -> None:
        """Listens to `world` from now on."""
        self._world = world
        self._validators = tuple(validators)
        self._habits = habits
        self._rng = rng
        self._led: set[int] = set()
        committee = world.committee
        self._observer = Simplex(
            committee,
            None,
            KeyedHashSigner(world.keys, 0),
            world.keys,
            config=world.config,
            tip=genesis_tip(committee.chain, committee.shard),
            decode=world.decode,
        )
        world.listeners.append(self.hear)

    def hear(self, message: bytes) -> None:
        """Reacts to a published message."""
        self._observe(MessageReceived(message))
        chance, habits = self._rng.random, self._habits
        if chance() < habits.mutilate:
            self._spread(self._mutilated(message), 0.5)
        if chance() < habits.forge:
            self._spread(self._forged(message), 0.5)
        if message[1] == 1 and chance() < habits.double_vote:
            decoded = self._world.decode(message)
            if isinstance(decoded, Proposal):
                self._vote_for(decoded.block, range(len(self._world.nodes)))
        self._lead()

    def _observe(self, event: Event) -> None:
        actions = self._observer.step([event], self._world.now)
        for action in actions:
            if isinstance(action, CheckBlock):
                good = BlockChecked(action.block.hash, Check(CheckState.VALID))
                self._observe(good)

    def _sign(self, validator: int, ballot: Ballot) -> Vote:
        signed = ballot.signed_under(self._world.committee.context)
        return Vote(ballot, validator, self._world.keys.sign(validator, signed))

    def _spread(self, message: bytes, probability: float) -> None:
        for node in self._world.nodes:
            if self._rng.random() < probability:
                self._world.inject(node.endpoint, message)

    def _vote_for(self, block: Block, receivers: Sequence[int]) -> None:
        head = block.header
        skip = nullify_ballot(head.chain, head.shard, head.epoch, head.view)
        ballots = [block_ballot(block, phase) for phase in (Phase.NOTARIZE, Phase.FINALIZE)]
        for validator in self._validators:
            for ballot in (*ballots, skip):
                message = encode_vote(self._sign(validator, ballot))
                for receiver in receivers:
                    if self._rng.random() >= self._habits.withhold:
                        self._world.inject(receiver, message)

    def _lead(self) -> None:
        view, committee = self._observer.view, self._world.committee
        leader = committee.leader(view)
        if leader not in self._validators or view in self._led:
            return
        parent = self._observer.best_parent()
        if parent is None:
            return
        self._led.add(view)
        endpoints = [node.endpoint for node in self._world.nodes]
        self._rng.shuffle(endpoints)
        cut = len(endpoints) // 2 if self._rng.random() < self._habits.equivocate else 0
        for part in (endpoints[:cut], endpoints[cut:]):
            block = self._block(view, leader, parent)
            vote = self._sign(leader, block_ballot(block, Phase.PROPOSE))
            message = encode_proposal(Proposal(block, vote.signature))
            self._observe(MessageReceived(message))
            for receiver in part:
                self._world.inject(receiver, message)
            self._vote_for(block, part)

    def _block(self, view: int, leader: int, parent: FinalTip) -> Block:
        payload = b"adversary %d" % self._rng.randrange(1 << 30)
        root = self._world.state_root(parent.hash, payload)
        if self._rng.random() < self._habits.invalid:
            root = sha256(root).digest()
        slot = max(0, parent.slot - (self._rng.random() < 0.1))
        committee = self._world.committee
        header = BlockHeader(
            committee.chain,
            committee.shard,
            committee.epoch,
            parent.height + 1,
            slot,
            view,
            parent.view,
            parent.hash,
            sha256(payload).digest(),
            root,
            sha256(payload).digest(),
            1,
            leader,
        )
        return Block(header, payload)

    def _mutilated(self, message: bytes) -> bytes:
        data, rng = bytearray(message), self._rng
        kind = rng.randrange(4)
        if kind == 0:
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del data[rng.randrange(len(data)) :]
        elif kind == 2:
            data += rng.randbytes(rng.randrange(1, 40))
        else:
            data = bytearray(rng.randbytes(rng.randrange(300)))
        return bytes(data)

    def _forged(self, message: bytes) -> bytes:
        """Returns a message with the signatures of the heard one on something else."""
        try:
            heard = self._world.decode(message)
        except WireError:
            return message
        size = self._world.committee.size
        if isinstance(heard, Vote):
            if self._rng.random() < 0.5:
                return encode_vote(replace(heard, signer=self._rng.randrange(size)))
            ballot = replace(heard.ballot, view=heard.ballot.view + self._rng.randrange(1, 4))
            return encode_vote(replace(heard, ballot=ballot))
        if isinstance(heard, Certificate):
            ballot = replace(heard.ballot, view=heard.ballot.view + 1)
            return encode_certificate(Certificate(ballot, heard.signatures))
        if isinstance(heard, Proposal):
            signed = tuple((index, heard.signature) for index in range(size))
            return encode_certificate(
                Certificate(block_ballot(heard.block, Phase.FINALIZE), signed)
            )
        return message
