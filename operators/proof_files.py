"""Accepted proofs as files, named by what they prove: `DATA/proofs/<level>/<statement digest>.proof`."""

from __future__ import annotations

import contextlib
import logging
import os
from pathlib import Path

from operators.event_log import LogFull
from operators.proof_worker import PROOF_LIMIT, prove_job
from proving.backends.port import Backend, Hasher
from proving.errors import ProofError
from proving.ledger.trace import statement_digest
from proving.segment_proofs import verify_segment
from proving.stark.soundness import MINIMUM_PROVEN_BITS
from schemas.errors import ParameterError
from schemas.job import JobEnvelope, ProofLevel
from schemas.statement import SegmentStatement, decode_statement
from schemas.units import WORD_BYTES

SUFFIX = ".proof"

DAMAGED = ".damaged"
"""Added to the name of a file that does not hold; nothing reads it."""

_logger = logging.getLogger(__name__)


def proof_path(data: Path, level: ProofLevel, statement_digest: bytes) -> Path:
    """Returns where a proof lies.

    Args:
        data: The data directory.
        level: Level of the pyramid.
        statement_digest: Word that stands for the statement.

    Raises:
        ParameterError: The digest is not 32 bytes.
    """
    if len(statement_digest) != WORD_BYTES:
        raise ParameterError(f"a statement digest has {WORD_BYTES} bytes")
    return data / "proofs" / level.value / f"{statement_digest.hex()}{SUFFIX}"


def write_proof(data: Path, level: ProofLevel, statement_digest: bytes, proof: bytes) -> Path:
    """Writes a proof unless a file of its statement is there; whole or not at all.

    Several proofs of one statement are equally good, so the first one written stays.

    Returns:
        The file.

    Raises:
        LogFull: The disk is full or the directory is read-only; no file was left.
    """
    path = proof_path(data, level, statement_digest)
    write_once(path, proof)
    return path


def write_once(path: Path, content: bytes) -> None:
    """Writes a file unless it is there; whole or not at all.

    Raises:
        LogFull: The disk is full or the directory is read-only; no file was left.
    """
    if path.exists():
        return
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise LogFull(
            f"{path} cannot be written: {error.strerror}", "free disk space or check permissions"
        ) from error


def damaged_path(path: Path) -> Path:
    """Returns the name under which a file that does not hold is set aside."""
    return path.with_name(f"{path.name}{DAMAGED}")


def set_aside(path: Path) -> Path:
    """Renames a file that does not hold, so that another can take its place; returns its new name.

    The latest one set aside is kept, those before it are replaced.

    Raises:
        LogFull: The directory is read-only.
    """
    target = damaged_path(path)
    try:
        path.replace(target)
        _sync_folder(path.parent)
    except OSError as error:
        raise LogFull(
            f"{path} cannot be set aside: {error.strerror}", "check permissions"
        ) from error
    return target


def find_proof(
    data: Path,
    statement: SegmentStatement,
    hasher: Hasher,
    minimum_bits: int = MINIMUM_PROVEN_BITS,
) -> bytes | None:
    """Returns a proof on file that shows exactly this statement under the accepted key, so that none is made twice.

    A file of another key, of another statement or of something that does not hold counts as none and stays.

    Args:
        data: The data directory.
        statement: What is to be shown.
        hasher: Poseidon2.
        minimum_bits: Proven bits that the proof must have.
    """
    path = proof_path(data, ProofLevel.SEGMENT, statement_digest(statement, hasher))
    try:
        with path.open("rb") as file:
            proof = file.read(PROOF_LIMIT + 1)
    except FileNotFoundError:
        return None
    try:
        shown, _ = verify_segment(proof, hasher, minimum_bits)
    except ProofError:
        return None
    return proof if shown == statement else None


def find_or_prove(data: Path, job: JobEnvelope, backend: Backend, minimum_bits: int) -> Path:
    """Returns the file of a segment's proof: the one that is there and holds, or else one that is made now.

    A file in its place that does not hold is set aside once the new proof is made.

    Raises:
        WireError: Statement or witness are not canonical.
        ProvingError: The witness does not show the statement.
        LogFull: The proof cannot be written.
    """
    statement = decode_statement(job.statement)
    if find_proof(data, statement, backend, minimum_bits) is not None:
        return proof_path(data, ProofLevel.SEGMENT, statement_digest(statement, backend))
    result = prove_job(job, backend)
    path = proof_path(data, ProofLevel.SEGMENT, result.statement_digest)
    if path.exists():
        _logger.warning("%s is damaged or stale, set aside as %s", path, set_aside(path).name)
    return write_proof(data, ProofLevel.SEGMENT, result.statement_digest, result.proof)


def proof_files(data: Path, level: ProofLevel) -> list[Path]:
    """Returns the proofs of a level, sorted by name; unfinished files are left out."""
    return sorted((data / "proofs" / level.value).glob(f"[!.]*{SUFFIX}"))


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
