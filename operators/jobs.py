"""The job book: what every proof job has been through, folded from the `jobs` topic alone.

A worker that dies loses its lease, not the job. The log's order decides races: of two leases on a free job
the earlier record holds. A worker's name stands for one process at a time (the log fences an older one), so a
worker may lease again what it holds: that is how it goes on after a restart. Completion is by content: a job
is its statement, so a second proof of it changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from schemas.errors import ParameterError
from schemas.job import PROOF_LOST, JobEvent, ProofLevel, planned_envelope

_EVENTS = {event.value: event for event in JobEvent}


class JobState(StrEnum):
    """Where a job stands; a lease that has run out counts as `waiting`."""

    WAITING = "waiting"
    LEASED = "leased"
    PROVED = "proved"
    ACCEPTED = "accepted"
    DEAD = "dead"


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """When a job may be tried again.

    Attributes:
        lease_millis: A lease runs this long after its last heartbeat.
        heartbeat_millis: A working prover renews its leases this often; at most half a lease.
        backoff_millis: Wait after the first failure; doubles with each further one.
        backoff_limit_millis: Longest wait.
        max_attempts: After so many failed attempts a job is dead until it is requeued by hand.
        max_losses: The same for attempts whose worker was lost, which is rarely the job's fault.
    """

    lease_millis: int = 30_000
    heartbeat_millis: int = 10_000
    backoff_millis: int = 500
    backoff_limit_millis: int = 30_000
    max_attempts: int = 8
    max_losses: int = 50

    def __post_init__(self) -> None:
        """Checks the ranges.

        Raises:
            ParameterError: A value is not positive, or one late heartbeat would lose a lease.
        """
        times = (self.lease_millis, self.heartbeat_millis, self.backoff_millis)
        if min(*times, self.max_attempts, self.max_losses) < 1:
            raise ParameterError("lease, heartbeat, back-off and attempts must be positive")
        if 2 * self.heartbeat_millis > self.lease_millis:
            raise ParameterError("a lease lasts at least two heartbeats")

    def wait_after(self, failures: int) -> int:
        """Returns the milliseconds to wait after `failures` >= 1 failed attempts."""
        return int(min(self.backoff_limit_millis, self.backoff_millis << min(failures - 1, 20)))


@dataclass(slots=True)
class Job:
    """One job as the book knows it.

    Attributes:
        job_id: 32 bytes.
        envelope: Canonical envelope bytes; dropped (None) once the job is accepted.
        level: Level of the pyramid.
        order: Window that the job is about, then its position among planned jobs; work is handed out in this order.
        state: See `JobState`; `leased` may have run out, ask `JobBook.state_of`.
        worker: Holder of the latest lease, or its prover once proved.
        attempt: Number of the latest attempt, from 1; 0 before the first.
        lease_until_millis: End of the latest lease.
        failures: Attempts that reported a failure.
        losses: Attempts whose worker was lost.
        not_before_millis: A failed job waits until then.
        detail: What the last failure said.
    """

    job_id: bytes
    envelope: bytes | None
    level: ProofLevel
    order: tuple[int, int]
    state: JobState = JobState.WAITING
    worker: str = ""
    attempt: int = 0
    lease_until_millis: int = 0
    failures: int = 0
    losses: int = 0
    not_before_millis: int = 0
    detail: str = ""


@dataclass(slots=True)
class JobBook:
    """All jobs by id; `apply` folds events in log order and ignores those that do not fit.

    Attributes:
        policy: Leases, back-off and attempts.
        jobs: Every planned job.
        ignored: Events that named an unknown job, a lost race or a finished job.
    """

    policy: RetryPolicy = field(default_factory=RetryPolicy)
    jobs: dict[bytes, Job] = field(default_factory=dict)
    ignored: int = 0

    def apply(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Folds rows of the `jobs` table (see `schemas.tables.JOBS`) in log order."""
        for row in rows:
            if not self._apply_row(row):
                self.ignored += 1

    def state_of(self, job_id: bytes, now_millis: int) -> JobState:
        """Returns the state of a job at a time; an expired lease is `waiting`.

        Raises:
            ParameterError: No such job was planned.
        """
        job = self.jobs.get(job_id)
        if job is None:
            raise ParameterError(f"job {job_id.hex()} was never planned")
        if job.state is JobState.LEASED and job.lease_until_millis <= now_millis:
            return JobState.WAITING
        return job.state

    def ready(self, now_millis: int) -> list[Job]:
        """Returns the jobs that may be leased now, oldest window first.

        What joins older windows thus comes before what proves newer ones: a day is finished before the next.
        """
        found = [
            job
            for job in self.jobs.values()
            if self.state_of(job.job_id, now_millis) is JobState.WAITING
            and job.not_before_millis <= now_millis
        ]
        return sorted(found, key=lambda job: job.order)

    def held_by(self, worker: str) -> list[Job]:
        """Returns the jobs whose latest lease is this worker's and has no end yet, oldest window first."""
        found = [
            job
            for job in self.jobs.values()
            if job.state is JobState.LEASED and job.worker == worker
        ]
        return sorted(found, key=lambda job: job.order)

    def holds(self, job_id: bytes, worker: str, attempt: int, now_millis: int) -> bool:
        """Says whether this worker's attempt still owns the job."""
        job = self.jobs.get(job_id)
        return (
            job is not None
            and job.state is JobState.LEASED
            and (job.worker, job.attempt) == (worker, attempt)
            and job.lease_until_millis > now_millis
        )

    def counts(self, now_millis: int) -> dict[JobState, int]:
        """Returns how many jobs are in each state."""
        counts = dict.fromkeys(JobState, 0)
        for job_id in self.jobs:
            counts[self.state_of(job_id, now_millis)] += 1
        return counts

    def _apply_row(self, row: Mapping[str, Any]) -> bool:
        event = _EVENTS.get(row["event"])
        if event is None:
            return False
        job = self.jobs.get(row["job_id"])
        if event is JobEvent.PLANNED:
            return self._plan(row, job)
        if job is None or job.state is JobState.ACCEPTED:
            return False
        if event is JobEvent.ACCEPTED:
            job.state, job.envelope = JobState.ACCEPTED, None
            return True
        if event is JobEvent.LEASED:
            return self._lease(job, row)
        return self._finish_or_extend(job, event, row)

    def _plan(self, row: Mapping[str, Any], job: Job | None) -> bool:
        job_id, envelope = bytes(row["job_id"]), bytes(row["envelope"] or b"")
        planned = planned_envelope(row)
        if planned is None or (job is not None and job.state not in _plannable(row)):
            return False
        if job is None:
            order = planned.window, len(self.jobs)
            self.jobs[job_id] = Job(job_id, envelope, planned.level, order)
            return True
        job.envelope = envelope
        job.state, job.not_before_millis = JobState.WAITING, row["at_millis"]
        job.failures = job.losses = 0
        return True

    def _lease(self, job: Job, row: Mapping[str, Any]) -> bool:
        at = row["at_millis"]
        free = self.state_of(job.job_id, at) is JobState.WAITING and job.not_before_millis <= at
        own = job.state is JobState.LEASED and job.worker == row["worker"]
        if not (free or own) or row["attempt"] != job.attempt + 1:
            return False
        job.state, job.worker, job.attempt = JobState.LEASED, row["worker"], row["attempt"]
        job.lease_until_millis = at + self.policy.lease_millis
        return True

    def _finish_or_extend(self, job: Job, event: JobEvent, row: Mapping[str, Any]) -> bool:
        at = row["at_millis"]
        latest = (job.worker, job.attempt) == (row["worker"], row["attempt"])
        if job.state is JobState.PROVED or not latest:
            return False
        if event is JobEvent.PROVED:
            job.state = JobState.PROVED
            return True
        if job.state is not JobState.LEASED:
            return False
        if event is JobEvent.HEARTBEAT:
            if job.lease_until_millis <= at:
                return False
            job.lease_until_millis = at + self.policy.lease_millis
            return True
        job.detail = row["detail"] or ""
        if event is JobEvent.LOST:
            job.losses += 1
            job.not_before_millis = at + self.policy.wait_after(1)
        else:
            job.failures += 1
            job.not_before_millis = at + self.policy.wait_after(job.failures)
        policy = self.policy
        dead = job.failures >= policy.max_attempts or job.losses >= policy.max_losses
        job.state = JobState.DEAD if dead else JobState.WAITING
        return True


def _plannable(row: Mapping[str, Any]) -> frozenset[JobState]:
    """Returns the states in which a planned job is planned anew; a finished one if its proof is lost."""
    if row["detail"] == PROOF_LOST:
        return frozenset({JobState.DEAD, JobState.PROVED, JobState.ACCEPTED})
    return frozenset({JobState.DEAD})
