"""The prover: takes jobs off the log by lease, has a pool prove them, and appends proofs.

It keeps nothing of its own. The job book is folded from the log at every start, so a killed prover goes on
where the log stands: its leases are its own again, or run out and go to another. A lost worker is a failed
attempt. A proof and the end of its job are appended in one transaction.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from operators.event_log import Append, EventLog, LogReader, Record, StoredRecord
from operators.jobs import Job, JobBook, JobState, RetryPolicy
from operators.log_schemas import registry_of
from operators.metrics import NO_METRICS, Metrics
from operators.proof_worker import ProofResult, verify_job_proof
from operators.prover_pool import Outcome, ProverPool
from proving.backends.port import Hasher
from proving.errors import ProofError
from schemas.errors import WireError
from schemas.job import JobEnvelope, JobEvent
from schemas.metrics import JOB_EVENTS, PROOF_TIME, QUEUE_JOBS, RUNNING_JOBS
from schemas.tables import JOBS, PROOFS, SCHEMA_HEADER, SchemaRegistry, Table, encode
from schemas.topics import JOBS as JOBS_TOPIC
from schemas.topics import PROOFS as PROOFS_TOPIC

LOGGER = logging.getLogger(__name__)

POLL_RECORDS = 256
"""Records per poll; the log stops earlier at its own limit of bytes."""


EVENTS = frozenset(event.value for event in JobEvent)


@dataclass(slots=True)
class ProverRole:
    """One prover; `turn` is one round of its loop.

    Attributes:
        log: An open log of its own.
        pool: Where proofs are made.
        worker: Name of the prover; one process at a time runs under it.
        now_millis: Clock, UTC milliseconds.
        hasher: Checks proofs that others have put on the log.
        policy: Leases, back-off and attempts.
        metrics: Where jobs and proofs are recorded.
    """

    log: EventLog
    pool: ProverPool
    worker: str
    now_millis: Callable[[], int]
    hasher: Hasher
    policy: RetryPolicy = field(default_factory=RetryPolicy)
    metrics: Metrics = NO_METRICS
    book: JobBook = field(init=False)
    registry: SchemaRegistry = field(init=False)
    _reader: LogReader = field(init=False)
    _running: dict[bytes, int] = field(default_factory=dict)
    _found: dict[bytes, list[int]] = field(default_factory=dict)
    _beat_millis: int = 0
    _is_started: bool = False

    def __post_init__(self) -> None:
        """Opens the reader, which fences a prover of the same name, and folds the book from the start."""
        self.book, self.registry = JobBook(self.policy), registry_of(self.log)
        self._reader = self.log.reader(f"prover.{self.worker}", (JOBS_TOPIC, PROOFS_TOPIC))
        for topic in (JOBS_TOPIC, PROOFS_TOPIC):
            self._reader.seek(topic, 0, self.log.first_offset(topic))
        self._read()
        self._is_started = True

    @property
    def running(self) -> int:
        """Jobs in the pool."""
        return len(self._running)

    def turn(self, timeout_seconds: float) -> int:
        """Reads the log, keeps leases alive, appends what is proven and takes more work.

        Waits at most the timeout, for the pool or, with nothing in it, for the log.

        Returns:
            Outcomes handled plus jobs taken.

        Raises:
            FencedError: Another prover of this name was started.
            EnvironmentMissing: The pool is lost; open a new one and a new role.
        """
        self._read()
        self._beat()
        outcomes = self.pool.collect(timeout_seconds if self._running else 0.0)
        self._read()
        for outcome in outcomes:
            self._finish(outcome)
        taken = self._take()
        if not outcomes and not taken and not self._running:
            self.log.wait(timeout_seconds)
        return len(outcomes) + taken

    def _read(self) -> None:
        while records := self._reader.poll(POLL_RECORDS):
            for record in records:
                if record.topic == JOBS_TOPIC:
                    rows = self._rows(JOBS, record)
                    self.book.apply(rows)
                    self._record_events(rows)
                    continue
                for row in self._rows(PROOFS, record):
                    self._found.setdefault(bytes(row["job_id"]), []).append(record.offset)

    def measure(self) -> None:
        """Records how many jobs stand where."""
        for state, count in self.book.counts(self.now_millis()).items():
            self.metrics.set(QUEUE_JOBS, count, state.value)
        self.metrics.set(RUNNING_JOBS, self.running)

    def _record_events(self, rows: Sequence[Mapping[str, Any]]) -> None:
        for row in rows if self._is_started else ():
            job = self.book.jobs.get(row["job_id"])
            if job is not None and row["event"] in EVENTS:
                self.metrics.count(JOB_EVENTS, job.level.value, row["event"])

    def _rows(self, table: Table, record: StoredRecord) -> list[dict[str, Any]]:
        fingerprint = record.header(SCHEMA_HEADER).decode("ascii", "replace")
        try:
            rows: list[dict[str, Any]] = self.registry.decode(
                table, fingerprint, record.value
            ).to_pylist()
        except WireError as error:
            place = {"topic": record.topic, "offset": record.offset}
            LOGGER.warning("a record is passed over: %s", error, extra=place)
            return []
        return rows

    def _beat(self) -> None:
        now = self.now_millis()
        if not self._running or now < self._beat_millis:
            return
        self._beat_millis = now + self.policy.heartbeat_millis
        rows = [
            self._event(job_id, JobEvent.HEARTBEAT, attempt)
            for job_id, attempt in self._running.items()
        ]
        self._commit([record_of(JOBS, rows)])

    def _take(self) -> int:
        taken = 0
        for job in self._candidates():
            if job.job_id in self._running:
                self._lease(job)
                continue
            if self.pool.free(job.level) < 1:
                continue
            if not self._lease(job) or job.envelope is None:
                continue
            if self._is_proven(job):
                self._commit(
                    [record_of(JOBS, [self._event(job.job_id, JobEvent.PROVED, job.attempt)])]
                )
            else:
                self._running[job.job_id] = job.attempt
                self.pool.submit(job.job_id, job.level, job.envelope)
            taken += 1
        return taken

    def _candidates(self) -> list[Job]:
        """Returns what this prover left behind at its last end, then what is free."""
        now = self.now_millis()
        lost = [job for job in self.book.held_by(self.worker) if job.job_id not in self._running]
        known = {job.job_id for job in lost}
        return [*lost, *(job for job in self.book.ready(now) if job.job_id not in known)]

    def _lease(self, job: Job) -> bool:
        """Appends a lease and reads the log again to see whose lease came first."""
        attempt = job.attempt + 1
        self._commit([record_of(JOBS, [self._event(job.job_id, JobEvent.LEASED, attempt)])])
        is_won = job.state is JobState.LEASED and (job.worker, job.attempt) == (
            self.worker,
            attempt,
        )
        if is_won and job.job_id in self._running:
            self._running[job.job_id] = attempt
        return is_won

    def _is_proven(self, job: Job) -> bool:
        """Says whether the log holds an accepted proof of exactly this job."""
        if job.envelope is None:
            return False
        envelope = JobEnvelope.from_bytes(job.envelope)
        for offset in self._found.get(job.job_id, []):
            for record in self.log.read(PROOFS_TOPIC, offset, 1):
                for row in self._rows(PROOFS, record):
                    try:
                        verify_job_proof(envelope, row["proof"], self.hasher)
                    except (ProofError, WireError):
                        continue
                    return True
        return False

    def _finish(self, outcome: Outcome) -> None:
        attempt = self._running.pop(outcome.ticket, None)
        job = self.book.jobs.get(outcome.ticket)
        if attempt is None or job is None or not self._is_mine(job, attempt):
            LOGGER.info("finished too late", extra={"job": outcome.ticket.hex()})
            return
        if outcome.result is None:
            LOGGER.warning("a proof failed: %s", outcome.failure, extra=ids_of(job))
            event = JobEvent.LOST if outcome.is_lost else JobEvent.FAILED
            failed = self._event(job.job_id, event, attempt, outcome.failure)
            self._commit([record_of(JOBS, [failed])])
            if job.state is JobState.DEAD:
                LOGGER.error("a job is given up: %s", outcome.failure, extra=ids_of(job))
            return
        result = ProofResult.from_bytes(outcome.result)
        self.metrics.observe(PROOF_TIME, result.seconds, job.level.value)
        row = self._proof_row(job, result)
        proved = self._event(job.job_id, JobEvent.PROVED, attempt)
        self._commit([record_of(PROOFS, [row]), record_of(JOBS, [proved])])

    def _is_mine(self, job: Job, attempt: int) -> bool:
        """Says whether the attempt is the job's latest; its lease may have run out meanwhile."""
        latest = (job.worker, job.attempt) == (self.worker, attempt)
        return latest and job.state is JobState.LEASED and job.envelope is not None

    def _commit(self, outputs: Sequence[Append]) -> None:
        self._reader.commit(outputs)
        self._read()

    def _event(
        self, job_id: bytes, event: JobEvent, attempt: int, detail: str | None = None
    ) -> dict[str, Any]:
        now = self.now_millis()
        return {
            "job_id": job_id,
            "event": event.value,
            "attempt": attempt,
            "worker": self.worker,
            "at_millis": now,
            "lease_until_millis": now + self.policy.lease_millis,
            "detail": detail,
        }

    def _proof_row(self, job: Job, result: ProofResult) -> Mapping[str, Any]:
        envelope = JobEnvelope.from_bytes(job.envelope or b"")
        return {
            "job_id": job.job_id,
            "level": envelope.level.value,
            "shard": envelope.shard,
            "window": envelope.window,
            "segment": envelope.segment,
            "statement_digest": result.statement_digest,
            "statement": envelope.statement,
            "proof": result.proof,
            "proven_bits": float(result.proven_bits),
            "prover": self.worker,
            "prove_seconds": result.seconds,
            "phases": result.phases,
            "created_millis": self.now_millis(),
        }


def ids_of(job: Job) -> dict[str, str | int]:
    """Returns the ids of a job for a log line."""
    return {
        "job": job.job_id.hex(),
        "proof_level": job.level.value,
        "window": job.order[0],
        "attempt": job.attempt,
    }


def record_of(table: Table, rows: Sequence[Mapping[str, Any]]) -> Append:
    """Returns one record of the `jobs` or `proofs` topic, which are named like their tables."""
    headers, body = encode(table, table.batch(rows))
    return Append(table.name, [Record(body, headers)])


def run_prover(role: ProverRole, stop: Callable[[], bool], turn_seconds: float = 0.25) -> int:
    """Runs a prover until `stop` says so and closes its pool; returns the outcomes handled and jobs taken.

    Proofs in the making are left: their leases are taken up again at the next start.
    """
    done = 0
    try:
        while not stop():
            done += role.turn(turn_seconds)
    finally:
        role.pool.close()
    return done
