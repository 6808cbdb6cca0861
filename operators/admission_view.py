"""The state that admission judges by: the last final block it was given, and above it all that is admitted and waits.

So it is judged as validators judge their candidates. A transaction that no block can hold any more leaves, and with it
what it did: the accounts are those of the block again, with what else waits executed on them in log order.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from operators.block_payload import TransactionReference, decode_payload
from operators.consensus_votes import CertificateRejected
from operators.final_headers import FinalHeaders
from operators.mempool import Place, hopeless_reason
from proving.ledger.rules import (
    EMPTY_ACCOUNT,
    Account,
    Effects,
    LedgerParameters,
    apply,
    genesis_accounts,
    receive,
)
from schemas.block import BlockHeader
from schemas.errors import InvariantError, WireError
from schemas.rejection import RejectionReason
from schemas.transactions import REGISTER_BODY_BYTES, Transaction, decode_body
from schemas.units import (
    ADDRESS_BYTES,
    FIRST_ACCOUNT,
    INDEX_LIMIT,
    PUBLIC_KEY_BYTES,
    SUPPLY_CAP,
    ReservedCell,
)
from schemas.wire import Reader, Writer

SNAPSHOT_VERSION = 3

DIGEST_BYTES = 32

Find = Callable[[Sequence[TransactionReference]], Iterable[Transaction]]
"""Reads transactions that a final block holds and admission did not let in, in the same order."""


class Waiting(NamedTuple):
    """An admitted transaction that is in no block yet.

    Attributes:
        transaction: Its body.
        key: SHA-256 of the public key that it was verified with.
    """

    transaction: Transaction
    key: bytes


@dataclass(slots=True)
class Accounts:
    """Account cells and registered accounts, whole or as changes above others; a `proving.ledger.rules.LedgerView`.

    Attributes:
        below: What these are changes of, or None.
        cells: Account cells that were written.
        addresses: Addresses registered here, in order.
        keys: Their public keys.
    """

    below: Accounts | None = None
    cells: dict[int, Account] = field(default_factory=dict)
    addresses: list[bytes] = field(default_factory=list)
    keys: list[bytes] = field(default_factory=list)
    _known_addresses: set[bytes] = field(default_factory=set)
    _known_keys: set[bytes] = field(default_factory=set)

    @property
    def num_keys(self) -> int:
        """The index that the next registration gets."""
        first = FIRST_ACCOUNT if self.below is None else self.below.num_keys
        return first + len(self.keys)

    def account(self, index: int) -> Account:
        """Returns an account cell; zeros where nothing was written."""
        found = self.cells.get(index)
        if found is None:
            found = EMPTY_ACCOUNT if self.below is None else self.below.account(index)
        return found

    def has_address(self, address: bytes) -> bool:
        """Whether an account with this address is registered."""
        is_below = self.below is not None and self.below.has_address(address)
        return is_below or address in self._known_addresses

    def has_public_key(self, public_key: bytes) -> bool:
        """Whether this public key is registered."""
        is_below = self.below is not None and self.below.has_public_key(public_key)
        return is_below or public_key in self._known_keys

    def key_of(self, index: int) -> bytes | None:
        """Returns the public key of a registered account, or None."""
        first = FIRST_ACCOUNT if self.below is None else self.below.num_keys
        if index < first:
            return None if self.below is None else self.below.key_of(index)
        return self.keys[index - first] if index < self.num_keys else None

    def execute(self, transaction: Transaction, effects: Effects) -> None:
        """Takes in a valid transaction."""
        for touch in effects.touches:
            if touch.step.moves:
                self.cells[touch.cell] = touch.new
        if effects.new_account is not None:
            self.register(transaction.address, transaction.public_key)

    def register(self, address: bytes, public_key: bytes) -> None:
        """Opens the next account."""
        self.addresses.append(address)
        self.keys.append(public_key)
        self._known_addresses.add(address)
        self._known_keys.add(public_key)


@dataclass(slots=True)
class AdmissionView:
    """Accounts as of a final block, and what is admitted above it.

    Attributes:
        issuer_key: Key of the reserve account.
        parameters: Constants of the shard's ledger; a least fee is for who admits, and final blocks may know another.
        headers: Certified headers of the shard, as far as they were taken.
        final: Accounts after the last of them.
        slot: Slot of the last of them.
        blocks_end: Offset after the last record of `blocks.<shard>` that was taken.
        pending: Admitted and in none of these blocks, in log order.
        early: What these blocks hold although it was not judged yet: a corrupt leader can propose it.
        ahead: Accounts after executing `pending` on `final`.
        next_offset: Offset after the last record of `tx.<shard>` that was judged.
    """

    issuer_key: bytes
    parameters: LedgerParameters
    headers: FinalHeaders = field(compare=False)
    final: Accounts
    slot: int = 0
    blocks_end: int = 0
    pending: dict[Place, Waiting] = field(default_factory=dict)
    early: set[Place] = field(default_factory=set)
    ahead: Accounts = field(default_factory=Accounts)
    next_offset: int = 0
    _is_stale: bool = False

    def __post_init__(self) -> None:
        """Puts what waits above the final accounts."""
        self.ahead = Accounts(self.final)

    @property
    def height(self) -> int:
        """Height of the last final block taken."""
        return self.headers.height

    def key_of(self, index: int) -> bytes | None:
        """Returns the public key that must have signed for an account, or None for an unknown one."""
        return self.issuer_key if index == ReservedCell.RESERVE else self.ahead.key_of(index)

    def admit(self, place: Place, transaction: Transaction, effects: Effects) -> None:
        """Takes in a transaction that is valid after all that waits."""
        self.pending[place] = Waiting(transaction, _digest(self.key_of(transaction.sender)))
        self.ahead.execute(transaction, effects)

    def take_blocks(self, rows: Iterable[Mapping[str, Any]], offset: int, find: Find) -> list[str]:
        """Takes a record of `blocks.<shard>`; returns why rows were passed over. `refresh` is to follow.

        Args:
            rows: Its rows.
            offset: Its offset; one that was taken before changes nothing.
            find: Reads what `pending` lacks.

        Raises:
            InvariantError: A final block does not execute.
        """
        problems: list[str] = []
        if offset < self.blocks_end:
            return problems
        self.blocks_end = offset + 1
        found: list[tuple[BlockHeader, bytes]] = []
        self.headers.on_final = lambda header, payload: found.append((header, payload))
        for row in rows:
            try:
                self.headers.take_row(row, offset)
            except (WireError, CertificateRejected) as error:
                problems.append(str(error))
        for header, payload in found:
            self._finalize(header, payload, find)
            self.headers.forget(header.height)
        self._is_stale = self._is_stale or bool(found)
        return problems

    def refresh(self) -> None:
        """Forgets what is hopeless and executes the rest anew, if blocks have come."""
        if self._is_stale:
            self._is_stale = False
            self._forget_hopeless()
            self.replay()

    def replay(self) -> None:
        """Executes what waits on the final accounts.

        What cannot be executed for now, for want of funds, waits on and holds its nonce alone, as it does at validators. What was
        signed with a key that is its sender's no more leaves: the number went to another when a registration before was forgotten.
        """
        self.ahead = Accounts(self.final)
        for place, (transaction, key) in list(self.pending.items()):
            if _digest(self.key_of(transaction.sender)) != key:
                del self.pending[place]
                continue
            # what waits was judged by time once; it leaves by `hopeless_reason`
            effects = apply(self.ahead, transaction, transaction.expiry, self.parameters)
            if isinstance(effects, RejectionReason):
                self._hold_nonce(transaction)
            else:
                self.ahead.execute(transaction, effects)

    def _hold_nonce(self, transaction: Transaction) -> None:
        account = self.ahead.account(transaction.sender)
        if account.nonce == transaction.nonce:
            self.ahead.cells[transaction.sender] = account._replace(nonce=account.nonce + 1)

    def encode(self) -> bytes:
        """Returns canonical bytes."""
        writer = Writer().u8(SNAPSHOT_VERSION).fixed(self.issuer_key, PUBLIC_KEY_BYTES)
        writer.u64(self.next_offset).u64(self.height).fixed(self.headers.tip, 32).u64(self.slot)
        writer.u64(self.blocks_end)
        self.headers.write_claimed(writer)
        writer.u32(len(self.final.cells))
        for index, account in sorted(self.final.cells.items()):
            writer.u32(index).u64(account.balance).u32(account.nonce)
        writer.u32(len(self.final.keys))
        for address, key in zip(self.final.addresses, self.final.keys, strict=True):
            writer.fixed(address, ADDRESS_BYTES).fixed(key, PUBLIC_KEY_BYTES)
        writer.u32(len(self.pending))
        for (offset, row), (transaction, key) in self.pending.items():
            writer.u64(offset).u32(row).sized(transaction.body()).fixed(key, DIGEST_BYTES)
        writer.u32(len(self.early))
        for offset, row in sorted(self.early):
            writer.u64(offset).u32(row)
        return writer.finish()

    def _finalize(self, header: BlockHeader, payload: bytes, find: Find) -> None:
        parameters, final = self.parameters, self.final
        try:
            content = decode_payload(payload)
        except WireError as error:
            raise InvariantError(
                f"block {header.height} is final and unreadable: {error}"
            ) from error
        for inbound in content.inbound(parameters.chain, parameters.shard):
            self._execute(header, inbound, receive(final, inbound, parameters))
        places = [(one.offset, one.row) for one in content.references]
        missing = [one for one in content.references if (one.offset, one.row) not in self.pending]
        others = iter(find(missing) if missing else ())
        for place in places:
            waiting = self.pending.pop(place, None)
            transaction = next(others) if waiting is None else waiting.transaction
            self._execute(header, transaction, apply(final, transaction, header.slot, parameters))
        self.early.update(place for place in places if place[0] >= self.next_offset)
        self.slot = header.slot

    def _execute(
        self, header: BlockHeader, transaction: Transaction, effects: Effects | RejectionReason
    ) -> None:
        if isinstance(effects, RejectionReason):
            raise InvariantError(f"block {header.height} is final and does not execute: {effects}")
        self.final.execute(transaction, effects)

    def _forget_hopeless(self) -> None:
        nonces: dict[int, int] = {}
        for place, (transaction, _) in list(self.pending.items()):
            sender = transaction.sender
            nonce = nonces.setdefault(sender, self.final.account(sender).nonce)
            if hopeless_reason(transaction, nonce, self.slot) is None:
                nonces[sender] += 1
            else:
                del self.pending[place]


def genesis_view(
    issuer_key: bytes, parameters: LedgerParameters, headers: FinalHeaders
) -> AdmissionView:
    """Returns the state before the first transaction on a shard; `headers` stand at its genesis."""
    final = Accounts(cells=genesis_accounts(parameters.shards))
    return AdmissionView(issuer_key, parameters, headers, final)


def decode_view(data: bytes, parameters: LedgerParameters, headers: FinalHeaders) -> AdmissionView:
    """Inverse of `AdmissionView.encode`; moves `headers` to where the view stands.

    Raises:
        WireError: The bytes are not canonical.
    """
    reader = Reader(data, "admission")
    if reader.u8("version") != SNAPSHOT_VERSION:
        raise reader.fail("version", f"expected {SNAPSHOT_VERSION}")
    view = AdmissionView(
        reader.fixed("issuer_key", PUBLIC_KEY_BYTES), parameters, headers, Accounts()
    )
    view.next_offset = reader.u64("next_offset")
    headers.height, headers.tip = reader.u64("height"), reader.fixed("tip", 32)
    view.slot, view.blocks_end = reader.u64("slot"), reader.u64("blocks_end")
    headers.read_claimed(reader)
    for _ in range(reader.u32("accounts", INDEX_LIMIT)):
        index = reader.u32("account.index", INDEX_LIMIT)
        balance = reader.u64("account.balance", SUPPLY_CAP + 1)
        view.final.cells[index] = Account(balance, reader.u32("account.nonce", INDEX_LIMIT))
    for _ in range(reader.u32("keys", INDEX_LIMIT)):
        address = reader.fixed("address", ADDRESS_BYTES)
        view.final.register(address, reader.fixed("public_key", PUBLIC_KEY_BYTES))
    for _ in range(reader.u32("pending")):
        place = reader.u64("offset"), reader.u32("row")
        body = decode_body(reader.sized("body", REGISTER_BODY_BYTES))
        view.pending[place] = Waiting(body, reader.fixed("key", DIGEST_BYTES))
    view.early = {(reader.u64("offset"), reader.u32("row")) for _ in range(reader.u32("early"))}
    reader.finish()
    view.replay()
    return view


def _digest(key: bytes | None) -> bytes:
    return b"" if key is None else hashlib.sha256(key).digest()
