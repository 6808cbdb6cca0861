"""What a proof about segments says: one run of segments of a window, from a boundary to a boundary.

Its statement is a word, the digest of the span's elements in whole words. Whoever holds the span checks the
digest and the span's own rules; the circuit shows that verified segments lead from one end to the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from proving.arithmetic.modulus import WORD
from proving.backends.port import Hasher
from proving.stark.transcript import Label, Transcript
from schemas.errors import ParameterError
from schemas.statement import Boundary, SegmentStatement
from schemas.units import word_elements


@dataclass(frozen=True, slots=True)
class Span:
    """A run of consecutive segments of one window.

    Attributes:
        chain: Chain number.
        shard: Shard.
        window: Window.
        first_segment: First segment of the run.
        last_segment: Last one, included.
        before: Where the first segment begins.
        after: Where the last one ends.
    """

    chain: int
    shard: int
    window: int
    first_segment: int
    last_segment: int
    before: Boundary
    after: Boundary

    def elements(self) -> list[int]:
        """Returns what the digest is of: the public inputs of a segment that were the whole run, and its end.

        Chain, shard, window, first segment and the boundary before; the last segment and three zeros, which
        fill the word; the boundary after.
        """
        head = [self.chain, self.shard, self.window, self.first_segment]
        return [
            *head,
            *boundary_elements(self.before),
            self.last_segment,
            *[0] * (WORD // 2 - 1),
            *boundary_elements(self.after),
        ]

    def digest(self, hasher: Hasher) -> tuple[int, ...]:
        """Returns the statement word."""
        transcript = Transcript(hasher)
        transcript.absorb(Label.SPAN, self.elements())
        return transcript.word(Label.STATEMENT_DIGEST)


def boundary_elements(boundary: Boundary) -> list[int]:
    """Returns a boundary as public inputs show it: counters, then roots."""
    roots = [element for root in boundary.roots for element in word_elements(root)]
    return [*boundary.counters(), *roots]


def span_of(statements: list[SegmentStatement]) -> Span:
    """Returns the span of consecutive segments.

    Raises:
        ParameterError: There are none, or one does not follow the one before, by name.
    """
    if not statements:
        raise ParameterError("a span has at least one segment")
    first = statements[0]
    for number, (left, right) in enumerate(pairwise(statements)):
        same = (left.chain, left.shard, left.window) == (right.chain, right.shard, right.window)
        if not same:
            problem = "is of another chain, shard or window"
        elif right.segment != left.segment + 1:
            problem = f"is segment {right.segment}, not {left.segment + 1}"
        elif right.before != left.after:
            problem = "does not begin where the one before ends"
        else:
            continue
        raise ParameterError(f"child {number + 1} of a span {problem}")
    last = statements[-1]
    return Span(
        first.chain,
        first.shard,
        first.window,
        first.segment,
        last.segment,
        first.before,
        last.after,
    )
