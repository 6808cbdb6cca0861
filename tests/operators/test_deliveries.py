"""The delivery rule by name: all that was sent before the running epoch, or nothing."""

from __future__ import annotations

import hashlib

import pytest

from operators.block_payload import LinkEntry, encode_payload
from operators.deliveries import (
    DELIVERED_TWICE,
    OPEN_DELIVERY,
    PARTIAL_DELIVERY,
    RUNNING_EPOCH,
    UNKNOWN_SOURCE,
    UNSENT_WORD,
    WRONG_ORDER,
    choose_deliveries,
    judge_deliveries,
)
from operators.peer_links import PeerLink, peer_link
from proving.ledger.rules import LedgerParameters
from proving.ledger.state import Ledger, genesis_ledger
from schemas.block import BlockHeader
from schemas.units import PUBLIC_KEY_BYTES, ZERO_WORD
from schemas.wire import Reader, Writer
from tests.operators.shard_history import CHAIN, COMMITTEE, HASHER, SHARD, VERIFIER

OWN = 1
EPOCH_SLOTS = 10
WORDS = tuple(LinkEntry(SHARD, 16, 17, 100 + n, n) for n in range(4))
"""Three are sent in epoch 0 of the peer, the last in its epoch 1."""


def _link() -> PeerLink:
    return peer_link(COMMITTEE, VERIFIER, OWN, HASHER, lambda slot: slot // EPOCH_SLOTS)


def _sends(link: PeerLink, height: int, slot: int, words: tuple[LinkEntry, ...]) -> None:
    """Lets the peer make a final block that sends words here."""
    sent = [LinkEntry(OWN, w.sender, w.recipient, w.amount, w.nonce) for w in words]
    payload = encode_payload([], (), sent)
    digest = hashlib.sha256(payload).digest()
    header = BlockHeader(
        CHAIN, SHARD, 0, height, slot, height, height - 1, link.headers.tip, digest,
        ZERO_WORD, ZERO_WORD, 0, 0,
    )  # fmt: skip
    assert link.headers.on_final is not None
    link.headers.on_final(header, payload)


@pytest.fixture
def link() -> PeerLink:
    found = _link()
    _sends(found, 1, 3, WORDS[:2])
    _sends(found, 2, 9, WORDS[2:3])
    _sends(found, 3, 12, WORDS[3:])
    return found


def _ledger() -> Ledger:
    return genesis_ledger(
        LedgerParameters(CHAIN, OWN, shards=2), HASHER, bytes([1]) * PUBLIC_KEY_BYTES
    )


def _after(count: int) -> Ledger:
    ledger = _ledger()
    ledger.execute_block([w.inbound(CHAIN, OWN) for w in WORDS[:count]], 1, 10, 1)
    return ledger


def _judge(
    link: PeerLink,
    received: tuple[LinkEntry, ...],
    ledger: Ledger | None = None,
    open_peers: frozenset[int] = frozenset(),
    epochs: tuple[int, int] = (1, 1),
    *,
    is_full: bool = False,
) -> str:
    found = judge_deliveries(
        {SHARD: link}, ledger or _ledger(), open_peers, received, epochs=epochs, is_full=is_full
    )
    return found.invalid or found.missing or ",".join(map(str, found.open_peers))


def test_all_words_of_closed_epochs_or_none_are_valid(link: PeerLink) -> None:
    assert _judge(link, WORDS[:3]) == ""
    assert _judge(link, ()) == ""
    assert choose_deliveries({SHARD: link}, _ledger(), frozenset(), 1, 100) == list(WORDS[:3])


@pytest.mark.parametrize(
    ("received", "reason"),
    [
        (WORDS[:2], PARTIAL_DELIVERY),
        (WORDS[:4], RUNNING_EPOCH),
        ((WORDS[1], WORDS[0], WORDS[2]), WRONG_ORDER),
        ((*WORDS[:3], WORDS[2]), DELIVERED_TWICE),
        ((*WORDS[:2], LinkEntry(SHARD, 16, 17, 10**9, 2)), UNSENT_WORD),
        ((*WORDS[:2], LinkEntry(SHARD, 16, 18, 102, 2)), UNSENT_WORD),
        ((LinkEntry(5, 16, 17, 1, 0),), UNKNOWN_SOURCE),
    ],
    ids=["part", "running", "order", "twice", "amount", "recipient", "source"],
)
def test_another_delivery_is_refused_by_name(
    link: PeerLink, received: tuple[LinkEntry, ...], reason: str
) -> None:
    assert _judge(link, received) == reason


def test_a_word_is_not_delivered_in_a_second_block(link: PeerLink) -> None:
    assert _judge(link, WORDS[:3], _after(3)) == DELIVERED_TWICE


def test_a_delivery_waits_until_the_peers_epoch_is_seen_closed() -> None:
    running = _link()
    _sends(running, 1, 3, WORDS[:2])
    assert _judge(running, WORDS[:2]) == f"blocks.{SHARD}"


def test_a_large_delivery_goes_on_in_full_blocks_of_the_same_epoch(link: PeerLink) -> None:
    assert _judge(link, WORDS[:2], is_full=True) == str(SHARD)
    is_open = frozenset({SHARD})
    assert _judge(link, WORDS[2:3], _after(2), is_open) == ""
    assert _judge(link, WORDS[2:3], _after(2), is_open, (1, 2)) == OPEN_DELIVERY
    assert _judge(link, (), _after(2), is_open, (1, 2)) == OPEN_DELIVERY


def test_a_link_comes_back_from_its_snapshot(link: PeerLink) -> None:
    writer = Writer()
    link.write(writer)
    again = _link()
    again.read(Reader(writer.finish(), "link"))
    assert (again.words, again.heads, again.ends) == (link.words, link.heads, link.ends)
    assert _judge(again, WORDS[:3], is_full=False) == ""
