"""EPOCH: what all shards did in a run of windows becomes one statement, and nothing else does.

What the shards show does not depend on their proofs, so most tests fill the slots with noise and look at the
epoch's own claims alone; the slow one proves, and so does the one of the days.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from proving.arithmetic.modulus import P
from proving.backends.cpu import CpuBackend
from proving.kinds import PROGRAMS, recursive_program, verifying_key
from proving.recursion.children import NO_KEY
from proving.recursion.epoch import EPOCH_SLOTS, EpochInputs, epoch_inputs
from proving.recursion.global_proofs import EPOCH_KIND, EpochChildren, epoch_witness, prove_epoch
from proving.recursion.global_span import GlobalSpan, merge_shards
from proving.recursion.recursive_proofs import recursive_publics
from proving.recursion.shard_part import LinkHeads, ShardPart, links_tree
from proving.recursion.span import NO_HISTORY, Span, reopened
from proving.recursion.span_proofs import SpanProof
from proving.stark.encoding import encode_proof, proof_sections
from schemas.errors import ParameterError
from schemas.statement import Boundary
from schemas.units import ZERO_WORD, Array

BACKEND = CpuBackend(threads=2)
WINDOWS = range(6, 12)
VALIDATORS = (5, 4, 3, 2, 1, 0, 9, 8)
SHOWN = (
    "slot", "the windows", "the owner", "what slot", "the number of shards", "the first window",
    "the end", "the statement", "a path of OUT", "a path of INB",
)  # fmt: skip
"""How the epoch's own claims begin; all others are about the proofs in the slots."""


def word(seed: int) -> bytes:
    elements = np.random.default_rng(seed).integers(0, P, 8, dtype=np.uint32)
    return elements.astype("<u4").tobytes()


def standing(seed: int, sent: LinkHeads, received: LinkHeads) -> Boundary:
    """Returns where a shard stands inside a window, with these links."""
    roots = [word(seed + array) for array in Array]
    roots[Array.OUT - 1] = links_tree(sent, BACKEND).root
    roots[Array.INB - 1] = links_tree(received, BACKEND).root
    return Boundary(seed, seed + 1, 4, 20, 0, 0, tuple(roots))


SENT = {0: (ZERO_WORD, word(1), word(2)), 1: (word(3), ZERO_WORD, ZERO_WORD), 2: (ZERO_WORD,) * 3}
"""What each shard had sent before the epoch."""

RECEIVED = {0: (ZERO_WORD,) * 3, 1: (word(8), ZERO_WORD, ZERO_WORD), 2: (ZERO_WORD,) * 3}
"""What each had received before."""

AFTER = {
    0: (ZERO_WORD, word(3), ZERO_WORD),
    1: (word(1), ZERO_WORD, ZERO_WORD),
    2: (ZERO_WORD,) * 3,
}
"""What each has received after: 0 and 1 take all there was, 2 makes no block and takes nothing."""


def part(shard: int, shards: int = 3) -> ShardPart:
    links = [table[shard][:shards] for table in (SENT, RECEIVED, AFTER)]
    at = reopened(standing(100 * (shard + 1), links[0], links[1]))
    if shard == 2:
        return ShardPart(None, at, *links)
    after = standing(100 * (shard + 1) + 50, (*links[0][:1], word(77), *links[0][2:]), links[2])
    span = Span(7, shard, shards, 6 + shard, 0, 10, 2, NO_HISTORY, at, after)
    return ShardPart(span, at, *links)


@cache
def parts() -> tuple[ShardPart, ...]:
    return part(0), part(1), part(2)


@cache
def places() -> EpochInputs:
    return epoch_inputs([verifying_key(name, BACKEND) for name in PROGRAMS[EPOCH_KIND][1]])


@cache
def noise() -> bytes:
    """Bytes that read as a lift, of noise."""
    key, rng = verifying_key("lift_s", BACKEND), np.random.default_rng(5)
    return encode_proof(
        key,
        {
            section.name: rng.integers(0, P, section.shape, dtype=np.uint32)
            for section in proof_sections(key)
        },
    )


def run_of(chosen: Sequence[ShardPart], windows: range = WINDOWS) -> GlobalSpan:
    return merge_shards(chosen, windows, chain=7, validators=VALIDATORS, hasher=BACKEND)


def problems(
    chosen: Sequence[ShardPart],
    run: GlobalSpan,
    *,
    windows: range = WINDOWS,
    changes: Mapping[int, int] | None = None,
) -> set[str]:
    """Returns which of the epoch's own claims do not hold."""
    proofs = [None if one.span is None else noise() for one in chosen]
    children = EpochChildren(7, windows, VALIDATORS, chosen, proofs)
    inputs = epoch_witness(children, BACKEND)
    for place, value in (changes or {}).items():
        inputs[place] = value % P
    publics = recursive_publics(EPOCH_KIND, run.digest(BACKEND), NO_KEY, BACKEND)
    words = np.array(publics, dtype=np.uint32).reshape(-1, 8)
    execution = recursive_program(EPOCH_KIND, BACKEND).execution
    found = execution.problems(execution.run(words, inputs, BACKEND))
    return {problem for problem in found if problem.startswith(SHOWN)}


@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_shards_of_a_chain_become_one_run(count: int) -> None:
    chosen = [part(shard, count) for shard in range(count)]
    assert problems(chosen, run_of(chosen)) == set()


def changed(which: int, **fields: object) -> list[ShardPart]:
    """Returns the parts with a field of one of their spans changed."""
    span = parts()[which].span
    assert span is not None
    chosen = list(parts())
    chosen[which] = replace(chosen[which], span=replace(span, **fields))  # type: ignore[arg-type]
    return chosen


def after_of(shard: int, **fields: object) -> Boundary:
    span = parts()[shard].span
    assert span is not None
    return replace(span.after, **fields)  # type: ignore[arg-type]


WRONG = [
    ("the owner of slot 1", lambda: changed(1, shard=0)),
    ("the owner of slot 1", lambda: changed(1, chain=8)),
    ("the owner of slot 0", lambda: changed(0, shards=2)),
    ("slot 0 begins a window", lambda: changed(0, first_segment=1)),
    ("the windows of slot 0", lambda: changed(0, first_window=5)),
    ("the windows of slot 1", lambda: changed(1, last_window=12)),
    ("slot 0 ends inside a block", lambda: changed(0, after=after_of(0, block_transactions=1))),
    ("slot 1 ends inside a block", lambda: changed(1, after=after_of(1, fee_sum=2**31))),
    ("the statement", lambda: changed(0, history=(1, *NO_HISTORY[1:]))),
    ("the statement", lambda: changed(1, after=after_of(1, height=200))),
    ("the statement", lambda: list(reversed(parts()))),
]


@pytest.mark.parametrize(("problem", "forge"), WRONG)
def test_a_part_that_does_not_fit_is_refused(problem: str, forge: object) -> None:
    chosen = forge()  # type: ignore[operator]
    assert problem in problems(chosen, run_of(parts()))
    if problem != "the statement":
        with pytest.raises(ParameterError, match=r"^shard "):
            run_of(chosen)


@pytest.mark.parametrize(
    ("problem", "fields"),
    [
        ("slot 0 begins inside a window", {"sequence": 3}),
        ("slot 0 begins inside a window", {"block_transactions": 1}),
        ("slot 0 begins inside a window", {"fee_sum": 1}),
        ("slot 0 begins inside a window", {"roots": (*parts()[0].at.roots[:8], word(1), word(2))}),
    ],
)
def test_a_run_begins_where_a_window_begins(problem: str, fields: dict[str, object]) -> None:
    at = replace(parts()[0].at, **fields)  # type: ignore[arg-type]
    chosen = changed(0, before=at)
    chosen[0] = replace(chosen[0], at=at)
    assert problem in problems(chosen, run_of(parts()))
    with pytest.raises(ParameterError, match="shard 0 begins inside a window"):
        run_of(chosen)


def test_a_shard_without_a_block_stays_where_it_was() -> None:
    """Its slot is idle: the two boundaries must be equal, whatever proof fills it."""
    slot = places().shards[2]
    moved = slot.span.start + 8 + 88  # height after
    found = problems(parts(), run_of(parts()), changes={moved: 999})
    assert {"slot 2 moves without a block", "the statement"} <= found
    idle = problems(parts(), run_of(parts()), changes={places().shards[1].active.start: 0})
    assert "slot 1 moves without a block" in idle
    absent = problems(parts(), run_of(parts()), changes={places().shards[3].active.start: 1})
    assert "slot 3 is active" in absent


def test_the_shards_are_counted() -> None:
    slots = places().shards
    for changes, problem in (
        ({slots[2].present.start: 0}, "the number of shards"),
        ({slots[3].present.start: 1}, "the number of shards"),
        ({slots[1].present.start: 0}, "slot 2 is present"),
        ({slots[0].present.start: 0}, "slot 0 is present"),
        ({slots[1].present.start: 2}, "slot 1 is present"),
    ):
        assert problem in problems(parts(), run_of(parts()), changes=changes), changes


def links(shard: int, **tables: LinkHeads) -> list[ShardPart]:
    """Returns the parts with other links of one shard, and boundaries that hold them."""
    chosen = list(parts())
    old = chosen[shard]
    new = replace(old, **tables)  # type: ignore[arg-type]
    at = _holding(old.at, {Array.OUT: new.sent, Array.INB: new.received})
    span = old.span
    if span is not None:
        span = replace(span, before=at, after=_holding(span.after, {Array.INB: new.received_after}))
    chosen[shard] = replace(new, at=at, span=span)
    return chosen


def _holding(boundary: Boundary, arrays: Mapping[Array, LinkHeads]) -> Boundary:
    roots = list(boundary.roots)
    for array, heads in arrays.items():
        roots[array - 1] = links_tree(heads, BACKEND).root
    return replace(boundary, roots=tuple(roots))


@pytest.mark.parametrize(
    ("receiver", "sender", "heads"),
    [
        (0, 1, (ZERO_WORD, word(4), ZERO_WORD)),
        (0, 2, (ZERO_WORD, word(3), word(4))),
        (1, 0, (word(2), ZERO_WORD, ZERO_WORD)),
    ],
)
def test_a_shard_receives_all_that_was_sent_before_or_nothing(
    receiver: int, sender: int, heads: LinkHeads
) -> None:
    chosen = links(receiver, received_after=heads)
    assert f"what slot {receiver} received of slot {sender}" in problems(chosen, run_of(parts()))
    text = f"shard {receiver} received something else than shard {sender} had sent"
    with pytest.raises(ParameterError, match=text):
        run_of(chosen)


def test_a_shard_may_receive_nothing_yet_but_not_less_than_before() -> None:
    nothing = links(1, received_after=RECEIVED[1])
    assert problems(nothing, run_of(nothing)) == set()
    less = links(1, received_after=(ZERO_WORD,) * 3)
    assert "what slot 1 received of slot 0" in problems(less, run_of(parts()))


def test_links_are_those_of_the_boundaries() -> None:
    opening = places().links.openings["OUT before", 0, 1]
    for place in (opening.word.start, opening.path.start, opening.path.stop - 1):
        assert "a path of OUT before of slot 0" in problems(
            parts(), run_of(parts()), changes={place: 12345}
        )
    other = [replace(parts()[0], sent=SENT[1]), *parts()[1:]]
    with pytest.raises(ParameterError, match="shard 0 shows other links than OUT before holds"):
        run_of(other)


def test_windows_are_a_run_in_range() -> None:
    for head, problem in (
        ((7, 3, 6, 6), "the end comes after the first window"),
        ((7, 3, 6, 5), "the end comes after the first window"),
        ((7, 3, 6, 2**30), "the end"),
        ((7, 3, P - 3, 12), "the first window"),
    ):
        changes = dict(zip(places().head[::5], head, strict=True))
        assert problem in problems(parts(), run_of(parts()), changes=changes), head
    for windows in (range(6, 6), range(-1, 12), range(6, 2**30), range(6, 2**24 + 7)):
        with pytest.raises(ParameterError, match="are no run"):
            run_of(parts(), windows)


def test_an_epoch_without_any_block_is_filled_with_a_proof_that_takes_no_part() -> None:
    idle = [replace(one, span=None, received_after=one.received) for one in parts()]
    span = parts()[0].span
    assert span is not None
    filler = SpanProof(span, noise())
    children = EpochChildren(7, WINDOWS, VALIDATORS, idle, [None] * 3, filler)
    run = run_of(idle)
    assert run.before == run.after
    publics = recursive_publics(EPOCH_KIND, run.digest(BACKEND), NO_KEY, BACKEND)
    words = np.array(publics, dtype=np.uint32).reshape(-1, 8)
    execution = recursive_program(EPOCH_KIND, BACKEND).execution
    values = execution.run(words, epoch_witness(children, BACKEND), BACKEND)
    assert not any(problem.startswith(SHOWN) for problem in execution.problems(values))


def test_more_shards_than_slots_and_a_run_without_any_proof_are_refused() -> None:
    idle = [replace(one, span=None, received_after=one.received) for one in parts()]
    children = EpochChildren(7, WINDOWS, VALIDATORS, idle, [None] * 3)
    with pytest.raises(ParameterError, match="no shard made a block"):
        epoch_witness(children, BACKEND)
    missing = EpochChildren(7, WINDOWS, VALIDATORS, parts(), [None] * 3)
    with pytest.raises(ParameterError, match="shard 0 has a span without a proof"):
        missing.claims()
    many = EpochChildren(
        7, WINDOWS, VALIDATORS, [parts()[2]] * (EPOCH_SLOTS + 1), [None] * (EPOCH_SLOTS + 1)
    )
    with pytest.raises(
        ParameterError, match=f"an epoch takes 1..{EPOCH_SLOTS} shards, got {EPOCH_SLOTS + 1}"
    ):
        prove_epoch(many, BACKEND)
