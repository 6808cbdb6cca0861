"""Aggregation of a window for `ecliptica bench steps`: lifts of its segments, joined until one proof is left.

Run as `python -m pipelines.bench_aggregation FILE SEGMENT...` it verifies such a proof: the process takes the span
that it must be about from the segments' own proofs.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pipelines.bench_verdicts import module_says
from proving.arithmetic.poseidon2 import NumpyHasher
from proving.backends.port import Backend
from proving.recursion.join import JOIN_SLOTS
from proving.recursion.lift import LIFT_SLOTS
from proving.recursion.span import Span, join_spans, lift_spans
from proving.recursion.span_proofs import SpanProof, prove_join, prove_lift, verify_span
from proving.segment_proofs import verify_segment

T = TypeVar("T")


def aggregate(proofs: Sequence[bytes], backend: Backend) -> SpanProof:
    """Returns one proof for all segments of a window.

    Raises:
        ProofError: A segment's proof does not verify.
    """
    spans = [prove_lift(part, backend) for part in _parts(proofs, LIFT_SLOTS)]
    while len(spans) > 1:
        spans = [prove_join(part, backend) for part in _parts(spans, JOIN_SLOTS)]
    return spans[0]


def verify_aggregate_apart(proof: bytes, segments: Sequence[bytes]) -> int:
    """Has the one proof verified by another process; returns its proven bits.

    Raises:
        InvariantError: It does not hold, or is not about these segments.
    """
    return int(module_says(__name__, [proof, *segments], what="an aggregate"))


def span_of(segments: Sequence[bytes]) -> Span:
    """Returns the span that segments' proofs lead over, each of them verified.

    Raises:
        ProofError: One of them does not verify.
    """
    hasher = NumpyHasher()
    statements = [verify_segment(segment, hasher)[0] for segment in segments]
    spans = [lift_spans(part, hasher) for part in _parts(statements, LIFT_SLOTS)]
    while len(spans) > 1:
        spans = [join_spans(part, hasher) for part in _parts(spans, JOIN_SLOTS)]
    return spans[0]


def _parts(whole: Sequence[T], size: int) -> list[Sequence[T]]:
    return [whole[start : start + size] for start in range(0, len(whole), size)]


def _main(write: Callable[[str], Any], file: str, *segments: str) -> None:
    span = span_of([Path(segment).read_bytes() for segment in segments])
    verdict = verify_span(SpanProof(span, Path(file).read_bytes()), NumpyHasher())
    write(str(verdict.proven_bits))


if __name__ == "__main__":
    _main(sys.stdout.write, *sys.argv[1:])
