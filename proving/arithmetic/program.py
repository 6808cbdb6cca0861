"""Field programs: straight-line arithmetic written once, traced once, run by every backend.

A program is an ordinary Python function over abstract elements that support `+ - *` with each other and
with integers. `trace_program` calls it once with graph inputs and keeps the resulting graph. The same
graph is evaluated on Python integers (`evaluate_integers`), on any type with ring operations
(`evaluate`, used by the verifier on extension elements and by the reference backend on arrays), and
lowered to machine code by the compiled backends.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Protocol, Self, TypeVar

from proving.arithmetic.modulus import P
from schemas.errors import ParameterError


class Op(IntEnum):
    """Node kinds; the numbers are part of the program's fingerprint."""

    INPUT = 0
    CONSTANT = 1
    ADD = 2
    SUB = 3
    MUL = 4


class Ring(Protocol):
    """What a program body may do with its elements; integers mix in on either side."""

    def __add__(self, other: Self | int, /) -> Self: ...
    def __radd__(self, other: int, /) -> Self: ...
    def __sub__(self, other: Self | int, /) -> Self: ...
    def __rsub__(self, other: int, /) -> Self: ...
    def __mul__(self, other: Self | int, /) -> Self: ...
    def __rmul__(self, other: int, /) -> Self: ...


R = TypeVar("R", bound=Ring)


@dataclass(frozen=True, slots=True)
class Program:
    """A traced field program: nodes in topological order.

    Attributes:
        name: Shown in profiles and cache file names.
        num_inputs: Number of inputs; node i < num_inputs is input i.
        nodes: (op, a, b) triples; for CONSTANT a is the canonical value, for INPUT the input's index.
        outputs: Node numbers, one per output.
        fingerprint: SHA-256 of the graph, hex; equal graphs have equal fingerprints.
    """

    name: str
    num_inputs: int
    nodes: tuple[tuple[Op, int, int], ...]
    outputs: tuple[int, ...]
    fingerprint: str

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    def evaluate(self, inputs: Sequence[R], constant: Callable[[int], R]) -> list[R]:
        """Runs the program on any ring.

        Args:
            inputs: One ring element per input.
            constant: Lifts a canonical residue into the ring.

        Raises:
            ParameterError: The number of inputs differs from `num_inputs`.
        """
        return list(self.outputs_in_turn(inputs, constant))

    def outputs_in_turn(self, inputs: Sequence[R], constant: Callable[[int], R]) -> Iterator[R]:
        """Yields the outputs of `evaluate`, each as soon as it is known.

        Who traces a program out of another's outputs uses one before the next is computed, so few are live at a time.

        Raises:
            ParameterError: The number of inputs differs from `num_inputs`.
        """
        if len(inputs) != self.num_inputs:
            raise ParameterError(f"{self.name} takes {self.num_inputs} inputs, got {len(inputs)}")
        values: list[R] = []
        for output in self.outputs:
            for op, a, b in self.nodes[len(values) : output + 1]:
                if op is Op.INPUT:
                    values.append(inputs[a])
                elif op is Op.CONSTANT:
                    values.append(constant(a))
                elif op is Op.ADD:
                    values.append(values[a] + values[b])
                elif op is Op.SUB:
                    values.append(values[a] - values[b])
                else:
                    values.append(values[a] * values[b])
            yield values[output]

    def evaluate_integers(self, inputs: Sequence[int]) -> list[int]:
        """Runs the program on Python integers mod P: the readable reference of every backend test."""
        if len(inputs) != self.num_inputs:
            raise ParameterError(f"{self.name} takes {self.num_inputs} inputs, got {len(inputs)}")
        values: list[int] = []
        for op, a, b in self.nodes:
            if op is Op.INPUT:
                values.append(inputs[a] % P)
            elif op is Op.CONSTANT:
                values.append(a)
            elif op is Op.ADD:
                values.append((values[a] + values[b]) % P)
            elif op is Op.SUB:
                values.append((values[a] - values[b]) % P)
            else:
                values.append(values[a] * values[b] % P)
        return [values[node] for node in self.outputs]

    def read_nodes(self) -> set[int]:
        """Returns the nodes that an operation or an output reads."""
        read = set(self.outputs)
        for op, a, b in self.nodes:
            if op in (Op.ADD, Op.SUB, Op.MUL):
                read |= {a, b}
        return read

    def degrees(self, input_degrees: Sequence[int]) -> list[int]:
        """Returns the degree of each output, given the degree of each input (cancellation ignored)."""
        degree: list[int] = []
        for op, a, b in self.nodes:
            if op is Op.INPUT:
                degree.append(input_degrees[a])
            elif op is Op.CONSTANT:
                degree.append(0)
            elif op is Op.MUL:
                degree.append(degree[a] + degree[b])
            else:
                degree.append(max(degree[a], degree[b]))
        return [degree[node] for node in self.outputs]


@dataclass(slots=True)
class _Graph:
    """Nodes under construction, with constants folded and equal nodes shared."""

    nodes: list[tuple[Op, int, int]] = field(default_factory=list)
    known: dict[tuple[Op, int, int], int] = field(default_factory=dict)

    def add(self, op: Op, a: int, b: int) -> int:
        if op in (Op.ADD, Op.MUL) and b < a:
            a, b = b, a
        key = (op, a, b)
        found = self.known.get(key)
        if found is None:
            found = len(self.nodes)
            self.nodes.append(key)
            self.known[key] = found
        return found

    def constant_of(self, node: int) -> int | None:
        op, a, _ = self.nodes[node]
        return a if op is Op.CONSTANT else None


class Symbol:
    """A node of a graph under construction; behaves like a field element."""

    __slots__ = ("graph", "node")

    def __init__(self, graph: _Graph, node: int) -> None:
        self.graph = graph
        self.node = node

    def _lift(self, other: Symbol | int) -> int:
        if isinstance(other, int):
            return self.graph.add(Op.CONSTANT, other % P, 0)
        if other.graph is not self.graph:
            raise ParameterError("symbols of two programs cannot be mixed")
        return other.node

    def _apply(self, op: Op, a: int, b: int) -> Symbol:
        left, right = self.graph.constant_of(a), self.graph.constant_of(b)
        if left is not None and right is not None:
            value = {Op.ADD: left + right, Op.SUB: left - right}.get(op, left * right) % P
            return Symbol(self.graph, self.graph.add(Op.CONSTANT, value, 0))
        if op is Op.MUL and 0 in (left, right):
            return Symbol(self.graph, self.graph.add(Op.CONSTANT, 0, 0))
        if (op is Op.MUL and right == 1) or (op is not Op.MUL and right == 0):
            return Symbol(self.graph, a)
        if (op is Op.MUL and left == 1) or (op is Op.ADD and left == 0):
            return Symbol(self.graph, b)
        return Symbol(self.graph, self.graph.add(op, a, b))

    def __add__(self, other: Symbol | int) -> Symbol:
        return self._apply(Op.ADD, self.node, self._lift(other))

    def __radd__(self, other: int) -> Symbol:
        return self + other

    def __sub__(self, other: Symbol | int) -> Symbol:
        return self._apply(Op.SUB, self.node, self._lift(other))

    def __rsub__(self, other: int) -> Symbol:
        return self._apply(Op.SUB, self._lift(other), self.node)

    def __mul__(self, other: Symbol | int) -> Symbol:
        return self._apply(Op.MUL, self.node, self._lift(other))

    def __rmul__(self, other: int) -> Symbol:
        return self * other

    def __neg__(self) -> Symbol:
        return 0 - self


def trace_program(
    name: str, num_inputs: int, body: Callable[[list[Symbol]], Sequence[Symbol | int]]
) -> Program:
    """Traces `body` once and returns its graph without dead nodes.

    Args:
        name: Name of the program.
        num_inputs: Number of abstract inputs handed to `body` as one list.
        body: Ordinary Python over `+ - *`; control flow may depend on anything but the inputs.
    """
    graph = _Graph()
    inputs = [Symbol(graph, graph.add(Op.INPUT, i, 0)) for i in range(num_inputs)]
    results = [
        graph.add(Op.CONSTANT, result % P, 0) if isinstance(result, int) else result.node
        for result in body(inputs)
    ]
    return _without_dead_nodes(name, num_inputs, graph.nodes, results)


def _without_dead_nodes(
    name: str, num_inputs: int, nodes: list[tuple[Op, int, int]], results: list[int]
) -> Program:
    alive = [index < num_inputs for index in range(len(nodes))]
    for node in results:
        alive[node] = True
    for index in range(len(nodes) - 1, -1, -1):
        op, a, b = nodes[index]
        if alive[index] and op in (Op.ADD, Op.SUB, Op.MUL):
            alive[a] = alive[b] = True
    place: dict[int, int] = {}
    kept: list[tuple[Op, int, int]] = []
    for index, (op, a, b) in enumerate(nodes):
        if not alive[index]:
            continue
        place[index] = len(kept)
        kept.append((op, place[a], place[b]) if op in (Op.ADD, Op.SUB, Op.MUL) else (op, a, b))
    outputs = tuple(place[node] for node in results)
    digest = hashlib.sha256(
        repr((num_inputs, [(int(o), a, b) for o, a, b in kept], outputs)).encode()
    )
    return Program(name, num_inputs, tuple(kept), outputs, digest.hexdigest())
