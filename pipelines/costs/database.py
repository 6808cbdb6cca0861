"""The cost tables in DuckDB: figures go in, quantities are computed by SQL, every cell is a row with its provenance.

| relation | holds |
|---|---|
| `figures` | every input with value, unit, basis, source, commit, machine |
| `quantities` | every figure and formula with value, unit, expression, and the bases it rests on |
| `numbers` | every cell: table, row, column, quantity, value, unit, basis |
| `provenance` | every cell once for every figure that it rests on |
| a view per table | the table as it is shown |

Estimates of dollars are floating-point numbers; no money of the ledger is computed here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb

from pipelines.costs.figures import Basis, Figure
from pipelines.costs.formulas import Formula, all_formulas, check_units, sources_of
from pipelines.costs.tables import Table, all_tables, check_tables
from pipelines.costs.units import names_in
from schemas.errors import ParameterError

SMALLER = "create macro smaller(a, b) as case when a <= b then a when b < a then b end"

READING = frozenset({duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN})

ROW_COLUMN = "name"
"""First column of the view of a table."""


@dataclass(frozen=True, slots=True)
class CostModel:
    """Figures, formulas and tables that fit one another.

    Attributes:
        figures: Inputs, each name once.
        formulas: What is computed from them, each after those that it reads.
        tables: What is shown.
        sources: Figures that every quantity rests on.
    """

    figures: Sequence[Figure]
    formulas: Sequence[Formula]
    tables: Sequence[Table]
    sources: Mapping[str, tuple[str, ...]]

    def bases_of(self, quantity: str) -> list[str]:
        """Returns the bases of the figures that a quantity rests on, in the order of `Basis`."""
        read = set(self.sources[quantity])
        found = {figure.basis for figure in self.figures if figure.name in read}
        return [basis.value for basis in Basis if basis in found]


def cost_model(figures: Sequence[Figure]) -> CostModel:
    """Returns the model over some figures; the loads are among them.

    Raises:
        InvariantError: Units do not fit, or a cell has no quantity.
        ParameterError: A figure is given twice.
    """
    names = [figure.name for figure in figures]
    if len(set(names)) != len(names):
        raise ParameterError("a figure is given twice")
    loads = [figure for figure in figures if figure.name.startswith("load_")]
    formulas, tables = all_formulas(loads), all_tables(loads)
    check_tables(tables, check_units(figures, formulas))
    return CostModel(figures, formulas, tables, sources_of(figures, formulas))


def open_costs(model: CostModel) -> duckdb.DuckDBPyConnection:
    """Returns a connection in memory with all relations; no file can be read through it."""
    connection = duckdb.connect(":memory:", config={"threads": 1})
    connection.execute(SMALLER)
    _put_figures(connection, model)
    _compute(connection, model)
    _put_cells(connection, model)
    for table in model.tables:
        connection.execute(_view(table))
    connection.execute("set enable_external_access = false")
    connection.execute("set lock_configuration = true")
    return connection


def query_costs(
    connection: duckdb.DuckDBPyConnection, sql: str
) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
    """Answers one SELECT or EXPLAIN: column names and rows.

    Raises:
        ParameterError: It is something else, or fails.
    """
    try:
        statements = connection.extract_statements(sql)
        if len(statements) != 1 or statements[0].type not in READING:
            raise ParameterError("one SELECT or EXPLAIN is answered", "give one query")
        cursor = connection.execute(sql)
        return tuple(entry[0] for entry in cursor.description or ()), cursor.fetchall()
    except duckdb.Error as error:
        line = str(error).strip().splitlines()[0]
        raise ParameterError(
            f"the query failed: {line}",
            "relations: figures, quantities, numbers, provenance, and a view per table",
        ) from error


def all_cells(connection: duckdb.DuckDBPyConnection) -> list[dict[str, Any]]:
    """Returns every row of `numbers` by column."""
    columns, rows = query_costs(connection, "from numbers")
    return [dict(zip(columns, row, strict=True)) for row in rows]


def _put_figures(connection: duckdb.DuckDBPyConnection, model: CostModel) -> None:
    connection.execute(
        "create table figures (name varchar primary key, value double, unit varchar, basis varchar,"
        " source varchar, commit varchar, machine varchar)"
    )
    _insert(
        connection,
        "figures",
        [
            (one.name, one.value, one.unit, one.basis.value, one.source, one.commit, one.machine)
            for one in model.figures
        ],
    )


def _insert(
    connection: duckdb.DuckDBPyConnection, relation: str, rows: Sequence[tuple[Any, ...]]
) -> None:
    """Inserts rows by one statement; one for each takes longer than all the rest."""
    places = ", ".join(f"({', '.join('?' * len(row))})" for row in rows)
    values = [value for row in rows for value in row]
    connection.execute(f"insert into {relation} values {places}", values)  # noqa: S608 - our name


def _compute(connection: duckdb.DuckDBPyConnection, model: CostModel) -> None:
    """Computes one generation of formulas after the other, each from the columns of the one before."""
    columns = ", ".join(
        f"max(value) filter (where name = '{one.name}') as {one.name}" for one in model.figures
    )
    connection.execute(f"create table wide_0 as select {columns} from figures")  # noqa: S608 - names are identifiers
    last = 0
    for number, formulas in enumerate(_generations(model), 1):
        added = ", ".join(f"cast({one.expression} as double) as {one.name}" for one in formulas)
        connection.execute(f"create table wide_{number} as select *, {added} from wide_{last}")  # noqa: S608 - expressions are ours
        connection.execute(f"drop table wide_{last}")
        last = number
    cursor = connection.execute(f"select * from wide_{last}")  # noqa: S608 - a number
    (row,) = cursor.fetchall()
    values = dict(zip((entry[0] for entry in cursor.description or ()), row, strict=True))
    connection.execute(f"drop table wide_{last}")
    connection.execute(
        "create table quantities (name varchar primary key, value double, unit varchar,"
        " expression varchar, sources varchar[], basis varchar[])"
    )
    told = [(one.name, one.unit, "") for one in model.figures]
    told += [(one.name, one.unit, one.expression) for one in model.formulas]
    _insert(
        connection,
        "quantities",
        [
            (name, values[name], unit, text, list(model.sources[name]), model.bases_of(name))
            for name, unit, text in told
        ],
    )


def _generations(model: CostModel) -> Iterator[list[Formula]]:
    """Yields the formulas by how many others stand between them and the figures."""
    depth = {figure.name: 0 for figure in model.figures}
    by_depth: dict[int, list[Formula]] = {}
    for formula in model.formulas:
        read = (depth[name] for name in names_in(formula.expression))
        depth[formula.name] = 1 + max(read, default=0)
        by_depth.setdefault(depth[formula.name], []).append(formula)
    for number in sorted(by_depth):
        yield by_depth[number]


def _put_cells(connection: duckdb.DuckDBPyConnection, model: CostModel) -> None:
    connection.execute(
        'create table cells ("table" varchar, place integer, "row" varchar, "column" varchar,'
        " quantity varchar, remark varchar)"
    )
    _insert(
        connection,
        "cells",
        [
            (table.name, place, row.name, column, name or None, row.remark)
            for table in model.tables
            for place, row in enumerate(table.rows)
            for column, name in zip(table.columns, row.quantities, strict=True)
        ],
    )
    connection.execute("""
        create view numbers as
        select "table", place, "row", "column", quantity, value, unit, basis, expression, remark,
            case when quantity is null then 'not stated' when value is null then 'not measured'
            else 'known' end as state
        from cells left join quantities on quantities.name = cells.quantity
    """)
    connection.execute("""
        create view provenance as
        select n."table", n."row", n."column", n.quantity, n.value, n.unit, f.name as figure,
            f.value as figure_value, f.unit as figure_unit, f.basis, f.source, f.commit, f.machine
        from numbers n
        join (select name, unnest(sources) as source from quantities) s on s.name = n.quantity
        join figures f on f.name = s.source
    """)


def _view(table: Table) -> str:
    columns = ", ".join(
        f"max(value) filter (where \"column\" = '{column}') as {column}" for column in table.columns
    )
    return (
        f'create view {table.name} as select "row" as {ROW_COLUMN}, {columns},'  # noqa: S608 - ours
        " any_value(remark) as remark from numbers"
        f' where "table" = \'{table.name}\' group by "row", place order by place'
    )
