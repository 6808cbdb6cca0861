"""The whole pyramid of a small chain, from segments to the proof that light clients verify, made once per test run."""

from __future__ import annotations

from functools import cache

from pipelines.sample_shards import CHAIN, sample_epochs
from proving.backends.cpu import CpuBackend
from proving.ledger.layout import make_layout
from proving.recursion.global_proofs import EpochChildren, GlobalProof, prove_day, prove_epoch
from proving.recursion.span_proofs import prove_lift
from proving.recursion.wrap_proofs import prove_wrap
from proving.segment_proofs import prove_segment

BACKEND = CpuBackend(threads=2)

VALIDATORS = tuple(range(101, 109))
PAYEE = tuple(range(201, 209))


@cache
def day_proof() -> GlobalProof:
    """Returns a day of one epoch of two shards."""
    epoch = next(iter(sample_epochs(2, BACKEND, make_layout(12, 1))))
    lifts = [
        prove_lift([prove_segment(one, BACKEND).data for one in witnesses], BACKEND)
        for witnesses in epoch.witnesses
    ]
    children = EpochChildren(
        CHAIN,
        range(epoch.window, epoch.window + 1),
        VALIDATORS,
        epoch.parts_with([lift.span for lift in lifts]),
        [lift.data for lift in lifts],
    )
    return prove_day([prove_epoch(children, BACKEND)], BACKEND)


@cache
def wrapped() -> GlobalProof:
    return prove_wrap(day_proof(), BACKEND, payee=PAYEE)
