"""Errors that every package may raise, each with the exit code the command ends with."""

from __future__ import annotations


class EclipticaError(Exception):
    """Any failure that a user can act on: one line of error and one hint.

    Attributes:
        hint: The next thing to do, or an empty string.
        exit_code: What the command exits with when this error ends it.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class ParameterError(EclipticaError, ValueError):
    """An argument is outside the range its function states."""

    exit_code = 2


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
