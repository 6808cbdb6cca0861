"""A transaction's way from its word in TXS to the `history` of a day's statement, with the standard library alone.

Bytes, little-endian: magic and version; the body with its length (u32); the second element of its word (u32), which is
the new account of a registration; its index in TXS (u32); 30 siblings, lowest first; the two histories beside the
list where its window was closed; the further folds of its shard (u16, and for each its place, 0 or 2, and the two
other words); the histories of the other shards, in order (u16 and the words); and the folds of runs (u16, and for each
its place, 0 or 1, and the other word). Why nothing else passes: README.md "Inclusion".
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from proving.ledger.words import transaction_word
from proving.light.errors import ProofMalformed, ProofRejected
from proving.light.flaws import DayFlaw
from proving.light.poseidon2 import ZEROS, compress, hash_words
from schemas.errors import WireError
from schemas.run import RunStatement, WordElements
from schemas.transactions import REGISTER_BODY_BYTES, Transaction, TransactionKind, decode_body
from schemas.units import (
    ARRAY_DEPTH,
    INDEX_LIMIT,
    SHARD_LIMIT,
    WORD_BYTES,
    word_bytes,
    word_elements,
)
from schemas.wire import Reader, Writer

MAGIC = b"ECLI\x01"
"""Format and version."""

MAX_FOLDS = 512
"""Folds of either kind; a join of six has five, and a day of the target clock some thirty."""

MAX_SHARDS = 1024
"""Shards of a chain; bounds the work, 0.2 ms a permutation."""


@dataclass(frozen=True, slots=True)
class HistoryFold:
    """A link of a shard's spans: the row hash of history before, list closed, history after.

    Attributes:
        place: Where our word stands: 0, before the link, or 2, behind it.
        others: The two other words, in order.
    """

    place: int
    others: tuple[WordElements, WordElements]


@dataclass(frozen=True, slots=True)
class RunFold:
    """A link of runs: the row hash of two histories.

    Attributes:
        place: Where our word stands, 0 or 1.
        other: The other word.
    """

    place: int
    other: WordElements


@dataclass(frozen=True, slots=True)
class Inclusion:
    """A path, decoded and not checked.

    Attributes:
        body: The transaction's bytes, without its signature.
        recipient: Second element of its word.
        index: Its place in TXS, < 2^30.
        siblings: 30 words, lowest first.
        closing: History before the list, and history behind it, in the link that closed its window.
        span_folds: Further links of its shard, lowest first.
        shards: Histories of the other shards, in order.
        run_folds: Links of runs, lowest first.
    """

    body: bytes
    recipient: int
    index: int
    siblings: tuple[WordElements, ...]
    closing: tuple[WordElements, WordElements]
    span_folds: tuple[HistoryFold, ...]
    shards: tuple[WordElements, ...]
    run_folds: tuple[RunFold, ...]

    def to_bytes(self) -> bytes:
        """Returns the canonical bytes.

        Raises:
            ParameterError: A number does not fit its field, or a word is none.
        """
        writer = Writer().fixed(MAGIC, len(MAGIC)).sized(self.body)
        writer.u32(self.recipient).u32(self.index)
        for word in (*self.siblings, *self.closing):
            writer.fixed(word_bytes(word), WORD_BYTES)
        writer.u16(len(self.span_folds))
        for link in self.span_folds:
            writer.u8(link.place)
            for word in link.others:
                writer.fixed(word_bytes(word), WORD_BYTES)
        writer.u16(len(self.shards))
        for word in self.shards:
            writer.fixed(word_bytes(word), WORD_BYTES)
        writer.u16(len(self.run_folds))
        for fold in self.run_folds:
            writer.u8(fold.place).fixed(word_bytes(fold.other), WORD_BYTES)
        return writer.finish()


@dataclass(frozen=True, slots=True)
class IncludedTransaction:
    """What a path that holds shows.

    Attributes:
        digest: SHA-256 of the body, hex; None of a registration, whose word does not hold its address and key.
        kind: Kind, by name.
        shard: Its shard.
        index: Its place in its window's list.
        sender: Account index.
        recipient: Account index; of a registration the new account's.
        amount: Units of 1e-9.
        fee: Units of 1e-6.
        nonce: Its nonce.
        expiry: Last slot in which it was valid.
    """

    digest: str | None
    kind: str
    shard: int
    index: int
    sender: int
    recipient: int
    amount: int
    fee: int
    nonce: int
    expiry: int


def decode_inclusion(data: bytes) -> Inclusion:
    """Inverse of `Inclusion.to_bytes`.

    Raises:
        ProofMalformed: Anything else than the canonical bytes of a path.
    """
    try:
        return _read(Reader(data, "inclusion"))
    except WireError as error:
        raise ProofMalformed(DayFlaw.MALFORMED, error.where, "an inclusion", error) from error


def check_inclusion(inclusion: Inclusion, run: RunStatement) -> IncludedTransaction:
    """Checks that a transaction is in a list of a day's run.

    Args:
        inclusion: From `decode_inclusion`.
        run: The day's statement, whose proof and certificate hold.

    Raises:
        ProofRejected: The body is no transaction of this chain, or the path does not end in the run's history.
    """
    transaction = _transaction(inclusion, run)
    word = transaction_word(transaction, inclusion.recipient)
    for level, sibling in enumerate(inclusion.siblings):
        is_right = inclusion.index >> level & 1
        word = compress(sibling, word) if is_right else compress(word, sibling)
    before, behind = inclusion.closing
    word = hash_words(before, word, behind)
    for link in inclusion.span_folds:
        first, second = link.others
        word = hash_words(first, second, word) if link.place else hash_words(word, first, second)
    histories = list(inclusion.shards)
    histories.insert(transaction.shard, word)
    word = ZEROS
    for history in histories:
        word = hash_words(word, history)
    for fold in inclusion.run_folds:
        word = hash_words(fold.other, word) if fold.place else hash_words(word, fold.other)
    if word != run.history:
        wanted, found = word_bytes(run.history).hex(), word_bytes(word).hex()
        raise ProofRejected(DayFlaw.NOT_INCLUDED, "history", wanted, found)
    is_registration = transaction.kind is TransactionKind.REGISTER
    return IncludedTransaction(
        digest=None if is_registration else hashlib.sha256(inclusion.body).hexdigest(),
        kind=transaction.kind.name.lower(),
        shard=transaction.shard,
        index=inclusion.index,
        sender=transaction.sender,
        recipient=inclusion.recipient,
        amount=transaction.amount,
        fee=transaction.fee,
        nonce=transaction.nonce,
        expiry=transaction.expiry,
    )


def _transaction(inclusion: Inclusion, run: RunStatement) -> Transaction:
    try:
        transaction = decode_body(inclusion.body)
    except WireError as error:
        raise ProofRejected(
            DayFlaw.NO_SUCH_TRANSACTION, error.where, "a user's transaction", error
        ) from error
    if transaction.chain != run.chain:
        raise ProofRejected(DayFlaw.OTHER_CHAIN, "body.chain", run.chain, transaction.chain)
    if transaction.shard >= run.shards or len(inclusion.shards) != run.shards - 1:
        shown = (transaction.shard, len(inclusion.shards))
        wanted = f"a shard below {run.shards} and the others' histories"
        raise ProofRejected(DayFlaw.NO_SUCH_TRANSACTION, "shards", wanted, shown)
    is_named = transaction.kind is not TransactionKind.REGISTER
    if is_named and inclusion.recipient != transaction.recipient:
        raise ProofRejected(
            DayFlaw.NO_SUCH_TRANSACTION, "recipient", transaction.recipient, inclusion.recipient
        )
    return transaction


def _read(reader: Reader) -> Inclusion:
    if reader.fixed("magic", len(MAGIC)) != MAGIC:
        raise reader.fail("magic", "is not that of an inclusion")
    body = reader.sized("body", REGISTER_BODY_BYTES)
    recipient, index = (reader.u32(name, INDEX_LIMIT) for name in ("recipient", "index"))
    siblings = _words(reader, "siblings", ARRAY_DEPTH)
    before, behind = _words(reader, "closing", 2)
    span_folds: list[HistoryFold] = []
    for _ in range(reader.u16("span_folds", MAX_FOLDS + 1)):
        place = reader.u8("span_folds.place", 3)
        if place == 1:
            raise reader.fail("span_folds.place", "only a window's list stands in the middle")
        first, second = _words(reader, "span_folds.others", 2)
        span_folds.append(HistoryFold(place, (first, second)))
    shards = _words(reader, "shards", reader.u16("shards", min(MAX_SHARDS, SHARD_LIMIT)))
    run_folds: list[RunFold] = []
    for _ in range(reader.u16("run_folds", MAX_FOLDS + 1)):
        place = reader.u8("run_folds.place", 2)
        (other,) = _words(reader, "run_folds.other", 1)
        run_folds.append(RunFold(place, other))
    reader.finish()
    return Inclusion(
        body,
        recipient,
        index,
        siblings,
        (before, behind),
        tuple(span_folds),
        shards,
        tuple(run_folds),
    )


def _words(reader: Reader, name: str, count: int) -> tuple[WordElements, ...]:
    return tuple(word_elements(word) for word in reader.words(name, count))
