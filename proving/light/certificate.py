"""The certificate of a day: everything that shows a quorum of validators accepted the day's statement.

Bytes, little-endian: magic and version; the number of validators (u16) and their public keys in index order; the
payload of the beacon block that accepts the day, with its length (u32); the number of headers (u16) and the headers
from that block to the one that was voted on; the number of votes (u16) and, for each, signer (u16) and signature,
signers rising. The votes sign the hash of the last header, which names its parent and so on down to the first, whose
payload holds the statement. The keys are those whose word the statement names. So every byte is bound, once a reader
trusts `validators`, which the link to a day that he trusts gives him.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from itertools import pairwise

from proving.light.errors import ProofMalformed, ProofRejected
from proving.light.flaws import DayFlaw
from proving.light.poseidon2 import statement_word
from proving.light.signature_check import SignatureCheck
from schemas.beacon_payload import decode_acceptances
from schemas.block import (
    HEADER_BYTES,
    MAX_VALIDATORS,
    VOTE_DOMAIN,
    BlockHeader,
    Phase,
    ValidatorSet,
    header_ballot,
    header_from_bytes,
)
from schemas.errors import EclipticaError, ParameterError, WireError
from schemas.run import RunStatement, WordElements, why_no_run
from schemas.topics import BEACON_SHARD
from schemas.units import PUBLIC_KEY_BYTES, SIGNATURE_BYTES, word_bytes
from schemas.validators import validators_word
from schemas.wire import Reader, Writer

MAGIC = b"ECLC\x01"
"""Format and version."""

MAX_HEADERS = 1024
"""Headers from the accepting block to the one voted on; mostly one or two."""

MAX_PAYLOAD_BYTES = 2**17
"""Bytes of a beacon block's payload: 64 windows and 1,024 segments take 46 kB."""


@dataclass(frozen=True, slots=True)
class DayCertificate:
    """The certificate of a day, decoded and not checked.

    Attributes:
        validators: The committee.
        payload: Payload of the block that accepts the day.
        headers: That block's header and those after it, the last voted on.
        votes: (index of the validator, signature), indices strictly rising.
    """

    validators: ValidatorSet
    payload: bytes
    headers: tuple[BlockHeader, ...]
    votes: tuple[tuple[int, bytes], ...]

    def to_bytes(self) -> bytes:
        """Returns the canonical bytes.

        Raises:
            ParameterError: A key or signature has another length, or there is too much of something.
        """
        if not 1 <= len(self.headers) <= MAX_HEADERS or len(self.payload) > MAX_PAYLOAD_BYTES:
            raise ParameterError("a certificate has 1..1024 headers and one payload of 128 kB")
        writer = Writer().fixed(MAGIC, len(MAGIC)).u16(len(self.validators))
        for key in self.validators.keys:
            writer.fixed(key, PUBLIC_KEY_BYTES)
        writer.sized(self.payload).u16(len(self.headers))
        for header in self.headers:
            writer.fixed(header.to_bytes(), HEADER_BYTES)
        writer.u16(len(self.votes))
        for signer, signature in self.votes:
            writer.u16(signer).fixed(signature, SIGNATURE_BYTES)
        return writer.finish()


@dataclass(frozen=True, slots=True)
class CertifiedDay:
    """What a certificate that holds shows.

    Attributes:
        run: The day's statement.
        height: Height of the beacon block that accepts it.
        validators: Members of the committee.
        votes: Valid votes among them.
    """

    run: RunStatement
    height: int
    validators: int
    votes: int


def decode_certificate(data: bytes) -> DayCertificate:
    """Inverse of `DayCertificate.to_bytes`.

    Raises:
        ProofMalformed: Anything else than the canonical bytes of a certificate.
    """
    try:
        return _read(Reader(data, "certificate"))
    except WireError as error:
        raise ProofMalformed(
            DayFlaw.MALFORMED, error.where, "a day's certificate", error
        ) from error
    except EclipticaError as error:
        raise ProofMalformed(DayFlaw.MALFORMED, "certificate", "a committee", error) from error


def check_certificate(
    certificate: DayCertificate, signatures: SignatureCheck, statement: WordElements | None = None
) -> CertifiedDay:
    """Checks that a quorum of its committee accepted a day on the beacon; at most one signature per validator is checked.

    Args:
        certificate: From `decode_certificate`.
        signatures: How signatures are checked.
        statement: The word that the day's proof shows; None to look at the certificate alone.

    Raises:
        ProofRejected: It does not hold, with a `DayFlaw`.
    """
    _check_headers(certificate.headers)
    first = certificate.headers[0]
    run = _accepted_run(certificate)
    if run.chain != first.chain:
        raise ProofRejected(DayFlaw.WRONG_PLACE, "run.chain", first.chain, run.chain)
    if validators_word(certificate.validators.keys) != run.validators:
        shown = _hex(validators_word(certificate.validators.keys))
        raise ProofRejected(DayFlaw.FOREIGN_VALIDATORS, "validators", _hex(run.validators), shown)
    if statement is not None and statement_word(run) != statement:
        found = _hex(statement_word(run))
        raise ProofRejected(DayFlaw.OTHER_STATEMENT, "run", _hex(statement), found)
    _check_votes(certificate, signatures)
    size = len(certificate.validators)
    return CertifiedDay(run, first.height, size, len(certificate.votes))


def _read(reader: Reader) -> DayCertificate:
    if reader.fixed("magic", len(MAGIC)) != MAGIC:
        raise reader.fail("magic", "is not that of a certificate")
    count = reader.u16("validators", MAX_VALIDATORS + 1)
    keys = tuple(reader.fixed("key", PUBLIC_KEY_BYTES) for _ in range(count))
    payload = reader.sized("payload", MAX_PAYLOAD_BYTES)
    number = reader.u16("headers", MAX_HEADERS + 1)
    if number == 0:
        raise reader.fail("headers", "there is none")
    headers = tuple(header_from_bytes(reader.fixed("header", HEADER_BYTES)) for _ in range(number))
    votes: list[tuple[int, bytes]] = []
    for _ in range(reader.u16("votes", count + 1)):
        signer = reader.u16("signer")
        if votes and signer <= votes[-1][0]:
            raise reader.fail("signer", "signers are not strictly rising")
        votes.append((signer, reader.fixed("signature", SIGNATURE_BYTES)))
    reader.finish()
    return DayCertificate(ValidatorSet(keys), payload, headers, tuple(votes))


def _check_headers(headers: tuple[BlockHeader, ...]) -> None:
    place = (headers[0].chain, BEACON_SHARD, headers[0].epoch)
    for number, header in enumerate(headers):
        found = (header.chain, header.shard, header.epoch)
        if found != place:
            raise ProofRejected(DayFlaw.WRONG_PLACE, f"header {number}", place, found)
        if header.view <= header.parent_view:
            view = header.parent_view
            raise ProofRejected(DayFlaw.HEADERS_NOT_LINKED, f"header {number}", view, header.view)
    for number, (parent, child) in enumerate(pairwise(headers), start=1):
        wanted = (parent.block_hash(), parent.view, parent.height + 1)
        got = (child.parent_hash, child.parent_view, child.height)
        if got != wanted:
            raise ProofRejected(DayFlaw.HEADERS_NOT_LINKED, f"header {number}", wanted, got)


def _accepted_run(certificate: DayCertificate) -> RunStatement:
    named = certificate.headers[0].payload_hash
    found = hashlib.sha256(certificate.payload).digest()
    if found != named:
        raise ProofRejected(DayFlaw.WRONG_PAYLOAD, "payload", named.hex(), found.hex())
    try:
        said = decode_acceptances(certificate.payload)
    except WireError as error:
        raise ProofRejected(DayFlaw.WRONG_PAYLOAD, error.where, "a beacon block", error) from error
    if said.run is None:
        raise ProofRejected(DayFlaw.NO_RUN, "payload", "a day", "none")
    problem = why_no_run(said.run.run)
    if problem is not None:
        raise ProofRejected(DayFlaw.BAD_RUN, "run", "a run in order", problem)
    return said.run.run


def _check_votes(certificate: DayCertificate, signatures: SignatureCheck) -> None:
    committee, votes = certificate.validators, certificate.votes
    if votes and votes[-1][0] >= len(committee):
        raise ProofRejected(
            DayFlaw.UNKNOWN_SIGNER, "votes", f"below {len(committee)}", votes[-1][0]
        )
    if len(votes) < committee.quorum:
        raise ProofRejected(DayFlaw.TOO_FEW_VOTES, "votes", committee.quorum, len(votes))
    message = header_ballot(certificate.headers[-1], Phase.FINALIZE).signed_bytes(committee)
    for signer, signature in votes:
        if not signatures.verify(committee.keys[signer], message, signature, VOTE_DOMAIN):
            where = f"vote of validator {signer}"
            raise ProofRejected(
                DayFlaw.BAD_SIGNATURE, where, "a signature of the last header", "none"
            )


def _hex(word: WordElements) -> str:
    return word_bytes(word).hex()
