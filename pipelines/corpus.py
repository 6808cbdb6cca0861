"""Signed traffic as a Parquet file: the genesis transactions, then the traffic, each with what is expected of it.

One row per transaction in the order in which it is to be sent. The file's key-value metadata describe it.
A corpus holds the seed of its accounts' keys: it is for tests and load, never for keys that guard value.
"""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from schemas.errors import EclipticaError, ParameterError

T = TypeVar("T")

FORMAT = "ecliptica-corpus-1"
METADATA_KEY = b"ecliptica"
ROW_GROUP_ROWS = 4096
"""Rows held in memory before they are written: about 11 MB."""

SIGNING_CHUNK = 64
"""Items of one unit of parallel work: 40 ms of signing."""

GENESIS_PHASE = "genesis"
TRAFFIC_PHASE = "traffic"
ADMITTED = "admitted"
"""Expected verdict of a valid transaction; otherwise the name of the rejection reason."""

CORPUS_SCHEMA = pa.schema(
    [
        pa.field("phase", pa.string(), nullable=False),
        pa.field("body", pa.binary(), nullable=False),
        pa.field("signature", pa.binary(), nullable=False),
        pa.field("expected", pa.string(), nullable=False),
        pa.field("origin", pa.string(), nullable=False),
        pa.field("event_millis", pa.int64(), nullable=True),
    ]
)
"""`origin`: the source line or the generator's kind; `event_millis`: when it happened, for `--rate 2x`."""


@dataclass(frozen=True, slots=True)
class CorpusRow:
    """One transaction to send; the fields are those of `CORPUS_SCHEMA`."""

    phase: str
    body: bytes
    signature: bytes
    expected: str
    origin: str
    event_millis: int | None = None


@dataclass(frozen=True, slots=True)
class CorpusInfo:
    """What the metadata of a corpus say.

    Attributes:
        chain: Chain number that every transaction is signed for.
        shard: Shard that every transaction is for.
        seed: Seed of the account keys and of the issuer's.
        genesis_rows: Rows of phase genesis; they come first.
        traffic_rows: Rows of phase traffic.
        accounts: Registered accounts.
        expiry_slot: Last slot of the valid transactions.
        sources: What was imported or generated, in order, with its counts.
    """

    chain: int
    shard: int
    seed: int
    genesis_rows: int
    traffic_rows: int
    accounts: int
    expiry_slot: int
    sources: tuple[Mapping[str, Any], ...]


@dataclass(slots=True)
class CorpusWriter:
    """Writes rows in groups; `write_corpus` opens and finishes it."""

    path: Path
    _writer: pq.ParquetWriter
    _rows: list[CorpusRow] = field(default_factory=list)
    genesis_rows: int = 0
    traffic_rows: int = 0

    def add(self, row: CorpusRow) -> None:
        """Appends a row."""
        if row.phase == GENESIS_PHASE:
            self.genesis_rows += 1
        else:
            self.traffic_rows += 1
        self._rows.append(row)
        if len(self._rows) >= ROW_GROUP_ROWS:
            self.flush()

    def flush(self) -> None:
        """Writes the rows held."""
        if self._rows:
            columns = [
                pa.array([getattr(row, f.name) for row in self._rows], f.type)
                for f in CORPUS_SCHEMA
            ]
            self._writer.write_table(pa.table(columns, schema=CORPUS_SCHEMA))
            self._rows.clear()

    def describe(self, info: CorpusInfo) -> None:
        """Stores the metadata; to be called once, after the last row."""
        text = json.dumps({"format": FORMAT, **asdict(info)})
        self._writer.add_key_value_metadata({METADATA_KEY.decode(): text})


@contextmanager
def write_corpus(path: Path) -> Iterator[CorpusWriter]:
    """Opens a corpus for writing; the file appears under its name only when the block ends well.

    Raises:
        EclipticaError: The file cannot be written: no space, no permission, no such folder.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        try:
            with (
                partial.open("wb") as file,
                pq.ParquetWriter(
                    file,
                    CORPUS_SCHEMA,
                    compression="zstd",
                    use_dictionary=["phase", "expected"],
                    write_statistics=["phase", "expected", "event_millis"],
                ) as parquet,
            ):
                writer = CorpusWriter(path, parquet)
                yield writer
                writer.flush()
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        reason = error.strerror or str(error)
        raise EclipticaError(
            f"cannot write {path}: {reason}", "nothing was left behind; free space or choose --out"
        ) from error


def read_corpus_info(path: Path) -> CorpusInfo:
    """Returns the metadata of a corpus.

    Raises:
        ParameterError: The file is absent or is no corpus of this format.
    """
    return _info(path, _open(path))


def read_corpus(path: Path) -> Iterator[CorpusRow]:
    """Yields the rows of a corpus in order, one row group in memory.

    Raises:
        ParameterError: The file is absent, damaged or no corpus of this format.
    """
    file = _open(path)
    _info(path, file)
    try:
        for batch in file.iter_batches(1024):
            for record in batch.to_pylist():
                yield CorpusRow(**record)
    except (pa.ArrowException, OSError) as error:
        raise ParameterError(f"{path} is damaged: {error}") from error


def _open(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path)
    except FileNotFoundError as error:
        raise ParameterError(
            f"{path} does not exist", "make one with `ecliptica traffic import` or `generate`"
        ) from error
    except (pa.ArrowException, OSError) as error:
        raise ParameterError(f"{path} is not a Parquet file: {error}") from error


def _info(path: Path, file: pq.ParquetFile) -> CorpusInfo:
    text = (file.metadata.metadata or {}).get(METADATA_KEY)
    if text is None or file.schema_arrow.remove_metadata() != CORPUS_SCHEMA:
        raise ParameterError(
            f"{path} is not a traffic corpus", "make one with `ecliptica traffic import`"
        )
    document = json.loads(text)
    found = document.pop("format", None)
    if found != FORMAT:
        raise ParameterError(f"{path} has corpus format {found!r}, this version reads {FORMAT!r}")
    return CorpusInfo(**{**document, "sources": tuple(document["sources"])})


def map_in_order(
    items: Iterable[T], work: Callable[[T], CorpusRow], threads: int
) -> Iterator[CorpusRow]:
    """Applies `work` on threads and yields the results in order, a bounded number in flight.

    Signing and key generation release the interpreter lock, so threads are enough.
    """
    source = iter(items)
    in_flight: deque[Future[list[CorpusRow]]] = deque()
    pool = ThreadPoolExecutor(threads)
    try:
        while True:
            while len(in_flight) < 2 * threads:
                chunk = list(islice(source, SIGNING_CHUNK))
                if not chunk:
                    break
                in_flight.append(pool.submit(lambda part: [work(item) for item in part], chunk))
            if not in_flight:
                return
            yield from in_flight.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
