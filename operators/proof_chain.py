"""How segment proofs chain: each begins where the one before ended, and a window ends in its last block's roots.

The beacon accepts by these rules, and an auditor checks by the same.
"""

from __future__ import annotations

from dataclasses import replace

from proving.backends.port import Hasher
from proving.ledger.state import WINDOW_ARRAYS
from proving.segment_proofs import boundary_state_root
from schemas.block import BlockHeader
from schemas.statement import Boundary, SegmentStatement
from schemas.units import Array


def follows(statement: SegmentStatement, at: Boundary) -> bool:
    """Says whether a proven statement begins where the ledger stands.

    A window's first segment begins with empty lists and no open block, which the proof's verifier has shown.
    """
    before = statement.before
    if statement.segment == 0:
        roots = tuple(
            before.root(array) if array in WINDOW_ARRAYS else at.root(array) for array in Array
        )
        at = replace(at, sequence=before.sequence, roots=roots)
    return before == at


def ends_at(boundary: Boundary, last: BlockHeader, hasher: Hasher) -> bool:
    """Says whether the ledger stands right after a block: height, slot, transaction list and state."""
    found = (
        boundary.height,
        boundary.slot,
        boundary.block_transactions,
        boundary.root(Array.TXS),
        boundary_state_root(boundary, hasher),
    )
    return found == (last.height, last.slot, 0, last.transactions_root, last.post_state_root)
