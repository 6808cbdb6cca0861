"""Says why a segment's trace satisfies no circuit: the first claim that fails, its row and its transaction.

Only run when a proof could not be made: it evaluates every claim on every row.
"""

from __future__ import annotations

from collections.abc import Sequence

from proving.backends.port import Backend, FieldArray
from proving.ledger.air import LedgerAir
from proving.stark.trace_check import TraceChecker

STEP_CLAIMS = "step."
"""Claims of the transaction lane are named so; other lanes' rows belong to no transaction."""


def name_failure(
    air: LedgerAir, trace: FieldArray, publics: Sequence[int], backend: Backend
) -> str | None:
    """Returns which claim fails, or None if none does.

    Args:
        air: The circuit.
        trace: (num_main, height) canonical residues.
        publics: The public inputs.
        backend: Evaluates the claims.
    """
    report = TraceChecker(air, backend).check(trace, publics)
    if report.violations:
        name, rows = min(report.violations.items(), key=lambda found: found[1][0])
        others = len(report.violations) - 1
        more = f", and {others} other constraints fail" if others else ""
        return f"constraint {name} fails on row {rows[0]}{_transaction(air, trace, name, rows[0])}{more}"
    if report.unbalanced:
        (bus, message), count = next(iter(report.unbalanced.items()))
        verb = "sent and never received" if count > 0 else "received and never sent"
        return f"message {message} on bus {bus} is {verb}"
    return None


def _transaction(air: LedgerAir, trace: FieldArray, name: str, row: int) -> str:
    """Returns the transaction of a row: a row holds how many began before it."""
    if not name.startswith(STEP_CLAIMS):
        return ""
    sequence = trace[air.layout.steps.column("sequence")]
    first = int(sequence[0])
    return (
        f" (entry {int(sequence[row]) - first} of the segment, place {int(sequence[row])} in TXS)"
    )
