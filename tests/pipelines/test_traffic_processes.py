"""Replays by several processes, from a topic, and their report: on real logs and in real processes."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from operators.admission import Admission
from operators.event_log import open_log
from operators.stage_driver import open_driver
from operators.topic_view import TopicView
from pipelines.chain_setup import create_topics, prepare_chain
from pipelines.cli.actions.traffic import traffic_source
from pipelines.cli.main import main
from pipelines.corpus import ADMITTED, GENESIS_PHASE, CorpusRow, read_corpus
from pipelines.latency import (
    NANOS_PER_MILLI,
    LatencySummary,
    Rate,
    SystemClock,
    TimedLatencies,
)
from pipelines.traffic_generate import GenerateOptions, generate_traffic
from pipelines.traffic_processes import SendingProcesses, Share, joined, rows_sent, share_of
from pipelines.traffic_replay import (
    ReplayLatencies,
    ReplayOptions,
    ReplayResult,
    replay_traffic,
)
from pipelines.traffic_report import FINAL, ReplayReport, check_report
from pipelines.traffic_sender import Pace, SendResult
from pipelines.traffic_source import UNJUDGED, CorpusSource, TopicSource
from pipelines.traffic_verdicts import VerdictReport
from schemas.config import profile_configuration
from schemas.errors import EclipticaError, ParameterError
from schemas.genesis import Genesis
from schemas.tables import TRANSACTIONS
from schemas.transactions import decode_body
from schemas.workload import Invalidity, Workload
from tests.pipelines.test_traffic_import import Notes

SEED = 1
COUNT = 30
NOW = 1_800_000_000_000
WORKLOAD = Workload(accounts=6, funding=10**12, invalid={Invalidity.OVERDRAFT: 0.2})


@pytest.fixture
def genesis(tmp_path: Path) -> Genesis:
    return prepare_chain(tmp_path, profile_configuration("local"), SEED, lambda: NOW)


@pytest.fixture
def corpus(tmp_path: Path, genesis: Genesis) -> CorpusSource:
    out = tmp_path / "corpus.parquet"
    generate_traffic(
        GenerateOptions(WORKLOAD, out, COUNT, SEED, chain=genesis.chain, expiry_slot=7000), Notes()
    )
    return CorpusSource(out)


@pytest.fixture
def url(tmp_path: Path, genesis: Genesis) -> str:
    found = f"sqlite:///{tmp_path / 'log.sqlite'}"
    with open_log(found) as log:
        create_topics(log, genesis)
    return found


def bodies(url: str) -> list[bytes]:
    with open_log(url) as log:
        return [row["body"] for row in TopicView(log).rows("tx.0", TRANSACTIONS)]


def replayed(
    source: CorpusSource | TopicSource, url: str, processes: int, rate: Rate
) -> tuple[ReplayResult, ReplayLatencies]:
    found = ReplayLatencies()
    options = ReplayOptions(source, Pace(rate), processes=processes, log_url=url)
    with open_log(url) as log:
        result = replay_traffic(options, TopicView(log), SystemClock(), Notes(), latencies=found)
    return result, found


def test_several_processes_send_everything_once_and_each_sender_in_order(
    corpus: CorpusSource, url: str
) -> None:
    result, latencies = replayed(corpus, url, 3, Rate(per_second=500))
    rows = list(corpus.rows())
    genesis = [row.body for row in rows if row.phase == GENESIS_PHASE]
    traffic = [row.body for row in rows if row.phase != GENESIS_PHASE]
    sent = bodies(url)
    assert sent[: len(genesis)] == genesis
    assert Counter(sent[len(genesis) :]) == Counter(traffic)
    by_sender: dict[int, list[bytes]] = defaultdict(list)
    for body in traffic:
        by_sender[decode_body(body).sender].append(body)
    for sender, own in by_sender.items():
        assert [one for one in sent[len(genesis) :] if decode_body(one).sender == sender] == own
    assert (result.send.sent, result.send.genesis, result.processes) == (COUNT, len(genesis), 3)
    due = sorted(latencies.append.due_nanos)
    assert due == [int(place * 1e9 / 500) for place in range(COUNT)]  # the schedule of one process


def test_every_row_belongs_to_one_process_whatever_its_bytes(corpus: CorpusSource) -> None:
    rows = [*corpus.rows(), CorpusRow("traffic", b"no transaction", b"", "wrong_version", "")]
    assert {share_of(row, 4) for row in rows} <= set(range(4))
    assert {share_of(row, 1) for row in rows} == {0}


def sent_result(count: int, seconds: float, offered: float | None = 1.0) -> SendResult:
    return SendResult("4/s", 0, count, 1, 10, seconds, offered, 0.0, None, stopped=False)


def timed(*pairs: tuple[int, int]) -> TimedLatencies:
    found = TimedLatencies()
    for due, millis in pairs:
        found.add(due * NANOS_PER_MILLI, millis * NANOS_PER_MILLI)
    return found


def test_percentiles_are_those_of_all_latencies_and_no_mean_of_percentiles() -> None:
    fast = timed(*[(place, 1) for place in range(99)])
    slow = timed((2000, 1000))
    result = joined([(sent_result(99, 1.0), fast), (sent_result(1, 3.0), slow)], 5)
    assert result.append_latency_ms == LatencySummary(100, 1.0, 1.0, 1000.0, 1000.0, 1000.0)
    assert (result.sent, result.seconds, result.genesis) == (100, 3.0, 5)
    assert result.offered_per_second == 50.0


def test_what_was_sent_before_a_stop_is_known_by_process(corpus: CorpusSource) -> None:
    traffic = [row for row in corpus.rows() if row.phase != GENESIS_PHASE]
    parts = [(sent_result(2, 1.0), TimedLatencies()), (sent_result(1, 1.0), TimedLatencies())]
    found = list(rows_sent(corpus.rows(), parts))
    own = [[row for row in traffic if share_of(row, 2) == number] for number in range(2)]
    assert sorted(map(traffic.index, found)) == sorted(
        map(traffic.index, [*own[0][:2], *own[1][:1]])
    )


def test_a_process_that_cannot_send_says_why(corpus: CorpusSource, tmp_path: Path) -> None:
    gone = f"sqlite:///{tmp_path / 'none.sqlite'}"
    with pytest.raises(EclipticaError, match=r"a sending process failed: .* does not exist"):
        SendingProcesses(Share(corpus, gone, "tx.0", Pace(Rate()), 0, 2))


def test_a_stop_reaches_every_process(corpus: CorpusSource, url: str) -> None:
    processes = SendingProcesses(Share(corpus, url, "tx.0", Pace(Rate(per_second=0.5)), 0, 2))
    try:
        parts = processes.send(lambda: True)
    finally:
        processes.close()
    assert all(result.stopped for result, _ in parts if result.sent)
    assert sum(result.sent for result, _ in parts) < COUNT


def test_a_topic_is_replayed_with_the_verdicts_that_it_got(
    corpus: CorpusSource, url: str, tmp_path: Path, genesis: Genesis
) -> None:
    replayed(corpus, url, 1, Rate())
    source = TopicSource(url, "tx.0")
    assert {row.expected for row in source.rows()} == {UNJUDGED}
    with open_log(url) as log:
        stage = Admission(genesis, 0, profile_configuration("local").admission)
        driver = open_driver(stage, log, tmp_path, genesis.chain)
        while driver.run_once(0.0, NOW):
            pass
    found, wanted = list(source.rows()), list(read_corpus(corpus.path))
    assert [(row.body, row.expected) for row in found] == [
        (row.body, row.expected) for row in wanted
    ]
    assert {row.expected for row in found} == {ADMITTED, "overdraft"}
    other = f"sqlite:///{tmp_path / 'other.sqlite'}"
    with open_log(other) as log:
        create_topics(log, genesis)
    result, _ = replayed(source, other, 2, Rate(speed=1000))
    assert result.send.sent == len(wanted)
    assert Counter(bodies(other)) == Counter(row.body for row in wanted)


def test_sources_that_are_none_are_refused_by_name(tmp_path: Path, url: str) -> None:
    for source, origin, message in (
        ("none.parquet", None, "is no corpus file"),
        ("tx.0", url, "does not take its own traffic twice"),
    ):
        with pytest.raises(ParameterError, match=message):
            traffic_source(source, origin, url)
    with pytest.raises(ParameterError, match="cannot be sent to shard 1"):
        TopicSource(url, "tx.0").check(1)
    with pytest.raises(ParameterError, match=r"there is no topic tx\.9"):
        TopicSource(url, "tx.9").check(9)
    with pytest.raises(ParameterError, match="is no report"):
        check_report(tmp_path / "report.pdf")


def test_a_curve_has_the_percentiles_of_its_pieces() -> None:
    curve = timed((5000, 1), (5050, 3), (5850, 7)).curve(9)
    assert [(at, one.count, one.max) for at, one in curve] == [(0.0, 2, 3.0), (0.8, 1, 7.0)]
    assert TimedLatencies().curve(9) == []


def report(corpus: CorpusSource, final: TimedLatencies) -> ReplayReport:
    append = timed(*[(place * 100, place + 1) for place in range(20)])
    options = ReplayOptions(corpus, Pace(Rate(per_second=10)), log_url="sqlite:///x")
    verdicts = VerdictReport({"admitted": 15, "<b>": 5}, {"admitted": 15}, {"<b>": (5, 0)}, 5, None)
    result = ReplayResult(sent_result(20, 2.0), verdicts, 4)
    return ReplayReport(options, result, ReplayLatencies(append, final))


def test_a_page_has_curves_percentiles_verdicts_and_parameters_and_asks_no_network(
    corpus: CorpusSource,
) -> None:
    page = report(corpus, timed((0, 40), (100, 60))).as_html()
    assert f"<td>{FINAL}</td><td>2</td><td>60.0</td>" in page
    assert "<td>&lt;b&gt;</td><td>5</td><td>0</td>" in page
    assert "<td>processes</td><td>4</td>" in page
    assert page.count("<svg") == 1
    loads = re.findall(r"(?:src|href|url)\s*[=(]\s*[\"']?([^\"')>\s]+)", page)
    assert {one for one in loads if not one.startswith("#")} == set()
    assert "<script" not in page


@pytest.mark.parametrize("final", [(), ((0, 40),)])
def test_a_picture_is_written_whole(
    corpus: CorpusSource, tmp_path: Path, final: tuple[tuple[int, int], ...]
) -> None:
    out = tmp_path / "report.png"
    report(corpus, timed(*final)).write(out)
    assert out.read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ParameterError, match="cannot be written"):
        report(corpus, timed(*final)).write(tmp_path)


def test_the_command_replays_by_processes_and_writes_its_report(
    corpus: CorpusSource, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ECLIPTICA_LOG", url)
    page = tmp_path / "replay.html"
    arguments = ["--rate", "max", "--processes", "2", "--report", str(page)]
    assert main(["traffic", "replay", str(corpus.path), *arguments, "--json"]) == 0
    assert f"<td>sent</td><td>{COUNT}</td>" in page.read_text("utf-8")
