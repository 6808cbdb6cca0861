"""Checks a trace directly: every constraint on every row, and every bus as an exact multiset.

This is what a proof shows, without the proof: the tool of the tests that break one claim at a time, and of
a prover that wants to name the failing constraint before it spends minutes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from proving.arithmetic.modulus import P
from proving.arithmetic.program import Program, Symbol, trace_program
from proving.backends.port import Backend
from proving.backends.reference import ReferenceBackend
from proving.stark.air import Air, FieldArray, Interaction, PublicMessage, Row
from schemas.errors import ParameterError

Message = tuple[str, tuple[int, ...]]
"""A bus name and a tuple."""


@dataclass(frozen=True, slots=True)
class TraceReport:
    """What is wrong with a trace; empty when nothing is.

    Attributes:
        violations: Constraint name -> rows where it is not zero, ascending.
        unbalanced: Message -> what its multiplicities sum to, as a signed residue.
    """

    violations: dict[str, tuple[int, ...]]
    unbalanced: dict[Message, int]

    @property
    def holds(self) -> bool:
        """Whether the trace satisfies the circuit."""
        return not self.violations and not self.unbalanced


class TraceChecker:
    """Evaluates one AIR's claims on traces.

    Args:
        air: The circuit.
        backend: Runs the claims over the rows; the reference one if None. All give the same report.
    """

    def __init__(self, air: Air, backend: Backend | None = None) -> None:
        self.air = air
        self._backend: Backend = ReferenceBackend() if backend is None else backend
        recorded: list[Row] = []
        num_fixed, num_main = air.num_fixed, air.num_main

        def body(inputs: list[Symbol]) -> list[Symbol | int]:
            after = num_fixed + num_main
            row = Row(
                inputs[:num_fixed],
                inputs[num_fixed:after],
                inputs[after : after + num_main],
                inputs[after + num_main :],
            )
            air.constraints(row)
            recorded.append(row)
            outputs: list[Symbol | int] = [c.expression for c in row.constraints]
            for interaction in row.interactions:
                outputs += [interaction.multiplicity, *interaction.values]
            return outputs

        num_inputs = num_fixed + 2 * num_main + air.num_publics
        self.program: Program = trace_program(air.name, num_inputs, body)
        self.constraints = recorded[0].constraints
        self.interactions = recorded[0].interactions

    @cached_property
    def fixed(self) -> FieldArray:
        """The preprocessed columns, built when a trace is checked: a large circuit's take seconds."""
        return self.air.fixed_columns()

    def check(self, main: FieldArray, publics: Sequence[int]) -> TraceReport:
        """Checks a whole trace.

        Args:
            main: (num_main, height) canonical residues.
            publics: `num_publics` canonical residues.

        Raises:
            ParameterError: A shape is wrong or a value is not canonical.
        """
        outputs = self._evaluate(main, publics)
        violations: dict[str, tuple[int, ...]] = {}
        for constraint, values in zip(self.constraints, outputs, strict=False):
            if rows := _violated_rows(constraint.domain, values):
                violations[constraint.name] = rows
        sums = _Sums()
        for interaction, table in self._tables(outputs):
            sums.add(interaction.bus.name, table)
        for message in self.air.public_messages(publics):
            sums.add(message.bus.name, _public_table(message))
        return TraceReport(violations, sums.unbalanced())

    def messages(self, main: FieldArray, publics: Sequence[int], name: str) -> dict[Message, int]:
        """Returns what one interaction alone puts on its bus: tuples whose multiplicities are not zero in sum.

        Raises:
            ParameterError: The circuit has no such interaction, or as `check` does.
        """
        for interaction, table in self._tables(self._evaluate(main, publics)):
            if interaction.name == name:
                sums = _Sums()
                sums.add(interaction.bus.name, table)
                return sums.unbalanced()
        raise ParameterError(f"{self.air.name} has no message {name!r}")

    def _evaluate(self, main: FieldArray, publics: Sequence[int]) -> FieldArray:
        height = 1 << self.air.log_height
        shape = (self.air.num_main, height)
        if main.shape != shape or len(publics) != self.air.num_publics:
            raise ParameterError(f"expected a trace of {shape} and {self.air.num_publics} publics")
        if int(main.max()) >= P or not all(0 <= value < P for value in publics):
            raise ParameterError("the trace or the publics hold a non-canonical residue")
        following = np.roll(main, -1, axis=1)
        inputs: list[FieldArray | int] = [*self.fixed, *main, *following, *map(int, publics)]
        return self._backend.run(self.program, inputs, height)

    def _tables(self, outputs: FieldArray) -> Iterator[tuple[Interaction, FieldArray]]:
        """Yields each interaction with its (1 + width, height) signed multiplicities and values."""
        place = len(self.constraints)
        for interaction in self.interactions:
            table = outputs[place : place + 1 + interaction.bus.width]
            place += 1 + interaction.bus.width
            if interaction.sign < 0:
                table = np.concatenate([(np.uint32(P) - table[:1]) % np.uint32(P), table[1:]])
            yield interaction, table


class _Sums:
    """Multisets by bus, summed at the end: multiplicities are residues, so a count of P is none."""

    def __init__(self) -> None:
        self._tables: dict[str, list[FieldArray]] = {}

    def add(self, bus: str, table: FieldArray) -> None:
        """Adds (1 + width, n) multiplicities and values; what counts zero is dropped at once."""
        self._tables.setdefault(bus, []).append(table[:, table[0] != 0])

    def unbalanced(self) -> dict[Message, int]:
        """Returns the messages whose sums are not zero mod P, each as a residue nearest to zero."""
        found: dict[Message, int] = {}
        for bus, tables in self._tables.items():
            joined = np.concatenate(tables, axis=1)
            rows = np.ascontiguousarray(joined[1:].T)
            keys = rows.view(np.dtype((np.void, rows.itemsize * rows.shape[1]))).reshape(-1)
            _, first, group = np.unique(keys, return_index=True, return_inverse=True)
            totals = np.zeros(len(first), dtype=np.int64)  # P * 2^32 messages would fit
            np.add.at(totals, group, joined[0].astype(np.int64))
            totals %= P
            for place in np.flatnonzero(totals):
                count = int(totals[place])
                values = tuple(rows[first[place]].tolist())
                found[bus, values] = count - P if count > P // 2 else count
        return found


def _violated_rows(domain: str, values: FieldArray) -> tuple[int, ...]:
    """Returns the rows of a constraint's domain where it is not zero."""
    start, end = {
        "all": (0, len(values)),
        "first": (0, 1),
        "last": (len(values) - 1, len(values)),
        "transition": (0, len(values) - 1),
    }[domain]
    places: NDArray[np.intp] = np.flatnonzero(values[start:end]) + start
    return tuple(places.tolist())


def _public_table(message: PublicMessage) -> FieldArray:
    values = [message.multiplicity % P, *message.values]
    return np.array(values, dtype=np.uint32).reshape(-1, 1)
