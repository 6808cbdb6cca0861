"""The metrics of every process: names, help, labels and buckets, in one place.

Names are `ecliptica_<noun>_<unit>`, counters end in `_total`, times are seconds. A label has few values, bounded by
the configuration: never an offset, a key, an account or a digest. `operators.metrics` records them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from schemas.errors import ParameterError

PREFIX = "ecliptica_"


class MetricKind(StrEnum):
    """What a metric does over time."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


LABELS: Final[Mapping[str, str]] = {
    "event": "what happened to a job; those of `schemas.job.JobEvent`",
    "kind": "kind of consensus message, of work on a block, or of error; fixed lists",
    "level": "level of the pyramid; those of `schemas.job.ProofLevel`",
    "process": "name of a process in the plan: one per role, one per validator for some",
    "reader": "name of a reader on the log: one per stage, shard and validator",
    "reason": "why a record was refused; those of `schemas.rejection` and `poison`",
    "shard": "shard number, or `beacon`",
    "stage": "name of a stage: one per kind and shard",
    "state": "where a job stands; those of `operators.jobs.JobState`",
    "topic": "a topic of the chain; those of `schemas.topics`",
    "version": "version of the package: one per process",
}
"""Every label there is, and what bounds its values."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric.

    Attributes:
        name: Full name.
        kind: See `MetricKind`.
        meaning: Help text.
        labels: Names in `LABELS`, in the order in which values are given.
        buckets: Upper bounds of a histogram, rising; empty for the other kinds.
    """

    name: str
    kind: MetricKind
    meaning: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        """Checks name, labels and buckets.

        Raises:
            ParameterError: One of them breaks the rules of this module.
        """
        is_total = self.name.endswith("_total")
        if not self.name.startswith(PREFIX) or is_total != (self.kind is MetricKind.COUNTER):
            raise ParameterError(f"{self.name} is no name of a {self.kind}")
        if unknown := set(self.labels) - set(LABELS):
            raise ParameterError(f"{self.name} has unknown labels: {', '.join(sorted(unknown))}")
        is_rising = sorted(set(self.buckets)) == list(self.buckets)
        if bool(self.buckets) != (self.kind is MetricKind.HISTOGRAM) or not is_rising:
            raise ParameterError(f"{self.name}: a histogram, and nothing else, has rising buckets")


LOG_SECONDS = (0.0005, 0.001, 0.002, 0.004, 0.008, 0.015, 0.03, 0.06, 0.125, 0.25, 1.0, 4.0)
"""Seconds of one call of the log: it is to stay under 4 ms a hop and 15 ms over five, so these are bounds; a disk that
synchronises slowly, or a broker that comes back, shows above 0.25."""

STEP_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 5.12)
"""Seconds of one step on a batch: 40 ms are the share of admission and execution in the way to finality, so the bounds
double from well below it to well above."""

FINALITY_SECONDS = (0.025, 0.05, 0.1, 0.15, 0.2, 0.25, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 30.0)
"""Seconds to a certificate: the goals are 0.15 and 0.2 from the proposal, 0.25 and 0.4 from the submission, so these
are bounds; above them a time-out of a view (1 s, doubled up to 30 s) decides."""

PROOF_SECONDS = (0.5, 1.0, 2.0, 4.0, 8.0, 12.0, 16.0, 24.0, 32.0, 64.0, 128.0, 300.0)
"""Seconds of one proof: 1 to 16 on the machines measured, by level; at 300 a lease without a heartbeat runs out."""

BATCH_RECORDS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
"""Records of one poll: powers of two up to the most that any driver asks for."""


def _metric(
    kind: MetricKind,
    name: str,
    meaning: str,
    labels: tuple[str, ...] = (),
    buckets: tuple[float, ...] = (),
) -> Metric:
    return Metric(PREFIX + name, kind, meaning, labels, buckets)


_COUNTER, _GAUGE, _HISTOGRAM = MetricKind.COUNTER, MetricKind.GAUGE, MetricKind.HISTOGRAM

PROCESS_INFO = _metric(
    _GAUGE,
    "process_info",
    "1, with the name and the version of the process.",
    ("process", "version"),
)
PROCESS_READY = _metric(
    _GAUGE, "process_ready_state", "Whether /ready says yes: 1, else 0.", ("process",)
)
PROCESS_RESTARTS = _metric(
    _COUNTER,
    "process_restarts_total",
    "Times that the supervisor has started a process again.",
    ("process",),
)

READER_LAG_RECORDS = _metric(
    _GAUGE,
    "reader_lag_records",
    "Records between a reader and the ends of its topics.",
    ("reader",),
)
READER_LAG_SECONDS = _metric(
    _GAUGE,
    "reader_lag_seconds",
    "Age of the oldest record that a reader has not read.",
    ("reader",),
)
READER_RECORDS = _metric(
    _COUNTER, "reader_records_total", "Records that a reader was given.", ("reader",)
)
READER_BATCH = _metric(
    _HISTOGRAM,
    "reader_batch_records",
    "Records of one poll that found any.",
    ("reader",),
    BATCH_RECORDS,
)
READER_COMMIT_SECONDS = _metric(
    _HISTOGRAM,
    "reader_commit_seconds",
    "Time of one commit of outputs and positions.",
    ("reader",),
    LOG_SECONDS,
)
READER_ABORTS = _metric(
    _COUNTER,
    "reader_aborts_total",
    "Commits that failed, by class of error; nothing of them was written.",
    ("reader", "kind"),
)
LOG_APPEND_SECONDS = _metric(
    _HISTOGRAM, "log_append_seconds", "Time of one append.", ("topic",), LOG_SECONDS
)
LOG_RECORDS = _metric(
    _COUNTER, "log_records_total", "Records that a process has written, by topic.", ("topic",)
)
LOG_BYTES = _metric(_GAUGE, "log_size_bytes", "What the log takes on disk; not told by Kafka.")

STAGE_STEP_SECONDS = _metric(
    _HISTOGRAM,
    "stage_step_seconds",
    "Time that a stage took for one batch, without the log.",
    ("stage",),
    STEP_SECONDS,
)
STAGE_ROWS = _metric(
    _COUNTER,
    "stage_rows_total",
    "Rows that a stage has put on a topic: verdicts, closed windows, planned jobs, receipts.",
    ("stage", "topic"),
)
DEAD_LETTERS = _metric(
    _COUNTER, "dead_letters_total", "Records and transactions refused.", ("stage", "reason")
)
MEMPOOL_TRANSACTIONS = _metric(
    _GAUGE, "mempool_transactions", "Admitted transactions that wait for a block.", ("shard",)
)
ADMISSION_WAITING = _metric(
    _GAUGE,
    "admission_waiting_transactions",
    "Admitted transactions that are not final, as admission counts them.",
    ("shard",),
)
ADMISSION_ROOM = _metric(
    _GAUGE,
    "admission_room_transactions",
    "How many may be admitted and not final now; follows what blocks hold.",
    ("shard",),
)
ADMISSION_HELD = _metric(
    _GAUGE,
    "admission_held_state",
    "1 while admission waits for blocks and transactions wait on the log: overload.",
    ("shard",),
)

CONSENSUS_STEP_SECONDS = _metric(
    _HISTOGRAM,
    "consensus_step_seconds",
    "Time of one turn of consensus that had records, with journal and log.",
    ("shard",),
    STEP_SECONDS,
)
CONSENSUS_MESSAGES = _metric(
    _COUNTER, "consensus_messages_total", "Messages broadcast.", ("shard", "kind")
)
CONSENSUS_TIMEOUTS = _metric(
    _COUNTER, "consensus_timeouts_total", "Timers of consensus that ran out.", ("shard",)
)
CONSENSUS_VIEW = _metric(
    _GAUGE, "consensus_view_number", "View that a node of consensus is in.", ("shard",)
)
CONSENSUS_UNDECODABLE = _metric(
    _GAUGE,
    "consensus_undecodable_records",
    "Records that were no message, since the start.",
    ("shard",),
)
BLOCK_SECONDS = _metric(
    _HISTOGRAM,
    "block_work_seconds",
    "Time to build a proposal, check one, or make one final.",
    ("shard", "kind"),
    STEP_SECONDS,
)
FINAL_HEIGHT = _metric(_GAUGE, "final_height_number", "Height of the last final block.", ("shard",))
FINAL_BLOCKS = _metric(_COUNTER, "final_blocks_total", "Blocks that became final.", ("shard",))
FINAL_TRANSACTIONS = _metric(
    _COUNTER, "final_transactions_total", "Transactions of final blocks.", ("shard",)
)
CERTIFICATE_SECONDS = _metric(
    _HISTOGRAM,
    "certificate_latency_seconds",
    "From a proposal's append to the append of what made it final, by the log's clock.",
    ("shard",),
    FINALITY_SECONDS,
)
SUBMISSION_SECONDS = _metric(
    _HISTOGRAM,
    "submission_latency_seconds",
    "From a transaction's submission, as its sender says, to finality; believed within the minute before the append.",
    ("shard",),
    FINALITY_SECONDS,
)

QUEUE_JOBS = _metric(_GAUGE, "queue_jobs", "Proof jobs by where they stand.", ("state",))
JOB_EVENTS = _metric(
    _COUNTER,
    "job_events_total",
    "Events of proof jobs, of all provers, as this prover has read them since its start.",
    ("level", "event"),
)
RUNNING_JOBS = _metric(_GAUGE, "running_jobs", "Proofs in the making in this prover's pool.")
PROOF_TIME = _metric(
    _HISTOGRAM,
    "proof_making_seconds",
    "Time of one proof in its worker.",
    ("level",),
    PROOF_SECONDS,
)
WAITING_PROOFS = _metric(
    _GAUGE, "pyramid_waiting_proofs", "Recursive proofs planned and not on file yet.", ("level",)
)
KEPT_PROOFS = _metric(
    _COUNTER, "pyramid_kept_proofs_total", "Recursive proofs verified and put on file.", ("level",)
)
ACCEPTED_PROOFS = _metric(
    _COUNTER,
    "beacon_accepted_proofs_total",
    "Segment proofs that the beacon has accepted.",
    ("shard",),
)

SEALED_EPOCH = _metric(
    _GAUGE, "export_sealed_epoch_number", "Last sealed epoch, of the shard that is least far."
)
EXPORTED_EPOCHS = _metric(_COUNTER, "export_written_epochs_total", "Epochs written as Parquet.")

METRICS: Final = tuple(value for value in list(globals().values()) if isinstance(value, Metric))
"""Every metric, in the order of this module."""
