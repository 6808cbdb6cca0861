"""Counting votes of one view, and judging certificates and evidence.

A vote is counted once per validator and phase; a second, different one becomes evidence and is not counted.
So what a Byzantine validator can make others keep is bounded by four signatures per view.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass, field
from enum import StrEnum

from operators.consensus_ports import Signer, Verifier
from schemas.block import (
    Ballot,
    Certificate,
    Equivocation,
    Phase,
    Proposal,
    ValidatorSet,
    Vote,
    make_evidence,
    nullify_ballot,
    offence_of,
    signing_context,
)
from schemas.errors import EclipticaError

JOURNAL_DOMAIN = b"ecliptica/vote-journal/1"


@dataclass(frozen=True, slots=True)
class Committee:
    """The place a consensus instance works in: chain, shard, epoch and who votes.

    Attributes:
        chain: Chain number.
        shard: Shard number; the beacon has its own.
        epoch: Epoch of the validator set.
        validators: The validator set.
        context: Prefix of every signed byte string, derived.
    """

    chain: int
    shard: int
    epoch: int
    validators: ValidatorSet
    context: bytes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        context = signing_context(self.chain, self.shard, self.epoch, self.validators)
        object.__setattr__(self, "context", context)

    @property
    def size(self) -> int:
        """Number of validators."""
        return len(self.validators.keys)

    def journal_identity(self, validator: int) -> bytes:
        """Returns 32 bytes that name chain, shard and key: whose vote journal a file is, over all epochs."""
        place = JOURNAL_DOMAIN + struct.pack("<II", self.chain, self.shard)
        return hashlib.sha256(place + self.validators.keys[validator]).digest()

    def leader(self, view: int) -> int:
        """Returns the index of the validator that proposes in `view`: plain rotation."""
        return view % self.size

    def skip(self, view: int) -> Ballot:
        """Returns the ballot that nullifies a view."""
        return nullify_ballot(self.chain, self.shard, self.epoch, view)


class CertificateFlaw(StrEnum):
    """Why a well-formed certificate or piece of evidence does not hold."""

    WRONG_CHAIN = "wrong_chain"
    WRONG_SHARD = "wrong_shard"
    WRONG_EPOCH = "wrong_epoch"
    UNKNOWN_SIGNER = "unknown_signer"
    TOO_FEW_SIGNERS = "too_few_signers"
    BAD_SIGNATURE = "bad_signature"


class CertificateRejected(EclipticaError, ValueError):
    """A certificate or piece of evidence that does not hold for this committee.

    Attributes:
        flaw: Why.
    """

    def __init__(self, flaw: CertificateFlaw, detail: str) -> None:
        super().__init__(f"{flaw}: {detail}")
        self.flaw = flaw


def place_flaw(chain: int, shard: int, epoch: int, committee: Committee) -> CertificateFlaw | None:
    """Returns why a record does not belong to a committee, or None."""
    if chain != committee.chain:
        return CertificateFlaw.WRONG_CHAIN
    if shard != committee.shard:
        return CertificateFlaw.WRONG_SHARD
    if epoch != committee.epoch:
        return CertificateFlaw.WRONG_EPOCH
    return None


def certificate_flaw(certificate: Certificate, committee: Committee) -> CertificateFlaw | None:
    """Returns what is wrong with a certificate apart from its signatures, or None."""
    ballot = certificate.ballot
    flaw = place_flaw(ballot.chain, ballot.shard, ballot.epoch, committee)
    if flaw is not None:
        return flaw
    if certificate.signatures[-1][0] >= committee.size:
        return CertificateFlaw.UNKNOWN_SIGNER
    if len(certificate.signatures) < committee.validators.quorum:
        return CertificateFlaw.TOO_FEW_SIGNERS
    return None


def check_certificate(certificate: Certificate, committee: Committee, verifier: Verifier) -> None:
    """Checks that a quorum of a committee signed a ballot.

    Args:
        certificate: From `decode_certificate`; form and order of signers are already canonical.
        committee: Chain, shard, epoch and validator set that the caller expects.
        verifier: Checks signatures of exactly this validator set.

    Raises:
        CertificateRejected: Another place, an unknown signer, fewer than a quorum, or a bad signature.
    """
    flaw = certificate_flaw(certificate, committee)
    if flaw is not None:
        raise CertificateRejected(flaw, f"view {certificate.ballot.view}")
    message = certificate.ballot.signed_bytes(committee.validators)
    claims = [(signer, message, signature) for signer, signature in certificate.signatures]
    for (signer, _, _), good in zip(claims, verifier.verify_many(claims), strict=True):
        if not good:
            raise CertificateRejected(CertificateFlaw.BAD_SIGNATURE, f"of validator {signer}")


def check_evidence(evidence: Equivocation, committee: Committee, verifier: Verifier) -> None:
    """Checks that one validator of a committee signed both of two contradicting votes.

    Raises:
        CertificateRejected: Another place, an unknown signer, or a bad signature.
    """
    ballot, signer = evidence.first.ballot, evidence.first.signer
    flaw = place_flaw(ballot.chain, ballot.shard, ballot.epoch, committee)
    if flaw is None and signer >= committee.size:
        flaw = CertificateFlaw.UNKNOWN_SIGNER
    if flaw is not None:
        raise CertificateRejected(flaw, f"view {ballot.view}")
    claims = [
        (signer, vote.ballot.signed_bytes(committee.validators), vote.signature)
        for vote in (evidence.first, evidence.second)
    ]
    if not all(verifier.verify_many(claims)):
        raise CertificateRejected(CertificateFlaw.BAD_SIGNATURE, f"of validator {signer}")


def evidence_between(one: Certificate, other: Certificate) -> tuple[Equivocation, ...]:
    """Returns who signed both of two certificates that no honest validator signs both: at least f + 1 of n."""
    mine = {vote.signer: vote for vote in one.votes()}
    pairs = [(mine[vote.signer], vote) for vote in other.votes() if vote.signer in mine]
    return tuple(make_evidence(a, b) for a, b in pairs if offence_of(a, b) is not None)


class ViewRecord:
    """Everything known of one view: proposals, votes, certificates, and one's own signatures.

    Attributes:
        view: The view.
        proposals: By block hash, in order of arrival; the caller bounds them.
        own: One's own signature per phase; what it holds may never be contradicted.
        certificates: At most one per phase.
    """

    __slots__ = ("_first", "_tallies", "certificates", "own", "proposals", "view")

    def __init__(self, view: int) -> None:
        self.view = view
        self.proposals: dict[bytes, Proposal] = {}
        self.own: dict[Phase, Vote] = {}
        self.certificates: dict[Phase, Certificate] = {}
        self._first: dict[tuple[Phase, int], Vote] = {}
        self._tallies: dict[Ballot, dict[int, bytes]] = {}

    @property
    def is_empty(self) -> bool:
        """Says whether nobody has done anything in this view."""
        return not (self._first or self.proposals)

    @property
    def is_nullified(self) -> bool:
        """Says whether a quorum skipped the view."""
        return Phase.NULLIFY in self.certificates

    @property
    def certified_hash(self) -> bytes | None:
        """Hash of the block that a quorum notarised or finalised in this view, or None."""
        for phase in (Phase.FINALIZE, Phase.NOTARIZE):
            certificate = self.certificates.get(phase)
            if certificate is not None:
                return certificate.ballot.block_hash
        return None

    def vote_of(self, phase: Phase, signer: int) -> Vote | None:
        """Returns the vote of a validator that counts in a phase."""
        return self._first.get((phase, signer))

    def signers_of(self, ballot: Ballot) -> int:
        """Returns how many validators cast a ballot."""
        return len(self._tallies.get(ballot, ()))

    def add(self, vote: Vote) -> Equivocation | None:
        """Counts a verified vote, or returns the evidence that it contradicts an earlier one."""
        key = (vote.ballot.phase, vote.signer)
        earlier = self._first.get(key)
        if earlier is not None:
            return None if earlier.ballot == vote.ballot else make_evidence(earlier, vote)
        self._first[key] = vote
        self._tallies.setdefault(vote.ballot, {})[vote.signer] = vote.signature
        return self._contradiction(vote)

    def _contradiction(self, vote: Vote) -> Equivocation | None:
        other = {Phase.NULLIFY: Phase.FINALIZE, Phase.FINALIZE: Phase.NULLIFY}.get(
            vote.ballot.phase
        )
        found = None if other is None else self._first.get((other, vote.signer))
        return None if found is None else make_evidence(found, vote)

    def assemble(self, ballot: Ballot, quorum: int) -> Certificate | None:
        """Returns the certificate of a ballot that a quorum has cast, unless one is already known."""
        tally = self._tallies.get(ballot)
        if tally is None or len(tally) < quorum or ballot.phase in self.certificates:
            return None
        return Certificate(ballot, tuple(sorted(tally.items())))

    def state_lines(self) -> list[bytes]:
        """Returns canonical bytes of the votes counted and the certificates known, sorted."""
        votes = [
            b"%d %d " % (phase, signer) + vote.ballot.to_bytes()
            for (phase, signer), vote in self._first.items()
        ]
        held = [
            b"certificate %d" % phase + c.ballot.block_hash
            for phase, c in self.certificates.items()
        ]
        return sorted(votes) + sorted(held)

    def excluded_by(self, certificate: Certificate) -> Certificate | None:
        """Returns a certificate of the view that cannot exist beside this one with at most f Byzantine validators.

        A nullified view has no final block, and certificates of blocks are of one block.
        """
        ballot = certificate.ballot
        for other in self.certificates.values():
            phases = {ballot.phase, other.ballot.phase}
            if Phase.NULLIFY in phases:
                conflict = phases == {Phase.NULLIFY, Phase.FINALIZE}
            else:
                conflict = other.ballot.block_hash != ballot.block_hash
            if conflict:
                return other
        return None

    def voters_in(self, phase: Phase, size: int) -> list[int]:
        """Returns which of `size` validators have voted in a phase."""
        return [signer for signer in range(size) if self.vote_of(phase, signer) is not None]

    def contradictions(self, certificate: Certificate) -> list[Equivocation]:
        """Returns the evidence between a verified certificate and the votes counted here."""
        phase = certificate.ballot.phase
        others = {
            Phase.NULLIFY: (Phase.FINALIZE,),
            Phase.FINALIZE: (Phase.FINALIZE, Phase.NULLIFY),
        }.get(phase, (phase,))
        found = []
        for other in others:
            for signer, signature in certificate.signatures:
                vote = self._first.get((other, signer))
                if vote is not None and vote.ballot != certificate.ballot:
                    found.append(make_evidence(vote, Vote(certificate.ballot, signer, signature)))
        return found


_CONTRADICTED_BY = {
    Phase.PROPOSE: Phase.NULLIFY,
    Phase.NOTARIZE: Phase.NULLIFY,
    Phase.FINALIZE: Phase.NULLIFY,
    Phase.NULLIFY: Phase.FINALIZE,
}


def sign_once(
    record: ViewRecord, ballot: Ballot, committee: Committee, own: int, signer: Signer
) -> Vote | None:
    """Signs a ballot, or returns None when an earlier signature of one's own in the view stands against it.

    The one place where a validator's key is used for a vote: one signature per phase, none on a block after
    nullify, no nullify after finalize.
    """
    phase = ballot.phase
    if phase in record.own or _CONTRADICTED_BY[phase] in record.own:
        return None
    signature = signer.sign(ballot.signed_under(committee.context))
    vote = record.own[phase] = Vote(ballot, own, signature)
    return vote
