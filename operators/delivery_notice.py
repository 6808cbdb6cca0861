"""Notices of deliveries: what a block took from other shards, certified, on the shard's own `tx.<shard>`.

Admission judges by `tx.<shard>` alone, so that a verdict depends on the order of one log. What other shards pay to an
account is on none of their transactions there, but in a block. Whoever writes the block down therefore repeats its
row on `tx.<shard>`, where the certificate speaks for it: from that record on the units can be spent.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from operators.block_payload import Payload, decode_payload, sent_entries
from operators.consensus_messages import decode_certificate
from operators.consensus_ports import Verifier
from operators.consensus_votes import Committee
from operators.final_headers import FinalHeaders
from proving.ledger.words import returned_by
from schemas.block import BlockHeader, header_from_bytes
from schemas.errors import WireError
from schemas.tables import BLOCKS, SchemaRegistry
from schemas.transactions import Transaction


@dataclass(frozen=True, slots=True)
class Notice:
    """What one final block took from other shards.

    Attributes:
        height: Height of the block.
        kept: What was credited; the rest went back, its recipient being no account then.
    """

    height: int
    kept: tuple[Transaction, ...]


def is_notice(fingerprint: str, registry: SchemaRegistry) -> bool:
    """Says whether a record of `tx.<shard>` has the schema of blocks."""
    return registry.table_of(fingerprint) == BLOCKS.name


def notices_of(rows: Sequence[Mapping[str, Any]]) -> Iterator[list[Mapping[str, Any]]]:
    """Yields what to repeat of rows of `blocks.<shard>`: runs with a delivery in them, up to a certificate.

    Args:
        rows: Consecutive final blocks; the last has a certificate of its own.
    """
    run: list[Mapping[str, Any]] = []
    for row in rows:
        run.append(row)
        if decode_certificate(row["certificate"]).ballot.block_hash == row["block_hash"]:
            if any(decode_payload(one["payload"]).received for one in run):
                yield run
            run = []


def read_notice(
    rows: Sequence[Mapping[str, Any]], committee: Committee, verifier: Verifier
) -> list[Notice]:
    """Returns the deliveries of a notice's blocks.

    Args:
        rows: As `notices_of` yields them.
        committee: Of the shard.
        verifier: Checks its signatures.

    Raises:
        WireError: The rows are not blocks that follow each other, up to one that is certified.
        CertificateRejected: The certificate does not hold.
    """
    if not rows:
        raise WireError("notice", "has no block")
    first = header_from_bytes(rows[0]["header"])
    found: list[Notice] = []

    def take(header: BlockHeader, payload: bytes) -> None:
        found.append(Notice(header.height, _kept(decode_payload(payload), committee)))

    headers = FinalHeaders(committee, verifier, first.height - 1, first.parent_hash, on_final=take)
    for row in rows:
        headers.take_row(row, 0)
    if len(found) != len(rows):
        raise WireError("notice", f"certifies {len(found)} of {len(rows)} blocks")
    return found


def _kept(content: Payload, committee: Committee) -> tuple[Transaction, ...]:
    """Returns what was credited: a return is on the block's list of what it sends."""
    inbound = content.inbound(committee.chain, committee.shard)
    sent = set(content.sent)
    return tuple(one for one in inbound if sent.isdisjoint(sent_entries([returned_by(one)])))
