"""Values that the rules of fraud and market are made of: immutable tables, and books in which money only moves."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from enum import StrEnum
from typing import Any, Generic, NamedTuple, Self, TypeVar

from schemas.errors import InvariantError

K = TypeVar("K")
V = TypeVar("V")


class Table(Generic[K, V]):
    """An immutable mapping with value equality and a hash; iteration is in the order of keys, which must have one.

    A change copies the table: O(entries).
    """

    __slots__ = ("_entries", "_hash")

    def __init__(self, entries: Mapping[K, V] | None = None) -> None:
        """Takes a copy of entries."""
        self._entries: dict[K, V] = dict(entries or {})
        self._hash: int | None = None

    def __getitem__(self, key: K) -> V:
        return self._entries[key]

    def __contains__(self, key: object) -> bool:
        return key in self._entries

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[K]:
        order: Any = self._entries
        return iter(sorted(order))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Table) and self._entries == other._entries

    def __hash__(self) -> int:
        if self._hash is None:
            self._hash = hash(frozenset(self._entries.items()))
        return self._hash

    def __repr__(self) -> str:
        return f"Table({ {key: self._entries[key] for key in self} })"

    def get(self, key: K) -> V | None:
        """Returns an entry, or None."""
        return self._entries.get(key)

    def values(self) -> Iterator[V]:
        """Yields the values in the order of their keys."""
        return (self._entries[key] for key in self)

    def with_entry(self, key: K, value: V) -> Self:
        """Returns the table with one entry more or replaced."""
        return type(self)({**self._entries, key: value})

    def without(self, *keys: K) -> Self:
        """Returns the table without some entries."""
        return type(self)({k: v for k, v in self._entries.items() if k not in keys})


def digest(value: Any) -> bytes:
    """Returns SHA-256 over the canonical bytes of a state: tables in the order of keys, every value with its type.

    Args:
        value: Dataclasses, tables, tuples, sets of what has an order, bytes, text, numbers and None.

    Raises:
        InvariantError: It holds something else.
    """
    hasher = hashlib.sha256(b"ecliptica/rules/1")
    hasher.update(_canonical(value))
    return hasher.digest()


def _canonical(value: Any) -> bytes:
    if value is None:
        return b"n"
    if isinstance(value, bytes):
        return _tagged(b"b", value)
    if isinstance(value, str):
        return _tagged(b"s", value.encode())
    if isinstance(value, int):
        return _tagged(b"i", b"%d" % value)
    parts: list[Any]
    if isinstance(value, Table):
        parts = [part for key in value for part in (key, value[key])]
    elif isinstance(value, frozenset):
        parts = sorted(value)
    elif isinstance(value, tuple):
        parts = list(value)
    elif is_dataclass(value):
        parts = [type(value).__name__]
        parts += [getattr(value, entry.name) for entry in fields(value)]
    else:
        raise InvariantError(f"{type(value).__name__} has no canonical bytes")
    return _tagged(b"l", b"".join(map(_canonical, parts)))


def _tagged(tag: bytes, data: bytes) -> bytes:
    return tag + len(data).to_bytes(8, "little") + data


class PotKind(StrEnum):
    """What money on the beacon is for."""

    FREE = "free"
    BOND = "bond"
    CLAIM = "claim"
    POOL = "pool"
    BURNED = "burned"
    STAKE = "stake"
    ESCROW = "escrow"
    RESCUE = "rescue"
    REWARDS = "rewards"
    EPOCH = "epoch"


class Pot(NamedTuple):
    """One pot of money.

    Attributes:
        kind: What it is for.
        owner: Whose, or of which claim, job or epoch; empty for the pots that everybody shares.
    """

    kind: PotKind
    owner: bytes = b""


POOL = Pot(PotKind.POOL)
"""The insurance pool."""

BURNED = Pot(PotKind.BURNED)
"""What nobody has any more."""

REWARDS = Pot(PotKind.REWARDS)
"""What provers are paid from."""


@dataclass(frozen=True, slots=True)
class Books:
    """All money on the beacon: it comes in, moves and goes out, and is never made.

    Attributes:
        pots: Units by pot; empty pots are left out.
        inflow: Units that ever came in from the shards.
        outflow: Units that ever went back to them.
    """

    pots: Table[Pot, int] = Table()  # noqa: RUF009 - immutable
    inflow: int = 0
    outflow: int = 0

    def held(self, pot: Pot) -> int:
        """Returns the units in a pot."""
        return self.pots.get(pot) or 0

    def deposit(self, pot: Pot, units: int) -> Books:
        """Returns the books after units came in."""
        pots = _with_units(self.pots, pot, units)
        return replace(self, pots=pots, inflow=self.inflow + units)

    def withdraw(self, pot: Pot, units: int) -> Books:
        """Returns the books after units went out.

        Raises:
            InvariantError: The pot holds less.
        """
        pots = _with_units(self.pots, pot, -units)
        return replace(self, pots=pots, outflow=self.outflow + units)

    def move(self, source: Pot, target: Pot, units: int) -> Books:
        """Returns the books after units moved.

        Raises:
            InvariantError: The source holds less, or the number is negative.
        """
        if units < 0:
            raise InvariantError(f"{units} units cannot move from {source} to {target}")
        pots = _with_units(_with_units(self.pots, source, -units), target, units)
        return replace(self, pots=pots)

    def empty(self, source: Pot, target: Pot) -> Books:
        """Returns the books after all of a pot moved."""
        return self.move(source, target, self.held(source))

    def is_balanced(self) -> bool:
        """Says whether all pots hold what came in less what went out, and none is in debt."""
        units = list(self.pots.values())
        return sum(units) == self.inflow - self.outflow and min(units, default=1) > 0


def _with_units(pots: Table[Pot, int], pot: Pot, units: int) -> Table[Pot, int]:
    if not units:
        return pots
    left = (pots.get(pot) or 0) + units
    if left < 0:
        raise InvariantError(f"{pot} would hold {left} units")
    return pots.with_entry(pot, left) if left else pots.without(pot)
