"""One table over the proofs of every level: what each says, where it lies, and how it is checked again.

Segments come from the exported epochs, where the beacon has accepted them; recursive proofs from the log, where
anybody may write: only those are taken that hold and say what follows from the accepted segments, since a proof of
another history of the same chain holds as well. A row says nothing that its statement and its proof do not show.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from operators.audit_findings import Finding
from operators.event_log import EventLog
from operators.export_files import epoch_folder, exported_epochs, read_table
from operators.planned_statements import PlannedStatements, planned_statements
from operators.proof_files import proof_path, write_proof
from operators.pyramid_planner import PyramidPlanner
from operators.topic_view import TopicView
from proving.arithmetic.modulus import WORD
from proving.backends.port import Hasher
from proving.errors import ProofError
from proving.kinds import kind_numbered, verifying_key
from proving.ledger.trace import statement_digest
from proving.recursion.pyramid_work import Said, read_said, said_digest, verify_said
from proving.recursion.span import Span
from proving.segment_proofs import boundary_state_root
from proving.stark.encoding import HEADER_BYTES, proof_bytes, proof_sections, read_header
from schemas.errors import EclipticaError, ParameterError, WireError
from schemas.exports import PROOF_INDEX, PROOFS_EXPORT
from schemas.genesis import Genesis
from schemas.job import ProofLevel
from schemas.statement import SegmentStatement, decode_statement
from schemas.tables import PROOFS
from schemas.topics import PROOFS as PROOFS_TOPIC
from schemas.units import word_bytes

Row = Mapping[str, Any]


def index_path(root: Path) -> Path:
    """Returns where a data directory or an export keeps the table."""
    return root / "proofs" / f"{PROOF_INDEX.name}.parquet"


def write_index(
    log: EventLog,
    root: Path,
    genesis: Genesis,
    planner: PyramidPlanner,
    on_proof: Callable[[], None] = lambda: None,
) -> int:
    """Writes the table anew, and the recursive proofs' files that are not there; returns its rows.

    Proofs that a table on file holds already are not verified again.

    Args:
        log: Where recursive proofs lie.
        root: Data directory or export.
        genesis: The chain.
        planner: Of its pyramid, before its first window.
        on_proof: Told about each proof.

    Raises:
        EclipticaError: The disk refuses.
    """
    rows = []
    hasher, planned = planner.hasher, planned_statements(root, genesis, planner)
    for level, statement, proof in (*_segments(root), *_recursive(log, root, planned, hasher)):
        rows.append(index_row(level, statement, proof, genesis, hasher))
        on_proof()
    order = list(ProofLevel)
    rows.sort(
        key=lambda row: (
            order.index(ProofLevel(row["level"])),
            row["first_window"],
            -1 if row["shard"] is None else row["shard"],
            row["first_segment"] or 0,
            row["statement_digest"],
        )
    )
    path = index_path(root)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        table = pa.Table.from_batches([PROOF_INDEX.batch(rows)])
        pq.write_table(table, draft, compression="zstd")
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise EclipticaError(f"{path}: {error.strerror or error}") from error
    return len(rows)


def _segments(root: Path) -> Iterator[tuple[ProofLevel, bytes, bytes]]:
    """Yields the accepted segments of the exported epochs whose files are there, whole."""
    for row in _accepted_rows(root):
        path = root / row["path"]
        proof = path.read_bytes() if path.is_file() else b""
        if hashlib.sha256(proof).digest() == row["sha256"]:
            yield ProofLevel.SEGMENT, row["statement"], proof


def _accepted_rows(root: Path) -> Iterator[dict[str, Any]]:
    """Yields the rows of accepted segments of the exported epochs; an epoch whose table is damaged has none."""
    for shard, epoch in exported_epochs(root):
        try:
            rows = read_table(epoch_folder(root, shard, epoch), PROOFS_EXPORT).to_pylist()
        except ParameterError:
            continue  # the audit of the epoch finds it
        yield from (row for row in rows if row["accepted"])


def _recursive(
    log: EventLog, root: Path, planned: PlannedStatements, hasher: Hasher
) -> Iterator[tuple[ProofLevel, bytes, bytes]]:
    """Yields the recursive proofs on the log that hold and are planned, the first of each statement and level."""
    known = {(row["level"], row["statement_digest"], row["sha256"]) for row in _rows(root)}
    found: set[tuple[str, bytes]] = set()
    for row in TopicView(log).rows(PROOFS_TOPIC, PROOFS):
        place = (row["level"], row["statement_digest"])
        if place not in planned or place in found:
            continue
        level, proof = ProofLevel(row["level"]), row["proof"]
        try:
            said = read_said(row["statement"])
            if said_digest(said, hasher) != place[1]:
                continue
            if (*place, hashlib.sha256(proof).digest()) not in known:
                verify_said(said, proof, hasher, is_wrapped=level is ProofLevel.DAY)
        except (ProofError, WireError):
            continue
        path = write_proof(root, level, place[1], proof)
        kept = path.read_bytes()
        if kept != proof and not _holds(said, kept, level, hasher):
            continue  # a damaged file is the pyramid's to mend
        found.add(place)
        yield level, row["statement"], kept


def _holds(said: Said, proof: bytes, level: ProofLevel, hasher: Hasher) -> bool:
    try:
        verify_said(said, proof, hasher, is_wrapped=level is ProofLevel.DAY)
    except ProofError:
        return False
    return True


def _rows(root: Path) -> list[dict[str, Any]]:
    try:
        return read_index(root)
    except ParameterError:
        return []


def read_index(root: Path) -> list[dict[str, Any]]:
    """Returns the rows of the table; none where no export has written one.

    Raises:
        ParameterError: The file is no such table.
    """
    path = index_path(root)
    if not path.exists():
        return []
    try:
        table = pq.read_table(path, partitioning=None)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise ParameterError(
            f"{path}: {error}", "`ecliptica epoch export` writes it again"
        ) from error
    if not table.schema.equals(PROOF_INDEX.schema):
        raise ParameterError(
            f"{path} does not have the schema of {PROOF_INDEX.name}",
            "`ecliptica epoch export` writes it again",
        )
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows


def index_row(
    level: ProofLevel, statement: bytes, proof: bytes, genesis: Genesis, hasher: Hasher
) -> Row:
    """Returns the row of a proof that shows a statement.

    Raises:
        WireError: The statement is not canonical.
        ProofError: The proof has no header.
        ParameterError: The proof is of no registered kind.
    """
    kind = kind_numbered(read_header(proof).kind)
    key = verifying_key(kind.name, hasher)
    row = _said_columns(level, statement, hasher)
    first, end = row["first_window"], row["end_window"]
    return {
        "level": level.value,
        "kind": kind.name,
        "first_epoch": genesis.epoch_of(first),
        "last_epoch": genesis.epoch_of(end - 1),
        "statement": statement,
        "payee": _payee(kind.name, proof, hasher),
        "key_digest": word_bytes(key.digest),
        "path": proof_path(Path(), level, row["statement_digest"]).as_posix(),
        "sha256": hashlib.sha256(proof).digest(),
        "bytes": len(proof),
        "proven_bits": key.proven_bits,
        **row,
    }


def _said_columns(level: ProofLevel, statement: bytes, hasher: Hasher) -> Row:
    if level is ProofLevel.SEGMENT:
        segment = decode_statement(statement)
        digest = statement_digest(segment, hasher)
        ends = (segment.window, segment.segment, segment.window, segment.segment)
        return _shard_columns(segment, digest, ends, None, hasher)
    said = read_said(statement)
    digest = said_digest(said, hasher)
    if isinstance(said, Span):
        ends = (said.first_window, said.first_segment, said.last_window, said.last_segment)
        return _shard_columns(said, digest, ends, word_bytes(said.history), hasher)
    return {
        "chain": said.chain,
        "shards": said.shards,
        "shard": None,
        "first_window": said.first_window,
        "end_window": said.end_window,
        "first_segment": None,
        "last_segment": None,
        "first_height": None,
        "last_height": None,
        "statement_digest": digest,
        "pre_root": word_bytes(said.before),
        "post_root": word_bytes(said.after),
        "history": word_bytes(said.history),
        "validators": word_bytes(said.validators),
    }


def _shard_columns(
    said: SegmentStatement | Span,
    digest: bytes,
    ends: tuple[int, int, int, int],
    history: bytes | None,
    hasher: Hasher,
) -> Row:
    first, first_segment, last, last_segment = ends
    return {
        "chain": said.chain,
        "shards": said.shards,
        "shard": said.shard,
        "first_window": first,
        "end_window": last + 1,
        "first_segment": first_segment,
        "last_segment": last_segment,
        "first_height": said.before.height,
        "last_height": said.after.height,
        "statement_digest": digest,
        "pre_root": boundary_state_root(said.before, hasher),
        "post_root": boundary_state_root(said.after, hasher),
        "history": history,
        "validators": None,
    }


def _payee(kind: str, proof: bytes, hasher: Hasher) -> bytes:
    """Returns the last public word of a proof, of whatever kind; zeros if its length is not the kind's."""
    key = verifying_key(kind, hasher)
    (publics,) = (one for one in proof_sections(key) if one.name == "publics")
    if len(proof) != proof_bytes(key):
        return bytes(4 * WORD)
    end = HEADER_BYTES + publics.num_bytes
    return np.frombuffer(proof[end - 4 * WORD : end], dtype="<u4").tobytes()


def check_index(
    root: Path, genesis: Genesis, planner: PyramidPlanner, minimum_bits: int
) -> Iterator[Finding]:
    """Yields rows of the table that are not what their statement and file show, or not about the accepted segments.

    Recursive proofs are verified; segments are by the audit of their epoch, and are compared with it by their hash.

    Args:
        root: Data directory or export.
        genesis: The chain.
        planner: Of its pyramid, before its first window.
        minimum_bits: Proven bits that a proof needs.
    """
    try:
        rows = read_index(root)
    except ParameterError as error:
        yield Finding("proof_index", str(index_path(root)), str(error))
        return
    if not index_path(root).exists():
        return  # of an older export
    listed = {row["sha256"] for row in rows if row["level"] == ProofLevel.SEGMENT}
    for row in _accepted_rows(root):
        if row["sha256"] not in listed:
            where = f"window {row['window']} segment {row['segment']}"
            yield Finding("proof_index", where, "an accepted proof is not listed")
    accepted = {row["sha256"] for row in _accepted_rows(root)}
    hasher, planned = planner.hasher, planned_statements(root, genesis, planner)
    for row in rows:
        is_segment = row["level"] == ProofLevel.SEGMENT
        if is_segment and row["sha256"] not in accepted:
            yield Finding("proof_index", row["path"], "no epoch says that it is accepted")
        if not is_segment and (row["level"], row["statement_digest"]) not in planned:
            yield Finding("proof_index", row["path"], "does not follow from the accepted segments")
        where = f"{row['level']} windows {row['first_window']} to {row['end_window'] - 1}"
        for detail in _check_row(root, row, genesis, hasher, minimum_bits):
            yield Finding("proof_index", where, detail)


def _check_row(
    root: Path, row: Row, genesis: Genesis, hasher: Hasher, minimum_bits: int
) -> Iterable[str]:
    try:
        level = ProofLevel(row["level"])
        proof = proof_path(root, level, row["statement_digest"]).read_bytes()
        if level is not ProofLevel.SEGMENT:
            said = read_said(row["statement"])
            verify_said(said, proof, hasher, minimum_bits, is_wrapped=level is ProofLevel.DAY)
        wanted = index_row(level, row["statement"], proof, genesis, hasher)
    except OSError as error:
        return [f"{row['path']} cannot be read: {error.strerror}"]
    except (ProofError, WireError, ValueError) as error:
        return [str(error)]
    if wanted["chain"] != genesis.chain:
        return ["is of another chain"]
    different = [name for name in wanted if wanted[name] != row[name]]
    return [f"its columns differ from its statement or file: {', '.join(different)}"] * bool(
        different
    )
