"""The contract between a command and its action.

A command in `pipelines/cli/<noun>.py` is a declaration: flags, help, and a `Work` that names an action. It
imports nothing heavy. An action is an ordinary typed function in `pipelines/cli/actions/<noun>.py`, whose
module may import whatever it needs at its top:

    def import_traffic(call: Call, *, source: Path, out: Path, strict: bool) -> ImportResult: ...

`call` gives the merged settings, the data directory, the progress report and the stop flag. The action
returns data and prints nothing; the frame renders the result as tables or as JSON. A result is

- a dataclass, a pydantic model or a mapping: one object;
- `Rows`: a table;
- `Document`: text for people, fields for programs;
- an iterator: a stream, one JSON object a line.

A result with an attribute `exit_code` ends the command with it. Errors are raised as `EclipticaError`.
An action that does not exist yet ends its command with exit code 5; nothing stands in for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.progress import Progress

if TYPE_CHECKING:
    from pipelines.settings import Settings

ACTIONS = "pipelines.cli.actions"
"""Package of the actions."""


@dataclass(frozen=True, slots=True)
class Work:
    """What a command asks for.

    Attributes:
        action: `<module>:<function>` below `pipelines.cli.actions`.
        fields: Keyword arguments of the action.
    """

    action: str
    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class StopFlag:
    """Whether the user asked to stop; a long action asks it at every step boundary.

    Attributes:
        signal_number: The first signal that came, or 0.
    """

    signal_number: int = 0

    @property
    def is_requested(self) -> bool:
        """Whether to finish the current step and return."""
        return self.signal_number != 0


@dataclass(frozen=True, slots=True)
class Call:
    """One invocation, as an action sees it.

    Attributes:
        report: Where progress goes.
        stop: Raised by Ctrl-C and SIGTERM for commands that drain.
        config_file: TOML file of `--config`, or None.
        flags: Configuration values that the command line gave, by dotted key.
    """

    report: Progress
    stop: StopFlag
    config_file: Path | None = None
    flags: Mapping[str, Any] = field(default_factory=dict)

    def settings(self) -> Settings:
        """Returns the merged configuration with origins.

        Raises:
            ParameterError: The file, a variable or a flag is not valid.
        """
        settings: Settings = import_module("pipelines.settings").load_settings(
            self.config_file, self.flags
        )
        return settings


@dataclass(frozen=True, slots=True)
class Rows:
    """A table.

    Attributes:
        columns: Column names.
        rows: One sequence of values per row, in the order of the columns.
    """

    columns: tuple[str, ...]
    rows: Iterable[Sequence[Any]]


@dataclass(frozen=True, slots=True)
class Document:
    """Text for people and the same content as fields for programs.

    Attributes:
        text: Printed as it is.
        fields: The JSON object.
        exit_code: What the command ends with.
    """

    text: str
    fields: Mapping[str, Any]
    exit_code: int = 0
