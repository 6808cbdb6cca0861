"""Days that the beacon has made final, as files for light clients: `DATA/beacon/day=N.certificate` and `.statement`.

They are made of final blocks alone, so a lost file is written again at the next start.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from operators.beacon_runs import RunRules, RunTip
from operators.consensus_node import FinalBlock
from operators.proof_files import write_once
from proving.light.certificate import DayCertificate, check_certificate
from proving.light.checkpoint import Checkpoint
from proving.light.errors import ProofRejected
from proving.light.signature_check import best_signature_check
from schemas.beacon_payload import decode_acceptances
from schemas.block import Block, ValidatorSet
from schemas.errors import WireError
from schemas.run import RunStatement
from schemas.statement import Boundary

_logger = logging.getLogger(__name__)


def day_path(data: Path, day: int, what: str) -> Path:
    """Returns the place of a day's `proof`, `certificate` or `statement`."""
    return data / "beacon" / f"day={day}.{what}"


def checkpoint_path(data: Path) -> Path:
    """Returns the place of the checkpoint before the first day."""
    return data / "beacon" / "genesis.checkpoint"


@dataclass(frozen=True, slots=True)
class DayWriter:
    """Writes the files of a chain's days; what is on file stays.

    Attributes:
        data: Data directory.
        validators: The committee.
        rules: What a day is.
    """

    data: Path
    validators: ValidatorSet
    rules: RunRules

    def write_start(self, boundaries: Iterable[Boundary]) -> None:
        """Writes the checkpoint before the first day; boundaries are the shards' at genesis.

        Raises:
            LogFull: The disk refuses.
        """
        path = checkpoint_path(self.data)
        if not path.exists():
            state = RunTip.start(boundaries, self.rules.hasher).state
            rules = self.rules
            start = Checkpoint(rules.chain, rules.shards, 0, rules.validators, state)
            write_once(path, start.to_bytes())

    def write(self, blocks: Iterable[FinalBlock]) -> None:
        """Writes certificate and statement of every day that some final blocks accept.

        Args:
            blocks: (block, certificate of it or of a descendant), heights rising; not trusted: what is written is
                checked as a light client does.

        Raises:
            LogFull: The disk refuses.
        """
        for run, certificate in _certificates(blocks, self.validators):
            day = self.rules.day_of(run)
            if day is None or day_path(self.data, day, "certificate").exists():
                continue
            try:
                check_certificate(certificate, best_signature_check())
            except ProofRejected as error:
                _logger.warning("no certificate of day %d: %s", day, error)
                continue
            write_once(day_path(self.data, day, "statement"), run.to_bytes())
            write_once(day_path(self.data, day, "certificate"), certificate.to_bytes())


def _certificates(
    blocks: Iterable[FinalBlock], validators: ValidatorSet
) -> Iterator[tuple[RunStatement, DayCertificate]]:
    """Yields the days accepted in runs of blocks that end with a certificate of their own."""
    waiting: list[Block] = []
    for block, certificate in blocks:
        if waiting and block.header.parent_hash != waiting[-1].hash:
            waiting = []
        waiting.append(block)
        if certificate.ballot.block_hash != block.hash:
            continue
        headers = tuple(one.header for one in waiting)
        for number, one in enumerate(waiting):
            run = _accepted(one.payload)
            if run is not None:
                votes = certificate.signatures
                yield run, DayCertificate(validators, one.payload, headers[number:], votes)
        waiting = []


def _accepted(payload: bytes) -> RunStatement | None:
    try:
        said = decode_acceptances(payload)
    except WireError:
        return None
    return None if said.run is None else said.run.run
