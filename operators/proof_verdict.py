"""The verdict on any bytes that are said to be a proof of some level; also as functions of DuckDB.

`register_verifier(connection, root)` gives a DuckDB session `verify_proof(blob)` and `verify_proof_file(path)`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import duckdb
from duckdb import sqltypes

from proving.arithmetic.poseidon2 import NumpyHasher
from proving.backends.port import Hasher
from proving.errors import ProofError
from proving.kinds import PROGRAMS, registered_kinds
from proving.ledger.trace import statement_digest
from proving.recursion.programs import STATEMENT_WORD
from proving.recursion.recursive_proofs import public_word_of, verify_kinds
from proving.segment_proofs import verify_segment
from proving.stark.encoding import MAX_PROOF_BYTES, read_header
from proving.stark.soundness import MINIMUM_PROVEN_BITS
from schemas.job import ProofLevel
from schemas.units import word_bytes

ACCEPTED, REJECTED, MALFORMED, UNREADABLE = "accepted", "rejected", "malformed", "unreadable"


@dataclass(frozen=True, slots=True)
class ProofVerdict:
    """What became of some bytes.

    Attributes:
        verdict: `accepted`, `rejected` (a proof of something that does not hold), `malformed` (no proof), or
            `unreadable` (a file that is not there, too large, or not below the data directory).
        reason: Why not, or empty.
        level: Level of what was proven, or None.
        kind: Kind of the proof, or None.
        bits: Proven bits, or None.
        statement: Statement digest that the proof shows, hex, or None.
    """

    verdict: str
    reason: str = ""
    level: str | None = None
    kind: str | None = None
    bits: int | None = None
    statement: str | None = None


def judge_proof(
    proof: bytes, hasher: Hasher, minimum_bits: int = MINIMUM_PROVEN_BITS
) -> ProofVerdict:
    """Verifies a proof of any registered kind; never raises over its bytes.

    A recursive proof shows the digest of its statement alone: whoever holds the statement compares digests.

    Args:
        proof: Any bytes.
        hasher: Poseidon2.
        minimum_bits: Proven bits that the proof must have.
    """
    try:
        kind = registered_kinds().by_number.get(read_header(proof).kind)
        if kind is not None and kind.name in PROGRAMS:
            verdict = verify_kinds(proof, [kind.name], hasher, minimum_bits)
            word = word_bytes(public_word_of(verdict, STATEMENT_WORD))
            level = level_of_kind(kind.name, kind.level)
            return _accepted(level, kind.name, verdict.proven_bits, word)
        statement, verdict = verify_segment(proof, hasher, minimum_bits)
    except ProofError as error:
        is_malformed = error.exit_code == 4
        return ProofVerdict(MALFORMED if is_malformed else REJECTED, str(error))
    name = registered_kinds().by_number[verdict.kind].name
    word = statement_digest(statement, hasher)
    return _accepted(ProofLevel.SEGMENT.value, name, verdict.proven_bits, word)


def level_of_kind(kind: str, level: str) -> str:
    """Returns the level that a kind of proof serves; of `day` there are several, and the circuit does not tell."""
    return level if kind not in {"segment_s", "segment_l"} else ProofLevel.SEGMENT.value


def _accepted(level: str, kind: str, bits: int, statement: bytes) -> ProofVerdict:
    return ProofVerdict(ACCEPTED, "", level, kind, bits, statement.hex())


def judge_file(
    root: Path, name: str, hasher: Hasher, minimum_bits: int = MINIMUM_PROVEN_BITS
) -> ProofVerdict:
    """Verifies a file below a data directory's `proofs` or `beacon`; nothing else is opened.

    Args:
        root: The data directory.
        name: Path, relative to `root` or absolute.
        hasher: Poseidon2.
        minimum_bits: Proven bits that the proof must have.
    """
    try:
        path = (root / name).resolve()
        allowed = [(root / folder).resolve() for folder in ("proofs", "beacon")]
        if not any(path.is_relative_to(folder) for folder in allowed):
            return ProofVerdict(UNREADABLE, f"{name!r} does not lie below {root}/proofs or /beacon")
        with path.open("rb") as stream:
            data = stream.read(MAX_PROOF_BYTES + 1)
    except (OSError, ValueError) as error:
        return ProofVerdict(UNREADABLE, f"{name!r} cannot be read: {error}")
    return judge_proof(data, hasher, minimum_bits)


def register_verifier(
    connection: duckdb.DuckDBPyConnection, root: Path, minimum_bits: int = MINIMUM_PROVEN_BITS
) -> None:
    """Gives a DuckDB session `verify_proof(blob)` and `verify_proof_file(path)`; NULL gives NULL.

    Args:
        connection: An open session.
        root: Data directory or export that paths are relative to.
        minimum_bits: Proven bits that a proof must have.
    """
    hasher = NumpyHasher()
    text = sqltypes.VARCHAR
    fields = {"verdict": text, "reason": text, "level": text, "kind": text}
    shape = duckdb.struct_type({**fields, "bits": sqltypes.INTEGER, "statement": text})

    def verify_proof(proof: bytes) -> dict[str, object]:
        return asdict(judge_proof(proof, hasher, minimum_bits))

    def verify_proof_file(path: str) -> dict[str, object]:
        return asdict(judge_file(root, path, hasher, minimum_bits))

    connection.create_function("verify_proof", verify_proof, [sqltypes.BLOB], shape)
    connection.create_function("verify_proof_file", verify_proof_file, [text], shape)
