"""Has the proofs that a bench made verified by the command itself, in a process that has seen nothing else."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from pipelines.day_report import verify_in_fresh_process
from proving.stark.soundness import MINIMUM_PROVEN_BITS
from schemas.errors import InvariantError


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
