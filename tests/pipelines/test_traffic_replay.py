from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from pipelines.account_keys import issuer_pair
from pipelines.corpus import ADMITTED, GENESIS_PHASE, TRAFFIC_PHASE, CorpusRow
from pipelines.latency import LatencySummary, Rate
from pipelines.traffic_generate import GenerateOptions, generate_traffic
from pipelines.traffic_replay import ReplayOptions, ReplayResult, replay_traffic
from pipelines.traffic_sender import Pace, Sender, SendResult, split_genesis
from pipelines.traffic_source import CorpusSource
from proving.ledger.rules import LedgerParameters
from schemas.errors import ParameterError
from schemas.tables import RECEIPTS, REJECTED, SCHEMA_HEADER, TRANSACTIONS, SchemaRegistry, encode
from schemas.workload import Invalidity, Workload
from tests.pipelines.corpus_judge import Judge
from tests.pipelines.row_log import RowLog
from tests.pipelines.test_traffic_import import Notes

MILLI = 1_000_000
START_WALL = 1_700_000_000_000


@dataclass
class ManualClock:
    now: int = 0

    def now_nanos(self) -> int:
        return self.now

    def wait_until(self, nanos: int) -> None:
        self.now = max(self.now, nanos)

    def wall_millis(self) -> int:
        return START_WALL + self.now // MILLI


@dataclass
class SlowLog:
    """Keeps records; each append takes the next of `delays_millis`."""

    clock: ManualClock
    delays_millis: list[int]
    rows: list[list[dict[str, object]]] = field(default_factory=list)

    def append(self, headers: tuple[tuple[str, bytes], ...], body: bytes) -> int:
        self.clock.now += self.delays_millis.pop(0) * MILLI
        fingerprint = dict(headers)[SCHEMA_HEADER].decode()
        self.rows.append(SchemaRegistry().decode(TRANSACTIONS, fingerprint, body).to_pylist())
        return len(self.rows) - 1


def _rows(count: int, every_millis: int = 100) -> list[CorpusRow]:
    return [
        CorpusRow(TRAFFIC_PHASE, b"b%d" % n, b"sig", ADMITTED, "", 5_000 + n * every_millis)
        for n in range(count)
    ]


def _sender(rate: Rate, delays: list[int], **pace: int) -> tuple[Sender, SlowLog]:
    clock = ManualClock()
    log = SlowLog(clock, delays)
    return Sender(log.append, Pace(rate, **pace), clock, clock.wall_millis), log


def _sent(n: int, millis: int) -> dict[str, object]:
    return {"body": b"b%d" % n, "signature": b"sig", "submitted_millis": START_WALL + millis}


def test_a_stall_of_the_log_counts_for_every_transaction_it_delays() -> None:
    sender, log = _sender(Rate(per_second=10), [250, 1])
    result = sender.send_traffic(_rows(3))
    assert log.rows == [[_sent(0, 0)], [_sent(1, 100), _sent(2, 200)]]
    assert result == SendResult(
        rate="10/s",
        genesis=0,
        sent=3,
        records=2,
        payload_bytes=15,
        seconds=0.251,
        offered_per_second=15.0,
        achieved_per_second=3 / 0.251,
        append_latency_ms=LatencySummary(3, 151.0, 250.0, 250.0, 250.0, 250.0),
        stopped=False,
    )


def test_a_multiple_of_the_recorded_times_is_kept() -> None:
    sender, log = _sender(Rate(speed=2), [0] * 3)
    sender.send_traffic(_rows(3))
    assert log.rows == [[_sent(0, 0)], [_sent(1, 50)], [_sent(2, 100)]]


def test_at_max_only_the_append_is_measured() -> None:
    sender, log = _sender(Rate(), [7, 9], max_batch_bytes=10)
    result = sender.send_traffic(_rows(4))
    assert log.rows == [[_sent(0, 0), _sent(1, 0)], [_sent(2, 7), _sent(3, 7)]]
    assert result.append_latency_ms == LatencySummary(4, 9.0, 9.0, 9.0, 9.0, 9.0)
    assert result.offered_per_second is None


def test_transactions_that_fall_due_within_the_linger_share_a_record() -> None:
    sender, log = _sender(Rate(per_second=1000), [0, 0], linger_millis=5)
    sender.send_traffic(_rows(8))
    assert [len(rows) for rows in log.rows] == [6, 2]


def test_a_stop_ends_after_the_record_in_hand() -> None:
    sender, log = _sender(Rate(per_second=10), [0] * 9)
    sender.is_stopped = lambda: len(log.rows) == 2
    result = sender.send_traffic(_rows(9))
    assert (result.sent, result.stopped, len(log.rows)) == (2, True, 2)


def test_a_speed_without_recorded_times_is_refused() -> None:
    sender, _ = _sender(Rate(speed=1), [])
    with pytest.raises(ParameterError, match="has no recorded time"):
        sender.send_traffic([CorpusRow(TRAFFIC_PHASE, b"", b"", ADMITTED, "")])


@pytest.mark.parametrize("genesis_count", [0, 1, 3])
def test_genesis_is_split_off_and_sent_at_once(genesis_count: int) -> None:
    genesis = [CorpusRow(GENESIS_PHASE, b"g", b"", ADMITTED, "")] * genesis_count
    traffic = _rows(2)
    first, second = split_genesis(iter([*genesis, *traffic]))
    sender, log = _sender(Rate(per_second=1), [0])
    assert sender.send_genesis(first) == genesis_count
    assert [len(rows) for rows in log.rows] == [genesis_count] * bool(genesis_count)
    assert list(second) == traffic


def _corpus(folder: Path) -> CorpusSource:
    out = folder / "c.parquet"
    workload = Workload(accounts=2, invalid={Invalidity.OVERDRAFT: 0.3})
    generate_traffic(GenerateOptions(workload, out, 20, seed=1, shard=3), Notes())
    return CorpusSource(out)


@dataclass
class Ledger:
    """Judges what is on `tx.3` once somebody waits for verdicts."""

    log: RowLog
    clock: ManualClock
    judge: Judge
    done: int = 0

    def run(self) -> None:
        self.clock.now += 1000 * MILLI
        for row in list(self.log.rows("tx.3", TRANSACTIONS))[self.done :]:
            verdict = self.judge.judge(row["body"], row["signature"])
            self.done += 1
            if verdict == ADMITTED:
                self.log.append("receipts", *self._receipt(row))
            else:
                self.log.append("rejected", *self._rejection(row, verdict))

    def _receipt(self, row: Mapping[str, Any]) -> tuple[tuple[tuple[str, bytes], ...], bytes]:
        entry = {
            "digest": hashlib.sha256(row["body"]).digest(),
            "state": "bft_final",
            "shard": 3,
            "at_millis": row["submitted_millis"] + 25,
            "submitted_millis": row["submitted_millis"],
        }
        return encode(RECEIPTS, RECEIPTS.batch([entry]))

    def _rejection(
        self, row: Mapping[str, Any], reason: str
    ) -> tuple[tuple[tuple[str, bytes], ...], bytes]:
        entry = {
            "stage": "admission",
            "reason": reason,
            "detail": "",
            "topic": "tx.3",
            "partition": 0,
            "offset": 0,
            "row": self.done,
            "schema": "",
            "attempt": 0,
            "original": row["body"],
            "rejected_millis": 0,
        }
        return encode(REJECTED, REJECTED.batch([entry]))


def _replay(folder: Path, chain: int) -> ReplayResult:
    log, clock = RowLog(), ManualClock()
    judge = Judge(LedgerParameters(chain=chain, shard=3), issuer_pair(1).public_key)
    log.on_wait = Ledger(log, clock, judge).run
    options = ReplayOptions(_corpus(folder), Pace(Rate(per_second=50)), shard=3, wait=True)
    return replay_traffic(options, log, clock, Notes())


def test_a_replay_that_waits_compares_every_verdict(tmp_path: Path) -> None:
    result = _replay(tmp_path, chain=1)
    verdicts = result.verdicts
    assert verdicts is not None
    assert verdicts.expected == verdicts.observed
    assert set(verdicts.expected) == {"admitted", "overdraft"}
    assert verdicts.is_as_expected
    final = LatencySummary(verdicts.expected["admitted"] - 4, 25.0, 25.0, 25.0, 25.0, 25.0)
    assert verdicts.final_latency_ms == final
    assert (result.send.genesis, result.send.sent, result.exit_code) == (4, 20, 0)


def test_verdicts_that_differ_end_the_command_with_a_failure(tmp_path: Path) -> None:
    result = _replay(tmp_path, chain=2)
    assert result.verdicts is not None
    assert result.verdicts.observed == {"wrong_chain": 24}
    assert result.exit_code == 1


def test_a_replay_that_nobody_answers_ends_with_the_rest_unresolved(tmp_path: Path) -> None:
    log, clock = RowLog(), ManualClock()

    def pass_time() -> None:
        clock.now += 30_000 * MILLI

    log.on_wait = pass_time
    options = ReplayOptions(_corpus(tmp_path), Pace(Rate()), shard=3, wait=True)
    verdicts = replay_traffic(options, log, clock, Notes()).verdicts
    assert verdicts is not None
    assert verdicts.unresolved == verdicts.expected["admitted"]


def test_a_corpus_of_another_shard_is_refused(tmp_path: Path) -> None:
    options = ReplayOptions(_corpus(tmp_path), Pace(Rate()), shard=0)
    with pytest.raises(ParameterError, match="is signed for shard 3, not 0"):
        replay_traffic(options, RowLog(), ManualClock(), Notes())


@pytest.mark.parametrize("blocks", [0, 1])
def test_a_corpus_with_its_own_accounts_is_announced_on_a_chain_with_blocks(
    tmp_path: Path, blocks: int
) -> None:
    log, notes = RowLog(), Notes()
    log.records["blocks.3"] = [("", b"")] * blocks
    options = ReplayOptions(_corpus(tmp_path), Pace(Rate()), shard=3)
    replay_traffic(options, log, ManualClock(), notes)
    assert ["has accounts already" in note for note in notes.notes] == [True] * blocks
