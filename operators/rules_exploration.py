"""Breadth-first exploration of a rule machine: every order of every event that a scene offers, each state once.

A model wraps a machine with what the machine does not know: which blocks are really bad, what has happened before. It
says after every event what is broken. The first broken state ends an exploration with the shortest way to it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from schemas.errors import InvariantError

S = TypeVar("S", bound=Hashable)
E = TypeVar("E")


@dataclass(frozen=True, slots=True)
class Trial(Generic[S]):
    """One event tried on one state.

    Attributes:
        after: The state after it.
        refusal: Name of the refusal, or empty.
        broken: What the event broke, in words.
    """

    after: S
    refusal: str = ""
    broken: tuple[str, ...] = ()


class Model(Protocol[S, E]):
    """A machine in a scene."""

    def start(self) -> S:
        """Returns the first state."""
        ...

    def events(self, state: S) -> Iterable[E]:
        """Returns the events that may happen next, in a fixed order."""
        ...

    def trial(self, state: S, event: E) -> Trial[S]:
        """Tries an event."""
        ...


@dataclass(frozen=True, slots=True)
class RuleExploration:
    """What an exploration found.

    Attributes:
        states: Distinct states visited.
        events: Events tried.
        depth: Events of the longest shortest way to a state.
        is_complete: Every reachable state was visited.
        refusals: How often each refusal was met.
        broken: What is broken, in words; empty if nothing is.
        way: The events that lead there, the shortest way.
    """

    states: int
    events: int
    depth: int
    is_complete: bool
    refusals: tuple[tuple[str, int], ...]
    broken: tuple[str, ...] = ()
    way: tuple[str, ...] = ()


def explore_rules(model: Model[S, E], max_states: int) -> RuleExploration:
    """Visits every state, or the first `max_states`; stops at the first that is broken.

    Args:
        model: The machine and its scene.
        max_states: Where to stop.
    """
    start = model.start()
    came: dict[S, tuple[S, E] | None] = {start: None}
    layer, depth, tried = [start], 0, 0
    refusals: Counter[str] = Counter()
    while layer:
        following: list[S] = []
        for state in layer:
            for event in model.events(state):
                tried += 1
                trial = _tried(model, state, event)
                if trial.broken:
                    way = (*_way(came, state), str(event))
                    return _found(came, tried, depth + 1, refusals, broken=trial.broken, way=way)
                if trial.refusal:
                    refusals[trial.refusal] += 1
                elif trial.after not in came:
                    came[trial.after] = (state, event)
                    following.append(trial.after)
                    if len(came) >= max_states:
                        return _found(came, tried, depth + 1, refusals, complete=False)
        layer = following
        depth += bool(layer)
    return _found(came, tried, depth, refusals)


def _tried(model: Model[S, E], state: S, event: E) -> Trial[S]:
    try:
        return model.trial(state, event)
    except InvariantError as error:
        return Trial(state, broken=(f"the rules contradict themselves: {error}",))


def _way(came: dict[S, tuple[S, E] | None], state: S) -> tuple[str, ...]:
    way: list[str] = []
    step = came[state]
    while step is not None:
        way.append(str(step[1]))
        step = came[step[0]]
    return tuple(reversed(way))


def _found(
    came: dict[S, tuple[S, E] | None],
    tried: int,
    depth: int,
    refusals: Counter[str],
    *,
    broken: tuple[str, ...] = (),
    way: tuple[str, ...] = (),
    complete: bool = True,
) -> RuleExploration:
    counts = tuple(sorted(refusals.items()))
    return RuleExploration(len(came), tried, depth, complete and not broken, counts, broken, way)
