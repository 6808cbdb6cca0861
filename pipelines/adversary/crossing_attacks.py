"""Attacks between shards: false deliveries, false words on links and false final blocks told to admission, by aim.

Each returns what it was refused by, or None if it was accepted. Everything else about a block is true: its roots are
those of executing it.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from operators.admission import Admission
from operators.admission_view import AdmissionView
from operators.block_payload import LinkEntry, TransactionReference, encode_payload
from operators.final_headers import block_row
from operators.stage import Input
from pipelines.account_keys import KeyRing
from pipelines.adversary.block_attacks import BlockAttack
from pipelines.adversary.crossing_world import (
    CHAIN,
    EPOCH_SLOTS,
    GENESIS,
    HONEST,
    HONEST_SLOT,
    PEERS,
    SEED,
    SHARD,
    STRANGER,
    CrossingWorld,
    certificate_of,
    crossing_world,
    header_of,
)
from pipelines.adversary.honest_traffic import ACCOUNTS, Base
from pipelines.forge import Forge
from schemas.block import Block, BlockHeader, Phase, genesis_hash
from schemas.config import AdmissionConfig
from schemas.errors import InvariantError
from schemas.tables import TRANSACTIONS
from schemas.topics import shard_topic
from schemas.transactions import Transaction
from schemas.units import AMOUNT_LIMIT, FIRST_ACCOUNT

WORLDS = 4
"""Worlds that attacks choose from; making one costs a tenth of a second."""

PAYING_HEIGHT = 2
"""Height of the block that pays; the first opens the accounts."""

ADMISSION = Admission(GENESIS, SHARD, AdmissionConfig())


def _world(rng: random.Random) -> CrossingWorld:
    return crossing_world(rng.randrange(WORLDS))


def _user(rng: random.Random) -> int:
    return FIRST_ACCOUNT + rng.randrange(ACCOUNTS)


def _changed(rng: random.Random, words: Sequence[LinkEntry], **fields: Any) -> list[LinkEntry]:
    """Returns words of which one has other fields."""
    listed = list(words)
    place = rng.randrange(len(listed))
    listed[place] = replace(listed[place], **fields)
    return listed


def _other_amount(rng: random.Random, amount: int) -> int:
    found = rng.choice((amount + 1, amount - 1, 2 * amount + 1, AMOUNT_LIMIT - 1, 0))
    return found if found != amount else amount + 1


def delivery_never_sent(given: Base, rng: random.Random) -> str | None:
    """A block takes a word that nobody has sent, beside the true ones or in place of one."""
    world = _world(rng)
    peer = rng.choice((*PEERS, SHARD, 9))
    forged = LinkEntry(peer, _user(rng), _user(rng), rng.randrange(1, 2**50), rng.randrange(9))
    listed = list(world.due)
    of_peer = [word for word in listed if word.peer == peer]
    if of_peer and rng.random() < 0.5:
        listed.remove(rng.choice(of_peer))
    return world.judge([*listed, forged])


def delivery_of_another_amount(given: Base, rng: random.Random) -> str | None:
    """A block takes a word that was sent, with another amount."""
    world = _world(rng)
    place = rng.randrange(len(world.due))
    listed = list(world.due)
    amount = _other_amount(rng, listed[place].amount)
    listed[place] = replace(listed[place], amount=amount)
    return world.judge(listed)


def delivery_to_another_account(given: Base, rng: random.Random) -> str | None:
    """A block pays what was sent to another account than the one that it was sent to."""
    world = _world(rng)
    place = rng.randrange(len(world.due))
    listed = list(world.due)
    users = range(FIRST_ACCOUNT, FIRST_ACCOUNT + ACCOUNTS)
    others = [user for user in users if user != listed[place].recipient]
    listed[place] = replace(listed[place], recipient=rng.choice(others))
    return world.judge(listed)


def delivery_to_another_shard(given: Base, rng: random.Random) -> str | None:
    """A block takes what was sent to the third shard."""
    world = _world(rng)
    return world.judge([*world.due, rng.choice(world.elsewhere)])


def delivery_twice_in_a_block(given: Base, rng: random.Random) -> str | None:
    """A block takes a word twice."""
    world = _world(rng)
    place = rng.randrange(len(world.due))
    return world.judge([*world.due[: place + 1], *world.due[place:]])


def delivery_twice_in_two_blocks(given: Base, rng: random.Random) -> str | None:
    """A block takes what the block before has taken."""
    world = _world(rng)
    count = rng.randrange(1, len(world.due) + 1)
    return world.judge(rng.sample(world.due, count), parent=HONEST)


def delivery_before_its_epoch(given: Base, rng: random.Random) -> str | None:
    """A block takes what was sent in the epoch that still runs."""
    world, peer = _world(rng), rng.choice(PEERS)
    extra = [word for word in world.early if word.peer == peer]
    return world.judge([*world.due, *extra[: rng.randrange(1, len(extra) + 1)]])


def delivery_left_out(given: Base, rng: random.Random) -> str | None:
    """A block takes some of a peer's words and leaves one out."""
    world = _world(rng)
    listed = list(world.due)
    listed.pop(rng.randrange(len(listed)))
    return world.judge(listed)


def delivery_out_of_order(given: Base, rng: random.Random) -> str | None:
    """A block takes a peer's words in another order."""
    world, peer = _world(rng), rng.choice(PEERS)
    words = [word for word in world.due if word.peer == peer]
    other = words[1:] + words[:1]
    return world.judge([word for word in world.due if word.peer != peer] + other)


def sent_with_another_amount(given: Base, rng: random.Random) -> str | None:
    """A block says that it sends more or less than it does."""
    world = _world(rng)
    amount = _other_amount(rng, world.returned[0].amount)
    return world.judge(world.due, _changed(rng, world.returned, amount=amount))


def sent_to_another(given: Base, rng: random.Random) -> str | None:
    """A block says that what it sends goes to another account, or to another shard."""
    world = _world(rng)
    place = rng.randrange(len(world.returned))
    listed = list(world.returned)
    word = listed[place]
    listed[place] = rng.choice(
        (
            replace(word, recipient=word.recipient + 1),
            replace(word, peer=PEERS[0] + PEERS[1] - word.peer),
        )
    )
    return world.judge(world.due, listed)


def sent_by_nobody(given: Base, rng: random.Random) -> str | None:
    """A block says that it sends what no transaction of it sends, or the same twice."""
    world = _world(rng)
    forged = LinkEntry(rng.choice(PEERS), _user(rng), _user(rng), rng.randrange(1, 2**50), 0)
    extra = rng.choice((forged, world.returned[0]))
    return world.judge(world.due, [*world.returned, extra])


def sent_and_not_said(given: Base, rng: random.Random) -> str | None:
    """A block keeps silent about what it sends back."""
    world = _world(rng)
    listed = list(world.returned)
    listed.pop(rng.randrange(len(listed)))
    return world.judge(world.due, listed)


def forged_final_block(given: Base, rng: random.Random) -> str | None:
    """A row of `blocks.<shard>` pays what no certified block of the shard has taken, for admission to believe."""
    forged = rng.choice(FORGED_BLOCKS)(_world(rng), rng)
    state = ADMISSION.restore(_desk())
    problems = _tell(state, forged) or ["uncertified"]
    is_believed = _held(state) or state.height != PAYING_HEIGHT - 1
    return None if is_believed else problems[0].partition(":")[0]


def final_block_twice(given: Base, rng: random.Random) -> str | None:
    """A true block comes again; it paid once, and whoever repeats it pays nothing."""
    state = ADMISSION.restore(_desk())
    row = _certified(_paying(rng))
    _tell(state, row)
    once = _held(state)
    for _ in range(rng.randrange(1, 3)):
        _tell(state, row)
    return "known_height" if once and _held(state) == once else None


BlockForgery = Callable[[CrossingWorld, random.Random], dict[str, Any]]


def _richer(world: CrossingWorld, rng: random.Random) -> dict[str, Any]:
    """Another payload below a true header."""
    return _certified(world.content.payload) | {"payload": _paying(rng)}


def _by_a_stranger(world: CrossingWorld, rng: random.Random) -> dict[str, Any]:
    """A block that somebody else has signed."""
    payload = _paying(rng)
    header = _header(payload)
    return block_row(header, payload, certificate_of(header, payload, STRANGER))


def _of_another_block(world: CrossingWorld, rng: random.Random) -> dict[str, Any]:
    """The certificate of a true block on another."""
    payload = _paying(rng)
    return block_row(_header(payload), payload, _certified(world.content.payload)["certificate"])


def _of_another_shard(world: CrossingWorld, rng: random.Random) -> dict[str, Any]:
    """A certified block of a peer."""
    payload = _paying(rng)
    header = header_of(rng.choice(PEERS), PAYING_HEIGHT, HONEST_SLOT, _opening().hash, payload)
    return block_row(header, payload, certificate_of(header, payload))


def _not_final(world: CrossingWorld, rng: random.Random) -> dict[str, Any]:
    """A block that is notarised and not final."""
    payload = world.content.payload
    header = _header(payload)
    return block_row(header, payload, certificate_of(header, payload, phase=Phase.NOTARIZE))


FORGED_BLOCKS: tuple[BlockForgery, ...] = (
    _richer,
    _by_a_stranger,
    _of_another_block,
    _of_another_shard,
    _not_final,
)


def _paying(rng: random.Random) -> bytes:
    """Returns the payload of a block that pays an account."""
    word = LinkEntry(rng.choice(PEERS), _user(rng), _user(rng), rng.randrange(1, 2**50), 7)
    return encode_payload([], [word])


def _header(payload: bytes) -> BlockHeader:
    return header_of(SHARD, PAYING_HEIGHT, HONEST_SLOT, _opening().hash, payload)


def _certified(payload: bytes) -> dict[str, Any]:
    header = _header(payload)
    return block_row(header, payload, certificate_of(header, payload))


@cache
def _registrations() -> list[dict[str, Any]]:
    forge, ring = Forge(CHAIN, SHARD, SEED, 10 * EPOCH_SLOTS), KeyRing(SEED)
    signed = [
        forge.register(n, bytes([n + 1]) * 20, ring.pair(b"payee-%d" % n).public_key)
        for n in range(ACCOUNTS)
    ]
    return [{"body": s.body, "signature": s.signature, "submitted_millis": 0} for s in signed]


@cache
def _opening() -> Block:
    """Returns the first block, which opens the accounts."""
    digests = [hashlib.sha256(row["body"]).digest() for row in _registrations()]
    payload = encode_payload([TransactionReference(0, n, one) for n, one in enumerate(digests)])
    return Block(header_of(SHARD, 1, HONEST_SLOT, genesis_hash(CHAIN, SHARD), payload), payload)


@cache
def _desk() -> bytes:
    """Returns the snapshot of an admission that knows the accounts, which hold nothing."""
    state, batch = ADMISSION.initial(), TRANSACTIONS.batch(_registrations())
    topic, fingerprint = shard_topic("tx", SHARD), TRANSACTIONS.fingerprint
    ADMISSION.step(state, [Input(topic, 0, 0, 1000, fingerprint, b"", batch)], 1000)
    block = _opening()
    certificate = certificate_of(block.header, block.payload)
    problems = _tell(state, block_row(block.header, block.payload, certificate))
    if problems or state.height != PAYING_HEIGHT - 1 or state.pending:
        raise InvariantError(f"the first block is refused: {problems}")
    return ADMISSION.snapshot(state)


def _held(state: AdmissionView) -> int:
    return sum(state.ahead.account(FIRST_ACCOUNT + n).balance for n in range(ACCOUNTS))


def _tell(state: AdmissionView, row: Mapping[str, Any]) -> list[str]:
    """Puts a row on `blocks.<shard>`; returns why it was passed over."""

    def find(references: Sequence[TransactionReference]) -> list[Transaction]:
        raise InvariantError(f"a block refers to {references}, which were never sent")

    return state.take_blocks([row], state.blocks_end, find)


CROSSING_ATTACKS: Mapping[str, tuple[BlockAttack, ...]] = {
    "inflate": (
        delivery_never_sent,
        delivery_of_another_amount,
        sent_with_another_amount,
        sent_by_nobody,
        forged_final_block,
    ),
    "theft": (
        delivery_to_another_account,
        delivery_to_another_shard,
        delivery_left_out,
        sent_to_another,
        sent_and_not_said,
        forged_final_block,
    ),
    "double-spend": (
        delivery_twice_in_a_block,
        delivery_twice_in_two_blocks,
        delivery_before_its_epoch,
        delivery_out_of_order,
        final_block_twice,
    ),
}
"""Attacks by aim."""
