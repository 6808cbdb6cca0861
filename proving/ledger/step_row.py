"""The fields of the transaction lane by name, as its constraints read them."""

from __future__ import annotations

from collections.abc import Callable

from proving.arithmetic.program import Symbol
from proving.ledger.layout import SPAN_WEIGHT, Lane
from proving.stark.air import Row
from schemas.steps import STEPS, Step
from schemas.units import LIMB_LIMIT


class StepRow:
    """The lane's fields by name, in this row and the next, and sums of selectors."""

    def __init__(self, row: Row, lane: Lane) -> None:
        self._lane = lane
        self._local = row.local
        self._next = row.next

    def cell(self, field: str, position: int = 0) -> Symbol:
        """Returns an element of a field."""
        return self._local[self._lane.column(field, position)]

    def following(self, field: str, position: int = 0) -> Symbol:
        """Returns an element of a field in the next row."""
        return self._next[self._lane.column(field, position)]

    def fields(self, field: str) -> list[Symbol]:
        """Returns all elements of a field."""
        return [self._local[column] for column in self._lane.places[field]]

    def pair(self, field: str, start: int = 0) -> Symbol:
        """Returns two limbs as one number below 2^30."""
        return self.cell(field, start) + LIMB_LIMIT * self.cell(field, start + 1)

    def span(self, field: str) -> Symbol:
        """Returns two limbs as a distance below 2^29 + 2^15, which cannot wrap when added to an index."""
        return self.cell(field) + SPAN_WEIGHT * self.cell(field, 1)

    def weigh(self, weight: Callable[[Step], int]) -> Symbol:
        """Returns the sum of selectors, each times its step's weight."""
        total = self.cell("padding") * 0
        for step in STEPS:
            total = total + weight(step) * self.cell(step.name)
        return total
