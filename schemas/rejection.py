"""Why a transaction is refused: stable names, kept with the dead letter."""

from __future__ import annotations

from enum import StrEnum

from schemas.errors import WireError
from schemas.transactions import SIGNED_BYTES_LIMIT, TransactionKind, signed_bytes


class RejectionReason(StrEnum):
    """Every reason of admission and execution.

    The first group is about bytes, the second about the transaction alone, the third about the state it
    meets. Validators use the same names when a proposed block is invalid.
    """

    FOREIGN_SCHEMA = "foreign_schema"
    UNDECODABLE_RECORD = "undecodable_record"
    OVERSIZED_RECORD = "oversized_record"
    WRONG_LENGTH = "wrong_length"
    WRONG_VERSION = "wrong_version"
    NON_CANONICAL = "non_canonical"
    UNKNOWN_KIND = "unknown_kind"
    KIND_NOT_SUPPORTED = "kind_not_supported"

    WRONG_CHAIN = "wrong_chain"
    WRONG_SHARD = "wrong_shard"
    AMOUNT_TOO_LARGE = "amount_too_large"
    FEE_TOO_LARGE = "fee_too_large"
    FEE_TOO_LOW = "fee_too_low"
    NOT_ISSUER = "not_issuer"
    UNKNOWN_SHARD = "unknown_shard"
    RESERVED_ACCOUNT = "reserved_account"
    BAD_SIGNATURE = "bad_signature"

    UNKNOWN_ACCOUNT = "unknown_account"
    EXPIRED = "expired"
    EXPIRY_TOO_FAR = "expiry_too_far"
    NONCE_GAP = "nonce_gap"
    NONCE_REPLAY = "nonce_replay"
    OVERDRAFT = "overdraft"
    BALANCE_OVERFLOW = "balance_overflow"
    DUPLICATE_ADDRESS = "duplicate_address"
    DUPLICATE_KEY = "duplicate_key"
    REGISTRY_FULL = "registry_full"
    BLOCK_FULL = "block_full"
    LEDGER_FULL = "ledger_full"


def rejection_of(data: bytes, error: WireError) -> RejectionReason:
    """Returns the reason that belongs to bytes which `decode_signed` refused with `error`."""
    if len(data) > SIGNED_BYTES_LIMIT:
        return RejectionReason.OVERSIZED_RECORD
    if len(data) < 2:
        return RejectionReason.WRONG_LENGTH
    if error.where == "transaction.version":
        return RejectionReason.WRONG_VERSION
    if error.where == "transaction.kind":
        reserved = data[1] in set(TransactionKind)
        return RejectionReason.KIND_NOT_SUPPORTED if reserved else RejectionReason.UNKNOWN_KIND
    if len(data) != signed_bytes(data[1]):
        return RejectionReason.WRONG_LENGTH
    return _BY_FIELD.get(error.where, RejectionReason.NON_CANONICAL)


_BY_FIELD = {
    "transaction.amount": RejectionReason.AMOUNT_TOO_LARGE,
    "transaction.fee": RejectionReason.FEE_TOO_LARGE,
}
