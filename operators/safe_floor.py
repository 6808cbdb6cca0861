"""Above which view a validator may vote again that has lost its journal.

A validator signs in its own view only, and enters view v when a quorum has signed in view v - 1. What a quorum has signed
is on the log. So with m_i the highest view that validator i has signed on the log, the lost validator's view is at most
the quorum-th largest m_i, plus one; liars, fewer than a quorum, cannot push that bound up. A floor there and a margin
above it keep the validator from ever signing in a view in which it may have signed before. It waits until the others
have passed the floor.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from operators.consensus_messages import Chain, decode_message
from operators.consensus_node import MAX_MESSAGE_BYTES
from operators.consensus_ports import Verifier
from operators.consensus_votes import Committee, certificate_flaw, place_flaw
from operators.event_log import EventLog
from operators.log_schemas import registry_of
from operators.record_input import input_of
from schemas.block import Certificate, Phase, Proposal, Vote, block_ballot
from schemas.errors import EclipticaError, WireError
from schemas.tables import CONSENSUS

MARGIN_VIEWS = 64
"""Views above the bound: a log that has lost its last records in a power cut may lack some; at the fastest pace of 20
blocks a second these are 3 s, and a hasty append is synchronised more often than that."""

TAIL_RECORDS = 65_536
"""Records of each topic that are looked at, from its end: hours of votes of a small committee."""

READ_RECORDS = 512
CHECKED_AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class Signed:
    """One signature on the log, not checked yet.

    Attributes:
        signer: Index of the validator it claims.
        view: View it speaks of.
        message: What is signed.
        signature: The signature.
        at_millis: When the log stored it.
    """

    signer: int
    view: int
    message: bytes
    signature: bytes
    at_millis: int


@dataclass(frozen=True, slots=True)
class SignedViews:
    """What a committee has signed, by the tail of its log.

    Attributes:
        highest: Highest view with a signature that holds, by validator; 0 without one.
        last_millis: When the log stored the highest of each, UTC milliseconds; 0 without one.
        is_whole: Whether everything on the log was looked at.
    """

    highest: Sequence[int]
    last_millis: Sequence[int]
    is_whole: bool


def signed_views(
    log: EventLog, topics: Iterable[str], committee: Committee, verifier: Verifier
) -> SignedViews:
    """Returns the highest view that each validator has signed on the last records of the topics."""
    claims: dict[int, list[Signed]] = {index: [] for index in range(committee.size)}
    is_whole = True
    for topic in dict.fromkeys(topics):
        start = max(log.first_offset(topic), log.end_offset(topic) - TAIL_RECORDS)
        is_whole = is_whole and start == 0
        for claim in _claims(log, topic, start, committee):
            claims[claim.signer].append(claim)
    best = [_highest(found, verifier) for _, found in sorted(claims.items())]
    return SignedViews(
        [0 if one is None else one.view for one in best],
        [0 if one is None else one.at_millis for one in best],
        is_whole,
    )


def safe_floor(signed: SignedViews, own_index: int, quorum: int, margin: int = MARGIN_VIEWS) -> int:
    """Returns the floor of a validator's new journal.

    Args:
        signed: Read after the validator has stopped for good.
        own_index: Which validator.
        quorum: Signers that a certificate needs.
        margin: Views above the bound.

    Raises:
        EclipticaError: The tail of the log says too little: fewer than a quorum have signed there.
    """
    ranked = sorted(signed.highest, reverse=True)
    bound = ranked[quorum - 1]
    if not bound and not signed.is_whole:
        raise EclipticaError(
            "the log's last records hold the signatures of fewer than a quorum of validators",
            "replace the validator by one with a new key",
        )
    return max(bound + 1, signed.highest[own_index]) + margin


def _claims(log: EventLog, topic: str, start: int, committee: Committee) -> Iterator[Signed]:
    registry = registry_of(log)
    at, end = start, log.end_offset(topic)
    while at < end and (records := log.read(topic, at, READ_RECORDS)):
        for record in records:
            batch = input_of(record, CONSENSUS, registry).batch
            messages: list[bytes] = [] if batch is None else batch.column("message").to_pylist()
            for message in messages:
                for signer, view, said, signature in signatures_in(message, committee):
                    yield Signed(signer, view, said, signature, record.append_millis)
        at = records[-1].offset + 1


def signatures_in(data: bytes, committee: Committee) -> Iterator[tuple[int, int, bytes, bytes]]:
    """Yields signer, view, signed bytes and signature of whatever a message of this committee holds."""
    if len(data) > MAX_MESSAGE_BYTES:
        return
    try:
        message = decode_message(data)
    except WireError:
        return
    if isinstance(message, Chain):
        if message.certificate is None:
            return
        message = message.certificate
    if isinstance(message, Certificate):
        if certificate_flaw(message, committee) is None:
            ballot, said = message.ballot, message.ballot.signed_under(committee.context)
            for signer, signature in message.signatures:
                yield signer, ballot.view, said, signature
        return
    if isinstance(message, Vote):
        ballot, signer, signature = message.ballot, message.signer, message.signature
    elif isinstance(message, Proposal):
        ballot = block_ballot(message.block, Phase.PROPOSE)
        signer, signature = message.block.header.proposer, message.signature
    else:
        return  # a status is no vote
    is_theirs = place_flaw(ballot.chain, ballot.shard, ballot.epoch, committee) is None
    if is_theirs and signer < committee.size:
        yield signer, ballot.view, ballot.signed_under(committee.context), signature


def _highest(claims: Iterable[Signed], verifier: Verifier) -> Signed | None:
    """Returns the claim of the highest view whose signature holds; forged ones above it are passed over."""
    by_view: Mapping[tuple[int, bytes], Signed] = {
        (claim.view, claim.signature): claim for claim in claims
    }
    ordered = sorted(by_view.values(), key=lambda claim: claim.view, reverse=True)
    for first in range(0, len(ordered), CHECKED_AT_ONCE):
        piece = ordered[first : first + CHECKED_AT_ONCE]
        verdicts = verifier.verify_many([(one.signer, one.message, one.signature) for one in piece])
        for claim, is_good in zip(piece, verdicts, strict=True):
            if is_good:
                return claim
    return None
