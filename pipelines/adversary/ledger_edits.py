"""The honest ledger trace that the bite tests forge, and small edits of it."""

from __future__ import annotations

import functools
from collections.abc import Callable

from operators.proof_worker import process_backend
from pipelines.adversary.ledger_forgery import Forgery
from pipelines.adversary.ledger_traffic import (
    HASHER,
    ISSUER_KEY,
    PARAMETERS,
    fresh_ledger,
    mixed_blocks,
)
from proving.ledger.air import LedgerAir
from proving.ledger.segments import cut_window
from proving.ledger.state import Ledger, genesis_ledger
from proving.ledger.trace import build_trace
from proving.stark.air import FieldArray
from proving.stark.trace_check import TraceChecker, TraceReport

AIR = LedgerAir(10, 1)
SMALL = LedgerAir(5, 12)
"""Full to the last row by 32 rows of steps."""

ISSUE, SPONSORED, KEY_ROW, ISSUE_TO_NEW = 12, 35, 36, 37
BIG_FEE = 25
SEND, RECEIVE, RETURN = 44, 47, 50
"""First rows of the honest trace's last send, of its arrival, and of what goes back."""

DEBIT, CREDIT, SETTLE, PAD = 56, 57, 58, 59
"""Rows of the honest trace: last transfer, last closing entry, first padding."""

Forge = Callable[[Forgery], None]


@functools.cache
def checker(air: LedgerAir) -> TraceChecker:
    """Returns the direct check of a circuit, on compiled code."""
    return TraceChecker(air, process_backend())


@functools.cache
def honest() -> tuple[FieldArray, list[int]]:
    """Returns the trace and public inputs that every forgery starts from; not to be changed."""
    (segment,) = cut_window(fresh_ledger(), mixed_blocks(), 0, AIR.layout)
    return build_trace(AIR, segment, HASHER)


@functools.cache
def start() -> Ledger:
    """Returns the state before the trace, which no forgery changes; its trees are hashed by compiled code."""
    return genesis_ledger(PARAMETERS, process_backend(), ISSUER_KEY)


def forgery(air: LedgerAir = AIR, unchecked: str = "") -> Forgery:
    """Starts a forgery of the honest trace; see `Forgery` for what `unchecked` does."""
    return Forgery(air, *honest(), start(), unchecked)


def report(forged: Forgery) -> TraceReport:
    """Returns what the whole circuit finds wrong."""
    return checker(forged.air).check(forged.trace, forged.publics)


def edit(field: str, row: int, delta: int = 1, position: int = 0) -> Forge:
    """Returns the edit that moves one cell of the lane."""
    return lambda f: f.add(field, row, delta, position)


def both(*forges: Forge) -> Forge:
    """Returns the edits one after the other."""

    def run(f: Forgery) -> None:
        for forge in forges:
            forge(f)

    return run
