"""Small circuits for tests of the proof system, valid traces for them, and a direct row-by-row check."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from proving.arithmetic.modulus import P
from proving.arithmetic.program import Symbol, trace_program
from proving.stark.air import Air, Bus, FieldArray, PublicMessage, Row


@dataclass(frozen=True, slots=True)
class Fibonacci:
    """Two columns, no fixed columns, no lookups: a(0) and a(last) are public."""

    log_height: int = 5
    step: int = 0
    name: str = "fibonacci"
    num_fixed: int = 0
    num_main: int = 2
    num_publics: int = 2

    def fixed_columns(self) -> FieldArray:
        return np.zeros((0, 2**self.log_height), dtype=np.uint32)

    def constraints(self, row: Row) -> None:
        a, b = row.local
        row.zero_on_first("first a", a - row.publics[0])
        row.zero_on_first("first b", b - 1)
        row.zero_on_transition("shift", row.next[0] - b)
        row.zero_on_transition("add", row.next[1] - a - b - self.step)
        row.zero_on_last("out", a - row.publics[1])

    def public_messages(self, publics: Sequence[int]) -> list[PublicMessage]:
        return []

    def witness(self, start: int = 3) -> tuple[list[int], FieldArray]:
        """Returns publics and a valid trace."""
        a, b = fibonacci_columns(start, 1, 2**self.log_height, self.step)
        return [start, a[-1]], np.array([a, b], dtype=np.uint32)


def fibonacci_columns(
    first: int, second: int, height: int, step: int = 0
) -> tuple[list[int], list[int]]:
    a, b = [first], [second]
    for _ in range(height - 1):
        a.append(b[-1])
        b.append((a[-2] + b[-1] + step) % P)
    return a, b


Message = Callable[[str, Bus, Symbol | int, Sequence[Symbol | int]], None]

RANGE = Bus("range", 1, 1)
PAIR = Bus("pair", 2, 2)
NOTE = Bus("note", 3, 1)

INDEX, ACTIVE, FIRST, LAST = range(4)
A, B, V, M, F, X, Y, G, U, W, Q = range(11)


@dataclass(frozen=True, slots=True)
class Exchange:
    """Every feature at once.

    Fixed: the row's index (also the range table), rows that may be used, first and last row. Main: a
    Fibonacci pair a, b; a value v below the height with the table's multiplicity m; flagged pairs (x, y)
    sent and flagged pairs (u, w) received; q = x^3; the last w equals the first y. The verifier sends one
    pair and receives q of the first row. Publics: a(0), a(last), the pair, q(0).

    Attributes:
        without: Name of a claim or message to leave out, to show that it was the one that mattered.
        table_offset: Added to the range table.
    """

    log_height: int = 5
    table_offset: int = 0
    without: str = ""
    name: str = "exchange"
    num_fixed: int = 4
    num_main: int = 11
    num_publics: int = 5

    def fixed_columns(self) -> FieldArray:
        rows = np.arange(2**self.log_height)
        height = len(rows)
        columns = [rows + self.table_offset, rows < height - 4, rows == 0, rows == height - 1]
        return np.stack(columns).astype(np.uint32)

    def constraints(self, row: Row) -> None:
        local, after, fixed, publics = row.local, row.next, row.fixed, row.publics
        claims = {
            "first a": (row.zero_on_first, local[A] - publics[0]),
            "first b": (row.zero_on_first, local[B] - 1),
            "shift": (row.zero_on_transition, after[A] - local[B]),
            "add": (row.zero_on_transition, after[B] - local[A] - local[B]),
            "out": (row.zero_on_last, local[A] - publics[1]),
            "f boolean": (row.zero, local[F] * (local[F] - 1)),
            "g boolean": (row.zero, local[G] * (local[G] - 1)),
            "f padding": (row.zero, (1 - fixed[ACTIVE]) * local[F]),
            "g padding": (row.zero, (1 - fixed[ACTIVE]) * local[G]),
            "cube": (row.zero, local[Q] - local[X] * local[X] * local[X]),
            "wrap": (row.zero, fixed[LAST] * (local[W] - after[Y])),
        }
        for name, (claim, expression) in claims.items():
            if name != self.without:
                claim(name, expression)
        messages: dict[str, tuple[Message, Bus, Symbol | int, list[Symbol]]] = {
            "table": (row.receive, RANGE, local[M], [fixed[INDEX]]),
            "use": (row.send, RANGE, 1, [local[V]]),
            "pair out": (row.send, PAIR, local[F], [local[X], local[Y]]),
            "pair in": (row.receive, PAIR, local[G], [local[U], local[W]]),
            "note": (row.send, NOTE, fixed[FIRST], [local[Q]]),
        }
        for name, (message, bus, multiplicity, values) in messages.items():
            if name != self.without:
                message(name, bus, multiplicity, values)

    def public_messages(self, publics: Sequence[int]) -> list[PublicMessage]:
        return [
            PublicMessage(PAIR, 1, (publics[2], publics[3])),
            PublicMessage(NOTE, -1, (publics[4],)),
        ]

    def witness(self, seed: int = 1) -> tuple[list[int], FieldArray]:
        """Returns publics and a valid trace."""
        height = 2**self.log_height
        rng = np.random.default_rng(seed)
        trace = np.zeros((self.num_main, height), dtype=np.int64)
        trace[A], trace[B] = fibonacci_columns(3, 1, height)
        trace[V] = rng.integers(0, height, height)
        trace[M] = np.bincount(trace[V], minlength=height)
        trace[V] += self.table_offset
        trace[X] = rng.integers(0, P, height)
        trace[Y] = rng.integers(0, P, height)
        trace[F, 1:5] = 1
        trace[Q] = [pow(int(x), 3, P) for x in trace[X]]
        pair = [int(value) for value in rng.integers(0, P, 2)]
        received = [[int(trace[X, i]), int(trace[Y, i])] for i in (3, 1, 4, 2)]
        for place, (x, y) in enumerate([*received, pair], start=6):
            trace[G, place], trace[U, place], trace[W, place] = 1, x, y
        trace[W, -1] = trace[Y, 0]
        publics = [3, int(trace[A, -1]), *pair, int(trace[Q, 0])]
        return publics, trace.astype(np.uint32)


def violations(air: Air, trace: FieldArray, publics: Sequence[int]) -> set[str]:
    """Returns the names of violated constraints and `bus NAME` of unbalanced buses, row by row."""
    rows: list[Row] = []

    def body(inputs: list[Symbol]) -> list[Symbol | int]:
        after = air.num_fixed + air.num_main
        row = Row(
            inputs[: air.num_fixed],
            inputs[air.num_fixed : after],
            inputs[after : after + air.num_main],
            inputs[after + air.num_main :],
        )
        air.constraints(row)
        rows.append(row)
        return [
            *(constraint.expression for constraint in row.constraints),
            *(v for message in row.interactions for v in (message.multiplicity, *message.values)),
        ]

    size = air.num_fixed + 2 * air.num_main + air.num_publics
    program = trace_program("direct", size, body)
    height = 2**air.log_height
    fixed = air.fixed_columns()
    found: set[str] = set()
    total: Counter[tuple[str, tuple[int, ...]]] = Counter()
    for index in range(height):
        here, after = trace[:, index].tolist(), trace[:, (index + 1) % height].tolist()
        outputs = program.evaluate_integers([*fixed[:, index].tolist(), *here, *after, *publics])
        domains = {"all": True, "first": index == 0, "last": index == height - 1}
        domains["transition"] = index < height - 1
        place = len(rows[0].constraints)
        for constraint, value in zip(rows[0].constraints, outputs, strict=False):
            if value and domains[constraint.domain]:
                found.add(constraint.name)
        for message in rows[0].interactions:
            values = tuple(outputs[place + 1 : place + 1 + message.bus.width])
            total[message.bus.name, values] += message.sign * outputs[place]
            place += 1 + message.bus.width
    for public in air.public_messages(publics):
        total[public.bus.name, public.values] += public.multiplicity
    return found | {f"bus {name}" for (name, _), count in total.items() if count % P}
