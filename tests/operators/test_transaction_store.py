"""Transactions as the log holds them: what of a sender's claims is believed."""

from __future__ import annotations

import pytest

from operators.transaction_store import CLAIM_MILLIS, StoredTransaction

APPENDED = 1_700_000_000_000


@pytest.mark.parametrize(
    ("claimed", "believed"),
    [
        (APPENDED, APPENDED),
        (APPENDED - 1, APPENDED - 1),
        (APPENDED - CLAIM_MILLIS, APPENDED - CLAIM_MILLIS),
        (APPENDED - CLAIM_MILLIS - 1, APPENDED),
        (APPENDED + 1, APPENDED),
        (0, APPENDED),
        (-(2**63), APPENDED),
        (2**63 - 1, APPENDED),
    ],
)
def test_a_time_of_sending_is_believed_within_a_minute_before_the_append(
    claimed: int, believed: int
) -> None:
    assert StoredTransaction(0, 0, b"", b"", claimed, APPENDED).sent_millis == believed
