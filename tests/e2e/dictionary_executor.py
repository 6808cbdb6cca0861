"""A second opinion on the ledger: the raw log executed with dictionaries, nothing of `proving` imported.

    python -m tests.e2e.dictionary_executor DATA

prints balances' hash and the supply; exits 1 when a final block breaks a rule.
"""

from __future__ import annotations

import hashlib
import sys
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from operators.block_payload import decode_payload
from operators.event_log import EventLog, open_log
from operators.topic_view import TopicView
from schemas.block import header_from_bytes
from schemas.errors import WireError
from schemas.tables import BLOCKS, TRANSACTIONS
from schemas.transactions import Transaction, TransactionKind, decode_body

CAP = 2**60 - 1
RESERVE, POOL, FIRST = 0, 1, 16
UNITS_PER_FEE = 1000


@dataclass
class Books:
    """Balances and nonces by account index."""

    balances: dict[int, int] = field(default_factory=lambda: defaultdict(int, {RESERVE: CAP}))
    nonces: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    addresses: list[bytes] = field(default_factory=list)
    executed: int = 0

    def execute(self, body: Transaction, slot: int) -> None:
        """Books one transaction; an AssertionError names the rule that it breaks."""
        known = range(FIRST, FIRST + len(self.addresses))
        assert body.nonce == self.nonces[body.sender], "nonce"
        assert body.expiry >= slot, "expiry"
        self.nonces[body.sender] += 1
        self.executed += 1
        if body.kind is TransactionKind.REGISTER:
            assert body.sender == RESERVE, "only the issuer registers"
            assert body.address not in self.addresses, "address is taken"
            self.addresses.append(body.address)
            return
        assert body.recipient in known, "recipient"
        if body.kind is TransactionKind.TRANSFER:
            assert body.sender in known, "sender"
            fee = body.fee * UNITS_PER_FEE
            self.balances[POOL] += fee
            self.balances[body.sender] -= fee
        else:
            assert body.kind is TransactionKind.ISSUE, "kind"
            assert body.sender == RESERVE, "only the issuer issues"
        self.balances[body.sender] -= body.amount
        self.balances[body.recipient] += body.amount
        assert self.balances[body.sender] >= 0, "overdraft"

    @property
    def supply_holds(self) -> bool:
        """Whether every unit is somewhere."""
        return sum(self.balances.values()) == CAP

    def digest(self) -> str:
        """SHA-256 over every account's balance and nonce."""
        lines = [
            f"{index}:{self.balances[index]}:{self.nonces[index]}"
            for index in (RESERVE, POOL, *range(FIRST, FIRST + len(self.addresses)))
        ]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def execute_log(log: EventLog, shard: int = 0) -> Books:
    """Executes every final block of a shard."""
    view = TopicView(log)
    stored: dict[tuple[int, int], bytes] = {}
    rows: dict[int, int] = defaultdict(int)
    for record, row in view.placed_rows(f"tx.{shard}", TRANSACTIONS):
        stored[record.offset, rows[record.offset]] = row["body"]
        rows[record.offset] += 1
    books = Books()
    height, tip = 0, b""
    for block in view.rows(f"blocks.{shard}", BLOCKS):
        try:
            header = header_from_bytes(block["header"])
        except WireError:
            continue  # anyone may have written it
        if header.height != height + 1 or (tip and header.parent_hash != tip):
            continue
        height, tip = header.height, header.block_hash()
        for body in _bodies(stored, block["payload"]):
            books.execute(body, header.slot)
    return books


def _bodies(stored: dict[tuple[int, int], bytes], payload: bytes) -> Iterable[Transaction]:
    for reference in decode_payload(payload).references:
        body = stored[reference.offset, reference.row]
        assert hashlib.sha256(body).digest() == reference.digest, "digest"
        yield decode_body(body)


def main() -> int:
    """Executes the log of a data directory."""
    data = Path(sys.argv[1])
    books = execute_log(open_log(f"sqlite:///{data / 'log.sqlite'}"))
    lines = (
        f"{books.executed} transactions, {len(books.addresses)} accounts, {books.digest()}",
        f"issued {CAP - books.balances[RESERVE]}, pool {books.balances[POOL]}",
        "the supply holds" if books.supply_holds else "the supply DOES NOT hold",
    )
    sys.stdout.write("\n".join(lines) + "\n")
    return 0 if books.supply_holds else 1


if __name__ == "__main__":
    sys.exit(main())
