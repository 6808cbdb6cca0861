from __future__ import annotations

import functools
import hashlib
import random
from collections.abc import Sequence
from dataclasses import replace

import pytest

from operators.consensus_messages import decode_certificate
from operators.consensus_node import NodeIdentity, NoSigner
from operators.final_history import CertifiedChain
from operators.stage import Input, Output
from operators.windows import WindowsStage, WindowsState
from proving.ledger.layout import Layout, make_layout
from proving.ledger.planning import LargeShape
from proving.ledger.witness import decode_witness
from proving.signatures import KeyPair
from schemas.block import Block, Phase, genesis_hash, header_from_bytes
from schemas.errors import InvariantError, WireError
from schemas.job import JobEnvelope
from schemas.statement import SegmentStatement, decode_statement
from schemas.tables import BLOCKS, TRANSACTIONS
from schemas.units import Array
from tests.operators.shard_history import (
    CHAIN,
    COMMITTEE,
    HASHER,
    SHARD,
    VERIFIER,
    History,
    certificate_of,
    first_ledger,
    record,
    register,
    small_history,
    transfer,
    window_of,
)

SMALL = make_layout(7, 1)
"""So few rows that a window takes several segments."""


def stage(layout: Layout = SMALL) -> WindowsStage:
    return WindowsStage(COMMITTEE, VERIFIER, window_of, first_ledger, layout, HASHER)


def run(
    records: Sequence[Input], layout: Layout = SMALL, state: WindowsState | None = None
) -> tuple[WindowsState, list[Output]]:
    made = stage(layout)
    return made.step(made.initial() if state is None else state, records, 0)


def statements(outputs: Sequence[Output]) -> list[SegmentStatement]:
    return [
        decode_statement(JobEnvelope.from_bytes(output.rows[0]["envelope"]).statement)
        for output in outputs
        if output.topic == "jobs"
    ]


def window_rows(outputs: Sequence[Output]) -> list[tuple[int, int, int, int]]:
    return [
        tuple(output.rows[0][name] for name in ("window", "first_height", "end_height", "segments"))
        for output in outputs
        if output.topic == f"windows.{SHARD}"
    ]


def everything() -> list[Input]:
    history = small_history()
    return [*history.transactions, *history.blocks]


@functools.cache
def whole() -> tuple[bytes, tuple[Output, ...]]:
    """The snapshot at the end and the outputs of an undisturbed run."""
    state, outputs = run(everything())
    return stage().snapshot(state), tuple(outputs)


def test_every_closed_window_is_cut_and_the_open_one_is_not() -> None:
    _, outputs = run(everything(), make_layout(12, 1))
    assert window_rows(outputs) == [(0, 1, 3, 1), (2, 3, 6, 1), (3, 6, 7, 1)]
    headers = small_history().headers
    assert [output.rows[0]["post_state_root"] for output in outputs if len(output.key) == 0] == [
        headers[1].post_state_root,
        headers[4].post_state_root,
        headers[5].post_state_root,
    ]
    assert outputs[0].rows[0]["closed_millis"] == small_history().blocks[2].append_millis


def test_the_statements_chain_from_genesis_through_segments_and_windows() -> None:
    outputs = whole()[1]
    found = statements(outputs)
    assert len(found) > len(window_rows(outputs))
    before = first_ledger().boundary()
    for statement in found:
        if statement.segment == 0:
            empty = first_ledger().root(Array.TXS)
            roots = (*before.roots[: Array.TXS - 1], empty, *before.roots[Array.TXS :])
            before = replace(before, sequence=0, roots=roots)
        assert statement.before == before
        before = statement.after
    assert before.height == 6


def test_every_job_carries_the_witness_of_its_statement() -> None:
    for output in whole()[1]:
        if output.topic == "jobs":
            envelope = JobEnvelope.from_bytes(output.rows[0]["envelope"])
            witness = decode_witness(envelope.witness)
            assert witness.statement.preimage() == envelope.statement
            assert output.rows[0]["job_id"] == envelope.job_id == output.key


def test_much_load_becomes_a_job_whose_witness_names_the_large_kind() -> None:
    """With a large circuit that is worth more than no small segment, and with one worth more than a hundred."""
    for above, kind in ((0, 2), (100, 1)):
        made = replace(stage(), large=LargeShape(2, make_layout(9, 4), above))
        _, outputs = made.step(made.initial(), everything(), 0)
        envelopes = [
            JobEnvelope.from_bytes(output.rows[0]["envelope"])
            for output in outputs
            if output.topic == "jobs"
        ]
        assert {decode_witness(envelope.witness).kind for envelope in envelopes} == {kind}
        ends = [statement.after for statement in statements(outputs)]
        assert ends[-1] == statements(whole()[1])[-1].after


@pytest.mark.parametrize("seed", range(3))
def test_the_outputs_do_not_depend_on_interleaving_nor_on_cuts_into_batches(seed: int) -> None:
    rng = random.Random(seed)  # noqa: S311
    history = small_history()
    queues = [list(history.transactions), list(history.blocks)]
    mixed: list[Input] = []
    while any(queues):
        mixed.append(rng.choice([queue for queue in queues if queue]).pop(0))
    made = stage()
    state, outputs = made.initial(), list[Output]()
    while mixed:
        size = rng.randint(1, 3)
        state, more = made.step(state, mixed[:size], rng.randrange(10**6))
        outputs += more
        mixed = mixed[size:]
    assert (made.snapshot(state), tuple(outputs)) == whole()


@pytest.mark.parametrize("cut", [1, 5, 7, 8, 10])
def test_a_restart_from_a_snapshot_anywhere_gives_the_same_outputs(cut: int) -> None:
    records = everything()
    made = stage()
    state, outputs = run(records[:cut])
    restored = made.restore(made.snapshot(state))
    assert made.snapshot(restored) == made.snapshot(state)
    state, more = run(records[cut:], state=restored)
    assert (made.snapshot(state), tuple(outputs + more)) == whole()


def test_a_block_waits_until_its_transactions_are_there() -> None:
    history = small_history()
    state, outputs = run(history.blocks)
    assert outputs == []
    state, outputs = run(history.transactions[:-1], state=state)
    assert [window for window, *_ in window_rows(outputs)] == [0]
    _, outputs = run(history.transactions[-1:], state=state)
    assert [window for window, *_ in window_rows(outputs)] == [2, 3]


def test_foreign_rows_and_unreadable_records_change_nothing_and_are_counted() -> None:
    records = everything()
    blocks = f"blocks.{SHARD}"
    row = dict(small_history().blocks[1].batch.to_pylist()[0])  # type: ignore[union-attr]
    forged = [
        record(blocks, BLOCKS, [row | {"header": b"short"}], 90),
        record(blocks, BLOCKS, [row | {"payload": b"other"}], 91),
        record(blocks, BLOCKS, [row], 92),
        Input(blocks, 0, 93, 0, "", b"noise", None, "random bytes"),
        Input(f"tx.{SHARD}", 0, 93, 0, "", b"noise", None, "random bytes"),
    ]
    state, outputs = run([*records[:-2], *forged[:4], *records[-2:], forged[4]])
    assert tuple(outputs) == whole()[1]
    assert state.refused == 3


def test_transactions_that_no_block_can_hold_any_more_are_forgotten() -> None:
    history = small_history()
    stale = replace(transfer(16, 17, 1, 9), expiry=2).body()
    late = replace(transfer(16, 17, 1, 9), expiry=30000).body()
    rows: list[dict[str, object]] = [
        {"body": body, "signature": bytes(2420), "submitted_millis": 0}
        for body in (stale, late, b"not a body")
    ]
    offset = len(history.transactions)
    extra = record(f"tx.{SHARD}", TRANSACTIONS, rows, offset)
    state, _ = run([*history.transactions, extra, *history.blocks])
    assert sorted(state.store.rows) == [(offset, 1)]


def test_a_final_block_with_a_state_root_that_is_not_its_own_stops_the_stage() -> None:
    history = History()
    history.add(0, [register(2, 0)])
    history.headers[0] = replace(history.headers[0], post_state_root=hashlib.sha256().digest())
    history.tip = history.headers[0].block_hash()
    payload = history.blocks[0].batch.to_pylist()[0]["payload"]  # type: ignore[union-attr]
    history.blocks[0] = history._block_record(history.headers[0], payload, 0)
    history.add(8, [])
    with pytest.raises(InvariantError, match="state root"):
        run([*history.transactions, *history.blocks])


def test_a_damaged_snapshot_is_refused() -> None:
    made, snapshot = stage(), whole()[0]
    for damaged in (snapshot[:-1], b"", snapshot[:50] + b"\xff" + snapshot[51:]):
        with pytest.raises(WireError):
            made.restore(damaged)


@pytest.mark.parametrize("kind", ["stranger", "notarized", "of_another_block"])
def test_a_forged_block_does_not_keep_the_real_ones_out(kind: str) -> None:
    history = small_history()
    real = history.headers[2]
    forged = replace(real, post_state_root=real.parent_hash)
    assert history.blocks[2].batch is not None
    (real_row,) = history.blocks[2].batch.to_pylist()
    payload = real_row["payload"]
    certificate = {
        "stranger": certificate_of(forged, payload, KeyPair.from_seed(b"s" * 32)),
        "notarized": certificate_of(forged, payload, phase=Phase.NOTARIZE),
        "of_another_block": certificate_of(real, payload),
    }[kind]
    row = {
        **real_row,
        "header": forged.to_bytes(),
        "certificate": certificate,
    }
    fake = record(f"blocks.{SHARD}", BLOCKS, [row], 2)
    later = [replace(block, offset=block.offset + 1) for block in history.blocks[2:]]
    expected = run([*history.transactions, *history.blocks])
    state, outputs = run([*history.transactions, *history.blocks[:2], fake, *later])
    assert window_rows(outputs) == window_rows(expected[1])
    assert statements(outputs) == statements(expected[1])
    assert state.height == len(history.headers)


def held_up_by_the_next() -> tuple[Input, Input, Input]:
    """Returns block 3 without a certificate of its own, a stranger's on it, and the real one whose certificate speaks for both."""
    history = small_history()
    rows = [block.batch.to_pylist()[0] for block in history.blocks[2:4] if block.batch is not None]
    early, late = rows
    stranger = replace(history.headers[3], post_state_root=history.headers[0].block_hash())
    foreign = late | {"header": stranger.to_bytes(), "certificate": early["certificate"]}
    topic = f"blocks.{SHARD}"
    held = record(topic, BLOCKS, [early | {"certificate": late["certificate"]}], 2)
    return held, record(topic, BLOCKS, [foreign], 3), record(topic, BLOCKS, [late], 4)


def test_a_strangers_block_between_two_of_a_run_keeps_none_of_them_out() -> None:
    history = small_history()
    later = [replace(block, offset=block.offset + 1) for block in history.blocks[4:]]
    given = [*history.transactions, *history.blocks[:2], *held_up_by_the_next(), *later]
    expected = run([*history.transactions, *history.blocks])
    state, outputs = run(given)
    assert window_rows(outputs) == window_rows(expected[1])
    assert statements(outputs) == statements(expected[1])
    assert (state.height, list(state.claimed)) == (len(history.headers), [])


def test_nor_from_a_node_that_starts() -> None:
    identity = NodeIdentity(COMMITTEE, None, NoSigner(), VERIFIER)
    chain = CertifiedChain(identity, genesis_hash(CHAIN, SHARD), 0)
    taken = []
    for entry in (*small_history().blocks[:2], *held_up_by_the_next()):
        assert entry.batch is not None
        (row,) = entry.batch.to_pylist()
        block = Block(header_from_bytes(row["header"]), row["payload"])
        taken += chain.take(block, decode_certificate(row["certificate"]))
    assert [block.header for block in taken] == small_history().headers[:4]
