"""What one batch of the feed adds to its window: small, and named by its place, so that counting it twice changes nothing."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from operators.analytics_feed import ClosedWindow, FeedBatch, FeedItem, FeedPosition, Source
from operators.block_payload import TransactionReference, decode_payload
from operators.consensus_messages import decode_message
from operators.event_log import EventLog
from operators.record_input import input_of
from schemas.block import Vote, header_from_bytes
from schemas.errors import InvariantError, WireError
from schemas.tables import TRANSACTIONS, SchemaRegistry
from schemas.topics import shard_topic
from schemas.transactions import TransactionKind, decode_body

MARK_BYTES = 8
"""Bytes kept of a digest to find equal ones: among 10^6 digests two begin alike by chance once in 4 * 10^7 windows."""

FETCH_RECORDS = 64
"""Records of `tx.<shard>` read at once."""

FETCH_GAP = 16
"""Records between two wanted ones that are read along."""

ValueCounts = tuple[tuple[int, int], ...]
"""Values, rising, and how often each occurs."""

PartKey = tuple[str, int, int]
"""Source, offset and row."""


@dataclass(frozen=True, slots=True)
class KindCounts:
    """Executed transactions of one kind.

    Attributes:
        kind: The kind.
        transactions: Their number.
        amount: Units of 1e-9 ECLIPT.
        fees: Fees, units of 1e-6 ECLIPT.
        latencies: From submission to certificate, milliseconds.
    """

    kind: TransactionKind
    transactions: int
    amount: int
    fees: ValueCounts
    latencies: ValueCounts


@dataclass(frozen=True, slots=True)
class BlockPart:
    """One certified block.

    Attributes:
        height: Its height.
        view: Its view.
        block_hash: Its hash.
        is_rival: Whether it is not in the chain that was followed; then it adds to nothing else.
        entries: What it executes: its own transactions and words from other shards.
        payload_bytes: Size of its payload.
        finality_millis: From its proposal to its certificate.
        sent: Words to other shards and their amount.
        received: Words from other shards and their amount.
        kinds: Its own transactions.
        marks: The first `MARK_BYTES` of their digests.
    """

    height: int
    view: int
    block_hash: bytes
    is_rival: bool
    entries: int = 0
    payload_bytes: int = 0
    finality_millis: int = 0
    sent: tuple[int, int] = (0, 0)
    received: tuple[int, int] = (0, 0)
    kinds: tuple[KindCounts, ...] = ()
    marks: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class VoteMark:
    """A vote, without its signature.

    Attributes:
        signer: Who says to have signed it.
        view: Its view.
        phase: Number of its phase.
        ballot: The first `MARK_BYTES` of the ballot's SHA-256.
        row: Row within the record.
    """

    signer: int
    view: int
    phase: int
    ballot: int
    row: int


@dataclass(frozen=True, slots=True)
class CountPart:
    """How many rows have which labels: stage and reason of dead letters, nothing of receipts."""

    counts: tuple[tuple[tuple[str, ...], int], ...]


@dataclass(frozen=True, slots=True)
class VotePart:
    """The votes of a record."""

    votes: tuple[VoteMark, ...]


@dataclass(frozen=True, slots=True)
class ClosingPart:
    """The window is closed; without it a window is not counted."""

    next: FeedPosition


Part = BlockPart | CountPart | VotePart | ClosingPart

Parts = dict[PartKey, Part]
"""What a window has, by place."""

Fetch = Callable[[int, Sequence[TransactionReference]], Iterable[tuple[bytes, int]]]
"""Returns body and submission time of the transactions that a block of a shard refers to, in order."""


def mark_of(digest: bytes) -> int:
    """Returns the part of a digest that is kept."""
    return int.from_bytes(digest[:MARK_BYTES], "big")


def part_of(item: FeedItem, fetch: Fetch) -> tuple[PartKey, Part]:
    """Returns what an item of a feed adds to its window.

    Raises:
        InvariantError: A final block refers to what the log lacks.
    """
    if isinstance(item, ClosedWindow):
        return ("closing", item.window, 0), ClosingPart(item.next)
    key = (item.source.value, item.offset, item.row)
    if item.source is Source.VOTES:
        return key, _votes(item)
    if item.source is Source.REJECTED:
        labels = zip(item.batch["stage"].to_pylist(), item.batch["reason"].to_pylist(), strict=True)
        return key, CountPart(tuple(sorted(Counter(labels).items())))
    if item.source is Source.RECEIPTS:
        return key, CountPart((((), item.batch.num_rows),))
    return key, _block(item, fetch)


def _votes(item: FeedBatch) -> VotePart:
    found = []
    for row, message in enumerate(item.batch["message"].to_pylist()):
        try:
            vote = decode_message(message)
        except WireError:
            continue
        if isinstance(vote, Vote) and vote.ballot.shard == item.shard:
            ballot = vote.ballot
            mark = mark_of(hashlib.sha256(ballot.to_bytes()).digest())
            found.append(VoteMark(vote.signer, ballot.view, int(ballot.phase), mark, row))
    return VotePart(tuple(found))


def _block(item: FeedBatch, fetch: Fetch) -> BlockPart:
    (row,) = item.batch.to_pylist()
    header = header_from_bytes(row["header"])  # the columns beside it are nobody's word
    place = (header.height, header.view, header.block_hash())
    if item.source is Source.RIVALS:
        return BlockPart(*place, is_rival=True)
    payload = decode_payload(row["payload"])
    amounts: dict[TransactionKind, int] = defaultdict(int)
    fees: dict[TransactionKind, list[int]] = defaultdict(list)
    latencies: dict[TransactionKind, list[int]] = defaultdict(list)
    for body, submitted_millis in fetch(item.shard, payload.references):
        transaction = decode_body(body)
        amounts[transaction.kind] += transaction.amount
        fees[transaction.kind].append(transaction.fee)
        latencies[transaction.kind].append(row["certified_millis"] - submitted_millis)
    kinds = [
        KindCounts(
            kind, len(paid), amounts[kind], value_counts(paid), value_counts(latencies[kind])
        )
        for kind, paid in sorted(fees.items())
    ]
    return BlockPart(
        *place,
        is_rival=False,
        entries=header.transaction_count,
        payload_bytes=len(row["payload"]),
        finality_millis=row["certified_millis"] - row["proposed_millis"],
        sent=(len(payload.sent), sum(entry.amount for entry in payload.sent)),
        received=(len(payload.received), sum(entry.amount for entry in payload.received)),
        kinds=tuple(kinds),
        marks=tuple(mark_of(one.digest) for one in payload.references),
    )


def value_counts(values: Iterable[int]) -> ValueCounts:
    """Returns values, rising, with how often each occurs."""
    return tuple(sorted(Counter(values).items()))


def merge_counts(many: Iterable[ValueCounts]) -> ValueCounts:
    """Returns the counts of all."""
    total: Counter[int] = Counter()
    for counts in many:
        total.update(dict(counts))
    return tuple(sorted(total.items()))


def nearest_rank(counts: ValueCounts, percent: int) -> int | None:
    """Returns the least value that at least so many percent of the values do not exceed; None of nothing."""
    total = sum(count for _, count in counts)
    below = 0
    for value, count in counts:
        below += count
        if below * 100 >= total * percent:
            return value
    return None


@dataclass(frozen=True, slots=True)
class ReferencedTransactions:
    """Reads the transactions of blocks from a log.

    Attributes:
        log: The log.
        registry: Schemas that can be read.
    """

    log: EventLog
    registry: SchemaRegistry

    def fetch(
        self, shard: int, references: Sequence[TransactionReference]
    ) -> Iterator[tuple[bytes, int]]:
        """See `Fetch`.

        Raises:
            InvariantError: The log lacks one of them, or holds other bytes there.
        """
        topic = shard_topic("tx", shard)
        wanted = defaultdict(list)
        for place, one in enumerate(references):
            wanted[one.offset].append((place, one))
        found: dict[int, tuple[bytes, int]] = {}
        for start, count in _runs(sorted(wanted)):
            for record in self.log.read(topic, start, count):
                if record.offset not in wanted:
                    continue
                batch = input_of(record, TRANSACTIONS, self.registry).batch
                for place, one in wanted[record.offset]:
                    if batch is not None and one.row < batch.num_rows:
                        body = batch["body"][one.row].as_py()
                        if hashlib.sha256(body).digest() == one.digest:
                            found[place] = (body, batch["submitted_millis"][one.row].as_py())
        for place, one in enumerate(references):
            if place not in found:
                raise InvariantError(
                    f"a final block refers to transaction {one.offset}/{one.row}, which {topic} lacks"
                )
            yield found[place]


def _runs(offsets: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yields (first offset, number of offsets) of reads that cover rising offsets."""
    start = end = -1
    for offset in offsets:
        if end >= 0 and offset - end <= FETCH_GAP and offset - start < FETCH_RECORDS:
            end = offset
            continue
        if end >= 0:
            yield start, end - start + 1
        start = end = offset
    if end >= 0:
        yield start, end - start + 1
