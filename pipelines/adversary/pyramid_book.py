"""The forgeries of every kind of the pyramid, by kind, and how they are counted."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

from operators.proof_worker import process_backend
from pipelines.adversary.epoch_forgeries import epoch_forgeries
from pipelines.adversary.run_forgeries import day_forgeries, wrap_forgeries
from pipelines.adversary.span_forgeries import span_forgeries
from pipelines.adversary.statement_forgeries import Attempt
from pipelines.adversary.statement_part import StatementPart
from proving.kinds import recursive_program
from proving.recursion.global_proofs import DAY_KIND, EPOCH_KIND
from proving.recursion.span_proofs import JOIN_KIND, LARGE_LIFT_KIND, LIFT_KIND
from proving.recursion.wrap import WRAP_KIND

PYRAMID_KINDS = (LIFT_KIND, LARGE_LIFT_KIND, JOIN_KIND, EPOCH_KIND, DAY_KIND, WRAP_KIND)
"""Kinds whose statements are forged."""


@cache
def statement_part(kind: str) -> StatementPart:
    """Returns what a kind's program claims beside its children's verification; seconds the first time."""
    return StatementPart(recursive_program(kind, process_backend()).execution.tape)


def forgeries_of(kind: str) -> Iterator[Attempt]:
    """Yields the forgeries of a kind, always in the same order."""
    part, hasher = statement_part(kind), process_backend()
    if kind == EPOCH_KIND:
        return epoch_forgeries(part, hasher)
    if kind == DAY_KIND:
        return day_forgeries(part, hasher)
    return wrap_forgeries(hasher) if kind == WRAP_KIND else span_forgeries(kind, part, hasher)
