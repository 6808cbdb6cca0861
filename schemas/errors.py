"""Errors that every package may raise, each with the exit code the command ends with."""

from __future__ import annotations

import errno
from pathlib import Path

NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT})
"""What the operating system says when there is no room."""


class EclipticaError(Exception):
    """Any failure that a user can act on: one line of error and one hint.

    Attributes:
        hint: The next thing to do, or an empty string.
        exit_code: What the command exits with when this error ends it.
        may_pass: Whether waiting may cure it: a disk that is full, a broker that is away.
    """

    exit_code = 1
    may_pass = False

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class ParameterError(EclipticaError, ValueError):
    """An argument is outside the range its function states."""

    exit_code = 2


class DiskRefuses(EclipticaError):
    """A file cannot be written; `may_pass` when that is for want of space."""

    def __init__(self, path: Path, error: OSError) -> None:
        self.may_pass = error.errno in NO_SPACE
        hint = "free some space" if self.may_pass else "check mount and owner"
        super().__init__(f"{path}: {error.strerror or error}", hint)


class WireError(EclipticaError, ValueError):
    """Bytes that are not the canonical form of the record they claim to be.

    Attributes:
        where: The field at which reading stopped, such as `transaction.amount`.
    """

    def __init__(self, where: str, message: str) -> None:
        super().__init__(f"{where}: {message}")
        self.where = where


class InvariantError(EclipticaError, RuntimeError):
    """A state that the program's own rules exclude; always a defect, never bad input."""


class EnvironmentMissing(EclipticaError, RuntimeError):
    """A broker, device, library or a part that is not built yet is needed and absent."""

    exit_code = 5
