"""Action of `ecliptica cost`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from pipelines.cli.contract import Call, Document, Rows
from pipelines.costs.database import CostModel, all_cells, cost_model, open_costs, query_costs
from pipelines.costs.figures import Basis, Figure
from pipelines.costs.given import given_figures
from pipelines.costs.loads import parse_load
from pipelines.costs.records import DEFAULT_RECORDS, measured_figures
from pipelines.costs.tables import needed_figures
from pipelines.costs.text import cells_by_place, lines_of
from schemas.config import profile_configuration

PROFILE = "target"
"""Whose clock and chain costs are told for: the full network, whatever is run here."""

LEGEND = "m measured by this build, p published, a assumed: what the number rests on. --json lists every figure."


def show_costs(
    call: Call, *, load: str | None, records: Path | None, figures: Path | None, sql: str | None
) -> Document | Rows:
    """Computes the tables, or answers a query over them.

    Raises:
        ParameterError: A load, a record, a figure or the query is not valid.
    """
    configuration = profile_configuration(PROFILE)
    found = [*measured_figures(records or DEFAULT_RECORDS), *given_figures(configuration, figures)]
    if load is not None:
        found.append(parse_load(load))
    model = cost_model(found)
    with closing(open_costs(model)) as connection:
        if sql is not None:
            return Rows(*query_costs(connection, sql))
        cells = all_cells(connection)
    return Document(_as_text(model, cells), _fields(model, cells))


def _fields(model: CostModel, cells: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Returns the object for programs."""
    placed = cells_by_place(cells)
    tables = {
        table.name: {
            "title": table.title,
            "notes": list(table.notes),
            "rows": [
                {
                    "name": row.name,
                    "remark": row.remark,
                    "cells": {
                        column: _cell(model, placed[table.name, row.name, column])
                        for column in table.columns
                    },
                }
                for row in table.rows
            ],
        }
        for table in model.tables
    }
    return {
        "name": "cost",
        "profile": PROFILE,
        "loads": {one.name: _figure(one) for one in model.figures if _is_load(one)},
        "machines": _machines(model),
        "tables": tables,
        "figures": {one.name: _figure(one) for one in model.figures},
        "formulas": {
            one.name: {"unit": one.unit, "expression": one.expression} for one in model.formulas
        },
    }


def _cell(model: CostModel, cell: Mapping[str, Any]) -> dict[str, Any]:
    quantity = cell["quantity"]
    if quantity is None:
        return {"value": None, "state": cell["state"]}
    sources = model.sources[quantity]
    open_figures = {figure.name for figure in model.figures if figure.value is None}
    return {
        "value": cell["value"],
        "state": cell["state"],
        "unit": cell["unit"],
        "basis": cell["basis"],
        "quantity": quantity,
        "figures": list(sources),
        "missing": [name for name in sources if name in open_figures],
    }


def _figure(figure: Figure) -> dict[str, Any]:
    return {
        "value": figure.value,
        "unit": figure.unit,
        "basis": figure.basis.value,
        "source": figure.source,
        "commit": figure.commit,
        "machine": figure.machine,
    }


def _as_text(model: CostModel, cells: Sequence[Mapping[str, Any]]) -> str:
    """Returns the tables in columns, then what is missing and where the figures are from."""
    lines: list[str] = []
    for table in model.tables:
        lines += [table.title, *lines_of(table, cells), *table.notes, ""]
    lines += [LEGEND, "", *_sources(model)]
    machines = _machines(model)
    if len(machines) > 1:
        lines.append(f"rates are of {len(machines)} machines: {'; '.join(machines)}")
    return "\n".join(lines)


def _sources(model: CostModel) -> Iterator[str]:
    """Yields what the figures of the tables rest on: missing records, records, publications, assumptions."""
    used = needed_figures(model.tables, model.sources)
    by_source: dict[tuple[str, str, str, str], list[str]] = defaultdict(list)
    for figure in model.figures:
        if figure.name in used and figure.basis is not Basis.DEFINED:
            state = figure.basis.value if figure.value is not None else "not measured"
            told = (state, figure.source, figure.commit, figure.machine)
            value = "" if figure.value is None else f" = {figure.value:.6g} {figure.unit}"
            shown = figure.name if figure.basis is Basis.MEASURED else figure.name + value
            by_source[told].append(shown)
    for place, names in sorted(by_source.items()):
        yield f"{place[0]}: {', '.join(filter(None, place[1:]))}: {', '.join(names)}"


def _machines(model: CostModel) -> list[str]:
    """Returns the machines that figures were measured on, without their load: rates of several hardly compare."""
    measured = (figure.machine for figure in model.figures if figure.machine)
    return sorted({machine.partition(", load")[0] for machine in measured})


def _is_load(figure: Figure) -> bool:
    return figure.name.startswith("load_")
