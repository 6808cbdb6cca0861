"""The traffic of a demo: real transfers first, generated ones after them, sent once even over restarts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

from operators.event_log import open_log
from operators.topic_view import TopicView
from pipelines.corpus import CorpusInfo, CorpusRow, read_corpus, read_corpus_info
from pipelines.latency import Clock, Rate
from pipelines.progress import Progress
from pipelines.topic_log import TopicLog
from pipelines.traffic_generate import GenerateOptions, generate_traffic
from pipelines.traffic_import import import_traffic
from pipelines.traffic_sender import Pace, Sender, SendResult, split_genesis
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


@dataclass(frozen=True, slots=True)
class DemoTraffic:
    """Signed traffic of one shard, ready to send.

    Attributes:
        shard: Shard.
        corpus: Corpus file.
        genesis: Rows that register and fund the accounts.
        rows: Rows of traffic after them.
        rate: Transactions per second.
    """

    shard: int
    corpus: Path
    genesis: int
    rows: int
    rate: float

    @property
    def total(self) -> int:
        """All rows."""
        return self.genesis + self.rows


def prepare_traffic(
    data: Path, configuration: Configuration, genesis: Genesis, seed: int, report: Progress
) -> tuple[DemoTraffic, ...]:
    """Imports and signs the traffic of a demo into `DATA/traffic`, or takes what an earlier start made.

    The real transfers are shard 0's; each shard has its part of the rate and of the number of transactions.

    Raises:
        ParameterError: The traffic file is unusable, or an earlier start made the traffic of another one.
        EclipticaError: The corpus cannot be written.
    """
    folder = data / "traffic"
    folder.mkdir(parents=True, exist_ok=True)
    corpora = [
        folder / ("demo.parquet" if shard == 0 else f"demo-{shard}.parquet")
        for shard in range(genesis.shards)
    ]
    if not corpora[0].exists():
        imported = folder / "imported.parquet"
        transfers = _import(imported, configuration, genesis, seed, report)
        count = shard_transactions(configuration) - transfers
        _generate(imported, corpora[0], max(1, count), genesis.shards, report)
    for shard, corpus in enumerate(corpora):
        if not corpus.exists():
            _generate_alone((shard, corpus), configuration, genesis, seed, report)
    infos = [read_corpus_info(corpus) for corpus in corpora]
    _check_source(infos[0], configuration, corpora[0])
    for info, corpus in zip(infos, corpora, strict=True):
        if info.traffic_rows != shard_transactions(configuration):
            report.note(
                f"{corpus} has {info.traffic_rows} transactions, whatever --tps and --days say"
            )
    rate = configuration.demo.transactions_per_second / genesis.shards
    return tuple(
        DemoTraffic(shard, corpus, info.genesis_rows, info.traffic_rows, rate)
        for shard, (corpus, info) in enumerate(zip(corpora, infos, strict=True))
    )


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
    with _package_data(SAMPLE) as sample:
        source = Path(configuration.demo.traffic) if configuration.demo.traffic else sample
        expiry = _expiry(configuration)
        options = ImportOptions(source, out, seed, genesis.chain, 0, expiry, False, None, False, 0)
        return import_traffic(options, report).transfers


def _expiry(configuration: Configuration) -> int:
    return min(configuration.admission.max_expiry_slots, EXPIRY_SPAN - 1)


def _generate(base: Path, out: Path, count: int, shards: int, report: Progress) -> None:
    seed = read_corpus_info(base).seed
    with _package_data("workloads", WORKLOAD) as path:
        options = GenerateOptions(load_workload(path), out, count, seed, base, shards=shards)
        generate_traffic(options, report)


def _generate_alone(
    place: tuple[int, Path],
    configuration: Configuration,
    genesis: Genesis,
    seed: int,
    report: Progress,
) -> None:
    """Makes the traffic of a shard that has no imported one; `place` is the shard and its corpus."""
    shard, out = place
    with _package_data("workloads", WORKLOAD) as path:
        options = GenerateOptions(
            load_workload(path),
            out,
            shard_transactions(configuration),
            seed,
            chain=genesis.chain,
            shard=shard,
            expiry_slot=_expiry(configuration),
            shards=genesis.shards,
        )
        generate_traffic(options, report)


def _package_data(*names: str) -> AbstractContextManager[Path]:
    return resources.as_file(resources.files("pipelines").joinpath("data", *names))


def planned_transactions(configuration: Configuration) -> int:
    """Returns how much traffic fills its share of the demo's days at the configured rate."""
    clock, demo = configuration.clock, configuration.demo
    seconds = demo.days * clock.slots_per_day * clock.slot_micros / 1e6
    return int(seconds * TRAFFIC_SHARE * demo.transactions_per_second)


def shard_transactions(configuration: Configuration) -> int:
    """Returns each shard's part of `planned_transactions`."""
    return max(1, planned_transactions(configuration) // configuration.chain.shards)


def unsent_rows(traffic: DemoTraffic, log: TopicLog) -> Iterator[CorpusRow]:
    """Yields the rows of a corpus that the log does not hold yet.

    The sender appends in order, so what the log holds of the corpus is a beginning of it; rows of other
    producers in between do not matter.
    """
    on_log = log.rows(shard_topic("tx", traffic.shard), TRANSACTIONS)
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
    for record, found in log.placed_rows(shard_topic("tx", traffic.shard), TRANSACTIONS):
        offset, row = record.offset, row + 1 if record.offset == offset else 0
        if waiting is None:
            break
        if (found["body"], found["signature"]) == (waiting.body, waiting.signature):
            places.add((offset, row))
            waiting = next(rows, None)
    return frozenset(places)


@dataclass(slots=True)
class TrafficSender:
    """Sends the traffic of all shards side by side, each in a thread with a connection of its own.

    Attributes:
        log_url: The log.
        clock: Paces it; shared by the threads.
        report: Progress.
        is_stopped: Ends the sending.
    """

    log_url: str
    clock: Clock
    report: Progress
    is_stopped: Callable[[], bool]

    def send(
        self, corpora: Sequence[DemoTraffic], wait: Callable[[Sequence[Future[Any]]], None]
    ) -> tuple[SendResult, ...]:
        """Sends what the log does not hold yet: all genesis at once, then the traffic at its rate.

        No traffic is sent before the accounts of all shards are on the log, so that what goes to another shard
        finds its recipient there.

        Args:
            corpora: Traffic by shard.
            wait: Returns when all of these are done.
        """
        self.report.phase("send", sum(traffic.total for traffic in corpora))
        with ThreadPoolExecutor(len(corpora)) as pool:
            first = [pool.submit(self._send, traffic, is_genesis=True) for traffic in corpora]
            wait(first)
            genesis = [future.result().genesis for future in first]
            second = [pool.submit(self._send, traffic, is_genesis=False) for traffic in corpora]
            wait(second)
            return tuple(
                replace(future.result(), genesis=count)
                for future, count in zip(second, genesis, strict=True)
            )

    def _send(self, traffic: DemoTraffic, *, is_genesis: bool) -> SendResult:
        with closing(open_log(self.log_url)) as log:
            view = TopicView(log)
            topic = shard_topic("tx", traffic.shard)

            def rows() -> Iterator[CorpusRow]:
                for row in unsent_rows(traffic, view):
                    self.report.advance(1)
                    yield row

            sender = Sender(
                lambda headers, body: view.append(topic, headers, body),
                Pace(Rate(per_second=float(traffic.rate))),
                self.clock,
                is_stopped=self.is_stopped,
            )
            genesis, later = split_genesis(rows())
            if is_genesis:
                return sender.send_traffic((), sender.send_genesis(genesis))
            return sender.send_traffic(later, sender.send_genesis(genesis))


def expected_verdicts(traffic: DemoTraffic) -> VerdictTracker:
    """Returns a tracker that expects the verdict of every row of the corpus."""
    tracker = VerdictTracker(shard_topic("tx", traffic.shard))
    for row in read_corpus(traffic.corpus):
        tracker.add_sent(row)
    return tracker
