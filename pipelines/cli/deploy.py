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

    @command(
        app,
        "draw",
        example="ecliptica deploy draw --prometheus http://127.0.0.1:9090 --out dashboard.png",
    )
    def draw(
        prometheus: Annotated[
            str, typer.Option(help="Prometheus that scrapes the processes.")
        ] = "http://127.0.0.1:9090",
        out: Annotated[Path, typer.Option(help="Picture to write, FILE.png or FILE.html.")] = Path(
            "dashboard.png"
        ),
        minutes: Annotated[float, typer.Option(min=0.1, help="How far back it looks.")] = 30.0,
        scrape_seconds: Annotated[
            float, typer.Option(min=0.1, help="Between two scrapes of that Prometheus.")
        ] = 5.0,
    ) -> Work:
        """Draw the Grafana dashboard's panels from Prometheus, where there is no Grafana."""
        asked = {"prometheus": prometheus, "out": out, "minutes": minutes}
        return Work("deploy:draw_dashboard", {**asked, "scrape_seconds": scrape_seconds})
