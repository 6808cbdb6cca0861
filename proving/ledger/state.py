"""The state of one shard's ledger: accounts, key registry, arrays and counters, with branches.

A proposed block is executed on a branch of its parent's state; making it final merges the branch. Only
whole blocks change a ledger, so between calls no block is open.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from proving.arithmetic.modulus import WORD
from proving.backends.port import Hasher
from proving.ledger.permutation import compress, hash_bytes, hash_many
from proving.ledger.rules import (
    EMPTY_ACCOUNT,
    Account,
    Effects,
    LedgerParameters,
    apply,
    genesis_accounts,
    receive,
    settle,
)
from proving.ledger.transfers import run_transfers
from proving.ledger.tree_levels import bytes_of, words_of
from proving.ledger.trees import WordTree, empty_digests
from proving.ledger.words import Elements, Link, block_word
from schemas.errors import InvariantError, ParameterError
from schemas.rejection import RejectionReason
from schemas.statement import TOUCHED_ARRAYS, Boundary
from schemas.steps import SETTLE
from schemas.transactions import Transaction, TransactionKind
from schemas.units import (
    ADDRESS_BYTES,
    BLOCK_TRANSACTIONS_LIMIT,
    EXPIRY_SPAN,
    FIRST_ACCOUNT,
    INDEX_LIMIT,
    LINK_ARRAYS,
    PUBLIC_KEY_BYTES,
    SHARD_LIMIT,
    SPAN_LIMIT,
    STATE_ARRAYS,
    SUPPLY_CAP,
    ZERO_WORD,
    Array,
    ReservedCell,
    issuable,
    word_bytes,
)
from schemas.wire import Reader, Writer

SNAPSHOT_VERSION = 2
"""First byte of a snapshot."""

WINDOW_ARRAYS = (Array.TXS, Array.CLM)
"""Lists that are empty at the start of every window."""


@dataclass(frozen=True, slots=True)
class Block:
    """What a block does to the ledger.

    Attributes:
        height: One more than the last settled block's.
        slot: At least the last settled block's.
        window: Window of the slot.
        transactions: Bodies in order, INBOUND among them where they stand; all of them must be valid.
    """

    height: int
    slot: int
    window: int
    transactions: tuple[Transaction, ...]


@dataclass(frozen=True, slots=True)
class BlockEffects:
    """What executing a block has done.

    Attributes:
        state_root: Word: state arrays and counters after the block, whatever the cut into blocks was.
        transactions_root: Word: root of the window's TXS list after the block.
        fee_sum: Fees in fee units, credited to the proposer pool.
        accepted: Positions of the transactions that were executed.
        rejected: (position, reason) of those that were not: a block with any is invalid.
        new_accounts: Indices given to registrations, in order.
        sent: What other shards have to execute, in order per shard.
    """

    state_root: bytes
    transactions_root: bytes
    fee_sum: int
    accepted: tuple[int, ...]
    rejected: tuple[tuple[int, RejectionReason], ...]
    new_accounts: tuple[int, ...]
    sent: tuple[Transaction, ...]


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """A registered account.

    Attributes:
        address: 20 bytes.
        public_key: 1312 bytes.
        key_digest: Word of the public key.
    """

    address: bytes
    public_key: bytes
    key_digest: bytes

    def address_word(self) -> bytes:
        """Returns the word of the address: its bytes, three to an element, so that it is not hashed."""
        padded = self.address + bytes(24 - ADDRESS_BYTES)
        return word_bytes(
            tuple(int.from_bytes(padded[3 * j : 3 * j + 3], "little") for j in range(WORD))
        )


def key_records(hasher: Hasher, entries: Sequence[tuple[bytes, bytes]]) -> list[KeyRecord]:
    """Returns the registry records of (address, public key) pairs, all keys hashed together."""
    digests = hash_many(hasher, "public_key", [public_key for _, public_key in entries])
    return [
        KeyRecord(address, public_key, digest)
        for (address, public_key), digest in zip(entries, digests, strict=True)
    ]


def compress_words(hasher: Hasher, left: bytes, right: bytes) -> bytes:
    """Returns C(left, right) of two words."""
    pair = np.frombuffer(left + right, dtype="<u4").astype(np.uint32).reshape(1, 2 * WORD)
    return compress(hasher, pair).astype("<u4").tobytes()


class Ledger:
    """A shard's ledger, or a branch of one; a `LedgerView`.

    Args:
        parameters: Constants of the shard.
        hasher: Where permutations run.
        parent: Ledger this one branches from; it must not change while the branch lives.
        empty: `empty_digests(hasher)` if they are at hand.
    """

    def __init__(
        self,
        parameters: LedgerParameters,
        hasher: Hasher,
        parent: Ledger | None = None,
        empty: tuple[bytes, ...] = (),
    ) -> None:
        self.parameters = parameters
        self.hasher = hasher
        self.parent = parent
        self.accounts: dict[int, Account] = {}
        self.records: dict[int, KeyRecord] = {}
        self.index_by_address: dict[bytes, int] = {}
        self.index_by_key: dict[bytes, int] = {}
        self.height: int = parent.height if parent else 0
        self.slot: int = parent.slot if parent else 0
        self.window: int = parent.window if parent else 0
        self.sequence: int = parent.sequence if parent else 0
        self.block_transactions: int = parent.block_transactions if parent else 0
        self.fee_sum: int = parent.fee_sum if parent else 0
        self.next_index: int = parent.num_keys if parent else FIRST_ACCOUNT
        self.merged = False
        self.prepared: dict[tuple[bytes, bytes], KeyRecord] = {}
        self.empty: tuple[bytes, ...] = parent.empty if parent else empty or empty_digests(hasher)
        self.trees: dict[Array, WordTree] = {
            array: parent.trees[array].branch() if parent else WordTree(hasher, self.empty)
            for array in TOUCHED_ARRAYS
        }
        self.pending: dict[Array, dict[int, bytes]] = {array: {} for array in self.trees}

    @property
    def num_keys(self) -> int:
        """The index that the next registration gets."""
        return self.next_index

    def account(self, index: int) -> Account:
        """Returns an account cell; zeros where nothing was written."""
        ledger: Ledger | None = self
        while ledger is not None:
            found = ledger.accounts.get(index)
            if found is not None:
                return found
            ledger = ledger.parent
        return EMPTY_ACCOUNT

    def record(self, index: int) -> KeyRecord | None:
        """Returns the registered address and key of an account, or None."""
        ledger: Ledger | None = self
        while ledger is not None:
            found = ledger.records.get(index)
            if found is not None:
                return found
            ledger = ledger.parent
        return None

    def index_of_address(self, address: bytes) -> int | None:
        """Returns the account index of an address, or None."""
        ledger: Ledger | None = self
        while ledger is not None:
            found = ledger.index_by_address.get(address)
            if found is not None:
                return found
            ledger = ledger.parent
        return None

    def has_address(self, address: bytes) -> bool:
        """Whether an account with this address is registered."""
        return self.index_of_address(address) is not None

    def has_public_key(self, public_key: bytes) -> bool:
        """Whether this public key is registered."""
        name = hashlib.sha256(public_key).digest()
        ledger: Ledger | None = self
        while ledger is not None:
            if name in ledger.index_by_key:
                return True
            ledger = ledger.parent
        return False

    def branch(self) -> Ledger:
        """Returns a ledger that starts equal to this one and leaves it unchanged."""
        return Ledger(self.parameters, self.hasher, self)

    def merge(self) -> None:
        """Moves a branch's changes into its parent; branches of it then stand on that parent.

        Other branches of the parent are no longer valid.

        Raises:
            InvariantError: The ledger has no parent.
        """
        parent = self.parent
        while parent is not None and parent.merged:
            parent = parent.parent
        if parent is None:
            raise InvariantError("only a branch can be merged")
        self.parent = parent
        parent.accounts.update(self.accounts)
        parent.records.update(self.records)
        parent.index_by_address.update(self.index_by_address)
        parent.index_by_key.update(self.index_by_key)
        for tree in self.trees.values():
            tree.skip_merged()
        if self.trees[Array.TXS].parent is not parent.trees[Array.TXS]:
            parent.trees[Array.TXS] = self.trees[Array.TXS]
            self.trees[Array.TXS] = parent.trees[Array.TXS].branch()
        for tree in self.trees.values():
            tree.merge()
        parent.height, parent.slot, parent.window = self.height, self.slot, self.window
        parent.sequence, parent.next_index = self.sequence, self.next_index
        self.accounts, self.records = {}, {}
        self.index_by_address, self.index_by_key = {}, {}
        self.merged = True

    def open_window(self, window: int) -> None:
        """Empties the window's lists when a later window begins.

        Raises:
            ParameterError: The window lies before the current one.
        """
        if window < self.window:
            raise ParameterError(f"window {window} is before window {self.window}")
        if window > self.window:
            self.window = window
            self.sequence = 0
            self.trees[Array.TXS] = WordTree(self.hasher, self.empty)

    def execute_block(
        self, transactions: Sequence[Transaction], height: int, slot: int, window: int
    ) -> BlockEffects:
        """Executes a block's transactions and its closing entry, and updates the trees once.

        Transactions that are invalid where they stand are left out and reported, so that a proposer can
        drop them; a validator refuses a block that has any. Signatures are not checked here.

        Raises:
            ParameterError: The height is not the next one, slot or window run backwards, or the slot lies
                2^29 or more past the last block's.
        """
        self.open_block(height, slot, window)
        accepted: list[int] = []
        rejected: list[tuple[int, RejectionReason]] = []
        new_accounts: list[int] = []
        sent: list[Transaction] = []
        self.prepare(transactions)
        for position, transaction in enumerate(transactions):
            effects = self.execute(transaction)
            if isinstance(effects, RejectionReason):
                rejected.append((position, effects))
                continue
            accepted.append(position)
            if effects.new_account is not None:
                new_accounts.append(effects.new_account)
            if effects.sent is not None:
                sent.append(effects.sent)
        fee_sum = self.fee_sum
        self.prepared.clear()
        self.close_block()
        self.update_trees()
        return BlockEffects(
            self.state_root(),
            self.trees[Array.TXS].root,
            fee_sum,
            tuple(accepted),
            tuple(rejected),
            tuple(new_accounts),
            tuple(sent),
        )

    def open_block(self, height: int, slot: int, window: int) -> None:
        """Begins a block; its transactions follow through `execute`.

        Raises:
            ParameterError: The height is not the next one, slot or window run backwards, or the slot lies
                2^29 or more past the last block's.
        """
        if height != self.height + 1 or height >= INDEX_LIMIT:
            raise ParameterError(f"block {height} does not follow block {self.height}")
        if not self.slot <= slot < min(INDEX_LIMIT, self.slot + SPAN_LIMIT):
            raise ParameterError(f"slot {slot} does not follow slot {self.slot}")
        self.open_window(window)
        self.slot = slot

    def prepare(self, transactions: Sequence[Transaction]) -> None:
        """Hashes the keys of registrations ahead of `execute`, all together."""
        entries = [
            (transaction.address, transaction.public_key)
            for transaction in transactions
            if transaction.kind is TransactionKind.REGISTER
            and len(transaction.public_key) == PUBLIC_KEY_BYTES
            and len(transaction.address) == ADDRESS_BYTES
            and (transaction.address, transaction.public_key) not in self.prepared
        ]
        for record in key_records(self.hasher, list(dict.fromkeys(entries))):
            self.prepared[record.address, record.public_key] = record

    def execute(self, transaction: Transaction) -> Effects | RejectionReason:
        """Executes one transaction of the open block, or says why it is invalid and does nothing."""
        if self.block_transactions >= BLOCK_TRANSACTIONS_LIMIT - 1:
            return RejectionReason.BLOCK_FULL
        if transaction.kind is TransactionKind.INBOUND:
            effects = receive(self, transaction, self.parameters)
        else:
            effects = apply(self, transaction, self.slot, self.parameters)
        if isinstance(effects, RejectionReason):
            return effects
        for touch in effects.touches:
            if touch.new is not touch.old:
                self.write_account(touch.cell, touch.new)
        if effects.new_account is not None:
            self.prepare([transaction])
            self.register(
                effects.new_account,
                self.prepared.pop((transaction.address, transaction.public_key)),
            )
        for link in effects.links:
            self._extend(link)
        self._append(effects.word)
        self.block_transactions += 1
        self.fee_sum += transaction.fee
        return effects

    def execute_transfers(self, transfers: Sequence[Transaction]) -> bool:
        """Executes transfers of the open block all at once, if all are valid; otherwise does nothing.

        Returns:
            Whether it did. If not, `execute` says which is not valid and why.
        """
        place = (self.parameters.chain, self.parameters.shard, 0, b"", b"")
        if self.block_transactions + len(transfers) >= BLOCK_TRANSACTIONS_LIMIT or any(
            (one.chain, one.shard, one.peer, one.address, one.public_key) != place
            or one.fee < self.parameters.minimum_fee
            for one in transfers
        ):
            return False
        run = run_transfers(transfers, self.num_keys, self.account)
        if run is None:
            return False
        if ((run.expiry < self.slot) | (run.expiry - self.slot >= EXPIRY_SPAN)).any():
            return False
        self.accounts.update(run.accounts())
        words = bytes_of(run.account_words())
        self.pending[Array.ACC].update(zip(run.touched.tolist(), words, strict=True))
        places = range(self.sequence, self.sequence + len(transfers))
        self.pending[Array.TXS].update(zip(places, bytes_of(run.words), strict=True))
        self.sequence += len(transfers)
        self.block_transactions += len(transfers)
        self.fee_sum += int(run.fee.sum())
        return True

    def close_block(self) -> Elements:
        """Settles the open block's fees and appends its word to TXS; returns the word."""
        touch = settle(self, SETTLE, self.fee_sum)
        self.write_account(touch.cell, touch.new)
        word = block_word(self.height + 1, self.slot, self.block_transactions, self.fee_sum)
        self._append(word)
        self.height += 1
        self.block_transactions = 0
        self.fee_sum = 0
        return word

    def update_trees(self) -> None:
        """Brings the trees up to date with everything executed so far."""
        for array, cells in self.pending.items():
            places = sorted(cells)
            words = words_of([cells[place] for place in places])
            self.trees[array].write(np.array(places, dtype=np.int64), words)
            cells.clear()

    def write_account(self, index: int, account: Account) -> None:
        """Sets an account cell; transactions do this through `execute`."""
        self.accounts[index] = account
        self.pending[Array.ACC][index] = account.word()

    def _append(self, word: Elements) -> None:
        self.pending[Array.TXS][self.sequence] = word_bytes(word)
        self.sequence += 1

    def link(self, array: Array, peer: int) -> bytes:
        """Returns the word that stands for all that was ever put on the link with another shard.

        Args:
            array: OUT for the link to it, INB for the link from it.
            peer: The other shard.
        """
        return self.pending[array].get(peer) or self.trees[array].cell(peer)

    def _extend(self, link: Link) -> None:
        head = self.link(link.array, link.peer)
        word = compress_words(self.hasher, head, word_bytes(link.word))
        self.pending[link.array][link.peer] = word

    def register(self, index: int, record: KeyRecord) -> None:
        """Enters an account into the registry; transactions do this through `execute`."""
        self.records[index] = record
        if index >= FIRST_ACCOUNT:
            self.index_by_address[record.address] = index
            self.next_index = index + 1
        self.index_by_key[hashlib.sha256(record.public_key).digest()] = index
        self.pending[Array.KEY][index] = compress_words(
            self.hasher, record.address_word(), record.key_digest
        )

    def root(self, array: Array) -> bytes:
        """Returns an array's root; arrays that no step writes are empty."""
        tree = self.trees.get(array)
        return self.empty[-1] if tree is None else tree.root

    def state_root(self) -> bytes:
        """Returns the word that names the state: state arrays' roots and the key counter.

        Height, slot and the window's lists are left out: the state does not depend on the cut into blocks.
        """
        writer = Writer()
        for array in STATE_ARRAYS:
            writer.fixed(self.root(array), len(ZERO_WORD))
        return hash_bytes(self.hasher, "state", writer.u32(self.next_index).finish())

    def boundary(self) -> Boundary:
        """Returns where the ledger stands, as a segment's statement says it."""
        return Boundary(
            self.height,
            self.slot,
            self.sequence,
            self.next_index,
            self.block_transactions,
            self.fee_sum,
            tuple(self.root(array) for array in Array),
        )

    def issued(self) -> int:
        """Returns the units issued on this shard: its part of the cap without what the reserve holds."""
        return issuable(self.parameters.shards) - self.account(ReservedCell.RESERVE).balance

    def snapshot(self) -> bytes:
        """Returns canonical bytes of a ledger that is no branch.

        Raises:
            InvariantError: The ledger is a branch, or a block is open.
        """
        if self.parent is not None or self.block_transactions or any(self.pending.values()):
            raise InvariantError("only a ledger between blocks has a snapshot")
        writer = Writer().u8(SNAPSHOT_VERSION).u32(self.parameters.chain)
        writer.u16(self.parameters.shard).u32(self.parameters.minimum_fee)
        writer.u16(self.parameters.shards)
        for number in (self.height, self.slot, self.window):
            writer.u32(number)
        writer.u32(len(self.accounts))
        for index in sorted(self.accounts):
            account = self.accounts[index]
            writer.u32(index).u64(account.balance).u32(account.nonce)
        writer.u32(len(self.records))
        for index in sorted(self.records):
            record = self.records[index]
            writer.u32(index).fixed(record.address, ADDRESS_BYTES)
            writer.fixed(record.public_key, PUBLIC_KEY_BYTES)
        for array in LINK_ARRAYS:
            links = self.trees[array].cells()
            writer.u32(len(links))
            for peer in sorted(links):
                writer.u16(peer).fixed(links[peer], len(ZERO_WORD))
        writer.u32(self.sequence)
        for position in range(self.sequence):
            writer.fixed(self.trees[Array.TXS].cell(position), len(ZERO_WORD))
        return writer.finish()


def genesis_ledger(parameters: LedgerParameters, hasher: Hasher, issuer_key: bytes) -> Ledger:
    """Returns the ledger before block 1: its reserve holds what it may issue, its key is the issuer's.

    Raises:
        ParameterError: The key has the wrong length.
    """
    if len(issuer_key) != PUBLIC_KEY_BYTES:
        raise ParameterError(f"a public key has {PUBLIC_KEY_BYTES} bytes, got {len(issuer_key)}")
    ledger = Ledger(parameters, hasher)
    for index, account in genesis_accounts(parameters.shards).items():
        ledger.write_account(index, account)
    record = key_records(hasher, [(bytes(ADDRESS_BYTES), issuer_key)])[0]
    ledger.register(ReservedCell.RESERVE, record)
    ledger.update_trees()
    return ledger


def restore_ledger(data: bytes, hasher: Hasher) -> Ledger:
    """Reads a snapshot; inverse of `Ledger.snapshot`.

    Raises:
        WireError: The bytes are not a snapshot.
    """
    reader = Reader(data, "ledger")
    if reader.u8("version") != SNAPSHOT_VERSION:
        raise reader.fail("version", f"expected {SNAPSHOT_VERSION}")
    parameters = LedgerParameters(
        reader.u32("chain"), reader.u16("shard"), reader.u32("fee"), reader.u16("shards")
    )
    ledger = Ledger(parameters, hasher)
    ledger.height = reader.u32("height", INDEX_LIMIT)
    ledger.slot = reader.u32("slot", INDEX_LIMIT)
    ledger.window = reader.u32("window", INDEX_LIMIT)
    for _ in range(reader.u32("accounts", INDEX_LIMIT)):
        index = reader.u32("account.index", INDEX_LIMIT)
        account = Account(
            reader.u64("account.balance", SUPPLY_CAP + 1), reader.u32("account.nonce")
        )
        ledger.write_account(index, account)
    indices: list[int] = []
    entries: list[tuple[bytes, bytes]] = []
    for _ in range(reader.u32("records", INDEX_LIMIT)):
        indices.append(reader.u32("record.index", INDEX_LIMIT))
        address = reader.fixed("record.address", ADDRESS_BYTES)
        entries.append((address, reader.fixed("record.public_key", PUBLIC_KEY_BYTES)))
    for index, record in zip(indices, key_records(hasher, entries), strict=True):
        ledger.register(index, record)
    for array in LINK_ARRAYS:
        for _ in range(reader.u32("links", SHARD_LIMIT)):
            peer = reader.u16("link.peer")
            ledger.pending[array][peer] = reader.word("link.word")
    words = [reader.word("sequence.word") for _ in range(reader.u32("sequence", INDEX_LIMIT))]
    reader.finish()
    ledger.sequence = len(words)
    ledger.pending[Array.TXS].update(enumerate(words))
    ledger.update_trees()
    return ledger
