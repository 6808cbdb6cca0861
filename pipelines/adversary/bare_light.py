"""The light client's files in an empty folder, run by a bare interpreter: `python -I -S`, no third-party package."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.adversary.day_case import DayCase, write_case
from pipelines.adversary.day_judge import FILES as JUDGE_FILES
from pipelines.adversary.day_judge import LAUNCHER, Verdict
from proving.light.command import EXIT_MALFORMED, EXIT_REJECTED
from proving.light.command import FILES as LIGHT_FILES
from proving.light.day import DayFiles
from schemas.errors import InvariantError

ROOT = Path(__file__).resolve().parents[2]
"""Where the packages are."""

TIMEOUT_SECONDS = 3600.0
"""Far above what any piece of a campaign takes."""

EXIT_OF = {"": 0, "ProofRejected": EXIT_REJECTED, "ProofMalformed": EXIT_MALFORMED}
"""Exit code of the command by the name of the error."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the command said.

    Attributes:
        exit_code: What it ended with.
        reason: The first word of its error; empty without one.
        output: What it printed.
    """

    exit_code: int
    reason: str
    output: str

    def agrees(self, verdict: Verdict) -> bool:
        """Whether it is what a verdict in a worker says."""
        return (self.exit_code, self.reason) == (EXIT_OF.get(verdict.error), verdict.reason)


@dataclass(frozen=True, slots=True)
class BareLight:
    """A folder with copies of the light client's files and a case.

    Attributes:
        folder: Holds nothing else.
    """

    folder: Path

    @classmethod
    def make(cls, folder: Path, case: DayCase) -> BareLight:
        """Copies files into an empty folder.

        Raises:
            InvariantError: The folder is not empty.
        """
        if any(folder.iterdir()):
            raise InvariantError(f"{folder} is not empty")
        for name in (*LIGHT_FILES, *JUDGE_FILES):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
        write_case(case, folder / "case")
        return cls(folder)

    def copied(self) -> list[str]:
        """Returns all files of the folder but the compiled ones, sorted."""
        files = (path for path in self.folder.rglob("*") if path.is_file())
        return sorted(
            path.relative_to(self.folder).as_posix() for path in files if path.suffix != ".pyc"
        )

    def verify(self, name: str, files: DayFiles) -> Answer:
        """Writes a day's files and runs the real command over them in a process of its own.

        Args:
            name: Of a folder for them, below the client's; gone afterwards.
            files: Any bytes.
        """
        place = self.folder / name
        place.mkdir()
        (place / "day.proof").write_bytes(files.proof)
        (place / "day.certificate").write_bytes(files.certificate)
        arguments = [f"{name}/day.proof"]
        for option, data in (("previous", files.previous), ("inclusion", files.inclusion)):
            if data is not None:
                (place / option).write_bytes(data)
                arguments += [f"--{option}", f"{name}/{option}"]
        answer = self.command(arguments)
        shutil.rmtree(place)
        return answer

    def command(self, arguments: Sequence[str]) -> Answer:
        """Runs `python -I -S proving/light` in the folder."""
        done = self._run(["proving/light", *arguments])
        said = done.stderr.removeprefix("error: ").split(" ", 1)[0].strip()
        return Answer(done.returncode, said, done.stdout)

    def mutants(self, *arguments: int) -> dict[str, Any]:
        """Runs a worker over some mutants: seed, first, count, stride of the sample; returns its last word.

        Raises:
            InvariantError: The process failed.
        """
        return self._last_word(["mutants", *map(str, arguments)])

    def measure(self, what: str) -> dict[str, Any]:
        """Returns time and peak memory of one check of the honest day in a process of its own.

        Raises:
            InvariantError: It was not accepted.
        """
        return self._last_word(["measure", what])

    def _last_word(self, arguments: Sequence[str]) -> dict[str, Any]:
        done = self._run(["-c", LAUNCHER, *arguments])
        if done.returncode:
            last = done.stderr.strip().splitlines()[-1:] or ["no word"]
            raise InvariantError(f"the bare interpreter ended with {done.returncode}: {last[0]}")
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return found

    def _run(self, arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(  # noqa: S603 - our own interpreter and files
            [sys.executable, "-I", "-S", *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
            check=False,
            cwd=self.folder,
        )
