"""JOIN: spans that follow each other become one, over windows too, and nothing else does.

The links do not depend on what the slots' proofs are, so most tests fill the slots with noise and look at the
links' claims alone; the slow one proves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from pipelines.sample_window import sample_window
from proving.arithmetic.modulus import P
from proving.backends.cpu import CpuBackend
from proving.errors import ProofRejected, RejectionReason
from proving.kinds import PROGRAMS, recursive_program, verifying_key
from proving.ledger.layout import make_layout
from proving.recursion.children import NO_KEY
from proving.recursion.join import JOIN_SLOTS, SlotInputs, slot_inputs
from proving.recursion.programs import RecursionProgram
from proving.recursion.recursive_proofs import recursive_publics
from proving.recursion.span import (
    NO_HISTORY,
    Span,
    empty_list_root,
    fold_history,
    join_spans,
    opens_window,
    reopened,
    span_problem,
    why_not_after,
)
from proving.recursion.span_proofs import (
    JOIN_KIND,
    SpanProof,
    join_inputs,
    prove_join,
    prove_lift,
    verify_span,
)
from proving.segment_proofs import prove_segment
from schemas.errors import ParameterError
from schemas.statement import Boundary
from schemas.units import ZERO_WORD, Array, word_elements

BACKEND = CpuBackend(threads=2)
LINKS = ("owner", "slot", "the number", "the statement", "the switch", "the window bit")
"""How the claims of the links begin; all others are about the proofs in the slots."""


def program() -> RecursionProgram:
    return recursive_program(JOIN_KIND, BACKEND)


def slots() -> list[SlotInputs]:
    return slot_inputs([verifying_key(name, BACKEND) for name in PROGRAMS[JOIN_KIND][1]])


def word(seed: int) -> bytes:
    elements = np.random.default_rng(seed).integers(0, P, 8, dtype=np.uint32)
    return elements.astype("<u4").tobytes()


def boundary(seed: int, height: int, sequence: int = 5) -> Boundary:
    return Boundary(
        height, height + 1, sequence, 20, 0, 0, tuple(word(seed + k) for k in range(10))
    )


def part(left: Span | None, segment: int, seed: int) -> Span:
    """Returns a segment of window 3 that follows another one."""
    before = boundary(1, 10) if left is None else left.after
    after = boundary(seed, before.height + 1, before.sequence + 4)
    return Span(7, 1, 2, 3, segment, 3, segment, NO_HISTORY, before, after)


def window(left: Span, number: int, seed: int) -> Span:
    """Returns the whole of a later window."""
    before = reopened(left.after)
    after = boundary(seed, before.height + 1)
    return Span(7, 1, 2, number, 0, number, 2, NO_HISTORY, before, after)


@cache
def spans() -> list[Span]:
    """Two parts of window 3, then windows 4 and 6."""
    first = part(None, 0, 100)
    second = part(first, 1, 200)
    third = window(second, 4, 300)
    return [first, second, third, window(third, 6, 400)]


def link_problems(
    chosen: Sequence[Span],
    joined: Span,
    *,
    switches: Sequence[int] | None = None,
    same_window: Sequence[int] | None = None,
) -> set[str]:
    """Returns which claims of the links do not hold, the slots' proofs being noise; bits left out are 0."""
    places = slots()
    rng = np.random.default_rng(5)
    inputs = rng.integers(0, P, places[-1].same_window.stop, dtype=np.uint32)
    filled = [*chosen, *[chosen[-1]] * (JOIN_SLOTS - len(chosen))]
    on, same = (
        None if given is None else [*given, *[0] * (JOIN_SLOTS - len(given))]
        for given in (switches, same_window)
    )
    for number, (slot, span) in enumerate(zip(places, filled, strict=True)):
        inputs[slot.span.start : slot.span.stop] = span.elements()
        stays = number > 0 and not opens_window(filled[number - 1], span)
        for bits, value in (
            *[(choice, 0) for choice in slot.child.choices],
            (slot.switch, int(0 < number < len(chosen)) if on is None else on[number]),
            (slot.same_window, int(stays) if same is None else same[number]),
        ):
            inputs[bits.start : bits.stop] = [value, 0, 0, 0, 0]
    publics = recursive_publics(JOIN_KIND, joined.digest(BACKEND), NO_KEY, BACKEND)
    words = np.array(publics, dtype=np.uint32).reshape(-1, 8)
    execution = program().execution
    found = execution.problems(execution.run(words, inputs, BACKEND))
    return {problem for problem in found if problem.startswith(LINKS)}


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_spans_that_follow_each_other_are_joined(count: int) -> None:
    joined = join_spans(spans()[:count], BACKEND)
    assert link_problems(spans()[:count], joined) == set()
    assert (joined.first_window, joined.last_window) == (3, spans()[count - 1].last_window)


def test_the_history_is_folded_at_every_link() -> None:
    first, second, third, _ = spans()
    history = fold_history(NO_HISTORY, word_elements(ZERO_WORD), NO_HISTORY, BACKEND)
    closed = word_elements(second.after.root(Array.TXS))
    history = fold_history(history, closed, NO_HISTORY, BACKEND)
    assert join_spans([first, second, third], BACKEND).history == history
    tampered = replace(join_spans(spans(), BACKEND), history=history)
    assert link_problems(spans(), tampered) == {"the statement"}


WRONG = [
    ("owner of slot 1", 1, {"shard": 2}),
    ("owner of slot 2", 2, {"chain": 8}),
    ("owner of slot 3", 3, {"shards": 3}),
    ("the number of slot 1", 1, {"first_segment": 2}),
    ("the number of slot 2", 2, {"first_segment": 1}),
    ("slot 2 opens a later window", 2, {"first_window": 2}),
    ("slot 2 opens a later window", 2, {"first_window": 3 + 2**24 + 1}),
    ("slot 1 follows", 1, {"before": boundary(999, 10)}),
    ("slot 3 follows", 3, {"before": boundary(999, 10)}),
]


@pytest.mark.parametrize(("problem", "slot", "changes"), WRONG)
def test_a_span_that_does_not_follow_is_refused_by_circuit_and_prover(
    problem: str, slot: int, changes: dict[str, object]
) -> None:
    changed = list(spans())
    changed[slot] = replace(changed[slot], **changes)  # type: ignore[arg-type]
    assert problem in link_problems(changed, join_spans(spans(), BACKEND))
    with pytest.raises(ParameterError, match=f"child {slot} "):
        join_spans(changed, BACKEND)


def test_a_window_begins_with_empty_lists_and_after_a_closed_block() -> None:
    first, second, third, _ = spans()
    for name, changed in (
        ("sequence", replace(third.before, sequence=1)),
        ("TXS", replace(third.before, roots=second.after.roots)),
    ):
        forged = replace(third, before=changed)
        problems = link_problems([first, second, forged], join_spans(spans()[:3], BACKEND))
        assert "slot 2 follows" in problems, name
    for inside in (replace(second.after, block_transactions=3), replace(second.after, fee_sum=1)):
        opened = replace(second, after=inside)
        following = replace(third, before=reopened(opened.after))
        problem = "slot 2 opens a window inside a block"
        joined = join_spans(spans()[:3], BACKEND)
        assert problem in link_problems([first, opened, following], joined)
        assert "inside a block" in (why_not_after(opened, following) or "")


def test_a_window_beyond_the_range_is_refused_so_that_none_comes_round_the_modulus() -> None:
    """A step of less than 2^30 would lead from a window below 2^30 to one past it, and past P to a smaller one."""
    top = replace(spans()[1], first_window=2**30 - 3, last_window=2**30 - 3)
    beyond, back = window(top, 2**30 + 1, 500), window(top, 7, 500)
    joined = join_spans([top], BACKEND)
    assert "slot 1 opens a window in range" in link_problems([top, beyond], joined)
    assert "slot 1 opens a later window" in link_problems([top, back], joined)
    assert span_problem(join_spans([top, beyond], BACKEND), BACKEND) is not None


BEGIN = reopened(boundary(1, 10))
LISTED = tuple(word(9) if array is Array.TXS else BEGIN.root(array) for array in Array)
BAD_SPANS: list[tuple[str, dict[str, object]]] = [
    ("no such shard", {"shards": 1}),
    ("chain", {"chain": 2**30}),
    ("window", {"last_window": 2**30}),
    ("segment", {"last_segment": 2**30}),
    ("ends before it begins", {"last_window": 2}),
    ("no word", {"history": (P, *NO_HISTORY[1:])}),
    ("height falls", {"after": replace(boundary(1, 9), slot=11)}),
    ("PRV changes", {"after": boundary(2, 11)}),
    ("starts inside the window", {"before": replace(BEGIN, sequence=3)}),
    ("starts inside the window", {"before": replace(BEGIN, fee_sum=1)}),
    ("not empty", {"before": replace(BEGIN, roots=LISTED)}),
]


@pytest.mark.parametrize(("problem", "changes"), BAD_SPANS)
def test_a_span_that_breaks_its_own_rules_is_refused_whatever_the_proof(
    problem: str, changes: dict[str, object]
) -> None:
    honest = Span(7, 1, 2, 3, 0, 3, 1, NO_HISTORY, BEGIN, replace(BEGIN, height=11, sequence=4))
    assert span_problem(honest, BACKEND) is None
    changed = replace(honest, **changes)  # type: ignore[arg-type]
    assert problem in (span_problem(changed, BACKEND) or "")
    with pytest.raises(ProofRejected) as error:
        verify_span(SpanProof(changed, b"no proof"), BACKEND)
    assert error.value.reason is RejectionReason.BAD_STATEMENT


def test_a_window_bit_that_is_wrong_is_refused() -> None:
    joined = join_spans(spans()[:3], BACKEND)
    bits = [0, 1, 1]
    assert "slot 2 stays in its window" in link_problems(spans()[:3], joined, same_window=bits)
    bits = [0, 0, 0]
    assert "slot 1 opens a later window" in link_problems(spans()[:3], joined, same_window=bits)
    bits = [0, 1, 2]
    assert "the window bit of slot 2" in link_problems(spans()[:3], joined, same_window=bits)


def test_switches_are_bits_that_only_fall_and_choose_the_span() -> None:
    joined = join_spans(spans()[:2], BACKEND)
    assert link_problems(spans()[:3], joined, switches=[0, 1]) == set()
    assert link_problems(spans()[:3], joined) == {"the statement"}
    problems = link_problems(spans()[:3], joined, switches=[0, 1, 0, 1])
    assert "the switch of slot 3" in problems
    assert "the switch of slot 1" in link_problems(spans(), joined, switches=[0, 5])


def test_the_empty_list_is_what_a_window_begins_with() -> None:
    opened = reopened(boundary(1, 10))
    assert (opened.root(Array.TXS), opened.root(Array.CLM)) == (empty_list_root(),) * 2
    assert (opened.sequence, opened.root(Array.ACC)) == (0, boundary(1, 10).root(Array.ACC))


@pytest.mark.slow
def test_lifts_are_joined_and_joins_are_joined_again() -> None:
    segments = [
        prove_segment(witness, BACKEND).data for witness in sample_window(120, 3, make_layout(7, 1))
    ]
    lifts = [prove_lift(segments[:5], BACKEND), prove_lift(segments[5:], BACKEND)]
    joined = prove_join(lifts, BACKEND)
    again = prove_join([joined], BACKEND)
    for claim in (joined, again):
        assert verify_span(claim, BACKEND).proven_bits >= 100
        assert claim.span.last_segment == len(segments) - 1
    execution = program().execution
    publics = recursive_publics(JOIN_KIND, joined.span.digest(BACKEND), NO_KEY, BACKEND)
    words = np.array(publics, dtype=np.uint32).reshape(-1, 8)

    def problems(change: dict[int, int]) -> set[str]:
        inputs = join_inputs(lifts, BACKEND)
        for place, value in change.items():
            inputs[place] = value
        return set(execution.problems(execution.run(words, inputs, BACKEND)))

    slot = slots()[0]
    assert problems({}) == set()
    assert "the key of slot 0" in problems({slot.child.choices[-1].start: 1})
    assert "the key of slot 0" in problems({slot.child.cap.start: 1})
    assert "the vk_self of slot 0" in problems({slot.child.body.start + 8: 1})
    assert "the span of slot 0" in problems({slot.child.body.start: 1})
    foreign = SpanProof(joined.span, lifts[0].data)
    with pytest.raises(ProofRejected) as error:
        verify_span(foreign, BACKEND)
    assert error.value.reason is RejectionReason.STATEMENT_MISMATCH
    with pytest.raises(ParameterError, match="child 1 begins with segment 0, not 7"):
        prove_join([joined, lifts[0]], BACKEND)
