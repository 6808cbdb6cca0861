"""Closed windows with Beam: batches to parts, parts by shard and window, windows to files and to proof jobs.

Shuffled are parts, never transactions: some hundred bytes a block and eight a transaction. A window is merged by place, so that a
part that comes twice counts once, and written only with its closing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.pvalue import PCollection
from apache_beam.transforms.window import FixedWindows

from operators.analytics_feed import FeedItem
from operators.analytics_files import WrittenWindow, write_window
from operators.analytics_parts import Part, PartKey, Parts, ReferencedTransactions, part_of
from operators.analytics_window import Witness, closing_of, votes_of, window_rows
from operators.beam_source import ChainLog, ReadFeed, ShardSource, held_log, window_at
from operators.log_schemas import registry_of
from operators.validator import identity_of
from operators.window_planning import Planning
from schemas.errors import EclipticaError, InvariantError

ShardPart = tuple[int, tuple[PartKey, Part]]


class ToParts(beam.DoFn):
    """Reduces each batch to what it adds to its window, looking up the transactions that a block refers to."""

    def __init__(self, chain: ChainLog) -> None:
        """Takes what is read."""
        self._chain = chain

    def process(self, item: FeedItem) -> Iterator[ShardPart]:
        """Yields the part under its shard."""
        log = held_log(self._chain.log_url)
        transactions = ReferencedTransactions(log, registry_of(log))
        yield item.shard, part_of(item, transactions.fetch)


class MergeParts(beam.CombineFn):
    """Unites parts by place."""

    def __init__(self) -> None:
        """Has no settings."""

    def create_accumulator(self, *_: Any) -> Parts:
        """Returns no parts."""
        return {}

    def add_input(self, parts: Parts, entry: tuple[PartKey, Part]) -> Parts:
        """Adds one part."""
        parts[entry[0]] = entry[1]
        return parts

    def merge_accumulators(self, many: Iterable[Parts]) -> Parts:
        """Unites."""
        return {key: part for parts in many for key, part in parts.items()}

    def extract_output(self, parts: Parts) -> Parts:
        """Returns the parts."""
        return parts


class WriteWindows(beam.DoFn):
    """Writes each closed window; one that is not closed was cut off, and is not written."""

    def __init__(self, chain: ChainLog, root: Path) -> None:
        """Takes what is read and where to write."""
        self._chain, self._root = chain, root

    def process(
        self, entry: tuple[int, Parts], span: Any = beam.DoFn.WindowParam
    ) -> Iterator[WrittenWindow]:
        """Yields what became of the window."""
        shard, parts = entry
        genesis, closing = self._chain.genesis, closing_of(parts)
        if closing is None:
            return
        window = window_at(genesis, span)
        identity = identity_of(genesis, shard, None, None)
        votes = votes_of(held_log(self._chain.log_url), shard)
        rows = window_rows(window, parts, Witness(identity.committee, identity.verifier, votes))
        yield write_window(self._root, genesis, (shard, window), rows, closing.next)


class PlanWindows(beam.DoFn):
    """Plans each closed window: parts by shard to (shard, last window that its stage has closed)."""

    def __init__(self, chain: ChainLog, planning: Planning) -> None:
        """Takes what is read and how windows are planned."""
        self._chain, self._planning = chain, planning

    def process(
        self, entry: tuple[int, Parts], span: Any = beam.DoFn.WindowParam
    ) -> Iterator[tuple[int, int]]:
        """Plans a window; one that is not closed was cut off, and is not planned."""
        shard, parts = entry
        if closing_of(parts) is not None:
            window = window_at(self._chain.genesis, span)
            now_millis = time.time_ns() // 1_000_000
            yield shard, self._planning.plan(self._chain.log_url, shard, window, now_millis)


@dataclass(frozen=True, slots=True)
class WindowWork:
    """What is done with closed windows.

    Attributes:
        chain: What is read.
        root: Data directory: windows are counted into files below it.
        planning: How they are planned; None to count alone.
    """

    chain: ChainLog
    root: Path
    planning: Planning | None = None


class CloseWindows(beam.PTransform[PCollection[bytes], PCollection[WrittenWindow]]):
    """Bytes of `ShardSource` to written windows; planned ones are on the log."""

    def __init__(self, work: WindowWork) -> None:
        """Takes what is done."""
        super().__init__()
        self._work = work

    def expand(self, sources: PCollection[bytes]) -> PCollection[WrittenWindow]:
        """Returns a collection of `WrittenWindow`."""
        chain, planning = self._work.chain, self._work.planning
        max_ahead = None if planning is None else planning.max_ahead
        windows = (
            sources
            | "read" >> beam.ParDo(ReadFeed(chain, max_ahead))
            | "reduce" >> beam.ParDo(ToParts(chain))
            | "window" >> beam.WindowInto(FixedWindows(chain.genesis.slots_per_window))
            | "merge" >> beam.CombinePerKey(MergeParts())
        )
        if planning is not None:
            _ = windows | "plan" >> beam.ParDo(PlanWindows(chain, planning))
        written: PCollection[WrittenWindow] = windows | "write" >> beam.ParDo(
            WriteWindows(chain, self._work.root)
        )
        return written


def build_windows(
    pipeline: beam.Pipeline, work: WindowWork, sources: Sequence[ShardSource]
) -> None:
    """Puts the windows of some shards into a pipeline, as a branch for each.

    Runners that read the elements of a source by turns would let one shard wait for another, and a watermark is one
    of all elements.
    """
    for source in sources:
        _ = (
            pipeline
            | f"shard {source.shard}" >> beam.Create([source.to_bytes()], reshuffle=False)
            | f"windows {source.shard}" >> CloseWindows(work)
        )


def close_windows(work: WindowWork, sources: Sequence[ShardSource]) -> None:
    """Counts, and plans, windows that are closed as one bounded pipeline in this process.

    Args:
        work: What is done with them.
        sources: `until` names a closed window.

    Raises:
        EclipticaError: A window cannot be counted, planned or written.
    """
    run_here(lambda pipeline: build_windows(pipeline, work, sources))


def run_here(build: Callable[[beam.Pipeline], None]) -> None:
    """Runs a bounded pipeline on the local runner, in this thread, with the one worker that loses nothing.

    Args:
        build: Puts the transforms into it.

    Raises:
        EclipticaError: The error of ours that ended it.
    """
    options = PipelineOptions(
        [], runner="FnApiRunner", direct_num_workers=1, direct_running_mode="in_memory"
    )
    try:
        with beam.Pipeline(options=options) as pipeline:
            build(pipeline)
    except RuntimeError as error:
        raise _cause(error) from error


def _cause(error: BaseException) -> EclipticaError:
    """Returns the error of ours behind one of the runner's."""
    found: BaseException | None = error
    while found is not None:
        if isinstance(found, EclipticaError):
            return found
        found = found.__cause__
    return InvariantError(f"the pipeline broke: {error}")
