"""`ecliptica traffic`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli.contract import Work
from pipelines.cli.frame import command, noun_app

Out = Annotated[Path, typer.Option("--out", help="Corpus to write.")]
Shard = Annotated[int, typer.Option(min=0, envvar="ECLIPTICA_SHARD", help="Shard to sign for.")]
Threads = Annotated[
    int, typer.Option(min=0, help="Signing threads.", show_default="one per usable core")
]


def register(root: typer.Typer) -> None:
    """Adds the commands."""
    app = noun_app(
        "Load testers: import, generate, replay.",
        example="ecliptica traffic import transactions.csv.gz --out corpus.parquet",
    )
    root.add_typer(app, name="traffic")

    @command(
        app,
        "import",
        example="ecliptica traffic import transactions.csv.gz --out corpus.parquet",
        settings=("profile", "seed"),
    )
    def import_(
        source: Annotated[
            Path, typer.Argument(help="Ethereum-ETL transactions: CSV, .gz, Parquet.")
        ],
        *,
        out: Out = Path("corpus.parquet"),
        shard: Shard = 0,
        strict: Annotated[
            bool, typer.Option("--strict", help="Stop at the first broken row.")
        ] = False,
        limit: Annotated[
            int | None, typer.Option(min=1, help="Rows to read.", show_default="all")
        ] = None,
        dry_run: Annotated[bool, typer.Option("--dry-run", help="Count, sign nothing.")] = False,
        threads: Threads = 0,
    ) -> Work:
        """Turn Ethereum-ETL transfers into signed transactions; 1 ETH becomes 1 ECLIPT."""
        fields = {"source": source, "out": out, "shard": shard, "strict": strict}
        return Work(
            "traffic:import_",
            {**fields, "limit": limit, "dry_run": dry_run, "threads": threads},
        )

    @command(
        app,
        "generate",
        example="ecliptica traffic generate uniform.yaml --count 10000 --out load.parquet",
        settings=("profile", "seed"),
    )
    def generate(
        workload: Annotated[Path, typer.Argument(help="YAML workload.")],
        *,
        count: Annotated[int, typer.Option(min=1, help="Transactions.")] = 1000,
        out: Out = Path("corpus.parquet"),
        base: Annotated[
            Path | None,
            typer.Option(help="Corpus whose accounts are used.", show_default="new accounts"),
        ] = None,
        shard: Shard = 0,
        threads: Threads = 0,
    ) -> Work:
        """Generate signed transactions from a workload."""
        fields = {"workload": workload, "count": count, "out": out, "base": base}
        return Work("traffic:generate", {**fields, "shard": shard, "threads": threads})

    @command(
        app,
        "replay",
        example="ecliptica traffic replay corpus.parquet --rate 500/s",
        settings=("log",),
        drains=True,
    )
    def replay(
        source: Annotated[str, typer.Argument(help="Corpus file, or a topic of --from-log.")],
        rate: Annotated[
            str, typer.Option(envvar="ECLIPTICA_RATE", help="2x, N/s or max; open loop.")
        ] = "1x",
        *,
        shard: Shard = 0,
        wait: Annotated[
            bool, typer.Option("--wait", help="Wait for finality and compare the verdicts.")
        ] = False,
        processes: Annotated[
            int, typer.Option(min=1, max=64, help="Sending processes, each with its senders.")
        ] = 1,
        report: Annotated[
            Path | None,
            typer.Option(help="Report to write, FILE.html or FILE.png.", show_default="none"),
        ] = None,
        from_log: Annotated[
            str | None,
            typer.Option(help="Log that a topic is read from.", show_default="no topic"),
        ] = None,
    ) -> Work:
        """Send traffic with fixed send times and report latency from the scheduled time."""
        fields = {"source": source, "rate": rate, "shard": shard, "wait": wait}
        rest = {"processes": processes, "report": report, "from_log": from_log}
        return Work("traffic:replay", {**fields, **rest})
