"""Segments of both shapes: proofs of each, windows of both, lanes that are alike, and kinds that are mixed up."""

from __future__ import annotations

import functools
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from operators.proof_worker import process_backend
from pipelines.adversary.ledger_traffic import fresh_ledger, mixed_blocks, transfer
from pipelines.bulk_ledger import BALANCE, bulk_ledger, transfer_blocks
from proving.arithmetic.modulus import P
from proving.errors import ProofMalformed, ProofRejected, ProvingError, RejectionReason
from proving.kinds import kind_named
from proving.ledger.air import LedgerAir
from proving.ledger.planning import LargeShape
from proving.ledger.segments import cut_window
from proving.ledger.state import Block
from proving.ledger.trace import build_trace, check_statement
from proving.ledger.trace_nodes import compiled_columns, compression_columns
from proving.ledger.witness import SegmentWitness, decode_witness
from proving.prover import prove_stark
from proving.segment_proofs import (
    LARGE_SEGMENT_KIND,
    large_shape,
    prove_segment,
    segment_layout,
    verify_segment,
)
from proving.stark.air import FieldArray
from proving.stark.parameters import SEGMENT_L, SEGMENT_S
from proving.stark.setup import ProvingKey, make_proving_key
from proving.stark.trace_check import TraceChecker, TraceReport
from proving.verifier import AcceptancePolicy, KeyRing, verify
from schemas.statement import SegmentStatement
from schemas.units import FIRST_ACCOUNT, SUPPLY_CAP, Array

BACKEND = process_backend()
FEW: dict[str, Any] = {"num_queries": 6, "query_pow_bits": 1}
"""Queries for speed; blow-up and folds are those of the registered kinds."""

AIRS = {1: LedgerAir(7, 1), 2: LedgerAir(7, 4)}
WIDE = LedgerAir(9, 4)
"""More rows than a hash lane has columns."""

LARGE = LargeShape(2, AIRS[2].layout, 1)


@functools.cache
def small_key(kind: int) -> ProvingKey:
    parameters = replace({1: SEGMENT_S, 2: SEGMENT_L}[kind], **FEW)
    return make_proving_key(kind, AIRS[kind], parameters, BACKEND)


@functools.cache
def blocks() -> tuple[Block, ...]:
    """Every kind of transaction, and transfers whose last few do not fit the large segment."""
    last = tuple(transfer(16, 17, 1, 3 + number, expiry=70001) for number in range(45))
    return (*mixed_blocks(), Block(5, 70001, 0, last))


@functools.cache
def window() -> tuple[SegmentWitness, ...]:
    return tuple(cut_window(fresh_ledger(), blocks(), 0, AIRS[1].layout, LARGE))


@functools.cache
def proof(number: int) -> bytes:
    witness = window()[number]
    trace, publics = build_trace(
        AIRS[witness.kind], witness, BACKEND, columns_of=compiled_columns(BACKEND)
    )
    return prove_stark(small_key(witness.kind), publics, trace, BACKEND).data


def shown(data: bytes, *kinds: int) -> SegmentStatement:
    ring = KeyRing.of(small_key(kind).verifying_key for kind in kinds)
    verdict = verify(data, AcceptancePolicy(ring, BACKEND, minimum_bits=0))
    return check_statement(verdict.publics, BACKEND)


def refusal(data: bytes, *kinds: int) -> RejectionReason:
    with pytest.raises((ProofMalformed, ProofRejected)) as error:
        shown(data, *kinds)
    return error.value.reason


def test_a_window_of_both_shapes_is_proven_and_its_segments_follow_each_other() -> None:
    kinds = [witness.kind for witness in window()]
    assert kinds == [2, 1]
    statements = [shown(proof(number), 1, 2) for number in range(len(kinds))]
    assert statements == [witness.statement for witness in window()]
    for before, after in pairwise(statements):
        assert (before.after, before.segment + 1) == (after.before, after.segment)
    ledger = fresh_ledger()
    for block in blocks():
        ledger.execute_block(block.transactions, block.height, block.slot, block.window)
    assert statements[-1].after == ledger.boundary()


def test_a_proof_is_of_the_kind_whose_key_it_names() -> None:
    numbers = {witness.kind: number for number, witness in enumerate(window())}
    for kind, other in ((1, 2), (2, 1)):
        data = proof(numbers[kind])
        assert refusal(data, other) is RejectionReason.UNKNOWN_KEY
        kind_place, digest_place = slice(8, 12), slice(12, 44)
        assert int.from_bytes(data[kind_place], "little") == kind
        flipped = data[:8] + other.to_bytes(4, "little") + data[12:]
        assert refusal(flipped, 1, 2) is RejectionReason.UNKNOWN_KEY
        foreign = proof(numbers[other])
        renamed = data[:12] + foreign[digest_place] + data[44:]
        assert refusal(renamed, 1, 2) is RejectionReason.UNKNOWN_KEY
        presented = foreign[:44] + data[44:]
        wrong_length = (RejectionReason.TRUNCATED, RejectionReason.TRAILING_BYTES)
        assert refusal(presented, 1, 2) is wrong_length[len(data) > len(foreign)]


def test_the_witness_says_its_kind_and_survives_its_bytes() -> None:
    for witness in window():
        assert decode_witness(witness.encode()) == witness


@pytest.mark.parametrize("kind", [0, 3, 16, 255])
def test_a_witness_for_a_kind_that_proves_no_segments_is_refused(kind: int) -> None:
    with pytest.raises(ProvingError, match="proves no segments"):
        prove_segment(replace(window()[0], kind=kind), BACKEND)


@functools.cache
def wide_trace() -> tuple[FieldArray, list[int]]:
    (segment,) = cut_window(fresh_ledger(), mixed_blocks(), 0, WIDE.layout)
    return build_trace(WIDE, segment, BACKEND)


@functools.cache
def wide_checker() -> TraceChecker:
    return TraceChecker(WIDE)


def lane_moved(trace: FieldArray, lane: int, offset: int) -> TraceReport:
    """Reports on a trace with every column of a hash lane moved by one, each on a row of its own."""
    edited, node = trace.copy(), WIDE.layout.nodes[lane]
    for number in range(node.width):
        place = (node.start + number, (number + offset) % WIDE.layout.height)
        edited[place] = (int(edited[place]) + 1) % P
    return wide_checker().check(edited, wide_trace()[1])


@functools.cache
def first_lane_moved(offset: int) -> TraceReport:
    return lane_moved(wide_trace()[0], 0, offset)


@pytest.mark.parametrize("lane", [1, 2, 3])
def test_every_column_of_a_further_hash_lane_is_bound_as_in_the_first(lane: int) -> None:
    """Two lanes change places without harm; whatever then breaks claims of one breaks those of the other."""
    first, further = WIDE.layout.nodes[0], WIDE.layout.nodes[lane]
    trace, publics = wide_trace()
    swapped = trace.copy()
    places = [slice(node.start, node.start + node.width) for node in (first, further)]
    swapped[places[0]], swapped[places[1]] = trace[places[1]], trace[places[0]]
    assert wide_checker().check(swapped, publics).holds
    broken: set[str] = set()
    for offset in (0, 100):  # together they meet every claim where it is claimed
        here, there = first_lane_moved(offset), lane_moved(swapped, lane, offset)
        assert there.unbalanced == here.unbalanced
        assert there.violations == {
            name.replace(first.name, further.name): rows for name, rows in here.violations.items()
        }
        broken |= set(there.violations)
    claims = [claim.name for claim in wide_checker().constraints]
    assert broken == {name for name in claims if name.startswith(further.name)}


def test_compiled_compressions_are_those_of_the_reference() -> None:
    rng = np.random.default_rng(4)
    pairs: FieldArray = rng.integers(0, P, (37, 16), dtype=np.uint32)
    pairs[0], pairs[1] = 0, P - 1
    assert np.array_equal(compiled_columns(BACKEND)(pairs), compression_columns(pairs))


def test_a_bulk_ledger_is_one_that_could_have_grown() -> None:
    ledger = bulk_ledger(50, 1, BACKEND)
    assert ledger.num_keys == FIRST_ACCOUNT + 50
    assert ledger.issued() == 50 * BALANCE
    assert sum(account.balance for account in ledger.accounts.values()) == SUPPLY_CAP
    twin = bulk_ledger(49, 1, BACKEND)
    assert ledger.trees[Array.KEY].cell(FIRST_ACCOUNT + 49) != twin.empty[0]
    twin.write_account(FIRST_ACCOUNT + 49, ledger.account(FIRST_ACCOUNT + 49))
    twin.write_account(0, ledger.account(0))
    twin.update_trees()
    assert twin.root(Array.ACC) == ledger.root(Array.ACC)
    blocks = transfer_blocks(ledger, 300, 2)
    for block in blocks:
        assert not ledger.execute_block(block.transactions, block.height, block.slot, 1).rejected
    assert ledger.account(1).balance == 300 * 1000 * 1000


@pytest.mark.slow
def test_a_large_segment_is_proven_with_the_registered_parameters() -> None:
    ledger = bulk_ledger(2**16, 1, BACKEND)
    blocks = transfer_blocks(ledger, 30_000, 1)
    (segment,) = cut_window(ledger, blocks, 1, segment_layout(), large_shape())
    assert segment.kind == kind_named(LARGE_SEGMENT_KIND).number
    data = prove_segment(decode_witness(segment.encode()), BACKEND).data
    statement, verdict = verify_segment(data, BACKEND)
    assert (statement, verdict.kind) == (segment.statement, segment.kind)
    assert verdict.proven_bits >= 100
    changed = bytearray(data)
    changed[len(data) // 2] ^= 1
    with pytest.raises((ProofMalformed, ProofRejected)):
        verify_segment(bytes(changed), BACKEND)
