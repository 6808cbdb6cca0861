"""`ecliptica dead-letter`."""

from __future__ import annotations

from typing import Annotated

import typer

from pipelines.cli.contract import Work
from pipelines.cli.frame import command, noun_app

Place = Annotated[
    int, typer.Argument(min=0, help="Offset on the topic `rejected`, as `list` shows it.")
]


def register(root: typer.Typer) -> None:
    """Adds the commands."""
    app = noun_app("Rejected and poisoned records.", example="ecliptica dead-letter list")
    root.add_typer(app, name="dead-letter")

    @command(
        app, "list", example="ecliptica dead-letter list --reason wrong_nonce", settings=("log",)
    )
    def list_(
        reason: Annotated[
            str | None, typer.Option(help="Only this reason.", show_default="every reason")
        ] = None,
        limit: Annotated[int, typer.Option(min=1, help="Newest records to list.")] = 100,
    ) -> Work:
        """List rejected records with stage and reason."""
        return Work("dead_letter:list_letters", {"reason": reason, "limit": limit})

    @command(app, "show", example="ecliptica dead-letter show 17", settings=("log",))
    def show(offset: Place) -> Work:
        """Show one record with its original bytes."""
        return Work("dead_letter:show_letter", {"offset": offset})

    @command(app, "replay", example="ecliptica dead-letter replay 17 --yes", settings=("log",))
    def replay(
        offset: Place,
        dry_run: Annotated[bool, typer.Option("--dry-run", help="Append nothing.")] = False,
        yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    ) -> Work:
        """Append a record's original bytes to its topic again."""
        return Work("dead_letter:replay_letter", {"offset": offset, "dry_run": dry_run, "yes": yes})
