"""`ecliptica cost`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli.contract import Work
from pipelines.cli.frame import command


def register(app: typer.Typer) -> None:
    """Adds the command."""

    @command(app, "cost", example="ecliptica cost --load 2000/s")
    def cost(
        *,
        load: Annotated[
            str | None,
            typer.Option(
                help="A third load: 50000/hour, 50000/s, or a number per second.",
                show_default="50,000 an hour and a second alone",
            ),
        ] = None,
        records: Annotated[
            Path | None,
            typer.Option(
                help="Folder with records of `bench NAME --json` that rates are read from.",
                show_default="the records that are shipped",
            ),
        ] = None,
        figures: Annotated[
            Path | None,
            typer.Option(
                help="TOML file that changes published and assumed figures, each with a source.",
                show_default="none",
            ),
        ] = None,
        sql: Annotated[
            str | None,
            typer.Option(
                help="One SELECT over the tables, `numbers`, `provenance`, `quantities`, `figures`.",
                show_default="all tables",
            ),
        ] = None,
    ) -> Work:
        """What it costs, from measured rates; every number says what it rests on."""
        given = {"load": load, "records": records, "figures": figures, "sql": sql}
        return Work("cost:show_costs", given)
