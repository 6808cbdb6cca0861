from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from operators.application import BlockContent, CheckState
from operators.beacon import BeaconApplication
from operators.beacon_start import BeaconPlace, BeaconState, open_beacon
from operators.day_files import checkpoint_path
from operators.event_log import Append
from operators.final_history import beacon_blocks
from operators.prover_role import record_of
from operators.topic_view import TopicView
from proving.arithmetic.poseidon2 import NumpyHasher
from proving.light.checkpoint import decode_checkpoint
from schemas.beacon_payload import (
    MAX_WINDOWS,
    ProofReference,
    WindowAcceptance,
    accepted_root,
    decode_acceptances,
    encode_acceptances,
)
from schemas.config import Configuration
from schemas.errors import InvariantError, WireError
from schemas.tables import PROOFS
from schemas.units import ZERO_WORD
from schemas.validators import validators_word
from tests.suites.mini_chain import MiniChain
from tests.suites.segments_again import (
    Proven,
    proven_for_another_chain,
    proven_for_more_shards,
    proven_other_history,
)

Windows = list[WindowAcceptance]


def _open(day: MiniChain, folder: Path) -> BeaconState:
    place = BeaconPlace(day.log(), day.genesis, day.configuration, NumpyHasher())
    return open_beacon(place, folder / "beacon.snapshot")


def _feed(day: MiniChain, state: BeaconState, *topics: str) -> None:
    log = day.log()
    for topic, take in state.feeds().items():
        if topic in topics:
            for record in log.read(topic, 0, 10_000):
                take(record)


@pytest.fixture
def application(proven_day: MiniChain, tmp_path: Path) -> BeaconApplication:
    state = _open(proven_day, tmp_path)
    _feed(proven_day, state, "proofs", "blocks.0")
    return state.application


def _built(application: BeaconApplication) -> BlockContent:
    for _ in range(20):  # each call verifies one proof more
        if application.has_work(application.final_hash, 0):
            break
    for places in application.shelf.claims.values():
        for place in places:
            application.shelf.verified(place)
    content = application.build(application.final_hash, 1, 0, required=False)
    assert content is not None
    return content


def _check(application: BeaconApplication, windows: Windows) -> tuple[CheckState, str]:
    payload = encode_acceptances(windows)
    fraud = application.evidence.rules.commitment(application.final.fraud)
    root = accepted_root(application.final.root, payload, fraud)
    count = sum(len(window.proofs) for window in windows)
    content = BlockContent(payload, ZERO_WORD, root, count)
    found = application.check(b"x" * 32, application.final_hash, 1, 0, content)
    return found.state, found.reason


def test_what_is_built_is_valid_and_becomes_final(application: BeaconApplication) -> None:
    content = _built(application)
    windows = decode_acceptances(content.payload).windows
    assert windows
    assert application.check(b"b" * 32, application.final_hash, 1, 0, content).state == "valid"
    application.finalize(b"b" * 32)
    assert application.final.tips[0].window == windows[-1].window
    assert len(application.final.accepted) == content.count
    with pytest.raises(InvariantError):
        application.finalize(b"c" * 32)


CHANGES: list[tuple[str, Callable[[Windows], Windows], str]] = [
    ("other shard", lambda w: [replace(w[0], shard=1)], "no_such_shard"),
    ("other window", lambda w: [replace(w[0], window=w[0].window + 1)], "wrong_window"),
    ("window twice", lambda w: [w[0], w[0]], "wrong_window"),
    ("first window left out", lambda w: w[1:], "wrong_window"),
    (
        "proof of another window",
        lambda w: [replace(w[0], proofs=w[1].proofs)],
        "does_not_follow",
    ),
    (
        "one proof too many",
        lambda w: [replace(w[0], proofs=w[0].proofs + w[1].proofs)],
        "does_not_follow",
    ),
    (
        "other bytes than named",
        lambda w: [replace(w[0], proofs=(replace(w[0].proofs[0], sha256=bytes(32)),))],
        "proof_not_accepted",
    ),
    (
        "no such row",
        lambda w: [replace(w[0], proofs=(replace(w[0].proofs[0], row=7),))],
        "proof_not_accepted",
    ),
]


@pytest.mark.parametrize(("name", "change", "reason"), CHANGES, ids=[c[0] for c in CHANGES])
def test_a_block_that_accepts_what_it_must_not_is_invalid(
    application: BeaconApplication, name: str, change: Callable[[Windows], Windows], reason: str
) -> None:
    windows = list(decode_acceptances(_built(application).payload).windows)
    assert len(windows) > 1
    assert _check(application, windows)[0] == "valid"
    application.branches.clear()
    assert _check(application, change(windows)) == ("invalid", reason), name


def test_a_root_or_count_that_is_not_the_payloads_is_refused(
    application: BeaconApplication,
) -> None:
    content = _built(application)
    for wrong in (
        replace(content, post_state_root=bytes(32)),
        replace(content, transactions_root=b"\x01" * 32),
        replace(content, count=content.count + 1),
        replace(content, payload=content.payload[:-1]),
    ):
        found = application.check(b"x" * 32, application.final_hash, 1, 0, wrong)
        assert found.state == "invalid"


def test_what_has_not_arrived_yet_is_missing_not_invalid(
    proven_day: MiniChain, tmp_path: Path, application: BeaconApplication
) -> None:
    windows = list(decode_acceptances(_built(application).payload).windows)
    state = _open(proven_day, tmp_path)
    assert _check(state.application, windows) == ("missing", "blocks.0")
    _feed(proven_day, state, "blocks.0")
    assert _check(state.application, windows)[0] == "missing"
    _feed(proven_day, state, "proofs")
    assert _check(state.application, windows)[0] == "valid"


def test_a_proof_that_does_not_hold_is_never_proposed(
    proven_day: MiniChain, tmp_path: Path
) -> None:
    """A forged proof before the good one of the same segment changes nothing."""
    forged = MiniChain(tmp_path / "forged")  # only for its log
    log = forged.log()
    for row in _good_rows(proven_day):
        proof = bytearray(row["proof"])
        proof[5000] ^= 1
        for one in ({**row, "proof": bytes(proof)}, row):
            append = record_of(PROOFS, [one])
            log.append(append.topic, append.records)
    place = BeaconPlace(log, proven_day.genesis, proven_day.configuration, NumpyHasher())
    state = open_beacon(place, tmp_path / "none.snapshot")
    _feed(proven_day, state, "blocks.0")
    for record in log.read("proofs", 0, 10_000):
        state.application.shelf.take(record)
    windows = decode_acceptances(_built(state.application).payload).windows
    assert all(proof.offset % 2 == 1 for window in windows for proof in window.proofs)
    assert isinstance(append, Append)


def _good_rows(day: MiniChain) -> list[Mapping[str, Any]]:
    rows = TopicView(day.log()).rows("proofs", PROOFS)
    return [row for row in rows if len(row["proof"]) > 100_000]  # the rest is poison


def _with_first(
    day: MiniChain, folder: Path, proofs: list[Proven], copies: int
) -> BeaconApplication:
    """Returns a beacon whose log holds copies of proofs of window 0 before the honest proofs."""
    log = MiniChain(folder / "log").log()  # only for its log
    rows = _good_rows(day)
    other = [
        {**rows[0], "statement": statement.preimage(), "proof": proof}
        for statement, proof in proofs
        for _ in range(copies)
    ]
    for row in (*other, *rows):
        append = record_of(PROOFS, [row])
        log.append(append.topic, append.records)
    place = BeaconPlace(log, day.genesis, day.configuration, NumpyHasher())
    state = open_beacon(place, folder / "none.snapshot")
    _feed(day, state, "blocks.0")
    for record in log.read("proofs", 0, 10_000):
        state.application.shelf.take(record)
    return state.application


def test_a_proof_that_holds_elsewhere_is_refused_and_hides_nothing(
    proven_day: MiniChain, tmp_path: Path
) -> None:
    """Of another chain's number, of more shards, of a history that no quorum signed, three copies each."""
    jobs = {row["window"]: row["job_id"] for row in _good_rows(proven_day)}
    proofs = [
        proven_for_another_chain(proven_day, jobs[0]),
        proven_for_more_shards(proven_day, jobs[0]),
        proven_other_history(proven_day, jobs[0]),
        proven_other_history(proven_day, jobs[1]),
    ]
    assert [s.window for s, _ in proofs] == [0, 0, 0, 1]
    application = _with_first(proven_day, tmp_path, proofs, 3)
    windows = decode_acceptances(_built(application).payload).windows
    assert [w.window for w in windows] == sorted(proven_day.view().window_segments)
    assert all(proof.offset >= 12 for window in windows for proof in window.proofs)
    reasons = (
        (0, 0, "does_not_follow"),
        (3, 0, "does_not_follow"),
        (6, 0, "not_the_final_state"),
        (9, 1, "does_not_follow"),
    )
    for offset, window, reason in reasons:
        verified = application.shelf.verified((offset, 0))
        assert verified is not None, "it is a proof"
        wanted = WindowAcceptance(0, window, (verified.reference,))
        assert _check(application, [*windows[:window], wanted]) == ("invalid", reason)


@pytest.mark.parametrize(("bits", "is_enough"), [(101, True), (102, False)])
def test_a_chain_that_asks_for_more_bits_takes_no_weaker_proof(
    proven_day: MiniChain, tmp_path: Path, bits: int, is_enough: bool
) -> None:
    """A segment's proof has 101 proven bits."""
    base = proven_day.configuration.model_dump()
    base["proving"]["minimum_proven_bits"] = bits
    configuration = Configuration.model_validate(base)
    place = BeaconPlace(proven_day.log(), proven_day.genesis, configuration, NumpyHasher())
    state = open_beacon(place, tmp_path / "beacon.snapshot")
    _feed(proven_day, state, "proofs", "blocks.0")
    shelf = state.application.shelf
    places = [
        where for (_, window, _), found in shelf.claims.items() if not window for where in found
    ]
    assert any(shelf.verified(where) is not None for where in places) == is_enough


def test_a_restart_from_the_snapshot_stands_where_it_stood(
    proven_day: MiniChain, tmp_path: Path
) -> None:
    observer = proven_day.roles["chain"].parts[1]  # type: ignore[attr-defined]
    path = tmp_path / "beacon.snapshot"
    read = {"blocks.0": proven_day.log().end_offset("blocks.0")}
    observer.state.save(path, observer.node.core.tip, read)
    restored = _open(proven_day, tmp_path)
    assert restored.application.final.tips == observer.state.application.final.tips
    assert restored.application.final.runs == observer.state.application.final.runs
    assert restored.application.final.runs.ends[0], "windows were accepted"
    assert restored.application.final.root == observer.state.application.final.root
    assert restored.tip == observer.node.core.tip


def test_the_observer_wrote_where_the_first_day_begins(
    proven_day: MiniChain, tmp_path: Path
) -> None:
    start = decode_checkpoint(checkpoint_path(proven_day.data).read_bytes())
    rules = _open(proven_day, tmp_path).application.rules
    assert (start.chain, start.shards, start.end_window) == (rules.chain, rules.shards, 0)
    assert start.validators == validators_word(proven_day.genesis.validator_keys)
    assert start.state == _open(proven_day, tmp_path).application.final.runs.state
    assert rules.windows_per_day == 2 * 2 * 2


def test_the_observer_wrote_every_beacon_block_with_its_certificate(proven_day: MiniChain) -> None:
    blocks = list(beacon_blocks(proven_day.log()))
    assert [block.header.height for block, _ in blocks] == list(range(1, len(blocks) + 1))
    accepted = [w for block, _ in blocks for w in decode_acceptances(block.payload).windows]
    assert [w.window for w in accepted] == sorted(proven_day.view().window_segments)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\x01\x00\x00\x00",
        b"\x02\x01\x00\x00",
        b"\x02\x00\x00\x00\x00",
        b"\x02\x00\x00\x02",
        encode_acceptances([WindowAcceptance(0, 1, ())]),
        encode_acceptances(
            [WindowAcceptance(0, 1, (ProofReference(0, 0, bytes(32)),))] * (MAX_WINDOWS + 1)
        ),
    ],
)
def test_payloads_that_are_not_canonical_are_refused(payload: bytes) -> None:
    with pytest.raises(WireError):
        decode_acceptances(payload)
