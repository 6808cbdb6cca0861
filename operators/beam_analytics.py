"""Counting windows with Beam: batches to parts, parts by shard and window, windows to files.

Shuffled are parts, never transactions: some hundred bytes a block and eight a transaction. A window is merged by place, so that a
part that comes twice counts once, and written only with its closing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
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
from operators.beam_source import ChainLog, ReadFeed, ShardSource, held_log
from operators.log_schemas import registry_of
from operators.validator import identity_of
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
        window = genesis.window_of(int(span.start.micros // 1_000_000))
        identity = identity_of(genesis, shard, None, None)
        votes = votes_of(held_log(self._chain.log_url), shard)
        rows = window_rows(window, parts, Witness(identity.committee, identity.verifier, votes))
        yield write_window(self._root, genesis, (shard, window), rows, closing.next)


class CountWindows(beam.PTransform[PCollection[bytes], PCollection[WrittenWindow]]):
    """Bytes of `ShardSource` to written windows."""

    def __init__(self, chain: ChainLog, root: Path) -> None:
        """Takes what is read and where to write."""
        super().__init__()
        self._chain, self._root = chain, root

    def expand(self, sources: PCollection[bytes]) -> PCollection[WrittenWindow]:
        """Returns a collection of `WrittenWindow`."""
        written: PCollection[WrittenWindow] = (
            sources
            | "read" >> beam.ParDo(ReadFeed(self._chain))
            | "reduce" >> beam.ParDo(ToParts(self._chain))
            | "window" >> beam.WindowInto(FixedWindows(self._chain.genesis.slots_per_window))
            | "merge" >> beam.CombinePerKey(MergeParts())
            | "write" >> beam.ParDo(WriteWindows(self._chain, self._root))
        )
        return written


def build_counting(
    pipeline: beam.Pipeline, chain: ChainLog, sources: Sequence[ShardSource], root: Path
) -> None:
    """Puts the counting of some shards into a pipeline, as a branch for each.

    Runners that read the elements of a source by turns would let one shard wait for another, and a watermark is one
    of all elements.
    """
    for source in sources:
        _ = (
            pipeline
            | f"shard {source.shard}" >> beam.Create([source.to_bytes()], reshuffle=False)
            | f"count {source.shard}" >> CountWindows(chain, root)
        )


def count_closed(chain: ChainLog, sources: Sequence[ShardSource], root: Path) -> None:
    """Counts windows that are closed as one bounded pipeline in this process.

    Args:
        chain: What is read.
        sources: `until` names a closed window.
        root: Data directory.

    Raises:
        EclipticaError: A window cannot be counted or written.
    """
    run_here(lambda pipeline: build_counting(pipeline, chain, sources, root))


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
