"""Where a transfer to an account of another shard is: on the way, credited there, or sent back.

Nothing is believed but final blocks, certificates checked. A link is a queue: the n-th word that the blocks of one
shard have sent to another is the n-th that the other's blocks take from it, so a word is found by its place.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from operators.block_payload import LinkEntry, decode_payload
from operators.consensus_votes import CertificateRejected
from operators.final_headers import FinalHeaders
from operators.validator import identity_of
from pipelines.topic_log import TopicLog
from schemas.block import BlockHeader
from schemas.errors import WireError
from schemas.genesis import Genesis
from schemas.tables import BLOCKS
from schemas.topics import shard_topic
from schemas.transactions import Transaction

_logger = logging.getLogger(__name__)


class CrossingState(StrEnum):
    """What became of a transfer between shards once its own block is final."""

    ON_THE_WAY = "on_the_way"
    CREDITED = "credited"
    SENT_BACK = "sent_back"


@dataclass(frozen=True, slots=True)
class Arrival:
    """The final block that took a transfer from a link.

    Attributes:
        shard: Shard of the block.
        height: Its height.
        epoch: Epoch of its slot.
        at_millis: Begin of its slot, UTC milliseconds.
    """

    shard: int
    height: int
    epoch: int
    at_millis: int


@dataclass(frozen=True, slots=True)
class Crossing:
    """How far a transfer to another shard has come.

    Attributes:
        to_shard: Shard of the recipient.
        state: `sent_back`: there was no account of that number when it arrived.
        delivered: The block of that shard that took it, or None while it is on the way.
        returned: The block of the sender's shard that gave the amount back, or None.
    """

    to_shard: int
    state: CrossingState
    delivered: Arrival | None = None
    returned: Arrival | None = None


@dataclass(frozen=True, slots=True)
class LinkedBlock:
    """What a final block has to do with links.

    Attributes:
        shard: Its shard.
        height: Its height.
        slot: Its slot.
        received: What it takes from other shards.
        sent: What it sends: first what goes back, then its own transactions'.
    """

    shard: int
    height: int
    slot: int
    received: tuple[LinkEntry, ...]
    sent: tuple[LinkEntry, ...]


def read_crossing(
    log: TopicLog, genesis: Genesis, transaction: Transaction, height: int
) -> Crossing | None:
    """Returns how far a transfer has come; reads the blocks of both shards once.

    Args:
        log: The log.
        genesis: Names the validators whose certificates count.
        transaction: Of kind OUTBOUND.
        height: Height of the block of its shard that holds it.

    Returns:
        None while no certified block of that height has sent it.
    """
    shard, peer = transaction.shard, transaction.peer
    payer, payee, amount, nonce = (
        transaction.sender,
        transaction.recipient,
        transaction.amount,
        transaction.nonce,
    )
    near = linked_blocks(log, genesis, shard)
    left = _place_on_link(near, peer, height, LinkEntry(peer, payer, payee, amount, nonce), -1)
    if left is None:
        return None
    far = linked_blocks(log, genesis, peer)
    taken = _taken(far, shard, left)
    if taken is None:
        return Crossing(peer, CrossingState.ON_THE_WAY)
    delivered = _arrival(genesis, taken)
    word = LinkEntry(shard, payee, payer, amount, nonce)
    back = _place_on_link(far, shard, taken.height, word, 0)
    if back is None:
        return Crossing(peer, CrossingState.CREDITED, delivered)
    home = _taken(near, peer, back)
    returned = None if home is None else _arrival(genesis, home)
    return Crossing(peer, CrossingState.SENT_BACK, delivered, returned)


def linked_blocks(log: TopicLog, genesis: Genesis, shard: int) -> list[LinkedBlock]:
    """Returns a shard's final blocks in height order; rows that do not follow or hold are passed over."""
    identity = identity_of(genesis, shard, None, None)
    found: list[LinkedBlock] = []

    def take(header: BlockHeader, payload: bytes) -> None:
        content = decode_payload(payload)
        found.append(LinkedBlock(shard, header.height, header.slot, content.received, content.sent))

    headers = FinalHeaders(identity.committee, identity.verifier, on_final=take)
    for row in log.rows(shard_topic("blocks", shard), BLOCKS):
        try:
            headers.take_row(row, 0)
        except (WireError, CertificateRejected) as error:
            _logger.warning("a row of blocks.%d is passed over: %s", shard, error)
        headers.forget(headers.height)
    return found


def _place_on_link(
    blocks: Sequence[LinkedBlock], peer: int, height: int, entry: LinkEntry, which: int
) -> int | None:
    """Returns how many words were sent to a peer before an entry of a block; None if the block has no such entry.

    Args:
        blocks: Of one shard, from the first on.
        peer: The other shard.
        height: Of the block.
        entry: The entry.
        which: Of several equal ones: what goes back stands first (0), the block's own last (-1).
    """
    before = 0
    for block in blocks:
        sent = [one for one in block.sent if one.peer == peer]
        if block.height == height:
            places = [place for place, one in enumerate(sent) if one == entry]
            return before + places[which] if places else None
        before += len(sent)
    return None


def _taken(blocks: Sequence[LinkedBlock], peer: int, place: int) -> LinkedBlock | None:
    """Returns the block that took the word at a place of the link from a peer, or None."""
    end = 0
    for block in blocks:
        end += sum(one.peer == peer for one in block.received)
        if place < end:
            return block
    return None


def _arrival(genesis: Genesis, block: LinkedBlock) -> Arrival:
    epoch = genesis.epoch_of(genesis.window_of(block.slot))
    at_millis = genesis.start_millis + block.slot * genesis.slot_micros // 1000
    return Arrival(block.shard, block.height, epoch, at_millis)
