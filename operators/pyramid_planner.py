"""The planner of the pyramid: accepted windows in, work for provers out, epoch after epoch and day after day.

It is told what the beacon has accepted and what the shards' links held, and keeps of it what no closed day has
settled. An epoch is planned once every shard is known to have made its last block of it; what one shard did in it
already when that shard has.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from operators.pyramid_tree import (
    Node,
    Segment,
    epoch_node,
    lift_nodes,
    run_node,
    shard_node,
    wrap_node,
)
from proving.backends.port import Hasher
from proving.recursion.shard_part import LinkHeads, ShardPart, links_tree
from proving.recursion.span import reopened
from schemas.errors import InvariantError
from schemas.job import ProofLevel
from schemas.run import WordElements
from schemas.statement import Boundary
from schemas.units import ZERO_WORD, Array


@dataclass(frozen=True, slots=True)
class PyramidClock:
    """The levels of the pyramid as counts.

    Attributes:
        windows_per_epoch: Windows of an epoch; links are delivered from epoch to epoch.
        epochs_per_hour: Epochs of an hour.
        hours_per_day: Hours of a day.
    """

    windows_per_epoch: int
    epochs_per_hour: int
    hours_per_day: int

    @property
    def windows_per_day(self) -> int:
        """Windows of a day."""
        return self.windows_per_epoch * self.epochs_per_hour * self.hours_per_day


@dataclass(frozen=True, slots=True)
class Links:
    """What a shard's links held at a time.

    Attributes:
        sent: OUT, for every shard.
        received: INB, for every shard.
    """

    sent: LinkHeads
    received: LinkHeads


@dataclass(slots=True)
class ShardProgress:
    """How far a shard is accepted.

    Attributes:
        at: Where it stands after the last planned epoch.
        links: Its links there.
        segments: Accepted segments after it.
        windows: Links at the end of accepted windows, by window.
        window: The last accepted window, or -1.
        height: Height of its last block.
        reached: Window of the block after that, once it is final; no window before it will get another block.
        begun: Epochs whose own tree was yielded before the other shards' part was known.
    """

    at: Boundary
    links: Links
    segments: list[Segment] = field(default_factory=list)
    windows: dict[int, Links] = field(default_factory=dict)
    window: int = -1
    height: int = 0
    reached: int = 0
    begun: int = 0


@dataclass(slots=True)
class PyramidPlanner:
    """Plans one chain's pyramid.

    Attributes:
        chain: Chain number.
        clock: Its clock.
        validators: Root of the set in charge.
        hasher: Poseidon2.
        shards: Progress of every shard.
        epoch: The next shard epoch to plan.
        epochs: Epochs of the running hour.
        hours: Hours of the running day.
        first: The first segment that was accepted; its lift fills the slots of epochs without any block.
    """

    chain: int
    clock: PyramidClock
    validators: WordElements
    hasher: Hasher
    shards: list[ShardProgress]
    epoch: int = 0
    epochs: list[Node] = field(default_factory=list)
    hours: list[Node] = field(default_factory=list)
    first: Segment | None = None

    @classmethod
    def start(
        cls,
        chain: int,
        clock: PyramidClock,
        boundaries: Sequence[Boundary],
        *,
        validators: WordElements,
        hasher: Hasher,
    ) -> PyramidPlanner:
        """Returns a planner before the first block; boundaries are the shards' at genesis."""
        nothing = (ZERO_WORD,) * len(boundaries)
        shards = [ShardProgress(at, Links(nothing, nothing)) for at in boundaries]
        return cls(chain, clock, validators, hasher, shards)

    def see_links(self, shard: int, window: int, links: Links) -> None:
        """Takes what is said that a shard's links held after a window; looked at when the window is accepted."""
        progress = self.shards[shard]
        if window > progress.window or window in {
            one.statement.window for one in progress.segments
        }:
            progress.windows.setdefault(window, links)

    def accept(self, segments: Sequence[Segment]) -> None:
        """Takes an accepted window's segments.

        Raises:
            InvariantError: They are not of a later window than the last.
        """
        first, last = segments[0].statement, segments[-1].statement
        shard, window = first.shard, first.window
        progress = self.shards[shard]
        if window <= progress.window:
            raise InvariantError(f"window {window} of shard {shard} was accepted twice")
        self.first = self.first or segments[0]
        progress.segments += segments
        progress.window, progress.height = window, last.after.height
        progress.reached = window + 1

    def reach(self, shard: int, window: int) -> None:
        """Takes the window of the final block that follows a shard's accepted ones."""
        self.shards[shard].reached = window

    def plan(self) -> Iterator[Node]:
        """Yields the trees that can be planned now: an epoch's, and at its end an hour's and a day's.

        Of an epoch that waits for some shards it yields the trees of the others, so that a window that is accepted
        late leaves only its own way to the top to be proven.
        A tree shares its lower nodes with those before it; planning one again changes nothing.
        """
        while (tree := self._plan_epoch()) is not None:
            yield tree
            yield from self._close(tree)
        for progress in self.shards:
            yield from self._begin(progress)

    def _begin(self, progress: ShardProgress) -> Iterator[Node]:
        """Yields once what a shard did in each epoch that it has left and the others have not."""
        count = self.clock.windows_per_epoch
        for epoch, mine in groupby(
            progress.segments, lambda segment: segment.statement.window // count
        ):
            if progress.begun <= epoch and self._windows(epoch).stop <= progress.reached:
                progress.begun = epoch + 1
                yield shard_node(list(mine), self.hasher)

    def _plan_epoch(self) -> Node | None:
        """Returns the next epoch's tree once every shard has made its last block of it and its links are known.

        Raises:
            ParameterError: What the shards did breaks a rule between them, by name.
        """
        windows = self._windows(self.epoch)
        is_open = any(progress.reached < windows.stop for progress in self.shards)
        if is_open or self.first is None:
            return None
        trees: list[Node | None] = []
        parts: list[ShardPart] = []
        ends: list[Links] = []
        for progress in self.shards:
            mine = [one for one in progress.segments if one.statement.window in windows]
            links = self._links_after(progress, mine)
            if links is None:
                return None
            trees.append(shard_node(mine, self.hasher) if mine else None)
            ends.append(links)
            parts.append(
                ShardPart(
                    None, progress.at, progress.links.sent, progress.links.received, links.received
                )
            )
        tree = epoch_node(
            trees,
            parts,
            windows,
            chain=self.chain,
            validators=self.validators,
            filler=lift_nodes([self.first], self.hasher)[0],
            hasher=self.hasher,
        )
        for progress, part, links in zip(self.shards, tree.parts, ends, strict=True):
            progress.at, progress.links = part.after, links
            progress.segments = [
                one for one in progress.segments if one.statement.window >= windows.stop
            ]
            progress.windows = {k: v for k, v in progress.windows.items() if k >= windows.stop}
        self.epoch += 1
        return tree

    def _links_after(self, progress: ShardProgress, mine: Sequence[Segment]) -> Links | None:
        """Returns a shard's links after some segments, checked against the roots that are proven; None if unknown."""
        if not mine:
            return progress.links
        last = mine[-1].statement
        end = reopened(last.after)
        for links in (progress.windows.get(last.window), progress.links):
            if links is not None and self._fits(links, end):
                return links
        return None

    def _fits(self, links: Links, at: Boundary) -> bool:
        return all(
            len(heads) == len(self.shards) and links_tree(heads, self.hasher).root == at.root(array)
            for array, heads in ((Array.OUT, links.sent), (Array.INB, links.received))
        )

    def _close(self, tree: Node) -> Iterator[Node]:
        """Yields the hour's tree after its last epoch, and the day's after its last hour."""
        clock = self.clock
        self.epochs.append(tree)
        if self.epoch % clock.epochs_per_hour:
            return
        hour = run_node(self.epochs, ProofLevel.SHARD_HOUR, self.hasher)
        self.epochs = []
        self.hours.append(hour)
        yield hour
        if self.epoch % (clock.epochs_per_hour * clock.hours_per_day):
            return
        day = run_node(self.hours, ProofLevel.DAY_RUN, self.hasher, is_forced=True)
        yield wrap_node(day)
        self.hours = []

    def _windows(self, epoch: int) -> range:
        count = self.clock.windows_per_epoch
        return range(epoch * count, (epoch + 1) * count)


def links_of_row(row: Mapping[str, object], shards: int) -> Links | None:
    """Reads the links of a row of `windows.<shard>`; None if it has none of this many shards."""
    data = row.get("links")
    size = len(ZERO_WORD)
    if not isinstance(data, bytes) or len(data) != 2 * shards * size:
        return None
    heads = [data[start : start + size] for start in range(0, len(data), size)]
    return Links(tuple(heads[:shards]), tuple(heads[shards:]))
