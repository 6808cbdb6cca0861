from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.jobs import JobBook, JobState, RetryPolicy
from schemas.errors import ParameterError
from schemas.job import JobEnvelope, ProofLevel

WORK = JobEnvelope(ProofLevel.SEGMENT, 0, 1, 0, b"statement", b"witness")
OTHER = JobEnvelope(ProofLevel.SEGMENT, 0, 0, 0, b"statement", b"witness")
JOB = WORK.job_id
POLICY = RetryPolicy(
    lease_millis=100,
    heartbeat_millis=30,
    backoff_millis=10,
    backoff_limit_millis=40,
    max_attempts=3,
)


def event(
    kind: str, at: int, worker: str = "w", attempt: int = 1, job: bytes = JOB, **more: Any
) -> dict[str, Any]:
    base = {"job_id": job, "event": kind, "attempt": attempt, "worker": worker, "at_millis": at}
    return {**base, "lease_until_millis": 0, "envelope": None, "detail": None, **more}


def planned(at: int = 0, work: JobEnvelope = WORK) -> dict[str, Any]:
    envelope = work.to_bytes()
    return event("planned", at, worker="", attempt=0, job=work.job_id, envelope=envelope)


def book(*rows: dict[str, Any]) -> JobBook:
    made = JobBook(POLICY)
    made.apply(rows)
    return made


def test_planned_jobs_are_ready_by_window_and_then_in_the_order_of_planning() -> None:
    """So what joins old windows comes before what proves new ones."""
    third = JobEnvelope(ProofLevel.EPOCH, 0, 0, 0, b"statement", b"witness")
    jobs = book(planned(), planned(work=OTHER), planned(work=third))
    assert [job.job_id for job in jobs.ready(0)] == [OTHER.job_id, third.job_id, JOB]


def test_the_first_lease_on_the_log_wins_the_race() -> None:
    race = book(planned(), event("leased", 5, "a"), event("leased", 5, "b"))
    assert race.holds(JOB, "a", 1, 6)
    assert not race.holds(JOB, "b", 1, 6)
    assert race.ignored == 1


def test_a_lease_without_heartbeats_runs_out_and_the_job_is_ready_again() -> None:
    jobs = book(planned(), event("leased", 0))
    assert jobs.ready(99) == []
    assert [job.job_id for job in jobs.ready(100)] == [JOB]
    jobs.apply([event("leased", 100, "other", 2)])
    assert jobs.holds(JOB, "other", 2, 150)


def test_a_heartbeat_extends_only_a_live_lease_of_the_same_worker() -> None:
    jobs = book(planned(), event("leased", 0), event("heartbeat", 90))
    assert jobs.holds(JOB, "w", 1, 189)
    jobs.apply([event("heartbeat", 150, "thief"), event("heartbeat", 190)])
    assert jobs.state_of(JOB, 190) is JobState.WAITING
    assert jobs.ignored == 2


def test_a_late_proof_of_the_latest_attempt_still_counts() -> None:
    jobs = book(planned(), event("leased", 0), event("proved", 500))
    assert jobs.state_of(JOB, 501) is JobState.PROVED


def test_a_proof_by_an_attempt_that_lost_its_job_is_ignored() -> None:
    jobs = book(planned(), event("leased", 0), event("leased", 200, "b", 2), event("proved", 210))
    assert jobs.holds(JOB, "b", 2, 211)


def test_failures_back_off_doubling_and_end_dead_until_requeued() -> None:
    jobs = book(planned(), event("leased", 0), event("failed", 1, detail="boom"))
    assert (jobs.ready(10), jobs.jobs[JOB].detail) == ([], "boom")
    jobs.apply([event("leased", 11, attempt=2), event("failed", 12, attempt=2)])
    assert jobs.ready(31) == []
    jobs.apply([event("leased", 32, attempt=3), event("failed", 33, attempt=3)])
    assert jobs.state_of(JOB, 10**9) is JobState.DEAD
    jobs.apply([planned(at=50)])
    assert [job.attempt for job in jobs.ready(50)] == [3]


def test_an_accepted_job_is_final_and_drops_its_envelope() -> None:
    jobs = book(planned(), event("accepted", 3), event("leased", 4), planned())
    assert (jobs.state_of(JOB, 5), jobs.jobs[JOB].envelope) == (JobState.ACCEPTED, None)
    assert jobs.counts(5)[JobState.ACCEPTED] == 1


def test_garbage_events_change_nothing() -> None:
    jobs = book(planned(), event("exploded", 1), event("leased", 1, job=b"\x09" * 32))
    jobs.apply([{**planned(work=OTHER), "envelope": None}])
    jobs.apply([{**planned(work=OTHER), "envelope": b"noise"}])
    jobs.apply([{**planned(work=OTHER), "job_id": b"\x08" * 32}])
    assert (len(jobs.jobs), jobs.ignored) == (1, 5)


def test_a_worker_that_was_started_again_leases_what_it_still_holds() -> None:
    jobs = book(planned(), event("leased", 0, "w", 1), event("leased", 5, "w", 2))
    assert jobs.holds(JOB, "w", 2, 104)
    assert [job.attempt for job in jobs.held_by("w")] == [2]
    jobs.apply([event("failed", 6, "w", 1)])
    assert (jobs.ignored, jobs.held_by("other")) == (1, [])


def test_a_failure_after_the_lease_ran_out_counts_all_the_same() -> None:
    jobs = book(planned(), event("leased", 0), event("failed", 500))
    assert (jobs.jobs[JOB].failures, jobs.ready(505)) == (1, [])


def test_a_dead_job_is_requeued_with_the_new_envelope() -> None:
    jobs = book(planned())
    for attempt in range(1, 4):
        at = 1000 * attempt
        jobs.apply([event("leased", at, attempt=attempt), event("failed", at, attempt=attempt)])
    better = JobEnvelope(ProofLevel.SEGMENT, 0, 1, 0, b"statement", b"another witness")
    jobs.apply([planned(5000, better)])
    assert jobs.ready(5000)[0].envelope == better.to_bytes()


def test_an_unknown_job_is_refused_by_name() -> None:
    with pytest.raises(ParameterError, match="never planned"):
        book().state_of(JOB, 0)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["leased", "heartbeat", "proved", "failed", "accepted", "planned"]),
            st.integers(0, 60),
            st.sampled_from(["a", "b"]),
            st.integers(0, 4),
        ),
        max_size=40,
    )
)
def test_at_most_one_worker_ever_holds_a_job(steps: list[tuple[str, int, str, int]]) -> None:
    jobs = book(planned())
    now = 0
    for kind, wait, worker, attempt in steps:
        now += wait
        jobs.apply([planned(now) if kind == "planned" else event(kind, now, worker, attempt)])
        holders = [(w, n) for w in "ab" for n in range(9) if jobs.holds(JOB, w, n, now)]
        assert len(holders) <= 1
        assert not (holders and jobs.ready(now))


def test_a_lost_worker_is_not_held_against_its_job_until_far_too_many_were_lost() -> None:
    policy = RetryPolicy(max_attempts=2, max_losses=5, backoff_millis=10)
    folded = JobBook(policy)
    folded.apply([planned()])
    at = 0
    for attempt in range(1, 6):
        assert folded.state_of(WORK.job_id, at) is JobState.WAITING
        folded.apply([event("leased", at, attempt=attempt), event("lost", at, attempt=attempt)])
        at += 10
    job = folded.jobs[WORK.job_id]
    assert (job.failures, job.losses, job.state) == (0, 5, JobState.DEAD)
    folded.apply([planned(at)])
    assert (job.losses, folded.state_of(WORK.job_id, at)) == (0, JobState.WAITING)
