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
from proving.recursion.polynomials import weighted_sum
from proving.recursion.row_chains import evaluate_polynomial, reduce_inputs, reduce_words
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
        self._point_inverses: dict[int, tuple[Element, int]] = {}

    def check(self, drawn: Element) -> None:
        """Claims everything about the query whose index is the low bits of a drawn residue."""
        key = self._context.key
        self._take_bits(drawn)
        value = self._batched_rows()
        for number in range(len(key.schedule)):
            value = self._fold(number, value)
        last = key.schedule[-1]
        unshifted, shift = self._point_inverse(len(key.schedule) - 1)
        inverse = self._raised(unshifted, last.log_arity)
        builder = self._builder
        unit = builder.constant(pow(shift, -(2**last.log_arity), P))
        point = builder.divide("the final point", unit, inverse)
        total = evaluate_polynomial(builder, self._context.final, point)
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
        builder, bits = self._builder, self._bits
        rows, more = divmod(count, ROW_BITS)
        up = more > ROW_BITS // 2 and rows < len(rests)
        rows += up
        known = rows * ROW_BITS
        terms = [(1, drawn), (P - 2**known, rests[rows - 1])] if rows else []
        terms += [(P - 2**place, bits[place]) for place in range(count, known)]
        terms += [(2**place, bits[place]) for place in range(known, count)]
        return weighted_sum(builder, terms)

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

    def _point_inverse(self, layer: int) -> tuple[Element, int]:
        """Returns element and factor whose product is the inverse of the first point of a layer's leaf."""
        if layer not in self._point_inverses:
            schedule = self._context.key.schedule
            this, full = schedule[layer], schedule[0].log_size
            raised = self._raised(self._inverse_powers[this.log_leaves], full - this.log_size)
            self._point_inverses[layer] = raised, pow(coset_shift(this.log_size, full), -1, P)
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
        words, total = reduce_inputs(builder, positions, context.powers)
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
        total = reduce_words(builder, prefix, context.powers)
        second = self._quotient(total, context.following, x)
        return builder.combine((1, 0, 0, 1, 0), second, context.next_weight, value)

    def _quotient(self, total: Element, opened: BatchedPoint, x: Element) -> Element:
        builder = self._builder
        above = builder.combine((0, 1, P - 1, 0, 0), total, opened.value)
        return builder.divide(self._where("an opening"), above, x, opened.point)

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
        unshifted, shift = self._point_inverse(number)
        ratio = builder.combine((shift, 0, 0, 0, 0), unshifted, context.folding[number])
        chosen = list(values)
        for stage in range(layer.log_arity):
            root = pow(root_of_unity(layer.log_arity - stage), -1, P)
            values = self._folded(values, ratio, root)
            if stage + 1 < layer.log_arity:
                chosen = self._kept(chosen, slot[-1 - stage])
                ratio = builder.combine((1, 0, 0, 0, 0), ratio, ratio)
        first, second = chosen
        what, bit = self._where(f"fri round {number}"), slot[0]
        builder.require(what, (P - 1, 1, 0, 0, 0), first, bit, c=second, cross=1, equals=carried)
        return values[0]

    def _folded(self, values: Sequence[Element], ratio: Element, root: int) -> list[Element]:
        """Folds a coset by two: (v_j + v_(j+h)) / 2 + root^j / 2 ratio (v_j - v_(j+h))."""
        half = len(values) // 2
        folded: list[Element] = []
        for j in range(half):
            weight = HALF * pow(root, j, P) % P
            weights = (weight, HALF, 0, HALF, 0)
            a, c = values[j], values[j + half]
            folded.append(self._builder.combine(weights, a, ratio, c, cross=P - weight))
        return folded

    def _kept(self, chosen: Sequence[Element], bit: Element) -> list[Element]:
        """Keeps the half of a coset that holds the carried value: v_j - bit (v_j - v_(j+h))."""
        half = len(chosen) // 2
        return [
            self._builder.combine((P - 1, 1, 0, 0, 0), a, bit, c, cross=1)
            for a, c in zip(chosen[:half], chosen[half:], strict=True)
        ]
