"""One query as a circuit: index bits, points, Merkle paths, DEEP quotient, folds.

The twin of `proving.commitments.fri.check_layers` and of the rows part of `proving.stark.check`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from proving.arithmetic.modulus import EXTENSION_DEGREE, GENERATOR, P
from proving.arithmetic.ntt import root_of_unity
from proving.commitments.domains import coset_shift
from proving.recursion.builder import CircuitBuilder
from proving.recursion.layout import ROW_BITS
from proving.recursion.sections import ProofPositions
from proving.recursion.sponge import Sponge
from proving.recursion.tape import Element, Word
from proving.stark.key import VerifyingKey

HALF = (P + 1) // 2
"""1/2."""

CANONICAL_TOP = 127
"""P - 1 = 127 * 2^24: a residue below it has a top part below 127, so its 31 bits are unique."""


@dataclass(frozen=True, slots=True)
class BatchedPoint:
    """One of the two points that rows are opened at.

    Attributes:
        point: z or z w.
        value: sum_j g^j f_j(point).
    """

    point: Element
    value: Element


@dataclass(frozen=True, slots=True)
class QueryContext:
    """What all queries of a proof share.

    Attributes:
        key: The proof's key.
        positions: Where the proof's elements lie in the input.
        trees: Numbers of the trees by name: `main`, ..., `layer0`, ...
        powers: g, g^2, g^3, g^4.
        here: What is opened at z.
        following: What is opened at z w; None if nothing is.
        next_weight: Power of g at which the sum over `following` begins.
        folding: Folding challenges.
        final: Coefficients of the final polynomial.
    """

    key: VerifyingKey
    positions: ProofPositions
    trees: Mapping[str, int]
    powers: Sequence[Element]
    here: BatchedPoint
    following: BatchedPoint | None
    next_weight: Element
    folding: Sequence[Element]
    final: Sequence[Element]


class QueryCircuit:
    """Writes the checks of one query."""

    def __init__(self, builder: CircuitBuilder, context: QueryContext, number: int) -> None:
        self._builder = builder
        self._context = context
        self._number = number
        self._bits: list[Element] = []
        self._indices: dict[int, Element] = {}
        self._inverse_powers: dict[int, Element] = {}
        self._point_inverses: dict[int, Element] = {}

    def check(self, drawn: Element) -> None:
        """Claims everything about the query whose index is the low bits of a drawn residue."""
        key = self._context.key
        self._take_bits(drawn)
        value = self._batched_rows()
        for number in range(len(key.schedule)):
            value = self._fold(number, value)
        last = key.schedule[-1]
        inverse = self._raised(self._point_inverse(len(key.schedule) - 1), last.log_arity)
        builder = self._builder
        point = builder.divide("the final point", builder.constant(1), inverse)
        total = self._context.final[-1]
        for coefficient in reversed(self._context.final[:-1]):
            total = builder.combine((1, 0, 0, 1, 0), total, point, coefficient)
        builder.require_equal(self._where("the final polynomial"), total, value)

    def _where(self, what: str) -> str:
        return f"{what}, query {self._number}"

    def _take_bits(self, drawn: Element) -> None:
        """Claims the 31 bits of a residue below P - 1 and notes the low bits wanted as numbers."""
        builder, key = self._builder, self._context.key
        rest = drawn
        bits: list[Element] = []
        rests: list[Element] = []
        for _ in range(30 // ROW_BITS):
            part, rest = builder.low_bits(rest)
            bits += part
            rests.append(rest)
        builder.require(self._where("the top bit"), (1, 0, 0, 0, 0), rest, rest, equals=rest)
        top = rests[24 // ROW_BITS - 1]
        below = builder.combine((0, 1, 0, 0, -CANONICAL_TOP), top)
        builder.divide(self._where("an index drawn from P - 1"), builder.constant(1), below)
        self._bits = [*bits, rest]
        wanted = sorted({key.log_size, *(layer.log_leaves for layer in key.schedule)})
        for count in wanted:
            self._indices[count] = self._low_number(drawn, rests, count)
        self._compute_inverse_powers(wanted)

    def _low_number(self, drawn: Element, rests: Sequence[Element], count: int) -> Element:
        """Returns the low `count` bits of the residue as a number."""
        builder, rows = self._builder, count // ROW_BITS
        known = rows * ROW_BITS
        total = None
        if rows:
            weights = (0, 1, P - 2**known, 0, 0)
            total = builder.combine(weights, drawn, rests[rows - 1])
        for place in range(known, count, 2):
            high = self._bits[place + 1] if place + 1 < count else None
            weights = (0, 2**place, 2 ** (place + 1), 1, 0)
            total = builder.combine(weights, self._bits[place], high, total)
        return builder.constant(0) if total is None else total

    def _compute_inverse_powers(self, wanted: Sequence[int]) -> None:
        """Notes w^-(low k bits) for the k wanted, w the root of the evaluation domain."""
        builder = self._builder
        root = pow(root_of_unity(self._context.key.log_size), -1, P)
        power = builder.constant(1)
        for place in range(max(wanted) + 1):
            if place in wanted:
                self._inverse_powers[place] = power
            if place < max(wanted):
                factor = pow(root, 2**place, P) - 1
                bit = self._bits[place]
                power = builder.combine((factor, 1, 0, 0, 0), power, bit)

    def _raised(self, element: Element, squarings: int) -> Element:
        for _ in range(squarings):
            element = self._builder.combine((1, 0, 0, 0, 0), element, element)
        return element

    def _point_inverse(self, layer: int) -> Element:
        """Returns the inverse of the first point of a layer's leaf."""
        if layer not in self._point_inverses:
            schedule = self._context.key.schedule
            this, full = schedule[layer], schedule[0].log_size
            raised = self._raised(self._inverse_powers[this.log_leaves], full - this.log_size)
            shift = pow(coset_shift(this.log_size, full), -1, P)
            self._point_inverses[layer] = self._builder.combine((0, shift, 0, 0, 0), raised)
        return self._point_inverses[layer]

    def _batched_rows(self) -> Element:
        """Claims the opened rows' paths and returns what the first layer must hold."""
        context, builder, key = self._context, self._builder, self._context.key
        positions: list[int] = []
        spans: dict[str, range] = {}
        zero = builder.tape.num_inputs
        for name, width in key.widths.items():
            row = context.positions.of(f"{name}_rows", self._number)
            filled = [*row, *[zero] * (-width % 8)]
            spans[name] = range(len(positions) // 8, (len(positions) + len(filled)) // 8)
            positions += filled
        words, total = builder.reduce_inputs(positions, context.powers)
        for name, span in spans.items():
            self._open(name, [words[place] for place in span], key.widths[name], key.log_size)
        x = builder.divide(
            "a point", builder.constant(GENERATOR), self._inverse_powers[key.log_size]
        )
        value = self._quotient(total, context.here, x)
        if context.following is None:
            return value
        layout = key.system.layout
        prefix = [words[spans["main"].start + k] for k in range(-(-layout.main_next // 8))]
        if layout.lookup_next:
            prefix += [words[spans["lookup"].start + k] for k in range(-(-layout.lookup_next // 8))]
        total = builder.reduce_words(prefix, context.powers)
        second = self._quotient(total, context.following, x)
        return builder.combine((1, 0, 0, 1, 0), second, context.next_weight, value)

    def _quotient(self, total: Element, opened: BatchedPoint, x: Element) -> Element:
        builder = self._builder
        above = builder.combine((0, 1, P - 1, 0, 0), total, opened.value)
        below = builder.combine((0, 1, P - 1, 0, 0), x, opened.point)
        return builder.divide(self._where("an opening"), above, below)

    def _open(self, name: str, words: Sequence[Word], width: int, log_leaves: int) -> None:
        """Claims that a row is a leaf of a tree, at the query's index there."""
        context = self._context
        sponge = Sponge(self._builder, width)
        for word in words:
            sponge.absorb(word)
        paths = context.positions.paths(f"{name}_paths", self._number)
        sponge.climb(self._indices[log_leaves], paths, context.trees[name])

    def _fold(self, number: int, carried: Element) -> Element:
        """Claims a leaf of a layer, that it holds the value carried there, and returns its fold."""
        context, builder = self._context, self._builder
        layer = context.key.schedule[number]
        arity = 2**layer.log_arity
        positions = context.positions.of(f"layer{number}_leaves", self._number)
        values, words = builder.input_elements(positions, with_words=True)
        self._open(f"layer{number}", words, arity * EXTENSION_DEGREE, layer.log_leaves)
        slot = self._bits[layer.log_leaves : layer.log_size]
        ratio = builder.combine(
            (1, 0, 0, 0, 0), self._point_inverse(number), context.folding[number]
        )
        chosen = list(values)
        for stage in range(layer.log_arity):
            root = pow(root_of_unity(layer.log_arity - stage), -1, P)
            values, chosen = self._halve(values, chosen, ratio, root, slot[-1 - stage])
            if stage + 1 < layer.log_arity:
                ratio = builder.combine((1, 0, 0, 0, 0), ratio, ratio)
        builder.require_equal(self._where(f"fri round {number}"), chosen[0], carried)
        return values[0]

    def _halve(
        self,
        values: Sequence[Element],
        chosen: Sequence[Element],
        ratio: Element,
        root: int,
        bit: Element,
    ) -> tuple[list[Element], list[Element]]:
        """Folds a coset by two, and keeps the half that holds the carried value.

        With d = v_j - v_(j+h): v_j - d/2 + root^j/2 ratio d, and v_j - bit d.
        """
        builder, half = self._builder, len(values) // 2
        folded: list[Element] = []
        kept: list[Element] = []
        for j in range(half):
            difference = builder.combine((0, 1, P - 1, 0, 0), values[j], values[j + half])
            weight = HALF * pow(root, j, P) % P
            folded.append(
                builder.combine((weight, 0, P - HALF, 1, 0), ratio, difference, values[j])
            )
            other = difference
            if chosen[j] != values[j]:
                other = builder.combine((0, 1, P - 1, 0, 0), chosen[j], chosen[j + half])
            kept.append(builder.combine((P - 1, 0, 0, 1, 0), bit, other, chosen[j]))
        return folded, kept
