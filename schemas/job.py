"""The envelope of a proof job: everything a worker needs, and nothing it must fetch."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from schemas.errors import WireError

_MAGIC = b"ECLJ\x01"
MAX_ENVELOPE_BYTES = 15 * 1024 * 1024
"""Largest envelope, bytes: it shares a log record of 16 MiB with a few small columns."""

MAX_WITNESS_BYTES = MAX_ENVELOPE_BYTES - 2**16
"""Bytes of a witness that always find place in an envelope; windows are cut accordingly."""


class JobEvent(StrEnum):
    """What can happen to a job; one record each on `jobs`."""

    PLANNED = "planned"
    LEASED = "leased"
    HEARTBEAT = "heartbeat"
    PROVED = "proved"
    FAILED = "failed"
    LOST = "lost"
    ACCEPTED = "accepted"


PROOF_LOST = "its proof was damaged"
"""Detail of a `planned` event that asks for a finished job again."""


class ProofLevel(StrEnum):
    """Levels of the pyramid, from below; `day_run` is a day's proof before it is wrapped for light clients."""

    SEGMENT = "segment"
    WINDOW = "window"
    SHARD_EPOCH = "shard_epoch"
    SHARD_HOUR = "shard_hour"
    EPOCH = "epoch"
    DAY_RUN = "day_run"
    DAY = "day"


def job_id_of(level: ProofLevel, place: tuple[int, int, int], statement: bytes) -> bytes:
    """Returns the id of the job that proves a statement.

    Args:
        level: Level of the pyramid.
        place: Shard, window and segment.
        statement: Canonical statement bytes.
    """
    shard, window, segment = place
    prefix = f"ecliptica.job/{level.value}/{shard}/{window}/{segment}/".encode()
    return hashlib.sha256(prefix + statement).digest()


@dataclass(frozen=True, slots=True)
class JobEnvelope:
    """One unit of proving.

    Attributes:
        level: What kind of statement is proven.
        shard: Shard of the ledger, >= 0.
        window: Window number, >= 0.
        segment: Position of the segment in its window, >= 0.
        statement: Canonical statement bytes.
        witness: Canonical witness bytes, enough to build the trace without any other state.
    """

    level: ProofLevel
    shard: int
    window: int
    segment: int
    statement: bytes
    witness: bytes

    @property
    def job_id(self) -> bytes:
        """SHA-256 of level, place and statement: equal work has an equal id."""
        place = (self.shard, self.window, self.segment)
        return job_id_of(self.level, place, self.statement)

    def to_bytes(self) -> bytes:
        """Returns the canonical bytes.

        Raises:
            WireError: The envelope is larger than `MAX_ENVELOPE_BYTES`.
        """
        level = self.level.value.encode()
        parts = [
            _MAGIC,
            len(level).to_bytes(1, "little"),
            level,
            self.shard.to_bytes(4, "little"),
            self.window.to_bytes(8, "little"),
            self.segment.to_bytes(4, "little"),
            len(self.statement).to_bytes(4, "little"),
            self.statement,
            len(self.witness).to_bytes(4, "little"),
            self.witness,
        ]
        encoded = b"".join(parts)
        if len(encoded) > MAX_ENVELOPE_BYTES:
            raise WireError("job", f"{len(encoded)} bytes, at most {MAX_ENVELOPE_BYTES}")
        return encoded

    @classmethod
    def from_bytes(cls, encoded: bytes) -> JobEnvelope:
        """Reads canonical bytes.

        Raises:
            WireError: They are not an envelope, or not exactly one.
        """
        if len(encoded) > MAX_ENVELOPE_BYTES or not encoded.startswith(_MAGIC):
            raise WireError("job", "not a job envelope")
        view = memoryview(encoded)[len(_MAGIC) :]
        level_bytes, view = _take(view, 1, "job.level")
        shard, window, segment = (int.from_bytes(view[a:b], "little") for a, b in _PLACES)
        statement, view = _take(view[16:], 4, "job.statement")
        witness, view = _take(view, 4, "job.witness")
        if view:
            raise WireError("job", f"{len(view)} bytes too many")
        try:
            level = ProofLevel(level_bytes.decode("ascii"))
        except ValueError as error:
            raise WireError("job.level", f"unknown level {level_bytes!r}") from error
        return cls(level, shard, window, segment, statement, witness)


def planned_envelope(row: Mapping[str, Any]) -> JobEnvelope | None:
    """Returns the envelope of a `planned` row of `jobs`, or None when its bytes are not those its id names."""
    try:
        envelope = JobEnvelope.from_bytes(row["envelope"] or b"")
    except WireError:
        return None
    return envelope if envelope.job_id == row["job_id"] else None


_PLACES = ((0, 4), (4, 12), (12, 16))


def _take(view: memoryview, width: int, where: str) -> tuple[bytes, memoryview]:
    size = int.from_bytes(view[:width], "little")
    end = width + size
    if len(view) < end:
        raise WireError(where, "truncated")
    return bytes(view[width:end]), view[end:]
