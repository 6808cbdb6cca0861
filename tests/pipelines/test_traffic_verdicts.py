from __future__ import annotations

import hashlib
from typing import Any

from pipelines.corpus import ADMITTED, GENESIS_PHASE, TRAFFIC_PHASE, CorpusRow
from pipelines.latency import LatencySummary
from pipelines.traffic_verdicts import VerdictReport, VerdictTracker


def _row(body: bytes, expected: str = ADMITTED, phase: str = TRAFFIC_PHASE) -> CorpusRow:
    return CorpusRow(phase, body, b"", expected, "")


def _receipt(body: bytes, state: str = "bft_final", waited: int = 40) -> dict[str, Any]:
    digest = hashlib.sha256(body).digest()
    return {"digest": digest, "state": state, "at_millis": 100 + waited, "submitted_millis": 100}


def _rejection(offset: int, row: int, reason: str, topic: str = "tx.0") -> dict[str, Any]:
    return {"topic": topic, "offset": offset, "row": row, "reason": reason}


def _tracker() -> VerdictTracker:
    tracker = VerdictTracker("tx.0", first_offset=5)
    for row in (
        _row(b"genesis", phase=GENESIS_PHASE),
        _row(b"one"),
        _row(b"two"),
        _row(b"one", "nonce_replay"),
        _row(b"three", "overdraft"),
    ):
        tracker.add_sent(row)
    return tracker


def test_traffic_that_meets_its_expectation_is_complete_and_timed() -> None:
    tracker = _tracker()
    tracker.add_receipts(
        [_receipt(b"genesis"), _receipt(b"one"), _receipt(b"one"), _receipt(b"two", waited=60)]
    )
    half_way = tracker.is_complete
    tracker.add_rejections([_rejection(5, 0, "nonce_replay"), _rejection(6, 0, "overdraft")])
    assert (half_way, tracker.is_complete) == (False, True)
    report = tracker.report()
    assert report == VerdictReport(
        expected={"admitted": 3, "nonce_replay": 1, "overdraft": 1},
        observed={"admitted": 3, "nonce_replay": 1, "overdraft": 1},
        differences={},
        unresolved=0,
        final_latency_ms=LatencySummary(2, 60.0, 60.0, 60.0, 60.0, 60.0),
    )
    assert report.is_as_expected


def test_another_reason_a_missing_receipt_and_foreign_records_show() -> None:
    tracker = _tracker()
    tracker.add_receipts([_receipt(b"one"), _receipt(b"two", "rejected"), _receipt(b"alien")])
    tracker.add_rejections(
        [
            _rejection(4, 0, "overdraft"),
            _rejection(6, 0, "overdraft", topic="tx.1"),
            _rejection(6, 1, "nonce_gap"),
            _rejection(6, 1, "nonce_gap"),
        ]
    )
    assert tracker.report() == VerdictReport(
        expected={"admitted": 3, "nonce_replay": 1, "overdraft": 1},
        observed={"admitted": 1, "nonce_gap": 1},
        differences={
            "admitted": (3, 1),
            "nonce_gap": (0, 1),
            "nonce_replay": (1, 0),
            "overdraft": (1, 0),
        },
        unresolved=2,
        final_latency_ms=LatencySummary(1, 40.0, 40.0, 40.0, 40.0, 40.0),
    )
    assert not tracker.report().is_as_expected


def test_what_was_refused_against_expectation_is_not_unresolved() -> None:
    tracker = _tracker()
    tracker.add_rejections([_rejection(5, row, "nonce_replay") for row in range(5)])
    report = tracker.report()
    assert (report.observed, report.unresolved) == ({"nonce_replay": 5}, 0)
    assert not report.is_as_expected
