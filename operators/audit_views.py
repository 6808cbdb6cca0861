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

from operators.export_files import epochs_folder, exported_epochs
from schemas.errors import ParameterError

DATABASE = "audit.duckdb"
"""Views over the Parquet files; may be deleted at any time."""

READING = frozenset({duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN})
"""Statements that write nothing."""

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


def query_epochs(root: Path, sql: str) -> QueryResult:
    """Runs a query over the exported epochs, read only.

    Numbers that are not finite, which JSON cannot hold, become the texts `nan`, `inf` and `-inf`.

    Raises:
        ParameterError: Nothing is exported, or the query is wrong.
    """
    connection = open_views(root)
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
            "views: transactions, links, registrations, blocks, votes, certificates, windows, proofs, jobs, "
            "receipts, rejected, supply, rewards, faults",
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


def open_views(root: Path) -> duckdb.DuckDBPyConnection:
    """Returns a connection in memory with the views over `root`'s epochs; no other file can be read.

    Raises:
        ParameterError: Nothing is exported, or a file cannot be read as Parquet.
    """
    if next(exported_epochs(root), None) is None:
        raise ParameterError(
            f"{epochs_folder(root)} holds no epochs", "write them with `ecliptica epoch export`"
        )
    connection = duckdb.connect(":memory:")
    _create_views(connection, root)
    connection.execute(f"set allowed_directories = ['{_quoted(epochs_folder(root))}']")
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
        connection.execute(text.replace("$epochs", _quoted(epochs_folder(root))))
    except duckdb.Error as error:
        raise ParameterError(
            f"the export cannot be read: {_one_line(error)}",
            "`ecliptica epoch check` finds what is damaged, `ecliptica epoch export` writes it again",
        ) from error


def _one_line(error: duckdb.Error) -> str:
    return " ".join(line.strip(" ^") for line in str(error).splitlines() if line.strip(" ^"))


def _quoted(folder: Path) -> str:
    return str(folder.resolve()).replace("'", "''")
