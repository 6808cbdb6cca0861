"""Why the beacon refuses an event of the fraud or market rules: stable names; a refused event changes nothing."""

from __future__ import annotations

from enum import StrEnum


class FraudRefusal(StrEnum):
    """Refusals of blocks, bonds, claims, verdicts and epochs."""

    AMOUNT_OUT_OF_RANGE = "amount_out_of_range"
    BALANCE_TOO_SMALL = "balance_too_small"
    NOTHING_BONDED = "nothing_bonded"
    ALREADY_UNBONDING = "already_unbonding"

    DUPLICATE_BLOCK = "duplicate_block"
    NOT_ON_TIP = "not_on_tip"
    UNKNOWN_SOURCE = "unknown_source"
    REVERTED_SOURCE = "reverted_source"
    HEIGHT_REUSED = "height_reused"
    HEIGHT_SKIPPED = "height_skipped"
    SLOT_WENT_BACK = "slot_went_back"
    VIEW_WENT_BACK = "view_went_back"
    EPOCH_NOT_BEGUN = "epoch_not_begun"
    EPOCH_OUT_OF_ORDER = "epoch_out_of_order"

    OVERSIZED_CLAIM = "oversized_claim"
    UNKNOWN_BLOCK = "unknown_block"
    WRONG_EPOCH = "wrong_epoch"
    REPLAYED_CLAIM = "replayed_claim"
    ALREADY_CLAIMED = "already_claimed"
    ALREADY_CONVICTED = "already_convicted"
    BLOCK_PRUNED = "block_pruned"
    PREEMPTED_BY_PROOF = "preempted_by_proof"
    WINDOW_CLOSED = "window_closed"
    CLAIM_WITHOUT_BOND = "claim_without_bond"

    UNKNOWN_CLAIM = "unknown_claim"
    ALREADY_JUDGED = "already_judged"
    LOSSES_MALFORMED = "losses_malformed"
    LOSSES_BEYOND_VALUE = "losses_beyond_value"
    ALREADY_PUNISHED = "already_punished"

    BLOCK_REVERTED = "block_reverted"
    ALREADY_SHOWN = "already_shown"


class MarketRefusal(StrEnum):
    """Refusals of stakes, jobs, leases, heartbeats, proofs and settlements."""

    AMOUNT_OUT_OF_RANGE = "amount_out_of_range"
    BALANCE_TOO_SMALL = "balance_too_small"
    STAKE_IN_USE = "stake_in_use"
    CLOCK_WENT_BACK = "clock_went_back"
    CLOCK_SKEW = "clock_skew"

    EPOCH_OUT_OF_ORDER = "epoch_out_of_order"
    UNKNOWN_EPOCH = "unknown_epoch"
    EPOCH_UNFINISHED = "epoch_unfinished"
    DUPLICATE_JOB = "duplicate_job"
    TOO_MANY_JOBS = "too_many_jobs"
    JOB_OUT_OF_RANGE = "job_out_of_range"
    QUEUE_FULL = "queue_full"

    UNKNOWN_JOB = "unknown_job"
    JOB_DONE = "job_done"
    JOB_DEAD = "job_dead"
    JOB_NOT_DEAD = "job_not_dead"
    PROVER_UNBONDED = "prover_unbonded"
    PROVER_BARRED = "prover_barred"
    STAKE_TOO_SMALL = "stake_too_small"
    EXCLUSIVE_TO_ANOTHER = "exclusive_to_another"
    JOB_LEASED = "job_leased"
    ALREADY_LEASED = "already_leased"
    NO_LEASE = "no_lease"

    WRONG_PAYEE = "wrong_payee"
    WRONG_JOB = "wrong_job"
    WRONG_EPOCH = "wrong_epoch"
    OVERSIZED_PROOF = "oversized_proof"


class FeeRefusal(StrEnum):
    """Refusals of measurements that base fees would follow."""

    EPOCH_OUT_OF_ORDER = "epoch_out_of_order"
    LOAD_OUT_OF_RANGE = "load_out_of_range"


class EvidenceRefusal(StrEnum):
    """Why evidence of a fault convicts nobody; all but `ANSWER_AWAITED` are final."""

    OVERSIZED = "oversized"
    MALFORMED = "malformed"
    REPLAYED = "replayed"
    WRONG_CHAIN = "wrong_chain"
    WRONG_BLOCK = "wrong_block"
    WRONG_PARENT = "wrong_parent"
    WRONG_EPOCH = "wrong_epoch"
    WRONG_CLAIM = "wrong_claim"
    UNCERTIFIED = "uncertified"
    FOREIGN_CERTIFICATE = "foreign_certificate"
    WRONG_PATH = "wrong_path"
    INCOMPLETE = "incomplete"
    NO_FAULT = "no_fault"
    ANSWERED = "answered"
    ANSWER_AWAITED = "answer_awaited"


class EquivocationRefusal(StrEnum):
    """Why the beacon punishes nobody for evidence of equivocation; in this order, signatures last."""

    OVERSIZED = "oversized"
    MALFORMED = "malformed"
    WRONG_CHAIN = "wrong_chain"
    WRONG_SHARD = "wrong_shard"
    WRONG_EPOCH = "wrong_epoch"
    UNKNOWN_SIGNER = "unknown_signer"
    ALREADY_PUNISHED = "already_punished"
    NOTHING_BONDED = "nothing_bonded"
    BAD_SIGNATURE = "bad_signature"
