"""What a recursive proof says: a run of segments of one shard, from a boundary to a boundary.

Its statement is a word, the digest of the span's elements in whole words. Whoever holds the span checks the
digest and the span's own rules (`span_problem`); the circuit shows that verified segments lead from one end to the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from proving.arithmetic.modulus import WORD, P
from proving.arithmetic.poseidon2 import NumpyHasher
from proving.backends.port import Hasher
from proving.commitments.merkle import hash_opened_rows
from proving.ledger.state import WINDOW_ARRAYS
from proving.ledger.trace import window_rules
from proving.ledger.trees import empty_digests
from proving.stark.transcript import Label, Transcript
from schemas.errors import ParameterError, WireError
from schemas.statement import (
    Boundary,
    SegmentStatement,
    decode_statement,
    order_rules,
    read_boundary,
)
from schemas.units import (
    INDEX_LIMIT,
    MAX_WINDOW_GAP,
    SHARD_LIMIT,
    ZERO_WORD,
    Array,
    word_elements,
)
from schemas.wire import Reader

History = tuple[int, ...]
"""Word that stands for the transaction lists of closed windows; zeros when there is none."""

NO_HISTORY: History = (0,) * WORD


@dataclass(frozen=True, slots=True)
class Span:
    """A run of consecutive segments, over one window or several.

    Attributes:
        chain: Chain number.
        shard: Shard.
        shards: Number of the chain's shards.
        first_window: Window of the first segment.
        first_segment: First segment's number in its window.
        last_window: Window of the last segment.
        last_segment: Last segment's number in its window.
        history: Folded transaction lists of all windows before the last one; `fold_history`.
        before: Where the first segment begins.
        after: Where the last one ends.
    """

    chain: int
    shard: int
    shards: int
    first_window: int
    first_segment: int
    last_window: int
    last_segment: int
    history: History
    before: Boundary
    after: Boundary

    def elements(self) -> list[int]:
        """Returns what the digest is of, 24 words.

        Chain, shard, number of shards, first window and segment, last window and segment and a zero, which fills the
        word; the boundary before, 11 words; the boundary after; the history.
        """
        return [
            *(self.chain, self.shard, self.shards, self.first_window, self.first_segment),
            *(self.last_window, self.last_segment, 0),
            *boundary_elements(self.before),
            *boundary_elements(self.after),
            *self.history,
        ]

    def digest(self, hasher: Hasher) -> tuple[int, ...]:
        """Returns the statement word."""
        transcript = Transcript(hasher)
        transcript.absorb(Label.SPAN, self.elements())
        return transcript.word(Label.STATEMENT_DIGEST)


def read_span_bytes(reader: Reader) -> Span:
    """Reads a span's elements, four bytes each.

    Raises:
        WireError: A field is missing or outside its range.
    """
    chain = reader.u32("chain", INDEX_LIMIT)
    shard, shards = reader.u32("shard", SHARD_LIMIT), reader.u32("shards", SHARD_LIMIT)
    first_window, first_segment, last_window, last_segment = (
        reader.u32(field, INDEX_LIMIT)
        for field in ("first_window", "first_segment", "last_window", "last_segment")
    )
    reader.u32("filling", 1)
    before, after = read_boundary(reader, "before"), read_boundary(reader, "after")
    history = word_elements(reader.word("history"))
    return Span(
        chain,
        shard,
        shards,
        first_window,
        first_segment,
        last_window,
        last_segment,
        history,
        before,
        after,
    )


def boundary_elements(boundary: Boundary) -> list[int]:
    """Returns a boundary as public inputs show it: counters, then roots."""
    roots = [element for root in boundary.roots for element in word_elements(root)]
    return [*boundary.counters(), *roots]


def span_of_segment(statement: SegmentStatement) -> Span:
    """Returns the span of one segment."""
    return Span(
        chain=statement.chain,
        shard=statement.shard,
        shards=statement.shards,
        first_window=statement.window,
        first_segment=statement.segment,
        last_window=statement.window,
        last_segment=statement.segment,
        history=NO_HISTORY,
        before=statement.before,
        after=statement.after,
    )


def lift_spans(statements: Sequence[SegmentStatement], hasher: Hasher) -> Span:
    """Returns the span of consecutive segments, over windows too; see `join_spans`."""
    return join_spans([span_of_segment(statement) for statement in statements], hasher)


def join_spans(spans: Sequence[Span], hasher: Hasher) -> Span:
    """Returns the span of spans that follow each other; every link folds the history.

    Raises:
        ParameterError: There are none, or one does not follow the one before, by name.
    """
    joined = _first(spans)
    for number, span in enumerate(spans[1:], start=1):
        closed = joined.after.root(Array.TXS) if opens_window(joined, span) else ZERO_WORD
        history = fold_history(joined.history, word_elements(closed), span.history, hasher)
        joined = _prolonged(joined, span, number, history)
    return joined


def _first(spans: Sequence[Span]) -> Span:
    if not spans:
        raise ParameterError("a span has at least one segment")
    return spans[0]


def _prolonged(left: Span, right: Span, number: int, history: History) -> Span:
    problem = why_not_after(left, right)
    if problem:
        raise ParameterError(f"child {number} {problem}")
    return replace(
        left,
        last_window=right.last_window,
        last_segment=right.last_segment,
        history=history,
        after=right.after,
    )


def span_problem(span: Span, hasher: Hasher) -> str | None:
    """Returns which rule of a span fails that the circuits leave to who reads it, or None.

    Every field lies in its range, the ends are in order, arrays that no step touches keep their roots, and a
    window's first segment begins as every window does.
    """
    owner = (span.chain, span.shard, span.shards)
    first = SegmentStatement(*owner, span.first_window, span.first_segment, span.before, span.after)
    try:
        for window, segment in (
            (span.first_window, span.first_segment),
            (span.last_window, span.last_segment),
        ):
            decode_statement(replace(first, window=window, segment=segment).preimage())
    except (WireError, ParameterError, OverflowError) as error:
        return str(error)
    if len(span.history) != WORD or any(not 0 <= element < P for element in span.history):
        return "the history is no word"
    if (span.first_window, span.first_segment) > (span.last_window, span.last_segment):
        return "it ends before it begins"
    return order_rules(first) or window_rules(first, hasher)


def opens_window(left: Span, right: Span) -> bool:
    """Says whether a span that follows another begins a window."""
    return right.first_window != left.last_window


def why_not_after(left: Span, right: Span) -> str | None:
    """Returns why a span does not follow another, or None.

    In one window it begins with the next segment where the other ended. Otherwise it begins a later window:
    with segment 0, after a closed block, with empty lists, and with everything else as it was.
    """
    owners = [(span.chain, span.shard, span.shards) for span in (left, right)]
    if owners[0] != owners[1]:
        return "is of another chain or shard"
    at = left.after
    if opens_window(left, right):
        problem = _why_not_opened(left, right)
        if problem:
            return problem
        at = reopened(at)
    elif right.first_segment != left.last_segment + 1:
        return f"begins with segment {right.first_segment}, not {left.last_segment + 1}"
    return None if right.before == at else "does not begin where the one before ended"


def _why_not_opened(left: Span, right: Span) -> str | None:
    """Returns why a span cannot begin a window after another one, apart from where the ledger stands."""
    window, at = right.first_window, left.after
    if window < left.last_window:
        return f"begins in window {window}, before window {left.last_window}"
    if window > left.last_window + MAX_WINDOW_GAP:
        return f"begins in window {window}, too long after window {left.last_window}"
    if right.first_segment:
        return f"begins window {window} with segment {right.first_segment}"
    if at.block_transactions or at.fee_sum:
        return f"begins window {window} inside a block"
    return None


def reopened(at: Boundary) -> Boundary:
    """Returns a boundary with the lists that every window begins with."""
    roots = tuple(
        empty_list_root() if array in WINDOW_ARRAYS else at.root(array) for array in Array
    )
    return replace(at, sequence=0, roots=roots)


@cache
def empty_list_root() -> bytes:
    """Returns the root of an array without words."""
    return empty_digests(NumpyHasher())[-1]


def fold_history(left: History, closed: Sequence[int], right: History, hasher: Hasher) -> History:
    """Returns the history of two spans: the row hash of what was, the list just closed, and what is added."""
    row = np.array([[*left, *closed, *right]], dtype=np.uint32)
    return tuple(int(element) for element in hash_opened_rows(hasher, row)[0])
