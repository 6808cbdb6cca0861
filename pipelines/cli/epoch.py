"""`ecliptica epoch`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli.contract import Work
from pipelines.cli.frame import command, noun_app

Shard = Annotated[
    int | None, typer.Option(min=0, help="Only this shard.", show_default="every shard")
]
EpochNumber = Annotated[int, typer.Argument(min=0, help="Epoch.")]
SomeEpoch = Annotated[int | None, typer.Argument(min=0, help="Epoch.", show_default="every epoch")]


def register(root: typer.Typer) -> None:
    """Adds the commands."""
    app = noun_app(
        "Auditors: sealed epochs, exports and queries.",
        example="ecliptica epoch query --named supply",
    )
    root.add_typer(app, name="epoch")

    @command(app, "list", example="ecliptica epoch list")
    def list_(shard: Shard = None) -> Work:
        """List the sealed epochs."""
        return Work("epoch:list_epochs", {"shard": shard})

    @command(app, "show", example="ecliptica epoch show 3 --shard 0")
    def show(epoch: EpochNumber, shard: Shard = None) -> Work:
        """Show one epoch: roots, counts, supply, proofs."""
        return Work("epoch:show_epoch", {"epoch": epoch, "shard": shard})

    @command(app, "export", example="ecliptica epoch export 3 --out audit/", settings=("log",))
    def export(
        epoch: SomeEpoch = None,
        out: Annotated[
            Path | None, typer.Option(help="Folder.", show_default="DATA/epochs")
        ] = None,
        shard: Shard = None,
    ) -> Work:
        """Write sealed epochs as Parquet."""
        return Work("epoch:export_epochs_action", {"epoch": epoch, "out": out, "shard": shard})

    @command(app, "prune", example="ecliptica epoch prune --dry-run", settings=("log",))
    def prune(
        dry_run: Annotated[bool, typer.Option("--dry-run", help="Remove nothing.")] = False,
        yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    ) -> Work:
        """Remove consensus messages from the log whose epochs are exported with all their proofs."""
        return Work("epoch:prune_messages", {"dry_run": dry_run, "yes": yes})

    @command(
        app,
        "query",
        example="ecliptica epoch query --named supply",
    )
    def query(
        sql: Annotated[
            str | None, typer.Argument(help="SQL over the views.", show_default="none")
        ] = None,
        named: Annotated[
            str | None,
            typer.Option(help="A ready-made query; `list` names them.", show_default="none"),
        ] = None,
    ) -> Work:
        """Query the exported epochs in DuckDB."""
        return Work("epoch:query_epochs_action", {"sql": sql, "named": named})

    @command(app, "check", example="ecliptica epoch check")
    def check(epoch: SomeEpoch = None, shard: Shard = None) -> Work:
        """Recompute from the export alone: roots, supply, signatures, proofs."""
        return Work("epoch:check_epochs", {"epoch": epoch, "shard": shard})
