"""Equivocations as the beacon punishes them: evidence judged, what a slash took, and what waits for a block.

Whether evidence holds depends on its bytes, the chain's committees and the state of fraud alone, so every validator
comes to the same. What waits only decides what a leader proposes; what is in a block is judged anew by everyone.
"""

from __future__ import annotations

import hashlib
import logging
import struct
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from operators.consensus_messages import decode_evidence
from operators.consensus_ports import Verifier
from operators.consensus_votes import CertificateRejected, Committee, check_evidence, place_flaw
from operators.event_log import StoredRecord
from operators.fraud_rules import FraudRules
from operators.fraud_state import (
    NOBODY,
    BondLocked,
    Deposited,
    EquivocationShown,
    FraudState,
    Slashed,
)
from operators.record_input import input_of
from operators.rule_state import digest
from schemas.block import MAX_EVIDENCE_BYTES, Equivocation
from schemas.errors import InvariantError, WireError
from schemas.genesis import Genesis
from schemas.refusal import EquivocationRefusal
from schemas.tables import CONSENSUS, SchemaRegistry

PARTY_DOMAIN = b"ecliptica/party/1"
OFFENCE_DOMAIN = b"ecliptica/offence/1"

MAX_WAITING = 4
"""Offences of one validator that wait at once: anybody can contradict himself in any number of views, and as a rule
the first costs all that he has."""

_OFFENCE = struct.Struct("<IIQQ")

_logger = logging.getLogger(__name__)


def party_of(key: bytes) -> bytes:
    """Returns the 32 bytes that name the owner of a public key in the books of the beacon."""
    return hashlib.sha256(PARTY_DOMAIN + key).digest()


def genesis_fraud(genesis: Genesis) -> FraudState:
    """Returns the state of fraud before the beacon's first block: the validators' bonds, or nothing.

    Raises:
        InvariantError: The rules refuse a bond that the document was allowed to have.
    """
    state, rules = FraudState(), FraudRules(genesis.fraud_terms)
    if genesis.bonds is None:
        return state
    for key, units in zip(genesis.validator_keys, genesis.bonds.units, strict=True):
        party = party_of(key)
        for event in (Deposited(party, units), BondLocked(party, units)):
            step = rules.step(state, event)
            if step.refusal is not None:
                raise InvariantError(f"the genesis' bonds are refused: {step.refusal}")
            state = step.state
    return state


@dataclass(frozen=True, slots=True)
class Slash:
    """A validator that was slashed for an equivocation.

    Attributes:
        evidence: What it did.
        effect: What it cost, and who has it now.
    """

    evidence: Equivocation
    effect: Slashed

    @property
    def pooled(self) -> int:
        """Units that went to the insurance pool."""
        return self.effect.units - self.effect.reward - self.effect.burned


Punished = tuple[FraudState, Slash]
"""The state after a slash, and the slash."""


@dataclass(frozen=True, slots=True)
class EquivocationRules:
    """Who may be punished for what on a chain.

    Attributes:
        committees: Committee of each shard and of the beacon, by shard number; all of one chain, at least one.
        verifier: Checks signatures of their validators, who are the same in all of them.
        rules: The machine with the chain's terms.
        has_bonds: Whether the genesis document has bonds; if not, roots do not cover the state of fraud.
    """

    committees: Mapping[int, Committee]
    verifier: Verifier
    rules: FraudRules
    has_bonds: bool

    def judge(self, data: bytes, state: FraudState) -> Punished | EquivocationRefusal:
        """Returns what evidence leads to in a state, or why to nothing. Costs two signatures at most; no side effects."""
        evidence = self.read(data)
        if isinstance(evidence, EquivocationRefusal):
            return evidence
        punished = self.punish(evidence, state)
        if isinstance(punished, EquivocationRefusal):
            return punished
        return self.check(evidence) or punished

    def read(self, data: bytes) -> Equivocation | EquivocationRefusal:
        """Returns evidence about a member of a committee of this chain, signatures not checked."""
        if len(data) > MAX_EVIDENCE_BYTES:
            return EquivocationRefusal.OVERSIZED
        try:
            evidence = decode_evidence(data)
        except WireError:
            return EquivocationRefusal.MALFORMED
        ballot = evidence.first.ballot
        of_chain = next(iter(self.committees.values()))
        committee = self.committees.get(ballot.shard)
        flaw = place_flaw(ballot.chain, ballot.shard, ballot.epoch, committee or of_chain)
        if flaw is not None:
            return EquivocationRefusal(flaw.value)
        if committee is None or evidence.first.signer >= committee.size:
            return EquivocationRefusal.UNKNOWN_SIGNER
        return evidence

    def punish(self, evidence: Equivocation, state: FraudState) -> Punished | EquivocationRefusal:
        """Returns what evidence from `read` leads to if its signatures hold, which is not checked here."""
        offender, offence = self.offender(evidence), self.offence(evidence)
        step = self.rules.step(state, EquivocationShown(offence, offender, NOBODY))
        if step.refusal is not None:
            return EquivocationRefusal(step.refusal.value)
        for effect in step.effects:
            if isinstance(effect, Slashed):
                return step.state, Slash(evidence, effect)
        raise InvariantError("an equivocation was taken and nobody slashed")

    def check(self, evidence: Equivocation) -> EquivocationRefusal | None:
        """Returns whether a signature of evidence from `read` does not hold, or None if both do; two signatures."""
        try:
            check_evidence(evidence, self._committee(evidence), self.verifier)
        except CertificateRejected as rejected:
            return EquivocationRefusal(rejected.flaw.value)
        return None

    def offender(self, evidence: Equivocation) -> bytes:
        """Returns whose bond evidence from `read` is about, 32 bytes."""
        return party_of(self._committee(evidence).validators.keys[evidence.first.signer])

    def offence(self, evidence: Equivocation) -> bytes:
        """Returns the 32 bytes that name an offence: one per validator, shard, epoch and view, whichever votes show it."""
        chain, shard, epoch, view, _ = evidence.key
        place = _OFFENCE.pack(chain, shard, epoch, view)
        return hashlib.sha256(OFFENCE_DOMAIN + place + self.offender(evidence)).digest()

    def commitment(self, state: FraudState) -> bytes | None:
        """Returns what a block's root covers of a state: its digest, or None on a chain without bonds."""
        return digest(state) if self.has_bonds else None

    def _committee(self, evidence: Equivocation) -> Committee:
        return self.committees[evidence.first.ballot.shard]


@dataclass(frozen=True, slots=True)
class _Waiting:
    """Evidence that holds: where it was reported, its bytes, what they say and whose bond they are about."""

    offset: int
    data: bytes
    evidence: Equivocation
    offender: bytes


@dataclass(slots=True)
class EvidenceShelf:
    """Evidence that was reported and holds, until a block has punished it.

    Attributes:
        rules: Who may be punished for what.
        end: Offset after the last record taken.
        registry: The schemas that can be read.
        refused: What was reported in vain, by the name of the reason.
    """

    rules: EquivocationRules
    end: int = 0
    registry: SchemaRegistry = field(default_factory=SchemaRegistry)
    refused: Counter[str] = field(default_factory=Counter)
    _waiting: dict[bytes, _Waiting] = field(default_factory=dict)

    def take(self, record: StoredRecord, state: FraudState) -> None:
        """Takes a record of `faults`; what is no evidence, or none that can be punished in a state, is passed over."""
        self.end = record.offset + 1
        batch = input_of(record, CONSENSUS, self.registry).batch
        reports: list[bytes] = [] if batch is None else batch.column("message").to_pylist()
        for data in reports:
            reason = self._refuse(data, record.offset, state)
            if reason is not None:
                self.refused[reason] += 1
                ids = {"topic": record.topic, "offset": record.offset}
                _logger.info("evidence is refused: %s", reason, extra=ids)

    def next(self, state: FraudState, limit: int) -> tuple[tuple[bytes, ...], FraudState]:
        """Returns up to `limit` pieces of evidence for a block above a state, and the state after them."""
        chosen: list[bytes] = []
        for entry in self._waiting.values():
            if len(chosen) == limit:
                break
            punished = self.rules.punish(entry.evidence, state)
            if not isinstance(punished, EquivocationRefusal):
                chosen.append(entry.data)
                state = punished[0]
        return tuple(chosen), state

    def forget(self, state: FraudState) -> None:
        """Drops what cannot be punished any more after a final block."""
        self._waiting = {
            offence: entry
            for offence, entry in self._waiting.items()
            if not isinstance(self.rules.punish(entry.evidence, state), EquivocationRefusal)
        }

    def first_needed(self) -> int:
        """Returns the lowest offset of evidence that waits."""
        return min((entry.offset for entry in self._waiting.values()), default=self.end)

    def _refuse(self, data: bytes, offset: int, state: FraudState) -> EquivocationRefusal | None:
        """Keeps evidence, or returns why not; a report of what waits already is no news and refused as if punished."""
        evidence = self.rules.read(data)
        if isinstance(evidence, EquivocationRefusal):
            return evidence
        offence, offender = self.rules.offence(evidence), self.rules.offender(evidence)
        others = [entry.offender for entry in self._waiting.values()]
        if offence in self._waiting or others.count(offender) >= MAX_WAITING:
            return EquivocationRefusal.ALREADY_PUNISHED
        punished = self.rules.punish(evidence, state)
        if isinstance(punished, EquivocationRefusal):
            return punished
        flaw = self.rules.check(evidence)
        if flaw is None:
            self._waiting[offence] = _Waiting(offset, data, evidence, offender)
        return flaw


def slash_rows(
    slashes: Sequence[Slash], height: int, block_hash: bytes, at_millis: int
) -> list[dict[str, object]]:
    """Returns what a final beacon block took from whom, as rows of `tables.SLASHES`."""
    return [
        {
            "height": height,
            "block_hash": block_hash,
            "shard": slash.evidence.first.ballot.shard,
            "epoch": slash.evidence.first.ballot.epoch,
            "view": slash.evidence.first.ballot.view,
            "validator": slash.evidence.first.signer,
            "kind": slash.evidence.offence.name.lower(),
            "offender": slash.effect.offender,
            "offence": slash.effect.offence,
            "units": slash.effect.units,
            "reporter": slash.effect.reporter or None,
            "reward": slash.effect.reward,
            "burned": slash.effect.burned,
            "pooled": slash.pooled,
            "at_millis": at_millis,
        }
        for slash in slashes
    ]
