"""`traffic import`: transfers of another chain become signed transactions of ours, in the same order.

The file is read twice. The first pass finds the accounts and what each sender must own; memory is about 160
bytes per distinct address, whatever the number of rows. The second pass signs, with a few thousand rows in
memory. One account per address, its key derived from the seed; 1 ETH becomes 1 ECLIPT.
"""

from __future__ import annotations

import time
from array import array
from collections.abc import Iterator
from dataclasses import dataclass

from pipelines.account_keys import KeyRing
from pipelines.corpus import (
    ADMITTED,
    GENESIS_PHASE,
    TRAFFIC_PHASE,
    CorpusInfo,
    CorpusRow,
    CorpusWriter,
    map_in_order,
    write_corpus,
)
from pipelines.ethereum_etl import SourceRow
from pipelines.forge import Forge, sign, usable_cores
from pipelines.progress import Progress
from pipelines.traffic_survey import (
    WEI_PER_UNIT,
    ImportOptions,
    Survey,
    survey_traffic,
    usable_rows,
)
from schemas.errors import EclipticaError


@dataclass(frozen=True, slots=True)
class ImportResult:
    """What was imported.

    Attributes:
        rows: Rows read, broken ones included.
        transfers: Rows that became transactions.
        contract_creations: Rows without a recipient, skipped.
        broken: Broken rows by fault, skipped.
        problems: The first broken rows, as text.
        zero_values: Transfers of nothing, kept as traffic.
        rounded: Transfers whose value was not a whole number of units.
        rounded_wei: Wei that rounding dropped in all.
        accounts: Distinct addresses.
        senders: Distinct senders, all funded.
        issued: Units issued to them: all they send, and the fees.
        genesis_rows: Transactions that register and fund the accounts.
        seconds: Wall time.
        out: Corpus, or None in a dry run.
        out_bytes: Its size.
    """

    rows: int
    transfers: int
    contract_creations: int
    broken: dict[str, int]
    problems: tuple[str, ...]
    zero_values: int
    rounded: int
    rounded_wei: int
    accounts: int
    senders: int
    issued: int
    genesis_rows: int
    seconds: float
    out: str | None
    out_bytes: int


def import_traffic(options: ImportOptions, report: Progress) -> ImportResult:
    """Imports a file into a corpus.

    Raises:
        ParameterError: The file is unusable, or holds more than the ledger can.
        EclipticaError: A broken row, with `strict`, or the corpus cannot be written.
    """
    started = time.monotonic()
    found = survey_traffic(options, report)
    if not options.dry_run:
        with write_corpus(options.out) as writer:
            _write_genesis(options, found, writer, report)
            _write_transfers(options, found, writer, report)
            writer.describe(_info(options, found))
    return ImportResult(
        rows=found.rows,
        transfers=found.transfers,
        contract_creations=found.contract_creations,
        broken={str(fault): count for fault, count in sorted(found.faults.items())},
        problems=tuple(found.problems),
        zero_values=found.zero_values,
        rounded=found.rounded,
        rounded_wei=found.rounded_wei,
        accounts=len(found.places),
        senders=found.senders,
        issued=found.issued,
        genesis_rows=found.genesis_rows,
        seconds=time.monotonic() - started,
        out=None if options.dry_run else str(options.out),
        out_bytes=0 if options.dry_run else options.out.stat().st_size,
    )


def _forge(options: ImportOptions) -> Forge:
    return Forge(options.chain, options.shard, options.seed, options.expiry_slot)


def _write_genesis(
    options: ImportOptions, found: Survey, writer: CorpusWriter, report: Progress
) -> None:
    """Registers every account in order of appearance, then funds every sender."""
    forge, ring = _forge(options), KeyRing(options.seed)

    def register(item: tuple[int, bytes]) -> CorpusRow:
        nonce, address = item
        signed = forge.register(nonce, address, ring.pair(address).public_key)
        return signed.row(GENESIS_PHASE, ADMITTED, f"account 0x{address.hex()}")

    def fund(item: tuple[int, int]) -> CorpusRow:
        nonce, place = item
        signed = forge.issue(nonce, place, found.funding(place))
        return signed.row(GENESIS_PHASE, ADMITTED, f"funding of account {place}")

    threads = options.threads or usable_cores()
    report.phase("genesis", found.genesis_rows)
    _write(map_in_order(enumerate(found.places), register, threads), writer, report)
    senders = (place for place, count in enumerate(found.sent_count) if count)
    _write(map_in_order(enumerate(senders, len(found.places)), fund, threads), writer, report)


def _write_transfers(
    options: ImportOptions, found: Survey, writer: CorpusWriter, report: Progress
) -> None:
    forge, ring = _forge(options), KeyRing(options.seed)

    def convert(item: tuple[int, SourceRow]) -> CorpusRow:
        nonce, row = item
        sender, recipient = found.places[row.sender], found.places[row.recipient or row.sender]
        transfer = forge.transfer(sender, recipient, row.wei // WEI_PER_UNIT, nonce)
        millis = None if row.event_seconds is None else row.event_seconds * 1000
        signed = sign(ring.pair(row.sender), transfer)
        return signed.row(TRAFFIC_PHASE, ADMITTED, f"line {row.line}", millis)

    report.phase("sign", found.transfers)
    rows = map_in_order(_numbered(options, found), convert, options.threads or usable_cores())
    _write(rows, writer, report)


def _numbered(options: ImportOptions, found: Survey) -> Iterator[tuple[int, SourceRow]]:
    """The transfers with their senders' nonces, which count from 0 in file order.

    Raises:
        EclipticaError: The file is not the one that the first pass read.
    """
    nonces = array("Q", bytes(8 * len(found.places)))
    transfers = 0
    for row in usable_rows(options):
        if isinstance(row, SourceRow) and row.recipient is not None:
            place = found.places.get(row.sender)
            transfers += 1
            if place is None or row.recipient not in found.places or transfers > found.transfers:
                raise EclipticaError(f"{options.source} changed while it was read")
            yield nonces[place], row
            nonces[place] += 1


def _write(rows: Iterator[CorpusRow], writer: CorpusWriter, report: Progress) -> None:
    for row in rows:
        writer.add(row)
        report.advance(1)


def _info(options: ImportOptions, found: Survey) -> CorpusInfo:
    source = {
        "kind": "import",
        "file": options.source.name,
        "rows": found.rows,
        "transfers": found.transfers,
        "contract_creations": found.contract_creations,
        "broken": found.faults.total(),
        "zero_values": found.zero_values,
        "rounded": found.rounded,
    }
    return CorpusInfo(
        chain=options.chain,
        shard=options.shard,
        seed=options.seed,
        genesis_rows=found.genesis_rows,
        traffic_rows=found.transfers,
        accounts=len(found.places),
        expiry_slot=options.expiry_slot,
        sources=(source,),
    )
