"""Field programs as multiply-adds of a circuit: the constraint graph that the native verifier evaluates.

A node is kept as a sum of weighted elements and products until something needs its address. Short sums are
written out again wherever they are read, since a multiply-add has room for two terms more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from proving.arithmetic.modulus import P
from proving.arithmetic.program import Op, Program
from proving.recursion.builder import CircuitBuilder
from proving.recursion.tape import Element
from schemas.errors import InvariantError

REPEATED_TERMS = 2
"""A sum of so many terms that is read more than once gets no address; the best of 1..8 for every circuit in use."""


@dataclass(frozen=True, slots=True)
class Product:
    """(weight a + cross c) b."""

    weight: int
    a: Element
    b: Element
    cross: int = 0
    c: Element | None = None


@dataclass(frozen=True, slots=True)
class Form:
    """A sum: constant, weighted elements, products."""

    constant: int = 0
    terms: dict[Element, int] = field(default_factory=dict)
    products: tuple[Product, ...] = ()

    @property
    def is_constant(self) -> bool:
        """Whether no element takes part."""
        return not self.terms and not self.products

    def scaled(self, factor: int) -> Form:
        """Returns the form times a base element."""
        products = tuple(
            Product(p.weight * factor % P, p.a, p.b, p.cross * factor % P, p.c)
            for p in self.products
        )
        terms = {element: weight * factor % P for element, weight in self.terms.items()}
        return Form(self.constant * factor % P, terms, products)


def affine(element: Element, factor: int = 1) -> Form:
    """Returns factor * element."""
    return Form(terms={element: factor})


def plus(left: Form, right: Form) -> Form:
    """Returns the sum of two forms."""
    terms = dict(left.terms)
    for element, weight in right.terms.items():
        terms[element] = (terms.get(element, 0) + weight) % P
    kept = {element: weight for element, weight in terms.items() if weight}
    return Form((left.constant + right.constant) % P, kept, left.products + right.products)


def weighted_sum(builder: CircuitBuilder, terms: Sequence[tuple[int, Element]]) -> Element:
    """Returns the sum of k * element over (k, element)."""
    total = Form()
    for weight, element in terms:
        total = plus(total, affine(element, weight % P))
    return element_of(builder, total)


def element_of(builder: CircuitBuilder, form: Form) -> Element:
    """Returns the address of a form's value, with multiply-adds unless it is an element already.

    One for each product, which takes the terms of its factors and one more along; three terms the first time
    and two each time after for what is left.
    """
    if form.is_constant:
        return builder.constant(form.constant)
    if not form.products and not form.constant and list(form.terms.values()) == [1]:
        return next(iter(form.terms))
    terms, constant = dict(form.terms), form.constant
    total: Element | None = None
    for product in sorted(form.products, key=lambda product: product.c is None):
        total = _with_product(builder, product, terms, total, constant)
        constant = 0
    while terms:
        a, first = terms.popitem()
        b, second = terms.popitem() if terms else (None, 0)
        c, third = (total, 1) if total is not None else _any_term(terms)
        total = builder.combine((0, first, second, third, constant), a, b, c)
        constant = 0
    if total is None:
        raise InvariantError("a form without terms is a constant")
    return total


def _with_product(
    builder: CircuitBuilder,
    product: Product,
    terms: dict[Element, int],
    total: Element | None,
    constant: int,
) -> Element:
    """Adds a product to a total, and the terms that fit beside it, which are taken out of `terms`."""
    a, weight = product.a, product.weight
    if product.c is not None and total is not None:  # the third slot is taken
        a, weight = builder.combine((0, weight, 0, product.cross, 0), a, None, product.c), 1
    first, second = terms.pop(a, 0), terms.pop(product.b, 0)
    if total is not None:
        return builder.combine((weight, first, second, 1, constant), a, product.b, total)
    if product.c is None:
        c, third = _any_term(terms)
        return builder.combine((weight, first, second, third, constant), a, product.b, c)
    third = terms.pop(product.c, 0)
    weights = (weight, first, second, third, constant)
    return builder.combine(weights, a, product.b, product.c, cross=product.cross)


def _any_term(terms: dict[Element, int]) -> tuple[Element | None, int]:
    return terms.popitem() if terms else (None, 0)


def evaluate(builder: CircuitBuilder, program: Program, inputs: Sequence[Form]) -> list[Form]:
    """Runs a program on forms."""
    return _Evaluation(builder, program).run(inputs)


class _Evaluation:
    """One run; `_values` holds a form for every node so far."""

    def __init__(self, builder: CircuitBuilder, program: Program) -> None:
        self._builder = builder
        self._program = program
        self._values: list[Form] = []
        self._reads = [0] * len(program.nodes)
        for op, a, b in program.nodes:
            if op in (Op.ADD, Op.SUB, Op.MUL):
                self._reads[a] += 1
                self._reads[b] += 1
        for node in program.outputs:
            self._reads[node] += 1

    def run(self, inputs: Sequence[Form]) -> list[Form]:
        """Returns the outputs."""
        values = self._values
        for number, (op, a, b) in enumerate(self._program.nodes):
            if op is Op.INPUT:
                values.append(inputs[a])
            elif op is Op.CONSTANT:
                values.append(Form(a))
            elif op is Op.MUL:
                values.append(self._times(a, b))
            elif op is Op.ADD:
                values.append(plus(values[a], values[b]))
            else:
                values.append(plus(values[a], values[b].scaled(P - 1)))
            made = values[number]
            if self._reads[number] > 1 and (made.products or len(made.terms) > REPEATED_TERMS):
                self._narrowed(number)
        return [values[node] for node in self._program.outputs]

    def _times(self, a: int, b: int) -> Form:
        """Returns the product of two nodes."""
        values = self._values
        for one, other in ((a, b), (b, a)):
            if values[one].is_constant:
                return values[other].scaled(values[one].constant)
        if a != b and self._is_pair(a) and not self._is_pair(b):
            a, b = b, a
        left, factor, shift = self._narrowed(a)
        if a != b and self._is_pair(b):
            (first, weight), (second, cross) = values[b].terms.items()
            constant = values[b].constant
            product = Product(factor * weight % P, first, left, factor * cross % P, second)
            rest = plus(affine(left, factor * constant % P), values[b].scaled(shift))
            return Form(rest.constant, rest.terms, (product,))
        right, weight, offset = self._narrowed(b)
        terms = plus(affine(left, factor * offset % P), affine(right, weight * shift % P)).terms
        product = Product(factor * weight % P, left, right)
        return Form(shift * offset % P, terms, (product,))

    def _is_pair(self, node: int) -> bool:
        """Whether a node is a sum of two elements that nothing else reads."""
        value = self._values[node]
        return len(value.terms) == 2 and not value.products and self._reads[node] == 1

    def _narrowed(self, node: int) -> tuple[Element, int, int]:
        """Returns element, factor and constant of a node, which is given an address if it needs one."""
        value = self._values[node]
        if value.products or len(value.terms) != 1:
            value = self._values[node] = affine(element_of(self._builder, value))
        ((element, factor),) = value.terms.items()
        return element, factor, value.constant
