"""Commands whose names are fixed and whose parts are not built yet: they say so and exit 5."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import typer

from pipelines.cli.contract import Work
from pipelines.cli.frame import command
from schemas.errors import EnvironmentMissing

NOT_BUILT: Mapping[str, str] = {
    "market jobs": "processes that run the market's rules",
    "market requeue": "processes that run the market's rules",
}
"""Command -> what it waits for. A command leaves this table when its part lands."""


def register_planned(app: typer.Typer, full_name: str) -> None:
    """Adds one command to the group of its noun."""
    waits_for = NOT_BUILT[full_name]

    def refuse(arguments: Annotated[list[str] | None, typer.Argument(hidden=True)] = None) -> Work:
        raise EnvironmentMissing(
            f"`{full_name}` is not built yet: it needs {waits_for}",
            "`ecliptica --help` lists what is there",
        )

    refuse.__doc__ = f"Not built yet: needs {waits_for}."
    verb = full_name.rpartition(" ")[2]
    command(app, verb, example=f"ecliptica {full_name}", takes_anything=True)(refuse)
