"""What other shards have put on their links to this one, from their certified final blocks alone.

A receiving shard takes, within its epoch e, all that a peer has sent up to the end of the peer's epoch e - 1, or
nothing. The peer's epoch is closed when a final block of it lies in a later one: slots never run back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from operators.block_payload import LinkEntry, decode_payload
from operators.consensus_ports import Verifier
from operators.consensus_votes import Committee
from operators.event_log import EventLog, StoredRecord
from operators.final_headers import FinalHeaders
from proving.backends.port import Hasher
from proving.ledger.state import compress_words
from proving.ledger.words import transaction_word
from schemas.block import BlockHeader
from schemas.tables import SchemaRegistry
from schemas.topics import shard_topic
from schemas.units import AMOUNT_LIMIT, INDEX_LIMIT, ZERO_WORD, word_bytes
from schemas.wire import Reader, Writer

READ_RECORDS = 256
"""Records of a peer's blocks read at once when a node starts."""

NO_EPOCH = -1
KEPT_WORDS = 4096
"""Words that stay known after their delivery, so that a second one is refused by its name."""


@dataclass(slots=True)
class PeerLink:
    """The link from one peer, and how far the peer has taken the link in the other direction.

    Attributes:
        peer: The other shard.
        shard: This one.
        hasher: Where permutations run.
        epoch_of: Shard epoch of a slot.
        headers: The peer's certified blocks.
        base: Words before the first that is held.
        words: Words held, in order.
        heads: Word of the link before each word held and after the last.
        ends: (epoch, number of words sent up to its end) for the peer's epochs that have blocks.
        taken: Word of the link in the other direction, as far as the peer has taken it.
    """

    peer: int
    shard: int
    hasher: Hasher
    epoch_of: Callable[[int], int]
    headers: FinalHeaders
    base: int = 0
    words: list[LinkEntry] = field(default_factory=list)
    heads: list[bytes] = field(default_factory=lambda: [ZERO_WORD])
    ends: list[tuple[int, int]] = field(default_factory=list)
    taken: bytes = ZERO_WORD
    _places: dict[bytes, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Begins to listen."""
        self.headers.on_final = self._take_block
        self._places = {head: self.base + place for place, head in enumerate(self.heads)}

    @property
    def end(self) -> int:
        """Words that the peer has sent so far."""
        return self.base + len(self.words)

    def place_of(self, head: bytes) -> int | None:
        """Returns how many words a link's word stands for; None when the peer was not seen to send that."""
        return self._places.get(head)

    def end_before(self, epoch: int) -> int | None:
        """Returns how many words the peer sent before one of its epochs; None while that may still grow."""
        if not self.ends or self.ends[-1][0] < epoch:
            return None
        return next((end for number, end in reversed(self.ends) if number < epoch), 0)

    def between(self, start: int, end: int) -> tuple[LinkEntry, ...]:
        """Returns words by place, [start, end), as far as they are held."""
        return tuple(self.words[max(0, start - self.base) : max(0, end - self.base)])

    def forget(self, place: int) -> None:
        """Drops words that were delivered long ago."""
        count = place - KEPT_WORDS - self.base
        if count > KEPT_WORDS:
            for head in self.heads[:count]:
                del self._places[head]
            del self.words[:count], self.heads[:count]
            self.base += count

    def write(self, writer: Writer) -> None:
        """Appends what a restart needs."""
        writer.u64(self.headers.height).fixed(self.headers.tip, 32).fixed(self.taken, 32)
        writer.u64(self.base).fixed(self.heads[0], 32).u32(len(self.words))
        for word in self.words:
            writer.u32(word.sender).u32(word.recipient).u64(word.amount).u32(word.nonce)
        writer.u32(len(self.ends))
        for epoch, end in self.ends:
            writer.u32(epoch).u64(end)

    def read(self, reader: Reader) -> None:
        """Takes what `write` has written.

        Raises:
            WireError: The bytes are something else.
        """
        self.headers.height, self.headers.tip = reader.u64("height"), reader.fixed("tip", 32)
        self.taken, self.base = reader.word("taken"), reader.u64("base")
        self.words, self.heads = [], [reader.word("head")]
        self._places = {self.heads[0]: self.base}
        for _ in range(reader.u32("words")):
            sender, recipient = reader.u32("sender", INDEX_LIMIT), reader.u32("to", INDEX_LIMIT)
            amount, nonce = reader.u64("amount", AMOUNT_LIMIT), reader.u32("nonce", INDEX_LIMIT)
            self._append(LinkEntry(self.peer, sender, recipient, amount, nonce))
        self.ends = [(reader.u32("epoch"), reader.u64("end")) for _ in range(reader.u32("ends"))]

    def _take_block(self, header: BlockHeader, payload: bytes) -> None:
        content = decode_payload(payload)
        for entry in content.received:
            if entry.peer == self.shard:
                self.taken = self._next(self.taken, entry, self.peer)
        for entry in content.sent:
            if entry.peer == self.shard:
                self._append(
                    LinkEntry(self.peer, entry.sender, entry.recipient, entry.amount, entry.nonce)
                )
        epoch = self.epoch_of(header.slot)
        if self.ends and self.ends[-1][0] == epoch:
            self.ends.pop()
        self.ends.append((epoch, self.end))
        self.headers.forget(header.height)

    def _append(self, word: LinkEntry) -> None:
        head = self._next(self.heads[-1], word, self.shard)
        self.words.append(word)
        self.heads.append(head)
        self._places[head] = self.end

    def _next(self, head: bytes, entry: LinkEntry, receiver: int) -> bytes:
        inbound = entry.inbound(self.headers.committee.chain, receiver)
        word = word_bytes(transaction_word(inbound, inbound.recipient))
        return compress_words(self.hasher, head, word)


def peer_link(
    committee: Committee,
    verifier: Verifier,
    shard: int,
    hasher: Hasher,
    epoch_of: Callable[[int], int],
    *,
    registry: SchemaRegistry | None = None,
) -> PeerLink:
    """Returns the link to a shard from a peer, as of the genesis; the committee is the peer's."""
    headers = FinalHeaders(committee, verifier, registry=registry or SchemaRegistry())
    return PeerLink(committee.shard, shard, hasher, epoch_of, headers)


PeerLinks = Mapping[int, PeerLink]
"""The links from all other shards, by their number, rising."""


def link_feeds(links: PeerLinks) -> dict[str, Callable[[StoredRecord], None]]:
    """Returns the topics that links are read from and what takes their records."""
    return {shard_topic("blocks", peer): link.headers.take for peer, link in links.items()}


def read_links(log: EventLog, links: PeerLinks, positions: dict[str, int]) -> None:
    """Takes all that the log holds of the peers' blocks, and moves the positions behind it."""
    for topic, take in link_feeds(links).items():
        at = positions.get(topic, 0)
        while records := log.read(topic, at, READ_RECORDS):
            for record in records:
                take(record)
            at = records[-1].offset + 1
        positions[topic] = at


def first_needed(links: PeerLinks, positions: Mapping[str, int]) -> dict[str, int]:
    """Returns where each peer's blocks must be read again from after a snapshot of the links."""
    found = {}
    for peer, link in links.items():
        topic = shard_topic("blocks", peer)
        first = link.headers.first_open
        found[topic] = positions.get(topic, 0) if first is None else first
    return found
