"""`ecliptica run` and `ecliptica graph`."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from pipelines.cli.contract import Work
from pipelines.cli.frame import command

ServiceName = Literal[
    "admission", "consensus", "proving", "windows", "watch", "market", "export", "all"
]
DataflowName = Literal[
    "day", "admission", "consensus", "proving", "windows", "watch", "market", "export", "all"
]


def register(app: typer.Typer) -> None:
    """Adds the commands."""

    @command(
        app,
        "run",
        example="ecliptica run all --log sqlite:///ledger.sqlite",
        settings=("profile", "log", "runner", "ray_address", "shards", "validators", "log_format"),
        drains=True,
    )
    def run(
        pipeline: Annotated[ServiceName, typer.Argument(help="Which pipeline to run.")],
        shard: Annotated[
            int | None, typer.Option(min=0, help="Only this shard.", show_default="every shard")
        ] = None,
        until_epoch: Annotated[
            int | None,
            typer.Option(min=0, help="Stop when this epoch is sealed.", show_default="never"),
        ] = None,
        dry_run: Annotated[
            bool, typer.Option("--dry-run", help="Show the plan, start nothing.")
        ] = False,
    ) -> Work:
        """One pipeline as a long-lived service; SIGTERM drains, a second one stops."""
        return Work(
            "run:run_pipeline",
            {
                "pipeline": pipeline,
                "shard": shard,
                "until_epoch": until_epoch,
                "dry_run": dry_run,
            },
        )

    @command(
        app,
        "graph",
        example="ecliptica graph all --format dot",
        settings=("profile", "shards", "validators"),
    )
    def graph(
        pipeline: Annotated[DataflowName, typer.Argument(help="Which pipeline to draw.")],
        form: Annotated[
            Literal["mermaid", "dot", "json"], typer.Option("--format", help="Of the drawing.")
        ] = "mermaid",
    ) -> Work:
        """Draw a pipeline's dataflow, generated from the pipeline object."""
        return Work("graph:draw_pipeline", {"pipeline": pipeline, "form": form})
