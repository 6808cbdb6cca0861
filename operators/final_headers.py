"""The headers of a shard's final blocks, certificates checked, from a log that is trusted with nothing."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from operators.claimed_blocks import ClaimedBlocks
from operators.consensus_messages import decode_certificate
from operators.consensus_ports import Verifier
from operators.consensus_votes import CertificateRejected, Committee, check_certificate
from operators.event_log import MAX_RECORD_BYTES, StoredRecord
from operators.record_input import input_of
from schemas.block import BlockHeader, Phase, genesis_hash, header_from_bytes
from schemas.errors import WireError
from schemas.tables import BLOCKS, SchemaRegistry
from schemas.wire import Reader, Writer

_logger = logging.getLogger(__name__)

HEADER_LIMIT = 2**12
"""No header is longer, bytes."""

_Claim = tuple[BlockHeader, int, bytes]
"""Header, offset of its record, payload."""


def block_row(
    header: BlockHeader,
    payload: bytes,
    certificate: bytes,
    *,
    proposed_millis: int = 0,
    certified_millis: int = 0,
) -> dict[str, Any]:
    """Returns the row of `blocks.<shard>` of a final block.

    Args:
        header: Its header.
        payload: Its payload.
        certificate: Encoded certificate of it or of a descendant.
        proposed_millis: When its proposal was stored, UTC milliseconds.
        certified_millis: When it became final, UTC milliseconds.
    """
    return {
        "height": header.height,
        "slot": header.slot,
        "view": header.view,
        "block_hash": header.block_hash(),
        "header": header.to_bytes(),
        "payload": payload,
        "certificate": certificate,
        "transactions": header.transaction_count,
        "proposed_millis": proposed_millis,
        "certified_millis": certified_millis,
        "post_state_root": header.post_state_root,
    }


@dataclass(slots=True)
class FinalHeaders:
    """Certified headers of one shard above the last accepted window.

    Attributes:
        committee: Who must have signed.
        verifier: Checks their signatures.
        height: Height of the last row taken.
        tip: Its block hash.
        headers: Certified headers by height.
        offsets: Offset of the record of each header.
        on_final: Told about every certified block and its payload, in height order; then rows whose payload
            is not the header's are passed over, too.
        registry: The schemas that can be read.
    """

    committee: Committee
    verifier: Verifier
    height: int = 0
    tip: bytes = b""
    headers: dict[int, BlockHeader] = field(default_factory=dict)
    offsets: dict[int, int] = field(default_factory=dict)
    on_final: Callable[[BlockHeader, bytes], None] | None = None
    registry: SchemaRegistry = field(default_factory=SchemaRegistry)
    _claimed: ClaimedBlocks[_Claim] = field(default_factory=ClaimedBlocks)

    def __post_init__(self) -> None:
        """Begins at the genesis unless told otherwise."""
        if not self.tip:
            self.tip = genesis_hash(self.committee.chain, self.committee.shard)

    def take(self, record: StoredRecord) -> None:
        """Takes a record of `blocks.<shard>`; rows that do not follow are passed over."""
        batch = input_of(record, BLOCKS, self.registry).batch
        for row in [] if batch is None else batch.to_pylist():
            try:
                self.take_row(row, record.offset)
            except (WireError, CertificateRejected) as error:
                ids = {"topic": record.topic, "offset": record.offset}
                _logger.warning("a row is passed over: %s", error, extra=ids)

    def take_row(self, row: Mapping[str, Any], offset: int) -> None:
        """Takes a row of `blocks.<shard>`; one from before the tip changes nothing.

        Raises:
            WireError: It is malformed or does not follow.
            CertificateRejected: Its certificate does not hold.
        """
        header = header_from_bytes(row["header"])
        if header.height <= self.height:
            return
        if not self._claimed.follows(header, self.height, self.tip):
            raise WireError("blocks.height", f"{header.height} does not follow {self.height}")
        payload = row["payload"]
        if self.on_final is not None and hashlib.sha256(payload).digest() != header.payload_hash:
            raise WireError("blocks.payload", "is not the header's")
        certificate = decode_certificate(row["certificate"])
        own_hash = header.block_hash()
        claim = (header, offset, payload)
        if certificate.ballot.block_hash != own_hash:
            self._claimed.add(header, claim)
            return
        if certificate.ballot.phase is not Phase.FINALIZE:
            raise WireError("blocks.certificate", "does not make the block final")
        check_certificate(certificate, self.committee, self.verifier)
        for certified, at, content in self._claimed.settle(header, claim, self.tip):
            self.headers[certified.height] = certified
            self.offsets[certified.height] = at
            if self.on_final is not None:
                self.on_final(certified, content)
        self.height, self.tip = header.height, own_hash

    def forget(self, height: int) -> None:
        """Drops headers up to a height."""
        for old in [known for known in self.headers if known <= height]:
            del self.headers[old], self.offsets[old]

    def write_claimed(self, writer: Writer) -> None:
        """Appends the blocks that wait for a descendant's certificate."""
        writer.u32(len(self._claimed.blocks))
        for header, offset, payload in self._claimed:
            writer.sized(header.to_bytes()).u64(offset).sized(payload)

    def read_claimed(self, reader: Reader) -> None:
        """Takes what `write_claimed` has written.

        Raises:
            WireError: The bytes are something else.
        """
        self._claimed = ClaimedBlocks()
        for _ in range(reader.u32("claimed")):
            header = header_from_bytes(reader.sized("header", HEADER_LIMIT))
            offset = reader.u64("offset")
            payload = reader.sized("payload", MAX_RECORD_BYTES)
            self._claimed.add(header, (header, offset, payload))

    @property
    def first_open(self) -> int | None:
        """Offset of the first record that waits for a descendant's certificate, or None."""
        return next((at for _, at, _ in self._claimed), None)
