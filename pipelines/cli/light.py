"""`ecliptica light`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli.contract import Work
from pipelines.cli.frame import command, noun_app


def register(root: typer.Typer) -> None:
    """Adds the command."""
    app = noun_app(
        "The light client.", example="ecliptica light verify ecliptica-data/beacon/day=0.proof"
    )
    root.add_typer(app, name="light")

    @command(app, "verify", example="ecliptica light verify ecliptica-data/beacon/day=0.proof")
    def verify(
        file: Annotated[Path, typer.Argument(help="The day's proof.")],
        certificate: Annotated[
            Path | None, typer.Option(help="Its certificate.", show_default="beside the proof")
        ] = None,
        previous: Annotated[
            Path | None,
            typer.Option(
                help="Certificate or statement of the day before, or a checkpoint, that you trust.",
                show_default="not checked",
            ),
        ] = None,
        inclusion: Annotated[
            Path | None,
            typer.Option(
                help="Path of a transaction, from `wallet receipt --inclusion`.",
                show_default="none",
            ),
        ] = None,
    ) -> Work:
        """Verify a day with nothing but the standard library: proof, beacon certificate, link, transaction."""
        fields = {"certificate": certificate, "previous": previous, "inclusion": inclusion}
        return Work("light:verify", {"file": file, **fields})
