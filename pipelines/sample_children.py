"""Real proofs of every kind that a circuit of the pyramid verifies: what campaigns mutate and pass for others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from pipelines.progress import Progress
from pipelines.sample_shards import CHAIN, SampleEpoch, sample_epochs
from pipelines.sample_window import funded_ledger, sample_transfers
from proving.backends.port import Backend
from proving.kinds import kind_named
from proving.ledger.layout import make_layout
from proving.ledger.segments import cut_window
from proving.ledger.state import Block
from proving.recursion.global_proofs import (
    DAY_KIND,
    EPOCH_KIND,
    EpochChildren,
    GlobalProof,
    prove_day,
    prove_epoch,
)
from proving.recursion.span_proofs import (
    JOIN_KIND,
    LARGE_LIFT_KIND,
    LIFT_KIND,
    SpanProof,
    prove_join,
    prove_lift,
)
from proving.segment_proofs import LARGE_SEGMENT_KIND, SEGMENT_KIND, large_shape, prove_segment
from schemas.errors import InvariantError

VALIDATORS = (5, 4, 3, 2, 1, 6, 7, 8)
"""Stand for the validators in charge; nothing in a proof interprets the word."""

SMALL_STEPS = 7
"""Logarithm of the rows that small segments would have: so few that one large segment is the cheaper choice."""

TRANSFERS = 40

STEPS = 13
"""What `sample_children` reports: proofs made."""

LARGE_STEPS = 3
"""Those of them that are large segments, and their lift."""


@dataclass(frozen=True, slots=True)
class SampleChildren:
    """Two shards of a chain with its first epoch proven up to its day, and a large segment.

    Attributes:
        epoch: What the shards did.
        segments: A small segment of each shard.
        lifts: The lift of each of them.
        joined: A join of the first lift.
        children: What the epoch was made of.
        run: The epoch's proof.
        day: A day of it.
        large: Two large segments of another chain, if they were wanted.
        large_lifts: The lift of the first.
    """

    epoch: SampleEpoch
    segments: tuple[bytes, ...]
    lifts: tuple[SpanProof, ...]
    joined: SpanProof
    children: EpochChildren
    run: GlobalProof
    day: GlobalProof
    large: tuple[bytes, ...]
    large_lifts: tuple[SpanProof, ...]

    def by_kind(self) -> Mapping[str, tuple[bytes, ...]]:
        """Returns the proofs of every kind; those of recursive kinds have one layout."""
        return {
            SEGMENT_KIND: self.segments,
            LARGE_SEGMENT_KIND: self.large,
            LIFT_KIND: tuple(lift.data for lift in self.lifts),
            LARGE_LIFT_KIND: tuple(lift.data for lift in self.large_lifts),
            JOIN_KIND: (self.joined.data,),
            EPOCH_KIND: (self.run.data,),
            DAY_KIND: (self.day.data,),
        }


def sample_children(
    seed: int,
    backend: Backend,
    report: Progress,
    is_stopped: Callable[[], bool],
    *,
    large: bool = True,
) -> SampleChildren | None:
    """Makes the proofs; about two minutes, of which the large segments take half.

    Args:
        seed: Of the large segments' transfers.
        backend: Does the arithmetic.
        report: Progress.
        is_stopped: Ends it after the present proof.
        large: Whether the large segments and their lift are wanted.

    Returns:
        The proofs, or None if it was stopped.
    """
    report.phase("proofs to start from", STEPS if large else STEPS - LARGE_STEPS)
    epoch = next(iter(sample_epochs(2, backend, make_layout(12, 1))))
    lifts: list[SpanProof] = []
    segments: list[bytes] = []
    for witnesses in epoch.witnesses:
        proofs = [prove_segment(witness, backend).data for witness in witnesses]
        report.advance(len(proofs))
        segments.append(proofs[0])
        lifts.append(prove_lift(proofs, backend))
        report.advance(1)
        if is_stopped():
            return None
    joined = prove_join(lifts[:1], backend)
    report.advance(1)
    window = range(epoch.window, epoch.window + 1)
    parts = epoch.parts_with([lift.span for lift in lifts])
    children = EpochChildren(CHAIN, window, VALIDATORS, parts, [lift.data for lift in lifts])
    run = prove_epoch(children, backend)
    report.advance(1)
    day = prove_day([run], backend)
    report.advance(1)
    segments_l: list[bytes] = []
    large_lifts: list[SpanProof] = []
    for number in range(2 if large else 0):
        if is_stopped():
            return None
        segments_l.append(large_segment(seed + number, backend))
        report.advance(1)
    if large:
        large_lifts.append(prove_lift(segments_l[:1], backend))
        report.advance(1)
    rest = (tuple(segments_l), tuple(large_lifts))
    return SampleChildren(epoch, tuple(segments), tuple(lifts), joined, children, run, day, *rest)


def large_segment(seed: int, backend: Backend) -> bytes:
    """Returns the proof of a large segment of a window of transfers; half a minute."""
    ledger = funded_ledger()
    block = Block(ledger.height + 1, 64, 1, tuple(sample_transfers(TRANSFERS, seed)))
    shape = replace(large_shape(), above=1)
    witness, *_ = cut_window(ledger, [block], 1, make_layout(SMALL_STEPS, 1), shape)
    if witness.kind != kind_named(LARGE_SEGMENT_KIND).number:
        raise InvariantError(f"the window was cut for kind {witness.kind}")
    return prove_segment(witness, backend).data
