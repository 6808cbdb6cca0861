"""A shard's ledger as consensus replicates it: build a block, check a block, make it final.

Every validator verifies the signature of every transaction itself and executes every block itself; what the
admission stage says only decides what a leader proposes. A transaction is verified once per key and kept as
verified; keys of accounts that a block opens are known after executing it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from operators.application import BlockContent, Check, CheckState
from operators.block_payload import (
    LinkEntry,
    TransactionReference,
    decode_payload,
    encode_payload,
    sent_entries,
)
from operators.deliveries import Delivery, choose_deliveries, due_words, judge_deliveries
from operators.mempool import Candidate, Mempool, Place
from operators.peer_links import PeerLink
from operators.transaction_store import StoredTransaction
from proving.ledger.state import BlockEffects, Ledger
from proving.signatures import SignatureBackend, verify_many
from schemas.errors import InvariantError, ParameterError, WireError
from schemas.genesis import Genesis
from schemas.rejection import RejectionReason
from schemas.transactions import SIGNATURE_CONTEXT, Transaction
from schemas.units import BLOCK_TRANSACTIONS_LIMIT, Array

VERIFIED_LIMIT = 200_000
"""Verified signatures remembered; above it the memory starts anew."""

Dropped = tuple[Candidate, RejectionReason]


@dataclass(slots=True)
class Branch:
    """The state after a block.

    Attributes:
        ledger: Accounts, keys and roots.
        parent: Hash of the block before.
        rows: The block's transactions in order.
        last_user_window: Window of the last block up to here that held anything; -1 before the first.
        received: What the block took from other shards.
        open_peers: Shards of whose words only a part was taken so far: see `deliveries.py`.
    """

    ledger: Ledger
    parent: bytes
    rows: tuple[StoredTransaction, ...]
    last_user_window: int
    received: tuple[LinkEntry, ...] = ()
    open_peers: frozenset[int] = frozenset()

    @property
    def places(self) -> set[Place]:
        """Places of the block's transactions."""
        return {(row.offset, row.row) for row in self.rows}


@dataclass(slots=True)
class ShardApplication:
    """The application of one shard; see `operators.application.Application`.

    Attributes:
        genesis: Clock of the chain.
        mempool: What waits.
        final: The last final block's state.
        final_hash: Its hash.
        max_transactions: Most transactions in a block.
        signatures: Signature backend; the default one if None.
        links: What other shards have sent, by shard.
        branches: Valid blocks above the final one, by hash.
        dropped: Admitted transactions that can never be executed, since the last look.
    """

    genesis: Genesis
    mempool: Mempool
    final: Branch
    final_hash: bytes
    max_transactions: int
    signatures: SignatureBackend | None = None
    links: Mapping[int, PeerLink] = field(default_factory=dict)
    branches: dict[bytes, Branch] = field(default_factory=dict)
    dropped: list[Dropped] = field(default_factory=list)
    _verified: dict[Place, bytes] = field(default_factory=dict)
    _built: dict[tuple[bytes, int, bytes], tuple[Branch, BlockEffects]] = field(
        default_factory=dict
    )

    def has_work(self, parent_hash: bytes, slot: int) -> bool:
        """See `Application`; a window or epoch that is over and not closed is work too, and so is what has expired."""
        branch = self._branch(parent_hash)
        if branch is None:
            return False
        slot = self.slot_of(parent_hash, slot)
        if self._wants_closing(branch, slot):
            return True
        epoch = self._epoch(slot)
        if any(due_words(link, branch.ledger, epoch) for link in self.links.values()):
            return True
        found = self.mempool.includable(branch.ledger, self._places(parent_hash), slot, 1)
        return next(found, None) is not None or self._wants_clearing(parent_hash, slot)

    def slot_of(self, parent_hash: bytes, slot: int) -> int:
        """See `Application`: an epoch is not over before what it takes of other shards is complete."""
        branch = self._branch(parent_hash)
        if branch is None or not branch.open_peers:
            return slot
        genesis = self.genesis
        span = genesis.slots_per_window * genesis.windows_per_epoch
        return min(slot, span * (self._epoch(branch.ledger.slot) + 1) - 1)

    def build(
        self, parent_hash: bytes, height: int, slot: int, *, required: bool
    ) -> BlockContent | None:
        """See `Application`."""
        parent = self._branch(parent_hash)
        if parent is None:
            raise InvariantError("a block is asked for above one that was never found valid")
        received = choose_deliveries(
            self.links, parent.ledger, parent.open_peers, self._epoch(slot), self._limit
        )
        room = self._limit - len(received)
        chosen = list(self.mempool.includable(parent.ledger, self._places(parent_hash), slot, room))
        inbound = self._inbound(received)
        while True:
            bodies = [candidate.transaction for candidate in chosen]
            ledger = parent.ledger.branch()
            effects = ledger.execute_block(
                [*inbound, *bodies], height, slot, self.genesis.window_of(slot)
            )
            places = [place - len(inbound) for place in effects.accepted]
            if len([place for place in places if place < 0]) < len(inbound):
                raise InvariantError("what another shard's final blocks have sent does not execute")
            chosen = [chosen[place] for place in places if place >= 0]
            forged = self._forged(
                ledger, [c.stored for c in chosen], [c.transaction for c in chosen]
            )
            if not forged:
                break
            # Admission let a signature pass that this validator does not: never propose it.
            self.mempool.settle({(stored.offset, stored.row) for stored in forged})
            chosen = [candidate for candidate in chosen if candidate.stored not in forged]
        is_wanted = required or self._wants_closing(parent, slot)
        if not (chosen or received or is_wanted or self._wants_clearing(parent_hash, slot)):
            return None
        verdict = self._judge(parent, received, slot, is_alone=not chosen)
        if verdict.invalid or verdict.missing:
            raise InvariantError(f"own deliveries are refused: {verdict}")
        rows = tuple(candidate.stored for candidate in chosen)
        content = BlockContent(
            encode_payload([row.reference for row in rows], received, sent_entries(effects.sent)),
            effects.transactions_root,
            effects.state_root,
            len(received) + len(rows),
        )
        taken = (tuple(received), verdict.open_peers)
        branch = self._after((parent, parent_hash), ledger, slot, rows, taken)
        self._built = {(parent_hash, slot, content.payload): (branch, effects)}
        return content

    def check(
        self, block_hash: bytes, parent_hash: bytes, height: int, slot: int, content: BlockContent
    ) -> Check:
        """See `Application`; reasons of invalid blocks are stable names."""
        if block_hash in self.branches or block_hash == self.final_hash:
            return Check(CheckState.VALID)
        parent = self._branch(parent_hash)
        if parent is None:
            return Check(CheckState.MISSING, "parent")
        own = self._built.get((parent_hash, slot, content.payload))
        executed = own or self._execute(parent, parent_hash, height, slot, content.payload)
        if isinstance(executed, Check):
            return executed
        branch, effects = executed
        count = len(branch.received) + len(branch.rows)
        expected = (effects.transactions_root, effects.state_root, count)
        found = (content.transactions_root, content.post_state_root, content.count)
        for name, want, got in zip(
            ("transactions_root", "post_state_root", "count"), expected, found, strict=True
        ):
            if want != got:
                return Check(CheckState.INVALID, f"wrong_{name}")
        self.branches[block_hash] = branch
        return Check(CheckState.VALID)

    def finalize(self, block_hash: bytes) -> None:
        """See `Application`."""
        branch = self.branches.pop(block_hash, None)
        if branch is None or branch.parent != self.final_hash:
            raise InvariantError(f"block {block_hash.hex()} is final without having been checked")
        branch.ledger.merge()
        base = self.final.ledger
        self.final = Branch(
            base,
            branch.parent,
            branch.rows,
            branch.last_user_window,
            branch.received,
            branch.open_peers,
        )
        for link in self.links.values():
            link.forget(link.place_of(base.link(Array.INB, link.peer)) or 0)
        self.final_hash = block_hash
        self._built = {}
        self.branches = {
            known: other for known, other in self.branches.items() if self._descends(other)
        }
        self.mempool.settle(branch.places)
        for place in branch.places:
            self._verified.pop(place, None)
        if not self.mempool.unseen:
            self.dropped += self.mempool.expire(base, base.slot)

    def take_dropped(self) -> list[Dropped]:
        """Returns and forgets what was dropped since the last call."""
        dropped, self.dropped = self.dropped, []
        return dropped

    def verify_waiting(self, places: Iterable[Place]) -> None:
        """Verifies signatures ahead of their block, where the sender's key is known already."""
        ledger = self.final.ledger
        known: list[StoredTransaction] = []
        bodies: list[Transaction] = []
        for place in places:
            candidate = self.mempool.candidates.get(place)
            if candidate is not None and ledger.record(candidate.transaction.sender) is not None:
                known.append(candidate.stored)
                bodies.append(candidate.transaction)
        self._forged(ledger, known, bodies)

    def _wants_closing(self, branch: Branch, slot: int) -> bool:
        """Whether a window with transactions, or an epoch, is over and no later block says so yet.

        So every shard has a block in every epoch: who waits for what a shard did in one knows when it is over.
        """
        user = branch.last_user_window
        tip, now = branch.ledger.window, self.genesis.window_of(slot)
        epoch_of = self.genesis.epoch_of
        ends_window = tip == user < now
        return ends_window or epoch_of(tip) < epoch_of(now)

    def _wants_clearing(self, parent_hash: bytes, slot: int) -> bool:
        """Whether something waits that a final block of this slot, even an empty one, lets all forget.

        Only final blocks say that a transaction is hopeless, and admission may wait for room: when all that is admitted has
        expired, no block would come by itself.
        """
        if parent_hash != self.final_hash or self.mempool.unseen:
            return False
        return next(self.mempool.hopeless(self.final.ledger, slot), None) is not None

    def _execute(  # noqa: PLR0911 - one return per check
        self, parent: Branch, parent_hash: bytes, height: int, slot: int, payload: bytes
    ) -> tuple[Branch, BlockEffects] | Check:
        try:
            content = decode_payload(payload)
        except WireError:
            return Check(CheckState.INVALID, "malformed_payload")
        if len(content.received) + len(content.references) > self._limit:
            return Check(CheckState.INVALID, "too_many_transactions")
        verdict = self._judge(parent, content.received, slot, is_alone=not content.references)
        if verdict.invalid:
            return Check(CheckState.INVALID, verdict.invalid)
        if verdict.missing:
            return Check(CheckState.MISSING, verdict.missing)
        found = self._look_up(content.references)
        if isinstance(found, Check):
            return found
        stored, bodies = found
        ledger = parent.ledger.branch()
        try:
            effects = ledger.execute_block(
                [*self._inbound(content.received), *bodies],
                height,
                slot,
                self.genesis.window_of(slot),
            )
        except ParameterError:
            return Check(CheckState.INVALID, "wrong_place")
        if effects.rejected:
            return Check(CheckState.INVALID, str(effects.rejected[0][1]))
        if sent_entries(effects.sent) != content.sent:
            return Check(CheckState.INVALID, "wrong_sent")
        if self._forged(ledger, stored, bodies):
            return Check(CheckState.INVALID, str(RejectionReason.BAD_SIGNATURE))
        taken = (content.received, verdict.open_peers)
        branch = self._after((parent, parent_hash), ledger, slot, tuple(stored), taken)
        return branch, effects

    @property
    def _limit(self) -> int:
        """Most entries in a block."""
        return min(self.max_transactions, BLOCK_TRANSACTIONS_LIMIT - 1)

    def _epoch(self, slot: int) -> int:
        return self.genesis.epoch_of(self.genesis.window_of(slot))

    def _inbound(self, received: Iterable[LinkEntry]) -> list[Transaction]:
        parameters = self.final.ledger.parameters
        return [entry.inbound(parameters.chain, parameters.shard) for entry in received]

    def _judge(
        self, parent: Branch, received: Sequence[LinkEntry], slot: int, *, is_alone: bool
    ) -> Delivery:
        return judge_deliveries(
            self.links,
            parent.ledger,
            parent.open_peers,
            received,
            epochs=(self._epoch(parent.ledger.slot), self._epoch(slot)),
            is_full=is_alone and len(received) == self._limit,
        )

    def _look_up(
        self, references: Sequence[TransactionReference]
    ) -> tuple[list[StoredTransaction], list[Transaction]] | Check:
        rows: dict[Place, StoredTransaction] = {}
        # record by record: each is read once at most, in whatever order a leader names its rows
        for place in sorted((reference.offset, reference.row) for reference in references):
            row = self.mempool.find(place)
            if row is None:
                if self.mempool.is_past(place[0]):
                    return Check(CheckState.INVALID, "no_such_transaction")
                return Check(CheckState.MISSING, f"tx/{place[0]}")
            rows[place] = row
        stored: list[StoredTransaction] = []
        bodies: list[Transaction] = []
        for reference in references:
            row = rows[reference.offset, reference.row]
            if row.digest != reference.digest:
                return Check(CheckState.INVALID, "wrong_digest")
            try:
                bodies.append(row.decode())
            except WireError:
                return Check(CheckState.INVALID, str(RejectionReason.NON_CANONICAL))
            stored.append(row)
        return stored, bodies

    def _forged(
        self, ledger: Ledger, stored: Sequence[StoredTransaction], bodies: Sequence[Transaction]
    ) -> list[StoredTransaction]:
        """Verifies what is not known to be good, all together; returns the rows with a bad signature."""
        keys = []
        for body in bodies:
            record = ledger.record(body.sender)
            keys.append(b"" if record is None else record.public_key)
        wanted = [
            position
            for position, (row, key) in enumerate(zip(stored, keys, strict=True))
            if self._verified.get((row.offset, row.row)) != key
        ]
        verdicts = verify_many(
            [keys[position] for position in wanted],
            [stored[position].body for position in wanted],
            [stored[position].signature for position in wanted],
            SIGNATURE_CONTEXT,
            self.signatures,
        )
        if len(self._verified) > VERIFIED_LIMIT:
            self._verified.clear()
        forged = []
        for position, is_good in zip(wanted, verdicts, strict=True):
            row = stored[position]
            if is_good:
                self._verified[row.offset, row.row] = keys[position]
            else:
                forged.append(row)
        return forged

    def _after(
        self,
        parent: tuple[Branch, bytes],
        ledger: Ledger,
        slot: int,
        rows: tuple[StoredTransaction, ...],
        taken: tuple[tuple[LinkEntry, ...], frozenset[int]],
    ) -> Branch:
        """Returns the branch of a block; `taken` is what it received and whose words are open after it."""
        (before, parent_hash), (received, open_peers) = parent, taken
        is_user = bool(rows or received)
        window = self.genesis.window_of(slot) if is_user else before.last_user_window
        return Branch(ledger, parent_hash, rows, window, received, open_peers)

    def _branch(self, block_hash: bytes) -> Branch | None:
        return self.final if block_hash == self.final_hash else self.branches.get(block_hash)

    def _places(self, block_hash: bytes) -> set[Place]:
        """Returns what a branch holds above the final block."""
        places: set[Place] = set()
        while block_hash != self.final_hash:
            branch = self.branches[block_hash]
            places |= branch.places
            block_hash = branch.parent
        return places

    def _descends(self, branch: Branch) -> bool:
        while branch.parent != self.final_hash:
            above = self.branches.get(branch.parent)
            if above is None:
                return False
            branch = above
        return True
