"""Recomputes an exported epoch's blocks: hashes, certificates, references, signatures, execution, supply."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from operators.audit_findings import EpochTables, Finding
from operators.block_payload import Payload, decode_payload, sent_entries
from operators.consensus_messages import decode_certificate
from operators.consensus_node import NodeIdentity
from operators.consensus_votes import CertificateRejected, check_certificate
from operators.export_files import Manifest
from operators.export_rows import (
    LinkCounts,
    link_rows,
    registration_row,
    supply_row,
    transaction_columns,
)
from proving.ledger.state import BlockEffects, Ledger
from proving.signatures import verify_many
from schemas.block import Block, Certificate, Phase, genesis_hash, header_from_bytes
from schemas.block import BlockHeader as Header
from schemas.errors import ParameterError, WireError
from schemas.exports import (
    CERTIFICATES_EXPORT,
    LINKS_EXPORT,
    REGISTRATIONS_EXPORT,
    SUPPLY_EXPORT,
    TRANSACTIONS_EXPORT,
)
from schemas.genesis import Genesis
from schemas.tables import BLOCKS, WINDOWS
from schemas.transactions import SIGNATURE_CONTEXT, Transaction, TransactionKind, decode_body

Row = Mapping[str, Any]


@dataclass(slots=True)
class BlockAuditor:
    """Recomputes a shard's chain, epoch after epoch.

    Attributes:
        genesis: The chain.
        identity: The shard's committee.
        ledger: State after the last block that was recomputed.
        tip: Hash of the last block.
        height: Its height.
        headers: Headers of the epoch that was checked last.
        window_rows: Rows of `windows` of that epoch as recomputed, by window.
        digests: Transactions of that epoch: digest to height.
        num_transactions: How many were executed in it.
        num_certificates: How many certificates were checked in it.
        links: Rows of `links` of that epoch as recomputed.
        link_counts: Words that went over links so far.
        open_certificates: Blocks that certificates name and no epoch has held yet, with the height of the
            block that needs it and the certificate's view.
    """

    genesis: Genesis
    identity: NodeIdentity
    ledger: Ledger
    tip: bytes = b""
    height: int = 0
    headers: list[Header] = field(default_factory=list)
    window_rows: dict[int, dict[str, Any]] = field(default_factory=dict)
    digests: dict[bytes, int] = field(default_factory=dict)
    num_transactions: int = 0
    num_certificates: int = 0
    links: list[Row] = field(default_factory=list)
    link_counts: LinkCounts = field(default_factory=dict)
    open_certificates: dict[bytes, tuple[int, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Begins at the genesis."""
        committee = self.identity.committee
        self.tip = genesis_hash(committee.chain, committee.shard)

    @property
    def state_root(self) -> bytes:
        """State root after the last block that was recomputed."""
        return self.ledger.state_root()

    def check(self, tables: EpochTables, manifest: Manifest) -> Iterator[Finding]:
        """Recomputes an epoch and yields what is wrong with it.

        Raises:
            ParameterError: A table cannot be read.
        """
        self.headers, self.window_rows, self.digests, self.links = [], {}, {}, []
        self.num_transactions = self.num_certificates = 0
        blocks = []
        for row in tables.rows(BLOCKS):
            try:
                blocks.append((row, Block(header_from_bytes(row["header"]), row["payload"])))
            except WireError as error:
                yield Finding("blocks", f"height {row['height']}", str(error))
        yield from self._check_certificates(tables, blocks)
        by_height = {
            height: list(rows)
            for height, rows in groupby(tables.rows(TRANSACTIONS_EXPORT), lambda r: r["height"])
        }
        accounts: list[Row] = []
        for row, block in blocks:
            yield from self._check_block(row, block, by_height.pop(row["height"], []), accounts)
        for height in by_height:
            yield Finding("transactions", f"height {height}", "no block of this epoch holds them")
        if accounts != tables.rows(REGISTRATIONS_EXPORT):
            yield Finding("registrations", tables.folder.name, "are not the accounts opened")
        if self.links != tables.rows(LINKS_EXPORT):
            yield Finding("links", tables.folder.name, "are not what the blocks take and send")
        yield from self._check_ends(tables, manifest)

    def _check_certificates(
        self, tables: EpochTables, blocks: list[tuple[dict[str, Any], Block]]
    ) -> Iterator[Finding]:
        """A block is final by a certificate of itself or of the next block that has one of its own.

        That may stand some epochs later; its view is above those of all blocks before, since views rise with heights.
        """
        certificates = tables.rows(CERTIFICATES_EXPORT)
        if [row["height"] for row in certificates] != [row["height"] for row, _ in blocks]:
            yield Finding("certificates", tables.folder.name, "are not one for each block")
            return
        hashes = {block.hash: block.header.height for _, block in blocks}
        last_view = blocks[-1][1].header.view if blocks else 0
        for named, (height, view) in list(self.open_certificates.items()):
            if named not in hashes and view > last_view:
                continue
            del self.open_certificates[named]
            if named not in hashes:
                yield Finding("certificates", f"height {height}", "is of a block that is not there")
        for stored, (row, block) in zip(certificates, blocks, strict=True):
            where = f"height {row['height']}"
            try:
                certificate = decode_certificate(stored["certificate"])
                check_certificate(certificate, self.identity.committee, self.identity.verifier)
            except (WireError, CertificateRejected) as error:
                yield Finding("certificates", where, str(error))
                continue
            self.num_certificates += 1
            if certificate.ballot.phase is not Phase.FINALIZE:
                yield Finding("certificates", where, "does not make a block final")
            certified = hashes.get(certificate.ballot.block_hash)
            if certified is not None and certified < block.header.height:
                yield Finding("certificates", where, "is of an earlier block")
            if certified is None and certificate.ballot.view <= last_view:
                yield Finding("certificates", where, "is of a block that is not there")
            elif certified is None:
                ballot = certificate.ballot
                self.open_certificates[ballot.block_hash] = block.header.height, ballot.view
            if not _says_the_same(stored, row, certificate):
                yield Finding("certificates", where, "its columns differ from its bytes")

    def _check_block(
        self, row: Row, block: Block, rows: list[dict[str, Any]], accounts: list[Row]
    ) -> Iterator[Finding]:
        header, where = block.header, f"height {row['height']}"
        committee = self.identity.committee
        place = (header.chain, header.shard, header.height, header.parent_hash)
        if place != (committee.chain, committee.shard, self.height + 1, self.tip):
            yield Finding("blocks", where, "does not follow the block before")
        columns = {
            "height": header.height,
            "slot": header.slot,
            "view": header.view,
            "block_hash": block.hash,
            "transactions": header.transaction_count,
            "post_state_root": header.post_state_root,
        }
        if any(row[name] != value for name, value in columns.items()):
            yield Finding("blocks", where, "its columns differ from its header")
        self.height, self.tip = header.height, block.hash
        self.headers.append(header)
        try:
            content = decode_payload(block.payload)
            bodies = [decode_body(stored["body"]) for stored in rows]
            window = self.genesis.window_of(header.slot)
            before = self.ledger.state_root()
            inbound = content.inbound(header.chain, header.shard)
            effects = self.ledger.execute_block(
                [*inbound, *bodies], header.height, header.slot, window
            )
        except (WireError, ParameterError) as error:
            yield Finding("transactions", where, str(error))
            return
        self.links += link_rows(content, header.height, window, self.link_counts)
        yield from self._check_execution(header, content, effects, where)
        if [one.digest for one in content.references] != [stored["digest"] for stored in rows]:
            yield Finding("transactions", where, "are not those that the block refers to")
        yield from self._check_transactions(header, rows, bodies, effects, len(inbound))
        new = iter(effects.new_accounts)
        accounts += [
            registration_row(header.height, body, next(new))
            for body in bodies
            if body.kind is TransactionKind.REGISTER and not effects.rejected
        ]
        self._note_window(header, before, len(bodies), len(inbound))

    def _check_execution(
        self, header: Header, content: Payload, effects: BlockEffects, where: str
    ) -> Iterator[Finding]:
        if sent_entries(effects.sent) != content.sent:
            yield Finding("links", where, "what it says it sends is not what executing it sends")
        if effects.rejected:
            yield Finding("transactions", where, f"one is invalid: {effects.rejected[0][1]}")
        if effects.state_root != header.post_state_root:
            yield Finding("roots", where, "the state root is not the recomputed one")
        if effects.transactions_root != header.transactions_root:
            yield Finding("roots", where, "the transactions root is not the recomputed one")
        if len(effects.accepted) != header.transaction_count:
            yield Finding("blocks", where, "holds another number of transactions")

    def _check_transactions(
        self,
        header: Header,
        rows: list[dict[str, Any]],
        bodies: list[Transaction],
        effects: BlockEffects,
        num_received: int,
    ) -> Iterator[Finding]:
        records = [self.ledger.record(body.sender) for body in bodies]
        keys = [b"" if record is None else record.public_key for record in records]
        messages = [row["body"] for row in rows]
        signatures = [row["signature"] for row in rows]
        good = verify_many(keys, messages, signatures, SIGNATURE_CONTEXT)
        new = iter(effects.new_accounts)
        window = self.genesis.window_of(header.slot)
        for position, (row, body) in enumerate(zip(rows, bodies, strict=True)):
            where = f"height {header.height} position {position}"
            if not good[position]:
                yield Finding("signatures", where, "does not verify under the sender's key")
            executed = position + num_received in effects.accepted
            opens = body.kind is TransactionKind.REGISTER and executed
            recipient = next(new) if opens else body.recipient
            columns = {**transaction_columns(body, recipient), "window": window}
            columns["position"] = position
            if any(row[name] != value for name, value in columns.items()):
                yield Finding("transactions", where, "its columns differ from its body")
            self.digests[row["digest"]] = header.height
        self.num_transactions += len(rows)

    def _note_window(self, header: Header, before: bytes, count: int, received: int) -> None:
        window = self.genesis.window_of(header.slot)
        row = self.window_rows.setdefault(
            window,
            {
                "shard": header.shard,
                "window": window,
                "first_height": header.height,
                "transactions": 0,
                "received": 0,
                "pre_state_root": before,
            },
        )
        row["end_height"] = header.height + 1
        row["transactions"] += count
        row["received"] += received
        row["post_state_root"] = self.ledger.state_root()

    def _check_ends(self, tables: EpochTables, manifest: Manifest) -> Iterator[Finding]:
        stored = {row["window"]: row for row in tables.rows(WINDOWS)}
        if list(stored) != sorted(self.window_rows):
            yield Finding("windows", tables.folder.name, "are not the windows of the blocks")
        for window, row in self.window_rows.items():
            known = stored.get(window, row)
            if any(known[name] != value for name, value in row.items()):
                yield Finding("windows", f"window {window}", "differs from the recomputed one")
        supply = tables.rows(SUPPLY_EXPORT)
        recomputed = supply_row(self.ledger)
        if supply != [recomputed]:
            yield Finding("supply", tables.folder.name, "differs from the recomputed one")
        issued = sum(recomputed[name] for name in SUPPLY_PARTS)
        if issued != recomputed["issued"] or issued + recomputed["reserve"] != recomputed["cap"]:
            yield Finding("supply", tables.folder.name, "does not add up")
        ends = [header.height for header in self.headers]
        said = (manifest.first_height, manifest.end_height - 1, manifest.state_root)
        if not ends or said != (ends[0], ends[-1], self.ledger.state_root().hex()):
            yield Finding("manifest", tables.folder.name, "names other heights or another state")


SUPPLY_PARTS = (
    "accounts",
    "proposer_pool",
    "escrow",
    "private_pool",
    "max_private_pool",
    "burned",
    "departed",
)
"""Columns that add up to what is issued."""


def _says_the_same(stored: Row, row: Row, certificate: Certificate) -> bool:
    ballot = certificate.ballot
    said = (stored["view"], stored["block_hash"], stored["signers"], stored["certificate"])
    return said == (
        ballot.view,
        ballot.block_hash,
        list(certificate.signers),
        row["certificate"],
    )
