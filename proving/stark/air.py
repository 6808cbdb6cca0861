"""What an algebraic intermediate representation (AIR) is: columns, constraints and bus messages.

An AIR author writes one function, `constraints(row)`, over a `Row` of abstract elements. Everything else
(the quotient, the LogUp columns, the verifier's identity, the bite tests) derives from the graph that one
call records. One AIR has one height; lanes stand side by side in the same row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from proving.arithmetic.program import Symbol
from schemas.errors import ParameterError

FieldArray = NDArray[np.uint32]
"""Canonical residues < P. A trace is (num_columns, height), C order: every column is contiguous."""

MAX_CONSTRAINT_DEGREE = 3
"""Row degree of any constraint, LogUp included, so that two quotient chunks always suffice."""


@dataclass(frozen=True, slots=True)
class Bus:
    """A named multiset of fixed-width tuples that must balance to zero over a whole proof.

    Attributes:
        name: Shown in errors and in bite-test coverage.
        number: Part of every fingerprint, so that tuples of two buses never meet; unique in an AIR, >= 1.
        width: Elements per tuple; one width per bus, so that (a, 0) and (a) never meet.
    """

    name: str
    number: int
    width: int


@dataclass(frozen=True, slots=True)
class Interaction:
    """A message on a bus: sends count +multiplicity, receives count -multiplicity.

    Attributes:
        name: Unique in the AIR.
        bus: Where the tuple goes.
        sign: +1 send, -1 receive.
        multiplicity: Row degree <= 2.
        values: Row degree <= 1 each; `bus.width` of them.
    """

    name: str
    bus: Bus
    sign: int
    multiplicity: Symbol | int
    values: tuple[Symbol | int, ...]


@dataclass(frozen=True, slots=True)
class Constraint:
    """An expression that is zero on every row of its domain.

    Attributes:
        name: Unique in the AIR.
        domain: `all` (rows wrap around), `first`, `last` or `transition` (all rows but the last).
        expression: The graph node.
    """

    name: str
    domain: str
    expression: Symbol


@dataclass(frozen=True, slots=True)
class PublicMessage:
    """A message that the verifier itself puts on a bus, computed from the public inputs."""

    bus: Bus
    multiplicity: int
    values: tuple[int, ...]


class Row:
    """One row of the trace and its cyclic successor, as abstract elements, and a recorder of claims.

    Attributes:
        fixed: Preprocessed columns of this row, known to the verifier through their commitment.
        local: Main columns of this row.
        next: Main columns of the next row; the last row's next is the first.
        publics: Public inputs of the proof.
        constraints: Claims recorded so far.
        interactions: Messages recorded so far.
    """

    def __init__(
        self,
        fixed: Sequence[Symbol],
        local: Sequence[Symbol],
        following: Sequence[Symbol],
        publics: Sequence[Symbol],
    ) -> None:
        self.fixed = list(fixed)
        self.local = list(local)
        self.next = list(following)
        self.publics = list(publics)
        self.constraints: list[Constraint] = []
        self.interactions: list[Interaction] = []
        self._names: set[str] = set()

    def zero(self, name: str, expression: Symbol | int) -> None:
        """Claims that the expression is zero on every row; on the last row `next` is the first row."""
        self._claim(name, "all", expression)

    def zero_on_first(self, name: str, expression: Symbol | int) -> None:
        """Claims that the expression (row degree <= 2) is zero on row 0."""
        self._claim(name, "first", expression)

    def zero_on_last(self, name: str, expression: Symbol | int) -> None:
        """Claims that the expression (row degree <= 2) is zero on the last row."""
        self._claim(name, "last", expression)

    def zero_on_transition(self, name: str, expression: Symbol | int) -> None:
        """Claims that the expression is zero on every row but the last."""
        self._claim(name, "transition", expression)

    def send(
        self, name: str, bus: Bus, multiplicity: Symbol | int, values: Sequence[Symbol | int]
    ) -> None:
        """Adds `multiplicity` copies of the tuple to the bus."""
        self._interact(name, bus, 1, multiplicity, values)

    def receive(
        self, name: str, bus: Bus, multiplicity: Symbol | int, values: Sequence[Symbol | int]
    ) -> None:
        """Takes `multiplicity` copies of the tuple from the bus."""
        self._interact(name, bus, -1, multiplicity, values)

    def _take_name(self, name: str) -> None:
        if name in self._names:
            raise ParameterError(f"two claims are named {name!r}")
        self._names.add(name)

    def _claim(self, name: str, domain: str, expression: Symbol | int) -> None:
        if isinstance(expression, int):
            raise ParameterError(f"constraint {name!r} does not depend on the trace")
        self._take_name(name)
        self.constraints.append(Constraint(name, domain, expression))

    def _interact(
        self,
        name: str,
        bus: Bus,
        sign: int,
        multiplicity: Symbol | int,
        values: Sequence[Symbol | int],
    ) -> None:
        if len(values) != bus.width:
            raise ParameterError(
                f"{name!r} puts {len(values)} values on {bus.name}, which takes {bus.width}"
            )
        self._take_name(name)
        self.interactions.append(Interaction(name, bus, sign, multiplicity, tuple(values)))


class Air(Protocol):
    """A circuit: shape, preprocessed columns, claims, and the verifier's own messages."""

    @property
    def name(self) -> str:
        """Stable identifier, part of the verifying key's digest."""
        ...

    @property
    def log_height(self) -> int:
        """Base-2 logarithm of the number of rows."""
        ...

    @property
    def num_fixed(self) -> int:
        """Number of preprocessed columns."""
        ...

    @property
    def num_main(self) -> int:
        """Number of main columns."""
        ...

    @property
    def num_publics(self) -> int:
        """Number of public inputs, all base-field elements."""
        ...

    def fixed_columns(self) -> FieldArray:
        """Returns the preprocessed columns, (num_fixed, 2^log_height)."""
        ...

    def constraints(self, row: Row) -> None:
        """Records every constraint and interaction on `row`; called once, must be deterministic."""
        ...

    def public_messages(self, publics: Sequence[int]) -> list[PublicMessage]:
        """Returns the messages that close the buses, from canonical public inputs."""
        ...
