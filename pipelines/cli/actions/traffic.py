"""Actions of `ecliptica traffic`."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from operators.congestion import congestion_of
from operators.event_log import open_existing_log
from operators.topic_view import TopicView
from pipelines.account_keys import issuer_pair
from pipelines.cli.contract import Call
from pipelines.latency import SystemClock, parse_rate
from pipelines.traffic_generate import GenerateOptions, GenerateResult, generate_traffic
from pipelines.traffic_import import ImportResult, import_traffic
from pipelines.traffic_replay import (
    ReplayLatencies,
    ReplayOptions,
    ReplayResult,
    replay_traffic,
)
from pipelines.traffic_report import ReplayReport, check_report
from pipelines.traffic_sender import Pace
from pipelines.traffic_source import CorpusSource, TopicSource, TrafficSource
from pipelines.traffic_survey import ImportOptions
from schemas.config import Configuration
from schemas.errors import ParameterError
from schemas.genesis import load_genesis
from schemas.units import EXPIRY_SPAN
from schemas.workload import load_workload


def import_(
    call: Call,
    *,
    source: Path,
    out: Path,
    shard: int,
    strict: bool,
    limit: int | None,
    dry_run: bool,
    threads: int,
) -> ImportResult:
    """Imports Ethereum-ETL transactions into a corpus for the chain of the data directory."""
    settings = call.settings()
    seed = settings.configuration.demo.seed
    check_shard(settings.configuration, shard)
    chain, expiry = chain_terms(settings.data, settings.configuration, seed)
    options = ImportOptions(
        source, out, seed, chain, shard, expiry, strict, limit, dry_run, threads
    )
    return import_traffic(options, call.report)


def generate(
    call: Call,
    *,
    workload: Path,
    count: int,
    out: Path,
    base: Path | None,
    shard: int,
    threads: int,
) -> GenerateResult:
    """Generates a corpus from a workload."""
    settings = call.settings()
    seed = settings.configuration.demo.seed
    shards = settings.configuration.chain.shards
    options = GenerateOptions(
        load_workload(workload), out, count, seed, base, threads=threads, shards=shards
    )
    if base is None:  # a base brings its own chain, shard and expiry
        check_shard(settings.configuration, shard)
        chain, expiry = chain_terms(settings.data, settings.configuration, seed)
        options = replace(options, chain=chain, shard=shard, expiry_slot=expiry)
    return generate_traffic(options, call.report)


def check_shard(configuration: Configuration, shard: int) -> None:
    """Checks that traffic can be signed for a shard.

    Raises:
        ParameterError: The configured chain has no such shard.
    """
    shards = configuration.chain.shards
    if shard >= shards:
        raise ParameterError(f"there is no shard {shard}", f"shards: 0 to {shards - 1}")


def chain_terms(data: Path, configuration: Configuration, seed: int) -> tuple[int, int]:
    """Returns the chain number and the expiry slot to sign with.

    With a genesis document in the data directory they are those of its chain, now; without one those of
    a chain that starts with the configuration.

    Raises:
        ParameterError: The chain's issuer is not the one of the seed, so that it would refuse the corpus.
    """
    lifetime = min(configuration.admission.max_expiry_slots, EXPIRY_SPAN - 1)
    path = data / "genesis.json"
    if not path.exists():
        return configuration.chain.number, lifetime
    genesis = load_genesis(path)
    if genesis.issuer_key != issuer_pair(seed).public_key:
        raise ParameterError(
            f"seed {seed} does not give the issuer of the chain in {path}",
            "give the --seed that the chain was made with, or another --data",
        )
    return genesis.chain, genesis.slot_at(time.time_ns() // 1_000_000) + lifetime


def replay(
    call: Call,
    *,
    source: str,
    rate: str,
    shard: int,
    wait: bool,
    processes: int,
    report: Path | None,
    from_log: str | None,
) -> ReplayResult:
    """Sends traffic onto the log.

    Raises:
        ParameterError: The source is no corpus file and no topic, the rate has no meaning for it, or a report
            cannot be written there.
    """
    if report is not None:
        check_report(report)
    url = call.settings().log_url
    options = ReplayOptions(
        traffic_source(source, from_log, url),
        Pace(parse_rate(rate)),
        shard,
        wait,
        processes=processes,
        log_url=url,
    )
    latencies = ReplayLatencies()
    with closing(open_existing_log(url)) as log:
        result = replay_traffic(
            options,
            TopicView(log),
            SystemClock(),
            call.report,
            lambda: call.stop.is_requested,
            latencies=latencies,
        )
        congestion = congestion_of(log, shard, time.time_ns() // 1_000_000)
    if congestion.is_overloaded:
        call.report.note(str(congestion))
    if report is not None:
        ReplayReport(options, result, latencies).write(report)
        call.report.note(f"report {report}")
    return result


def traffic_source(source: str, from_log: str | None, url: str) -> TrafficSource:
    """Returns a corpus, or a topic of another log.

    Raises:
        ParameterError: It is neither.
    """
    if from_log is None:
        if not Path(source).exists():
            raise ParameterError(
                f"{source} is no corpus file",
                "make one with `ecliptica traffic import` or `generate`; a topic needs --from-log URL",
            )
        return CorpusSource(Path(source))
    if from_log == url:
        raise ParameterError(
            "a log does not take its own traffic twice", "replay it to another chain: --data, --log"
        )
    return TopicSource(from_log, source)
