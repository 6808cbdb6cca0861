"""Log lines of every process: key=value text or JSON, with the ids of what a line is about.

Ids of the process stand in every line. Those of one event come with it: `logger.warning("...", extra={"shard": 0})`
with names in `IDS`; other extras are not written.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Final, Literal, TextIO

from schemas.errors import ParameterError

LEVELS = ("debug", "info", "warning", "error")
FORMATS = ("text", "json")
LineFormat = Literal["text", "json"]

IDS: Final = (
    "pipeline",
    "process",
    "chain",
    "stage",
    "shard",
    "epoch",
    "window",
    "height",
    "validator",
    "topic",
    "partition",
    "offset",
    "row",
    "job",
    "proof_level",
    "attempt",
    "proof",
)
"""Ids in the order in which a line has them."""


class LineFormatter(logging.Formatter):
    """Writes records as lines.

    Attributes:
        ids: Ids of the process.
        form: Text or JSON.
    """

    def __init__(self, form: LineFormat, ids: Mapping[str, str | int] | None = None) -> None:
        super().__init__()
        self.form = form
        self.ids = dict(ids or {})

    def format(self, record: logging.LogRecord) -> str:
        """Returns the line of a record."""
        fields = dict(self._fields(record))
        if self.form == "json":
            return json.dumps(fields, ensure_ascii=False)
        return " ".join(f"{name}={_quoted(value)}" for name, value in fields.items())

    def _fields(self, record: logging.LogRecord) -> Iterator[tuple[str, str | int]]:
        created = datetime.fromtimestamp(record.created, UTC)
        yield "time", created.isoformat(timespec="milliseconds")
        yield "level", record.levelname.lower()
        yield "logger", record.name
        for name in IDS:
            value = getattr(record, name, None) if name not in RESERVED else None
            value = self.ids.get(name) if value is None else value
            if value is not None:
                yield name, value if isinstance(value, int) else str(value)
        yield "message", record.getMessage()
        if record.exc_info:
            yield "trace", self.formatException(record.exc_info)


RESERVED: Final = frozenset({"process"})
"""Ids whose name the standard library uses on every record, for something else."""


def configure_lines(
    level: str,
    form: LineFormat,
    ids: Mapping[str, str | int] | None = None,
    stream: TextIO | None = None,
) -> None:
    """Sends the logs of every package to a stream, standard error by default.

    Raises:
        ParameterError: There is no such level or format.
    """
    if level.lower() not in LEVELS:
        raise ParameterError(f"there is no log level {level!r}", f"levels: {', '.join(LEVELS)}")
    if form not in FORMATS:
        raise ParameterError(f"there is no log format {form!r}", f"formats: {', '.join(FORMATS)}")
    handler = logging.StreamHandler(stream)
    handler.setFormatter(LineFormatter(form, ids))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


def _quoted(value: str | int) -> str:
    text = str(value)
    is_plain = text and not any(one.isspace() or one in '"=' for one in text)
    return text if is_plain else json.dumps(text, ensure_ascii=False)
