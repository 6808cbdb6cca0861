"""The pyramid's process on a day that is proven: what it plans, what it believes, and that a restart changes nothing."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from operators.beacon_start import BeaconPlace
from operators.event_log import EventLog, Record
from operators.jobs import JobState
from operators.log_memory import MemoryLog, MemoryStore
from operators.proof_files import damaged_path, proof_files
from operators.proof_worker import prove_envelope, verify_job_proof
from operators.prover_pool import Crew, DirectPool, ProverPool, RayPool
from operators.prover_role import ProverRole, record_of
from operators.pyramid_role import PyramidRole, envelope_of_node, open_pyramid
from operators.topic_view import TopicView
from proving.arithmetic.poseidon2 import NumpyHasher
from proving.backends.cpu import CpuBackend
from proving.errors import DeviceFailed
from proving.recursion.global_span import GlobalSpan
from proving.recursion.pyramid_work import LiftWork, decode_work, read_said, said_digest
from proving.recursion.span import Span
from schemas.job import JobEnvelope, JobEvent, ProofLevel
from schemas.tables import JOBS, PROOFS
from schemas.validators import validators_word
from tests.suites.mini_chain import MiniChain


@dataclass
class Pyramid:
    """The process on a copy of a day's log.

    Attributes:
        day: Whose log it is.
        data: Where its proofs go.
        store: The copy.
    """

    day: MiniChain
    data: Path
    store: MemoryStore = field(default_factory=MemoryStore)
    role: PyramidRole = field(init=False)

    def __post_init__(self) -> None:
        self.store.now_millis = lambda: self.day.now
        source, copy = self.day.log(), self.log()
        copy.create_topics(source.topics())
        for topic in source.topics():
            for stored in TopicView(source).records(topic):
                copy.append(topic, [Record(stored.value, stored.headers, stored.key)])
        self.start()

    def start(self) -> None:
        place = BeaconPlace(self.log(), self.day.genesis, self.day.configuration, NumpyHasher())
        self.role = open_pyramid(place, self.data)
        self.pump()

    def log(self) -> EventLog:
        return MemoryLog("memory://copy", self.store)

    def pump(self) -> None:
        while self.role.pump(self.day.now):
            pass

    def recursive(self, event: JobEvent) -> list[Mapping[str, Any]]:
        """Returns the rows of recursive jobs with an event, as far as they can be told apart."""
        known = {row["job_id"] for row in self.planned()}
        rows = TopicView(self.log()).rows("jobs", JOBS)
        return [row for row in rows if row["event"] == event and row["job_id"] in known]

    def planned(self) -> list[Mapping[str, Any]]:
        rows = TopicView(self.log()).rows("jobs", JOBS)
        return [row for row in rows if row["event"] == JobEvent.PLANNED and is_recursive(row)]

    def append(self, row: Mapping[str, Any]) -> None:
        output = record_of(PROOFS, [row])
        self.log().append(output.topic, output.records)


def is_recursive(row: Mapping[str, Any]) -> bool:
    try:
        return JobEnvelope.from_bytes(row["envelope"]).level is not ProofLevel.SEGMENT
    except ValueError:
        return False


@pytest.fixture
def pyramid(proven_day: MiniChain, tmp_path: Path) -> Pyramid:
    return Pyramid(proven_day, tmp_path / "data")


def test_a_closed_epoch_is_planned_from_what_the_beacon_accepted(pyramid: Pyramid) -> None:
    envelopes = [JobEnvelope.from_bytes(row["envelope"]) for row in pyramid.planned()]
    assert envelopes
    assert {envelope.level for envelope in envelopes} == {ProofLevel.WINDOW}
    for envelope in envelopes:
        said = read_said(envelope.statement)
        assert isinstance(said, Span)
        assert (said.chain, said.shard, said.shards) == (pyramid.day.genesis.chain, 0, 1)
    runs = [
        node.said for node in pyramid.role.waiting.values() if isinstance(node.said, GlobalSpan)
    ]
    assert {run.validators for run in runs} == {validators_word(pyramid.day.genesis.validator_keys)}
    assert runs[0].first_window == 0
    assert len(proof_files(pyramid.data, ProofLevel.SEGMENT)) >= len(envelopes)


def test_planning_again_changes_nothing(pyramid: Pyramid) -> None:
    before = {row["job_id"] for row in pyramid.planned()}
    pyramid.pump()
    assert len(pyramid.planned()) == len(before)
    pyramid.start()
    assert {row["job_id"] for row in pyramid.planned()} == before


def forged(pyramid: Pyramid, proof: bytes, **changes: Any) -> Mapping[str, Any]:
    (_, digest), node = next(iter(pyramid.role.waiting.items()))
    row: dict[str, Any] = {
        "job_id": bytes(32),
        "level": node.level.value,
        "shard": 0,
        "window": 0,
        "segment": 0,
        "statement_digest": digest,
        "statement": b"",
        "proof": proof,
        "proven_bits": 200.0,
        "prover": "nobody",
        "prove_seconds": 0.0,
        "phases": "[]",
        "created_millis": 0,
    }
    return row | changes


def test_a_proof_that_does_not_hold_is_not_kept(pyramid: Pyramid) -> None:
    waiting = set(pyramid.role.waiting)
    segment = proof_files(pyramid.data, ProofLevel.SEGMENT)[0].read_bytes()
    for row in (
        forged(pyramid, b""),
        forged(pyramid, b"no proof"),
        forged(pyramid, segment),
        forged(pyramid, segment, statement_digest=bytes(32)),
        forged(pyramid, segment, level="no level"),
    ):
        pyramid.append(row)
    pyramid.pump()
    assert set(pyramid.role.waiting) == waiting
    assert pyramid.recursive(JobEvent.ACCEPTED) == []
    assert proof_files(pyramid.data, ProofLevel.WINDOW) == []


def test_damaged_files_of_segments_are_set_aside_and_taken_from_the_log(
    proven_day: MiniChain, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    good = {
        path.name: path.read_bytes() for path in proof_files(proven_day.data, ProofLevel.SEGMENT)
    }
    for name in good:
        path = data / "proofs" / "segment" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(good[name][:-1])
    pyramid = Pyramid(proven_day, data)
    taken = [
        proof
        for row in pyramid.planned()
        for proof in lifted(JobEnvelope.from_bytes(row["envelope"]))
    ]
    assert taken
    assert set(taken) <= set(good.values())
    for path in proof_files(data, ProofLevel.SEGMENT):
        is_used = path.read_bytes() == good[path.name]
        assert damaged_path(path).exists() == is_used
    assert len(list((data / "proofs" / "segment").glob("*.damaged"))) == len(taken)


def lifted(envelope: JobEnvelope) -> tuple[bytes, ...]:
    work = decode_work(envelope.witness)
    assert isinstance(work, LiftWork)
    return work.proofs


@dataclass
class Clock:
    """Goes on by a tenth of a second whenever somebody looks at it.

    Attributes:
        now: UTC milliseconds.
    """

    now: int

    def __call__(self) -> int:
        self.now += 100
        return self.now


@dataclass
class LosingWork:
    """Work whose worker is lost with the first call of every level.

    Attributes:
        lost: Levels of the calls that were lost.
    """

    lost: list[ProofLevel] = field(default_factory=list)

    def __call__(self, envelope: bytes) -> bytes:
        level = JobEnvelope.from_bytes(envelope).level
        if level not in self.lost:
            self.lost.append(level)
            raise DeviceFailed("the worker is gone")
        return prove_envelope(envelope)


def opened(pyramid: Pyramid, pool: ProverPool, name: str, clock: Clock) -> ProverRole:
    return ProverRole(pyramid.log(), pool, name, clock, NumpyHasher())


def way_of(pyramid: Pyramid, job_id: bytes) -> list[tuple[str, str, int]]:
    """Returns what happened to a job after it was planned: event, worker and attempt."""
    rows = TopicView(pyramid.log()).rows("jobs", JOBS)
    mine = [row for row in rows if row["job_id"] == job_id]
    kept = [row for row in mine if row["event"] not in (JobEvent.PLANNED, JobEvent.HEARTBEAT)]
    return [(row["event"], row["worker"], row["attempt"]) for row in kept]


def test_a_recursive_job_whose_worker_is_lost_is_leased_again_after_a_wait(
    pyramid: Pyramid,
) -> None:
    """Whether the pool tells of the loss, or the prover is gone itself and its lease runs out."""
    clock, work = Clock(pyramid.day.now), LosingWork()
    first = opened(pyramid, DirectPool(work), "first", clock)
    first.turn(0.0)
    (job_id,) = (job.job_id for job in first.book.held_by("first"))
    envelope = first.book.jobs[job_id].envelope
    first.turn(0.0)
    assert work.lost == [ProofLevel.WINDOW]
    job = first.book.jobs[job_id]
    assert (job.state, job.losses, job.failures) == (JobState.WAITING, 1, 0)
    clock.now += first.policy.wait_after(1)
    third = opened(pyramid, DirectPool(work), "third", clock)
    third.turn(0.0)
    clock.now += third.policy.lease_millis
    fourth = opened(pyramid, DirectPool(work), "fourth", clock)
    fourth.turn(0.0)
    assert way_of(pyramid, job_id) == [
        ("leased", "first", 1),
        ("lost", "first", 1),
        ("leased", "third", 2),
        ("leased", "fourth", 3),
    ]
    assert fourth.book.jobs[job_id].envelope == envelope
    assert job_id in {one.job_id for one in fourth.book.held_by("fourth")}


def run_to_the_top(pyramid: Pyramid, prover: ProverRole) -> None:
    for _ in range(600):
        prover.turn(1.0)
        pyramid.pump()
        if not pyramid.role.waiting:
            return
    pytest.fail(f"{len(pyramid.role.waiting)} proofs were never made")


def losses(pyramid: Pyramid) -> Counter[bytes]:
    return Counter(bytes(row["job_id"]) for row in pyramid.recursive(JobEvent.LOST))


@pytest.mark.slow
def test_a_pyramid_that_lost_a_worker_at_every_level_says_the_same(pyramid: Pyramid) -> None:
    waiting = pyramid.role.waiting.items()
    said = {place: envelope_of_node(node, b"").job_id for place, node in waiting}
    work = LosingWork()
    run_to_the_top(pyramid, opened(pyramid, DirectPool(work), "prover", Clock(pyramid.day.now)))
    assert set(work.lost) == {ProofLevel(level) for level, _ in said}
    assert {row["job_id"] for row in pyramid.planned()} == set(said.values())
    assert sorted(losses(pyramid).values()) == [1] * len(work.lost)
    for level, digest in said:
        files = proof_files(pyramid.data, ProofLevel(level))
        assert digest.hex() in {path.stem for path in files}


@pytest.mark.slow
@pytest.mark.ray
def test_a_killed_worker_process_costs_its_lift_one_more_attempt(pyramid: Pyramid) -> None:
    places = set(pyramid.role.waiting)
    pool = RayPool(prove_envelope, [Crew("pyramid", 1, 2, frozenset(ProofLevel))])
    prover = opened(pyramid, pool, "prover", Clock(pyramid.day.now))
    try:
        (pid,) = pool.worker_pids()
        prover.turn(0.0)
        assert prover.running
        os.kill(pid, signal.SIGKILL)
        run_to_the_top(pyramid, prover)
        assert pool.worker_pids() != [pid]
    finally:
        pool.close()
    lost = losses(pyramid)
    assert lost
    assert {envelope.level for envelope in envelopes_of(pyramid, lost)} == {ProofLevel.WINDOW}
    kept = {
        (level.value, bytes.fromhex(path.stem))
        for level in ProofLevel
        for path in proof_files(pyramid.data, level)
        if level is not ProofLevel.SEGMENT
    }
    assert kept == places


def envelopes_of(pyramid: Pyramid, jobs: Collection[bytes]) -> list[JobEnvelope]:
    rows = [row for row in pyramid.planned() if row["job_id"] in jobs]
    return [JobEnvelope.from_bytes(row["envelope"]) for row in rows]


@pytest.mark.slow
def test_the_epoch_is_proven_by_the_prover_and_kept(pyramid: Pyramid) -> None:
    backend = CpuBackend(threads=2)
    prover = ProverRole(
        pyramid.log(), DirectPool(prove_envelope), "prover", lambda: pyramid.day.now, backend
    )
    for _ in range(200):
        busy = prover.turn(0.0)
        pyramid.pump()
        if not pyramid.role.waiting:
            break
        assert busy or prover.turn(0.0), "nothing to prove and nothing proven"
    assert not pyramid.role.waiting
    accepted = {row["job_id"] for row in pyramid.recursive(JobEvent.ACCEPTED)}
    assert accepted == {row["job_id"] for row in pyramid.planned()}
    for row in pyramid.planned():
        envelope = JobEnvelope.from_bytes(row["envelope"])
        digest = said_digest(read_said(envelope.statement), backend)
        (path,) = [
            one for one in proof_files(pyramid.data, envelope.level) if one.stem == digest.hex()
        ]
        assert verify_job_proof(envelope, path.read_bytes(), backend)[1] >= 100
    planned = len(pyramid.planned())
    pyramid.start()
    assert pyramid.role.waiting == {}
    assert len(pyramid.planned()) == planned
