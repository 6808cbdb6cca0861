"""What an audit finds, and the tables of an epoch as it reads them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from operators.export_files import read_table
from schemas.tables import Table


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        check: Name of the check.
        where: File, block or row.
        detail: What is wrong.
    """

    check: str
    where: str
    detail: str


@dataclass(slots=True)
class EpochTables:
    """Rows of an epoch's tables, each read once.

    Attributes:
        folder: The epoch's directory.
    """

    folder: Path
    _rows: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def rows(self, table: Table) -> list[dict[str, Any]]:
        """Returns the rows of a table.

        Raises:
            ParameterError: The file is absent or not of the table.
        """
        if table.name not in self._rows:
            self._rows[table.name] = read_table(self.folder, table).to_pylist()
        return self._rows[table.name]
