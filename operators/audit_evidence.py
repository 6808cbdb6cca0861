"""Recomputes what stands beside an exported epoch's blocks: proofs, votes, receipts, dead letters."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from operators.audit_blocks import BlockAuditor
from operators.audit_findings import EpochTables, Finding
from operators.consensus_messages import decode_message
from operators.export_rows import vote_row
from operators.proof_chain import ends_at, follows
from operators.proof_files import proof_path
from proving.backends.port import Hasher
from proving.errors import ProofError
from proving.segment_proofs import verify_segment
from schemas.block import Vote
from schemas.errors import WireError
from schemas.exports import PROOFS_EXPORT, VOTES_EXPORT
from schemas.job import ProofLevel, job_id_of
from schemas.receipt import ReceiptState
from schemas.rejection import RejectionReason
from schemas.statement import Boundary, SegmentStatement
from schemas.tables import RECEIPTS, REJECTED, WINDOWS


@dataclass(slots=True)
class ProofAudit:
    """What became of an epoch's proofs.

    Attributes:
        at: Where the proven ledger stands after them.
        count: Proofs that hold.
        bits: Least proven soundness among them, or None.
        findings: What is wrong.
        is_complete: Whether every segment of every window has an accepted proof, whatever that proof is worth.
    """

    at: Boundary
    count: int
    bits: int | None
    findings: list[Finding]
    is_complete: bool = True


def check_proofs(
    tables: EpochTables,
    root: Path,
    at: Boundary,
    blocks: BlockAuditor,
    *,
    hasher: Hasher,
    minimum_bits: int,
) -> ProofAudit:
    """Verifies an epoch's accepted proofs from their files and that they chain over all its windows.

    Args:
        tables: The epoch.
        root: Holds the `proofs` folder.
        at: Where the proven ledger stands before the epoch.
        blocks: Has recomputed the epoch's blocks.
        hasher: Poseidon2.
        minimum_bits: Proven bits that a proof needs.
    """
    audit = ProofAudit(at, 0, None, [])
    rows = [row for row in tables.rows(PROOFS_EXPORT) if row["accepted"]]
    segments = {row["window"]: row["segments"] for row in tables.rows(WINDOWS)}
    for window in sorted({blocks.genesis.window_of(header.slot) for header in blocks.headers}):
        own = [row for row in rows if row["window"] == window]
        numbers = [row["segment"] for row in own]
        if numbers != list(range(segments.get(window, 0))) or not numbers:
            audit.is_complete = False
            audit.findings.append(
                Finding("proofs", f"window {window}", f"segments {numbers} are not all of it")
            )
            continue
        for row in own:
            statement = _check_proof(audit, row, root, hasher, minimum_bits)
            if statement is None:
                continue
            committee = blocks.identity.committee
            chain = (committee.chain, committee.shard, blocks.genesis.shards)
            if (statement.chain, statement.shard, statement.shards) != chain:
                audit.findings.append(Finding("proofs", _name(row), "is of another chain or shard"))
            if not follows(statement, audit.at):
                audit.findings.append(
                    Finding("proofs", _name(row), "does not begin where the one before ended")
                )
            audit.at = statement.after
        last = [h for h in blocks.headers if blocks.genesis.window_of(h.slot) == window][-1]
        if not ends_at(audit.at, last, hasher):
            audit.findings.append(
                Finding("proofs", f"window {window}", "do not end in the state of its last block")
            )
    return audit


def _check_proof(
    audit: ProofAudit, row: dict[str, Any], root: Path, hasher: Hasher, minimum_bits: int
) -> SegmentStatement | None:
    def find(detail: str) -> None:
        audit.findings.append(Finding("proofs", _name(row), detail))

    path = proof_path(root, ProofLevel.SEGMENT, row["statement_digest"])
    if row["path"] != path.relative_to(root).as_posix() or row["level"] != ProofLevel.SEGMENT:
        find("its path or level is not that of its statement")
    try:
        data = path.read_bytes()
    except OSError as error:
        find(f"{path} cannot be read: {error.strerror}")
        return None
    if (hashlib.sha256(data).digest(), len(data)) != (row["sha256"], row["bytes"]):
        find("the file's bytes are not those that were accepted")
    try:
        statement, verdict = verify_segment(data, hasher, minimum_bits)
    except ProofError as error:
        find(str(error))
        return None
    place = (statement.shard, statement.window, statement.segment)
    said = (row["statement"], row["job_id"], row["window"], row["segment"], row["proven_bits"])
    preimage = statement.preimage()
    job_id = job_id_of(ProofLevel.SEGMENT, place, preimage)
    if said != (preimage, job_id, *place[1:], verdict.proven_bits):
        find("shows another statement than its row says")
    audit.count += 1
    audit.bits = min(verdict.proven_bits, audit.bits or verdict.proven_bits)
    return statement


def check_votes(tables: EpochTables, blocks: BlockAuditor) -> Iterator[Finding]:
    """Yields votes that are not what their columns say or are not signed by whom they name."""
    committee = blocks.identity.committee
    votes: list[Vote] = []
    for position, row in enumerate(tables.rows(VOTES_EXPORT)):
        try:
            vote = decode_message(row["message"])
        except WireError as error:
            yield Finding("votes", f"row {position}", str(error))
            continue
        if not isinstance(vote, Vote) or vote.signer >= committee.size:
            yield Finding("votes", f"row {position}", "is no vote of the committee")
            continue
        if vote_row(vote, row["message"], row["append_millis"]) != row:
            yield Finding("votes", f"row {position}", "its columns differ from its message")
        votes.append(vote)
    claims = [(v.signer, v.ballot.signed_under(committee.context), v.signature) for v in votes]
    good = blocks.identity.verifier.verify_many(claims) if claims else []
    for vote, is_good in zip(votes, good, strict=True):
        if not is_good:
            where = f"view {vote.ballot.view} validator {vote.signer}"
            yield Finding("votes", where, "its signature does not verify")


def check_receipts(tables: EpochTables, blocks: BlockAuditor) -> Iterator[Finding]:
    """Yields where the receipts are not exactly one per executed transaction, at its height."""
    final = [row for row in tables.rows(RECEIPTS) if row["state"] == ReceiptState.BFT_FINAL]
    heights = {row["digest"]: row["height"] for row in final}
    if len(heights) != len(final) or heights != blocks.digests:
        yield Finding("receipts", tables.folder.name, "are not one for each executed transaction")
    views = {header.height: header for header in blocks.headers}
    for row in final:
        header = views.get(row["height"])
        if header is None:
            continue
        window = blocks.genesis.window_of(header.slot)
        if (row["window"], row["epoch"]) != (window, blocks.genesis.epoch_of(window)):
            yield Finding("receipts", f"height {row['height']}", "names another window or epoch")


def check_rejections(tables: EpochTables) -> Iterator[Finding]:
    """Yields dead letters with a reason that nothing gives, or a digest that is not of their bytes."""
    reasons = {reason.value for reason in RejectionReason}
    for position, row in enumerate(tables.rows(REJECTED)):
        if row["reason"] not in reasons:
            yield Finding("rejected", f"row {position}", f"unknown reason {row['reason']!r}")


def _name(row: dict[str, Any]) -> str:
    return f"window {row['window']} segment {row['segment']}"
