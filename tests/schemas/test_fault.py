"""Evidence as bytes: one form per value, every cut and every surplus refused, bounds kept."""

from __future__ import annotations

from dataclasses import replace

import pytest

from schemas.block import BlockHeader
from schemas.errors import WireError
from schemas.fault import (
    CLAIMS,
    MAX_CLAIM_BYTES,
    MAX_EVIDENCE_BYTES,
    OPENED_ARRAYS,
    Accused,
    ArrayOpening,
    BlockFlaw,
    Evidence,
    OpenedState,
    ShownAccount,
    StateOpening,
    TransactionFault,
    TransitionFault,
    decode_evidence,
    encode_evidence,
)
from schemas.rejection import RejectionReason
from schemas.units import INDEX_LIMIT, PUBLIC_KEY_BYTES, ZERO_WORD, word_bytes

ONE = word_bytes((1, 2, 3, 4, 5, 6, 7, 8))
HEADER = BlockHeader(7, 1, 0, 9, 80, 12, 11, ONE, ONE, ONE, ONE, 2, 3)
OPENING = StateOpening(
    20,
    tuple(ArrayOpening(ONE, ((3, ZERO_WORD), (9, ONE)), (ONE, ZERO_WORD)) for _ in OPENED_ARRAYS),
)
ACCOUNTS = (
    ShownAccount(16, bytes(20), bytes(PUBLIC_KEY_BYTES)),
    ShownAccount(17, bytes(20), b"k" * PUBLIC_KEY_BYTES),
)
ENTRY = TransactionFault(
    Accused(HEADER, HEADER, b"certificate"),
    RejectionReason.NONCE_GAP,
    1,
    40,
    ONE,
    ((0, ONE), (1, ZERO_WORD)),
    (ONE,),
    b"body",
    ACCOUNTS,
    OpenedState.AFTER,
    OPENING,
)
BLOCK = TransitionFault(
    Accused(HEADER, None), BlockFlaw.WRONG_COUNT, b"payload", (b"one", b""), 7, ONE, (ONE,), OPENING
)
BARE = replace(BLOCK, sequence=0, closing=b"", siblings=(), opening=None)


@pytest.mark.parametrize("evidence", [ENTRY, BLOCK, BARE])
def test_evidence_is_read_as_it_was_written_and_no_cut_or_surplus_is(evidence: Evidence) -> None:
    data = encode_evidence(evidence)
    assert decode_evidence(data) == evidence
    for end in range(len(data)):
        with pytest.raises(WireError):
            decode_evidence(data[:end])
    with pytest.raises(WireError, match="follow the last field"):
        decode_evidence(data + b"\0")


@pytest.mark.parametrize("evidence", [ENTRY, BLOCK, BARE])
def test_no_two_forms_of_evidence_are_read_as_one(evidence: Evidence) -> None:
    data = encode_evidence(evidence)
    for place in range(len(data)):
        changed = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
        try:
            found = decode_evidence(changed)
        except WireError:
            continue
        assert found != evidence
        assert encode_evidence(found) == changed


@pytest.mark.parametrize(
    ("evidence", "where"),
    [
        (replace(ENTRY, words=ENTRY.words[::-1]), "evidence.words"),
        (replace(ENTRY, words=ENTRY.words[:1] * 2), "evidence.words"),
        (replace(ENTRY, words=((INDEX_LIMIT, ONE),)), "evidence.words"),
        (replace(ENTRY, accounts=ACCOUNTS[::-1]), "evidence.accounts"),
        (replace(ENTRY, accounts=ACCOUNTS * 2), "evidence.accounts"),
        (replace(ENTRY, closing=b"\xff" * 32), "evidence.closing"),
        (replace(ENTRY, body=bytes(4000)), "evidence.body"),
        (replace(ENTRY, claim=BlockFlaw.WRONG_COUNT), "evidence.claim"),  # type: ignore[arg-type]
        (replace(BLOCK, closing=b""), "evidence.closing"),
        (replace(BLOCK, sequence=0), "evidence.closing"),
        (replace(BLOCK, closing=b"\xff" * 32), "evidence.closing.word"),
        (replace(BLOCK, payload=bytes(MAX_EVIDENCE_BYTES)), "evidence"),
    ],
)
def test_values_out_of_bounds_are_refused_with_their_field(evidence: Evidence, where: str) -> None:
    with pytest.raises(WireError) as caught:
        decode_evidence(encode_evidence(evidence))
    assert caught.value.where == where


def test_counts_are_held_against_the_bound_before_anything_is_read() -> None:
    data = bytearray(encode_evidence(BARE))
    place = data.index(b"payload") + len(b"payload")
    data[place : place + 4] = (2**32 - 1).to_bytes(4, "little")
    with pytest.raises(WireError) as caught:
        decode_evidence(bytes(data))
    assert caught.value.where == "evidence.bodies"


def test_another_version_or_kind_is_refused() -> None:
    data = encode_evidence(BARE)
    for place, where in ((0, "evidence.version"), (1, "evidence.kind")):
        changed = data[:place] + b"\x07" + data[place + 1 :]
        with pytest.raises(WireError) as caught:
            decode_evidence(changed)
        assert caught.value.where == where


def test_claims_have_names_of_their_own_that_fit() -> None:
    assert len(CLAIMS) == len(BlockFlaw) + len(RejectionReason)
    assert max(map(len, CLAIMS)) <= MAX_CLAIM_BYTES
