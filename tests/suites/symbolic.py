"""Runs a function of integers on symbols: every path it can take, so that z3 proves what holds for the function itself.

A comparison asks z3 which ways are possible and takes each of them in a run of its own. What is proven is about the code
that was run, not about a copy of its formulas. Division is by what is positive on the path, which is proven too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Self

import z3

STEPS = 20_000_000
"""Bound of one question in z3's own steps, so that a busy machine changes no answer; no answer fails the test."""


class Undecided(AssertionError):
    """A claim that z3 refutes, or does not answer."""


class Paths:
    """The ways through one function, one run each."""

    def __init__(self, assumptions: Sequence[z3.BoolRef]) -> None:
        self._assumptions = list(assumptions)
        self._prefix: list[bool] = []
        self._taken: list[bool] = []
        self._waiting: list[list[bool]] = [[]]
        self._facts: list[z3.BoolRef] = []
        self._quotients: dict[tuple[int, int], tuple[z3.ArithRef, z3.ArithRef]] = {}
        self.count = 0

    def run(
        self, function: Callable[..., Any], symbols: Sequence[str], claim: Callable[..., Any]
    ) -> int:
        """Proves a claim about a function's result on every path; returns the number of paths."""
        while self._waiting:
            self._prefix, self._taken = self._waiting.pop(), []
            self._facts, self._quotients = list(self._assumptions), {}
            arguments = [Symbol(self, z3.Int(name)) for name in symbols]
            result = function(*arguments)
            for said in claim(result, *arguments):
                self.prove(said.term if isinstance(said, Condition) else z3.BoolVal(bool(said)))
            self.count += 1
        return self.count

    def prove(self, statement: z3.BoolRef) -> None:
        """Proves a statement on the present path."""
        answer = self._ask(z3.Not(statement))
        if answer != z3.unsat:
            raise Undecided(f"{answer}: {statement} on {self._facts}")

    def decide(self, condition: z3.BoolRef) -> bool:
        """Takes a way that is possible, and keeps the other for later."""
        place = len(self._taken)
        if place < len(self._prefix):
            choice = self._prefix[place]
        else:
            choice = self._ask(condition) != z3.unsat
            if choice and self._ask(z3.Not(condition)) != z3.unsat:
                self._waiting.append([*self._taken, False])
        self._taken.append(choice)
        self._facts.append(condition if choice else z3.Not(condition))
        return choice

    def divided(self, number: z3.ArithRef, divisor: z3.ArithRef) -> tuple[z3.ArithRef, z3.ArithRef]:
        """Returns quotient and remainder of a division, the same for the same terms."""
        key = (number.get_id(), divisor.get_id())
        if key not in self._quotients:
            self.prove(divisor > 0)
            factors = list(number.children()) if z3.is_mul(number) else []
            place = next((n for n, f in enumerate(factors) if f.eq(divisor)), None)
            if place is not None:
                others = factors[:place] + factors[place + 1 :]
                self._quotients[key] = z3.Product(others), z3.IntVal(0)
                return self._quotients[key]
            quotient, rest = (z3.FreshInt(name) for name in ("q", "r"))
            self._facts += [number == quotient * divisor + rest, rest >= 0, rest < divisor]
            self._quotients[key] = quotient, rest
        return self._quotients[key]

    def _ask(self, statement: z3.BoolRef) -> z3.CheckSatResult:
        solver = z3.Solver()
        solver.set(rlimit=STEPS)
        solver.add(*self._facts, statement)
        return solver.check()


class Condition:
    """A comparison of symbols; asked whether it holds, it takes a path."""

    def __init__(self, paths: Paths, term: z3.BoolRef) -> None:
        self._paths = paths
        self.term = term

    def __bool__(self) -> bool:
        return self._paths.decide(self.term)


class Symbol:
    """An integer that may have any value that the assumptions leave."""

    __hash__ = None  # type: ignore[assignment]

    def __init__(self, paths: Paths, term: z3.ArithRef) -> None:
        self._paths = paths
        self.term = term

    def _lift(self, term: z3.ArithRef) -> Self:
        return type(self)(self._paths, z3.simplify(term))

    def __add__(self, other: Any) -> Self:
        return self._lift(self.term + term_of(other))

    def __radd__(self, other: Any) -> Self:
        return self._lift(term_of(other) + self.term)

    def __sub__(self, other: Any) -> Self:
        return self._lift(self.term - term_of(other))

    def __rsub__(self, other: Any) -> Self:
        return self._lift(term_of(other) - self.term)

    def __mul__(self, other: Any) -> Self:
        return self._lift(self.term * term_of(other))

    def __rmul__(self, other: Any) -> Self:
        return self._lift(term_of(other) * self.term)

    def __neg__(self) -> Self:
        return self._lift(-self.term)

    def __floordiv__(self, other: Any) -> Self:
        return type(self)(self._paths, self._paths.divided(self.term, term_of(other))[0])

    def __mod__(self, other: Any) -> Self:
        return type(self)(self._paths, self._paths.divided(self.term, term_of(other))[1])

    def __lt__(self, other: Any) -> Condition:
        return Condition(self._paths, self.term < term_of(other))

    def __le__(self, other: Any) -> Condition:
        return Condition(self._paths, self.term <= term_of(other))

    def __gt__(self, other: Any) -> Condition:
        return Condition(self._paths, self.term > term_of(other))

    def __ge__(self, other: Any) -> Condition:
        return Condition(self._paths, self.term >= term_of(other))

    def __eq__(self, other: object) -> Condition:  # type: ignore[override]
        return Condition(self._paths, self.term == term_of(other))

    def __ne__(self, other: object) -> Condition:  # type: ignore[override]
        return Condition(self._paths, self.term != term_of(other))

    def __bool__(self) -> bool:
        return self._paths.decide(self.term != 0)

    def __index__(self) -> int:
        """Takes a path for every small value; proves that there is no other."""
        for value in range(8):
            if self._paths.decide(self.term == value):
                return value
        self._paths.prove(z3.BoolVal(False))
        raise Undecided("a large index")


def term_of(value: Any) -> z3.ArithRef:
    """Returns the term of a symbol or a number."""
    return value.term if isinstance(value, Symbol) else z3.IntVal(value)


def prove(
    function: Callable[..., Any],
    symbols: Sequence[str],
    assume: Callable[..., list[z3.BoolRef]],
    claim: Callable[..., Any],
) -> int:
    """Proves a claim about a function for all arguments.

    Args:
        function: Takes as many integers as there are symbols.
        symbols: Their names.
        assume: From the z3 integers to what is assumed of them.
        claim: From the result and the symbols to the conditions that hold.

    Returns:
        Paths through the function.

    Raises:
        Undecided: The claim does not hold, or z3 does not know.
    """
    return Paths(assume(*(z3.Int(name) for name in symbols))).run(function, symbols, claim)
