"""Has the proofs that a bench made verified in a process that has seen nothing else."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from pipelines.day_report import verify_in_fresh_process
from proving.stark.soundness import MINIMUM_PROVEN_BITS
from schemas.errors import InvariantError

VERIFY_TIMEOUT_SECONDS = 600.0


def module_says(
    module: str, proofs: Sequence[bytes], *arguments: str, what: str = "a proof"
) -> str:
    """Runs a module that verifies proofs and returns what it prints.

    Args:
        module: Run as `python -m MODULE ARGUMENT... FILE...`, one file per proof.
        proofs: Written to files that are gone afterwards.
        arguments: What comes before the files.
        what: Names the proof in the error.

    Raises:
        InvariantError: It refuses them.
    """
    with tempfile.TemporaryDirectory(prefix="ecliptica-bench-") as folder:
        files = [Path(folder) / f"{number}.proof" for number in range(len(proofs))]
        for file, data in zip(files, proofs, strict=True):
            file.write_bytes(data)
        failure = f"{what} that was just made does not hold"
        return run_module(module, [*arguments, *map(str, files)], VERIFY_TIMEOUT_SECONDS, failure)


def run_module(module: str, arguments: Sequence[str], timeout_seconds: float, failure: str) -> str:
    """Returns what one of our modules prints when it runs as a process of its own.

    Args:
        module: Its name.
        arguments: Of its command line.
        timeout_seconds: Longest wall time.
        failure: Begins the error if it fails; its last words follow.

    Raises:
        InvariantError: It fails.
    """
    done = subprocess.run(  # noqa: S603 - our own interpreter and module
        [sys.executable, "-m", module, *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout_seconds,
        check=False,
    )
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or ["no word"]
        raise InvariantError(f"{failure}: {last[0]}")
    return done.stdout


def verified_apart(proofs: Sequence[bytes]) -> int:
    """Returns the least proven bits of segment proofs, every one of which another process has verified.

    Raises:
        InvariantError: One of them does not hold.
    """
    with tempfile.TemporaryDirectory(prefix="ecliptica-bench-") as folder:
        files = [Path(folder) / f"{number}.proof" for number in range(len(proofs))]
        for file, proof in zip(files, proofs, strict=True):
            file.write_bytes(proof)
        found = verify_in_fresh_process(files, MINIMUM_PROVEN_BITS)
    if found["exit_code"] or found["accepted"] != len(proofs):
        raise InvariantError(f"{found['accepted']} of {len(proofs)} proofs hold in another process")
    return min(int(report["proven_bits"]) for report in found["proofs"])
