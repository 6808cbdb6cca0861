"""`wallet new / send / receipt` for the Public tier: keys, signed transfers onto the log, and receipts.

A wallet trusts no server: index and nonce are read from the log's own records. Nothing here waits; `send`
returns when the transaction is durable on the log, and its receipt tells what became of it.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace
from pathlib import Path

from operators.beacon_history import read_beacon
from pipelines.ethereum_etl import parse_address
from pipelines.forge import Signed, sign
from pipelines.key_store import StoredKey, create_key, key_path, load_key
from pipelines.topic_log import TopicLog
from pipelines.wallet_crossing import read_crossing
from pipelines.wallet_view import LedgerReader, Receipt, with_beacon
from proving.ledger.rules import PUBLIC_FEE
from schemas.config import AdmissionConfig
from schemas.errors import EnvironmentMissing, ParameterError
from schemas.genesis import Genesis
from schemas.receipt import ReceiptState
from schemas.tables import CONSENSUS, RECEIPTS, TRANSACTIONS, encode
from schemas.topics import BEACON, shard_topic
from schemas.topics import RECEIPTS as RECEIPTS_TOPIC
from schemas.transactions import Transaction, TransactionKind
from schemas.units import (
    AMOUNT_LIMIT,
    EXPIRY_SPAN,
    FIRST_ACCOUNT,
    INDEX_LIMIT,
    ReservedCell,
)

UNITS_PER_COIN = 10**9
"""Units of 1e-9 in one ECLIPT."""

DEFAULT_LIFETIME_SLOTS = AdmissionConfig().max_expiry_slots // 2
"""Slots for which a sent transaction stays valid: half of what admission allows by default."""

PUBLIC_TIER = "public"
TIERS = (PUBLIC_TIER, "private", "max-private")

_AMOUNT = re.compile(r"(?P<whole>\d{1,10})(\.(?P<part>\d{1,9}))?")
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class NewWallet:
    """A wallet that was made.

    Attributes:
        name: Its name.
        address: 0x and 40 hex digits.
        path: Its key file.
    """

    name: str
    address: str
    path: str


@dataclass(frozen=True, slots=True)
class Sent:
    """A transaction that is durable on the log.

    Attributes:
        digest: SHA-256 of its body, hex: what `wallet receipt` takes.
        topic: Topic.
        offset: Offset of its record.
        sender: Account index.
        recipient: Account index; 0 for a registration.
        recipient_shard: Shard of the recipient.
        amount: Units of 1e-9.
        fee: Units of 1e-6.
        nonce: Its nonce.
        expiry: Last slot in which it is valid.
    """

    digest: str
    topic: str
    offset: int
    sender: int
    recipient: int
    recipient_shard: int
    amount: int
    fee: int
    nonce: int
    expiry: int


@dataclass(frozen=True, slots=True)
class RegisterOptions:
    """A registration.

    Attributes:
        data: Data directory, which holds both keys.
        wallet: Name of the wallet to register.
        payer: Name of the wallet that signs and pays; the issuer's registers free of charge.
        now_millis: Current UTC time.
        shard: Shard.
        lifetime_slots: Slots from now for which it stays valid.
    """

    data: Path
    wallet: str
    payer: str
    now_millis: int
    shard: int = 0
    lifetime_slots: int = DEFAULT_LIFETIME_SLOTS


@dataclass(frozen=True, slots=True)
class SendOptions:
    """A payment.

    Attributes:
        data: Data directory, which holds the keys.
        wallet: Name of the paying wallet.
        to: Account index, or address of an account that is registered on the recipient's shard.
        amount: Units of 1e-9; see `parse_amount`.
        now_millis: Current UTC time.
        fee: Units of 1e-6.
        shard: Shard of the paying account.
        to_shard: Shard of the recipient if it is another one.
        tier: Only `public` is built.
        lifetime_slots: Slots from now for which it stays valid.
        nonce: To set it by hand; otherwise read from the log.
    """

    data: Path
    wallet: str
    to: str
    amount: int
    now_millis: int
    fee: int = PUBLIC_FEE
    shard: int = 0
    to_shard: int | None = None
    tier: str = PUBLIC_TIER
    lifetime_slots: int = DEFAULT_LIFETIME_SLOTS
    nonce: int | None = None


def parse_amount(text: str) -> int:
    """Returns units of 1e-9 for a decimal number of ECLIPT, exactly.

    Raises:
        ParameterError: Not a plain decimal number with at most nine decimals, or 2^60 units and more.
    """
    match = _AMOUNT.fullmatch(text)
    units = 0
    if match is not None:
        units = int(match["whole"]) * UNITS_PER_COIN + int((match["part"] or "").ljust(9, "0"))
    if match is None or not text.isascii() or units >= AMOUNT_LIMIT:
        raise ParameterError(
            f"an amount is like 1.5, with at most nine decimals and below 1152921504.6, got {text!r}"
        )
    return units


def new_wallet(data: Path, name: str) -> NewWallet:
    """Makes a wallet; it can be paid once it is registered.

    Raises:
        ParameterError: The name is taken or not allowed.
        EclipticaError: The key cannot be stored.
    """
    key = create_key(data, name)
    return NewWallet(name, "0x" + key.address.hex(), str(key_path(data, name)))


def check_payer(log: TopicLog, genesis: Genesis, data: Path, payer: str, shard: int) -> None:
    """Checks that a wallet can register others, before anything is made for them.

    Raises:
        ParameterError: There is no such shard, its key is missing, or it is neither the issuer nor registered on the shard.
    """
    check_shard(genesis, shard)
    key = load_key(data, payer)
    if key.pair.public_key != genesis.issuer_key:
        _own_index(read_ledger(log, shard), key)


def register_wallet(log: TopicLog, genesis: Genesis, options: RegisterOptions) -> Sent:
    """Registers a wallet's key on the ledger, paid and signed by another wallet or by the issuer.

    Raises:
        ParameterError: There is no such shard, a key is missing, the payer is not registered, or the wallet already is.
    """
    check_shard(genesis, options.shard)
    key, paying = load_key(options.data, options.wallet), load_key(options.data, options.payer)
    reader = read_ledger(log, options.shard)
    if reader.account(key.address) is not None:
        raise ParameterError(
            f"wallet {options.wallet!r} is already registered on shard {options.shard}"
        )
    is_issuer = paying.pair.public_key == genesis.issuer_key
    sender = int(ReservedCell.RESERVE) if is_issuer else _own_index(reader, paying)
    transaction = Transaction(
        kind=TransactionKind.REGISTER,
        chain=genesis.chain,
        shard=options.shard,
        sender=sender,
        recipient=0,
        amount=0,
        fee=0 if is_issuer else PUBLIC_FEE,
        nonce=reader.next_nonce(sender),
        expiry=genesis.slot_at(options.now_millis) + options.lifetime_slots,
        address=key.address,
        public_key=key.pair.public_key,
    )
    return _append(log, sign(paying.pair, transaction), transaction, options.now_millis)


def send_payment(log: TopicLog, genesis: Genesis, options: SendOptions) -> Sent:
    """Signs a transfer, or an issue when the issuer pays, and appends it to the payer's shard's topic.

    To another shard, an index is not looked up: if there is no such account when the transfer arrives, it goes back.

    Raises:
        ParameterError: Unknown wallet, recipient or shard, or a value outside its range.
        EnvironmentMissing: A tier that is not built.
    """
    check_tier(options.tier)
    if not 1 <= options.lifetime_slots < EXPIRY_SPAN:
        raise ParameterError(f"a lifetime is in [1, {EXPIRY_SPAN}) slots")
    if not 0 <= options.amount < AMOUNT_LIMIT:
        raise ParameterError(f"an amount is in [0, 2^60) units, got {options.amount}")
    check_shard(genesis, options.shard)
    key = load_key(options.data, options.wallet)
    is_issuer = key.pair.public_key == genesis.issuer_key
    if options.to_shard is not None:
        _check_destination(genesis, options, is_issuer=is_issuer)
    reader = read_ledger(log, options.shard)
    sender = int(ReservedCell.RESERVE) if is_issuer else _own_index(reader, key)
    kind, there = (TransactionKind.ISSUE if is_issuer else TransactionKind.TRANSFER), reader
    if options.to_shard is not None:
        kind, there = TransactionKind.OUTBOUND, read_ledger(log, options.to_shard)
    transaction = Transaction(
        kind=kind,
        chain=genesis.chain,
        shard=options.shard,
        peer=options.to_shard or 0,
        sender=sender,
        recipient=resolve_recipient(there, options.to),
        amount=options.amount,
        fee=0 if is_issuer else options.fee,
        nonce=reader.next_nonce(sender) if options.nonce is None else options.nonce,
        expiry=genesis.slot_at(options.now_millis) + options.lifetime_slots,
    )
    return _append(log, sign(key.pair, transaction), transaction, options.now_millis)


def read_receipt(log: TopicLog, genesis: Genesis, digest: str, shard: int = 0) -> Receipt:
    """Returns how certain a transaction is; of blocks, only what a quorum of the genesis' validators signed counts.

    A transfer to another shard also tells whether it was credited there or sent back.

    Raises:
        ParameterError: Not a digest, no such shard, or a transaction that the log does not hold.
    """
    if not _DIGEST.fullmatch(digest):
        raise ParameterError(f"a transaction digest is 64 hex digits, got {digest[:80]!r}")
    check_shard(genesis, shard)
    reader = read_ledger(log, shard)
    receipt = reader.receipt(bytes.fromhex(digest))
    if receipt is None:
        raise ParameterError(
            f"shard {shard} of this log holds no transaction {digest}", "check --log and --shard"
        )
    transaction = reader.transaction(bytes.fromhex(digest))
    if transaction is not None and is_crossing(transaction) and receipt.height is not None:
        crossing = read_crossing(log, genesis, transaction, receipt.height)
        receipt = replace(receipt, crossing=crossing)
    if receipt.state != ReceiptState.BFT_FINAL:
        return receipt
    return with_beacon(receipt, read_beacon(log.rows(BEACON, CONSENSUS), genesis))


def is_crossing(transaction: Transaction) -> bool:
    """Says whether a transaction pays to an account of another shard."""
    return transaction.kind is TransactionKind.OUTBOUND


def check_shard(genesis: Genesis, shard: int) -> None:
    """Checks that the chain has a shard.

    Raises:
        ParameterError: It has not.
    """
    if not 0 <= shard < genesis.shards:
        last = genesis.shards - 1
        have = "the only one is shard 0" if not last else f"shards are numbered 0 to {last}"
        raise ParameterError(f"this chain has no shard {shard}", have)


def scan_notes(tier: str = "private") -> None:
    """Looks for incoming notes of the private tiers, which are not built yet.

    Raises:
        EnvironmentMissing: Always.
    """
    raise EnvironmentMissing(
        f"the {tier} tier is not built yet, so there are no notes to scan for",
        "public payments need no scan: see `ecliptica wallet receipt`",
    )


def check_tier(tier: str) -> None:
    """Checks that a tier can be used.

    Raises:
        ParameterError: There is no such tier.
        EnvironmentMissing: It is not built yet.
    """
    if tier not in TIERS:
        raise ParameterError(f"there is no tier {tier!r}", f"one of {', '.join(TIERS)}")
    if tier != PUBLIC_TIER:
        raise EnvironmentMissing(f"the {tier} tier is not built yet", "use --tier public")


def read_ledger(log: TopicLog, shard: int) -> LedgerReader:
    """Reads a shard's transactions and receipts from the start of the log."""
    reader = LedgerReader(shard)
    reader.add_receipts(log.rows(RECEIPTS_TOPIC, RECEIPTS))
    reader.add_transactions(log.rows(shard_topic("tx", shard), TRANSACTIONS))
    return reader


def resolve_recipient(reader: LedgerReader, to: str) -> int:
    """Returns the account index that `to` names: a number, or a registered address.

    Raises:
        ParameterError: Neither, or an index outside the accounts' range.
    """
    if to.isascii() and to.isdigit():
        index = int(to) if len(to) <= 10 else INDEX_LIMIT
        if not FIRST_ACCOUNT <= index < INDEX_LIMIT:
            raise ParameterError(f"an account index is in [{FIRST_ACCOUNT}, 2^30), got {to[:20]}")
        return index
    try:
        address = parse_address(to)
    except ValueError as error:
        raise ParameterError(
            f"a recipient is an account index or 0x and 40 hex digits, got {to[:80]!r}"
        ) from error
    account = reader.account(address)
    if account is None:
        raise ParameterError(f"no account is registered for {to} on shard {reader.shard}")
    return account.index


def _check_destination(genesis: Genesis, options: SendOptions, *, is_issuer: bool) -> None:
    """Checks that a payer can pay to the shard that was named.

    Raises:
        ParameterError: There is no such shard, or it is the payer's own, or the issuer pays.
    """
    to_shard = options.shard if options.to_shard is None else options.to_shard
    check_shard(genesis, to_shard)
    if to_shard == options.shard:
        raise ParameterError(
            f"shard {to_shard} is the paying account's own", "leave --to-shard out"
        )
    if is_issuer:
        raise ParameterError(
            "the issuer issues on one shard and sends nothing to another",
            "issue there with --shard, or to a wallet that sends it on",
        )


def _own_index(reader: LedgerReader, key: StoredKey) -> int:
    account = reader.account(key.address)
    if account is None:
        raise ParameterError(
            f"wallet {key.name!r} is not registered on shard {reader.shard}",
            "register it first: see `ecliptica wallet new --help`",
        )
    return account.index


def _append(log: TopicLog, signed: Signed, transaction: Transaction, now_millis: int) -> Sent:
    row = {
        "body": signed.body,
        "signature": signed.signature,
        "submitted_millis": now_millis,
    }
    topic = shard_topic("tx", transaction.shard)
    offset = log.append(topic, *encode(TRANSACTIONS, TRANSACTIONS.batch([row])))
    return Sent(
        digest=hashlib.sha256(signed.body).hexdigest(),
        topic=topic,
        offset=offset,
        sender=transaction.sender,
        recipient=transaction.recipient,
        recipient_shard=transaction.peer if is_crossing(transaction) else transaction.shard,
        amount=transaction.amount,
        fee=transaction.fee,
        nonce=transaction.nonce,
        expiry=transaction.expiry,
    )
