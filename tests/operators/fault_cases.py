"""A shard whose blocks may be bad: real keys, a committee of four, honest and corrupt leaders."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from operators.block_payload import (
    LinkEntry,
    TransactionReference,
    decode_payload,
    encode_payload,
    sent_entries,
)
from operators.consensus_keys import CommitteeVerifier, ValidatorSigner
from operators.consensus_messages import encode_certificate
from operators.consensus_votes import Committee
from operators.fault_context import FaultContext, fault_context
from operators.fault_evidence import EvidenceMaker, SeenBlock
from operators.proof_worker import process_backend
from proving.ledger.rules import LedgerParameters
from proving.ledger.state import Ledger, genesis_ledger
from proving.ledger.words import block_word, transaction_word
from proving.signatures import KeyPair
from schemas.block import (
    BlockHeader,
    Certificate,
    Phase,
    ValidatorSet,
    genesis_hash,
    header_ballot,
)
from schemas.genesis import Genesis, encode_key
from schemas.transactions import SIGNATURE_CONTEXT, Transaction, TransactionKind, decode_body
from schemas.units import FIRST_ACCOUNT, Array, word_bytes

CHAIN, SHARD, SHARDS, FEE = 7, 0, 2, 1000
FAR = 30_000
HASHER = process_backend()


@functools.cache
def pair(name: int) -> KeyPair:
    return KeyPair.from_seed(name.to_bytes(32, "little"))


ISSUER = 1000
VALIDATORS = ValidatorSet(tuple(pair(900 + i).public_key for i in range(4)))
COMMITTEE = Committee(CHAIN, SHARD, 0, VALIDATORS)
PARAMETERS = LedgerParameters(CHAIN, SHARD, FEE, SHARDS)
GENESIS = Genesis(
    chain=CHAIN,
    shards=SHARDS,
    slot_micros=1000,
    slots_per_window=4,
    windows_per_epoch=2,
    start_millis=0,
    issuer=encode_key(pair(ISSUER).public_key),
    validators=tuple(encode_key(key) for key in VALIDATORS.keys),
)


def context(**changes: object) -> FaultContext:
    return replace(_context(), **changes)  # type: ignore[arg-type]


@functools.cache
def _context() -> FaultContext:
    committees = {0: (COMMITTEE, CommitteeVerifier(VALIDATORS))}
    return fault_context(GENESIS, PARAMETERS, HASHER, committees)


def certify(
    header: BlockHeader, signers: Sequence[int] = (0, 1, 3), phase: Phase = Phase.FINALIZE
) -> bytes:
    ballot = header_ballot(header, phase)
    message = ballot.signed_bytes(VALIDATORS)
    votes = tuple((i, ValidatorSigner(pair(900 + i)).sign(message)) for i in signers)
    return encode_certificate(Certificate(ballot, votes))


def register(name: int, nonce: int, **changes: object) -> Transaction:
    address = name.to_bytes(20, "little")
    key = pair(name).public_key
    kind = TransactionKind.REGISTER
    made = Transaction(kind, CHAIN, SHARD, 0, 0, 0, 0, nonce, FAR, address, key)
    return replace(made, **changes)  # type: ignore[arg-type]


def issue(recipient: int, amount: int, nonce: int) -> Transaction:
    return Transaction(TransactionKind.ISSUE, CHAIN, SHARD, 0, recipient, amount, 0, nonce, FAR)


def transfer(
    sender: int, recipient: int, amount: int, nonce: int, **changes: object
) -> Transaction:
    kind = TransactionKind.TRANSFER
    made = Transaction(kind, CHAIN, SHARD, sender, recipient, amount, FEE, nonce, FAR)
    return replace(made, **changes)  # type: ignore[arg-type]


def outbound(
    sender: int, recipient: int, amount: int, nonce: int, **changes: object
) -> Transaction:
    kind = TransactionKind.OUTBOUND
    made = replace(transfer(sender, recipient, amount, nonce), kind=kind, peer=1)
    return replace(made, **changes)  # type: ignore[arg-type]


class CredulousLedger(Ledger):
    """What a corrupt quorum registers accounts on."""

    def has_address(self, address: bytes) -> bool:
        return False

    def has_public_key(self, public_key: bytes) -> bool:
        return False


@dataclass
class Shard:
    """A shard's chain of good blocks, on whose tip good and bad blocks are made.

    Attributes:
        ledger: State after the tip.
        tip: Header of the last block, or None.
        owners: Whose key signs for an account, by its index.
    """

    ledger: Ledger = field(
        default_factory=lambda: genesis_ledger(PARAMETERS, HASHER, GENESIS.issuer_key)
    )
    tip: BlockHeader | None = None
    owners: dict[int, int] = field(default_factory=lambda: {0: ISSUER})

    def header(
        self, payload: bytes, slot: int, roots: tuple[bytes, bytes], count: int
    ) -> BlockHeader:
        height = 0 if self.tip is None else self.tip.height
        parent = genesis_hash(CHAIN, SHARD) if self.tip is None else self.tip.block_hash()
        return BlockHeader(
            chain=CHAIN,
            shard=SHARD,
            epoch=0,
            height=height + 1,
            slot=slot,
            view=height + 1,
            parent_view=height,
            parent_hash=parent,
            payload_hash=hashlib.sha256(payload).digest(),
            post_state_root=roots[0],
            transactions_root=roots[1],
            transaction_count=count,
            proposer=1,
        )

    def sign(self, body: Transaction, owners: dict[int, int]) -> bytes:
        owner = owners.get(body.sender, ISSUER)
        return pair(owner).sign(body.body(), SIGNATURE_CONTEXT)

    def seal(
        self,
        slot: int,
        bodies: Sequence[Transaction],
        received: Sequence[LinkEntry] = (),
        **changes: object,
    ) -> SeenBlock:
        """Returns a block as its leader claims it: all entries listed, the valid ones executed.

        `changes` are what its header says instead.
        """
        inbound = [entry.inbound(CHAIN, SHARD) for entry in received]
        entries = [*inbound, *bodies]
        after = CredulousLedger(PARAMETERS, HASHER, self.ledger)
        effects = after.execute_block(entries, after.height + 1, slot, GENESIS.window_of(slot))
        references = [TransactionReference(9, i, b.digest()) for i, b in enumerate(bodies)]
        payload = encode_payload(references, received, sent_entries(effects.sent))
        roots = (effects.state_root, self._list_root(entries, slot))
        header = self.header(payload, slot, roots, len(entries))
        owners = dict(self.owners)
        keys = self.ledger.num_keys
        for body in bodies:
            if body.kind is TransactionKind.REGISTER:
                owners[keys] = int.from_bytes(body.address, "little")
                keys += 1
        header = replace(header, **changes)  # type: ignore[arg-type]
        return SeenBlock(
            header,
            self.tip,
            certify(header),
            payload,
            tuple(body.body() for body in bodies),
            tuple(self.sign(body, owners) for body in bodies),
        )

    def _list_root(self, entries: Sequence[Transaction], slot: int) -> bytes:
        ledger = self.ledger.branch()
        ledger.open_window(GENESIS.window_of(slot))
        keys, words = ledger.num_keys, []
        for entry in entries:
            is_new = entry.kind is TransactionKind.REGISTER
            words.append(word_bytes(transaction_word(entry, keys if is_new else entry.recipient)))
            keys += is_new
        fees = sum(entry.fee for entry in entries)
        words.append(word_bytes(block_word(ledger.height + 1, slot, len(entries), fees)))
        tree = ledger.trees[Array.TXS]
        tree.update(dict(enumerate(words, ledger.sequence)))
        return tree.root

    def extend(
        self, slot: int, bodies: Sequence[Transaction], received: Sequence[LinkEntry] = ()
    ) -> SeenBlock:
        """Makes a good block final."""
        seen = self.seal(slot, bodies, received)
        entries = [*(entry.inbound(CHAIN, SHARD) for entry in received), *bodies]
        branch = self.ledger.branch()
        height, window = seen.header.height, GENESIS.window_of(slot)
        effects = branch.execute_block(entries, height, slot, window)
        assert effects.rejected == ()
        assert effects.state_root == seen.header.post_state_root
        assert effects.transactions_root == seen.header.transactions_root
        branch.merge()
        self.tip = seen.header
        for index in range(FIRST_ACCOUNT, self.ledger.num_keys):
            record = self.ledger.record(index)
            assert record is not None
            self.owners[index] = int.from_bytes(record.address, "little")
        return seen


def shown(seen: SeenBlock) -> dict[bytes, bytes]:
    """Returns every signature of a block, as if all had been demanded and shown."""
    digests = [hashlib.sha256(body).digest() for body in seen.bodies]
    return dict(zip(digests, seen.signatures, strict=True))


def maker(seen: SeenBlock, before: Ledger, facts: FaultContext) -> EvidenceMaker:
    bodies = [decode_body(body) for body in seen.bodies]
    return EvidenceMaker(seen, before, facts, decode_payload(seen.payload), bodies)


def small_shard() -> Shard:
    """Four accounts, 16 to 19, with money on 16 to 18; the next block may share window 1."""
    shard = Shard()
    shard.extend(0, [register(1 + i, i) for i in range(4)])
    shard.extend(4, [issue(16 + i, 10**12, 4 + i) for i in range(3)])
    return shard
