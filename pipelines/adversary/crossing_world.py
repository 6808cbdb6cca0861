"""A validator of one shard of three, what the other two have sent to it, and the block that takes it honestly."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from operators.application import BlockContent, Check, CheckState
from operators.block_payload import LinkEntry, decode_payload, encode_payload, sent_entries
from operators.consensus_keys import CommitteeVerifier, ValidatorSigner
from operators.consensus_messages import encode_certificate
from operators.consensus_votes import Committee
from operators.final_headers import block_row
from operators.mempool import Mempool
from operators.peer_links import PeerLink, peer_link
from operators.proof_worker import process_backend
from operators.shard_application import Branch, ShardApplication
from operators.shard_start import FIRST_EPOCH
from pipelines.account_keys import issuer_pair
from pipelines.adversary.honest_traffic import ACCOUNTS, fresh
from pipelines.adversary.ledger_traffic import PARAMETERS, issue, register
from proving.signatures import KeyPair
from schemas.block import Block, BlockHeader, Certificate, Phase, ValidatorSet, block_ballot
from schemas.errors import InvariantError
from schemas.genesis import Genesis, encode_key
from schemas.units import FIRST_ACCOUNT, ZERO_WORD

SEED = 1
CHAIN, SHARD, PEERS = PARAMETERS.chain, PARAMETERS.shard, (0, 2)
VALIDATOR, STRANGER = (KeyPair.from_seed(bytes([name]) * 32) for name in (1, 2))
NO_ACCOUNT = FIRST_ACCOUNT + 1000
"""A recipient that is not there: what is sent to it goes back."""

EPOCH_SLOTS = 8
HONEST_SLOT = EPOCH_SLOTS + 2
"""Slot of the honest block, in the second epoch; a block above it has the next one."""

LIMIT = 100
GENESIS = Genesis(
    chain=CHAIN,
    shards=PARAMETERS.shards,
    slot_micros=1_000_000,
    slots_per_window=EPOCH_SLOTS // 2,
    windows_per_epoch=2,
    start_millis=0,
    issuer=encode_key(issuer_pair(SEED).public_key),
    validators=(encode_key(VALIDATOR.public_key),),
)
VALIDATORS = ValidatorSet(GENESIS.validator_keys)
START, HONEST = b"\1" * 32, b"\2" * 32
"""Hashes of the final block and of the honest one above it."""


@dataclass(frozen=True, slots=True)
class CrossingWorld:
    """What attacks on deliveries start from.

    Attributes:
        validator: Judges blocks; the honest one is valid above `START`.
        due: What the honest block takes, source by source.
        early: What peers have sent since, in the epoch that still runs.
        elsewhere: What peers have sent to each other.
        content: Of the honest block.
    """

    validator: ShardApplication
    due: tuple[LinkEntry, ...]
    early: tuple[LinkEntry, ...]
    elsewhere: tuple[LinkEntry, ...]
    content: BlockContent

    @property
    def returned(self) -> tuple[LinkEntry, ...]:
        """Returns what the honest block sends back."""
        return decode_payload(self.content.payload).sent

    def judge(
        self,
        received: Sequence[LinkEntry],
        sent: Sequence[LinkEntry] | None = None,
        *,
        parent: bytes = START,
    ) -> str | None:
        """Has the validator judge a block in which all but its deliveries is true; returns why it was refused.

        Args:
            received: What it takes.
            sent: What it says that it sends; by default the truth.
            parent: `START` or `HONEST`.
        """
        branch = self.validator.final if parent == START else self.validator.branches[parent]
        ledger = branch.ledger.branch()
        height, slot = ledger.height + 1, HONEST_SLOT + int(parent == HONEST)
        listed = sorted(received, key=lambda entry: entry.peer)
        bodies = [entry.inbound(CHAIN, SHARD) for entry in listed]
        effects = ledger.execute_block(bodies, height, slot, GENESIS.window_of(slot))
        said = sent_entries(effects.sent) if sent is None else tuple(sent)
        content = BlockContent(
            encode_payload([], listed, said),
            effects.transactions_root,
            effects.state_root,
            len(listed),
        )
        block_hash = hashlib.sha256(content.payload + parent).digest()
        verdict = self.validator.check(block_hash, parent, height, slot, content)
        self.validator.branches.pop(block_hash, None)
        return None if verdict.state is CheckState.VALID else verdict.reason


@cache
def crossing_world(number: int) -> CrossingWorld:
    """Returns a world of a number: amounts and recipients are random, and each peer pays nobody once."""
    rng = random.Random(f"crossing/{number}")  # noqa: S311 - reproducible, no secret
    links = {peer: _link(peer) for peer in PEERS}
    due, early, elsewhere = ([_words(rng, peer, part) for peer in PEERS] for part in range(3))
    for place, link in enumerate(links.values()):
        other = PEERS[1 - place]
        _send(link, EPOCH_SLOTS - 3, {SHARD: due[place], other: elsewhere[place]})
        _send(link, EPOCH_SLOTS, {SHARD: early[place]})
    validator = _validator(links)
    height = validator.final.ledger.height + 1
    content = validator.build(START, height, HONEST_SLOT, required=True)
    if content is None:
        raise InvariantError("nothing is delivered")
    verdict = validator.check(HONEST, START, height, HONEST_SLOT, content)
    if verdict != Check(CheckState.VALID):
        raise InvariantError(f"the honest block is refused: {verdict}")
    flat = [tuple(word for words in listed for word in words) for listed in (due, early, elsewhere)]
    return CrossingWorld(validator, flat[0], flat[1], flat[2], content)


def certificate_of(
    header: BlockHeader,
    payload: bytes,
    pair: KeyPair = VALIDATOR,
    phase: Phase = Phase.FINALIZE,
) -> bytes:
    """Returns the certificate of the committee of one, or of whoever signs in its place."""
    ballot = block_ballot(Block(header, payload), phase)
    signature = ValidatorSigner(pair).sign(ballot.signed_bytes(VALIDATORS))
    return encode_certificate(Certificate(ballot, ((0, signature),)))


def header_of(shard: int, height: int, slot: int, parent: bytes, payload: bytes) -> BlockHeader:
    """Returns the header of a block of which nothing but payload and place matters."""
    return BlockHeader(
        CHAIN, shard, FIRST_EPOCH, height, slot, height, height - 1, parent,
        hashlib.sha256(payload).digest(), ZERO_WORD, ZERO_WORD, 0, 0,
    )  # fmt: skip


def _words(rng: random.Random, peer: int, part: int) -> list[LinkEntry]:
    """Returns three words to accounts, of which the last is none in the first part."""
    users = range(FIRST_ACCOUNT, FIRST_ACCOUNT + ACCOUNTS)
    found = [
        LinkEntry(peer, rng.choice(users), rng.choice(users), rng.randrange(1, 2**40), 3 * part + n)
        for n in range(3)
    ]
    if part == 0:
        found[-1] = LinkEntry(peer, found[-1].sender, NO_ACCOUNT, found[-1].amount, 2)
    return found


def _link(peer: int) -> PeerLink:
    committee = Committee(CHAIN, peer, FIRST_EPOCH, VALIDATORS)
    return peer_link(
        committee,
        CommitteeVerifier(VALIDATORS),
        SHARD,
        process_backend(),
        lambda slot: GENESIS.epoch_of(GENESIS.window_of(slot)),
    )


def _send(link: PeerLink, slot: int, words: dict[int, list[LinkEntry]]) -> None:
    """Lets a peer make a certified final block that sends words."""
    sent = [
        LinkEntry(to, word.sender, word.recipient, word.amount, word.nonce)
        for to, listed in words.items()
        for word in listed
    ]
    payload, headers = encode_payload([], [], sent), link.headers
    header = header_of(link.peer, headers.height + 1, slot, headers.tip, payload)
    headers.take_row(block_row(header, payload, certificate_of(header, payload)), 0)


def _validator(links: dict[int, PeerLink]) -> ShardApplication:
    """Returns a validator whose ledger has accounts with units."""
    ledger = fresh()
    bodies = [register(2 + n, n) for n in range(ACCOUNTS)]
    bodies += [issue(FIRST_ACCOUNT + n, 2**50, ACCOUNTS + n) for n in range(ACCOUNTS)]
    ledger.execute_block(bodies, 1, 1, 0)
    branch = Branch(ledger, b"\0" * 32, (), 0)
    return ShardApplication(GENESIS, Mempool(lambda _: None), branch, START, LIMIT, links=links)
