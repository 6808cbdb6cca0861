"""The state that admission judges by: every admitted transaction executed in log order, without trees.

It runs ahead of the final blocks and reaches the same accounts, because leaders take admitted transactions in log
order too. So a verdict is a function of the log, and not of how fast blocks are made. What other shards pay comes in
by notices on the same log (`operators.delivery_notice`).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from proving.ledger.rules import EMPTY_ACCOUNT, Account, Effects, genesis_accounts
from schemas.transactions import Transaction
from schemas.units import (
    ADDRESS_BYTES,
    FIRST_ACCOUNT,
    INDEX_LIMIT,
    PUBLIC_KEY_BYTES,
    SUPPLY_CAP,
    ReservedCell,
)
from schemas.wire import Reader, Writer

SNAPSHOT_VERSION = 2


@dataclass(slots=True)
class AdmissionView:
    """Accounts and registered keys; a `proving.ledger.rules.LedgerView`.

    Attributes:
        issuer_key: Key of the reserve account.
        accounts: Account cells that were written.
        addresses: Address of each registered account, by place.
        keys: Public key of each registered account, by place.
        next_offset: Offset after the last record judged.
        delivered: Heights of the blocks whose deliveries are in the accounts.
    """

    issuer_key: bytes
    accounts: dict[int, Account] = field(default_factory=dict)
    addresses: list[bytes] = field(default_factory=list)
    keys: list[bytes] = field(default_factory=list)
    next_offset: int = 0
    delivered: set[int] = field(default_factory=set)
    _known_addresses: set[bytes] = field(default_factory=set)
    _known_keys: set[bytes] = field(default_factory=set)

    @property
    def num_keys(self) -> int:
        """The index that the next registration gets."""
        return FIRST_ACCOUNT + len(self.keys)

    def account(self, index: int) -> Account:
        """Returns an account cell; zeros where nothing was written."""
        return self.accounts.get(index, EMPTY_ACCOUNT)

    def has_address(self, address: bytes) -> bool:
        """Whether an account with this address is registered."""
        return address in self._known_addresses

    def has_public_key(self, public_key: bytes) -> bool:
        """Whether this public key is registered."""
        return public_key in self._known_keys

    def key_of(self, index: int) -> bytes | None:
        """Returns the public key that must have signed for an account, or None for an unknown one."""
        if index == ReservedCell.RESERVE:
            return self.issuer_key
        place = index - FIRST_ACCOUNT
        return self.keys[place] if 0 <= place < len(self.keys) else None

    def execute(self, transaction: Transaction, effects: Effects) -> None:
        """Takes in a valid transaction."""
        for touch in effects.touches:
            if touch.step.moves:
                self.accounts[touch.cell] = touch.new
        if effects.new_account is not None:
            self.register(transaction.address, transaction.public_key)

    def register(self, address: bytes, public_key: bytes) -> None:
        """Opens the next account."""
        self.addresses.append(address)
        self.keys.append(public_key)
        self._known_addresses.add(address)
        self._known_keys.add(public_key)

    def encode(self) -> bytes:
        """Returns canonical bytes."""
        writer = Writer().u8(SNAPSHOT_VERSION).fixed(self.issuer_key, PUBLIC_KEY_BYTES)
        writer.u64(self.next_offset).u32(len(self.accounts))
        for index, account in sorted(self.accounts.items()):
            writer.u32(index).u64(account.balance).u32(account.nonce)
        writer.u32(len(self.keys))
        for address, key in zip(self.addresses, self.keys, strict=True):
            writer.fixed(address, ADDRESS_BYTES).fixed(key, PUBLIC_KEY_BYTES)
        writer.u32(len(self.delivered))
        for height in sorted(self.delivered):
            writer.u64(height)
        return writer.finish()


def genesis_view(issuer_key: bytes, shards: int = 1) -> AdmissionView:
    """Returns the state before the first transaction on a shard of a chain with `shards` of them."""
    return AdmissionView(issuer_key, genesis_accounts(shards))


def decode_view(data: bytes) -> AdmissionView:
    """Inverse of `AdmissionView.encode`.

    Raises:
        WireError: The bytes are not canonical.
    """
    reader = Reader(data, "admission")
    if reader.u8("version") != SNAPSHOT_VERSION:
        raise reader.fail("version", f"expected {SNAPSHOT_VERSION}")
    view = AdmissionView(reader.fixed("issuer_key", PUBLIC_KEY_BYTES))
    view.next_offset = reader.u64("next_offset")
    for _ in range(reader.u32("accounts", INDEX_LIMIT)):
        index = reader.u32("account.index", INDEX_LIMIT)
        balance = reader.u64("account.balance", SUPPLY_CAP + 1)
        view.accounts[index] = Account(balance, reader.u32("account.nonce", INDEX_LIMIT))
    for _ in range(reader.u32("keys", INDEX_LIMIT)):
        address = reader.fixed("address", ADDRESS_BYTES)
        view.register(address, reader.fixed("public_key", PUBLIC_KEY_BYTES))
    view.delivered = {reader.u64("delivered.height") for _ in range(reader.u32("delivered"))}
    reader.finish()
    return view
