"""A day's files as an attacker has them: the honest ones, and those of other days, chains and committees.

This module and the two that read it run by themselves in a bare interpreter, beside the light client's files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from proving.light.certificate import DayCertificate
from proving.light.day import DayFiles
from schemas.beacon_payload import decode_acceptances
from schemas.run import RunStatement

TRUSTED = ("checkpoint", "statement", "previous_certificate")
"""What `--previous` takes, by name; a case may lack the last two."""

Changed = dict[str, bytes]
"""Files in the place of the honest ones, by part."""


@dataclass(frozen=True, slots=True)
class DayCase:
    """A day's files, honest and foreign.

    Attributes:
        files: Proof, certificate, inclusion and what is trusted, by name.
        foreign: Files of other days, chains and committees, by what they stand in for and name.
    """

    files: Mapping[str, bytes]
    foreign: Mapping[str, Mapping[str, bytes]]

    def honest(self) -> DayFiles:
        """Returns the files as they are, after the checkpoint."""
        files = self.files
        return DayFiles(
            files["proof"], files["certificate"], files["checkpoint"], files.get("inclusion")
        )

    def changed(self, change: Changed) -> DayFiles:
        """Returns the files with some of them changed."""
        return replace(self.honest(), **change)

    def trusted(self) -> list[str]:
        """Returns which ways to trust the day before there are."""
        return [name for name in TRUSTED if name in self.files]


def write_case(case: DayCase, folder: Path) -> None:
    """Writes a case for `read_case`."""
    folder.mkdir(parents=True)
    for name, data in case.files.items():
        (folder / name).write_bytes(data)
    for part, named in case.foreign.items():
        place = folder / "foreign" / part
        place.mkdir(parents=True)
        for name, data in named.items():
            (place / name).write_bytes(data)


def read_case(folder: Path) -> DayCase:
    """Reads what `write_case` wrote."""
    files = {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}
    foreign = {
        part.name: {path.name: path.read_bytes() for path in sorted(part.iterdir())}
        for part in sorted((folder / "foreign").iterdir())
    }
    return DayCase(files, foreign)


@dataclass(frozen=True, slots=True)
class Mutant:
    """One attack.

    Attributes:
        kind: What was done.
        files: What the light client is given.
    """

    kind: str
    files: DayFiles


def run_of(certificate: DayCertificate) -> RunStatement:
    """Returns what a certificate accepts, unchecked.

    Raises:
        ValueError: It accepts no day.
        WireError: Its payload is none.
    """
    said = decode_acceptances(certificate.payload).run
    if said is None:
        raise ValueError("the certificate accepts no day")
    return said.run
