from __future__ import annotations

import gzip
from collections import Counter
from datetime import UTC, datetime
from decimal import Decimal
from importlib import resources
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines import ethereum_etl
from pipelines.ethereum_etl import BrokenRow, RowFault, SourceRow, read_rows
from schemas.errors import ParameterError

SAMPLE = "data/ethereum_blocks_17173049_17173050.csv"
A, B = b"\xaa" * 20, b"\x0b" * 20
HEADER = "hash,from_address,to_address,value"


def _hex(address: bytes) -> str:
    return "0x" + address.hex()


def _file(folder: Path, *lines: str, header: str = HEADER) -> Path:
    path = folder / "transactions.csv"
    path.write_text("\n".join([header, *lines]) + "\n")
    return path


def _line(sender: str = _hex(A), recipient: str = _hex(B), value: str = "5") -> str:
    return f"0x1,{sender},{recipient},{value}"


def test_the_sample_has_the_figures_its_readme_states() -> None:
    with resources.as_file(resources.files("pipelines") / SAMPLE) as path:
        rows = [row for row in read_rows(path) if isinstance(row, SourceRow)]
    receivers = Counter(row.recipient for row in rows if row.recipient)
    assert {
        "rows": len(rows),
        "senders": len({row.sender for row in rows}),
        "receivers": len(receivers),
        "non-zero": sum(row.wei > 0 for row in rows),
        "largest": max(row.wei for row in rows),
        "hottest": max(receivers.values()),
        "creations": sum(row.recipient is None for row in rows),
    } == {
        "rows": 298,
        "senders": 256,
        "receivers": 184,
        "non-zero": 135,
        "largest": 32 * 10**18,
        "hottest": 31,
        "creations": 1,
    }


def test_rows_keep_their_line_order_and_exact_value(tmp_path: Path) -> None:
    path = _file(tmp_path, _line(value=str(2**256 - 1)), _line(recipient=""), _line(value="0"))
    assert list(read_rows(path)) == [
        SourceRow(2, A, B, 2**256 - 1),
        SourceRow(3, A, None, 5),
        SourceRow(4, A, B, 0),
    ]


@pytest.mark.parametrize(
    ("line", "fault", "detail"),
    [
        ("0x1,0x2", RowFault.COLUMN_COUNT, "2 fields, the header has 4"),
        (_line() + ",x", RowFault.COLUMN_COUNT, "5 fields, the header has 4"),
        (",,,", RowFault.NO_SENDER, "from_address is empty"),
        (_line(sender="0x" + "g" * 40), RowFault.ADDRESS, "'0xgg"),
        (_line(sender="0x" + "aa " * 13 + "a"), RowFault.ADDRESS, "aa "),
        (_line(sender="aa" * 21), RowFault.ADDRESS, "aaaa"),
        (_line(recipient="0xaa"), RowFault.ADDRESS, "'0xaa'"),
        (_line(value=""), RowFault.VALUE, "''"),
        (_line(value="1.5e+18"), RowFault.VALUE, "'1.5e+18'"),
        (_line(value="٣"), RowFault.VALUE, "'٣'"),
        (_line(value="--5"), RowFault.VALUE, "'--5'"),
        (_line(value="-5"), RowFault.NEGATIVE, "-5"),
        (_line(value=str(2**256)), RowFault.TOO_LARGE, "is above 2^256"),
        (_line(value="9" * 10_000), RowFault.TOO_LARGE, "is above 2^256"),
        (_line() + '"', RowFault.VALUE, "'5\"'"),
        (f'"0x1,{_hex(A)},{_hex(B)},5', RowFault.QUOTING, "unexpected end of data"),
    ],
)
def test_a_broken_row_is_named_and_the_next_one_is_read(
    tmp_path: Path, line: str, fault: RowFault, detail: str
) -> None:
    first, second = read_rows(_file(tmp_path, line, _line()))
    assert isinstance(first, BrokenRow)
    assert (first.line, first.fault) == (2, fault)
    assert detail in first.detail
    assert str(first).startswith(f"line 2: {fault}: ")
    assert second == SourceRow(3, A, B, 5)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1683029999", 1683029999), ("2023-05-02 12:19:59 UTC", None), ("", None), ("-1", None)],
)
def test_the_time_is_read_when_it_is_whole_seconds(
    tmp_path: Path, text: str, seconds: int | None
) -> None:
    path = _file(tmp_path, f"{_line()},{text}", header=f"{HEADER},block_timestamp")
    assert list(read_rows(path)) == [SourceRow(2, A, B, 5, seconds)]


def test_a_parquet_timestamp_is_read(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    columns = {
        "from_address": [A],
        "to_address": [B],
        "value": ["5"],
        "block_timestamp": [datetime(2023, 5, 2, 12, 19, 59, tzinfo=UTC)],
    }
    pq.write_table(pa.table(columns), path)
    assert list(read_rows(path)) == [SourceRow(1, A, B, 5, 1683029999)]


def test_bytes_that_are_no_text_and_endless_lines_break_one_row_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ethereum_etl, "MAX_LINE_BYTES", 256)
    path = tmp_path / "t.csv"
    good = _line().encode()
    path.write_bytes(b"\n".join([HEADER.encode(), b"\xff\xfe", b"x" * 1000, good]))
    assert list(read_rows(path)) == [
        BrokenRow(2, RowFault.ENCODING, "byte 0xff"),
        BrokenRow(3, RowFault.LINE_LENGTH, "more than 256 bytes"),
        SourceRow(4, A, B, 5),
    ]


def test_quotes_blank_lines_windows_ends_and_a_byte_order_mark_are_read(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    quoted = f'"0x1","{_hex(A)}","{_hex(B)}","5"'
    path.write_bytes(f"\ufeff{HEADER}\r\n\r\n{quoted}\r\n".encode())
    assert list(read_rows(path)) == [SourceRow(3, A, B, 5)]


def test_a_gzipped_file_reads_like_the_plain_one_whatever_its_name(tmp_path: Path) -> None:
    plain = _file(tmp_path, _line(), _line(value="7"))
    packed = tmp_path / "packed"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    assert list(read_rows(packed)) == list(read_rows(plain))


def test_a_truncated_gzip_ends_in_a_named_error_after_its_good_rows(tmp_path: Path) -> None:
    lines = [_line(value=str(n * 7919**3)) for n in range(5000)]
    packed = gzip.compress("\n".join([HEADER, *lines]).encode())
    path = tmp_path / "t.csv.gz"
    path.write_bytes(packed[: len(packed) // 2])
    rows: list[SourceRow | BrokenRow] = []
    with pytest.raises(ParameterError, match=r"the compression ends or breaks after line \d+"):
        rows.extend(read_rows(path))
    assert rows == [SourceRow(n + 2, A, B, n * 7919**3) for n in range(len(rows))]
    assert len(rows) > 1000
    damaged = bytearray(packed)
    damaged[len(packed) // 2] ^= 0xFF
    path.write_bytes(bytes(damaged))
    with pytest.raises(ParameterError, match="the compression ends or breaks"):
        list(read_rows(path))


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("hash,from_address,value", "the header lacks to_address; it has: hash,from_address,value"),
        ("a,b", "the header lacks from_address, to_address, value; it has: a, b"),
        (HEADER + ",value", "the header names value twice"),
        ('"hash,from', "line 1 is not a CSV header"),
    ],
)
def test_a_wrong_header_is_refused_by_name(tmp_path: Path, header: str, message: str) -> None:
    with pytest.raises(ParameterError, match=message.replace(",", ", ?")):
        list(read_rows(_file(tmp_path, _line(), header=header)))


def test_absent_and_empty_files_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="No such file"):
        list(read_rows(tmp_path / "absent"))
    (tmp_path / "empty").touch()
    with pytest.raises(ParameterError, match="is empty"):
        list(read_rows(tmp_path / "empty"))
    (tmp_path / "empty.gz").write_bytes(gzip.compress(b""))
    with pytest.raises(ParameterError, match="is empty"):
        list(read_rows(tmp_path / "empty.gz"))


def _parquet(path: Path, value: Any) -> Path:
    columns = {
        "from_address": pa.array([_hex(A), _hex(A), "0x"]),
        "to_address": pa.array([_hex(B), None, _hex(B)]),
        "value": value,
    }
    pq.write_table(pa.table(columns), path)
    return path


@pytest.mark.parametrize(
    "value",
    [
        pa.array(["5", "6", "7"]),
        pa.array([5, 6, 7]),
        pa.array([Decimal(5), Decimal(6), Decimal(7)], pa.decimal128(38, 9)),
        pa.array(["5", "6", "7"]).dictionary_encode(),
    ],
    ids=["text", "integer", "decimal", "dictionary"],
)
def test_parquet_reads_like_csv(tmp_path: Path, value: Any) -> None:
    rows = list(read_rows(_parquet(tmp_path / "t.parquet", value)))
    assert rows == [
        SourceRow(1, A, B, 5),
        SourceRow(2, A, None, 6),
        BrokenRow(3, RowFault.ADDRESS, f"('0x', '{_hex(B)}')"),
    ]


def test_parquet_with_rounded_or_fractional_amounts_is_refused(tmp_path: Path) -> None:
    rounded = _parquet(tmp_path / "t.parquet", pa.array([1e18, 2.0, 3.0]))
    with pytest.raises(ParameterError, match="value is a double column"):
        list(read_rows(rounded))
    fractional = pa.array([Decimal("5.5"), Decimal(6), Decimal(7)], pa.decimal128(38, 9))
    first = next(iter(read_rows(_parquet(tmp_path / "t.parquet", fractional))))
    assert first == BrokenRow(1, RowFault.VALUE, "'5.500000000'")


def test_a_damaged_parquet_file_is_refused_by_name(tmp_path: Path) -> None:
    path = _parquet(tmp_path / "t.parquet", pa.array([1, 2, 3]))
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ParameterError, match="is not a readable Parquet file"):
        list(read_rows(path))
