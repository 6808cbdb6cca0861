"""The generated cost tables: what `ecliptica cost` prints from the records that are shipped."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing

from pipelines.costs.database import all_cells, cost_model, open_costs
from pipelines.costs.given import given_figures
from pipelines.costs.records import DEFAULT_RECORDS, measured_figures
from pipelines.costs.tables import Table
from pipelines.costs.text import Cell, grid_of
from schemas.config import profile_configuration

SHOWN = ("comparison", "costs", "margin")
"""Tables that the document has; the command prints all of them."""


def cost_tables() -> str:
    """Returns the tables and the notes below each."""
    configuration = profile_configuration("target")
    model = cost_model([*measured_figures(DEFAULT_RECORDS), *given_figures(configuration)])
    with closing(open_costs(model)) as connection:
        cells = all_cells(connection)
    tables = {table.name: table for table in model.tables}
    return "\n\n".join(_table(tables[name], cells) for name in SHOWN)


def _table(table: Table, cells: Sequence[Cell]) -> str:
    head, *rows = grid_of(table, cells)
    kept = len(head) if any(row[-1] for row in rows) else len(head) - 1
    lines = [_line([table.title, *head[1:kept]]), "|" + "---|" * kept]
    lines += [_line(row[:kept]) for row in rows]
    return "\n".join([*lines, "", *(f"- {note}" for note in table.notes)])


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
