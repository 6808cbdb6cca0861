"""Commands whose names are fixed and whose parts are not built yet: they say so and exit 5."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import typer

from pipelines.cli.contract import Work
from pipelines.cli.frame import command, noun_app
from schemas.errors import EnvironmentMissing

NOT_BUILT: Mapping[str, str] = {
    "market simulate": "the prover market",
    "market jobs": "the prover market",
    "market requeue": "the prover market",
}
"""Command -> what it waits for. A command leaves this table when its part lands."""

GROUPS = {
    "market": ("The prover market.", "jobs"),
}
"""Noun -> its help, and the verb of its example."""


def register(root: typer.Typer) -> None:
    """Adds the commands."""
    groups = {}
    for name, (text, verb) in GROUPS.items():
        example = f"ecliptica {name} {verb}"
        groups[name] = noun_app(f"{text} (not built yet)", example=example)
        root.add_typer(groups[name], name=name)
    for full_name, waits_for in NOT_BUILT.items():
        noun, _, verb = full_name.partition(" ")
        _register_one(groups.get(noun, root), verb or noun, full_name, waits_for)


def _register_one(app: typer.Typer, name: str, full_name: str, waits_for: str) -> None:
    def refuse(arguments: Annotated[list[str] | None, typer.Argument(hidden=True)] = None) -> Work:
        raise EnvironmentMissing(
            f"`{full_name}` is not built yet: it needs {waits_for}",
            "`ecliptica --help` lists what is there",
        )

    refuse.__doc__ = f"Not built yet: needs {waits_for}."
    command(app, name, example=f"ecliptica {full_name}", takes_anything=True)(refuse)
