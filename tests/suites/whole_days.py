"""A day with all its files: wrapped proof, certificate, checkpoint before it, and paths; made once per test run."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from operators.beacon_runs import RunTip
from operators.inclusion_path import find_in_window, inclusion_path
from operators.pyramid_planner import PyramidClock
from operators.pyramid_tree import Node
from pipelines.sample_votes import Voted, committee
from proving.backends.cpu import CpuBackend
from proving.light.checkpoint import Checkpoint
from schemas.job import ProofLevel
from schemas.run import RunStatement
from schemas.transactions import TransactionKind
from schemas.validators import validators_word
from tests.suites.day_votes import statement
from tests.suites.proven_days import (
    HASHER,
    WINDOWS_PER_DAY,
    begun_at,
    epochs,
    planned,
    prove_tree,
)


@dataclass(frozen=True)
class WholeDay:
    """The files of a day, and the digest of the transaction whose path is there."""

    proof: bytes
    certificate: bytes
    checkpoint: bytes
    inclusion: bytes
    digest: str


def day_tree() -> Node:
    """Returns the tree of the first day."""
    validators = validators_word(committee().keys)
    clock = PyramidClock(1, 1, WINDOWS_PER_DAY)
    return next(one for one in planned(validators, clock) if one.level is ProofLevel.DAY)


@cache
def companions() -> WholeDay:
    """Returns the day's files without the proof."""
    run = RunStatement.from_bytes(statement().to_bytes())
    start = Checkpoint(
        run.chain, run.shards, 0, run.validators, RunTip.start(begun_at(), HASHER).state
    )
    witnesses = epochs()[1].witnesses[1]
    transaction = next(
        entry.transaction
        for witness in witnesses
        for entry in witness.entries
        if entry.transaction and entry.transaction.kind is TransactionKind.OUTBOUND
    )
    listed = find_in_window(transaction, witnesses)
    if listed is None:
        raise AssertionError("the transaction is in no window")
    path = inclusion_path(day_tree(), listed, HASHER)
    certificate = Voted(run).certificate().to_bytes()
    digest = transaction.digest().hex()
    return WholeDay(b"", certificate, start.to_bytes(), path.to_bytes(), digest)


@cache
def whole_day() -> WholeDay:
    """Returns all files of a day that is proven; minutes."""
    rest = companions()
    proof = prove_tree(day_tree(), CpuBackend(threads=2))
    return WholeDay(proof, rest.certificate, rest.checkpoint, rest.inclusion, rest.digest)
