"""Action of `ecliptica bench`."""

from __future__ import annotations

from typing import Any

from pipelines.bench import DEFAULT_TRANSACTIONS, BenchWork
from pipelines.bench import run_bench as run_named_bench
from pipelines.bench_segment import DEFAULT_ACCOUNTS
from pipelines.cli.contract import Call
from schemas.errors import ParameterError


def run_bench(
    call: Call, *, name: str, transactions: int | None, repeat: int, accounts: int | None
) -> dict[str, Any]:
    """Runs a bench.

    Raises:
        EnvironmentMissing: It is not built yet.
        ParameterError: A size or the number of repeats is not positive.
    """
    size = DEFAULT_TRANSACTIONS.get(name, 1) if transactions is None else transactions
    if min(size, repeat) < 1:
        raise ParameterError("--transactions and --repeat are at least 1")
    seed = call.settings().configuration.demo.seed
    many = DEFAULT_ACCOUNTS if accounts is None else accounts
    return run_named_bench(BenchWork(size, repeat, seed, call.report, many), name)
