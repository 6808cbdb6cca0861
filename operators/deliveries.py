"""Which words of other shards a block takes: the rule that validators hold it to before they vote.

In its epoch e a shard takes all that a peer sent up to the end of the peer's epoch e - 1 and that was not taken
before, or nothing of that peer. What one block cannot hold goes on in the next ones of the same epoch: such a
delivery is open, and no block of a later epoch stands on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from operators.block_payload import LinkEntry
from operators.peer_links import PeerLink, PeerLinks
from proving.ledger.state import Ledger
from schemas.topics import shard_topic
from schemas.units import Array

UNKNOWN_SOURCE = "unknown_source"
OPEN_DELIVERY = "open_delivery"
PARTIAL_DELIVERY = "partial_delivery"
WRONG_ORDER = "wrong_delivery_order"
RUNNING_EPOCH = "word_of_running_epoch"
DELIVERED_TWICE = "word_delivered_twice"
UNSENT_WORD = "word_never_sent"


@dataclass(frozen=True, slots=True)
class Delivery:
    """The verdict on what a block takes.

    Attributes:
        open_peers: Peers whose words the block and those before it have taken in part.
        invalid: Why no such block may be; empty if it may.
        missing: What has not been seen yet that the verdict needs; empty if nothing.
    """

    open_peers: frozenset[int] = frozenset()
    invalid: str = ""
    missing: str = ""


def due_words(link: PeerLink, ledger: Ledger, epoch: int) -> tuple[LinkEntry, ...] | None:
    """Returns what a block of an epoch may take of a peer; None while that is not known."""
    start, end = link.place_of(ledger.link(Array.INB, link.peer)), link.end_before(epoch)
    if start is None or end is None:
        return None
    return link.between(start, end)


def choose_deliveries(
    links: PeerLinks, ledger: Ledger, open_peers: frozenset[int], epoch: int, limit: int
) -> list[LinkEntry]:
    """Returns what a leader puts into a block of an epoch, at most `limit` words; open deliveries first."""
    chosen: list[tuple[LinkEntry, ...]] = []
    room = limit
    for peer in sorted(links, key=lambda number: (number not in open_peers, number)):
        due = (due_words(links[peer], ledger, epoch) or ())[:room]
        room -= len(due)
        chosen.append(due)
    return sorted((word for words in chosen for word in words), key=lambda word: word.peer)


def judge_deliveries(
    links: PeerLinks,
    ledger: Ledger,
    open_peers: frozenset[int],
    received: Sequence[LinkEntry],
    *,
    epochs: tuple[int, int],
    is_full: bool,
) -> Delivery:
    """Judges what a block takes from other shards.

    Args:
        links: What the other shards have sent.
        ledger: The state before the block.
        open_peers: Peers whose words blocks before it have taken in part.
        received: What the block takes; sources rise.
        epochs: Epoch of the block before, and of this one.
        is_full: Whether the block holds as many words as a block may, and nothing else.
    """
    before, epoch = epochs
    if open_peers and epoch > before:
        return Delivery(invalid=OPEN_DELIVERY)
    still_open = set(open_peers)
    for peer, words in groupby(received, lambda word: word.peer):
        link = links.get(peer)
        if link is None:
            return Delivery(invalid=UNKNOWN_SOURCE)
        due = due_words(link, ledger, epoch)
        if due is None:
            return Delivery(missing=shard_topic("blocks", peer))
        found = tuple(words)
        still_open.discard(peer)
        if found != due:
            if not (is_full and found == due[: len(found)]):
                return Delivery(invalid=_why(link, ledger, due, found))
            still_open.add(peer)
    return Delivery(frozenset(still_open))


def _why(
    link: PeerLink, ledger: Ledger, due: tuple[LinkEntry, ...], found: tuple[LinkEntry, ...]
) -> str:
    """Names what is wrong with words that are not those due."""
    sent = link.between(link.base, link.end)
    start = link.place_of(ledger.link(Array.INB, link.peer)) or 0
    if any(word not in sent for word in found):
        return UNSENT_WORD
    done = link.between(link.base, start)
    if len(set(found)) < len(found) or any(word in done for word in found):
        return DELIVERED_TWICE
    if any(word not in due for word in found):
        return RUNNING_EPOCH
    return PARTIAL_DELIVERY if found == due[: len(found)] else WRONG_ORDER
