"""`ecliptica version`, `doctor` and `config show`."""

from __future__ import annotations

import typer

from pipelines.cli.contract import Work
from pipelines.cli.frame import command, noun_app


def register(root: typer.Typer) -> None:
    """Adds the commands."""

    @command(root, "version", example="ecliptica version --json")
    def version() -> Work:
        """Version, commit and Python."""
        return Work("environment:show_version")

    @command(root, "doctor", example="ecliptica doctor", settings=("log",))
    def doctor() -> Work:
        """What this machine has, and what each absence costs."""
        return Work("doctor:diagnose")

    app = noun_app("The configuration.", example="ecliptica config show")
    root.add_typer(app, name="config")

    @command(
        app,
        "show",
        example="ecliptica config show --profile target",
        settings=("profile", "log", "seed"),
    )
    def show() -> Work:
        """The merged configuration, each value with its origin."""
        return Work("environment:show_configuration")
