"""`ecliptica campaign` and `ecliptica bench`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from pipelines.cli.contract import Work
from pipelines.cli.frame import command

CampaignName = Literal[
    "theft",
    "inflate",
    "double-spend",
    "mutate-proofs",
    "mutate-children",
    "mutate-constraints",
    "mutate-day",
    "pyramid",
    "byzantine",
    "chaos",
    "faults",
    "differential",
    "rules",
]
BenchName = Literal[
    "kernels",
    "witness",
    "batch",
    "verify",
    "compress",
    "stream",
    "finality",
    "signatures",
    "permutations",
    "scaling",
    "rival",
    "steps",
    "reuse",
    "cold",
    "levels",
    "sizes",
    "plot",
    "segment",
    "hop",
    "admission",
    "execution",
    "wan",
    "overload",
    "soak",
    "windows",
]


def register(app: typer.Typer) -> None:
    """Adds the commands."""

    @command(
        app,
        "campaign",
        example="ecliptica campaign mutate-proofs --runs 10000 --json",
        settings=("seed",),
        drains=True,
    )
    def campaign(
        name: Annotated[CampaignName, typer.Argument(help="Which campaign.")],
        *,
        runs: Annotated[
            int | None, typer.Option(min=1, help="Run budget.", show_default="the campaign's own")
        ] = None,
        seconds: Annotated[
            int | None, typer.Option(min=1, help="Time budget.", show_default="none")
        ] = None,
        traffic: Annotated[
            Path | None,
            typer.Option(
                help="Ethereum-ETL transactions that `differential` replays.",
                show_default="the sample that is shipped",
            ),
        ] = None,
        day: Annotated[
            Path | None,
            typer.Option(
                help="Data directory of a demo whose last day `mutate-day` attacks.",
                show_default="a day of its own, kept below --data",
            ),
        ] = None,
        circuit: Annotated[
            str | None,
            typer.Option(help="The only circuit of `mutate-constraints`.", show_default="all"),
        ] = None,
        kafka: Annotated[
            bool,
            typer.Option("--kafka", help="`chaos` and `faults` on a broker of their own, too."),
        ] = False,
        fault: Annotated[
            list[str] | None,
            typer.Option(help="The only fault of `faults`; may be repeated.", show_default="all"),
        ] = None,
    ) -> Work:
        """Attack or break the system with a seed and a budget; ends with JSON evidence."""
        budget = {"runs": runs, "seconds": seconds}
        rest = {"traffic": traffic, "day": day, "circuit": circuit, "kafka": kafka, "faults": fault}
        return Work("campaign:run_campaign", {"name": name, **budget, **rest})

    @command(
        app,
        "bench",
        example="ecliptica bench batch --transactions 100 --json",
        settings=("seed", "log", "runner"),
        drains=True,
    )
    def bench(
        name: Annotated[BenchName, typer.Argument(help="What to measure.")],
        *,
        transactions: Annotated[
            int | None,
            typer.Option(min=1, help="Size of the work.", show_default="the bench's own"),
        ] = None,
        repeat: Annotated[int, typer.Option(min=1, help="Measured runs after the warm-up.")] = 3,
        rows: Annotated[
            int | None,
            typer.Option(
                "--rows",
                "--max-rows",
                min=16,
                help="Rows of a circuit of permutations, the most of them for scaling.",
                show_default="the bench's own",
            ),
        ] = None,
        records: Annotated[
            list[Path] | None,
            typer.Option(help="Record of a bench to draw; may be repeated.", show_default="none"),
        ] = None,
        out: Annotated[
            Path | None,
            typer.Option(help="PNG to draw: scaling, sizes, loads, plot.", show_default="none"),
        ] = None,
        aggregation: Annotated[
            bool,
            typer.Option(help="Whether steps measures aggregation; much longer than the rest."),
        ] = True,
        accounts: Annotated[
            int | None,
            typer.Option(min=2, help="Accounts of the state, for segment.", show_default="2^20"),
        ] = None,
        epochs: Annotated[
            int | None,
            typer.Option(min=2, help="Epochs of the day, for compress.", show_default="24"),
        ] = None,
        seconds: Annotated[
            int | None,
            typer.Option(
                min=1,
                help="How long overload and soak play.",
                show_default="300, 1800",
            ),
        ] = None,
    ) -> Work:
        """Measure; a run counts only if its proof verifies."""
        size = {"transactions": transactions, "repeat": repeat, "rows": rows}
        size |= {"accounts": accounts, "epochs": epochs, "seconds": seconds}
        rest = {"records": records, "out": out, "aggregates": aggregation}
        return Work("bench:run_bench", {"name": name, **size, **rest})
