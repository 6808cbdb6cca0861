"""Exported epochs in DuckDB: views over the Parquet files, and the named audit queries."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import duckdb

from operators.analytics_files import analytics_folder
from operators.export_files import epochs_folder, exported_epochs
from operators.proof_index import index_path
from operators.proof_verdict import register_verifier
from proving.stark.soundness import MINIMUM_PROVEN_BITS
from schemas.analytics import ANALYTICS
from schemas.errors import ParameterError
from schemas.exports import PROOF_INDEX
from schemas.tables import Table

DATABASE = "audit.duckdb"
"""Views over the Parquet files; may be deleted at any time."""

READING = frozenset({duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN})
"""Statements that write nothing."""

_VIEW = re.compile(r"^create or replace view (?P<name>[a-z_]+) as", re.MULTILINE)

_HEADING = re.compile(r"^-- name: (?P<name>[a-z-]+) \| (?P<meaning>.+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class NamedQuery:
    """A ready-made query.

    Attributes:
        name: Its name.
        meaning: What it answers.
        sql: Its text.
    """

    name: str
    meaning: str
    sql: str


@dataclass(frozen=True, slots=True)
class QueryResult:
    """Column names and rows."""

    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]


@cache
def named_queries() -> dict[str, NamedQuery]:
    """Returns the named queries by name."""
    text = resources.files("schemas").joinpath("queries.sql").read_text(encoding="utf-8")
    headings = list(_HEADING.finditer(text))
    ends = [heading.start() for heading in headings[1:]] + [len(text)]
    found = {}
    for heading, end in zip(headings, ends, strict=True):
        sql = text[heading.end() : end].strip().rstrip(";")
        found[heading["name"]] = NamedQuery(heading["name"], heading["meaning"], sql)
    return found


def query_epochs(root: Path, sql: str, minimum_bits: int = MINIMUM_PROVEN_BITS) -> QueryResult:
    """Runs a query over the exported epochs, read only; `verify_proof` and `verify_proof_file` can be called in it.

    Numbers that are not finite, which JSON cannot hold, become the texts `nan`, `inf` and `-inf`.

    Args:
        root: Holds `epochs/` and `proofs/`.
        sql: One SELECT or EXPLAIN.
        minimum_bits: Proven bits that the verifying functions ask for.

    Raises:
        ParameterError: Nothing is exported, or the query is wrong.
    """
    connection = open_views(root, minimum_bits)
    try:
        statements = connection.extract_statements(sql)
        if not {statement.type for statement in statements} <= READING:
            raise ParameterError(
                "only SELECT and EXPLAIN are answered", "the export is never written"
            )
        if len(statements) != 1:
            raise ParameterError(f"{len(statements)} statements are given", "give one query")
        cursor = connection.execute(sql)
        columns = tuple(entry[0] for entry in cursor.description or ())
        return QueryResult(columns, [tuple(map(_storable, row)) for row in cursor.fetchall()])
    except duckdb.Error as error:
        raise ParameterError(
            f"the query failed: {_one_line(error)}",
            f"views: {', '.join(view_names())}; functions: verify_proof(blob), verify_proof_file(path)",
        ) from error
    finally:
        connection.close()


def _storable(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, list | tuple):
        return [_storable(entry) for entry in value]
    if isinstance(value, dict):
        return {key: _storable(entry) for key, entry in value.items()}
    return value


@cache
def view_names() -> tuple[str, ...]:
    """Returns the names of the views, in the order in which they are made."""
    text = resources.files("schemas").joinpath("views.sql").read_text(encoding="utf-8")
    return tuple(_VIEW.findall(text))


def open_views(root: Path, minimum_bits: int = MINIMUM_PROVEN_BITS) -> duckdb.DuckDBPyConnection:
    """Returns a connection in memory with the views over `root`'s epochs and proofs; no other file can be read.

    Raises:
        ParameterError: Nothing is exported, or a file cannot be read as Parquet.
    """
    if next(exported_epochs(root), None) is None:
        raise ParameterError(
            f"{epochs_folder(root)} holds no epochs", "write them with `ecliptica epoch export`"
        )
    connection = duckdb.connect(":memory:")
    _create_views(connection, root)
    register_verifier(connection, root, minimum_bits)
    places = (epochs_folder(root), index_path(root).parent, analytics_folder(root))
    folders = ", ".join(f"'{_quoted(place)}'" for place in places)
    connection.execute(f"set allowed_directories = [{folders}]")
    connection.execute("set enable_external_access = false")
    connection.execute("set lock_configuration = true")
    return connection


def write_database(root: Path) -> Path:
    """Writes `audit.duckdb` with the views, for people who open it with DuckDB's own tools.

    Raises:
        ParameterError: It is open elsewhere, nothing is exported, or a file cannot be read as Parquet.
    """
    if next(exported_epochs(root), None) is None:
        raise ParameterError(f"{epochs_folder(root)} holds no epochs")
    path = root / DATABASE
    draft = root / f".{DATABASE}.draft"
    draft.unlink(missing_ok=True)
    with duckdb.connect(str(draft)) as connection:
        _create_views(connection, root)
    draft.replace(path)
    return path


def _create_views(connection: duckdb.DuckDBPyConnection, root: Path) -> None:
    text = resources.files("schemas").joinpath("views.sql").read_text(encoding="utf-8")
    try:
        text = text.replace("$epochs", _quoted(epochs_folder(root)))
        for table in ANALYTICS:
            text = text.replace(f"${table.name}", _counted(root, table))
        connection.execute(text.replace("$proof_index", _proof_index(root)))
    except duckdb.Error as error:
        raise ParameterError(
            f"the export cannot be read: {_one_line(error)}",
            "`ecliptica epoch check` finds what is damaged, `ecliptica epoch export` writes it again",
        ) from error


def _proof_index(root: Path) -> str:
    """Returns what the views read rows of `PROOF_INDEX` from; an export of an older version wrote none."""
    path = index_path(root)
    if path.exists():
        return f"read_parquet('{_quoted(path)}')"
    return _empty(PROOF_INDEX)


def _counted(root: Path, table: Table) -> str:
    """Returns what the views read rows of a table of counted windows from; most data directories have none."""
    folder = analytics_folder(root)
    if next(folder.glob(f"shard=*/epoch=*/window=*/{table.name}.parquet"), None) is None:
        return _empty(table, "null::bigint as shard, null::bigint as epoch, ")
    files = f"{_quoted(folder)}/shard=*/epoch=*/window=*/{table.name}.parquet"
    return f"read_parquet('{files}', hive_partitioning = true)"


def _empty(table: Table, more: str = "") -> str:
    columns = ", ".join(f'null::{_SQL_TYPES[str(f.type)]} as "{f.name}"' for f in table.schema)
    return f"(select {more}{columns} where false)"


_SQL_TYPES = {
    "string": "varchar",
    "int32": "integer",
    "int64": "bigint",
    "uint64": "ubigint",
    "decimal128(38, 0)": "decimal(38, 0)",
    "binary": "blob",
    "fixed_size_binary[32]": "blob",
}
"""DuckDB's names of the column types of tables that may be absent."""


def _one_line(error: duckdb.Error) -> str:
    return " ".join(line.strip(" ^") for line in str(error).splitlines() if line.strip(" ^"))


def _quoted(folder: Path) -> str:
    return str(folder.resolve()).replace("'", "''")
