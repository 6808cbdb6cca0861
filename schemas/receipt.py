"""The states of a transaction, as its receipt names them; never a vague "confirmed"."""

from __future__ import annotations

from enum import StrEnum


class ReceiptState(StrEnum):
    """How certain a transaction is.

    `pending`: on the log. `rejected`: refused with a reason, kept as a dead letter. `bft_final`: in a
    block with a quorum's certificate, revertible by a fault verdict or an unproven epoch. `proven`: its
    epoch's proof is accepted by the beacon and the window for transaction faults has passed.
    `beacon_final`: inside a day proof that carries a beacon certificate.

    Today `proven` says less: the beacon has accepted the proofs of its window. There are no fault verdicts yet, and so
    no window for them.
    """

    PENDING = "pending"
    REJECTED = "rejected"
    BFT_FINAL = "bft_final"
    PROVEN = "proven"
    BEACON_FINAL = "beacon_final"


COVERED_BY_PROOF = ("balances", "nonces", "expiry", "fees", "supply", "registered keys' digests")
"""What the window's STARK shows about a Public transaction."""

COVERED_BY_QUORUM = ("ML-DSA-44 signature", "data availability")
"""What only the validators' signatures and the fault window stand for."""
