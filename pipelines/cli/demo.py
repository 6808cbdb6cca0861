"""`ecliptica demo`."""

from __future__ import annotations

import typer

from pipelines.cli.contract import Work
from pipelines.cli.frame import command


def register(app: typer.Typer) -> None:
    """Adds the command."""

    @command(
        app,
        "demo",
        example="ecliptica demo --json",
        settings=(
            "profile",
            "tps",
            "shards",
            "validators",
            "days",
            "traffic",
            "log",
            "runner",
            "ray_address",
            "seed",
            "log_format",
        ),
        drains=True,
    )
    def demo() -> Work:
        """The whole system on this machine: real traffic to final blocks, proofs and queries."""
        return Work("demo:run_demo")
