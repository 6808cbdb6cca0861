"""A figure that costs are computed from: value, unit, and where it is from."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from pipelines.costs.units import parse_unit
from schemas.errors import ParameterError


class Basis(StrEnum):
    """What stands for a figure."""

    MEASURED = "measured"
    """By this build: a bench's record names commit, machine and load."""

    PUBLISHED = "published"
    """Said by somebody, and not measured here; the source is named."""

    ASSUMED = "assumed"
    """Ours, with a reason; change it with `--figures`."""

    DEFINED = "defined"
    """By a unit, by the configuration or by the circuits: nothing to measure."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One input.

    Attributes:
        name: As formulas call it.
        value: In `unit`; None where it is not measured.
        unit: As `pipelines.costs.units` reads it.
        basis: What stands for it.
        source: Record, publication or reason; what is missing where the value is None.
        commit: Of the code that was measured, or empty.
        machine: That was measured, with its load, or empty.
    """

    name: str
    value: float | None
    unit: str
    basis: Basis
    source: str
    commit: str = ""
    machine: str = ""

    def __post_init__(self) -> None:
        """Checks that the figure can be used and traced.

        Raises:
            ParameterError: The name is no name, the value not a finite number from 0, the unit unknown, or the
                provenance incomplete.
        """
        if not self.name.isidentifier():
            raise ParameterError(f"{self.name!r} is no name of a figure")
        if self.value is not None and not (math.isfinite(self.value) and self.value >= 0):
            raise ParameterError(f"{self.name} is not a number from 0: {self.value}")
        parse_unit(self.unit)
        if not self.source.strip():
            raise ParameterError(f"{self.name} has no source")
        if self.basis is Basis.MEASURED:
            if self.value is not None and not (self.commit and self.machine):
                raise ParameterError(f"{self.name} is measured, but not of a commit on a machine")
        elif self.value is None:
            raise ParameterError(f"{self.name} is {self.basis} and has no value")
