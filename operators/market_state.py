"""What the market knows of provers, jobs and epochs, and what can happen to them: the values of `market_rules`.

Slots are the market's only clock and come with `SlotReached`. Ids are canonical bytes chosen by the caller: a prover's key
digest, a job's id, a beacon certificate's digest as a seed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from operators.rule_state import Books, Table
from schemas.refusal import MarketRefusal

NOBODY = b""
"""No prover."""


class JobState(StrEnum):
    """Where a job stands."""

    WAITING = "waiting"
    PROVED = "proved"
    DEAD = "dead"


@dataclass(frozen=True, slots=True)
class ProverRecord:
    """What a prover has done.

    Attributes:
        assigned: Jobs ever assigned to it.
        missed: Exclusive windows ever missed and invalid proofs ever made.
        barred_until: It leases nothing before this epoch.
    """

    assigned: int = 0
    missed: int = 0
    barred_until: int = 0


@dataclass(frozen=True, slots=True)
class JobFacts:
    """A job as it is planned.

    Attributes:
        id: Its id.
        epoch: Epoch that it belongs to.
        cells: Measured trace cells: its weight in rewards, > 0.
        estimate_slots: How long it should take, > 0.
        quality_bytes: Size up to which its proof earns the bonus.
    """

    id: bytes
    epoch: int
    cells: int
    estimate_slots: int
    quality_bytes: int


@dataclass(frozen=True, slots=True)
class Lease:
    """A claim on a job, with escrow behind it.

    Attributes:
        until: It lapses in this slot unless a heartbeat renews it.
        ends: It lapses in this slot at the latest.
    """

    until: int
    ends: int


@dataclass(frozen=True, slots=True)
class JobRecord:
    """What became of a job.

    Attributes:
        facts: The job.
        state: Where it stands.
        assignee: Who alone may lease it at first, or `NOBODY`.
        exclusive_until: First slot in which everybody may.
        leases: Holders and their leases.
        attempts: Invalid proofs.
        late: Provers that missed a window or let a lease lapse; none of them is paid as rescuer.
        prover: Who proved it, or `NOBODY`.
        is_small: Its proof is within the size for the bonus.
    """

    facts: JobFacts
    state: JobState = JobState.WAITING
    assignee: bytes = NOBODY
    exclusive_until: int = 0
    leases: Table[bytes, Lease] = Table()  # noqa: RUF009 - immutable
    attempts: int = 0
    late: frozenset[bytes] = frozenset()
    prover: bytes = NOBODY
    is_small: bool = False


class JobTable(Table[bytes, JobRecord]):
    """Jobs by id."""

    __slots__ = ()

    def waiting(self) -> Iterable[JobRecord]:
        """Returns the jobs that can be worked on, in the order of their ids; one pass over all."""
        return [job for job in self.values() if job.state is JobState.WAITING]


@dataclass(frozen=True, slots=True)
class EpochRecord:
    """An epoch whose jobs are planned.

    Attributes:
        seed: What assignment is drawn from.
        expected_jobs: Jobs that it should have: the cap is a part of it.
        end_slot: First slot after it.
        assigned: Jobs assigned to each prover so far.
    """

    seed: bytes
    expected_jobs: int
    end_slot: int
    assigned: Table[bytes, int] = Table()  # noqa: RUF009 - immutable


@dataclass(frozen=True, slots=True)
class MarketState:
    """Everything that the rules of the market depend on.

    Attributes:
        books: The money.
        slot: The clock.
        epoch: Newest epoch opened; -1 before the first.
        provers: Everybody who ever had a stake.
        jobs: Jobs that are not settled.
        epochs: Epochs that are not settled.
    """

    books: Books = Books()  # noqa: RUF009 - immutable
    slot: int = 0
    epoch: int = -1
    provers: Table[bytes, ProverRecord] = Table()  # noqa: RUF009 - immutable
    jobs: JobTable = JobTable()  # noqa: RUF009 - immutable
    epochs: Table[int, EpochRecord] = Table()  # noqa: RUF009 - immutable


@dataclass(frozen=True, slots=True)
class StakeLocked:
    """A party locks free money as a prover."""

    prover: bytes
    units: int


@dataclass(frozen=True, slots=True)
class StakeReleased:
    """A prover takes stake back that nothing depends on."""

    prover: bytes
    units: int


@dataclass(frozen=True, slots=True)
class RewardsFunded:
    """Money came from a shard, out of fees or issued, to pay provers with."""

    units: int


@dataclass(frozen=True, slots=True)
class SlotReached:
    """Time goes on; leases and windows end."""

    slot: int


@dataclass(frozen=True, slots=True)
class EpochOpened:
    """The next epoch's jobs begin to be planned.

    Attributes:
        epoch: One above the epoch before.
        seed: Digest of the beacon's certificate before it: known to nobody earlier.
        expected_jobs: Jobs by the clock, > 0.
        end_slot: First slot after it.
    """

    epoch: int
    seed: bytes
    expected_jobs: int
    end_slot: int


@dataclass(frozen=True, slots=True)
class JobPlanned:
    """A job is there to be proven."""

    facts: JobFacts


@dataclass(frozen=True, slots=True)
class JobLeased:
    """A prover takes a job on.

    Attributes:
        job: The job.
        prover: Who.
        slot: The slot as its sender sees it.
    """

    job: bytes
    prover: bytes
    slot: int


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """A prover still works on a job."""

    job: bytes
    prover: bytes
    slot: int


@dataclass(frozen=True, slots=True)
class Payee:
    """What a proof says of who made it, for what: its third public word stands for this.

    Attributes:
        prover: Who is paid.
        job: For which job.
        epoch: Of which epoch.
    """

    prover: bytes
    job: bytes
    epoch: int


@dataclass(frozen=True, slots=True)
class ProofSubmitted:
    """A proof of a job, judged by the verifier.

    Attributes:
        job: The job.
        prover: Who submits it.
        payee: What the proof says; read from it, never from the record beside it.
        is_valid: Whether it holds.
        size_bytes: Its size.
        slot: The slot as its sender sees it.
    """

    job: bytes
    prover: bytes
    payee: Payee
    is_valid: bool
    size_bytes: int
    slot: int


@dataclass(frozen=True, slots=True)
class JobRequeued:
    """A person gives a dead job new attempts."""

    job: bytes


@dataclass(frozen=True, slots=True)
class JobsVoided:
    """Jobs whose blocks were reverted or pruned; unknown ones are passed over."""

    jobs: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class EpochSettled:
    """All blocks of an epoch are proven for good: its jobs are paid.

    Attributes:
        epoch: The epoch.
        landed_slot: Slot in which its global proof was accepted.
        unavailable: Jobs whose proofs were not to be had for the whole window.
    """

    epoch: int
    landed_slot: int
    unavailable: frozenset[bytes] = frozenset()


MarketEvent = (
    StakeLocked
    | StakeReleased
    | RewardsFunded
    | SlotReached
    | EpochOpened
    | JobPlanned
    | JobLeased
    | Heartbeat
    | ProofSubmitted
    | JobRequeued
    | JobsVoided
    | EpochSettled
)


@dataclass(frozen=True, slots=True)
class JobAssigned:
    """A job is one prover's alone for a time."""

    job: bytes
    prover: bytes
    until: int


@dataclass(frozen=True, slots=True)
class JobOpened:
    """Everybody may lease a job."""

    job: bytes


@dataclass(frozen=True, slots=True)
class LeaseEnded:
    """A lease ended and its escrow went back."""

    job: bytes
    prover: bytes


@dataclass(frozen=True, slots=True)
class Penalised:
    """A prover lost stake or escrow.

    Attributes:
        prover: Who.
        job: For which job.
        burned: Units burned.
        kept: Units kept for whoever rescues the job.
        is_invalid: For an invalid proof, else for a window or lease that it let pass.
    """

    prover: bytes
    job: bytes
    burned: int
    kept: int
    is_invalid: bool


@dataclass(frozen=True, slots=True)
class JobProved:
    """A job is proven.

    Attributes:
        job: The job.
        prover: By whom.
        rescue: Units that it got for a job that others let pass.
        wasted: Who worked on it in vain.
    """

    job: bytes
    prover: bytes
    rescue: int
    wasted: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class JobDied:
    """A job has no attempts left and waits for a person."""

    job: bytes


@dataclass(frozen=True, slots=True)
class JobVoided:
    """A job is there no more."""

    job: bytes


@dataclass(frozen=True, slots=True)
class Rewarded:
    """A prover was paid for a job.

    Attributes:
        prover: Who.
        job: For which job.
        base: Part of the base reward.
        fast: Part of the reward for an epoch proven in time.
        quality: Part of the reward for quality.
    """

    prover: bytes
    job: bytes
    base: int
    fast: int
    quality: int


MarketEffect = (
    JobAssigned | JobOpened | LeaseEnded | Penalised | JobProved | JobDied | JobVoided | Rewarded
)


@dataclass(frozen=True, slots=True)
class MarketStep:
    """What an event led to.

    Attributes:
        state: The state after it; the very same when it is refused.
        effects: What others must do, in order.
        refusal: Why it is refused, or None.
    """

    state: MarketState
    effects: tuple[MarketEffect, ...] = ()
    refusal: MarketRefusal | None = None


class RefusedMarket(Exception):
    """An event is refused; the state stays as it is.

    Attributes:
        reason: Its stable name.
    """

    def __init__(self, reason: MarketRefusal) -> None:
        super().__init__(reason.value)
        self.reason = reason
