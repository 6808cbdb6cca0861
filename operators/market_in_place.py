"""The rules of the market over tables that change in place, for simulations of millions of events.

The handlers are those of `MarketRules`; only what scans all jobs or all pots is replaced by an index, and who is assigned
is computed without making a pot per prover. A state must not be used again after the step that it went into. A test
has both machines go through the same events and compares states, effects and refusals after each.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Self, TypeVar

from operators.market_assignment import draw, duties
from operators.market_rules import MarketRules
from operators.market_state import (
    NOBODY,
    EpochRecord,
    JobRecord,
    JobState,
    JobTable,
    MarketState,
    ProverRecord,
)
from operators.rule_state import Books, Pot, PotKind, Table
from schemas.economics import PERMILLE
from schemas.errors import InvariantError

K = TypeVar("K")
V = TypeVar("V")


class InPlaceTable(Table[K, V]):
    """A table whose changes are seen through every reference to it; it has no hash."""

    __slots__ = ()

    def __hash__(self) -> int:
        raise InvariantError("a table that changes in place has no hash")

    def with_entry(self, key: K, value: V) -> Self:
        """Sets an entry; O(1)."""
        self._entries[key] = value
        return self

    def without(self, *keys: K) -> Self:
        """Removes entries; O(1) each."""
        for key in keys:
            self._entries.pop(key, None)
        return self


class InPlaceProvers(InPlaceTable[bytes, ProverRecord]):
    """Provers, with their order kept.

    Attributes:
        rates: Success rate of each, permille, and the epoch until which it is barred.
    """

    __slots__ = ("_order", "rates")

    def __init__(self) -> None:
        super().__init__()
        self._order: list[bytes] = []
        self.rates: dict[bytes, tuple[int, int]] = {}

    def __iter__(self) -> Iterator[bytes]:
        return iter(tuple(self._order))

    def with_entry(self, key: bytes, value: ProverRecord) -> Self:
        """Sets an entry."""
        if key not in self._entries:
            insort(self._order, key)
        done = 1 + value.assigned
        rate = PERMILLE * (done - min(value.missed, value.assigned)) // done
        self.rates[key] = rate, value.barred_until
        return super().with_entry(key, value)


class InPlaceJobs(JobTable):
    """Jobs, with those that wait kept apart: they are few among those that are proven and not settled."""

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        super().__init__()
        self._waiting: dict[bytes, JobRecord] = {}

    def __hash__(self) -> int:
        raise InvariantError("a table that changes in place has no hash")

    def waiting(self) -> Iterable[JobRecord]:
        """See `JobTable`; one pass over those that wait."""
        return [self._waiting[job] for job in sorted(self._waiting)]

    def with_entry(self, key: bytes, value: JobRecord) -> Self:
        """Sets an entry."""
        self._entries[key] = value
        if value.state is JobState.WAITING:
            self._waiting[key] = value
        else:
            self._waiting.pop(key, None)
        return self

    def without(self, *keys: bytes) -> Self:
        """Removes entries."""
        for key in keys:
            self._entries.pop(key, None)
            self._waiting.pop(key, None)
        return self


class InPlacePots(InPlaceTable[Pot, int]):
    """Pots, with the stakes kept apart by prover.

    Attributes:
        stakes: Units staked by each prover that has a stake.
    """

    __slots__ = ("stakes",)

    def __init__(self) -> None:
        super().__init__()
        self.stakes: dict[bytes, int] = {}

    def with_entry(self, key: Pot, value: int) -> Self:
        """Sets an entry."""
        if key.kind is PotKind.STAKE:
            self.stakes[key.owner] = value
        return super().with_entry(key, value)

    def without(self, *keys: Pot) -> Self:
        """Removes entries."""
        for key in keys:
            if key.kind is PotKind.STAKE:
                self.stakes.pop(key.owner, None)
        return super().without(*keys)


def empty_market() -> MarketState:
    """Returns a market in which nothing has happened, over tables that change in place."""
    epochs: InPlaceTable[int, EpochRecord] = InPlaceTable()
    return MarketState(
        Books(InPlacePots()), provers=InPlaceProvers(), jobs=InPlaceJobs(), epochs=epochs
    )


@dataclass(frozen=True, slots=True)
class InPlaceRules(MarketRules):
    """`MarketRules` over the state of `empty_market`.

    Attributes:
        terms: The numbers.
    """

    def assignee(self, state: MarketState, epoch: int, job: bytes) -> bytes:
        """Returns who gets a job first; the same as `Assignment.assignee`, by one pass over the stakes.

        Raises:
            InvariantError: The state is not one of `empty_market`.
        """
        if self.terms.first_wins:
            return NOBODY
        pots, known = state.books.pots, state.provers
        if not isinstance(pots, InPlacePots) or not isinstance(known, InPlaceProvers):
            raise InvariantError("this state has no index of stakes")
        record, busy, escrow = state.epochs[epoch], duties(state), self.terms.claim_escrow
        cap, provers, weights = self.cap(record), [], []
        stakes, rates, assigned = pots.stakes.get, known.rates, record.assigned.get
        for prover in known:
            stake = stakes(prover, 0)
            if stake < escrow or (prover in busy and stake - escrow * busy[prover] < escrow):
                continue
            rate, barred_until = rates[prover]
            if barred_until <= state.epoch and (assigned(prover) or 0) < cap:
                provers.append(prover)
                weights.append(stake * rate)
        return provers[draw(record.seed, job, weights)] if sum(weights) else NOBODY
