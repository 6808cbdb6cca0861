"""A parser for the part of PromQL that our dashboards use: it refuses the rest, so nothing unread passes for checked."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

TOKEN = re.compile(
    r'\s*(?:([A-Za-z_$][A-Za-z0-9_$:]*)|("[^"]*")|(\d+(?:\.\d+)?[smhd]?)|(=~|!=|!~|.))'
)
AGGREGATIONS = {"sum", "max", "min", "avg", "count"}
RANGE_FUNCTIONS = {"rate", "increase"}
OPERATORS = {"+", "-", "*", "/"}


class PromqlError(ValueError):
    """The expression is not of the part that is understood."""


@dataclass(slots=True)
class Selector:
    """A metric as an expression names it.

    Attributes:
        name: As written, with `_bucket` and the like.
        labels: Labels of its matchers and of all aggregations around it.
        is_range: Whether a range follows it.
    """

    name: str
    labels: set[str] = field(default_factory=set)
    is_range: bool = False


class _Parser:
    def __init__(self, text: str) -> None:
        self.tokens = [next(filter(None, found)) for found in TOKEN.findall(text.strip())]
        self.at = 0
        self.found: list[Selector] = []

    def peek(self) -> str:
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def take(self, wanted: str = "") -> str:
        token = self.peek()
        if not token or (wanted and token != wanted):
            raise PromqlError(f"expected {wanted or 'more'}, got {token!r} at {self.at}")
        self.at += 1
        return token

    def expression(self) -> None:
        self.term()
        while self.peek() in OPERATORS:
            self.take()
            self.term()

    def term(self) -> None:
        word = self.take()
        if word == "(":
            self.expression()
            self.take(")")
        elif word in AGGREGATIONS:
            first = len(self.found)
            labels = set(self.names()) if self.peek() == "by" else set()
            self.take("(")
            self.expression()
            self.take(")")
            for selector in self.found[first:]:
                selector.labels |= labels
        elif word == "histogram_quantile":
            self.take("(")
            if not 0 < float(self.take()) < 1:
                raise PromqlError("a quantile lies between 0 and 1")
            self.take(",")
            first = len(self.found)
            self.expression()
            self.take(")")
            if not all("le" in one.labels for one in self.found[first:]):
                raise PromqlError("histogram_quantile without le")
        elif word in RANGE_FUNCTIONS:
            self.take("(")
            self.selector(self.take(), with_range=True)
            self.take(")")
        elif re.fullmatch(r"[a-z_]+", word):
            self.selector(word, with_range=False)
        elif not re.fullmatch(r"\d+(\.\d+)?", word):
            raise PromqlError(f"{word!r} begins nothing known")

    def names(self) -> Iterator[str]:
        self.take("by")
        self.take("(")
        while True:
            yield self.take()
            if self.peek() != ",":
                break
            self.take()
        self.take(")")

    def selector(self, name: str, *, with_range: bool) -> None:
        selector = Selector(name, is_range=with_range)
        if self.peek() == "{":
            self.take()
            while self.peek() != "}":
                selector.labels.add(self.take())
                if self.take() not in {"=", "=~", "!=", "!~"} or self.take()[:1] != '"':
                    raise PromqlError("a matcher is label, operator, text")
                if self.peek() == ",":
                    self.take()
            self.take("}")
        if with_range:
            self.take("[")
            if not re.fullmatch(r"\$__rate_interval|\d+[smhd]", self.take()):
                raise PromqlError("no range")
            self.take("]")
        self.found.append(selector)


def selectors(expression: str) -> list[Selector]:
    """Returns the metrics of an expression.

    Raises:
        PromqlError: It is not of the part that is understood.
    """
    parser = _Parser(expression)
    parser.expression()
    if parser.peek():
        raise PromqlError(f"{parser.peek()!r} is left over")
    return parser.found
