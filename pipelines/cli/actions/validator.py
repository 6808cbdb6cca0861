"""Actions of `ecliptica validator`."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path
from typing import Any

from operators.event_log import open_existing_log
from pipelines.cli.contract import Call
from pipelines.validator_backup import back_up, restore
from schemas.errors import ParameterError


def back_up_validator(call: Call, *, index: int, out: Path) -> dict[str, Any]:
    """Backs a validator up; see `pipelines.validator_backup.back_up`."""
    return back_up(call.settings().data, index, out)


def restore_validator(call: Call, *, file: Path, yes: bool) -> dict[str, Any]:
    """Restores a validator; see `pipelines.validator_backup.restore`.

    Raises:
        ParameterError: Nobody has said that the old validator is gone.
    """
    if not yes:
        raise ParameterError(
            "two validators with one key contradict each other",
            "stop the old one for good, then say --yes",
        )
    settings = call.settings()
    with closing(open_existing_log(settings.log_url)) as log:
        return restore(settings.data, file, log, time.time_ns() // 1_000_000)
