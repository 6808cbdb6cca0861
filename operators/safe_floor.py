"""Above which view a validator may vote again that has lost its journal.

A validator signs in its own view only, and enters view v when a quorum has signed in view v - 1. What a quorum has signed
is on the log. So with m_i the highest view that validator i has signed on the log, the lost validator's view is at most
the quorum-th largest m_i, plus one; liars, fewer than a quorum, cannot push that bound up. A floor there and a margin
above it keep the validator from ever signing in a view in which it may have signed before. It waits until the others
have passed the floor.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from operators.consensus_messages import Chain, Status, decode_message, status_signed_bytes
from operators.consensus_node import MAX_MESSAGE_BYTES
from operators.consensus_ports import Verifier
from operators.consensus_votes import Committee, certificate_flaw, place_flaw
from operators.event_log import EventLog
from operators.log_schemas import registry_of
from operators.record_input import input_of
from schemas.block import Ballot, Certificate, Phase, Proposal, Vote, block_ballot
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
        at_millis: When the log first stored it: who repeats another's signature tells nothing new of it.
        is_vote: Whether it binds in its view; a status does not, and only says that its validator runs.
    """

    signer: int
    view: int
    message: bytes
    signature: bytes
    at_millis: int
    is_vote: bool = True


@dataclass(frozen=True, slots=True)
class SignedViews:
    """What a committee has signed, by the tail of its log.

    Attributes:
        highest: Highest view with a signature that holds, by validator; 0 without one.
        last_millis: When the log first stored the newest signature of each, statuses included, UTC milliseconds; 0 without
            one. Survivors that wait repeat old certificates without end, and a validator that waits signs new statuses.
        is_whole: Whether everything on the log was looked at.
    """

    highest: Sequence[int]
    last_millis: Sequence[int]
    is_whole: bool


def signed_views(
    log: EventLog, topics: Iterable[str], committee: Committee, verifier: Verifier
) -> SignedViews:
    """Returns the highest view that each validator has signed on the last records of the topics."""
    claims: dict[int, dict[tuple[bytes, bytes], Signed]] = {
        index: {} for index in range(committee.size)
    }
    is_whole = True
    for topic in dict.fromkeys(topics):
        start = max(log.first_offset(topic), log.end_offset(topic) - TAIL_RECORDS)
        is_whole = is_whole and start == 0
        for claim in _claims(log, topic, start, committee):
            known = claims[claim.signer]
            place = (claim.message, claim.signature)
            if place not in known or claim.at_millis < known[place].at_millis:
                known[place] = claim
    found = [list(known.values()) for _, known in sorted(claims.items())]
    highest = [
        _first_good(sorted(_votes(own), key=lambda one: one.view, reverse=True), verifier)
        for own in found
    ]
    newest = [
        _first_good(sorted(own, key=lambda one: one.at_millis, reverse=True), verifier)
        for own in found
    ]
    return SignedViews(
        [0 if one is None else one.view for one in highest],
        [0 if one is None else one.at_millis for one in newest],
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
                yield from signatures_in(message, committee, record.append_millis)
        at = records[-1].offset + 1


def signatures_in(data: bytes, committee: Committee, at_millis: int) -> Iterator[Signed]:
    """Yields the signatures that a message of this committee holds."""
    if len(data) > MAX_MESSAGE_BYTES:
        return
    try:
        message = decode_message(data)
    except WireError:
        return
    if isinstance(message, Chain) and message.certificate is not None:
        message = message.certificate
    if isinstance(message, Certificate):
        if certificate_flaw(message, committee) is None:
            ballot, said = message.ballot, message.ballot.signed_under(committee.context)
            for signer, signature in message.signatures:
                yield Signed(signer, ballot.view, said, signature, at_millis)
        return
    if isinstance(message, Status):
        said = status_signed_bytes(committee.context, message)
        if _is_theirs(message, message.signer, committee):
            yield Signed(message.signer, 0, said, message.signature, at_millis, is_vote=False)
        return
    if isinstance(message, Vote):
        ballot, signer, signature = message.ballot, message.signer, message.signature
    elif isinstance(message, Proposal):
        ballot = block_ballot(message.block, Phase.PROPOSE)
        signer, signature = message.block.header.proposer, message.signature
    else:
        return
    if _is_theirs(ballot, signer, committee):
        said = ballot.signed_under(committee.context)
        yield Signed(signer, ballot.view, said, signature, at_millis)


def _is_theirs(place: Ballot | Status, signer: int, committee: Committee) -> bool:
    flaw = place_flaw(place.chain, place.shard, place.epoch, committee)
    return flaw is None and signer < committee.size


def _votes(claims: Iterable[Signed]) -> Iterator[Signed]:
    return (claim for claim in claims if claim.is_vote)


def _first_good(ordered: Sequence[Signed], verifier: Verifier) -> Signed | None:
    """Returns the first claim whose signature holds; forged ones before it are passed over."""
    for first in range(0, len(ordered), CHECKED_AT_ONCE):
        piece = ordered[first : first + CHECKED_AT_ONCE]
        verdicts = verifier.verify_many([(one.signer, one.message, one.signature) for one in piece])
        for claim, is_good in zip(piece, verdicts, strict=True):
            if is_good:
                return claim
    return None
