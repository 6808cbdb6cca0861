"""The cost tables for people: a number with its unit and marks of what it rests on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pipelines.costs.figures import Basis
from pipelines.costs.tables import Table

Cell = Mapping[str, Any]
"""A row of the relation `numbers`."""

MARKS: Mapping[str, str] = {
    Basis.MEASURED.value: "m",
    Basis.PUBLISHED.value: "p",
    Basis.ASSUMED.value: "a",
    Basis.DEFINED.value: "",
}
"""What stands behind a number for people; what is defined needs no mark."""


def cells_by_place(cells: Sequence[Cell]) -> Mapping[tuple[str, str, str], Cell]:
    """Returns the cells by table, row and column."""
    return {(cell["table"], cell["row"], cell["column"]): cell for cell in cells}


def grid_of(table: Table, cells: Sequence[Cell]) -> list[list[str]]:
    """Returns a table as text: its head, then its rows with their remarks at the end."""
    placed = cells_by_place(cells)
    grid = [["", *table.columns, ""]]
    for row in table.rows:
        shown = [cell_text(placed[table.name, row.name, column]) for column in table.columns]
        grid.append([row.name, *shown, row.remark])
    return grid


def lines_of(table: Table, cells: Sequence[Cell]) -> Iterator[str]:
    """Yields a table in columns."""
    grid = grid_of(table, cells)
    widths = [max(map(len, column)) for column in zip(*grid, strict=True)]
    for entry in grid:
        cut = zip(entry, widths, strict=True)
        yield "  ".join(text.ljust(width) for text, width in cut).rstrip()


def cell_text(cell: Cell) -> str:
    """Returns a number with unit and marks, or why there is none."""
    if cell["state"] != "known":
        return "-" if cell["quantity"] is None else str(cell["state"])
    marks = "".join(MARKS[basis] for basis in cell["basis"])
    return f"{_number(cell['value'])} {_unit(cell['unit'])} {marks}".replace("  ", " ").rstrip()


def _number(value: float) -> str:
    if value and abs(value) < 0.001:
        return f"{value:.3g}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _unit(unit: str) -> str:
    names = {
        "1": "",
        "second": "s",
        "core*second": "core s",
        "transaction/second/machine": "tx/s",
        "transaction/second/gpu": "tx/s/GPU",
        "transaction/second": "tx/s",
        "core": "cores",
        "gpu": "GPUs",
        "bit": "bits",
        "byte": "bytes",
        "dollar/eclipt": "$/ECLIPT",
        "eclipt/epoch": "ECLIPT",
    }
    return "$" if unit.startswith("dollar/") and unit not in names else names.get(unit, unit)
