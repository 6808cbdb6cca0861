"""First pass of `traffic import`: the accounts of a file, and what each sender must own to send it all."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from pipelines.ethereum_etl import BrokenRow, RowFault, SourceRow, read_rows
from pipelines.forge import PUBLIC_FEE_UNITS
from pipelines.progress import Progress
from schemas.errors import EclipticaError, ParameterError
from schemas.units import AMOUNT_LIMIT, EXPIRY_SPAN, INDEX_LIMIT, SUPPLY_CAP

WEI_PER_UNIT = 10**9
"""1 ETH = 10^18 wei and 1 ECLIPT = 10^9 units, so 1 ETH becomes 1 ECLIPT."""

DEFAULT_EXPIRY_SLOT = EXPIRY_SPAN - 1
"""The last slot for which a transaction is already valid in slot 0: four hours of 15/32 s slots."""

PROGRESS_ROWS = 1000
"""Rows of the source between two reports of progress."""

MAX_PROBLEMS = 20
"""Broken rows that a result lists; all are counted and reported while they are found."""


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """What to import and how.

    Attributes:
        source: Ethereum-ETL `transactions.csv`, plain or gzipped, or Parquet; a file, since it is read twice.
        out: Corpus to write.
        seed: Seed of the keys.
        chain: Chain number to sign for.
        shard: Shard to sign for.
        expiry_slot: Last slot of every transaction.
        strict: Stop at the first broken row.
        limit: Rows of the source to read, or None for all.
        dry_run: Count only: no keys, no signatures, no file.
        threads: Signing threads; 0 for one per usable core.
    """

    source: Path
    out: Path
    seed: int = 0
    chain: int = 1
    shard: int = 0
    expiry_slot: int = DEFAULT_EXPIRY_SLOT
    strict: bool = False
    limit: int | None = None
    dry_run: bool = False
    threads: int = 0


@dataclass(slots=True)
class Survey:
    """What the first pass knows: accounts in order of first appearance, and what each one sends."""

    places: dict[bytes, int] = field(default_factory=dict)
    sent_units: array[int] = field(default_factory=lambda: array("Q"))
    sent_count: array[int] = field(default_factory=lambda: array("Q"))
    faults: Counter[RowFault] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    rows: int = 0
    transfers: int = 0
    contract_creations: int = 0
    zero_values: int = 0
    rounded: int = 0
    rounded_wei: int = 0

    def place(self, address: bytes) -> int:
        """Returns the place of an address, a new one at its first appearance."""
        place = self.places.setdefault(address, len(self.sent_count))
        if place == len(self.sent_count):
            self.sent_units.append(0)
            self.sent_count.append(0)
        return place

    def count(self, row: SourceRow) -> None:
        """Counts a row that becomes a transfer.

        Raises:
            ParameterError: Its sender sends more in all than an account can hold.
        """
        units, remainder = divmod(row.wei, WEI_PER_UNIT)
        sender = self.place(row.sender)
        self.place(row.recipient or row.sender)
        self.transfers += 1
        self.zero_values += row.wei == 0
        self.rounded += remainder > 0
        self.rounded_wei += remainder
        if self.sent_units[sender] + units >= AMOUNT_LIMIT:
            raise ParameterError(
                f"line {row.line}: 0x{row.sender.hex()} sends more than an account can hold in all",
                "import fewer rows with --limit",
            )
        self.sent_units[sender] += units
        self.sent_count[sender] += 1

    def funding(self, place: int) -> int:
        """Units that an account needs for everything it sends, fees included."""
        return self.sent_units[place] + self.sent_count[place] * PUBLIC_FEE_UNITS

    @property
    def issued(self) -> int:
        """Units that genesis issues in all."""
        return sum(self.sent_units) + self.transfers * PUBLIC_FEE_UNITS

    @property
    def senders(self) -> int:
        """Accounts that send."""
        return sum(count > 0 for count in self.sent_count)

    @property
    def genesis_rows(self) -> int:
        """Transactions of genesis: one registration per account, one issue per sender."""
        return len(self.places) + self.senders


def usable_rows(options: ImportOptions) -> Iterator[SourceRow | BrokenRow]:
    """Yields the rows to import; a value that no amount can hold makes a row broken."""
    for row in islice(read_rows(options.source), options.limit):
        if isinstance(row, SourceRow) and row.wei // WEI_PER_UNIT >= AMOUNT_LIMIT:
            yield BrokenRow(row.line, RowFault.TOO_LARGE, f"{row.wei} wei is above every amount")
        else:
            yield row


def survey_traffic(options: ImportOptions, report: Progress) -> Survey:
    """Makes the first pass.

    Raises:
        ParameterError: The file is unusable, or holds more than the ledger can.
        EclipticaError: A broken row, with `strict`.
    """
    found = Survey()
    report.phase("read", None)
    for row in usable_rows(options):
        found.rows += 1
        if found.rows % PROGRESS_ROWS == 0:
            report.advance(PROGRESS_ROWS)
        if isinstance(row, BrokenRow):
            _count_broken(options, found, row, report)
        elif row.recipient is None:
            found.contract_creations += 1
        else:
            found.count(row)
    report.advance(found.rows % PROGRESS_ROWS)
    _check_limits(options, found)
    return found


def _check_limits(options: ImportOptions, found: Survey) -> None:
    """Checks that the ledger can hold the accounts and the money."""
    hint = "import fewer rows with --limit"
    if found.genesis_rows >= INDEX_LIMIT:
        raise ParameterError(f"{options.source} has {len(found.places)} accounts: too many", hint)
    if found.issued > SUPPLY_CAP:
        raise ParameterError(
            f"{options.source} moves {found.issued} units in all, there are {SUPPLY_CAP}", hint
        )


def _count_broken(options: ImportOptions, found: Survey, row: BrokenRow, report: Progress) -> None:
    if options.strict:
        raise EclipticaError(
            f"{options.source}: {row}", "without --strict broken rows are counted and skipped"
        )
    found.faults[row.fault] += 1
    if len(found.problems) < MAX_PROBLEMS:
        found.problems.append(str(row))
        report.note(f"skipped {row}")
