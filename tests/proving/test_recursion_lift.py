"""LIFT: consecutive segments of a window become one statement, and nothing else does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from pipelines.sample_window import funded_ledger, sample_transfers, sample_window
from proving.arithmetic.modulus import EXTENSION_DEGREE
from proving.backends.cpu import CpuBackend
from proving.errors import ProofRejected, ProvingError, RejectionReason
from proving.kinds import recursive_program
from proving.ledger.layout import make_layout
from proving.ledger.segments import cut_window
from proving.ledger.state import Block
from proving.ledger.witness import SegmentWitness
from proving.recursion.lift import LIFT_SLOTS
from proving.recursion.programs import RecursionProgram
from proving.recursion.recursive_proofs import payee_of, recursive_publics
from proving.recursion.span import Span, join_spans, lift_spans, span_of_segment
from proving.recursion.span_proofs import (
    LIFT_KIND,
    SpanProof,
    lift_inputs,
    prove_lift,
    verify_span,
)
from proving.segment_proofs import prove_segment, verify_segment
from proving.stark.air import FieldArray
from schemas.errors import ParameterError
from schemas.units import ZERO_WORD, word_elements

BACKEND = CpuBackend(threads=2)
PAYEE = bytes([7, 0, 0, 0]) * 8
NOBODY = tuple(word_elements(ZERO_WORD))


def program() -> RecursionProgram:
    return recursive_program(LIFT_KIND, BACKEND)


@cache
def witnesses() -> list[SegmentWitness]:
    """Consecutive segments of one window, cut early so that few transfers make several."""
    return sample_window(40, 3, make_layout(7, 1))


@cache
def segments() -> tuple[bytes, ...]:
    """Proofs of the first three."""
    return tuple(prove_segment(witness, BACKEND).data for witness in witnesses()[:3])


@cache
def paid() -> bytes:
    """The second of them, made for another payee."""
    return prove_segment(witnesses()[1], BACKEND, payee=PAYEE).data


def span_from(proofs: Sequence[bytes]) -> Span:
    return lift_spans([verify_segment(proof, BACKEND)[0] for proof in proofs], BACKEND)


def problems(
    proofs: Sequence[bytes],
    span: Span,
    *,
    payee: Sequence[int] = NOBODY,
    switches: Sequence[int] | None = None,
    changes: Mapping[int, int] | None = None,
) -> set[str]:
    """Returns the claims of the lift that do not hold for these inputs."""
    inputs = lift_inputs(proofs, LIFT_SLOTS)
    if switches is not None:
        bits = inputs[-2 * EXTENSION_DEGREE * (LIFT_SLOTS - 1) :]
        bits[:: 2 * EXTENSION_DEGREE] = [*switches, *[0] * (LIFT_SLOTS - 1 - len(switches))]
    for place, value in (changes or {}).items():
        inputs[place] = value
    publics = recursive_publics(LIFT_KIND, span.digest(BACKEND), payee, BACKEND)
    words: FieldArray = np.array(publics, dtype=np.uint32).reshape(-1, 8)
    execution = program().execution
    return set(execution.problems(execution.run(words, inputs, BACKEND)))


@pytest.mark.parametrize("count", [1, 2, 3])
def test_consecutive_segments_become_a_span(count: int) -> None:
    proofs = segments()[:count]
    span = span_from(proofs)
    assert (span.first_segment, span.last_segment) == (0, count - 1)
    assert problems(proofs, span) == set()


@pytest.mark.parametrize(
    ("order", "slot"),
    [((1, 0), 1), ((0, 0), 1), ((0, 2), 1), ((0, 1, 1), 2), ((0, 1, 0), 2)],
)
def test_swapped_doubled_and_skipped_segments_are_refused(
    order: tuple[int, ...], slot: int
) -> None:
    chosen = [segments()[number] for number in order]
    statements = [verify_segment(proof, BACKEND)[0] for proof in chosen]
    first, last = statements[0], statements[-1]
    forged = replace(
        span_of_segment(first), last_segment=first.segment + len(order) - 1, after=last.after
    )
    assert {f"slot {slot} follows", f"the number of slot {slot}"} <= problems(chosen, forged)
    with pytest.raises(ParameterError, match=f"child {slot} "):
        prove_lift(chosen, BACKEND)


def test_a_span_is_neither_shorter_nor_longer_than_the_slots_that_are_on() -> None:
    proofs = segments()
    assert problems(proofs, span_from(proofs[:2])) == {"the statement"}
    assert problems(proofs, span_from(proofs), switches=[1]) == {"the statement"}
    assert problems(proofs, span_from(proofs[:2]), switches=[1]) == set()


@pytest.mark.parametrize(
    "field",
    [
        "chain",
        "shard",
        "shards",
        "first_window",
        "first_segment",
        "last_window",
        "last_segment",
        "history",
        "before",
        "after",
    ],
)
def test_every_field_of_the_span_is_in_its_digest(field: str) -> None:
    span = span_from(segments()[:2])
    value = getattr(span, field)
    if isinstance(value, int):
        other: object = value + 1
    elif isinstance(value, tuple):
        other = (*value[:-1], 1)
    else:
        other = replace(value, height=value.height + 1)
    changes: dict[str, Any] = {field: other}
    changed = replace(span, **changes)
    assert problems(segments()[:2], changed) == {"the statement"}


def test_switches_are_bits_that_only_fall() -> None:
    proofs, span = segments(), span_from(segments())
    assert "the switch of slot 1" in problems(proofs, span, switches=[2])
    assert "the switch of slot 3" in problems(proofs, span, switches=[1, 0, 1])


def test_a_slot_that_is_off_still_holds_a_proof() -> None:
    body = bytearray(segments()[0])
    body[-100] ^= 1
    found = problems([segments()[0], bytes(body)], span_from(segments()[:1]), switches=[0])
    assert any(problem.startswith("a path of") for problem in found)


def test_all_segments_name_the_payee_of_the_lift() -> None:
    mixed = [segments()[0], paid()]
    span = span_from(mixed)
    assert "the payee of slot 1" in problems(mixed, span)
    assert "the payee of slot 0" in problems(mixed, span, payee=word_elements(PAYEE))
    with pytest.raises(ProvingError, match="different payees"):
        prove_lift(mixed, BACKEND)


def test_a_lift_takes_as_many_segments_as_it_has_slots() -> None:
    with pytest.raises(ParameterError, match="at least one segment"):
        prove_lift([], BACKEND)
    many = [segments()[0]] * (LIFT_SLOTS + 1)
    with pytest.raises(ParameterError, match=f"takes 1..{LIFT_SLOTS} segments, got {len(many)}"):
        prove_lift(many, BACKEND)


def next_window() -> bytes:
    """A proof of the window after the one that the segments are of."""
    ledger = funded_ledger()
    blocks = [Block(ledger.height + 1, 64, 1, tuple(sample_transfers(40, 3)))]
    cut_window(ledger, blocks, 1, make_layout(7, 1))
    later = [Block(ledger.height + 1, 130, 2, ())]
    (witness,) = cut_window(ledger, later, 2, make_layout(7, 1))
    return prove_segment(witness, BACKEND).data


def test_a_lift_goes_on_over_windows() -> None:
    proofs = [*(prove_segment(one, BACKEND).data for one in witnesses()[-2:]), next_window()]
    span = span_from(proofs)
    assert (span.first_window, span.last_window, span.last_segment) == (1, 2, 0)
    assert (
        span.history == join_spans([span_from(proofs[:2]), span_from(proofs[2:])], BACKEND).history
    )
    assert problems(proofs, span) == set()
    bits = len(lift_inputs(proofs, LIFT_SLOTS)) - 2 * EXTENSION_DEGREE * (LIFT_SLOTS - 1)
    window_bit = bits + 2 * EXTENSION_DEGREE + EXTENSION_DEGREE  # of slot 2
    assert "slot 2 stays in its window" in problems(proofs, span, changes={window_bit: 1})
    assert "the window bit of slot 2" in problems(proofs, span, changes={window_bit: 2})
    skipped = [proofs[0], proofs[2]]
    assert "slot 1 follows" in problems(skipped, span)
    with pytest.raises(ParameterError, match="child 1 begins window 2 inside a block"):
        prove_lift(skipped, BACKEND)


@pytest.mark.slow
def test_a_lift_is_proven_and_verified_against_its_span() -> None:
    lifted = prove_lift(segments(), BACKEND)
    assert len(lifted.data) < 200_000
    verdict = verify_span(lifted, BACKEND)
    assert verdict.proven_bits >= 100
    assert payee_of(verdict) == NOBODY
    for other in (span_from(segments()[:2]), replace(lifted.span, last_window=9)):
        with pytest.raises(ProofRejected) as error:
            verify_span(SpanProof(other, lifted.data), BACKEND)
        assert error.value.reason is RejectionReason.STATEMENT_MISMATCH
    with pytest.raises(ProofRejected) as error:
        verify_span(SpanProof(lifted.span, segments()[0]), BACKEND)
    assert error.value.reason is RejectionReason.UNKNOWN_KEY
