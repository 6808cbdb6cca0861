"""Field programs as multiply-adds of a circuit: the constraint graph that the native verifier evaluates.

A node is kept as k e + c, or as a sum of products that still has room, until something needs its address; so
constants cost nothing and a product with a sum behind it is one multiply-add.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from proving.arithmetic.modulus import P
from proving.arithmetic.program import Op, Program
from proving.recursion.builder import CircuitBuilder
from proving.recursion.tape import Element


@dataclass(frozen=True, slots=True)
class Form:
    """product a b + first a + second b + third c + constant; slots that are None do not take part."""

    constant: int = 0
    product: int = 0
    first: int = 0
    second: int = 0
    third: int = 0
    a: Element | None = None
    b: Element | None = None
    c: Element | None = None

    @property
    def is_constant(self) -> bool:
        """Whether no element takes part."""
        return self.a is None

    @property
    def is_affine(self) -> bool:
        """Whether it is k a + constant."""
        return self.b is None and self.c is None

    def scaled(self, factor: int) -> Form:
        """Returns the form times a base element."""
        return Form(
            self.constant * factor % P,
            self.product * factor % P,
            self.first * factor % P,
            self.second * factor % P,
            self.third * factor % P,
            self.a,
            self.b,
            self.c,
        )


def affine(element: Element, factor: int = 1) -> Form:
    """Returns factor * element."""
    return Form(first=factor, a=element)


def element_of(builder: CircuitBuilder, form: Form) -> Element:
    """Returns the address of a form's value, with a multiply-add unless it is an element already."""
    if form.is_constant:
        return builder.constant(form.constant)
    if form.is_affine and form.first == 1 and not form.constant and form.a is not None:
        return form.a
    weights = (form.product, form.first, form.second, form.third, form.constant)
    return builder.combine(weights, form.a, form.b, form.c)


def weighted_sum(builder: CircuitBuilder, terms: Sequence[tuple[int, Element]]) -> Element:
    """Returns the sum of k * element over (k, element), three terms the first time and two more each time after."""
    if not terms:
        return builder.constant(0)
    total: Form = Form()
    for weight, element in terms:
        total = plus(builder, total, affine(element, weight % P))
    return element_of(builder, total)


def times(builder: CircuitBuilder, left: Form, right: Form) -> Form:
    """Returns the product of two forms."""
    left, right = _narrow(builder, left), _narrow(builder, right)
    if left.is_constant:
        left, right = right, left
    if right.is_constant:
        return left.scaled(right.constant)
    return Form(
        left.constant * right.constant % P,
        left.first * right.first % P,
        left.first * right.constant % P,
        right.first * left.constant % P,
        0,
        left.a,
        right.a,
    )


def plus(builder: CircuitBuilder, left: Form, right: Form) -> Form:
    """Returns the sum of two forms."""
    if left.is_affine and not right.is_affine:
        left, right = right, left
    right = _narrow(builder, right)
    constant = (left.constant + right.constant) % P
    if right.is_constant or left.is_constant:
        return replace(left if right.is_constant else right, constant=constant)
    if left.c is not None:
        left = affine(element_of(builder, left))
        constant = right.constant
    if left.b is None:
        return Form(constant, 0, left.first, right.first, 0, left.a, right.a)
    return replace(left, constant=constant, third=right.first, c=right.a)


def _narrow(builder: CircuitBuilder, form: Form) -> Form:
    """Returns the value as k a + constant."""
    return form if form.is_affine else affine(element_of(builder, form))


def evaluate(builder: CircuitBuilder, program: Program, inputs: Sequence[Form]) -> list[Form]:
    """Runs a program on forms; a node that is read more than once gets an address."""
    uses = [0] * len(program.nodes)
    for op, a, b in program.nodes:
        if op in (Op.ADD, Op.SUB, Op.MUL):
            uses[a] += 1
            uses[b] += 1
    for node in program.outputs:
        uses[node] += 1
    values: list[Form] = []
    for number, (op, a, b) in enumerate(program.nodes):
        if op is Op.INPUT:
            value = inputs[a]
        elif op is Op.CONSTANT:
            value = Form(a)
        elif op is Op.MUL:
            value = times(builder, values[a], values[b])
        elif op is Op.ADD:
            value = plus(builder, values[a], values[b])
        else:
            value = plus(builder, values[a], values[b].scaled(P - 1))
        if uses[number] > 1 and not value.is_affine:
            value = affine(element_of(builder, value))
        values.append(value)
    return [values[node] for node in program.outputs]
