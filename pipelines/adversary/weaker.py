"""A circuit that lacks a claim: what shows that the claim was the one that mattered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from proving.stark.air import Air, FieldArray, PublicMessage, Row


@dataclass(frozen=True)
class Weaker:
    """Another circuit without one constraint or message, or without a whole bus.

    Attributes:
        whole: The circuit that it weakens.
        missing: Name of a constraint, a message or a bus.
    """

    whole: Air
    missing: str

    @property
    def name(self) -> str:
        """The name of the whole circuit: only the claims differ."""
        return self.whole.name

    @property
    def log_height(self) -> int:
        """As the whole circuit."""
        return self.whole.log_height

    @property
    def num_fixed(self) -> int:
        """As the whole circuit."""
        return self.whole.num_fixed

    @property
    def num_main(self) -> int:
        """As the whole circuit."""
        return self.whole.num_main

    @property
    def num_publics(self) -> int:
        """As the whole circuit."""
        return self.whole.num_publics

    def fixed_columns(self) -> FieldArray:
        """Returns the whole circuit's preprocessed columns."""
        return self.whole.fixed_columns()

    def constraints(self, row: Row) -> None:
        """Records everything but what is missing."""
        self.whole.constraints(row)
        row.constraints[:] = [c for c in row.constraints if c.name != self.missing]
        row.interactions[:] = [
            i for i in row.interactions if self.missing not in (i.name, i.bus.name)
        ]

    def public_messages(self, publics: Sequence[int]) -> list[PublicMessage]:
        """Returns the verifier's own messages, unless their bus is missing."""
        return [m for m in self.whole.public_messages(publics) if m.bus.name != self.missing]
