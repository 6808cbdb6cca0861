"""What a segment's public inputs may say, and how segments chain: the rules that the circuit leaves outside."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest

from operators.proof_chain import ends_at, find_chain, follows
from pipelines.adversary.ledger_traffic import HASHER, fresh_ledger, mixed_blocks, transfer
from proving.arithmetic.modulus import P
from proving.errors import ProofRejected, RejectionReason
from proving.ledger.air import LedgerAir
from proving.ledger.segments import cut_window
from proving.ledger.state import Block
from proving.ledger.trace import check_statement, statement_digest
from proving.segment_proofs import boundary_state_root
from schemas.block import BlockHeader
from schemas.statement import (
    AFTER_OFFSET,
    BEFORE_OFFSET,
    DIGEST_OFFSET,
    NUM_PUBLICS,
    UNTOUCHED_ARRAYS,
    Boundary,
    SegmentStatement,
    publics_of,
)
from schemas.units import Array

LAYOUT = LedgerAir(5, 6).layout
"""Small enough that a window takes several segments."""

BLOCKS = (
    *mixed_blocks()[:3],
    Block(4, 70000, 0, tuple(transfer(22, 16, 1, nonce, expiry=70000) for nonce in range(12))),
)


@functools.cache
def window() -> tuple[SegmentStatement, ...]:
    segments = cut_window(fresh_ledger(), BLOCKS, 0, LAYOUT)
    return tuple(segment.statement for segment in segments)


def says(statement: SegmentStatement) -> list[int]:
    return publics_of(statement, statement_digest(statement, HASHER))


def refused(publics: Sequence[int]) -> str:
    with pytest.raises(ProofRejected) as error:
        check_statement(publics, HASHER)
    assert error.value.reason is RejectionReason.BAD_STATEMENT
    return str(error.value)


def test_every_segment_of_a_window_says_what_was_cut() -> None:
    assert len(window()) == 3
    assert any(s.before.block_transactions for s in window())
    for statement in window():
        assert check_statement(says(statement), HASHER) == statement


def test_a_changed_public_input_is_refused_or_is_a_word_that_is_only_passed_through() -> None:
    publics = says(window()[0])
    assert len(publics) == NUM_PUBLICS
    for place in range(NUM_PUBLICS):
        changed = list(publics)
        changed[place] = (changed[place] + 1) % P
        if place < DIGEST_OFFSET + 8:
            refused(changed)
        else:
            assert check_statement(changed, HASHER) == window()[0]


@pytest.mark.parametrize("value", [P - 1, P, 2**32 - 1, 2**32, -1])
def test_a_number_outside_its_field_is_refused(value: int) -> None:
    publics = says(window()[1])
    numbers = [*range(4), *range(BEFORE_OFFSET, BEFORE_OFFSET + 8)]
    numbers += range(AFTER_OFFSET, AFTER_OFFSET + 8)
    for place in numbers:
        refused([*publics[:place], value, *publics[place + 1 :]])
    if value != P - 1:
        for place in (BEFORE_OFFSET + 8, AFTER_OFFSET + 8, *range(DIGEST_OFFSET, NUM_PUBLICS)):
            refused([*publics[:place], value, *publics[place + 1 :]])


def test_counters_at_their_limits_are_refused() -> None:
    limits = (2**30, 2**30, 2**30, 2**30, 2**15, 2**15, 2**15, 2**15)
    publics = says(window()[1])
    for offset, (place, limit) in itertools.product(
        (BEFORE_OFFSET, AFTER_OFFSET), enumerate(limits)
    ):
        where = offset + place
        refused([*publics[:where], limit, *publics[where + 1 :]])


def test_too_few_or_too_many_public_inputs_are_refused() -> None:
    publics = says(window()[0])
    for wrong in (publics[:-1], [*publics, 0], []):
        refused(wrong)


def before(field: str, value: int) -> Callable[[SegmentStatement], SegmentStatement]:
    def change(statement: SegmentStatement) -> SegmentStatement:
        changed: dict[str, Any] = {field: value}
        return replace(statement, before=replace(statement.before, **changed))

    return change


def root(boundary: Boundary, array: Array, word: bytes) -> Boundary:
    roots = list(boundary.roots)
    roots[array - 1] = word
    return replace(boundary, roots=tuple(roots))


FIRST: dict[str, tuple[Callable[[SegmentStatement], SegmentStatement], str]] = {
    "shard": (lambda s: replace(s, shards=s.shard), "no such shard"),
    "height": (before("height", 2**29), "height falls"),
    "slot": (before("slot", 2**29), "slot falls"),
    "keys": (before("keys", 2**29), "keys falls"),
    "sequence": (lambda s: replace(s, before=replace(s.before, sequence=s.after.sequence)), "grow"),
    "started list": (before("sequence", 1), "inside the window"),
    "open block": (before("block_transactions", 1), "inside the window"),
    "fees": (before("fee_sum", 1), "inside the window"),
    "list": (lambda s: replace(s, before=root(s.before, Array.TXS, bytes(32))), "not empty"),
    "claims": (
        lambda s: replace(
            s,
            before=root(s.before, Array.CLM, bytes(32)),
            after=root(s.after, Array.CLM, bytes(32)),
        ),
        "not empty",
    ),
}
for _array in UNTOUCHED_ARRAYS:
    FIRST[_array.name] = (
        lambda s, array=_array: replace(s, after=root(s.after, array, bytes(32))),  # type: ignore[misc]
        f"{_array.name} changes",
    )


@pytest.mark.parametrize("name", FIRST)
def test_boundaries_out_of_order_are_refused_though_the_digest_is_theirs(name: str) -> None:
    change, text = FIRST[name]
    assert text in refused(says(change(window()[0])))


def chains(statements: Sequence[SegmentStatement], at: Boundary) -> bool:
    """As the beacon and the auditor judge: places in order, each follows."""
    for place, statement in enumerate(statements):
        if statement.segment != place or not follows(statement, at):
            return False
        at = statement.after
    return True


def test_only_the_whole_window_in_order_leads_to_its_end() -> None:
    """Dropped, repeated and exchanged segments, also when they are given the missing number."""
    segments = window()
    start, end = fresh_ledger().boundary(), segments[-1].after
    assert chains(segments, start)
    for length in range(1, len(segments) + 2):
        for order in itertools.product(segments, repeat=length):
            renumbered = [replace(s, segment=j) for j, s in enumerate(order)]
            for statements in (list(order), renumbered):
                reached = chains(statements, start) and statements[-1].after == end
                assert reached == (tuple(order) == segments)


@dataclass(frozen=True, slots=True)
class Copy:
    """One of several proofs of a statement."""

    statement: SegmentStatement
    number: int


def _search(
    proofs: Sequence[Copy], end: Boundary, limit: int
) -> tuple[tuple[Copy, ...] | None, list[Boundary]]:
    """Returns what is found, and every boundary at which the search looked for the end."""
    looked: list[Boundary] = []

    def following(position: int, at: Boundary) -> Iterator[Copy]:
        for proof in proofs:
            if proof.statement.segment == position and follows(proof.statement, at):
                yield proof

    def is_end(at: Boundary) -> bool:
        looked.append(at)
        return at == end

    return find_chain(fresh_ledger().boundary(), following, is_end, limit), looked


def dead_end() -> list[SegmentStatement]:
    """Two segments that chain from the same start and lead nowhere, as proofs of unsigned transfers do."""
    first, second = window()[:2]
    first = replace(first, after=replace(first.after, keys=first.after.keys + 1))
    after = replace(second.after, keys=second.after.keys + 1)
    return [first, replace(second, before=first.after, after=after)]


def test_copies_of_proofs_that_lead_nowhere_do_not_hide_the_window() -> None:
    """A thousand copies before the honest ones: every place is looked at once, not once per path."""
    copies = [Copy(statement, number) for statement in dead_end() for number in range(1000)]
    honest = [Copy(statement, number) for statement in window() for number in range(2)]
    found, looked = _search([*copies, *honest], window()[-1].after, 8)
    assert found == tuple(honest[::2])
    assert len(looked) == len(set(looked)) == len(dead_end()) + len(window())


def test_a_window_that_lacks_a_proof_or_takes_too_many_is_not_found() -> None:
    proofs = [Copy(statement, 0) for statement in window()]
    end = window()[-1].after
    for gone in range(len(proofs)):
        assert _search([*proofs[:gone], *proofs[gone + 1 :]], end, 8)[0] is None
    assert _search(proofs, end, len(proofs) - 1)[0] is None
    assert _search(proofs, end, len(proofs))[0] == tuple(proofs)


def test_the_shorter_way_is_found_when_a_longer_one_is_preferred() -> None:
    """A boundary that one way reaches too late to end within the limit is reached again by another."""
    first, second, last = window()
    detour = [
        replace(first, after=first.before),
        *(replace(s, segment=s.segment + 1) for s in window()),
    ]
    joined = replace(first, after=second.after)
    proofs = [Copy(s, 0) for s in (*detour, joined, replace(last, segment=1))]
    assert _search(proofs, last.after, 4)[0] == tuple(proofs[:4])
    assert _search(proofs, last.after, 3)[0] == tuple(proofs[4:])


def test_a_segment_follows_only_the_boundary_it_begins_at() -> None:
    first, second = window()[:2]
    assert follows(second, first.after)
    for field in ("height", "slot", "sequence", "keys", "block_transactions", "fee_sum"):
        moved = replace(first.after, **{field: getattr(first.after, field) + 1})
        assert not follows(second, moved)
    for array in Array:
        assert not follows(second, root(first.after, array, b"\x01" * 32))


def test_a_window_starts_new_lists_and_nothing_else_anew() -> None:
    ledger = fresh_ledger()
    (first,) = cut_window(ledger, [Block(1, 3, 0, ())], 0, LAYOUT)
    (second,) = cut_window(ledger, [Block(2, 9, 1, ())], 1, LAYOUT)
    at = first.statement.after
    assert follows(second.statement, at)
    for field in ("height", "slot", "keys", "block_transactions", "fee_sum"):
        assert not follows(second.statement, replace(at, **{field: getattr(at, field) + 1}))
    for array in Array:
        kept = array in (Array.TXS, Array.CLM)
        assert follows(second.statement, root(at, array, b"\x01" * 32)) == kept


def header(boundary: Boundary) -> BlockHeader:
    return BlockHeader(
        chain=7,
        shard=1,
        epoch=0,
        height=boundary.height,
        slot=boundary.slot,
        view=1,
        parent_view=0,
        parent_hash=bytes(32),
        payload_hash=bytes(32),
        post_state_root=boundary_state_root(boundary, HASHER),
        transactions_root=boundary.root(Array.TXS),
        transaction_count=0,
        proposer=0,
    )


def test_a_window_ends_between_blocks_in_the_header_of_its_last_one() -> None:
    ledger = fresh_ledger()
    segments = cut_window(ledger, BLOCKS, 0, LAYOUT)
    end = segments[-1].statement.after
    last = header(end)
    assert (last.post_state_root, end) == (ledger.state_root(), ledger.boundary())
    assert ends_at(end, last, HASHER)
    for segment in segments[:-1]:
        assert not ends_at(segment.statement.after, last, HASHER)
    for field in ("height", "slot", "keys", "block_transactions"):
        assert not ends_at(replace(end, **{field: getattr(end, field) + 1}), last, HASHER)
    for array in Array:
        named = array is not Array.CLM
        assert ends_at(root(end, array, b"\x01" * 32), last, HASHER) != named
