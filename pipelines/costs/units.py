"""Units of figures, and what unit an expression over them has; a sum of unlike units is refused.

A unit is written `core*second/transaction`; `1` is a count or a share. Hours and seconds are two units that only a
figure in `second/hour` turns into one another, so a rate per hour cannot be taken for one per second.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from schemas.errors import InvariantError, ParameterError

TIMES = ("second", "hour", "day", "month", "epoch")
THINGS = ("core", "gpu", "machine", "transaction", "dollar", "eclipt", "byte", "bit")
SYMBOLS = frozenset((*TIMES, *THINGS))
"""Symbols that a unit may hold. Proofs, windows, shards and validators are counts and have none."""


@dataclass(frozen=True, slots=True)
class Unit:
    """A product of symbols with exponents.

    Attributes:
        powers: Symbols and exponents other than zero, by symbol.
    """

    powers: tuple[tuple[str, int], ...] = ()

    def times(self, other: Unit, sign: int = 1) -> Unit:
        """Returns the product, or with sign -1 the quotient."""
        found = dict(self.powers)
        for symbol, power in other.powers:
            found[symbol] = found.get(symbol, 0) + sign * power
        return Unit(tuple(sorted((name, power) for name, power in found.items() if power)))

    def __str__(self) -> str:
        above = [name for name, power in self.powers for _ in range(power)]
        below = [name for name, power in self.powers for _ in range(-power)]
        return "/".join(["*".join(above) or "1", *below])


ONE = Unit()
"""The unit of counts and shares."""


def parse_unit(text: str) -> Unit:
    """Returns a unit from its text.

    Raises:
        ParameterError: A symbol is not known.
    """
    found = ONE
    for place, part in enumerate(text.split("/")):
        for symbol in part.split("*"):
            if symbol == "1":
                continue
            if symbol not in SYMBOLS:
                raise ParameterError(
                    f"{symbol!r} in {text!r} is no unit", f"units: {sorted(SYMBOLS)}"
                )
            found = found.times(Unit(((symbol, 1),)), 1 if place == 0 else -1)
    return found


def names_in(expression: str) -> tuple[str, ...]:
    """Returns the quantities that an expression reads, in the order in which they first appear."""
    names = [
        (node.lineno, node.col_offset, node.id)
        for node in ast.walk(_parsed(expression))
        if isinstance(node, ast.Name) and node.id not in FUNCTIONS
    ]
    return tuple(dict.fromkeys(name for *_, name in sorted(names)))


def unit_of(expression: str, units: Mapping[str, Unit]) -> Unit:
    """Returns the unit of an expression.

    Args:
        expression: Numbers, names, `+ - * /` and `FUNCTIONS`: what Python and SQL write alike.
        units: Unit of every name.

    Raises:
        InvariantError: Unlike units are added or compared, a name is not known, or something else is written.
    """

    def refused(why: str) -> InvariantError:
        return InvariantError(f"{why} in {expression!r}")

    def like(nodes: list[ast.expr]) -> Unit:
        found = [visit(node) for node in nodes]
        if len(set(found)) != 1:
            raise refused(f"unlike units {', '.join(map(str, found))}")
        return found[0]

    def visit(node: ast.expr) -> Unit:
        match node:
            case ast.Constant(value=int() | float()):
                return ONE
            case ast.Name(id=name):
                if name not in units:
                    raise refused(f"{name} is not known")
                return units[name]
            case ast.BinOp(left=left, op=ast.Mult(), right=right):
                return visit(left).times(visit(right))
            case ast.BinOp(left=left, op=ast.Div(), right=right):
                return visit(left).times(visit(right), -1)
            case ast.BinOp(left=left, op=ast.Add() | ast.Sub(), right=right):
                return like([left, right])
            case ast.Call(func=ast.Name(id=name), args=given) if name in FUNCTIONS:
                if not FUNCTIONS[name](len(given)):
                    raise refused(f"{name} of {len(given)}")
                return like(given)
        raise refused(f"{ast.unparse(node)} is not understood")

    return visit(_parsed(expression))


FUNCTIONS: Mapping[str, Callable[[int], bool]] = {
    "ceil": lambda count: count == 1,
    "floor": lambda count: count == 1,
    "smaller": lambda count: count == 2,
}
"""Function -> whether it takes so many arguments; the result has their unit. `smaller` is of two, and open if one of them
is: SQL's own `least` would leave out what is not measured."""


def _parsed(expression: str) -> ast.expr:
    try:
        return ast.parse(expression, mode="eval").body
    except SyntaxError as error:
        raise InvariantError(f"{expression!r} is no expression") from error
