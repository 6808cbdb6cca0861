"""Actions of `ecliptica light`."""

from __future__ import annotations

from pathlib import Path

from pipelines.cli.contract import Call, Document
from proving.light.command import (
    EXIT_MALFORMED,
    EXIT_REJECTED,
    read_files,
    report,
    text_of,
)
from proving.light.day import verify_day
from proving.light.errors import KeyDamaged, ProofError, ProofMalformed
from proving.light.signature_check import best_signature_check
from schemas.errors import EclipticaError, EnvironmentMissing


class DayRefused(EclipticaError):
    """A light client's error as one that the command line knows.

    Attributes:
        reason: Stable name of the check that failed.
        where: Place.
        expected: What is required, as text.
        got: What was found, as text.
    """

    def __init__(self, error: ProofError) -> None:
        super().__init__(str(error))
        self.reason = str(error.reason)
        self.where = error.where
        self.expected = error.expected
        self.got = error.got
        self.exit_code = EXIT_MALFORMED if isinstance(error, ProofMalformed) else EXIT_REJECTED


def verify(
    call: Call,
    *,
    file: Path,
    certificate: Path | None,
    previous: Path | None,
    inclusion: Path | None,
) -> Document:
    """Verifies a day as a light client does.

    Raises:
        DayRefused: Something does not hold, or is not what it should be.
        EnvironmentMissing: The client's key file is damaged.
    """
    files = read_files(file, certificate, previous, inclusion)
    try:
        fields = report(verify_day(files, best_signature_check()))
    except ProofError as error:
        raise DayRefused(error) from error
    except KeyDamaged as error:
        raise EnvironmentMissing(str(error), "install Ecliptica again") from error
    return Document(text_of(fields), {"file": file, **fields})
