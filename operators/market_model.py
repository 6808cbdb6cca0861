"""The rules of the market in small scenes: provers that are honest, late, wrong, or want what is not theirs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Final

from operators.market_checks import broken_by, broken_in
from operators.market_rules import MarketRules
from operators.market_state import (
    EpochOpened,
    EpochSettled,
    Heartbeat,
    JobAssigned,
    JobFacts,
    JobLeased,
    JobPlanned,
    JobProved,
    JobRequeued,
    JobsVoided,
    JobVoided,
    LeaseEnded,
    MarketEffect,
    MarketEvent,
    MarketState,
    Payee,
    Penalised,
    ProofSubmitted,
    Rewarded,
    RewardsFunded,
    SlotReached,
    StakeLocked,
    StakeReleased,
)
from operators.rule_state import Pot, PotKind, Table
from operators.rules_exploration import Trial
from schemas.economics import MarketTerms
from schemas.errors import InvariantError

MARKET_TERMS: Final = MarketTerms(
    base_reward=11,
    fast_reward=7,
    quality_reward=5,
    fast_slots=1,
    claim_escrow=7,
    invalid_penalty=6,
    cap_permille=500,
    missed_permille=430,
    lease_slots=1,
    skew_slots=1,
    max_attempts=2,
    max_open_jobs=2,
    max_proof_bytes=9,
)
"""Small money and times; odd numbers, so that every split has a remainder."""

CELLS = (2, 5, 3)
"""Cells of the jobs in the order of planning: no share of a reward is whole."""

QUALITY = 5
END_SLOT = 2


@dataclass(frozen=True, slots=True)
class MarketScene:
    """What may happen.

    Attributes:
        name: Of the scene.
        provers: Those with a stake.
        jobs: Jobs that are ever planned.
        slots: Last slot.
        epochs: Epochs that are ever opened.
        stake: Units that each prover has locked.
        funded: Units that rewards are paid from.
        has_invalid: Proofs may be invalid.
        has_large: Proofs may be too large for the bonus.
        has_voids: Jobs may be voided.
        has_releases: Provers may take their stake back.
        has_heartbeats: Leases may be renewed.
        has_bad_input: Events that nobody honest sends are tried too.
        first_wins: See `MarketTerms`.
    """

    name: str
    provers: tuple[bytes, ...] = (b"p", b"q")
    jobs: int = 1
    slots: int = 4
    epochs: int = 1
    stake: int = 15
    funded: int = 40
    has_invalid: bool = False
    has_large: bool = False
    has_voids: bool = False
    has_releases: bool = False
    has_heartbeats: bool = False
    has_bad_input: bool = False
    first_wins: bool = False


MARKET_SCENES: Final = (
    MarketScene("lease", slots=6, has_heartbeats=True, has_bad_input=True),
    MarketScene("pair", jobs=2, slots=3, has_large=True),
    MarketScene("wrong", slots=3, epochs=2, has_invalid=True, has_bad_input=True),
    MarketScene("leave", slots=4, has_releases=True, has_voids=True, has_bad_input=True),
    MarketScene("first", jobs=1, slots=3, first_wins=True, has_invalid=True),
    MarketScene("short", jobs=2, slots=4, funded=13, provers=(b"p",), has_large=True),
    MarketScene("poor", jobs=3, slots=2, stake=6, has_bad_input=True),
)
"""Small scenes; together they reach every refusal."""

DEEP_MARKET_SCENES: Final = (
    MarketScene("three", provers=(b"p", b"q", b"s"), jobs=2, slots=4, has_heartbeats=True),
    MarketScene("mixed", jobs=2, slots=3, has_invalid=True, has_voids=True),
    MarketScene("rush", jobs=2, slots=2, first_wins=True, has_invalid=True, has_large=True),
)
"""Larger ones, for the campaign."""


@dataclass(frozen=True, slots=True)
class MarketWorld:
    """The machine's state and what only the scene remembers.

    Attributes:
        state: The machine's.
        made: Jobs planned.
        alone: Whose alone each job is, and until when.
        beats: Slot in which a lease began and of its last sign of life, by job and prover.
        late: Provers that were penalised, by job.
        invalid: Invalid proofs of each job since it was last queued.
        barred: Epoch in which each prover last made an invalid proof.
        proved: Who proved each job.
        paid: Jobs that were paid.
        assigned: Jobs of each epoch and prover.
    """

    state: MarketState
    made: int = 0
    alone: Table[bytes, tuple[bytes, int]] = Table()  # noqa: RUF009 - immutable
    beats: Table[tuple[bytes, bytes], tuple[int, int]] = Table()  # noqa: RUF009 - immutable
    late: frozenset[tuple[bytes, bytes]] = frozenset()
    invalid: Table[bytes, int] = Table()  # noqa: RUF009 - immutable
    barred: Table[bytes, int] = Table()  # noqa: RUF009 - immutable
    proved: Table[bytes, tuple[bytes, int]] = Table()  # noqa: RUF009 - immutable
    paid: frozenset[bytes] = frozenset()
    assigned: Table[tuple[int, bytes], int] = Table()  # noqa: RUF009 - immutable


@dataclass(frozen=True, slots=True)
class MarketModel:
    """A scene of the market for the exploration.

    Attributes:
        scene: What may happen.
        rules: The machine; its terms are those of the scene.
    """

    scene: MarketScene
    rules: MarketRules = field(default_factory=lambda: MarketRules(MARKET_TERMS))

    def __post_init__(self) -> None:
        """Sets the scene's mode."""
        terms = replace(self.rules.terms, first_wins=self.scene.first_wins)
        object.__setattr__(self, "rules", replace(self.rules, terms=terms))

    def start(self) -> MarketWorld:
        """See `Model`: stakes and rewards are paid in and the first epoch is open."""
        state = MarketState()
        events: list[MarketEvent] = [RewardsFunded(self.scene.funded)]
        events += [StakeLocked(prover, self.scene.stake) for prover in self.scene.provers]
        events.append(EpochOpened(0, b"seed", 2, END_SLOT))
        books = state.books
        for prover in self.scene.provers:
            books = books.deposit(Pot(PotKind.FREE, prover), self.scene.stake)
        state = replace(state, books=books)
        for event in events:
            step = self.rules.step(state, event)
            if step.refusal is not None:
                raise InvariantError(f"{event} is refused: {step.refusal}")
            state = step.state
        return MarketWorld(state)

    def events(self, world: MarketWorld) -> Iterator[MarketEvent]:
        """See `Model`."""
        state, scene = world.state, self.scene
        if state.slot < scene.slots:
            yield SlotReached(state.slot + 1)
        if state.epoch + 1 < scene.epochs:
            yield EpochOpened(state.epoch + 1, b"next", 2, state.slot + END_SLOT)
        if world.made < scene.jobs:
            yield JobPlanned(_facts(world.made, state.epoch))
        for job in state.jobs:
            yield from self._work(world, job)
            if scene.has_voids:
                yield JobsVoided((job,))
        if scene.has_releases:
            yield from (StakeReleased(prover, 8) for prover in scene.provers)
        for epoch in state.epochs:
            yield EpochSettled(epoch, state.slot)
            yield EpochSettled(epoch, state.slot, frozenset({b"job 0"}))
        if scene.has_bad_input:
            yield from self._bad_input(world)

    def trial(self, world: MarketWorld, event: MarketEvent) -> Trial[MarketWorld]:
        """See `Model`."""
        step = self.rules.step(world.state, event)
        if step.refusal is not None:
            same = step.state is world.state and not step.effects
            broken: tuple[str, ...] = () if same else ("a refused event changed something",)
            return Trial(world, step.refusal.value, broken)
        after = replace(_noted(world, event), state=step.state)
        for effect in step.effects:
            after = _followed(after, effect)
        broken = broken_by(self.rules.terms, world, event, step.effects, after)
        return Trial(after, broken=broken + broken_in(self.rules.terms, after))

    def _work(self, world: MarketWorld, job: bytes) -> Iterator[MarketEvent]:
        state = world.state
        epoch = state.jobs[job].facts.epoch
        for prover in self.scene.provers:
            payee = Payee(prover, job, epoch)
            yield JobLeased(job, prover, state.slot)
            if self.scene.has_heartbeats:
                yield Heartbeat(job, prover, state.slot)
            yield ProofSubmitted(job, prover, payee, True, QUALITY, state.slot)
            if self.scene.has_large:
                yield ProofSubmitted(job, prover, payee, True, QUALITY + 1, state.slot)
            if self.scene.has_invalid:
                yield ProofSubmitted(job, prover, payee, False, QUALITY, state.slot)
        if self.scene.has_invalid:
            yield JobRequeued(job)

    def _bad_input(self, world: MarketWorld) -> Iterator[MarketEvent]:
        state = world.state
        yield SlotReached(state.slot)
        yield EpochOpened(state.epoch, b"again", 2, state.slot + END_SLOT)
        yield EpochOpened(state.epoch + 1, b"much", 3, state.slot + END_SLOT)
        yield EpochSettled(9, state.slot)
        yield StakeLocked(b"p", 10**6)
        yield StakeReleased(b"q", 10**6)
        yield StakeReleased(b"q", 0)
        yield JobLeased(b"no job", b"p", state.slot)
        yield JobRequeued(b"no job")
        yield JobPlanned(replace(_facts(0, state.epoch), id=b"empty", cells=0))
        yield JobPlanned(_facts(0, 9))
        for job in state.jobs:
            facts = state.jobs[job].facts
            yield JobPlanned(facts)
            yield JobRequeued(job)
            yield JobLeased(job, b"unbonded", state.slot)
            for prover in self.scene.provers:
                own = Payee(prover, job, facts.epoch)
                yield JobLeased(job, prover, state.slot + 2)
                yield Heartbeat(job, prover, state.slot - 2)
                yield ProofSubmitted(job, prover, replace(own, prover=b"p"), True, 1, state.slot)
                yield ProofSubmitted(job, prover, replace(own, job=b"other"), True, 1, state.slot)
                yield ProofSubmitted(job, prover, replace(own, epoch=7), True, 1, state.slot)
                yield ProofSubmitted(job, prover, own, True, 10, state.slot)


def _facts(number: int, epoch: int) -> JobFacts:
    return JobFacts(b"job %d" % number, epoch, CELLS[number], 2, QUALITY)


def _noted(world: MarketWorld, event: MarketEvent) -> MarketWorld:
    """What the scene remembers of an accepted event."""
    slot = world.state.slot
    if isinstance(event, JobPlanned):
        return replace(world, made=world.made + 1)
    if isinstance(event, JobLeased | Heartbeat):
        pair = (event.job, event.prover)
        known = world.beats.get(pair) if isinstance(event, Heartbeat) else None
        beats = world.beats.with_entry(pair, (slot if known is None else known[0], slot))
        return replace(world, beats=beats)
    if isinstance(event, JobRequeued):
        return replace(world, invalid=world.invalid.without(event.job))
    if not isinstance(event, ProofSubmitted):
        return world
    if event.is_valid:
        proved = world.proved.with_entry(event.job, (event.payee.prover, event.size_bytes))
        return replace(world, proved=proved)
    count = 1 + (world.invalid.get(event.job) or 0)
    return replace(
        world,
        invalid=world.invalid.with_entry(event.job, count),
        barred=world.barred.with_entry(event.prover, world.state.epoch),
    )


def _followed(world: MarketWorld, effect: MarketEffect) -> MarketWorld:
    """What the scene remembers of an effect."""
    if isinstance(effect, JobAssigned):
        epoch = world.state.jobs[effect.job].facts.epoch
        count = 1 + (world.assigned.get((epoch, effect.prover)) or 0)
        return replace(
            world,
            alone=world.alone.with_entry(effect.job, (effect.prover, effect.until)),
            assigned=world.assigned.with_entry((epoch, effect.prover), count),
        )
    if isinstance(effect, Penalised):
        late = world.late | {(effect.job, effect.prover)}
        alone = world.alone.get(effect.job)
        over = effect.is_invalid and alone is not None and alone[0] == effect.prover
        kept = world.alone.without(effect.job) if over else world.alone
        beats = world.beats.without((effect.job, effect.prover))
        return replace(world, late=late, alone=kept, beats=beats)
    if isinstance(effect, LeaseEnded):
        return replace(world, beats=world.beats.without((effect.job, effect.prover)))
    if isinstance(effect, JobProved | JobVoided):
        gone = [pair for pair in world.beats if pair[0] == effect.job]
        return replace(
            world, alone=world.alone.without(effect.job), beats=world.beats.without(*gone)
        )
    if isinstance(effect, Rewarded):
        return replace(world, paid=world.paid | {effect.job})
    return world
