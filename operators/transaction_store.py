"""The transactions of `tx.<shard>` by place, as every stage after admission looks them up.

Only the bytes are kept here; whether a transaction is valid is its user's business. A record that cannot be
decoded has no rows. Rows are dropped when they are settled; what is still held is bounded by what waits.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from operators.block_payload import TransactionReference
from operators.stage import Input
from schemas.errors import WireError
from schemas.transactions import Transaction, decode_body
from schemas.units import SIGNATURE_BYTES

CLAIM_MILLIS = 60_000
"""How long before the log stored it a transaction can have been sent and be believed: a sender that was held up for so long
counts that, one that says more is not believed at all."""


def believed_millis(claimed: int, appended: int) -> int:
    """Returns when a transaction was sent, as far as its sender is believed; else when it was stored. UTC milliseconds."""
    return claimed if appended - CLAIM_MILLIS <= claimed <= appended else appended


@dataclass(frozen=True, slots=True)
class StoredTransaction:
    """One row of a record of `tx.<shard>`.

    Attributes:
        offset: Offset of the record.
        row: Row within it.
        body: The sender's bytes, canonical or not.
        signature: The sender's signature bytes.
        submitted_millis: When it was sent, says the sender; UTC milliseconds.
        append_millis: When the log stored it, UTC milliseconds.
    """

    offset: int
    row: int
    body: bytes
    signature: bytes
    submitted_millis: int
    append_millis: int

    @property
    def sent_millis(self) -> int:
        """When it was sent, as far as the sender is believed; UTC milliseconds."""
        return believed_millis(self.submitted_millis, self.append_millis)

    @property
    def digest(self) -> bytes:
        """SHA-256 of the body."""
        return hashlib.sha256(self.body).digest()

    @property
    def reference(self) -> TransactionReference:
        """Its reference in a block."""
        return TransactionReference(self.offset, self.row, self.digest)

    def decode(self) -> Transaction:
        """Returns the transaction.

        Raises:
            WireError: Body or signature are not canonical.
        """
        if len(self.signature) != SIGNATURE_BYTES:
            raise WireError("transaction.signature", f"has {SIGNATURE_BYTES} bytes")
        return decode_body(self.body)


@dataclass(slots=True)
class TransactionStore:
    """Rows by (offset, row).

    Attributes:
        rows: What is held.
        end: One more than the highest offset seen, decodable or not.
    """

    rows: dict[tuple[int, int], StoredTransaction] = field(default_factory=dict)
    end: int = 0

    def add(self, record: Input) -> None:
        """Takes a record of `tx.<shard>`; one that was taken before changes nothing."""
        if record.offset < self.end:
            return
        self.end = record.offset + 1
        for stored in rows_of(record):
            self.rows[stored.offset, stored.row] = stored

    def find(self, reference: TransactionReference) -> StoredTransaction | None:
        """Returns the row a reference names, or None when it is absent or has another digest."""
        stored = self.rows.get((reference.offset, reference.row))
        return stored if stored is not None and stored.digest == reference.digest else None

    def is_past(self, reference: TransactionReference) -> bool:
        """Says whether the reference's record was seen, so that an absent row will never come."""
        return reference.offset < self.end

    def drop(self, references: Iterable[TransactionReference]) -> None:
        """Forgets rows that are settled."""
        for reference in references:
            self.rows.pop((reference.offset, reference.row), None)


def rows_of(record: Input) -> Iterator[StoredTransaction]:
    """Yields the rows of a record of `tx.<shard>`; none when it could not be decoded."""
    if record.batch is None:
        return
    columns = (record.batch.column(name).to_pylist() for name in ("body", "signature"))
    times = record.batch.column("submitted_millis").to_pylist()
    for row, (body, signature, submitted) in enumerate(zip(*columns, times, strict=True)):
        yield StoredTransaction(
            record.offset, row, body, signature, submitted, record.append_millis
        )
