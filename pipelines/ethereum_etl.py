"""Reads transfers from Ethereum-ETL `transactions.csv` files, gzipped or not, and from Parquet, as a stream.

Every line is judged alone: a broken one is reported with its number and the next is read, whatever quotes
or bytes it holds. Memory is one line, or one batch of a Parquet file.
"""

from __future__ import annotations

import csv
import gzip
import stat
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from schemas.errors import ParameterError
from schemas.units import ADDRESS_BYTES

REQUIRED_COLUMNS = ("from_address", "to_address", "value")
"""Columns that an import reads."""

TIME_COLUMN = "block_timestamp"
"""Read when it is there; all other columns are ignored."""

MAX_LINE_BYTES = 16 << 20
"""A line above it is broken; the longest real `input` column is a few hundred kilobytes."""

PARQUET_BATCH_ROWS = 8192
MAX_VALUE_DIGITS = 78
"""Decimal digits of 2^256 - 1, the largest value the source chain can hold."""

MAX_TIME_DIGITS = 11
"""Digits of UTC seconds; other forms of a time are taken as unknown."""

_GZIP_MAGIC = b"\x1f\x8b"
_PARQUET_MAGIC = b"PAR1"


class ByteLines(Protocol):
    """A binary file that is read line by line."""

    def readline(self, size: int, /) -> bytes:
        """Returns up to `size` bytes, up to and with the next line end; empty at the end."""
        ...


class RowFault(StrEnum):
    """Why a row is broken.

    `column_count`: not as many fields as the header. `encoding`: not UTF-8. `line_length`: longer than any
    real row. `quoting`: a quote is not closed on its line. `address`: not 0x and 40 hex digits.
    `no_sender`: the sender is empty. `value`: not a whole decimal number. `negative`: below zero.
    `too_large`: above 2^256 or above what the ledger can hold.
    """

    COLUMN_COUNT = "column_count"
    ENCODING = "encoding"
    LINE_LENGTH = "line_length"
    QUOTING = "quoting"
    ADDRESS = "address"
    NO_SENDER = "no_sender"
    VALUE = "value"
    NEGATIVE = "negative"
    TOO_LARGE = "too_large"


@dataclass(frozen=True, slots=True)
class BrokenRow:
    """A row that is skipped.

    Attributes:
        line: Line of the file, the header being line 1; row of a Parquet file, the first being 1.
        fault: What is wrong.
        detail: The offending part.
    """

    line: int
    fault: RowFault
    detail: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.fault}: {self.detail}"


@dataclass(frozen=True, slots=True)
class SourceRow:
    """One transfer of the source chain.

    Attributes:
        line: As in `BrokenRow`.
        sender: 20 bytes.
        recipient: 20 bytes, or None when the row creates a contract.
        wei: Value in [0, 2^256).
        event_seconds: UTC seconds of its block, or None when the file does not say.
    """

    line: int
    sender: bytes
    recipient: bytes | None
    wei: int
    event_seconds: int | None = None


def read_rows(path: Path) -> Iterator[SourceRow | BrokenRow]:
    """Yields every row of a file in its order; the format is found from the first bytes.

    Raises:
        ParameterError: It is no file or cannot be opened, is empty, lacks a column, or ends inside its compression.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise ParameterError(f"{path} is not a file", "it is read twice: save a pipe to a file")
        with path.open("rb") as file:
            magic = file.read(4)
    except OSError as error:
        raise ParameterError(f"cannot read {path}: {error.strerror}") from error
    if not magic:
        raise ParameterError(f"{path} is empty", "expected the header of Ethereum-ETL's export")
    if magic == _PARQUET_MAGIC:
        yield from _parquet_rows(path)
    elif magic.startswith(_GZIP_MAGIC):
        with gzip.open(path, "rb") as packed:
            yield from _csv_rows(path, packed)
    else:
        with path.open("rb") as plain:
            yield from _csv_rows(path, plain)


def parse_address(text: str) -> bytes:
    """Returns the 20 bytes of `0x` and 40 hex digits.

    Raises:
        ValueError: The text has another form.
    """
    address = bytes.fromhex(text[2:]) if text[:2] in {"0x", "0X"} and len(text) == 42 else b""
    if len(address) != ADDRESS_BYTES:
        raise ValueError(text)
    return address


def _csv_rows(path: Path, file: ByteLines) -> Iterator[SourceRow | BrokenRow]:
    lines = _lines(path, file)
    _, header = next(lines)
    try:
        names = _fields((header or b"").removeprefix(b"\xef\xbb\xbf").decode())
    except (UnicodeDecodeError, csv.Error) as error:
        raise ParameterError(f"{path}: line 1 is not a CSV header") from error
    sender_at, recipient_at, value_at = _places(path, names)
    time_at = names.index(TIME_COLUMN) if TIME_COLUMN in names else None
    for number, raw in lines:
        if raw is None:
            yield BrokenRow(number, RowFault.LINE_LENGTH, f"more than {MAX_LINE_BYTES} bytes")
            continue
        try:
            fields = _fields(raw.decode())
        except UnicodeDecodeError as error:
            yield BrokenRow(number, RowFault.ENCODING, f"byte {raw[error.start]:#04x}")
            continue
        except csv.Error as error:
            yield BrokenRow(number, RowFault.QUOTING, str(error))
            continue
        if len(fields) != len(names):
            if fields != [""]:
                detail = f"{len(fields)} fields, the header has {len(names)}"
                yield BrokenRow(number, RowFault.COLUMN_COUNT, detail)
            continue
        seconds = "" if time_at is None else fields[time_at]
        yield _row(number, fields[sender_at], fields[recipient_at], fields[value_at], seconds)


def _lines(path: Path, file: ByteLines) -> Iterator[tuple[int, bytes | None]]:
    """Numbered lines without their ends; None for one that is too long."""
    number = 0
    try:
        while line := file.readline(MAX_LINE_BYTES):
            number += 1
            if len(line) == MAX_LINE_BYTES and not line.endswith(b"\n"):
                while line and not line.endswith(b"\n"):
                    line = file.readline(MAX_LINE_BYTES)
                yield number, None
            else:
                yield number, line.rstrip(b"\r\n")
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ParameterError(
            f"{path}: the compression ends or breaks after line {number}: {error}",
            "the file is truncated or damaged: fetch it again",
        ) from error
    if not number:
        raise ParameterError(f"{path} is empty")


def _fields(line: str) -> list[str]:
    if '"' not in line:
        return line.split(",")
    return next(csv.reader([line], strict=True))


def _places(path: Path, names: Sequence[str]) -> tuple[int, int, int]:
    stripped = [name.strip() for name in names]
    missing = [name for name in REQUIRED_COLUMNS if name not in stripped]
    if missing:
        found = ", ".join(stripped)[:200]
        raise ParameterError(
            f"{path}: the header lacks {', '.join(missing)}; it has: {found}",
            "expected the header of Ethereum-ETL's transactions.csv",
        )
    doubled = [name for name in REQUIRED_COLUMNS if stripped.count(name) > 1]
    if doubled:
        raise ParameterError(f"{path}: the header names {', '.join(doubled)} twice")
    sender, recipient, value = (stripped.index(name) for name in REQUIRED_COLUMNS)
    return sender, recipient, value


def _row(line: int, sender: str, recipient: str, value: str, seconds: str) -> SourceRow | BrokenRow:
    if not sender:
        return BrokenRow(line, RowFault.NO_SENDER, "from_address is empty")
    try:
        sender_bytes = parse_address(sender)
        recipient_bytes = parse_address(recipient) if recipient else None
    except ValueError:
        return BrokenRow(line, RowFault.ADDRESS, repr((sender, recipient))[:120])
    digits = value.removeprefix("-")
    if not digits.isascii() or not digits.isdigit():
        return BrokenRow(line, RowFault.VALUE, repr(value)[:80])
    if len(digits) != len(value):
        return BrokenRow(line, RowFault.NEGATIVE, value[:80])
    wei = int(digits) if len(digits) <= MAX_VALUE_DIGITS else 1 << 256
    if wei >> 256:
        return BrokenRow(line, RowFault.TOO_LARGE, f"{digits[:80]} is above 2^256")
    known = len(seconds) <= MAX_TIME_DIGITS and seconds.isascii() and seconds.isdigit()
    return SourceRow(line, sender_bytes, recipient_bytes, wei, int(seconds) if known else None)


def _parquet_rows(path: Path) -> Iterator[SourceRow | BrokenRow]:
    try:
        with pq.ParquetFile(path) as file:
            schema = file.schema_arrow
            _places(path, schema.names)
            kind = schema.field("value").type
            if pa.types.is_floating(kind):
                raise ParameterError(
                    f"{path}: value is a {kind} column, so its amounts are already rounded",
                    "export value as a string or a decimal",
                )
            line = 0
            columns = [n for n in (*REQUIRED_COLUMNS, TIME_COLUMN) if n in schema.names]
            batches = file.iter_batches(PARQUET_BATCH_ROWS, columns=columns)
            for batch in batches:
                for record in batch.to_pylist():
                    line += 1
                    yield _parquet_row(line, record)
    except (pa.ArrowException, OSError) as error:
        raise ParameterError(f"{path} is not a readable Parquet file: {error}") from error


def _parquet_row(line: int, record: Mapping[str, Any]) -> SourceRow | BrokenRow:
    sender, recipient, value = (_text(record[name]) for name in REQUIRED_COLUMNS)
    return _row(line, sender, recipient, value, _text(record.get(TIME_COLUMN)))


def _text(value: Any) -> str:
    """A cell as the CSV export would print it."""
    if value is None:
        return ""
    if isinstance(value, bytes):
        return "0x" + value.hex()
    if isinstance(value, Decimal):
        return f"{value:f}".removesuffix(".") if value != int(value) else str(int(value))
    if isinstance(value, datetime):
        return str(int(value.replace(tzinfo=value.tzinfo or UTC).timestamp()))
    return str(value)
