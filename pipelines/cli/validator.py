"""`ecliptica validator`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli.contract import Work
from pipelines.cli.frame import command, noun_app


def register(root: typer.Typer) -> None:
    """Adds the commands."""
    app = noun_app("A validator's directory.", example="ecliptica validator backup 2 v2.backup")
    root.add_typer(app, name="validator")

    @command(app, "backup", example="ecliptica validator backup 2 v2.backup")
    def backup(
        index: Annotated[int, typer.Argument(min=0, help="Which validator.")],
        out: Annotated[Path, typer.Argument(help="File to write; it holds the key.")],
    ) -> Work:
        """Write a validator's key and snapshots into one file; the validator may run."""
        return Work("validator:back_up_validator", {"index": index, "out": out})

    @command(
        app, "restore", example="ecliptica validator restore v2.backup --yes", settings=("log",)
    )
    def restore(
        file: Annotated[Path, typer.Argument(help="From `backup`.")],
        yes: Annotated[
            bool, typer.Option("--yes", help="The old validator has stopped for good.")
        ] = False,
    ) -> Work:
        """Put a validator back that has lost its vote journal, so that it cannot vote twice."""
        return Work("validator:restore_validator", {"file": file, "yes": yes})
