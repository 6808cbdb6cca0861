"""Logging of the command: to stderr, as key=value text or as JSON lines."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime

from schemas.errors import ParameterError

LEVELS = ("debug", "info", "warning", "error")


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """Returns the line of a record."""
        content = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            content["trace"] = self.formatException(record.exc_info)
        return json.dumps(content, ensure_ascii=False)


def configure_logging(level: str, *, as_json: bool) -> None:
    """Sends the logs of every package to stderr.

    Raises:
        ParameterError: There is no such level.
    """
    if level.lower() not in LEVELS:
        raise ParameterError(f"there is no log level {level!r}", f"levels: {', '.join(LEVELS)}")
    handler = logging.StreamHandler()
    text = "time=%(asctime)s level=%(levelname)s logger=%(name)s %(message)s"
    handler.setFormatter(JsonFormatter() if as_json else logging.Formatter(text))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
