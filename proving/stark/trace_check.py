"""Checks a trace directly: every constraint on every row, and every bus as an exact multiset.

This is what a proof shows, without the proof: the tool of the tests that break one claim at a time, and of
a prover that wants to name the failing constraint before it spends minutes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from proving.arithmetic.modulus import P
from proving.arithmetic.program import Program, Symbol, trace_program
from proving.arithmetic.residues import Residues
from proving.stark.air import Air, FieldArray, Row
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
    """

    def __init__(self, air: Air) -> None:
        self.air = air
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
        self.fixed: FieldArray = air.fixed_columns()

    def check(self, main: FieldArray, publics: Sequence[int]) -> TraceReport:
        """Checks a whole trace.

        Args:
            main: (num_main, height) canonical residues.
            publics: `num_publics` canonical residues.

        Raises:
            ParameterError: A shape is wrong or a value is not canonical.
        """
        shape = (self.air.num_main, 1 << self.air.log_height)
        if main.shape != shape or len(publics) != self.air.num_publics:
            raise ParameterError(f"expected a trace of {shape} and {self.air.num_publics} publics")
        if int(main.max()) >= P or not all(0 <= value < P for value in publics):
            raise ParameterError("the trace or the publics hold a non-canonical residue")
        violations: dict[str, list[int]] = {}
        total: Counter[Message] = Counter()
        for row, outputs in self._evaluate(main, publics, range(shape[1])):
            for name in self._violated(row, outputs, shape[1]):
                violations.setdefault(name, []).append(row)
            self._count(total, outputs)
        total.update(self.public_counter(publics))
        found = {name: tuple(rows) for name, rows in violations.items()}
        return TraceReport(found, signed(total))

    def check_rows(
        self, main: FieldArray, publics: Sequence[int], rows: Iterable[int]
    ) -> tuple[dict[str, tuple[int, ...]], Counter[Message]]:
        """Returns the violations on some rows and the sum of their messages."""
        height = main.shape[1]
        violations: dict[str, list[int]] = {}
        total: Counter[Message] = Counter()
        for row, outputs in self._evaluate(main, publics, sorted(set(rows))):
            for name in self._violated(row, outputs, height):
                violations.setdefault(name, []).append(row)
            self._count(total, outputs)
        return {name: tuple(places) for name, places in violations.items()}, total

    def public_counter(self, publics: Sequence[int]) -> Counter[Message]:
        """Returns the verifier's own messages."""
        total: Counter[Message] = Counter()
        for message in self.air.public_messages(publics):
            total[message.bus.name, message.values] += message.multiplicity
        return total

    def _evaluate(
        self, main: FieldArray, publics: Sequence[int], rows: Sequence[int]
    ) -> Iterable[tuple[int, list[int]]]:
        if len(rows) > 8:
            yield from self._evaluate_many(main, publics, rows)
            return
        height = main.shape[1]
        for row in rows:
            inputs = [*self.fixed[:, row].tolist(), *main[:, row].tolist()]
            inputs += [*main[:, (row + 1) % height].tolist(), *publics]
            yield row, self.program.evaluate_integers(inputs)

    def _evaluate_many(
        self, main: FieldArray, publics: Sequence[int], rows: Sequence[int]
    ) -> Iterable[tuple[int, list[int]]]:
        here = np.array(rows)
        after = (here + 1) % main.shape[1]
        stacked = np.concatenate([self.fixed[:, here], main[:, here], main[:, after]])
        inputs = [Residues(column.astype(np.uint64)) for column in stacked]
        size = len(rows)
        inputs += [_constant(value, size) for value in publics]
        outputs = self.program.evaluate(inputs, lambda value: _constant(value, size))
        table = np.stack([output.residues for output in outputs], axis=1)
        yield from zip(rows, table.tolist(), strict=True)

    def _violated(self, row: int, outputs: Sequence[int], height: int) -> Iterable[str]:
        applies = {
            "all": True,
            "first": row == 0,
            "last": row == height - 1,
            "transition": row < height - 1,
        }
        for constraint, value in zip(self.constraints, outputs, strict=False):
            if value and applies[constraint.domain]:
                yield constraint.name

    def _count(self, total: Counter[Message], outputs: Sequence[int]) -> None:
        place = len(self.constraints)
        for interaction in self.interactions:
            multiplicity = outputs[place]
            values = outputs[place + 1 : place + 1 + interaction.bus.width]
            place += 1 + interaction.bus.width
            if multiplicity:
                total[interaction.bus.name, tuple(values)] += interaction.sign * multiplicity


def signed(total: Counter[Message]) -> dict[Message, int]:
    """Returns the messages whose sums are not zero mod P, each as a residue nearest to zero."""
    found = {message: count % P for message, count in total.items() if count % P}
    return {message: count - P if count > P // 2 else count for message, count in found.items()}


def _constant(value: int, size: int) -> Residues:
    return Residues(np.full(size, value, dtype=np.uint64))
