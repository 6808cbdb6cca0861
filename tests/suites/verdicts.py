"""What circuits call the checks that one changed element of a proof can fail."""

from __future__ import annotations

from proving.errors import RejectionReason

SAME = {
    RejectionReason.CONSTRAINTS_NOT_SATISFIED: "the constraints",
    RejectionReason.PROOF_OF_WORK: "the work of",
    RejectionReason.MERKLE_PATH: "a path of",
    RejectionReason.FOLD_MISMATCH: "fri round",
    RejectionReason.FINAL_POLYNOMIAL: "the final polynomial",
}
"""Reason of the native verifier -> how the circuit's claim begins."""
