"""Admitted transactions that wait for a block, in log order.

A validator keeps them only as candidates: it judges every transaction of a block itself. Transactions are read up to
the last one that has a verdict; what admission has not looked at stays on the log, however much that is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from operators.stage import Input
from operators.transaction_store import StoredTransaction, TransactionStore, rows_of
from proving.ledger.state import Ledger
from schemas.errors import WireError
from schemas.rejection import RejectionReason
from schemas.transactions import Transaction

Place = tuple[int, int]
"""Offset of a record on `tx.<shard>` and row within it."""

Fetch = Callable[[int], Input | None]
"""Reads a record of `tx.<shard>` again; None when the log does not hold it."""

ReadUpTo = Callable[[int, int], Sequence[Input]]
"""Reads the records of `tx.<shard>` from an offset to another one, both included."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A transaction that may enter a block.

    Attributes:
        stored: Its row.
        transaction: Its body, decoded.
        verdict_offset: Offset on `admitted.<shard>` of the record that admits it.
    """

    stored: StoredTransaction
    transaction: Transaction
    verdict_offset: int


@dataclass(slots=True)
class Mempool:
    """What waits, and the rows that blocks refer to.

    Attributes:
        fetch: Reads a record that is held no more, or not yet.
        store: Rows that are not settled.
        candidates: Admitted and not final, by place, in log order.
        unseen: (verdict bitmap, offset of the verdict) of records that have not arrived, by offset.
        settled: Rows that are final or given up, by offset, as far back as anything waits.
        read_up_to: Reads the records that verdicts speak of; None where they are given.
    """

    fetch: Fetch
    store: TransactionStore = field(default_factory=TransactionStore)
    candidates: dict[Place, Candidate] = field(default_factory=dict)
    unseen: dict[int, tuple[bytes, int]] = field(default_factory=dict)
    settled: dict[int, set[int]] = field(default_factory=dict)
    read_up_to: ReadUpTo | None = None
    _fetched: tuple[int, dict[int, StoredTransaction] | None] = (-1, None)

    def take_transactions(self, record: Input) -> None:
        """Takes a record of `tx.<shard>`."""
        self.store.add(record)
        for row in self.settled.get(record.offset, ()):
            self.store.rows.pop((record.offset, row), None)
        found = self.unseen.pop(record.offset, None)
        if found is not None:
            self._admit(record.offset, *found)

    def take_verdicts(self, record: Input) -> None:
        """Takes a record of `admitted.<shard>` and reads what it speaks of; what was refused is held no longer."""
        if record.batch is None:
            return
        rows = record.batch.to_pylist()
        self._read_up_to({row["source_offset"] for row in rows})
        for row in rows:
            offset, verdicts = row["source_offset"], row["verdicts"]
            if offset >= self.store.end:
                self.unseen[offset] = (verdicts, record.offset)
            else:
                self._admit(offset, verdicts, record.offset)

    def find(self, place: Place) -> StoredTransaction | None:
        """Returns a row, from the log if it is not held; None when it is not there."""
        held = self.store.rows.get(place)
        if held is not None:
            return held
        return (self._rows(place[0]) or {}).get(place[1])

    def is_past(self, offset: int) -> bool:
        """Says whether a record is there, so that a row it lacks will never come."""
        return offset < self.store.end or self._rows(offset) is not None

    def includable(
        self, ledger: Ledger, excluded: set[Place], slot: int, limit: int
    ) -> Iterator[Candidate]:
        """Yields candidates in log order whose nonce and expiry fit a branch, at most `limit`."""
        nonces: dict[int, int] = {}
        count = 0
        for place, candidate in self.candidates.items():
            if count >= limit:
                return
            transaction = candidate.transaction
            sender = transaction.sender
            nonce = nonces.get(sender)
            if nonce is None:
                nonce = ledger.account(sender).nonce
            if place not in excluded and transaction.nonce == nonce and slot <= transaction.expiry:
                nonces[sender] = nonce + 1
                count += 1
                yield candidate

    def settle(self, places: set[Place]) -> None:
        """Forgets transactions that are final."""
        for place in places:
            self.candidates.pop(place, None)
            self.store.rows.pop(place, None)
            self.settled.setdefault(place[0], set()).add(place[1])

    def hopeless(
        self, ledger: Ledger, slot: int
    ) -> Iterator[tuple[Place, Candidate, RejectionReason]]:
        """Yields candidates that can never enter a block above this state and slot.

        They have expired, their nonce is spent, or an earlier transaction of their sender is gone.
        """
        expected: dict[int, int] = {}
        for place, candidate in self.candidates.items():
            transaction = candidate.transaction
            sender = transaction.sender
            if sender not in expected:
                expected[sender] = ledger.account(sender).nonce
            reason = hopeless_reason(transaction, expected[sender], slot)
            if reason is None:
                expected[sender] += 1
            else:
                yield place, candidate, reason

    def expire(self, ledger: Ledger, slot: int) -> list[tuple[Candidate, RejectionReason]]:
        """Removes and returns what is hopeless above a state and slot."""
        gone = list(self.hopeless(ledger, slot))
        self.settle({place for place, _, _ in gone})
        return [(candidate, reason) for _, candidate, reason in gone]

    def forget_settled(self) -> tuple[int, int]:
        """Forgets settled places that lie before everything that waits.

        Returns:
            The offsets from which `tx.<shard>` and `admitted.<shard>` must be read again to restore what
            waits; the second is -1 when nothing admitted waits.
        """
        first = min((place[0] for place in self.store.rows), default=self.store.end)
        first = min([first, *self.unseen])
        self.settled = {at: rows for at, rows in self.settled.items() if at >= first}
        verdicts = [candidate.verdict_offset for candidate in self.candidates.values()]
        verdicts += [offset for _, offset in self.unseen.values()]
        return first, min(verdicts, default=-1)

    def _rows(self, offset: int) -> dict[int, StoredTransaction] | None:
        """Reads a record again; the last one is remembered, since a block refers to its rows one by one."""
        at, rows = self._fetched
        if rows is None or at != offset:
            record = self.fetch(offset)
            rows = None if record is None else {stored.row: stored for stored in rows_of(record)}
            self._fetched = (offset, rows)
        return rows

    def _read_up_to(self, judged: set[int]) -> None:
        """Reads the records that have a verdict now; one between them has none and will get none."""
        if self.read_up_to is None or max(judged, default=-1) < self.store.end:
            return
        for record in self.read_up_to(self.store.end, max(judged)):
            if record.offset in judged or record.offset in self.unseen:
                self.take_transactions(record)
            else:
                self.store.end = record.offset + 1

    def _admit(self, offset: int, verdicts: bytes, verdict_offset: int) -> None:
        rows = self.store.rows
        for row in range(8 * len(verdicts)):
            stored = rows.get((offset, row))
            if stored is None:
                continue
            is_admitted = verdicts[row // 8] >> (row % 8) & 1
            transaction = _decoded(stored) if is_admitted else None
            if transaction is None:
                del rows[offset, row]
            else:
                self.candidates[offset, row] = Candidate(stored, transaction, verdict_offset)


def _decoded(stored: StoredTransaction) -> Transaction | None:
    try:
        return stored.decode()
    except WireError:
        return None


def hopeless_reason(transaction: Transaction, nonce: int, slot: int) -> RejectionReason | None:
    """Returns why no block above a state can hold a transaction, or None while one may.

    Args:
        transaction: What waits.
        nonce: Its sender's nonce in that state, after those that wait before it and may enter a block.
        slot: Slot of the state.
    """
    if transaction.expiry < slot:
        return RejectionReason.EXPIRED
    if transaction.nonce < nonce:
        return RejectionReason.NONCE_REPLAY
    if transaction.nonce > nonce:
        return RejectionReason.NONCE_GAP
    return None
