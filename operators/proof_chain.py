"""How segment proofs chain: each begins where the one before ended, and a window ends in its last block's roots.

The beacon accepts by these rules, and an auditor checks by the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Protocol, TypeVar

from proving.backends.port import Hasher
from proving.ledger.state import WINDOW_ARRAYS
from proving.segment_proofs import boundary_state_root
from schemas.block import BlockHeader
from schemas.statement import Boundary, SegmentStatement
from schemas.units import Array


class Shown(Protocol):
    """A proof that holds, with what it shows."""

    @property
    def statement(self) -> SegmentStatement:
        """What it shows."""
        ...


Proof = TypeVar("Proof", bound=Shown)


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
    )
    if found != (last.height, last.slot, 0, last.transactions_root):
        return False
    return boundary_state_root(boundary, hasher) == last.post_state_root


def find_chain(
    start: Boundary,
    following: Callable[[int, Boundary], Iterable[Proof]],
    is_end: Callable[[Boundary], bool],
    limit: int,
) -> tuple[Proof, ...] | None:
    """Returns proofs that lead from a boundary to the end of its window, or None; the first found wins.

    Anyone may make proofs that hold and lead nowhere, and copies of them cost nothing. So every boundary is
    gone on from once per position, however many proofs lead to it: the work grows with the number of
    proofs and not with the number of paths.

    Args:
        start: Where the window begins.
        following: Proofs of a position in the window that begin at a boundary, preferred ones first.
        is_end: Whether the window may end at a boundary.
        limit: Proofs in a chain, at most.
    """
    paths: list[tuple[Boundary, tuple[Proof, ...]]] = [(start, ())]
    seen: set[tuple[int, Boundary]] = set()
    while paths:
        at, proofs = paths.pop()
        if (len(proofs), at) in seen:
            continue
        seen.add((len(proofs), at))
        if proofs and is_end(at):
            return proofs
        if len(proofs) < limit:
            further = list(following(len(proofs), at))
            paths += [(proof.statement.after, (*proofs, proof)) for proof in reversed(further)]
    return None
