"""Judges evidence of faults: a pure function from bytes, a claim and a shard's facts to a verdict.

Checks go from cheap to dear: size, form, place, claim, parent, certificate, then the fault itself. See operators/rules.md
"Evidence".
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from operators.consensus_messages import decode_certificate
from operators.consensus_votes import CertificateRejected, check_certificate
from operators.fault_context import FaultContext, RefusedEvidence
from operators.fault_entries import judge_transaction
from operators.fault_replay import has_wrong_place, judge_transition
from operators.fraud_state import Claim, FaultKind
from schemas.block import Phase
from schemas.errors import WireError
from schemas.fault import (
    MAX_EVIDENCE_BYTES,
    Accused,
    BlockFlaw,
    Evidence,
    FaultClaim,
    TransactionFault,
    decode_evidence,
)
from schemas.refusal import EvidenceRefusal
from schemas.wire import Writer

EVIDENCE_DOMAIN = b"ecliptica/evidence/1"
CLAIM_DOMAIN = b"ecliptica/fault-claim/1"


@dataclass(frozen=True, slots=True)
class FaultVerdict:
    """What evidence came to.

    Attributes:
        evidence: Its digest: by it a second look at the same is refused.
        block: Hash of the block that the claim is about.
        claim: What evidence says is wrong, or None if it could not be read.
        proposer: Index of who is liable, in the validator set of `committee_epoch`; None if it could not be read.
        committee_epoch: Epoch of that set, or None.
        refusal: Why nobody is convicted, or None: the fault is shown.
        detail: What to tell a person; not stable.
    """

    evidence: bytes
    block: bytes
    claim: FaultClaim | None = None
    proposer: int | None = None
    committee_epoch: int | None = None
    refusal: EvidenceRefusal | None = None
    detail: str = ""

    @property
    def is_fault(self) -> bool:
        """Whether the block is at fault."""
        return self.refusal is None

    @property
    def is_open(self) -> bool:
        """Whether the same evidence is to be judged again later: only a demand for a signature is."""
        return self.refusal is EvidenceRefusal.ANSWER_AWAITED


def kind_of(claim: FaultClaim) -> FaultKind:
    """Returns whether an accepted proof answers a claim: it shows the post-state and nothing else."""
    is_state = claim is BlockFlaw.WRONG_POST_STATE_ROOT
    return FaultKind.TRANSITION if is_state else FaultKind.TRANSACTION


def evidence_digest(data: bytes) -> bytes:
    """Returns the identity of evidence."""
    return hashlib.sha256(EVIDENCE_DOMAIN + data).digest()


def claim_id(reporter: bytes, kind: FaultKind, block: bytes, data: bytes) -> bytes:
    """Returns the digest over everything in a claim."""
    writer = Writer().sized(reporter).sized(kind.encode()).sized(block)
    return hashlib.sha256(CLAIM_DOMAIN + writer.sized(data).finish()).digest()


def claim_for(data: bytes, reporter: bytes, context: FaultContext) -> Claim:
    """Returns the claim that goes with evidence.

    Raises:
        WireError: The bytes are no evidence.
    """
    evidence = decode_evidence(data)
    header = evidence.accused.header
    kind, block = kind_of(evidence.claim), header.block_hash()
    name = claim_id(reporter, kind, block, data)
    return Claim(name, reporter, kind, block, context.epoch_of(header), len(data))


def judge_fault(data: bytes, claim: Claim, context: FaultContext) -> FaultVerdict:
    """Judges evidence; never raises for anything that the bytes hold.

    Args:
        data: The evidence, untrusted.
        claim: What the reporter put a bond on.
        context: The shard that the claimed block is of.
    """
    if len(data) > MAX_EVIDENCE_BYTES:
        detail = f"{len(data)} bytes, at most {MAX_EVIDENCE_BYTES}"
        return FaultVerdict(b"", claim.block, refusal=EvidenceRefusal.OVERSIZED, detail=detail)
    name = evidence_digest(data)
    if name in context.judged:
        return FaultVerdict(name, claim.block, refusal=EvidenceRefusal.REPLAYED)
    try:
        evidence = decode_evidence(data)
    except WireError as error:
        return FaultVerdict(name, claim.block, refusal=EvidenceRefusal.MALFORMED, detail=str(error))
    header = evidence.accused.header
    refusal: EvidenceRefusal | None = None
    detail = ""
    try:
        _check_claim(evidence, data, claim, context)
        _check_parent(evidence.accused, context)
        _check_final(evidence.accused, context)
        _judge(evidence, context)
    except RefusedEvidence as refused:
        refusal, detail = refused.refusal, str(refused)
    return FaultVerdict(
        name, claim.block, evidence.claim, header.proposer, header.epoch, refusal, detail
    )


def _check_claim(evidence: Evidence, data: bytes, claim: Claim, context: FaultContext) -> None:
    """Checks that evidence is about what the claim names."""
    header, parameters = evidence.accused.header, context.parameters
    if (header.chain, header.shard) != (parameters.chain, parameters.shard):
        raise RefusedEvidence(EvidenceRefusal.WRONG_CHAIN, "a block of another chain or shard")
    if header.block_hash() != claim.block:
        raise RefusedEvidence(EvidenceRefusal.WRONG_BLOCK, "the claim names another block")
    if context.epoch_of(header) != claim.epoch:
        raise RefusedEvidence(EvidenceRefusal.WRONG_EPOCH, "the claim names another epoch")
    name = claim_id(claim.reporter, claim.kind, claim.block, data)
    said = (claim.kind, claim.id, claim.evidence_bytes)
    if (kind_of(evidence.claim), name, len(data)) != said:
        raise RefusedEvidence(EvidenceRefusal.WRONG_CLAIM, "the claim is of other evidence")


def _check_parent(accused: Accused, context: FaultContext) -> None:
    """Checks that the parent shown is the one that the header names."""
    header, parent = accused.header, accused.parent
    shown = context.first_parent if parent is None else parent.block_hash()
    if header.parent_hash != shown:
        raise RefusedEvidence(EvidenceRefusal.WRONG_PARENT, "the block stands on another one")


def _check_final(accused: Accused, context: FaultContext) -> None:
    """Checks that a quorum made the block final: the beacon has recorded it, or a certificate says so."""
    block = accused.header.block_hash()
    if not accused.certificate:
        if block not in context.final_blocks:
            raise RefusedEvidence(EvidenceRefusal.UNCERTIFIED, "nothing says that it is final")
        return
    known = context.committees.get(accused.header.epoch)
    if known is None:
        raise RefusedEvidence(EvidenceRefusal.FOREIGN_CERTIFICATE, "the committee is not known")
    committee, verifier = known
    try:
        certificate = decode_certificate(accused.certificate)
        ballot = certificate.ballot
        if (ballot.block_hash, ballot.phase) != (block, Phase.FINALIZE):
            raise RefusedEvidence(EvidenceRefusal.FOREIGN_CERTIFICATE, "of another block or phase")
        check_certificate(certificate, committee, verifier)
    except (WireError, CertificateRejected) as error:
        raise RefusedEvidence(EvidenceRefusal.FOREIGN_CERTIFICATE, str(error)) from error


def _judge(evidence: Evidence, context: FaultContext) -> None:
    """Returns if exactly what evidence claims is wrong."""
    accused = evidence.accused
    found: FaultClaim | None
    if has_wrong_place(accused.header, accused.parent):
        found = BlockFlaw.WRONG_PLACE
    elif evidence.claim is BlockFlaw.WRONG_PLACE:
        found = None
    elif isinstance(evidence, TransactionFault):
        found = judge_transaction(evidence, context)
    else:
        found = judge_transition(evidence, context)
    if found is None:
        raise RefusedEvidence(EvidenceRefusal.NO_FAULT, "nothing is wrong with what is shown")
    if found is not evidence.claim:
        raise RefusedEvidence(EvidenceRefusal.WRONG_CLAIM, f"it is {found} that is shown")
