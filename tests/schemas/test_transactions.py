from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import ParameterError, WireError
from schemas.rejection import RejectionReason, rejection_of
from schemas.transactions import (
    BODY_BYTES,
    PEER_BYTES,
    REGISTER_BODY_BYTES,
    SUPPORTED_KINDS,
    SignedTransaction,
    Transaction,
    TransactionKind,
    decode_body,
    decode_signed,
    signed_bytes,
)
from schemas.units import (
    ADDRESS_BYTES,
    AMOUNT_LIMIT,
    FEE_LIMIT,
    INDEX_LIMIT,
    PUBLIC_KEY_BYTES,
    SIGNATURE_BYTES,
)

TRANSFER = Transaction(TransactionKind.TRANSFER, 2, 0, 16, 17, 5, 1000, 3, 99)
REGISTER = Transaction(
    TransactionKind.REGISTER,
    2,
    0,
    16,
    0,
    0,
    1000,
    3,
    99,
    bytes(range(ADDRESS_BYTES)),
    b"k" * PUBLIC_KEY_BYTES,
)
OUTBOUND = replace(TRANSFER, kind=TransactionKind.OUTBOUND, peer=258)
SIGNATURE = b"s" * SIGNATURE_BYTES
AMOUNT_AT, FEE_AT, INDICES_AT = 16, 24, (8, 12, 28, 32)


def with_field(body: bytes, at: int, value: int, width: int) -> bytes:
    return body[:at] + value.to_bytes(width, "little") + body[at + width :]


def reason_of(data: bytes) -> RejectionReason:
    with pytest.raises(WireError) as refused:
        decode_signed(data)
    return rejection_of(data, refused.value)


@given(
    st.sampled_from([TransactionKind.TRANSFER, TransactionKind.ISSUE]),
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**16 - 1),
    st.integers(0, AMOUNT_LIMIT - 1),
    st.lists(st.integers(0, INDEX_LIMIT - 1), min_size=5, max_size=5),
)
def test_a_body_has_one_encoding(
    kind: TransactionKind, chain: int, shard: int, amount: int, numbers: list[int]
) -> None:
    sender, recipient, fee, nonce, expiry = numbers
    made = Transaction(kind, chain, shard, sender, recipient, amount, fee, nonce, expiry)
    assert len(made.body()) == BODY_BYTES
    assert decode_body(made.body()) == made


def test_a_registration_carries_address_and_key() -> None:
    assert len(REGISTER.body()) == REGISTER_BODY_BYTES
    assert decode_body(REGISTER.body()) == REGISTER
    signed = SignedTransaction(REGISTER, SIGNATURE)
    assert decode_signed(signed.encode()) == signed


def test_a_transfer_to_another_shard_ends_with_its_number() -> None:
    body = OUTBOUND.body()
    assert body == b"\1\x0a" + TRANSFER.body()[2:] + b"\2\1"
    assert len(body) == BODY_BYTES + PEER_BYTES
    assert decode_body(body) == OUTBOUND
    signed = SignedTransaction(OUTBOUND, SIGNATURE)
    assert decode_signed(signed.encode()) == signed
    assert len(signed.encode()) == signed_bytes(TransactionKind.OUTBOUND)
    assert reason_of(body[:-1] + SIGNATURE) is RejectionReason.WRONG_LENGTH


def test_what_another_shard_sent_has_a_digest_but_is_never_read_off_the_wire() -> None:
    arrival = replace(OUTBOUND, kind=TransactionKind.INBOUND)
    assert arrival.digest() != OUTBOUND.digest()
    assert reason_of(arrival.body() + SIGNATURE) is RejectionReason.KIND_NOT_SUPPORTED


def test_the_digest_is_pinned_because_receipts_outlive_versions() -> None:
    assert TRANSFER.digest().hex() == (
        "ca716d04e27e4451ff3e27e83e268174f940d8d20dfb4edd8996c8e9d935747a"
    )


def test_numbers_of_kinds_are_fixed_for_good() -> None:
    assert {kind.name: kind.value for kind in TransactionKind} == {
        "TRANSFER": 1,
        "REGISTER": 2,
        "ISSUE": 3,
        "SETTLE": 4,
        "SHIELD": 5,
        "UNSHIELD": 6,
        "PRIVATE": 7,
        "MAX_PRIVACY": 8,
        "STAKE": 9,
        "OUTBOUND": 10,
        "INBOUND": 11,
    }


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", RejectionReason.WRONG_LENGTH),
        (b"\1", RejectionReason.WRONG_LENGTH),
        (b"\2\1" + TRANSFER.body()[2:] + SIGNATURE, RejectionReason.WRONG_VERSION),
        (TRANSFER.body() + SIGNATURE[:-1], RejectionReason.WRONG_LENGTH),
        (TRANSFER.body() + SIGNATURE + b"x", RejectionReason.WRONG_LENGTH),
        (b"\1\2" + TRANSFER.body()[2:] + SIGNATURE, RejectionReason.WRONG_LENGTH),
        (bytes(2**14), RejectionReason.OVERSIZED_RECORD),
        (
            with_field(TRANSFER.body(), AMOUNT_AT, AMOUNT_LIMIT, 8) + SIGNATURE,
            RejectionReason.AMOUNT_TOO_LARGE,
        ),
        (
            with_field(TRANSFER.body(), FEE_AT, FEE_LIMIT, 4) + SIGNATURE,
            RejectionReason.FEE_TOO_LARGE,
        ),
        (
            with_field(REGISTER.body(), AMOUNT_AT, 1, 8) + SIGNATURE,
            RejectionReason.NON_CANONICAL,
        ),
        (with_field(REGISTER.body(), 12, 16, 4) + SIGNATURE, RejectionReason.NON_CANONICAL),
    ],
)
def test_bytes_are_refused_by_name(data: bytes, reason: RejectionReason) -> None:
    assert reason_of(data) is reason


@pytest.mark.parametrize("at", INDICES_AT)
def test_an_index_of_2_to_the_30_is_not_canonical(at: int) -> None:
    data = with_field(TRANSFER.body(), at, INDEX_LIMIT, 4) + SIGNATURE
    assert reason_of(data) is RejectionReason.NON_CANONICAL


@pytest.mark.parametrize("number", range(256))
def test_every_other_kind_is_refused(number: int) -> None:
    if number in SUPPORTED_KINDS:
        return
    data = bytes([1, number]) + TRANSFER.body()[2:] + SIGNATURE
    is_reserved = number in set(TransactionKind)
    assert reason_of(data) is (
        RejectionReason.KIND_NOT_SUPPORTED if is_reserved else RejectionReason.UNKNOWN_KIND
    )


def test_a_transfer_cannot_carry_a_key() -> None:
    with pytest.raises(ParameterError, match="expected 0 bytes, got 20"):
        replace(TRANSFER, address=bytes(ADDRESS_BYTES)).body()
