"""Files that hold the state of a process: replaced in one rename, checked by a hash, never trusted blindly.

A snapshot saves time, nothing else: what it says can be computed again from the log. So a damaged one is
reported and ignored.
"""

from __future__ import annotations

import hashlib
import logging
import os
from contextlib import suppress
from pathlib import Path

from schemas.errors import DiskRefuses

MAGIC = b"ECLS\x01"
HASH_BYTES = 32

_logger = logging.getLogger(__name__)


def write_snapshot(path: Path, kind: str, body: bytes) -> None:
    """Replaces a snapshot; after a crash the old or the new one is there, whole.

    Args:
        path: The file; its directory is made.
        kind: What it is of, such as `stage/admission.0`; a file of another kind is not read.
        body: Content.

    Raises:
        DiskRefuses: The old one is still whole.
    """
    draft = path.with_name(path.name + ".draft")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with draft.open("wb") as file:
            file.write(MAGIC + _digest(kind, body) + body)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
        directory = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    except OSError as error:
        with suppress(OSError):
            draft.unlink(missing_ok=True)  # what was written of it takes the room that is wanted
        raise DiskRefuses(path, error) from error


def read_snapshot(path: Path, kind: str) -> bytes | None:
    """Returns the content of a snapshot, or None when there is none or it is damaged."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        _logger.warning("%s cannot be read (%s): starting from the log", path, error.strerror)
        return None
    start = len(MAGIC) + HASH_BYTES
    body = data[start:]
    if not data.startswith(MAGIC) or data[len(MAGIC) : start] != _digest(kind, body):
        _logger.warning("%s is damaged or of something else: starting from the log", path)
        return None
    return body


def _digest(kind: str, body: bytes) -> bytes:
    name = kind.encode()
    return hashlib.sha256(len(name).to_bytes(4, "little") + name + body).digest()
