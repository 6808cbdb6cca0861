"""The invariants of consensus, checked after every action of every honest validator of a simulation."""

from __future__ import annotations

from collections.abc import Collection

from operators.consensus_messages import decode_message, encode_certificate
from operators.consensus_ports import (
    Action,
    Alarm,
    Broadcast,
    Evidence,
    Finalized,
    Journal,
    Verifier,
)
from operators.consensus_votes import (
    CertificateRejected,
    Committee,
    check_certificate,
    check_evidence,
    evidence_between,
)
from schemas.block import Ballot, Block, Certificate, Phase, Proposal, Vote


class Checker:
    """Watches honest validators; `violations` stays empty while at most f are Byzantine.

    Attributes:
        violations: What was broken, in words, in order.
        disagreements: Pairs of final blocks of one height.
        final_blocks: First final block seen per height, with its certificate.
        heights: Height reached by each honest validator.
        offenders: Validators caught with evidence.
    """

    def __init__(
        self, committee: Committee, verifier: Verifier, honest: Collection[int], invalid: set[bytes]
    ) -> None:
        """Watches `honest` validators; `invalid` are block hashes that no application accepts."""
        self._committee = committee
        self._verifier = verifier
        self._honest = frozenset(honest)
        self._invalid = invalid
        self._cast: dict[tuple[int, int, Phase], Ballot] = {}
        self._journaled: set[tuple[int, bytes]] = set()
        self._proven: set[bytes] = set()
        self._slots: dict[int, int] = dict.fromkeys(honest, 0)
        self.violations: list[str] = []
        self.disagreements: list[tuple[Block, Certificate, Block, Certificate]] = []
        self.final_blocks: dict[int, tuple[Block, Certificate]] = {}
        self.heights: dict[int, int] = dict.fromkeys(honest, 0)
        self.offenders: set[int] = set()

    def watch(self, validator: int, action: Action) -> None:
        """Checks one action of an honest validator, in the order of execution."""
        if isinstance(action, Broadcast):
            self._on_broadcast(validator, action)
        elif isinstance(action, Journal):
            self._journaled.update((validator, record) for record in action.records)
        elif isinstance(action, Finalized):
            self._on_finalized(validator, action)
        elif isinstance(action, Evidence):
            self._on_evidence(action)
        elif isinstance(action, Alarm):
            self.violations.append(f"validator {validator} halted: {action.reason}")

    def _on_broadcast(self, validator: int, action: Broadcast) -> None:
        if action.kind not in {"vote", "proposal"}:
            return
        message = decode_message(action.message)
        vote = message.vote if isinstance(message, Proposal) else message
        if not isinstance(vote, Vote) or vote.signer != validator:
            return
        if (validator, action.message) not in self._journaled:
            self.violations.append(f"validator {validator} published before the journal")
        ballot = vote.ballot
        earlier = self._cast.setdefault((validator, ballot.view, ballot.phase), ballot)
        if earlier != ballot:
            self.violations.append(f"S6: validator {validator} equivocated in view {ballot.view}")
        contradiction = {Phase.NULLIFY: Phase.FINALIZE, Phase.FINALIZE: Phase.NULLIFY}
        other = contradiction.get(ballot.phase)
        if other is not None and (validator, ballot.view, other) in self._cast:
            self.violations.append(f"S5: validator {validator} finalised a skipped view")
        if ballot.phase is Phase.NOTARIZE and ballot.block_hash in self._invalid:
            self.violations.append(f"V1: validator {validator} notarised an invalid block")

    def _on_finalized(self, validator: int, action: Finalized) -> None:
        block, certificate = action.block, action.certificate
        height = block.header.height
        if height != self.heights[validator] + 1:
            self.violations.append(f"validator {validator} skipped to height {height}")
        if block.header.slot < self._slots[validator]:
            self.violations.append(f"validator {validator}: slots decrease at height {height}")
        self.heights[validator] = height
        self._slots[validator] = block.header.slot
        if block.hash in self._invalid:
            self.violations.append(f"V1: an invalid block is final at height {height}")
        self._check_once(certificate)
        known = self.final_blocks.setdefault(height, (block, certificate))
        if known[0].hash != block.hash:
            self.disagreements.append((*known, block, certificate))
            self.violations.append(f"S1: two final blocks at height {height}")

    def _check_once(self, certificate: Certificate) -> None:
        encoded = encode_certificate(certificate)
        if encoded in self._proven:
            return
        self._proven.add(encoded)
        try:
            check_certificate(certificate, self._committee, self._verifier)
        except CertificateRejected as error:
            self.violations.append(f"S3: a certificate does not hold: {error}")

    def _on_evidence(self, action: Evidence) -> None:
        signer = action.equivocation.first.signer
        self.offenders.add(signer)
        if signer in self._honest:
            self.violations.append(f"S6: evidence against honest validator {signer}")
        try:
            check_evidence(action.equivocation, self._committee, self._verifier)
        except CertificateRejected as error:
            self.violations.append(f"S6: evidence does not hold: {error}")

    def restarted(self, validator: int, height: int, slot: int) -> None:
        """Notes that a validator resumes from a final block."""
        self.heights[validator] = height
        self._slots[validator] = slot

    def disagreement_evidence(self) -> list[dict[str, object]]:
        """Returns each disagreement as JSON values, with who signed both sides where that is provable."""
        found: list[dict[str, object]] = []
        for block, certificate, other, other_certificate in self.disagreements:
            signed_both = set(certificate.signers) & set(other_certificate.signers)
            proven = evidence_between(certificate, other_certificate)
            found.append(
                {
                    "height": block.header.height,
                    "blocks": [block.hash.hex(), other.hash.hex()],
                    "views": [certificate.ballot.view, other_certificate.ballot.view],
                    "signers": [list(certificate.signers), list(other_certificate.signers)],
                    "signed_both": sorted(signed_both),
                    "equivocations": sorted({e.first.signer for e in proven}),
                }
            )
        return found
