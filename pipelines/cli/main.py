"""The entry point: assembles the commands and maps every error to one line, one hint, one exit code."""

from __future__ import annotations

import errno
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

import typer

from pipelines.cli import (
    campaign,
    cost,
    dead_letter,
    demo,
    deploy,
    environment,
    epoch,
    light,
    market,
    proof,
    run,
    traffic,
    validator,
    wallet,
)
from pipelines.cli.frame import INTERRUPTED, is_debugging, is_for_programs
from pipelines.cli.render import print_error, print_json
from schemas.errors import EclipticaError

FAILURE = 1
GROUPS = (
    demo,
    run,
    wallet,
    traffic,
    epoch,
    proof,
    light,
    dead_letter,
    campaign,
    cost,
    environment,
    deploy,
    validator,
    market,
)
DISK_HINTS = {
    errno.ENOSPC: "the disk is full: free space or choose another --data",
    errno.EDQUOT: "the quota is used up: free space or choose another --data",
    errno.EROFS: "the file system is read-only: choose another --data",
    errno.EACCES: "no permission: choose another --data or change its owner",
    errno.EPERM: "no permission: choose another --data or change its owner",
}


def build_app() -> typer.Typer:
    """Returns the whole command."""
    app = typer.Typer(
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"auto_envvar_prefix": "ECLIPTICA"},
        help="Ecliptica: final in milliseconds by a BFT quorum, proven behind it by STARKs.",
        epilog="Example: ecliptica demo --json. Exit codes: 0 ok, 1 failure, 2 usage, 3 proof rejected, 4 proof malformed, "
        "5 something is missing, 130 interrupted.",
    )
    for group in GROUPS:
        group.register(app)
    return app


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    _replace_closed_streams()
    try:
        code = build_app()(args=given, prog_name="ecliptica", standalone_mode=False)
        sys.stdout.flush()
        return int(code or 0)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILURE
    except (KeyboardInterrupt, typer.Abort):
        print_error("interrupted")
        return INTERRUPTED
    except Exception as error:  # the process edge
        if is_debugging(given):
            traceback.print_exc()
        return report_error(error, as_json=is_for_programs(given))


def _replace_closed_streams() -> None:
    """Sends what a caller has closed (`>&-`) to nowhere, so that no file of ours gets its number."""
    if sys.stdout is None:
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - for the rest of the process
    if sys.stderr is None:
        sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - for the rest of the process


def report_error(error: Exception, *, as_json: bool) -> int:
    """Prints an error as one line and one hint, and as an object for programs; returns the exit code."""
    message, hint, code = describe(error)
    if message:  # empty where help has been printed instead
        print_error(message, hint)
    if as_json:
        kind = type(error).__name__
        content = {"kind": kind, "message": message, "hint": hint, "exit_code": code}
        for name in ("reason", "where", "expected", "got"):
            if hasattr(error, name):
                content[name] = getattr(error, name)
        print_json({"error": content})
    return code


def describe(error: Exception) -> tuple[str, str, int]:
    """Returns message, hint and exit code of an error."""
    if isinstance(error, EclipticaError):
        return str(error), error.hint, error.exit_code
    if isinstance(error, typer.TyperException):
        return error.format_message(), "--help shows the usage", error.exit_code
    if isinstance(error, OSError):
        hint = DISK_HINTS.get(error.errno or 0, "--debug shows the trace")
        return str(error), hint, FAILURE
    text = f"{type(error).__name__}: {error}".splitlines()[0]
    return f"a defect in Ecliptica: {text}", "--debug shows the trace; please report it", FAILURE
