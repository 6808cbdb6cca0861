"""The messages validators exchange, as bytes: one version byte, one kind byte, then fixed fields.

Decoding is total: any bytes end in a message or in `WireError`, in time and memory bounded by the length of
the bytes. Nothing here checks signatures.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Callable
from dataclasses import dataclass

from schemas.block import (
    BALLOT_BYTES,
    HEADER_BYTES,
    MAX_SIGNATURE_BYTES,
    MAX_VALIDATORS,
    Ballot,
    Block,
    Certificate,
    Equivocation,
    Phase,
    Proposal,
    ValidatorSet,
    Vote,
    ballot_from_bytes,
    block_ballot,
    header_from_bytes,
    signing_context,
)
from schemas.errors import WireError

VERSION = 1

MAX_CHAIN_BLOCKS = 64
"""Blocks in one chain message."""

MAX_MESSAGE_BYTES = 15 << 20
"""Bytes of one message, below the log's largest record."""

_U16 = struct.Struct("<H")
_U32 = struct.Struct("<I")
_STATUS = struct.Struct("<IIQQQQQ32sI")
_STATUS_TAIL = struct.Struct("<BQQQQ32sI")

_PROPOSAL, _VOTE, _CERTIFICATE, _STATUS_KIND, _CHAIN, _EVIDENCE = range(1, 7)


@dataclass(frozen=True, slots=True)
class Status:
    """Where a validator stands and what it misses; others answer with certificates and blocks.

    Attributes:
        chain: Chain number, u32.
        shard: Shard number, u32.
        epoch: Epoch of the validator set, u64.
        final_height: Height of its last final block.
        final_view: View of its last final block.
        view: Its current view.
        gap_view: Lowest view above the final one for which it holds no certificate, at most `view`.
        wanted: Hash of a block it misses, or zero.
        attempt: Number of this repeat; rotates who answers.
        signer: Index of the validator.
        signature: Over `signed_bytes`.
    """

    chain: int
    shard: int
    epoch: int
    final_height: int
    final_view: int
    view: int
    gap_view: int
    wanted: bytes
    attempt: int
    signer: int
    signature: bytes

    def signed_bytes(self, validators: ValidatorSet) -> bytes:
        """Returns the bytes that `signature` covers."""
        context = signing_context(self.chain, self.shard, self.epoch, validators)
        return status_signed_bytes(context, self)


def status_signed_bytes(context: bytes, status: Status) -> bytes:
    """Returns the signed bytes of a status under a prefix from `signing_context`."""
    tail = _STATUS_TAIL.pack(
        Phase.STATUS,
        status.final_height,
        status.final_view,
        status.view,
        status.gap_view,
        status.wanted,
        status.attempt,
    )
    return context + tail


@dataclass(frozen=True, slots=True)
class Chain:
    """A run of blocks, rising and linked by parent hash; answers a status, or carries final blocks from the log.

    Attributes:
        blocks: At least one, the last is named by `certificate` or wanted by the receiver.
        certificate: Finalize certificate of the last block, or None.
    """

    blocks: tuple[Block, ...]
    certificate: Certificate | None


Message = Proposal | Vote | Certificate | Status | Chain


def _signature_bytes(signature: bytes) -> bytes:
    return _U16.pack(len(signature)) + signature


def encode_vote(vote: Vote) -> bytes:
    """Returns the message bytes of a vote."""
    head = bytes((VERSION, _VOTE)) + vote.ballot.to_bytes()
    return head + _U16.pack(vote.signer) + _signature_bytes(vote.signature)


def encode_proposal(proposal: Proposal) -> bytes:
    """Returns the message bytes of a proposal."""
    head = bytes((VERSION, _PROPOSAL)) + proposal.block.to_bytes()
    return head + _signature_bytes(proposal.signature)


def _certificate_body(certificate: Certificate) -> bytes:
    parts = [certificate.ballot.to_bytes(), _U16.pack(len(certificate.signatures))]
    for signer, signature in certificate.signatures:
        parts.append(_U16.pack(signer) + _signature_bytes(signature))
    return b"".join(parts)


def encode_certificate(certificate: Certificate) -> bytes:
    """Returns the message bytes of a certificate; also its form in tables and files."""
    return bytes((VERSION, _CERTIFICATE)) + _certificate_body(certificate)


def encode_status(status: Status) -> bytes:
    """Returns the message bytes of a status."""
    body = _STATUS.pack(
        status.chain,
        status.shard,
        status.epoch,
        status.final_height,
        status.final_view,
        status.view,
        status.gap_view,
        status.wanted,
        status.attempt,
    )
    tail = _U16.pack(status.signer) + _signature_bytes(status.signature)
    return bytes((VERSION, _STATUS_KIND)) + body + tail


def encode_chain(chain: Chain) -> bytes:
    """Returns the message bytes of a run of blocks."""
    parts = [bytes((VERSION, _CHAIN)), _U16.pack(len(chain.blocks))]
    parts += [block.to_bytes() for block in chain.blocks]
    if chain.certificate is None:
        parts.append(b"\0")
    else:
        parts += [b"\1", _certificate_body(chain.certificate)]
    return b"".join(parts)


def encode_evidence(evidence: Equivocation) -> bytes:
    """Returns the canonical bytes of evidence, for the beacon."""
    parts = [bytes((VERSION, _EVIDENCE))]
    for vote in (evidence.first, evidence.second):
        parts += [vote.ballot.to_bytes(), _U16.pack(vote.signer), _signature_bytes(vote.signature)]
    return b"".join(parts)


class _Cursor:
    """Reads fields in order from a message."""

    __slots__ = ("_data", "_position")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 2

    def take(self, where: str, length: int) -> bytes:
        end = self._position + length
        if end > len(self._data):
            raise WireError(where, "the message is too short")
        found = self._data[self._position : end]
        self._position = end
        return found

    def u16(self, where: str) -> int:
        return int(_U16.unpack(self.take(where, 2))[0])

    def signature(self, where: str) -> bytes:
        length = self.u16(where)
        if not 1 <= length <= MAX_SIGNATURE_BYTES:
            raise WireError(where, f"has 1..{MAX_SIGNATURE_BYTES} bytes")
        return self.take(where, length)

    def finish(self) -> None:
        if self._position != len(self._data):
            raise WireError("message", "bytes are left over")


def _read_ballot(cursor: _Cursor) -> Ballot:
    return ballot_from_bytes(cursor.take("ballot", BALLOT_BYTES))


def _read_vote(cursor: _Cursor) -> Vote:
    ballot = _read_ballot(cursor)
    return Vote(ballot, cursor.u16("vote.signer"), cursor.signature("vote.signature"))


def _read_block(cursor: _Cursor) -> Block:
    header = header_from_bytes(cursor.take("block.header", HEADER_BYTES))
    if header.view <= header.parent_view:
        raise WireError("block.view", "is not above the parent's view")
    length = int(_U32.unpack(cursor.take("block.payload", 4))[0])
    return Block(header, cursor.take("block.payload", length))


def _read_proposal(cursor: _Cursor) -> Proposal:
    block = _read_block(cursor)
    return Proposal(block, cursor.signature("proposal.signature"))


def _read_certificate(cursor: _Cursor) -> Certificate:
    ballot = _read_ballot(cursor)
    count = cursor.u16("certificate.signatures")
    if not 1 <= count <= MAX_VALIDATORS:
        raise WireError("certificate.signatures", f"holds 1..{MAX_VALIDATORS} signatures")
    signatures = [
        (cursor.u16("certificate.signer"), cursor.signature("certificate.signature"))
        for _ in range(count)
    ]
    return Certificate(ballot, tuple(signatures))


def _read_status(cursor: _Cursor) -> Status:
    fields = _STATUS.unpack(cursor.take("status", _STATUS.size))
    chain, shard, epoch, final_height, final_view, view, gap_view, wanted, attempt = fields
    return Status(
        chain,
        shard,
        epoch,
        final_height,
        final_view,
        view,
        gap_view,
        wanted,
        attempt,
        cursor.u16("status.signer"),
        cursor.signature("status.signature"),
    )


def _read_chain(cursor: _Cursor) -> Chain:
    count = cursor.u16("chain.blocks")
    if not 1 <= count <= MAX_CHAIN_BLOCKS:
        raise WireError("chain.blocks", f"holds 1..{MAX_CHAIN_BLOCKS} blocks")
    blocks = tuple(_read_block(cursor) for _ in range(count))
    for parent, child in itertools.pairwise(blocks):
        link = (parent.hash, parent.header.view, parent.header.height + 1)
        head = child.header
        if (head.parent_hash, head.parent_view, head.height) != link:
            raise WireError("chain.blocks", "are not linked")
    flag = cursor.take("chain.certificate", 1)
    if flag not in {b"\0", b"\1"}:
        raise WireError("chain.certificate", "the flag is 0 or 1")
    if flag == b"\0":
        return Chain(blocks, None)
    certificate = _read_certificate(cursor)
    if certificate.ballot != block_ballot(blocks[-1], Phase.FINALIZE):
        raise WireError("chain.certificate", "does not finalize the last block")
    return Chain(blocks, certificate)


_READERS: dict[int, Callable[[_Cursor], Message]] = {
    _PROPOSAL: _read_proposal,
    _VOTE: _read_vote,
    _CERTIFICATE: _read_certificate,
    _STATUS_KIND: _read_status,
    _CHAIN: _read_chain,
}


def decode_message(data: bytes) -> Message:
    """Decodes a message; `encode` of the result gives the same bytes.

    Raises:
        WireError: Anything else than the canonical bytes of a message.
    """
    if len(data) > MAX_MESSAGE_BYTES:
        raise WireError("message", f"is longer than {MAX_MESSAGE_BYTES} bytes")
    if len(data) < 2 or data[0] != VERSION:
        raise WireError("message.version", f"is not {VERSION}")
    reader = _READERS.get(data[1])
    if reader is None:
        raise WireError("message.kind", f"{data[1]} is unknown")
    cursor = _Cursor(data)
    message = reader(cursor)
    cursor.finish()
    return message


def decode_certificate(data: bytes) -> Certificate:
    """Decodes the bytes of `encode_certificate`.

    Raises:
        WireError: The bytes are another message or none.
    """
    message = decode_message(data)
    if not isinstance(message, Certificate):
        raise WireError("certificate", "the bytes are another message")
    return message


def decode_evidence(data: bytes) -> Equivocation:
    """Inverse of `encode_evidence`.

    Raises:
        WireError: Anything else than the canonical bytes of evidence.
    """
    if len(data) < 2 or (data[0], data[1]) != (VERSION, _EVIDENCE):
        raise WireError("evidence", "the bytes are another message")
    cursor = _Cursor(data)
    evidence = Equivocation(_read_vote(cursor), _read_vote(cursor))
    cursor.finish()
    return evidence


_KINDS = {
    _PROPOSAL: "proposal",
    _VOTE: "vote",
    _CERTIFICATE: "certificate",
    _STATUS_KIND: "status",
    _CHAIN: "chain",
}


def message_kind(data: bytes) -> str:
    """Returns `proposal`, `vote`, `certificate`, `status` or `chain` for bytes this program encoded."""
    return _KINDS[data[1]]


def chains_of(
    blocks: list[tuple[Block, Certificate]], limit: int = MAX_CHAIN_BLOCKS
) -> list[bytes]:
    """Packs final blocks, as they stand in the log, into chain messages that a restarted core accepts.

    Args:
        blocks: (block, finalize certificate of it or of a descendant), heights rising by one.
        limit: Most blocks in one message, 1..64. A longer run without a certificate of its own is cut to its
            last blocks; the core then asks for the rest.

    Returns:
        Messages in height order; blocks behind the last direct certificate are left out.
    """
    messages, run = [], []
    for block, certificate in blocks:
        run.append(block)
        if certificate.ballot.block_hash == block.hash:
            messages.append(encode_chain(Chain(tuple(run[-limit:]), certificate)))
            run = []
    return messages
