"""Results on stdout, progress and errors on stderr; for people on a terminal, for pipes, and as JSON."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from datetime import date, timedelta
from datetime import time as clock_time
from decimal import Decimal
from enum import Enum
from importlib import import_module
from pathlib import PurePath
from typing import Any, TextIO
from uuid import UUID

from pipelines.cli.contract import Document, Rows
from schemas.errors import InvariantError

SCHEMA_VERSION = 1
"""Version of every JSON object that the command prints; grows when a key changes its meaning."""


class LineReport:
    """Progress as plain lines: one at the start of a phase and one at its end."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._name = ""
        self._total: int | None = None
        self._done = 0
        self._started = 0.0

    def phase(self, name: str, total: int | None) -> None:
        """Ends the phase before and starts one."""
        self.close()
        self._name, self._total, self._done = name, total, 0
        self._started = time.monotonic()
        self._line(name if total is None else f"{name} (0/{total})")

    def advance(self, steps: int) -> None:
        """Counts steps; prints nothing."""
        self._done += steps

    def note(self, text: str) -> None:
        """Prints a line."""
        self._line(text)

    def close(self) -> None:
        """Ends the phase that is open, if any."""
        if self._name:
            seconds = time.monotonic() - self._started
            count = f"{self._done}" if self._total is None else f"{self._done}/{self._total}"
            self._line(f"{self._name}: {count} in {seconds:.1f} s")
        self._name = ""

    def _line(self, text: str) -> None:
        self._stream.write(text + "\n")
        self._stream.flush()


class BarReport:
    """Progress on a terminal: one bar per phase; `NO_COLOR` is respected."""

    def __init__(self, stream: TextIO) -> None:
        console = import_module("rich.console").Console(file=stream, stderr=True)
        parts = import_module("rich.progress")
        self._progress = parts.Progress(
            parts.TextColumn("{task.description}"),
            parts.BarColumn(),
            parts.MofNCompleteColumn(),
            parts.TimeElapsedColumn(),
            console=console,
        )
        self._task: Any = None

    def phase(self, name: str, total: int | None) -> None:
        """Ends the phase before and starts one."""
        if self._task is None:
            self._progress.start()
        else:
            self._finish()
        self._task = self._progress.add_task(name, total=total)

    def advance(self, steps: int) -> None:
        """Counts steps of the phase."""
        if self._task is not None:
            self._progress.advance(self._task, steps)

    def note(self, text: str) -> None:
        """Prints a line above the bars."""
        self._progress.console.print(text, markup=False, highlight=False)

    def close(self) -> None:
        """Leaves the bars as they stand and gives the terminal back."""
        if self._task is not None:
            self._finish()
            self._progress.stop()
        self._task = None

    def _finish(self) -> None:
        task = self._progress.tasks[-1]
        if task.total is None:
            self._progress.update(self._task, total=task.completed)
        self._progress.stop_task(self._task)


def open_report(stream: TextIO) -> LineReport | BarReport:
    """Returns bars for a terminal and plain lines for everything else."""
    return BarReport(stream) if stream.isatty() else LineReport(stream)


def to_plain(value: Any) -> Any:  # noqa: PLR0911 - one return per type
    """Returns a value as JSON types: bytes as hex, enums by value, paths as text, times in ISO 8601.

    Decimals become text, which keeps every digit; durations become seconds.

    Raises:
        InvariantError: A type that no result may hold, or a number that is not finite.
    """
    if isinstance(value, Enum):
        return to_plain(value.value)
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise InvariantError("a result holds a number that is not finite")
        return value
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).hex()
    if isinstance(value, PurePath | Decimal | UUID):
        return str(value)
    if isinstance(value, date | clock_time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    return _container_to_plain(value)


def _container_to_plain(value: Any) -> Any:  # noqa: PLR0911 - one return per type
    if isinstance(value, Rows):
        return [dict(zip(value.columns, map(to_plain, row), strict=True)) for row in value.rows]
    if isinstance(value, Document):
        return to_plain(value.fields)
    if is_dataclass(value) and not isinstance(value, type):
        named = ((entry.name, getattr(value, entry.name)) for entry in fields(value))
        return {name: to_plain(entry) for name, entry in named if not name.startswith("_")}
    if isinstance(value, Mapping):
        return {str(to_plain(key)): to_plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        ordered = sorted(value, key=str) if isinstance(value, set | frozenset) else value
        return [to_plain(entry) for entry in ordered]
    if hasattr(value, "model_dump"):
        return to_plain(value.model_dump())
    if hasattr(value, "item"):  # numpy scalars
        return to_plain(value.item())
    raise InvariantError(f"a result holds a {type(value).__name__}, which has no JSON form")


def json_line(value: Any) -> str:
    """Returns one JSON object with `schema_version` first; a list becomes `rows`."""
    plain = to_plain(value)
    if isinstance(plain, list):
        plain = {"rows": plain}
    if not isinstance(plain, dict):
        plain = {"value": plain}
    versioned = {"schema_version": SCHEMA_VERSION, **plain}
    return json.dumps(versioned, ensure_ascii=False, allow_nan=False)


def print_json(result: Any) -> None:
    """Prints a result for programs: one object, or one a line for a stream."""
    if isinstance(result, Iterator):
        for entry in result:
            print(json_line(entry), flush=True)
    else:
        print(json_line(result), flush=True)


def print_text(result: Any) -> None:
    """Prints a result for people: its own text, a table, or one line per value."""
    if isinstance(result, Document):
        print(result.text.rstrip("\n"))
    elif isinstance(result, Rows):
        _print_table(result.columns, [tuple(map(to_plain, row)) for row in result.rows])
    elif isinstance(result, Iterator):
        for entry in result:
            print("  ".join(f"{key}={text}" for key, text in _flat(to_plain(entry))), flush=True)
    else:
        plain = to_plain(result)
        if isinstance(plain, list) and plain and all(isinstance(row, dict) for row in plain):
            columns = tuple(plain[0])
            _print_table(columns, [tuple(row.get(name) for name in columns) for row in plain])
            return
        lines = _flat(plain)
        width = max((len(key) for key, _ in lines), default=0)
        for key, text in lines:
            print(f"{key:<{width}}  {text}" if key else text)


def print_error(message: str, hint: str = "") -> None:
    """Prints one line of error and one hint to stderr; what libraries say over several lines is joined."""
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    if hint:
        print(f"hint: {hint}", file=sys.stderr)


def _flat(plain: Any, prefix: str = "") -> list[tuple[str, str]]:
    if isinstance(plain, dict) and plain:
        return [pair for key, entry in plain.items() for pair in _flat(entry, f"{prefix}.{key}")]
    if isinstance(plain, list) and any(isinstance(entry, dict | list) for entry in plain):
        pairs = enumerate(plain)
        return [pair for place, entry in pairs for pair in _flat(entry, f"{prefix}.{place}")]
    return [(prefix.lstrip("."), _cell(plain))]


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list):
        return ", ".join(map(_cell, value)) or "-"
    return json.dumps(value) if isinstance(value, dict) else str(value)


def _print_table(columns: tuple[str, ...], rows: list[tuple[Any, ...]]) -> None:
    if not sys.stdout.isatty():
        print("\t".join(columns))
        for row in rows:
            print("\t".join(_cell(value).replace("\t", " ").replace("\n", " ") for value in row))
        return
    text = import_module("rich.text").Text
    table = import_module("rich.table").Table(*columns, box=import_module("rich.box").SIMPLE)
    for row in rows:
        table.add_row(*(text(_cell(value)) for value in row))
    import_module("rich.console").Console().print(table)
