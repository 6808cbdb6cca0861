"""Actions of `ecliptica dead-letter`."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Any

import typer

from operators.event_log import open_existing_log
from operators.topic_view import TopicView
from pipelines.cli.contract import Call, Rows
from schemas.errors import EclipticaError, ParameterError
from schemas.rejection import RejectionReason
from schemas.tables import REJECTED, SCHEMA_HEADER, TRANSACTIONS, encode
from schemas.topics import REJECTED as REJECTED_TOPIC
from schemas.units import SIGNATURE_BYTES

COLUMNS = ("offset", "stage", "reason", "topic", "source", "digest", "rejected_millis", "detail")
WHOLE_RECORD = -1
"""Row of a letter that holds a whole record."""


def list_letters(call: Call, *, reason: str | None, limit: int) -> Rows:
    """Lists the newest dead letters.

    Raises:
        ParameterError: No stage gives such a reason.
    """
    reasons = [one.value for one in RejectionReason]
    if reason is not None and reason not in reasons:
        raise ParameterError(f"there is no reason {reason!r}", f"reasons: {', '.join(reasons)}")
    with _open(call) as view:
        found = deque(
            (
                (
                    record.offset,
                    row["stage"],
                    row["reason"],
                    row["topic"],
                    f"{row['offset']}/{row['row']}",
                    row["digest"],
                    row["rejected_millis"],
                    row["detail"],
                )
                for record, row in view.placed_rows(REJECTED_TOPIC, REJECTED)
                if reason in (None, row["reason"])
            ),
            maxlen=limit,
        )
    return Rows(COLUMNS, list(found))


def show_letter(call: Call, *, offset: int) -> list[dict[str, Any]]:
    """Shows the dead letters of one record, original bytes in hex."""
    with _open(call) as view:
        return [dict(row) for row in _letters(view, offset)]


def _confirm(question: str) -> bool:
    try:
        return typer.confirm(question, err=True)
    except typer.Abort as error:
        if sys.stdin.isatty():
            raise
        raise ParameterError("nobody answers", "say --yes, or try --dry-run first") from error


def replay_letter(call: Call, *, offset: int, dry_run: bool, yes: bool) -> dict[str, Any]:
    """Appends the original bytes again; their stage decides anew.

    Raises:
        EclipticaError: The user says no.
        ParameterError: Nobody answers, and `yes` is not given.
    """
    with _open(call) as view:
        letters = _letters(view, offset)
        if not dry_run and not yes:
            topics = ", ".join(sorted({row["topic"] for row in letters}))
            question = f"append {len(letters)} rejected to {topics} again?"
            if not _confirm(question):
                raise EclipticaError("nothing was appended")
        places = []
        for row in letters:
            headers, body = _original(row)
            place = None if dry_run else view.append(row["topic"], headers, body)
            places.append({"topic": row["topic"], "offset": place, "bytes": len(row["original"])})
    return {"appended": not dry_run, "records": places}


def _original(row: Mapping[str, Any]) -> tuple[tuple[tuple[str, bytes], ...], bytes]:
    """Returns the record that a letter came in, or one that holds its transaction alone."""
    original = row["original"]
    if row["row"] == WHOLE_RECORD:
        return ((SCHEMA_HEADER, row["schema"].encode("ascii", "replace")),), original
    size = max(0, len(original) - SIGNATURE_BYTES)
    batch = [
        {
            "body": original[:size],
            "signature": original[size:],
            "submitted_millis": row["rejected_millis"],
        }
    ]
    return encode(TRANSACTIONS, TRANSACTIONS.batch(batch))


def _letters(view: TopicView, offset: int) -> list[Mapping[str, Any]]:
    if not 0 <= offset < view.end(REJECTED_TOPIC):
        raise ParameterError(
            f"there is no dead letter at offset {offset}", "`ecliptica dead-letter list`"
        )
    found = []
    for record, row in view.placed_rows(REJECTED_TOPIC, REJECTED, offset):
        if record.offset != offset:
            break
        found.append(row)
    return found


@contextmanager
def _open(call: Call) -> Iterator[TopicView]:
    settings = call.settings()
    with closing(open_existing_log(settings.log_url)) as log:
        yield TopicView(log)
