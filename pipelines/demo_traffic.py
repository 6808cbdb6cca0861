"""The traffic of a demo: real transfers first, generated ones after them, sent once even over restarts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from operators.topic_view import TopicView
from pipelines.corpus import CorpusInfo, CorpusRow, read_corpus, read_corpus_info
from pipelines.latency import Clock, Rate
from pipelines.progress import Progress
from pipelines.topic_log import TopicLog
from pipelines.traffic_generate import GenerateOptions, generate_traffic
from pipelines.traffic_import import import_traffic
from pipelines.traffic_replay import Pace, Sender, SendResult, split_genesis
from pipelines.traffic_survey import ImportOptions
from pipelines.traffic_verdicts import VerdictTracker
from schemas.config import Configuration
from schemas.errors import ParameterError
from schemas.genesis import Genesis
from schemas.tables import TRANSACTIONS
from schemas.topics import shard_topic
from schemas.units import EXPIRY_SPAN
from schemas.workload import load_workload

SAMPLE = "ethereum_blocks_17173049_17173050.csv"
WORKLOAD = "hot_receivers_200_accounts_20_percent_invalid.yaml"
"""Package data: two real blocks, and the mix that follows them."""

TRAFFIC_SHARE = 0.7
"""Part of the demo's days during which traffic arrives; the rest lets the last windows close."""

SHARD = 0


@dataclass(frozen=True, slots=True)
class DemoTraffic:
    """Signed traffic, ready to send.

    Attributes:
        corpus: Corpus file.
        genesis: Rows that register and fund the accounts.
        rows: Rows of traffic after them.
        rate: Transactions per second.
    """

    corpus: Path
    genesis: int
    rows: int
    rate: int

    @property
    def total(self) -> int:
        """All rows."""
        return self.genesis + self.rows


def prepare_traffic(
    data: Path, configuration: Configuration, genesis: Genesis, seed: int, report: Progress
) -> DemoTraffic:
    """Imports and signs the traffic of a demo into `DATA/traffic`, or takes what an earlier start made.

    Raises:
        ParameterError: The traffic file is unusable, or an earlier start made the traffic of another one.
        EclipticaError: The corpus cannot be written.
    """
    folder = data / "traffic"
    folder.mkdir(parents=True, exist_ok=True)
    corpus, rate = folder / "demo.parquet", configuration.demo.transactions_per_second
    if not corpus.exists():
        imported = folder / "imported.parquet"
        transfers = _import(imported, configuration, genesis, seed, report)
        _generate(imported, corpus, max(1, planned_transactions(configuration) - transfers), report)
    info = read_corpus_info(corpus)
    _check_source(info, configuration, corpus)
    if info.traffic_rows != planned_transactions(configuration):
        report.note(f"{corpus} has {info.traffic_rows} transactions, whatever --tps and --days say")
    return DemoTraffic(corpus, info.genesis_rows, info.traffic_rows, rate)


def _check_source(info: CorpusInfo, configuration: Configuration, corpus: Path) -> None:
    wanted = Path(configuration.demo.traffic or SAMPLE).name
    if (made_of := info.sources[0]["file"]) != wanted:
        raise ParameterError(
            f"{corpus} was made of {made_of}, not of {wanted}",
            "choose another --data, or the --traffic that the first start had",
        )


def _import(
    out: Path, configuration: Configuration, genesis: Genesis, seed: int, report: Progress
) -> int:
    expiry = min(configuration.admission.max_expiry_slots, EXPIRY_SPAN - 1)
    with _package_data(SAMPLE) as sample:
        source = Path(configuration.demo.traffic) if configuration.demo.traffic else sample
        options = ImportOptions(
            source, out, seed, genesis.chain, SHARD, expiry, False, None, False, 0
        )
        return import_traffic(options, report).transfers


def _generate(base: Path, out: Path, count: int, report: Progress) -> None:
    seed = read_corpus_info(base).seed
    with _package_data("workloads", WORKLOAD) as path:
        generate_traffic(GenerateOptions(load_workload(path), out, count, seed, base), report)


def _package_data(*names: str) -> AbstractContextManager[Path]:
    return resources.as_file(resources.files("pipelines").joinpath("data", *names))


def planned_transactions(configuration: Configuration) -> int:
    """Returns how much traffic fills its share of the demo's days at the configured rate."""
    clock, demo = configuration.clock, configuration.demo
    seconds = demo.days * clock.slots_per_day * clock.slot_micros / 1e6
    return int(seconds * TRAFFIC_SHARE * demo.transactions_per_second)


def unsent_rows(traffic: DemoTraffic, log: TopicLog) -> Iterator[CorpusRow]:
    """Yields the rows of a corpus that the log does not hold yet.

    The sender appends in order, so what the log holds of the corpus is a beginning of it; rows of other
    producers in between do not matter.
    """
    on_log = log.rows(shard_topic("tx", SHARD), TRANSACTIONS)
    waiting: CorpusRow | None = None
    rows = read_corpus(traffic.corpus)
    for row in rows:
        waiting = row
        if not any(
            (found["body"], found["signature"]) == (row.body, row.signature) for found in on_log
        ):
            break
        waiting = None
    if waiting is not None:
        yield waiting
        yield from rows


def sent_places(traffic: DemoTraffic, log: TopicView) -> frozenset[tuple[int, int]]:
    """Returns where the log holds the rows of a corpus: offset of the record and row in it.

    What other producers have sent, before or in between, is left out.
    """
    rows = read_corpus(traffic.corpus)
    waiting = next(rows, None)
    places: set[tuple[int, int]] = set()
    offset, row = -1, 0
    for record, found in log.placed_rows(shard_topic("tx", SHARD), TRANSACTIONS):
        offset, row = record.offset, row + 1 if record.offset == offset else 0
        if waiting is None:
            break
        if (found["body"], found["signature"]) == (waiting.body, waiting.signature):
            places.add((offset, row))
            waiting = next(rows, None)
    return frozenset(places)


def send_traffic(
    traffic: DemoTraffic,
    log: TopicLog,
    clock: Clock,
    report: Progress,
    is_stopped: Callable[[], bool],
) -> SendResult:
    """Sends what the log does not hold yet: genesis at once, then the traffic at its rate."""
    report.phase("send", traffic.total)

    def rows() -> Iterator[CorpusRow]:
        for row in unsent_rows(traffic, log):
            report.advance(1)
            yield row

    topic = shard_topic("tx", SHARD)
    pace = Pace(Rate(per_second=float(traffic.rate)))
    sender = Sender(
        lambda headers, body: log.append(topic, headers, body), pace, clock, is_stopped=is_stopped
    )
    genesis, later = split_genesis(rows())
    return sender.send_traffic(later, sender.send_genesis(genesis))


def expected_verdicts(traffic: DemoTraffic) -> VerdictTracker:
    """Returns a tracker that expects the verdict of every row of the corpus."""
    tracker = VerdictTracker(shard_topic("tx", SHARD))
    for row in read_corpus(traffic.corpus):
        tracker.add_sent(row)
    return tracker
