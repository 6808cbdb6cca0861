"""The honest ledger trace that the bite tests forge, and small edits of it."""

from __future__ import annotations

import functools
from collections.abc import Callable

from operators.proof_worker import process_backend
from proving.ledger.air import LedgerAir
from proving.ledger.segments import cut_window
from proving.ledger.state import Ledger, genesis_ledger
from proving.ledger.trace import build_trace
from proving.stark.air import FieldArray, Row
from proving.stark.trace_check import TraceChecker, TraceReport
from pipelines.adversary.ledger_forgery import Forgery
from pipelines.adversary.ledger_traffic import (
    HASHER,
    ISSUER_KEY,
    PARAMETERS,
    fresh_ledger,
    mixed_blocks,
)


class Weakened(LedgerAir):
    """The ledger circuit of `AIR` without one constraint or message."""

    def __init__(self, missing: str) -> None:
        super().__init__(AIR.log_height, len(AIR.layout.nodes))
        self._missing = missing

    def constraints(self, row: Row) -> None:
        super().constraints(row)
        row.constraints[:] = [c for c in row.constraints if c.name != self._missing]
        row.interactions[:] = [i for i in row.interactions if i.name != self._missing]


AIR = LedgerAir(10, 1)
SMALL = LedgerAir(5, 12)
"""Full to the last row by 32 rows of steps."""

ISSUE, SPONSORED, KEY_ROW, ISSUE_TO_NEW = 12, 35, 36, 37
BIG_FEE = 25
DEBIT, CREDIT, SETTLE, PAD = 43, 44, 45, 46
"""Rows of the honest trace: last transfer, last closing entry, first padding."""

Forge = Callable[[Forgery], None]


@functools.cache
def checker(air: LedgerAir) -> TraceChecker:
    return TraceChecker(air)


@functools.cache
def honest() -> tuple[FieldArray, list[int]]:
    (segment,) = cut_window(fresh_ledger(), mixed_blocks(), 0, AIR.layout)
    return build_trace(AIR, segment, HASHER)


@functools.cache
def start() -> Ledger:
    """Returns the state before the trace, which no forgery changes; its trees are hashed by compiled code."""
    return genesis_ledger(PARAMETERS, process_backend(), ISSUER_KEY)


def forgery(air: LedgerAir = AIR, unchecked: str = "") -> Forgery:
    return Forgery(air, *honest(), start(), unchecked)


def report(forged: Forgery) -> TraceReport:
    return checker(forged.air).check(forged.trace, forged.publics)


def edit(field: str, row: int, delta: int = 1, position: int = 0) -> Forge:
    return lambda f: f.add(field, row, delta, position)


def both(*forges: Forge) -> Forge:
    def run(f: Forgery) -> None:
        for forge in forges:
            forge(f)

    return run
