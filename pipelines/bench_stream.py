"""`ecliptica bench finality` and `bench stream`: real processes under open-loop load, rate and latency together.

`finality` plays one rate; `stream` doubles it until the chain no longer keeps up. All traffic is signed before.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib import resources
from itertools import islice
from pathlib import Path
from typing import Any

from pipelines.bench_work import BenchWork
from pipelines.corpus import CorpusRow, read_corpus, read_corpus_info
from pipelines.latency import LatencySummary, Rate
from pipelines.live_chain import LiveChain, Played, live_chain
from pipelines.progress import Progress
from pipelines.traffic_generate import GenerateOptions, generate_traffic
from proving.signatures import default_backend
from schemas.config import Configuration, profile_configuration
from schemas.errors import InvariantError
from schemas.units import EXPIRY_SPAN
from schemas.workload import load_workload

WORKLOAD = "uniform_100_accounts_all_valid.yaml"
SECONDS = 10
"""How long each rate is played."""

FINALITY_RATE = 500
"""Transactions per second of `finality`, the load of its targets."""

FIRST_RATE = 125
MAX_RATE = 16_000

TARGETS_MILLIS = {"certificate_ms": 200.0, "final_ms": 400.0}
"""The p99 that must hold at `FINALITY_RATE`, milliseconds."""

WARM_UP_SECONDS = 3
"""Traffic at the first rate before what counts: compiled programs, files and caches."""

KEPT_UP_SECONDS = 1.0
"""A rate is kept up with when everything is final so long after the last scheduled time, at most."""


@dataclass(frozen=True, slots=True)
class _Bench:
    """A chain whose accounts are registered and whose programs are compiled, and the traffic that is left."""

    chain: LiveChain
    rows: Iterator[CorpusRow]
    work: BenchWork

    def point(self, rate: int, count: int) -> dict[str, Any]:
        """Plays the next transactions at a rate."""
        found = self.chain.play(list(islice(self.rows, count)), Rate(per_second=float(rate)))
        if found.sent != count:
            raise InvariantError(f"the corpus ended after {found.sent} of {count} transactions")
        row = _row(rate, found)
        self.work.report.advance(1)
        self.work.report.note(
            f"{rate}/s: {found.final} of {found.sent} final in {found.seconds:.1f} s, "
            f"p99 {row['final_ms_p99']} ms, admitted {row['admitted_ms_p99']} ms, proposal to certificate {row['certificate_ms_p99']} ms"
        )
        return row


def finality(work: BenchWork) -> dict[str, Any]:
    """Plays one rate as often as asked; its record is of the run in the middle."""
    count = work.transactions
    with _bench(work, FINALITY_RATE, work.repeat * count) as bench:
        runs = [bench.point(FINALITY_RATE, count) for _ in range(work.repeat)]
    row = sorted(runs, key=lambda run: run["final_ms_p99"] or float("inf"))[len(runs) // 2]
    within = {
        f"is_{name}_within_target": (row[f"{name}_p99"] or float("inf")) < most
        for name, most in TARGETS_MILLIS.items()
    }
    return {**_record("finality", count, [row]), **within, "runs": runs, **_parameters(work)}


def stream(work: BenchWork) -> dict[str, Any]:
    """Doubles the rate until the chain does not keep up, or the transactions are used up."""
    rates = list(rates_within(work.transactions))
    table = []
    with _bench(work, rates[0], sum(rates) * SECONDS) as bench:
        for rate in rates:
            table.append(bench.point(rate, rate * SECONDS))
            if not table[-1]["keeps_up"]:
                break
    kept = [row["rate"] for row in table if row["keeps_up"]]
    return {
        **_record("stream", sum(row["sent"] for row in table), table),
        "kept_up_per_second": max(kept, default=None),
        **_parameters(work),
    }


@contextmanager
def _bench(work: BenchWork, first_rate: int, traffic: int) -> Iterator[_Bench]:
    """Signs the traffic, starts a chain, registers the accounts and warms up at the first rate."""
    warm_up = int(WARM_UP_SECONDS * first_rate)
    with tempfile.TemporaryDirectory(prefix="ecliptica-stream-") as folder:
        configuration = bench_configuration()
        corpus = sign_traffic(
            Path(folder), warm_up + traffic, work.seed, work.report, configuration
        )
        genesis = read_corpus_info(corpus).genesis_rows
        with live_chain(configuration, Path(folder) / "chain", work.log_url, work.seed) as chain:
            rows = read_corpus(corpus)
            chain.play(list(islice(rows, genesis)), Rate())
            chain.play(list(islice(rows, warm_up)), Rate(per_second=float(first_rate)))
            yield _Bench(chain, rows, work)


def rates_within(transactions: int) -> Iterator[int]:
    """Yields rates that double; all of them together take at most `transactions`, the first one always."""
    rate, total = FIRST_RATE, 0
    while rate <= MAX_RATE and (not total or total + rate * SECONDS <= transactions):
        yield rate
        total += rate * SECONDS
        rate *= 2


def _row(rate: int, found: Played) -> dict[str, Any]:
    scheduled = found.sent / rate
    validators = [used for name, used in found.cpu_seconds.items() if name.startswith("validator")]
    return {
        "rate": rate,
        "sent": found.sent,
        "final": found.final,
        "keeps_up": found.final == found.sent and found.seconds <= scheduled + KEPT_UP_SECONDS,
        "final_per_second": round(found.final / max(found.seconds, 1e-3), 1),
        **_percentiles("admitted_ms", found.admitted_ms),
        **_percentiles("final_ms", found.final_ms),
        **_percentiles("certificate_ms", found.certificate_ms),
        "append_ms_p99": found.append_ms.p99 if found.append_ms else None,
        "blocks": found.blocks,
        "cpu_validator": round(sum(validators) / len(validators), 2),
        "cpu_admission": found.cpu_seconds.get("admission"),
        "cpu_chain": found.cpu_seconds.get("chain"),
        "cpu_sender": found.cpu_seconds.get("sender"),
    }


def _percentiles(name: str, summary: LatencySummary | None) -> dict[str, float | None]:
    values = asdict(summary) if summary else {}
    return {f"{name}_{part}": values.get(part) for part in ("p50", "p99", "max")}


def _record(name: str, transactions: int, table: list[dict[str, Any]]) -> dict[str, Any]:
    first = table[0]["final_ms_p50"]
    return {
        "name": name,
        "transactions": transactions,
        "seconds_median": None if first is None else first / 1000,
        "seconds_min": None,
        "table": table,
        "proof_bytes": None,
        "proven_bits": None,
        "verified": None,
    }


def _parameters(work: BenchWork) -> dict[str, Any]:
    values = {
        "validators": bench_configuration().chain.validators,
        "shards": 1,
        "signatures": default_backend().name,
        "log": work.log_url.partition(":")[0] or "sqlite",
        "workload": WORKLOAD,
        "seconds": SECONDS,
    }
    return {"parameters": values}


def bench_configuration() -> Configuration:
    """Returns the configuration that traffic of these benches is signed for."""
    return profile_configuration("local")


def sign_traffic(
    folder: Path, count: int, seed: int, report: Progress, configuration: Configuration
) -> Path:
    """Writes a corpus of valid transfers between a hundred accounts, for a chain, and returns its path."""
    corpus = folder / "corpus.parquet"
    workloads = resources.files("pipelines").joinpath("data", "workloads")
    with resources.as_file(workloads.joinpath(WORKLOAD)) as path:
        options = GenerateOptions(
            load_workload(path),
            corpus,
            count,
            seed,
            chain=configuration.chain.number,
            expiry_slot=min(configuration.admission.max_expiry_slots, EXPIRY_SPAN - 1),
        )
    generate_traffic(options, report)
    return corpus
