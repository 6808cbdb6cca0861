"""`ecliptica deploy`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from pipelines.cli.contract import Work
from pipelines.cli.frame import command, noun_app

TargetName = Literal["compose", "kuberay", "helm", "flink", "prometheus"]


def register(root: typer.Typer) -> None:
    """Adds the commands."""
    app = noun_app("Manifests.", example="ecliptica deploy render compose")
    root.add_typer(app, name="deploy")

    @command(
        app,
        "render",
        example="ecliptica deploy render helm --log kafka://broker:9092/ledger --out chart",
        settings=("profile", "log", "seed", "shards", "validators"),
    )
    def render(
        target: Annotated[TargetName, typer.Argument(help="What to render for.")],
        out: Annotated[
            Path | None,
            typer.Option(
                help="Directory for the files; existing ones are replaced.", show_default="print"
            ),
        ] = None,
    ) -> Work:
        """Render manifests from the merged configuration; nothing is started."""
        return Work("deploy:render_manifests", {"target": target, "out": out})
