"""The frame of every command: shared flags, the call, the action, the result, the exit code."""

from __future__ import annotations

import inspect
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer

from pipelines.cli.contract import ACTIONS, Call, StopFlag, Work
from pipelines.cli.render import open_report, print_json, print_text
from pipelines.log_lines import configure_lines
from schemas.errors import EnvironmentMissing

INTERRUPTED = 130
"""Exit code after Ctrl-C."""

TRUE_TEXTS = ("1", "true", "t", "yes", "y", "on")
"""What switches a flag on in an environment variable."""

COMMON_PANEL = "Common options"


@dataclass(frozen=True, slots=True)
class SettingFlag:
    """A flag that overrides one key of the configuration.

    Attributes:
        key: Dotted key.
        environment: Variable that sets the same key.
        default: What help shows: the value in profile local.
        kind: Python type of the value.
        meaning: Help text.
    """

    key: str
    environment: str
    default: str
    kind: type
    meaning: str


SETTING_FLAGS: Mapping[str, SettingFlag] = {
    "profile": SettingFlag("profile", "ECLIPTICA_PROFILE", "local", str, "local or target."),
    "data": SettingFlag(
        "storage.data", "ECLIPTICA_DATA", "ecliptica-data", Path, "Data directory."
    ),
    "log": SettingFlag(
        "storage.log_url",
        "ECLIPTICA_LOG",
        "DATA/log.sqlite",
        str,
        "Event log: sqlite:///PATH or kafka://HOST:PORT/NAME.",
    ),
    "seed": SettingFlag("demo.seed", "ECLIPTICA_SEED", "1", int, "Seed of everything random."),
    "tps": SettingFlag(
        "demo.transactions_per_second",
        "ECLIPTICA_DEMO_TRANSACTIONS_PER_SECOND",
        "16",
        int,
        "Generated transactions per second.",
    ),
    "shards": SettingFlag("chain.shards", "ECLIPTICA_CHAIN_SHARDS", "2", int, "Ledger shards."),
    "validators": SettingFlag(
        "chain.validators", "ECLIPTICA_CHAIN_VALIDATORS", "4", int, "Validators per shard."
    ),
    "days": SettingFlag(
        "demo.days", "ECLIPTICA_DEMO_DAYS", "1", int, "Days of the configured clock."
    ),
    "traffic": SettingFlag(
        "demo.traffic",
        "ECLIPTICA_DEMO_TRAFFIC",
        "two real blocks",
        str,
        "Ethereum-ETL transactions to play first.",
    ),
    "log_format": SettingFlag(
        "logs.format",
        "ECLIPTICA_LOGS_FORMAT",
        "text",
        str,
        "Log lines of this command and its processes: text or json.",
    ),
    "ray_address": SettingFlag(
        "proving.ray_address",
        "ECLIPTICA_PROVING_RAY_ADDRESS",
        "a cluster of its own",
        str,
        "Ray cluster that proves: HOST:PORT of its head, or auto.",
    ),
    "runner": SettingFlag(
        "streaming.runner",
        "ECLIPTICA_RUNNER",
        "loop",
        str,
        "What closes windows and plans jobs: loop, or Beam's direct or flink.",
    ),
    "minimum_bits": SettingFlag(
        "proving.minimum_proven_bits",
        "ECLIPTICA_PROVING_MINIMUM_PROVEN_BITS",
        "100",
        int,
        "Refuse proofs with fewer proven bits.",
    ),
}
"""Flags over configuration keys. A test holds the defaults to those of profile local."""

CommandBody = Callable[..., Work]


def noun_app(text: str, *, example: str) -> typer.Typer:
    """Returns the group of a noun's verbs.

    Args:
        text: What the noun is about.
        example: Shown at the end of the help.
    """
    return typer.Typer(no_args_is_help=True, help=text, epilog=f"Example: {example}")


def command(
    app: typer.Typer,
    name: str,
    *,
    example: str,
    settings: tuple[str, ...] = (),
    drains: bool = False,
    takes_anything: bool = False,
) -> Callable[[CommandBody], CommandBody]:
    """Registers a command whose body says what work it asks for.

    Args:
        app: Where to register.
        name: The verb, or the noun of a command without verbs.
        example: Shown at the end of the help.
        settings: Names in `SETTING_FLAGS` that the command offers beside `--data`.
        drains: Whether the first Ctrl-C only raises the stop flag.
        takes_anything: Whether unknown options are arguments, for commands that are not built yet.
    """

    def register(body: CommandBody) -> CommandBody:
        offered = ("data", *settings)

        @wraps(body)
        def run(context: typer.Context, **values: Any) -> int:
            common = {
                key: values.pop(key) for key in ("json_output", "config", "debug", "log_level")
            }
            given = {name: values.pop(name) for name in offered}
            is_json = common["json_output"] or given.get("log_format") == "json"
            configure_lines(common["log_level"], "json" if is_json else "text")
            stop = StopFlag()
            report = open_report(sys.stderr)
            call = Call(report, stop, common["config"], _flags(context, given))
            try:
                with _draining(stop, report.note) if drains else _not_draining():
                    result = perform(body(**values), call)
                    (print_json if common["json_output"] else print_text)(result)
            except KeyboardInterrupt as error:
                raise typer.Abort from error  # so that the edge says so
            finally:
                report.close()
            if stop.signal_number == signal.SIGINT:
                return INTERRUPTED
            return int(getattr(result, "exit_code", 0))

        own = inspect.signature(body, eval_str=True).parameters.values()
        context = inspect.Parameter(
            "context", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context
        )
        keywords = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own]
        everything = [context, *keywords, *map(_setting_parameter, offered), *_common_parameters()]
        run.__signature__ = inspect.Signature(everything)  # type: ignore[attr-defined]
        run.__annotations__ = {entry.name: entry.annotation for entry in everything}
        app.command(
            name,
            help=inspect.getdoc(body),
            epilog=f"Example: {example}",
            context_settings={"ignore_unknown_options": takes_anything},
        )(run)
        return body

    return register


def perform(work: Work, call: Call) -> Any:
    """Loads the action and runs it.

    Raises:
        EnvironmentMissing: The action is not built yet.
    """
    module_name, _, function_name = work.action.partition(":")
    if find_spec(f"{ACTIONS}.{module_name}") is None:
        raise EnvironmentMissing(
            f"not built yet: {module_name} ({function_name})", "`ecliptica --help` lists the rest"
        )
    action = getattr(import_module(f"{ACTIONS}.{module_name}"), function_name, None)
    if action is None:
        raise EnvironmentMissing(f"not built yet: {function_name} of {module_name}")
    return action(call, **work.fields)


def _flags(context: typer.Context, given: Mapping[str, Any]) -> dict[str, Any]:
    """Values that the command line itself gave; the environment's are merged by `load_settings`."""
    flags = {}
    for name, value in given.items():
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            flags[SETTING_FLAGS[name].key] = str(value) if isinstance(value, Path) else value
    return flags


def _setting_parameter(name: str) -> inspect.Parameter:
    flag = SETTING_FLAGS[name]
    option = typer.Option(
        f"--{name.replace('_', '-')}",
        envvar=flag.environment,
        help=flag.meaning,
        show_default=flag.default,
        rich_help_panel=COMMON_PANEL if name in ("data", "seed", "log") else None,
    )
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[flag.kind | None, option],
    )


def _common_parameters() -> list[inspect.Parameter]:
    panel = COMMON_PANEL
    options: list[tuple[str, Any, Any, Any]] = [
        (
            "config",
            Path | None,
            None,
            typer.Option(
                "--config",
                envvar="ECLIPTICA_CONFIG",
                help="TOML file with configuration.",
                show_default="none",
                rich_help_panel=panel,
            ),
        ),
        (
            "json_output",
            bool,
            False,
            typer.Option(
                "--json",
                envvar="ECLIPTICA_JSON",
                help="Print the result as JSON.",
                show_default="off",
                rich_help_panel=panel,
            ),
        ),
        (
            "log_level",
            str,
            "warning",
            typer.Option(
                "--log-level",
                envvar="ECLIPTICA_LOG_LEVEL",
                help="debug, info, warning or error; to stderr.",
                rich_help_panel=panel,
            ),
        ),
        (
            "debug",
            bool,
            False,
            typer.Option(
                "--debug",
                envvar="ECLIPTICA_DEBUG",
                help="Show the trace of an error.",
                show_default="off",
                rich_help_panel=panel,
            ),
        ),
    ]
    return [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=default,
            annotation=Annotated[kind, option],
        )
        for name, kind, default, option in options
    ]


@contextmanager
def _not_draining() -> Iterator[None]:
    yield


@contextmanager
def _draining(stop: StopFlag, note: Callable[[str], None]) -> Iterator[None]:
    def handle(number: int, _frame: FrameType | None) -> None:
        if stop.is_requested:
            raise KeyboardInterrupt
        stop.signal_number = number
        note("draining: finishing the current step; the same signal again stops at once")

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def is_debugging(arguments: list[str]) -> bool:
    """Whether errors are to be shown with their trace."""
    return _is_asked_for("debug", arguments)


def is_for_programs(arguments: list[str]) -> bool:
    """Whether errors are to be printed as JSON too."""
    return _is_asked_for("json", arguments)


def _is_asked_for(name: str, arguments: list[str]) -> bool:
    variable = os.environ.get(f"ECLIPTICA_{name.upper()}", "")
    return f"--{name}" in arguments or variable.lower() in TRUE_TEXTS
