"""Lowers number-theoretic transforms to LLVM IR: Stockham's order in passes of radix four.

Values at shift_j * w^k, w of order n, for each of `cosets` shifts at once: the (n, cosets) matrix of values is the
coset of n * cosets points in natural order when shift_j = shift * v^j, v of order n * cosets. A pass turns
transforms of length 4 m over s interleaved ones into transforms of length m over 4 s of them,

    y[q + s (4 p + r)] = w_(4m)^(p r) * sum_k i^(k r) x[q + s (p + k m)],   q < s, p < m, r < 4,

with i of order four; the last pass has radix two if log2 n is odd. No index is ever bit-reversed, and neighbours
t = q + s p are read together; what they give is interleaved in registers while s is below the number of lanes.
Data are canonical residues all the way: only factors are in Montgomery form, and (a) (b 2^32) / 2^32 = a b.

Source of the order: Stockham, as in Van Loan, "Computational Frameworks for the Fast Fourier Transform", 1.7.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from llvmlite import ir

from proving.arithmetic.modulus import P
from proving.arithmetic.ntt import geometric, root_of_unity
from proving.backends.lanes import I32, I64, RADIX, Lanes, Loop
from proving.backends.port import FieldArray

TRANSFORM = "transform"
_RADIX4 = 4


@dataclass(frozen=True, slots=True)
class TransformShape:
    """Sizes of a transform.

    Attributes:
        log_length: log2 of the number of coefficients n.
        cosets: Power of two.
        lanes: Of a vector.
    """

    log_length: int
    cosets: int
    lanes: int

    @property
    def length(self) -> int:
        """Number of coefficients n."""
        return int(2**self.log_length)

    @property
    def points(self) -> int:
        """Values per column."""
        return self.length * self.cosets

    @property
    def is_vectorised(self) -> bool:
        """Whether a pass of radix four fills whole vectors; otherwise there is no code for it."""
        return self.log_length > 1 and self.points >= _RADIX4 * self.lanes

    def passes(self) -> list[tuple[int, int]]:
        """Returns (length before, interleaved transforms before) of each pass of radix four."""
        count = self.log_length // 2
        return [(self.length >> 2 * k, self.cosets << 2 * k) for k in range(count)]


def transform_factors(shape: TransformShape, root: int, scale: tuple[int, int]) -> FieldArray:
    """Returns all factors of a transform in Montgomery form, in the order in which the code reads them.

    Args:
        shape: Of the transform.
        root: Of order n.
        scale: (first, ratio): on the first coset coefficient k is multiplied by first * ratio^k.
    """
    first, ratio = scale
    step = root_of_unity(shape.points.bit_length() - 1)
    shifts = [ratio * pow(step, coset, P) % P for coset in range(shape.cosets)]
    matrix = [geometric(first, shift, shape.length) for shift in shifts]
    parts = [np.stack(matrix, axis=1).reshape(-1)]
    parts.append(np.array([pow(root, shape.length // 4, P)], dtype=np.uint32))
    for length, _ in shape.passes():
        power = pow(root, shape.length // length, P)
        parts += [geometric(1, pow(power, r, P), length // 4) for r in (1, 2, 3)]
    factors = np.concatenate(parts).astype(np.uint64) * np.uint64(RADIX % P) % np.uint64(P)
    return factors.astype(np.uint32)


def transform_module(shape: TransformShape) -> str:
    """Returns the IR of `transform(source, count, target, scratch, factors)`.

    source: (count, n) coefficients; target: (count, points) values, not overlapping; scratch: (points,);
    factors: those of `transform_factors`.
    """
    module = ir.Module(TRANSFORM)
    pointer = I32.as_pointer()
    kinds = [pointer, I64, pointer, pointer, pointer]
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), kinds), TRANSFORM)
    for argument in (function.args[0], *function.args[2:]):
        argument.add_attribute("noalias")
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    source, count, target, scratch, factors = function.args
    with Loop(builder, ir.Constant(I64, 0), count, 1) as column:
        coefficients = builder.gep(source, [builder.mul(column, _number(shape.length))])
        values = builder.gep(target, [builder.mul(column, _number(shape.points))])
        _Column(builder, shape, factors).transform(coefficients, values, scratch)
    builder.ret_void()
    return str(module)


class _Column:
    """Emits the transform of one column."""

    def __init__(self, builder: Any, shape: TransformShape, factors: Any) -> None:
        self._builder = builder
        self._shape = shape
        self._vector = Lanes(builder, shape.lanes)
        self._factors = factors
        place = builder.gep(factors, [_number(shape.points)])
        self._unit = self._vector.repeated(builder.load(place))

    def transform(self, coefficients: Any, values: Any, scratch: Any) -> None:
        shape = self._shape
        passes = shape.passes()
        total = len(passes) + shape.log_length % 2
        source, offset = coefficients, shape.points + 1
        for number, (length, stride) in enumerate(passes):
            target = scratch if (total - number) % 2 == 0 else values
            self._pass(source, target, length, stride, offset=offset, first=number == 0)
            source, offset = target, offset + 3 * (length // 4)
        if shape.log_length % 2:
            self._last_of_radix_two(source, values)

    def _pass(
        self, source: Any, target: Any, length: int, stride: int, *, offset: int, first: bool
    ) -> None:
        builder, shape = self._builder, self._shape
        quarter, tables = shape.points // 4, length // 4
        zero, lanes = _number(0), shape.lanes

        def butterfly(t: Any, p: Any, outputs: list[Any]) -> None:
            inputs = [
                self._input(source, builder.add(t, _number(k * quarter)), stride, first=first)
                for k in range(4)
            ]
            sums = self._sums(inputs)
            if length > 4:
                for r in (1, 2, 3):
                    place = builder.add(p, _number(offset + (r - 1) * tables))
                    factor = self._repeated(self._factors, place, stride)
                    sums[r] = self._vector.mul(sums[r], factor)
            for value, place in zip(self._interleaved(sums, stride), outputs, strict=True):
                self._vector.store(value, target, place)

        if stride < lanes:
            with Loop(builder, zero, _number(quarter), lanes) as t:
                start = builder.mul(t, _number(4))
                outputs = [builder.add(start, _number(r * lanes)) for r in range(4)]
                butterfly(t, builder.udiv(t, _number(stride)), outputs)
            return
        with (
            Loop(builder, zero, _number(tables), 1) as p,
            Loop(builder, zero, _number(stride), lanes) as q,
        ):
            t = builder.add(q, builder.mul(p, _number(stride)))
            start = builder.add(q, builder.mul(p, _number(4 * stride)))
            outputs = [builder.add(start, _number(r * stride)) for r in range(4)]
            butterfly(t, p, outputs)

    def _last_of_radix_two(self, source: Any, target: Any) -> None:
        builder, half = self._builder, _number(self._shape.points // 2)
        with Loop(builder, _number(0), half, self._shape.lanes) as t:
            a = self._vector.load(source, t)
            b = self._vector.load(source, builder.add(t, half))
            self._vector.store(self._vector.add(a, b), target, t)
            self._vector.store(self._vector.sub(a, b), target, builder.add(t, half))

    def _input(self, source: Any, place: Any, stride: int, *, first: bool) -> Any:
        """Loads neighbours; the first pass repeats coefficients for each coset and scales them."""
        if not first:
            return self._vector.load(source, place)
        row = self._builder.udiv(place, _number(stride))
        scale = self._vector.load(self._factors, place)
        return self._vector.mul(self._repeated(source, row, stride), scale)

    def _sums(self, x: list[Any]) -> list[Any]:
        """Returns sum_k i^(k r) x_k for r < 4."""
        vector = self._vector
        even, odd = vector.add(x[0], x[2]), vector.add(x[1], x[3])
        left = vector.sub(x[0], x[2])
        right = vector.mul(vector.sub(x[1], x[3]), self._unit)
        return [
            vector.add(even, odd),
            vector.add(left, right),
            vector.sub(even, odd),
            vector.sub(left, right),
        ]

    def _repeated(self, base: Any, place: Any, times: int) -> Any:
        """Loads elements from a place on, each as often as given, until the lanes are full."""
        builder, lanes = self._builder, self._shape.lanes
        start = builder.gep(base, [place])
        if times >= lanes:
            return self._vector.repeated(builder.load(start))
        if times == 1:
            return self._vector.load(base, place)
        kind = ir.VectorType(I32, lanes // times)
        few = builder.load(builder.bitcast(start, kind.as_pointer()), align=4)
        return self._vector.shuffle(few, few, [lane // times for lane in range(lanes)])

    def _interleaved(self, sums: list[Any], stride: int) -> list[Any]:
        """Returns four vectors with `stride` lanes of each sum in turn."""
        lanes = self._shape.lanes
        if stride >= lanes:
            return sums
        order = [
            group * stride + side * lanes + lane
            for group in range(lanes // stride)
            for side in (0, 1)
            for lane in range(stride)
        ]
        zipped = [
            self._vector.shuffle(sums[r], sums[r + 2], part)
            for r in (0, 1)
            for part in (order[:lanes], order[lanes:])
        ]
        return [
            self._vector.shuffle(zipped[half], zipped[half + 2], part)
            for half in (0, 1)
            for part in (order[:lanes], order[lanes:])
        ]


def _number(value: int) -> Any:
    return ir.Constant(I64, value)
