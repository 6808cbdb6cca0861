"""`ecliptica market`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from pipelines.cli.contract import Work
from pipelines.cli.frame import command, noun_app
from pipelines.cli.planned import register_planned

Mode = Literal["assigned", "race"]
Load = Literal["demo", "target"]


def register(root: typer.Typer) -> None:
    """Adds the commands."""
    app = noun_app("The prover market.", example="ecliptica market simulate")
    root.add_typer(app, name="market")

    @command(
        app,
        "simulate",
        example="ecliptica market simulate --mode race --days 365 --json",
        settings=("seed",),
        drains=True,
    )
    def simulate(
        *,
        provers: Annotated[int, typer.Option(min=1, help="Provers at the beginning.")] = 100,
        days: Annotated[int, typer.Option(min=2, help="Length of the year.")] = 365,
        mode: Annotated[
            Mode, typer.Option(help="Bonded assignment with an open race, or the first proof wins.")
        ] = "assigned",
        hybrids: Annotated[int, typer.Option(min=0, help="Validator-provers beside them.")] = 0,
        validators: Annotated[
            int, typer.Option(min=0, help="Validators that share what proposers get.")
        ] = 300,
        load: Annotated[
            Load, typer.Option(help="50,000 transactions an hour, or a second.")
        ] = "target",
        price: Annotated[float, typer.Option(help="Dollars per ECLIPT; assumed.")] = 1.0,
        surge: Annotated[
            float,
            typer.Option(
                min=0,
                help="Demand in a surge as a part of the first day's proving capacity; 0 for none.",
            ),
        ] = 0.9,
        surge_days: Annotated[int, typer.Option(min=0, help="Days of the surge.")] = 10,
        every: Annotated[
            int,
            typer.Option(
                min=0, help="Days that one simulated epoch stands for.", show_default="1, race 4"
            ),
        ] = 0,
        issue: Annotated[
            bool, typer.Option(help="Whether rewards that fees do not cover are issued.")
        ] = True,
        out: Annotated[Path | None, typer.Option(help="PNG to draw.", show_default="none")] = None,
    ) -> Work:
        """Simulate a year of the prover market under its real rules, with seeded provers."""
        size: dict[str, str | float] = {
            "provers": provers,
            "days": days,
            "mode": mode,
            "hybrids": hybrids,
        }
        size |= {"validators": validators, "load": load, "price": price, "surge": surge}
        size |= {"surge_days": surge_days, "every": every, "is_issued": issue}
        return Work("market:simulate_market", {"plan": size, "out": out})

    register_planned(app, "market jobs")
    register_planned(app, "market requeue")
