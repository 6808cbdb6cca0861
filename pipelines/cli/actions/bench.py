"""Action of `ecliptica bench`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipelines.bench import DEFAULT_TRANSACTIONS
from pipelines.bench import run_bench as run_named_bench
from pipelines.bench_segment import DEFAULT_ACCOUNTS
from pipelines.bench_work import BenchWork
from pipelines.cli.contract import Call, Document
from schemas.errors import ParameterError

SHOWN = (
    "verified",
    "proven_bits",
    "proof_bytes",
    "peak_memory_bytes",
    "capacity_per_second",
    "p99_ratio",
    "lost",
    "doubled",
    "is_memory_flat",
    "disk_bytes_per_transaction_thirds",
    "is_disk_level",
    "log_bytes_per_transaction_after_retention",
    "commit",
)
"""Members of a record that stand below its table."""


def run_bench(
    call: Call,
    *,
    name: str,
    transactions: int | None,
    repeat: int,
    rows: int | None,
    records: Sequence[Path] | None,
    out: Path | None,
    aggregates: bool,
    accounts: int | None,
    epochs: int | None,
    seconds: int | None,
) -> dict[str, Any] | Document:
    """Runs a bench.

    Returns:
        Its record; for people a record with a table is shown as the table.

    Raises:
        EnvironmentMissing: It is not built yet.
        ParameterError: A size or the number of repeats is not positive.
    """
    size = DEFAULT_TRANSACTIONS.get(name, 1) if transactions is None else transactions
    if min(size, repeat) < 1:
        raise ParameterError("--transactions and --repeat are at least 1")
    settings = call.settings()
    configuration = settings.configuration
    seed, log_url = configuration.demo.seed, configuration.storage.log_url
    work = BenchWork(
        size,
        repeat,
        seed,
        call.report,
        rows or 0,
        out=out,
        records=tuple(records or ()),
        aggregates=aggregates,
        accounts=DEFAULT_ACCOUNTS if accounts is None else accounts,
        epochs=epochs or 0,
        data=settings.data,
        log_url=log_url,
        seconds=seconds or 0,
        streaming=configuration.streaming,
    )
    record = run_named_bench(work, name)
    if "table" not in record:
        return record
    return Document(_as_text(record), record, exit_code(record))


def exit_code(record: Mapping[str, Any]) -> int:
    """Returns 1 for a run that lost a transaction or made one final twice, whatever its times."""
    return int(any(record.get(name) for name in ("lost", "doubled")))


def _as_text(record: Mapping[str, Any]) -> str:
    """Returns the table in columns and below it what a record is judged by."""
    rows: list[Mapping[str, Any]] = record["table"]
    titles = list(rows[0])
    cells = [titles, *([_cell(row[title]) for title in titles] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]
    shown = [f"{name}: {_cell(record[name])}" for name in SHOWN if record.get(name) is not None]
    machine = record["machine"]
    return "\n".join(
        [*lines, ", ".join(shown), f"{machine['cpu']}, load {machine['load_1min']}"]
        + [str(note) for note in record.get("notes", ())]
    )


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}"
    return "yes" if value is True else str(value)
