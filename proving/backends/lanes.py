"""Vectors of residues in LLVM IR: a lane holds a residue below P, and every operation leaves one.

The product of two lanes is reduced by one multiplication with the inverse of P (Montgomery 1985, "Modular
multiplication without trial division"): it is a b / 2^32 mod P. CPUs multiply 32-bit numbers to 64-bit products
in every other lane, so even and odd lanes are multiplied apart, as signed numbers. Let |a| < P and |b| < P,
t = a b, and m = t / P mod 2^32 with -2^31 <= m < 2^31. Then t - m P is a multiple of 2^32; since P < 2^31, both
|t| and |m P| are at most 2^31 P, and not both are equal to it, so its upper half lies strictly between -P and P.
That is good enough for a factor; otherwise P is added if it is negative. Sums, differences and products are
corrected by an unsigned minimum, since the wrong candidate wraps past 2^31.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llvmlite import ir

from proving.arithmetic.modulus import P
from proving.backends.machine_code import product_constraint

I32, I64 = ir.IntType(32), ir.IntType(64)
RADIX = 2**32
INVERSE = pow(P, -1, RADIX)
SQUARED_RADIX = RADIX * RADIX % P
SHORT_SHIFT = 8
"""Remainders of at most so many bits, times 127 * 2^8, fit their upper 16 bits."""

ALIGN = 4
"""Columns begin anywhere a 32-bit number may."""


class Lanes:
    """Emits arithmetic on vectors of `count` residues into a block.

    Attributes:
        kind: The vector type.
        builder: Where instructions go.
    """

    def __init__(self, builder: Any, count: int) -> None:
        self.builder = builder
        self.count = count
        self.kind = ir.VectorType(I32, count)
        self._pairs = ir.VectorType(I64, count // 2)
        self._constraint = product_constraint(count)
        module = builder.module
        name = f"llvm.umin.v{count}i32"
        known = module.globals.get(name)
        signature = ir.FunctionType(self.kind, [self.kind, self.kind])
        self._minimum = known or ir.Function(module, signature, name)

    def splat(self, value: int) -> Any:
        """Returns a constant in every lane."""
        return ir.Constant(self.kind, [ir.Constant(I32, value % RADIX)] * self.count)

    def constant(self, residue: int) -> Any:
        """Returns a residue, in Montgomery form, in every lane."""
        return self.splat(residue * RADIX % P)

    def repeated(self, scalar: Any) -> Any:
        """Returns a number known at run time in every lane."""
        empty = ir.Constant(self.kind, ir.Undefined)
        one = self.builder.insert_element(empty, scalar, ir.Constant(I32, 0))
        return self.shuffle(one, empty, [0] * self.count)

    def add(self, a: Any, b: Any) -> Any:
        """Adds lanes."""
        total = self.builder.add(a, b)
        return self._least(total, self.builder.sub(total, self.splat(P)))

    def sub(self, a: Any, b: Any) -> Any:
        """Subtracts lanes."""
        difference = self.builder.sub(a, b)
        return self._least(difference, self.builder.add(difference, self.splat(P)))

    def mul(self, a: Any, b: Any) -> Any:
        """Multiplies lanes: a b / 2^32."""
        evens = self._product(self._halves(a), self._halves(b))
        odds = self._product(self._odd(self._halves(a)), self._odd(self._halves(b)))
        return self._joined(evens, odds)

    def table(self, residues: Sequence[int]) -> Any:
        """Returns a table of c - P, c the residues in Montgomery form, for `entry`."""
        kind = ir.ArrayType(I32, len(residues))
        module = self.builder.module
        name = module.get_unique_name("constants")
        table = ir.GlobalVariable(module, kind, name)
        table.linkage, table.global_constant = "internal", True
        table.initializer = ir.Constant(
            kind, [(residue * RADIX % P - P) % RADIX for residue in residues]
        )
        return table

    def entry(self, table: Any, index: Any) -> Any:
        """Returns a number of a table in every lane."""
        place = self.builder.gep(table, [ir.Constant(I64, 0), index])
        return self.repeated(self.builder.load(place))

    def cubes_of_sums(self, values: Sequence[Any], shifted: Sequence[Any]) -> list[Any]:
        """Returns (a + c)^3 of c - P, entries of a table: a + c - P lies between -P and P.

        A product waits for the one before it, so products of all values are emitted in turns.
        """
        totals = list(map(self._halves, map(self.builder.add, values, shifted)))
        halves = [half for total in totals for half in (total, self._odd(total))]
        squares = list(map(self._odd, self._products(halves, halves)))
        cubes = self._products(squares, halves)
        return list(map(self._joined, cubes[::2], cubes[1::2]))

    def halved(self, a: Any, times: int) -> Any:
        """Divides lanes by 2^k, 0 < k <= 24, with at most a product of 16 bits.

        P = 1 + 127 * 2^24, so 2^-k = -127 * 2^(24 - k). With a = 2^k h + l and l < 2^k the quotient is
        h - 127 * 2^(24 - k) l, and both terms are residues: the second is below 127 * 2^24.
        """
        builder = self.builder
        if times <= SHORT_SHIFT:
            # 2^(16 - k) l in the upper 16 bits, times 127 * 2^8, has the term's upper 16 bits on top
            low = self._upper_product(builder.shl(a, self.splat(32 - times)), 127 << 8)
        else:
            rest = builder.and_(a, self.splat(2**times - 1))
            low = builder.shl(
                builder.sub(builder.shl(rest, self.splat(7)), rest), self.splat(24 - times)
            )
        return self.sub(builder.lshr(a, self.splat(times)), low)

    def _upper_product(self, lanes: Any, factor: int) -> Any:
        """Returns the upper 16 bits of the product of every 16 bits with a factor: one instruction."""
        short = ir.VectorType(ir.IntType(16), 2 * self.count)
        wide = ir.VectorType(I32, 2 * self.count)
        factors = ir.Constant(wide, [ir.Constant(I32, factor)] * (2 * self.count))
        shift = ir.Constant(wide, [ir.Constant(I32, 16)] * (2 * self.count))
        builder = self.builder
        product = builder.mul(builder.zext(builder.bitcast(lanes, short), wide), factors)
        return builder.bitcast(builder.trunc(builder.lshr(product, shift), short), self.kind)

    def enter(self, canonical: Any) -> Any:
        """Turns canonical residues into Montgomery form."""
        return self.mul(canonical, self.splat(SQUARED_RADIX))

    def leave(self, lanes: Any) -> Any:
        """Turns Montgomery form into canonical residues."""
        return self.mul(lanes, self.splat(1))

    def load(self, base: Any, offset: Any) -> Any:
        """Loads `count` neighbours from an element offset."""
        place = self.builder.gep(base, [offset])
        pointer = self.builder.bitcast(place, self.kind.as_pointer())
        return self.builder.load(pointer, align=ALIGN)

    def store(self, lanes: Any, base: Any, offset: Any) -> None:
        """Stores `count` neighbours at an element offset."""
        place = self.builder.gep(base, [offset])
        pointer = self.builder.bitcast(place, self.kind.as_pointer())
        self.builder.store(lanes, pointer, align=ALIGN)

    def shuffle(self, a: Any, b: Any, places: list[int]) -> Any:
        """Returns lanes of a and b, b's counted after a's, one for each place."""
        mask = ir.Constant(
            ir.VectorType(I32, len(places)), [ir.Constant(I32, place) for place in places]
        )
        return self.builder.shuffle_vector(a, b, mask)

    def _joined(self, evens: Any, odds: Any) -> Any:
        """Returns the upper halves of two vectors, corrected."""
        upper = [2 * (lane // 2) + 1 for lane in range(self.count)]
        chosen = [place + self.count * (lane % 2) for lane, place in enumerate(upper)]
        difference = self.shuffle(self._lanes(evens), self._lanes(odds), chosen)
        return self._least(difference, self.builder.add(difference, self.splat(P)))

    def _product(self, a: Any, b: Any) -> Any:
        return self._products([a], [b])[0]

    def _products(self, a: Sequence[Any], b: Sequence[Any]) -> list[Any]:
        """Multiplies lower halves and clears the lower half of each product with a multiple of P."""
        products = list(map(self._times, a, b))
        factors = [self._times(product, self._pair(INVERSE)) for product in products]
        multiples = [self._times(factor, self._pair(P)) for factor in factors]
        return list(map(self.builder.sub, products, multiples))

    def _times(self, a: Any, b: Any) -> Any:
        """Returns the 64-bit products of the lower halves, as signed numbers.

        The instruction is named because LLVM, seeing that only the lower half of a product is used, takes a full
        64-bit multiplication, which is three times slower.
        """
        if self._constraint is None:
            return self.builder.mul(self._even(a), self._even(b))
        signature = ir.FunctionType(self._pairs, [self._pairs, self._pairs])
        return self.builder.asm(signature, "vpmuldq $2, $1, $0", self._constraint, [a, b], False)

    def _halves(self, lanes: Any) -> Any:
        return self.builder.bitcast(lanes, self._pairs)

    def _lanes(self, pairs: Any) -> Any:
        return self.builder.bitcast(pairs, self.kind)

    def _even(self, pairs: Any) -> Any:
        shift = self._pair(32)
        return self.builder.ashr(self.builder.shl(pairs, shift), shift)

    def _odd(self, pairs: Any) -> Any:
        return self.builder.lshr(pairs, self._pair(32))

    def _pair(self, value: int) -> Any:
        return ir.Constant(self._pairs, [ir.Constant(I64, value)] * (self.count // 2))

    def _least(self, a: Any, b: Any) -> Any:
        return self.builder.call(self._minimum, [a, b])


class Loop:
    """A counted loop `for (index = start; index < end; index += step)`; use it with `with`."""

    def __init__(self, builder: Any, start: Any, end: Any, step: int) -> None:
        self._builder, self._start, self._end, self._step = builder, start, end, step

    def __enter__(self) -> Any:
        builder = self._builder
        function = builder.function
        before = builder.block
        self._head = function.append_basic_block("head")
        body = function.append_basic_block("body")
        self._after = function.append_basic_block("after")
        builder.branch(self._head)
        builder.position_at_end(self._head)
        self.index = builder.phi(I64)
        self.index.add_incoming(self._start, before)
        builder.cbranch(builder.icmp_unsigned("<", self.index, self._end), body, self._after)
        builder.position_at_end(body)
        return self.index

    def __exit__(self, *_: object) -> None:
        builder = self._builder
        following = builder.add(self.index, ir.Constant(I64, self._step))
        self.index.add_incoming(following, builder.block)
        builder.branch(self._head)
        builder.position_at_end(self._after)
